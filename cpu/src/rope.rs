//! [`latens_kernels::rope`] on the host.
pub use latens_kernels::rope::forward;
