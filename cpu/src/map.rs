//! [`latens_kernels::map`] on the host.
pub use latens_kernels::map::{add, cast, copy, scale};
