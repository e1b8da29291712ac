//! [`latens_kernels::reduce`] on the host.
pub use latens_kernels::reduce::forward;
