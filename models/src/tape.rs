//! What was computed, in order, and its gradients, in the opposite order.
//!
//! A tape holds activations `[rows, width]` and the steps between them. Every step is one of the pairs of forward and backward
//! that [`latens_core`] has; nothing is computed that no one asked for: a step that leads from nothing with a gradient is not
//! recorded, and a weight without a number of its own costs none. Activations are let go as soon as the way back has passed them.
//!
//! ```
//! use latens::tape::{Tape, Weight};
//! use latens::{Device, Tensor};
//! let w = Tensor::from_vec(vec![1.0_f32, 2.0, 3.0, 4.0], [2, 2], &Device::Host)?;
//! let mut tape = Tape::new(&Device::Host);
//! let x = tape.leaf(Tensor::from_vec(vec![1.0_f32, -1.0], [1, 2], &Device::Host)?, true);
//! let y = tape.linear(x, Weight::trained(w.view(), 0), None)?;
//! assert_eq!(tape.value(y).to_vec()?, [-1.0, -1.0]);
//! tape.seed(y, Tensor::from_vec(vec![1.0, 10.0], [1, 2], &Device::Host)?)?;
//! tape.backward()?;
//! assert_eq!(tape.gradient(x).unwrap().to_vec()?, [31.0, 42.0]);
//! assert_eq!(tape.weights()[&0].to_vec()?, [1.0, -1.0, 10.0, -10.0]);
//! # Ok::<(), latens::io::Error>(())
//! ```
mod attention;
mod backward;
mod parts;
mod sequence;

use crate::io::Result;
use crate::{
    Act, Device, Float, Tensor, View, act_into, add_into, embed_into, layer_norm_into, linear_into, rms_norm_into,
};
pub use attention::{Heads, Rotary};
use latens_core::Accumulate;
#[cfg(feature = "lm")]
pub(crate) use sequence::decay;
pub use sequence::{Convolution, Selective};
use std::collections::BTreeMap;

/// An activation on a tape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Var(usize);

/// A weight, and the number under which its gradient is found, if it is to have one. A number may be used more than once:
/// gradients of all uses are added.
pub struct Weight<'m, T: latens_core::Element, const R: usize> {
    of: View<'m, T, R>,
    number: Option<usize>,
}

impl<T: latens_core::Element, const R: usize> Clone for Weight<'_, T, R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: latens_core::Element, const R: usize> Copy for Weight<'_, T, R> {}

impl<'m, T: latens_core::Element, const R: usize> Weight<'m, T, R> {
    /// One without a gradient.
    pub fn frozen(of: View<'m, T, R>) -> Self {
        Self { of, number: None }
    }

    /// One whose gradient is wanted.
    pub fn trained(of: View<'m, T, R>, number: usize) -> Self {
        Self { of, number: Some(number) }
    }

    /// Its sizes.
    pub fn dims(&self) -> [usize; R] {
        self.of.dims()
    }
}

struct Node<T: Float> {
    /// Gone once nothing on the way back reads it.
    value: Option<Tensor<T, 2>>,
    dims: [usize; 2],
    /// Whether a gradient reaches it, or what it came from.
    needed: bool,
    gradient: Option<Tensor<T, 2>>,
    /// Whether the gradient stays.
    watched: bool,
}

type Again<'m, T> = Box<dyn Fn(&mut Tape<'m, T>, Var) -> Result<Var> + 'm>;

enum Step<'m, T: Float> {
    Embed { ids: Tensor<u32, 1>, table: Weight<'m, T, 2> },
    Linear { x: Var, w: Weight<'m, T, 2>, bias: Option<usize> },
    Norm { x: Var, weight: Weight<'m, T::Acc, 1>, bias: Option<Option<usize>>, eps: f32 },
    Attention { x: Var, heads: Heads, positions: Tensor<u32, 1>, lse: Tensor<T::Acc, 3> },
    Act { x: Var, act: Act, gated: bool },
    Add { a: Var, b: Var },
    Join { a: Var, b: Var, batch: usize },
    Columns { x: Var, from: usize },
    Conv1d { x: Var, of: Convolution<'m, T> },
    Scan { of: Selective<'m, T>, a: Tensor<T::Acc, 2> },
    Again { x: Var, run: Again<'m, T> },
}

/// What was computed so far.
pub struct Tape<'m, T: Float> {
    device: Device,
    nodes: Vec<Node<T>>,
    /// Each with what it made.
    steps: Vec<(Step<'m, T>, Var)>,
    weights: BTreeMap<usize, Tensor<T::Acc, 2>>,
}

impl<'m, T: Float> Tape<'m, T> {
    /// Nothing yet.
    pub fn new(device: &Device) -> Self {
        Self::adding_to(device, BTreeMap::new())
    }

    /// Nothing yet, but gradients of weights, to which this tape will add its own: see [`Tape::into_weights`].
    pub fn adding_to(device: &Device, weights: BTreeMap<usize, Tensor<T::Acc, 2>>) -> Self {
        Self { device: device.clone(), nodes: Vec::new(), steps: Vec::new(), weights }
    }

    fn node(&mut self, value: Tensor<T, 2>, needed: bool) -> Var {
        let dims = value.dims();
        self.nodes.push(Node { value: Some(value), dims, needed, gradient: None, watched: false });
        Var(self.nodes.len() - 1)
    }

    /// What a step made, which is on the tape if a gradient comes from it.
    fn made(&mut self, value: Tensor<T, 2>, needed: bool, step: Step<'m, T>) -> Var {
        let y = self.node(value, needed);
        if needed {
            self.steps.push((step, y));
        }
        y
    }

    fn empty(&self, dims: [usize; 2]) -> Result<Tensor<T, 2>> {
        Ok(Tensor::empty(dims, &self.device)?)
    }

    fn needs(&self, x: Var) -> bool {
        self.nodes[x.0].needed
    }

    /// Something given; with `wanted`, its gradient is found and stays.
    pub fn leaf(&mut self, value: Tensor<T, 2>, wanted: bool) -> Var {
        let x = self.node(value, wanted);
        self.nodes[x.0].watched = wanted;
        x
    }

    /// An activation.
    ///
    /// # Panics
    /// If it was used up: as the second part of [`Tape::add`], or by [`Tape::backward`].
    pub fn value(&self, x: Var) -> &Tensor<T, 2> {
        self.nodes[x.0].value.as_ref().expect("an activation that was used up")
    }

    /// Rows and width of an activation.
    pub fn dims(&self, x: Var) -> [usize; 2] {
        self.nodes[x.0].dims
    }

    /// Have the gradient of an activation stay after [`Tape::backward`]; what comes of it is on the tape from here on.
    pub fn watch(&mut self, x: Var) {
        (self.nodes[x.0].needed, self.nodes[x.0].watched) = (true, true);
    }

    /// Rows of a table.
    ///
    /// # Errors
    /// Those of [`embed_into`].
    pub fn embed(&mut self, ids: Tensor<u32, 1>, table: Weight<'m, T, 2>) -> Result<Var> {
        let mut y = self.empty([ids.dims()[0], table.of.dims()[1]])?;
        embed_into(table.of, ids.view(), y.view_mut())?;
        Ok(self.made(y, table.number.is_some(), Step::Embed { ids, table }))
    }

    /// `x·wᵀ + bias`.
    ///
    /// # Errors
    /// Those of [`linear_into`].
    pub fn linear(&mut self, x: Var, w: Weight<'m, T, 2>, bias: Option<Weight<'m, T::Acc, 1>>) -> Result<Var> {
        let mut y = self.empty([self.nodes[x.0].dims[0], w.of.dims()[0]])?;
        linear_into(self.value(x).view(), w.of, bias.map(|bias| bias.of), Accumulate::Replace, y.view_mut())?;
        let bias = bias.and_then(|bias| bias.number);
        let needed = self.needs(x) || w.number.is_some() || bias.is_some();
        Ok(self.made(y, needed, Step::Linear { x, w, bias }))
    }

    /// Rows by their root mean square.
    ///
    /// # Errors
    /// Those of [`rms_norm_into`].
    pub fn rms_norm(&mut self, x: Var, weight: Weight<'m, T::Acc, 1>, eps: f32) -> Result<Var> {
        let mut y = self.empty(self.nodes[x.0].dims)?;
        rms_norm_into(self.value(x).view(), weight.of, eps, y.view_mut())?;
        let needed = self.needs(x) || weight.number.is_some();
        Ok(self.made(y, needed, Step::Norm { x, weight, bias: None, eps }))
    }

    /// Rows by their mean and variance.
    ///
    /// # Errors
    /// Those of [`layer_norm_into`].
    pub fn layer_norm(
        &mut self,
        x: Var,
        weight: Weight<'m, T::Acc, 1>,
        bias: Option<Weight<'m, T::Acc, 1>>,
        eps: f32,
    ) -> Result<Var> {
        let mut y = self.empty(self.nodes[x.0].dims)?;
        layer_norm_into(self.value(x).view(), weight.of, bias.map(|bias| bias.of), eps, y.view_mut())?;
        let bias = bias.and_then(|bias| bias.number);
        let needed = self.needs(x) || weight.number.is_some() || bias.is_some();
        Ok(self.made(y, needed, Step::Norm { x, weight, bias: Some(bias), eps }))
    }

    /// An activation function, entry by entry.
    ///
    /// # Errors
    /// Those of [`act_into`].
    pub fn act(&mut self, x: Var, act: Act) -> Result<Var> {
        let mut y = self.empty(self.nodes[x.0].dims)?;
        act_into(self.value(x).view(), None, act, y.view_mut())?;
        let needed = self.needs(x);
        Ok(self.made(y, needed, Step::Act { x, act, gated: false }))
    }

    /// The first half of every row, through an activation function, times the second half.
    ///
    /// # Errors
    /// Those of [`act_into`].
    pub fn gated(&mut self, x: Var, act: Act) -> Result<Var> {
        let [rows, width] = self.nodes[x.0].dims;
        let mut y = self.empty([rows, width / 2])?;
        let both = self.value(x).view();
        let (gate, up) = (both.narrow(1, 0, width / 2)?, both.narrow(1, width / 2, width)?);
        act_into(gate, Some(up), act, y.view_mut())?;
        let needed = self.needs(x);
        Ok(self.made(y, needed, Step::Act { x, act, gated: true }))
    }

    /// `a + b`, where `b` lay: its value is used up.
    ///
    /// # Errors
    /// Those of [`add_into`].
    ///
    /// # Panics
    /// As [`Tape::value`].
    pub fn add(&mut self, a: Var, b: Var) -> Result<Var> {
        let mut y = self.nodes[b.0].value.take().expect("an activation that was used up");
        add_into(self.value(a).view(), y.view_mut())?;
        let needed = self.needs(a) || self.needs(b);
        Ok(self.made(y, needed, Step::Add { a, b }))
    }

    /// What `run` makes of `x`, of which only the result is kept: the way back runs it again.
    ///
    /// # Errors
    /// Those of `run`.
    ///
    /// # Panics
    /// As [`Tape::value`]; on the way back, if `run` used up what it was given.
    pub fn again(&mut self, x: Var, run: impl Fn(&mut Self, Var) -> Result<Var> + 'm) -> Result<Var> {
        let mut inner = Self::new(&self.device);
        let from = inner.node(self.nodes[x.0].value.take().expect("an activation that was used up"), false);
        let y = run(&mut inner, from)?;
        // Weights may be trained in there.
        let needed = self.needs(x) || inner.needs(y);
        let value = inner.nodes[y.0].value.take().expect("an activation that was used up");
        self.nodes[x.0].value = inner.nodes[from.0].value.take();
        Ok(self.made(value, needed, Step::Again { x, run: Box::new(run) }))
    }

    /// Bytes of activations and gradients that are held now.
    pub fn bytes(&self) -> usize {
        let tensors = self.nodes.iter().flat_map(|node| [&node.value, &node.gradient]).flatten();
        let activations: usize = tensors.map(|tensor| tensor.layout().len()).sum();
        let weights: usize = self.weights.values().map(|tensor| tensor.layout().len()).sum();
        activations * size_of::<T>() + weights * size_of::<T::Acc>()
    }
}
