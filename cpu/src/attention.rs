//! [`latens_kernels::attention`] on the host.
pub use latens_kernels::attention::forward;
