//! The product of two matrices of any strides.
#![allow(unsafe_code)]
use latens_kernels::Float;

/// A matrix: entry (i, j) is `data[i * down + j * across]`.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a, T> {
    pub data: &'a [T],
    pub rows: usize,
    pub columns: usize,
    pub down: usize,
    pub across: usize,
}

impl<T> Matrix<'_, T> {
    /// Elements from the first to one past the last.
    fn span(&self) -> usize {
        match self.rows * self.columns {
            0 => 0,
            _ => (self.rows - 1) * self.down + (self.columns - 1) * self.across + 1,
        }
    }
}

/// `out = a·b`, or `out += a·b`; `out` is packed. The order of a sum depends on the sizes only.
pub(crate) fn product<T: Float>(a: Matrix<'_, T>, b: Matrix<'_, T>, out: &mut [T], add: bool) {
    let (m, n, k) = (a.rows, b.columns, a.columns);
    assert!(b.rows == k && out.len() == m * n && a.data.len() >= a.span() && b.data.len() >= b.span());
    if out.is_empty() {
        return;
    }
    #[cfg(feature = "std")]
    {
        let (one, old) = (T::narrow(1.0), T::narrow(f64::from(u8::from(add))));
        let small = m * n * k < 1 << 15;
        let threads = if small { gemm::Parallelism::None } else { gemm::Parallelism::Rayon(0) };
        // SAFETY: the spans of both inputs are inside their data, and the output is as large as it must be.
        unsafe {
            gemm::gemm(
                m,
                n,
                k,
                out.as_mut_ptr(),
                1,
                n as isize,
                add,
                a.data.as_ptr(),
                a.across as isize,
                a.down as isize,
                b.data.as_ptr(),
                b.across as isize,
                b.down as isize,
                old,
                one,
                false,
                false,
                false,
                threads,
            );
        }
    }
    #[cfg(not(feature = "std"))]
    for (i, row) in out.chunks_exact_mut(n).enumerate() {
        for (j, out) in row.iter_mut().enumerate() {
            let terms =
                (0..k).map(|c| a.data[i * a.down + c * a.across].wide() * b.data[c * b.down + j * b.across].wide());
            *out = T::narrow(if add { out.wide() } else { 0.0 } + terms.sum::<f64>());
        }
    }
}
