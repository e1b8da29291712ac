//! [`latens_kernels::sae`] on the host. Element types of 16 bits are widened to `f32` (on processors with AVX-512 BF16 the
//! encoder multiplies `bf16` as it is); `f64` takes the references. Scratch is of the order of the codes.
mod candidates;
pub mod encode;
mod level;
mod tile;

pub use latens_kernels::sae::{backward, bias, decode, track};
pub use level::Level;

use alloc::vec::Vec;
use latens_kernels::Float;

/// Threads that work is shared among.
fn threads() -> usize {
    #[cfg(feature = "std")]
    return rayon::current_num_threads();
    #[cfg(not(feature = "std"))]
    1
}

/// Do `count` tasks, on every core where there are threads, and gather what they give in order.
fn tasks<R: Send>(count: usize, work: impl Fn(usize) -> R + Sync + Send) -> Vec<R> {
    #[cfg(feature = "std")]
    {
        use rayon::prelude::*;
        (0..count).into_par_iter().map(work).collect()
    }
    #[cfg(not(feature = "std"))]
    (0..count).map(work).collect()
}

/// `to = from`.
fn widen<T: Float>(level: Level, from: &[T], to: &mut [f32]) {
    level.run(
        #[inline(always)]
        |_| from.iter().zip(to).for_each(|(from, to)| *to = from.to_f32()),
    );
}
