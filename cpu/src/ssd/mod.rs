//! [`latens_kernels::ssd`] on the host.
//!
//! A task has a few neighbouring heads of a sequence, which share `b` and `c`, and goes through chunks of 64 rows. All of a
//! chunk is products of small matrices in the first two caches (`product.rs`): pairs of rows, what they leave in the state,
//! what they read from it. A state lies turned over, states by entries, so that entries are lanes.
//!
//! Floor: for a row and head `32 head_dim + 2 head_dim states` multiplications and additions, a third less than the
//! recurrence has, and none of them waits for a row before. Sequences of few rows, and steps, are recurrences all the same:
//! then the state is read and written once.
//!
//! Backward goes forward first and keeps the state before every chunk. Sums over heads are made by task, whose heads depend
//! on the shapes alone, and tasks are added in order.
mod backward;
mod chunk;
mod few;
mod forward;
mod product;

use crate::level::Level;
use crate::once::once;
use crate::rows;
use crate::sheet::Sheet;
use alloc::vec::Vec;
use latens_kernels::route::{Sequence, Tables};
use latens_kernels::{
    DType, Float, Result,
    ssd::{Gradients, Inputs, Plan},
};

/// The inputs on the host.
pub type Slices<'a, T> = Inputs<&'a [T], &'a [<T as Float>::Acc], &'a [u32]>;

/// Rows of a chunk.
const CHUNK: usize = 64;
/// Heads of a task backward, at most; they decide in which order sums are made.
const HEADS: usize = 4;

/// What all tasks of a call read.
struct Call<'a, T: Float> {
    level: Level,
    p: &'a Plan,
    x: Slices<'a, T>,
}

/// Heads of a sequence, all of one group.
#[derive(Clone, Copy)]
struct Part {
    sequence: Sequence,
    head: usize,
    count: usize,
}

impl<T: Float> Call<'_, T> {
    /// The sequences, by heads of a group, at most so many at a time.
    fn parts(&self, heads: usize) -> Vec<Part> {
        let (p, mut parts) = (self.p, Vec::new());
        let tables = Tables { bounds: self.x.bounds, orders: None };
        for sequence in (0..p.route().sequences()).map(|s| p.route().sequence(tables, s)) {
            for group in 0..p.groups() {
                let end = (group + 1) * p.per_group();
                for head in (group * p.per_group()..end).step_by(heads) {
                    parts.push(Part { sequence, head, count: heads.min(end - head) });
                }
            }
        }
        parts
    }

    /// Row `i` of a sequence, among all rows.
    #[inline(always)]
    fn row(&self, s: &Sequence, i: usize) -> usize {
        s.batch * self.p.route().len() + s.begin + i
    }

    /// Where the state of a head begins, and its length.
    #[inline(always)]
    fn state(&self, sequence: usize, head: usize) -> (usize, usize) {
        let each = self.p.head_dim() * self.p.states();
        ((sequence * self.p.heads() + head) * each, each)
    }

    /// `skip` of a head.
    #[inline(always)]
    fn skip(&self, head: usize) -> f32 {
        self.x.skip.map_or(0.0, |skip| skip[head].to_f32())
    }
}

once! {
    /// See [`latens_kernels::ssd::forward`].
    ///
    /// # Errors
    /// As there.
    pub fn forward;
    /// [`forward`] by the instructions of `level`.
    ///
    /// # Errors
    /// As there.
    pub fn forward_at<T>(
        level: Level,
        p: &Plan,
        x: Slices<'_, T>,
        y: &mut [T],
        last: Option<&mut [T::Acc]>,
    ) -> Result<()> = forward_impl;
}

fn forward_impl<T: Float>(
    level: Level,
    p: &Plan,
    x: Slices<'_, T>,
    y: &mut [T],
    last: Option<&mut [T::Acc]>,
) -> Result<()> {
    if T::DTYPE == DType::F64 {
        return latens_kernels::ssd::forward(p, x, y, last);
    }
    p.route().check("ssd", Tables { bounds: x.bounds, orders: None })?;
    let call = Call { level, p, x };
    // More heads share the products of c and b, as long as every thread has some; the result does not depend on it.
    let heads = (p.route().sequences() * p.heads() / (2 * rows::threads())).clamp(1, 2 * HEADS);
    let parts = call.parts(heads);
    let (y, last) = (Sheet::new(&mut y[..p.dy().len()]), last.map(Sheet::new));
    rows::collect(parts.len(), |task| forward::forward(&call, &parts[task], &y, last.as_ref()));
    Ok(())
}

once! {
    /// One row of every sequence: [`forward`] with `state` as `initial` and `last` in one.
    ///
    /// # Errors
    /// As there.
    pub fn step<T>(p: &Plan, x: Slices<'_, T>, state: &mut [T::Acc], y: &mut [T]) -> Result<()> = step_impl;
}

fn step_impl<T: Float>(p: &Plan, x: Slices<'_, T>, state: &mut [T::Acc], y: &mut [T]) -> Result<()> {
    if T::DTYPE == DType::F64 {
        let before = state.to_vec();
        return latens_kernels::ssd::forward(p, Inputs { initial: Some(&before), ..x }, y, Some(state));
    }
    p.route().check("ssd", Tables { bounds: x.bounds, orders: None })?;
    let call = Call { level: Level::best(), p, x };
    let each = p.head_dim() * p.states();
    rows::each_pair((p.head_dim(), &mut y[..p.dy().len()]), (each, state), |at, y, state| {
        few::step(&call, at / p.heads(), at % p.heads(), state, y);
    });
    Ok(())
}

once! {
    /// See [`latens_kernels::ssd::backward`].
    ///
    /// # Errors
    /// As there.
    pub fn backward;
    /// [`backward`] by the instructions of `level`.
    ///
    /// # Errors
    /// As there.
    pub fn backward_at<T>(
        level: Level,
        p: &Plan,
        x: Slices<'_, T>,
        dy: &[T],
        dlast: Option<&[T::Acc]>,
        to: Gradients<&mut [T], &mut [T::Acc]>,
    ) -> Result<()> = backward_impl;
}

fn backward_impl<T: Float>(
    level: Level,
    p: &Plan,
    x: Slices<'_, T>,
    dy: &[T],
    dlast: Option<&[T::Acc]>,
    to: Gradients<&mut [T], &mut [T::Acc]>,
) -> Result<()> {
    if T::DTYPE == DType::F64 {
        return latens_kernels::ssd::backward(p, x, dy, dlast, to);
    }
    p.route().check("ssd", Tables { bounds: x.bounds, orders: None })?;
    backward::backward(&Call { level, p, x }, dy, dlast, to);
    Ok(())
}
