//! [`latens_kernels::sae`] on the host.
pub use latens_kernels::sae::{backward, bias, decode, encode, track};
