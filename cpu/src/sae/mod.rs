//! [`latens_kernels::sae`] on the host. Element types of 16 bits are widened to `f32` (on processors with AVX-512 BF16 the
//! encoder multiplies `bf16` as it is); `f64` takes the references. Scratch is of the order of the codes;
//! besides, for each thread, decoding takes at most 1152 kB, and encoding `f32` rounds at most four blocks of 1024 rows of `x` to
//! 16 bits, and 8 MB of `w` for all.
pub mod backward;
pub mod bias;
mod candidates;
pub mod decode;
pub mod encode;
pub mod gate;
mod gather;
mod screen;
mod search;
mod slab;
pub mod slopes;
pub mod track;

pub use crate::level::Level;

use crate::rows;
use alloc::vec::Vec;

/// Work on these items, each of which is told its number: what comes of them, in order.
fn tasks<I: Send, R: Send>(items: Vec<I>, work: impl Fn(usize, I) -> R + Sync) -> Vec<R> {
    rows::each_of(items.into_iter().enumerate().collect(), |(at, item)| work(at, item))
}
