//! [`latens_kernels::norm`] on the host.
pub use latens_kernels::norm::forward;
