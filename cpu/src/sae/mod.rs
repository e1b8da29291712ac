//! [`latens_kernels::sae`] on the host. Element types of 16 bits are widened to `f32` (on processors with AVX-512 BF16 the
//! encoder multiplies `bf16` as it is); `f64` takes the references. Scratch is of the order of the codes.
pub mod backward;
pub mod bias;
mod candidates;
pub mod decode;
pub mod encode;
mod gather;
mod screen;
mod search;
pub mod track;

pub use crate::level::Level;

use alloc::vec::Vec;

/// Threads that work is shared among.
fn threads() -> usize {
    #[cfg(feature = "std")]
    return rayon::current_num_threads();
    #[cfg(not(feature = "std"))]
    1
}

/// Work on these items, on every core where there are threads, and gather what comes of each in order.
fn tasks<I: Send, R: Send>(items: Vec<I>, work: impl Fn(usize, I) -> R + Sync + Send) -> Vec<R> {
    #[cfg(feature = "std")]
    {
        use rayon::prelude::*;
        items.into_par_iter().enumerate().map(|(at, item)| work(at, item)).collect()
    }
    #[cfg(not(feature = "std"))]
    items.into_iter().enumerate().map(|(at, item)| work(at, item)).collect()
}
