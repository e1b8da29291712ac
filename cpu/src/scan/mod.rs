//! [`latens_kernels::scan`] on the host.
//!
//! Channels lie in lanes and states in registers, so nothing is summed across lanes but the gradients of `b` and `c`. A
//! task has up to 192 neighbouring columns of a batch entry (128 backward) and goes through them in blocks of 16 positions,
//! tile after tile, so a page of memory is met once for twelve tiles and `b` and `c` stay in the first-level cache.
//!
//! Floor: per 16 states with AVX-512 one exponential (multiply, three additions, look-up, shift, addition, three
//! multiplications) and three more multiplications: 7 cycles of the two pipes that multiply, on a core that halves 512
//! bits. With AVX2 it has four after the look-up, 8 in all for 8 states: 4 cycles. The sequences of a batch entry are read
//! once: 12 bytes for each column and row.
//!
//! Backward goes forward first and keeps the state before every block, then makes a block again and goes back through
//! it: 7, 8 and 7 multiplications for each register of states. What `b` and `c` get is summed over the tiles of a block in
//! registers, lane by lane, and over the lanes once for all of them. Sums over channels are made per task, whose columns
//! depend on the shapes alone, and added in order.
mod backward;
mod block;
mod forward;
mod tile;

pub use crate::level::Level;
use crate::once::once;
use crate::rows;
use crate::sheet::Sheet;
use crate::simd::{self, Fused, LANES, Lane, Task};
use alloc::vec::Vec;
use latens_kernels::route::Sequence;
use latens_kernels::{
    DType, Float, Layout, Result,
    scan::{Gradients, Inputs, Plan},
};

/// The inputs on the host.
pub type Slices<'a, T> = Inputs<&'a [T], &'a [<T as Float>::Acc], &'a [u32]>;

/// Columns of a task, at most: rows are pages apart, so a task that takes few of each waits for memory.
const COLUMNS: usize = 192;
/// Columns of a task backward, which decide in which order sums are made.
const BACKWARD: usize = 128;

/// What all tasks of a call read.
struct Call<'a, T: Float> {
    p: &'a Plan,
    x: Slices<'a, T>,
    b: Shared<'a>,
    c: Shared<'a>,
}

/// `b` or `c` as `f32`, where they are or in a copy.
struct Shared<'a> {
    data: &'a [f32],
    strides: [usize; 2],
}

impl Shared<'_> {
    #[inline(always)]
    fn at(&self, batch: usize, row: usize) -> usize {
        batch * self.strides[0] + row * self.strides[1]
    }
}

/// Columns of a batch entry.
#[derive(Clone, Copy)]
struct Span {
    batch: usize,
    first: usize,
    end: usize,
}

impl<'a, T: Float> Call<'a, T> {
    fn new(p: &'a Plan, x: Slices<'a, T>, wide: &'a [Option<Vec<f32>>; 2]) -> Self {
        let shared = |wide: &'a Option<Vec<f32>>, of: &'a [T], layout: Layout<3>| {
            let data = wide.as_deref().or_else(|| crate::cast::cast(of)).unwrap_or_default();
            let [batch, step, _] = layout.strides();
            Shared { data, strides: [batch, step] }
        };
        let (b, c) = (shared(&wide[0], x.b, p.layouts().b), shared(&wide[1], x.c, p.layouts().c));
        Self { p, x, b, c }
    }

    /// Row of a position in a batch entry.
    #[inline(always)]
    fn row(&self, batch: usize, order: usize, position: usize) -> usize {
        self.p.route().row(self.x.tables, order, batch, position) - batch * self.p.route().len()
    }

    /// The sequences of a batch entry.
    fn sequences(&self, batch: usize) -> impl Iterator<Item = Sequence> {
        let route = self.p.route();
        let all = if route.packed() { 0..route.sequences() } else { batch..batch + 1 };
        let tables = self.x.tables;
        all.map(move |index| route.sequence(tables, index))
    }
}

/// `f32` copies of 16-bit numbers, gaps and all.
fn widened<T: Float>(of: &[T]) -> Option<Vec<f32>> {
    (T::DTYPE != DType::F32).then(|| of.iter().map(|x| x.to_f32()).collect())
}

/// The tasks of a call: pieces of units, so that all channels of a tile share `b` and `c`.
fn spans(p: &Plan, columns: usize) -> Vec<Span> {
    let mut spans = Vec::new();
    for batch in 0..p.route().batch() {
        let mut first = 0;
        while first < p.width() {
            // Whole units, or a part of one.
            let unit = p.unit();
            let step = if unit >= columns { columns } else { columns / unit * unit };
            let end = if unit >= columns { (first + step).min((first / unit + 1) * unit) } else { first + step };
            let end = end.min(p.width());
            spans.push(Span { batch, first, end });
            first = end;
        }
    }
    spans
}

once! {
    /// See [`latens_kernels::scan::forward`].
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
        return latens_kernels::scan::forward(p, x, y, last);
    }
    p.route().check("scan", x.tables)?;
    run(level, p, x, y, last, false);
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
        return latens_kernels::scan::forward(p, Inputs { initial: Some(&before), ..x }, y, Some(state));
    }
    p.route().check("scan", x.tables)?;
    run(Level::best(), p, x, y, Some(state), true);
    Ok(())
}

fn run<T: Float>(level: Level, p: &Plan, x: Slices<'_, T>, y: &mut [T], last: Option<&mut [T::Acc]>, carried: bool) {
    let wide = [widened(x.b), widened(x.c)];
    let call = Call::new(p, x, &wide);
    // Fewer columns where there would be too few tasks; the result does not depend on it.
    let all = p.route().batch() * p.width();
    let columns = (all / rows::threads()).next_multiple_of(LANES).clamp(LANES, COLUMNS);
    let spans = spans(p, columns);
    let (y, last) = (Sheet::new(&mut y[..p.dy().len()]), last.map(Sheet::new));
    rows::collect(spans.len(), |task| {
        let last = last.as_ref();
        simd::run(level, forward::Forward { call: &call, span: spans[task], y: &y, last, carried });
    });
}

once! {
    /// See [`latens_kernels::scan::backward`].
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
        return latens_kernels::scan::backward(p, x, dy, dlast, to);
    }
    p.route().check("scan", x.tables)?;
    let wide = [widened(x.b), widened(x.c)];
    backward::backward(level, &Call::new(p, x, &wide), dy, dlast, to);
    Ok(())
}

/// The functions of one number that a scan is made of, for the tests of their accuracy.
#[derive(Clone, Copy, Debug)]
pub enum Function {
    /// `exp(x)` as decays are made, from 0 below to infinity above.
    Decay,
    /// `exp(x)`.
    Exp,
    /// `ln(1 + exp(x))`.
    Softplus,
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
}

/// One of them of every number of `x`, in place, by the instructions of `level`.
pub fn function_at(level: Level, function: Function, x: &mut [f32]) {
    struct Each<'a>(Function, &'a mut [f32]);
    impl Task for Each<'_> {
        type Output = ();
        #[inline(always)]
        fn run<V: Lane, const M: usize, const C: usize>(self, _: Fused) {
            for x in self.1.chunks_mut(V::N) {
                let v: V = block::fetch(x, x.len());
                let v = match self.0 {
                    Function::Decay => V::power_of_any(v.mul(V::splat(V::scale()))),
                    Function::Exp => V::exp(v),
                    Function::Softplus => v.softplus(),
                    Function::Sigmoid => v.sigmoid(),
                };
                block::put(v, x);
            }
        }
    }
    simd::run(level, Each(function, x));
}
