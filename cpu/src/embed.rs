//! [`latens_kernels::embed`] on the host.
pub use latens_kernels::embed::forward;
