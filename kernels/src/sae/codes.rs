use super::{at_most, size};
use crate::{Element, Error, Result};
use core::ops::Range;

/// How the slots of a batch of codes are shared out among its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    rows: usize,
    slots: usize,
    width: Option<usize>,
}

impl Shape {
    /// `width` slots for each row.
    ///
    /// # Errors
    /// [`Error::Range`] if there are more slots than a `u32` counts.
    pub fn fixed(rows: usize, width: usize) -> Result<Self> {
        let slots = rows.checked_mul(width).ok_or(Error::TooLarge)?;
        at_most("sae", "values", u32::MAX as usize, slots)?;
        Ok(Self { rows, slots, width: Some(width) })
    }

    /// `slots` in all; offsets say which are whose.
    ///
    /// # Errors
    /// As [`fixed`](Shape::fixed).
    pub fn flat(rows: usize, slots: usize) -> Result<Self> {
        at_most("sae", "values", u32::MAX as usize, slots)?;
        Ok(Self { rows, slots, width: None })
    }

    /// Rows of the batch.
    pub fn rows(&self) -> usize {
        self.rows
    }
    /// Slots of the batch.
    pub fn slots(&self) -> usize {
        self.slots
    }
    /// Slots of each row, if they are as many for each.
    pub fn width(&self) -> Option<usize> {
        self.width
    }
    /// Entries of `offsets`: none for a fixed width.
    pub fn offsets(&self) -> usize {
        if self.width.is_some() { 0 } else { self.rows + 1 }
    }
}

/// The codes of a batch, in host memory.
#[derive(Clone, Copy, Debug)]
pub struct Codes<'a, A> {
    /// Activations, one for each slot.
    pub values: &'a [A],
    /// Latents, one for each slot.
    pub latents: &'a [u32],
    /// Where rows begin and end; empty for a fixed width.
    pub offsets: &'a [u32],
}

impl<A: Element> Codes<'_, A> {
    /// The slots of row `r`.
    pub fn row(&self, shape: &Shape, r: usize) -> Range<usize> {
        match shape.width {
            Some(width) => r * width..(r + 1) * width,
            None => {
                let [start, end] = [r, r + 1].map(|at| (self.offsets[at] as usize).min(shape.slots));
                start..end.max(start)
            }
        }
    }

    /// Check what the layout cannot say: lengths, offsets and latents.
    ///
    /// # Errors
    /// [`Error::Size`] for lengths, [`Error::Value`] for offsets, [`Error::Range`] for a latent above `n`.
    pub fn check(&self, op: &'static str, shape: &Shape, n: usize) -> Result<()> {
        size(op, "values", shape.slots, self.values.len())?;
        size(op, "latents", shape.slots, self.latents.len())?;
        size(op, "offsets", shape.offsets(), self.offsets.len())?;
        let rising = self.offsets.is_sorted() && self.offsets.first().is_none_or(|&first| first == 0);
        if !rising || self.offsets.last().is_some_and(|&last| last as usize > shape.slots) {
            return Err(Error::Value { op, arg: "offsets", want: "rising from 0 to at most the number of slots" });
        }
        match self.latents.iter().max() {
            Some(&latent) => at_most(op, "latents", n, latent as usize),
            None => Ok(()),
        }
    }
}
