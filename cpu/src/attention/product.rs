//! The products of attention: small, of any strides, and in registers throughout.
#![allow(unsafe_code)]
use crate::simd::Lane;
use core::array::from_fn;

/// Rows of numbers that lie this far apart.
pub(super) type Rows<X> = (X, usize);

/// `c[m, lanes] (+)= a[m, depth] b[depth, lanes]`, where `a` is any matrix in steps of `[m, depth]`, by tiles that fill the
/// registers: `M` by `C` of them, but six rows by two where there are 16 of eight lanes, for eight sums
/// are no more than the processor has under way at once. `m` is a multiple of [`ROWS`], `lanes` of the registers of a tile.
#[inline(always)]
pub(super) fn product<L: Lane, const M: usize, const C: usize>(
    sizes: [usize; 3],
    a: &[f32],
    steps: [usize; 2],
    b: Rows<&[f32]>,
    c: Rows<&mut [f32]>,
    add: bool,
) {
    match L::N {
        8 => tiles::<L, 6, 2>(sizes, a, steps, b, c, add),
        _ => tiles::<L, M, C>(sizes, a, steps, b, c, add),
    }
}

/// Rows of the smallest tile.
pub(super) const ROWS: usize = 4;

/// [`product`] by tiles of `M` rows and then of [`ROWS`]. Bounds are checked here, once: with checks inside attention took
/// half as much time again (Zen 3).
#[inline(always)]
pub(super) fn tiles<L: Lane, const M: usize, const C: usize>(
    [m, depth, lanes]: [usize; 3],
    a: &[f32],
    steps: [usize; 2],
    (b, b_row): Rows<&[f32]>,
    (c, c_row): Rows<&mut [f32]>,
    add: bool,
) {
    const { assert!(M.is_multiple_of(2) && ROWS == 4) };
    assert!(m.is_multiple_of(ROWS) && lanes.is_multiple_of(C * L::N));
    if m == 0 || lanes == 0 {
        return;
    }
    assert!((m - 1) * c_row + lanes <= c.len());
    if let Some(last) = depth.checked_sub(1) {
        assert!((m - 1) * steps[0] + last * steps[1] < a.len() && last * b_row + lanes <= b.len());
    }
    // So many that the rest is a multiple of the smaller tile.
    let step = if M.is_multiple_of(ROWS) { M } else { 2 * M };
    let whole = m / step * step;
    L::apart(
        #[inline(always)]
        || {
            for column in (0..lanes).step_by(C * L::N) {
                let mut row = 0;
                while row < m {
                    // SAFETY: `whole` is a multiple of `M`, and what is left of m one of `ROWS`: so there are as many rows of `a`
                    // and `c` from here on, and `C` registers of the lanes of `b` and `c`; the last entries of all three lie inside
                    // of their slices, as was asserted.
                    unsafe {
                        let (a, b) = (a.as_ptr().add(row * steps[0]), b.as_ptr().add(column));
                        let c = c.as_mut_ptr().add(row * c_row + column);
                        if row < whole {
                            tile::<L, M, C>(depth, (a, steps), (b, b_row), (c, c_row), add);
                        } else {
                            tile::<L, ROWS, C>(depth, (a, steps), (b, b_row), (c, c_row), add);
                        }
                    }
                    row += if row < whole { M } else { ROWS };
                }
            }
        },
    );
}

/// # Safety
/// `M` rows of `depth` numbers at `a`, `depth` rows of `C` registers at `b`, and `M` rows of as many at `c`, which is nobody else's.
#[inline(always)]
unsafe fn tile<L: Lane, const M: usize, const C: usize>(
    depth: usize,
    (a, steps): (*const f32, [usize; 2]),
    (b, b_row): Rows<*const f32>,
    (c, c_row): Rows<*mut f32>,
    add: bool,
) {
    let mut sums = [[L::splat(0.0); C]; M];
    // SAFETY: the rows of `c` that the caller vouches for.
    let place = |i: usize, j: usize| unsafe { core::slice::from_raw_parts_mut(c.add(i * c_row + j * L::N), L::N) };
    if add {
        sums = from_fn(|i| from_fn(|j| L::load(place(i, j))));
    }
    for d in 0..depth {
        // SAFETY: row d of those that the caller vouches for.
        let right = |j: usize| unsafe { core::slice::from_raw_parts(b.add(d * b_row + j * L::N), L::N) };
        let right: [L; C] = from_fn(|j| L::load(right(j)));
        for (i, sums) in sums.iter_mut().enumerate() {
            // SAFETY: entry d of row i, as above.
            let left = L::splat(unsafe { *a.add(i * steps[0] + d * steps[1]) });
            for (sum, right) in sums.iter_mut().zip(right) {
                *sum = left.mul_add(right, *sum);
            }
        }
    }
    for (i, sums) in sums.into_iter().enumerate() {
        for (j, sum) in sums.into_iter().enumerate() {
            sum.store(place(i, j));
        }
    }
}
