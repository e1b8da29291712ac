//! Products with few rows: every row of `w` is read once, and nothing is packed. Lost: asking for what lies a page behind a row
//! changed nothing (32 tokens of SmolLM2, 1.88 s and 1.77).
use crate::{level::Level, tile::pack::Matrix};
use alloc::vec;
use latens_kernels::Float;

/// The most rows that this is for; from here on packing pays.
pub(super) const MOST: usize = 8;
/// Lanes of a sum: the order of its terms is fixed by this number alone.
const LANES: usize = 128;
/// Rows of `w` that a task takes.
const TASK: usize = 64;

/// `out = x·wᵀ + bias`, or `out += ..`. Terms lie one after the other in both.
pub(super) fn forward<T: Float>(
    level: Level,
    x: Matrix<'_, T>,
    w: Matrix<'_, T>,
    bias: Option<&[T::Acc]>,
    out: &mut [T],
    add: bool,
) {
    let (m, n, k) = (x.rows, w.rows, x.columns);
    let mut wide = vec![0.0; m * k];
    for (i, to) in wide.chunks_exact_mut(k.max(1)).enumerate() {
        to.iter_mut().zip(&x.data[i * x.down..]).for_each(|(to, x)| *to = x.to_f32());
    }
    let sums = crate::rows::collect(n.div_ceil(TASK), |task| {
        let columns = task * TASK..n.min((task + 1) * TASK);
        let mut sums = vec![0.0; columns.len() * m];
        level.run(
            #[inline(always)]
            |_| {
                for (j, sums) in columns.zip(sums.chunks_exact_mut(m)) {
                    let row = if k == 0 { &[] } else { &w.data[j * w.down..][..k] };
                    for (i, sum) in sums.iter_mut().enumerate() {
                        *sum = dot(&wide[i * k..][..k], row);
                    }
                }
            },
        );
        sums
    });
    for (j, sums) in sums.iter().flat_map(|sums| sums.chunks_exact(m)).enumerate() {
        let bias = bias.map_or(0.0, |bias| bias[j].to_f32());
        for (i, sum) in sums.iter().enumerate() {
            let out = &mut out[i * n + j];
            *out = T::from_f32(sum + bias + if add { out.to_f32() } else { 0.0 });
        }
    }
}

#[inline(always)]
fn dot<T: Float>(x: &[f32], w: &[T]) -> f32 {
    let mut sums = [0.0; LANES];
    let (x, w) = (x.as_chunks::<LANES>(), w.as_chunks::<LANES>());
    for (x, w) in x.0.iter().zip(w.0) {
        for ((sum, x), w) in sums.iter_mut().zip(x).zip(w) {
            *sum += x * w.to_f32();
        }
    }
    let rest: f32 = x.1.iter().zip(w.1).map(|(x, w)| x * w.to_f32()).sum();
    // Halves of halves: one after the other, the sums would take longer than the products.
    let mut half = LANES / 2;
    while half > 0 {
        (0..half).for_each(|i| sums[i] += sums[i + half]);
        half /= 2;
    }
    sums[0] + rest
}
