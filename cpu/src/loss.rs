//! [`latens_kernels::loss`] on the host.
pub use latens_kernels::loss::forward;
