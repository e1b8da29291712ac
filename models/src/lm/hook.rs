use super::Span;
use crate::io::{Error, Result};
use crate::{Error as Fault, Float, Tensor};

/// A place in a model where its activations can be read and changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Site {
    /// Which layer, from 0.
    pub layer: usize,
    /// Where in it.
    pub point: Point,
}

/// A place in a layer, in the order in which they are reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Point {
    /// What attention adds to the residual.
    Attention,
    /// What the feed-forward half reads: the residual after its norm. It can be read and changed on the way, but has no gradient.
    MlpInput,
    /// What the feed-forward half adds to the residual.
    Mlp,
    /// What the mixer of a layer without these halves adds to the residual.
    Mixer,
    /// The residual after all that a layer adds.
    Residual,
}

impl Site {
    /// The residual after `layer`.
    pub fn residual(layer: usize) -> Self {
        Self { layer, point: Point::Residual }
    }

    /// What the attention of `layer` adds.
    pub fn attention(layer: usize) -> Self {
        Self { layer, point: Point::Attention }
    }

    /// What the mixer of `layer` adds, in a model without attention.
    pub fn mixer(layer: usize) -> Self {
        Self { layer, point: Point::Mixer }
    }

    /// What the feed-forward half of `layer` reads.
    pub fn mlp_input(layer: usize) -> Self {
        Self { layer, point: Point::MlpInput }
    }

    /// What the feed-forward half of `layer` adds.
    pub fn mlp(layer: usize) -> Self {
        Self { layer, point: Point::Mlp }
    }
}

impl Point {
    /// Those of a layer with attention and a feed-forward half.
    pub(super) const HALVES: &'static [Self] = &[Self::Attention, Self::Mlp, Self::Residual];
    /// The same, and what is only read.
    pub(crate) const PASSED: &'static [Self] = &[Self::Attention, Self::MlpInput, Self::Mlp, Self::Residual];
    /// Those of a layer that is one mixer.
    pub(super) const MIXER: &'static [Self] = &[Self::Mixer, Self::Residual];
}

type Edit<'a, T> = Box<dyn FnMut(&mut Tensor<T, 2>, &[Span]) -> Result<()> + 'a>;

/// Functions that see activations on their way, `[tokens, dim]` with the contexts of a batch one after another, and may
/// change them: write to them, add to them, or put another tensor of the same sizes in their place.
pub struct Hooks<'a, T: Float = f32> {
    all: Vec<(Site, Edit<'a, T>)>,
}

impl<T: Float> Default for Hooks<'_, T> {
    fn default() -> Self {
        Self { all: Vec::new() }
    }
}

impl<'a, T: Float> Hooks<'a, T> {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// These, and then `edit` at `site`.
    #[must_use]
    pub fn at(self, site: Site, mut edit: impl FnMut(&mut Tensor<T, 2>) -> Result<()> + 'a) -> Self {
        self.at_spans(site, move |x, _| edit(x))
    }

    /// [`at`](Self::at) with an `edit` that is also told whose rows these are, and at which positions.
    #[must_use]
    pub fn at_spans(mut self, site: Site, edit: impl FnMut(&mut Tensor<T, 2>, &[Span]) -> Result<()> + 'a) -> Self {
        self.all.push((site, Box::new(edit)));
        self
    }

    /// Refuse sites that a model of this many layers with these points does not have.
    pub(super) fn check(&self, layers: usize, points: &[Point]) -> Result<()> {
        self.all.iter().try_for_each(|(site, _)| site.check(layers, points))
    }

    /// Call those at `site`, in the order in which they were added.
    pub(super) fn run(&mut self, site: Site, x: &mut Tensor<T, 2>, spans: &[Span]) -> Result<()> {
        let (dims, host) = (x.dims(), x.device().is_host());
        for (_, edit) in self.all.iter_mut().filter(|(at, _)| *at == site) {
            edit(x, spans)?;
            if let Some((want, got)) = dims.into_iter().zip(x.dims()).find(|(want, got)| want != got) {
                return Err(Fault::Size { op: "hook", arg: "x", want, got }.into());
            }
            if x.device().is_host() != host {
                return Err(Fault::Device { op: "hook", arg: "x" }.into());
            }
        }
        Ok(())
    }
}

impl Site {
    pub(crate) fn check(self, layers: usize, points: &[Point]) -> Result<()> {
        if !points.contains(&self.point) {
            return Err(Error::setting("point", format!("{:?} was asked for, but a layer has {points:?}", self.point)));
        }
        if self.layer < layers {
            return Ok(());
        }
        Err(Error::setting("layer", format!("{} was asked for, but the model has {layers}", self.layer)))
    }
}
