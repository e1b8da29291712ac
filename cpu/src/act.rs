//! [`latens_kernels::act`] on the host.
pub use latens_kernels::act::forward;
