//! [`latens_kernels::sparsify`] on the host.
//!
//! A sample tells about where the cut lies, a little low; one pass over gradient and memory then adds them up and lists
//! what reaches that bar, and the cut is found in the list. The sample changes what is listed, never what is sent: a bar
//! that was too high is lowered and the sums are read once more.
use crate::cast::{cast, cast_mut};
use crate::once::once;
use crate::simd::best;
use alloc::vec::Vec;
use latens_kernels::{
    Accumulate, Float,
    sparsify::{Plan, SumPlan},
};

/// Entries of a piece of the pass: its part of the gradient and of the memory stay in the second-level cache.
const PIECE: usize = 1 << 15;
/// Entries that are compared with the bar at once.
const CHUNK: usize = 64;

once! {
    /// See [`latens_kernels::sparsify::forward`].
    pub fn forward<T>(
        p: &Plan,
        g: &[T],
        e: &mut [T::Acc],
        values: &mut [T::Acc],
        indices: &mut [u32],
        counts: &mut [u32],
    ) = forward_impl;
}

fn forward_impl<T: Float>(
    p: &Plan,
    g: &[T],
    e: &mut [T::Acc],
    values: &mut [T::Acc],
    indices: &mut [u32],
    counts: &mut [u32],
) {
    let (n, k) = (p.n(), p.k());
    let (g, e, indices) = (&g[..n], &mut e[..n], &mut indices[..k]);
    if let (Some(e), Some(values)) = (cast_mut::<_, f32>(e), cast_mut::<_, f32>(values)) {
        send(g, e, &mut values[..k], indices, counts);
    } else if let (Some(e), Some(values)) = (cast_mut::<_, f64>(e), cast_mut::<_, f64>(values)) {
        send(g, e, &mut values[..k], indices, counts);
    }
}

/// What sums are kept in.
trait Sum: Float {
    /// Bits that rank as magnitudes of finite numbers do.
    type Magnitude: Ord + Copy + Send + Sync;
    /// Those of an entry.
    fn magnitude(self) -> Self::Magnitude;
    /// The number of that magnitude.
    fn of(magnitude: Self::Magnitude) -> Self;
    /// The least magnitude but 0.
    const LEAST: Self::Magnitude;
    /// The largest.
    const MOST: Self::Magnitude;
    /// `self + g`, rounded once.
    fn plus<T: Float>(self, g: T) -> Self;
    /// `self * scale`, rounded once.
    fn times(self, scale: f32) -> Self;
    /// The nearest `T`.
    fn store<T: Float>(self) -> T;
    /// Whether its magnitude is at least a finite `bar`; 2 if it is not finite.
    fn state(self, bar: Self) -> u8;
}

macro_rules! sums {
    ($t:ty, $bits:ty, $wide:ident, $store:ident) => {
        impl Sum for $t {
            type Magnitude = $bits;
            #[inline(always)]
            fn magnitude(self) -> $bits {
                self.abs().to_bits()
            }
            fn of(magnitude: $bits) -> Self {
                <$t>::from_bits(magnitude)
            }
            const LEAST: $bits = 1;
            const MOST: $bits = <$t>::MAX.to_bits();
            #[inline(always)]
            fn plus<T: Float>(self, g: T) -> Self {
                self + g.$wide()
            }
            #[inline(always)]
            fn times(self, scale: f32) -> Self {
                self * <$t>::from(scale)
            }
            #[inline(always)]
            fn store<T: Float>(self) -> T {
                T::$store(self)
            }
            #[inline(always)]
            fn state(self, bar: Self) -> u8 {
                u8::from(self.abs() >= bar) | u8::from(!self.is_finite()) << 1
            }
        }
    };
}
sums!(f32, u32, to_f32, from_f32);
sums!(f64, u64, wide, narrow);

/// What a pass over a piece finds: entries that reach the bar, and entries that are dropped.
struct Found<M> {
    listed: Vec<(M, u32)>,
    dropped: Vec<u32>,
}

fn send<T: Float, A: Sum>(g: &[T], e: &mut [A], values: &mut [A], indices: &mut [u32], counts: &mut [u32]) {
    let (n, k) = (g.len(), values.len());
    let mut bar = sampled(g, e, k);
    let pass = |at: usize, e: &mut [A]| {
        best(
            #[inline(always)]
            |_| fold(&g[at..][..e.len()], e, A::of(bar), at),
        )
    };
    let found = crate::rows::gather(PIECE, e, pass);
    counts[1] = found.iter().map(|found| found.dropped.len() as u32).sum();
    let mut listed: Vec<(A::Magnitude, u32)> = found.iter().flat_map(|found| found.listed.iter().copied()).collect();
    if listed.len() < k && bar > A::LEAST {
        bar = A::LEAST;
        let again = |piece: usize| kept(e, piece, &found[piece].dropped).filter(|entry| entry.0 >= bar).collect();
        listed = crate::rows::collect(found.len(), again).into_iter().flat_map(|list: Vec<_>| list).collect();
    }
    let mut sent: Vec<u32> = if listed.len() > k { largest(listed, k) } else { listed.iter().map(|e| e.1).collect() };
    if sent.len() < k {
        // All but zeros are in; of those the first.
        let all = (0..found.len()).flat_map(|piece| kept(e, piece, &found[piece].dropped));
        let zeros = all.filter(|entry| entry.0 < A::LEAST).take(k - sent.len()).map(|entry| entry.1);
        sent.extend(zeros.collect::<Vec<_>>());
        sent.sort_unstable();
    }
    counts[0] = sent.len() as u32;
    values.fill(A::default());
    indices.fill(n as u32);
    for ((value, index), i) in values.iter_mut().zip(indices).zip(sent) {
        (*value, *index) = (e[i as usize], i);
        e[i as usize] = A::default();
    }
}

/// A magnitude that probably a little more than `k` entries reach, and not 0.
fn sampled<T: Float, A: Sum>(g: &[T], e: &[A], k: usize) -> A::Magnitude {
    const RUN: usize = 64;
    const RUNS: usize = 512;
    let n = g.len();
    if n < 4 * RUN * RUNS || k == 0 {
        return if k == 0 { A::MOST } else { A::LEAST };
    }
    let stride = n / RUNS;
    let sums = (0..RUNS).flat_map(|run| run * stride..run * stride + RUN).map(|i| e[i].plus(g[i]));
    let mut sample: Vec<A::Magnitude> = sums.filter(|a| a.state(A::default()) == 1).map(A::magnitude).collect();
    let expected = k as f64 * sample.len() as f64 / n as f64;
    let rank = (1.25 * expected + 3.0 * latens_kernels::math::sqrt(expected)) as usize + 4;
    if rank >= sample.len() {
        return A::LEAST;
    }
    let (_, bar, _) = sample.select_nth_unstable_by(rank, |a, b| b.cmp(a));
    A::LEAST.max(*bar)
}

/// Add the gradient to the memory where that is finite; list what reaches the bar.
#[inline(always)]
fn fold<T: Float, A: Sum>(g: &[T], e: &mut [A], bar: A, at: usize) -> Found<A::Magnitude> {
    let mut found = Found { listed: Vec::new(), dropped: Vec::new() };
    for (c, (g, e)) in g.chunks(CHUNK).zip(e.chunks_mut(CHUNK)).enumerate() {
        let mut sums = [A::default(); CHUNK];
        let mut state = 0;
        for (sum, (e, &g)) in sums.iter_mut().zip(e.iter().zip(g)) {
            *sum = e.plus(g);
            state |= sum.state(bar);
        }
        if state < 2 {
            e.copy_from_slice(&sums[..e.len()]);
        }
        if state > 0 {
            entries(&sums[..e.len()], e, bar, (at + c * CHUNK) as u32, &mut found);
        }
    }
    found
}

/// The entries of a chunk one by one, where one of them is listed or dropped.
fn entries<A: Sum>(sums: &[A], e: &mut [A], bar: A, at: u32, found: &mut Found<A::Magnitude>) {
    for ((&sum, e), i) in sums.iter().zip(e).zip(at..) {
        let state = sum.state(bar);
        if state < 2 {
            *e = sum;
        } else {
            found.dropped.push(i);
        }
        if state == 1 {
            found.listed.push((sum.magnitude(), i));
        }
    }
}

/// The entries of a piece of the memory, but those that were dropped.
fn kept<A: Sum>(e: &[A], piece: usize, dropped: &[u32]) -> impl Iterator<Item = (A::Magnitude, u32)> {
    let (at, mut dropped) = (piece * PIECE, dropped.iter().peekable());
    let all = e[at..].iter().take(PIECE).zip(at as u32..);
    all.filter(move |entry| dropped.next_if_eq(&&entry.1).is_none()).map(|(a, i)| (a.magnitude(), i))
}

/// The `k` largest of more, of equals the first, in their order.
fn largest<M: Ord + Copy>(listed: Vec<(M, u32)>, k: usize) -> Vec<u32> {
    if k == 0 {
        return Vec::new(); // nothing has a rank before the first
    }
    let mut ranked: Vec<M> = listed.iter().map(|entry| entry.0).collect();
    let (above, &mut cut, _) = ranked.select_nth_unstable_by(k - 1, |a, b| b.cmp(a));
    let mut equal = k - above.iter().filter(|&&m| m > cut).count();
    let mut within = |m: M| {
        let quota = m == cut && equal > 0;
        equal -= usize::from(quota);
        m > cut || quota
    };
    listed.into_iter().filter(|entry| within(entry.0)).map(|entry| entry.1).collect()
}

once! {
    /// See [`latens_kernels::sparsify::sum`].
    pub fn sum<T>(p: &SumPlan, values: &[T::Acc], indices: &[u32], y: &mut [T]) = sum_impl;
}

fn sum_impl<T: Float>(p: &SumPlan, values: &[T::Acc], indices: &[u32], y: &mut [T]) {
    let y = &mut y[..p.n()];
    if let Some(values) = cast::<_, f32>(values) {
        crate::rows::gather(PIECE, y, |at, y| {
            best(
                #[inline(always)]
                |_| add_up(p, values, indices, at, y),
            )
        });
    } else if let Some(values) = cast::<_, f64>(values) {
        crate::rows::gather(PIECE, y, |at, y| add_up(p, values, indices, at, y));
    }
}

/// A piece of [`sum`]: the part of every rank that lies in it is found by bisection.
#[inline(always)]
fn add_up<T: Float, A: Sum>(p: &SumPlan, values: &[A], indices: &[u32], at: usize, y: &mut [T]) {
    let mut sums = alloc::vec![A::default(); y.len()];
    for rank in (0..p.ranks()).map(|rank| rank * p.k()..(rank + 1) * p.k()) {
        let (values, indices) = (&values[rank.clone()], &indices[rank]);
        let first = indices.partition_point(|&i| (i as usize) < at);
        for (&value, &i) in values[first..].iter().zip(&indices[first..]) {
            let Some(sum) = sums.get_mut((i as usize).wrapping_sub(at)) else { break };
            *sum = sum.plus(value);
        }
    }
    for (y, sum) in y.iter_mut().zip(sums) {
        let scaled = sum.times(p.scale());
        *y = match p.accumulate() {
            Accumulate::Replace => scaled.store(),
            Accumulate::Add => scaled.plus(*y).store(),
        };
    }
}
