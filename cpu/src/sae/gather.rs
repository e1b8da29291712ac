//! The inner loops over rows of weights, gradients and inputs: plain loops, compiled for every level.
use super::level::Fused;
use latens_kernels::Float;

/// `sum[c] += Σ scale · row[c]` over some rows, whose numbers are read once and in order; sums stay in registers.
#[inline(always)]
pub(super) fn add_rows<'a, T: Float>(
    fused: Fused,
    sum: &mut [f32],
    rows: impl Iterator<Item = (f32, &'a [T])> + Clone,
) {
    /// Columns whose sums are kept in registers: 16 of AVX-512, 32 of AVX2 (half of them spill to the nearest cache).
    const SLAB: usize = 256;
    let mut start = 0;
    while start + SLAB <= sum.len() {
        let slab: &mut [f32; SLAB] = (&mut sum[start..start + SLAB]).try_into().expect("a slab");
        add_slab(fused, slab, start, rows.clone());
        start += SLAB;
    }
    for (scale, row) in rows {
        for (sum, x) in sum[start..].iter_mut().zip(&row[start..]) {
            *sum = fused.mul_add(scale, x.to_f32(), *sum);
        }
    }
}

#[inline(always)]
fn add_slab<'a, T: Float, const N: usize>(
    fused: Fused,
    sum: &mut [f32; N],
    start: usize,
    rows: impl Iterator<Item = (f32, &'a [T])>,
) {
    let mut kept = *sum;
    for (scale, row) in rows {
        let row: &[T; N] = row[start..start + N].try_into().expect("a slab");
        for c in 0..N {
            kept[c] = fused.mul_add(scale, row[c].to_f32(), kept[c]);
        }
    }
    *sum = kept;
}

/// Lanes of a sum, so that it can be vectorised without changing its order from level to level.
const LANES: usize = 64;

/// `Σ a[c] b[c]`.
#[inline(always)]
pub(super) fn dot<T: Float, U: Float>(fused: Fused, a: &[T], b: &[U]) -> f32 {
    let mut lanes = [0.0; LANES];
    let (a_parts, b_parts) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let mut rest = 0.0;
    for (a, b) in a_parts.remainder().iter().zip(b_parts.remainder()) {
        rest = fused.mul_add(a.to_f32(), b.to_f32(), rest);
    }
    for (a, b) in a_parts.zip(b_parts) {
        for c in 0..LANES {
            lanes[c] = fused.mul_add(a[c].to_f32(), b[c].to_f32(), lanes[c]);
        }
    }
    rest + total(lanes)
}

/// `out = x - sum`, and the sum of its squares; `recon = sum`.
#[inline(always)]
pub(super) fn compare<T: Float>(fused: Fused, sum: &[f32], x: &[T], recon: &mut [T], residual: &mut [T]) -> f32 {
    let mut lanes = [0.0; LANES];
    let len = sum.len();
    let (x, recon, residual) = (&x[..len], &mut recon[..len], &mut residual[..len]);
    for start in (0..len).step_by(LANES) {
        for c in start..len.min(start + LANES) {
            let e = x[c].to_f32() - sum[c];
            recon[c] = T::from_f32(sum[c]);
            residual[c] = T::from_f32(e);
            lanes[c - start] = fused.mul_add(e, e, lanes[c - start]);
        }
    }
    total(lanes)
}

#[inline(always)]
fn total(mut lanes: [f32; LANES]) -> f32 {
    let mut half = LANES / 2;
    while half > 0 {
        for c in 0..half {
            lanes[c] += lanes[c + half];
        }
        half /= 2;
    }
    lanes[0]
}
