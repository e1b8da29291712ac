//! [`latens_kernels::sae`] on the host. Element types of 16 bits are widened to `f32` (on processors with AVX-512 BF16 the
//! encoder multiplies `bf16` as it is); `f64` takes the references. Scratch is of the order of the codes,
//! and in decoding at most 1152 kB more for each thread.
pub mod backward;
pub mod bias;
mod candidates;
pub mod decode;
pub mod encode;
mod gather;
mod screen;
mod search;
mod slab;
pub mod track;

pub use crate::level::Level;

use crate::rows;
use alloc::vec::Vec;

/// Work on these items, each of which is told its number: what comes of them, in order.
fn tasks<I: Send, R: Send>(items: Vec<I>, work: impl Fn(usize, I) -> R + Sync) -> Vec<R> {
    rows::each_of(items.into_iter().enumerate().collect(), |(at, item)| work(at, item))
}
