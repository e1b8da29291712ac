//! How the device code of each operation is launched.
pub mod backward;
pub mod decode;
pub mod encode;
pub mod flat;
pub mod gate;
pub mod track;

use crate::sae::Shape;
use crate::{Element, Launch, Result, Span};

/// Entries of a row that are sorted in shared memory; more are sorted in the workspace.
const SORTED: usize = 2048;
/// Bytes of the bins of one digit: twin of `select.cuh`.
const DIGIT: usize = 4 << 11;

/// The codes of a batch, on a device.
#[derive(Clone, Copy, Debug)]
pub struct Coded<'a, A> {
    /// Activations, one for each slot.
    pub values: Span<'a, A>,
    /// Latents, one for each slot.
    pub latents: Span<'a, u32>,
    /// Where rows begin and end; none for a fixed width.
    pub offsets: Option<Span<'a, u32>>,
    /// How slots belong to rows.
    pub shape: Shape,
}

impl<'a, A: Element> Coded<'a, A> {
    /// The codes, if they are as long as their shape says.
    fn checked(self, op: &'static str, shape: &Shape) -> Result<Self> {
        Ok(Self {
            values: self.values.holds(shape.slots(), op, "values")?,
            latents: self.latents.holds(shape.slots(), op, "latents")?,
            offsets: self.offsets.map(|offsets| offsets.holds(shape.offsets(), op, "offsets")).transpose()?,
            shape: *shape,
        })
    }

    /// The arguments of a kernel that begins with codes.
    fn read(&self, launch: Launch<'a>) -> Launch<'a> {
        launch
            .read(self.values)
            .read(self.latents)
            .read(self.offsets)
            .u32(self.shape.width().unwrap_or(0))
            .u32(self.shape.slots())
    }
}
