//! Tensors, and the operations on them. An operation checks its arguments once, then runs where its tensors lie.
#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;
mod tensor;
mod topk;

pub use latens_kernels::{DType, Element, Error, Float, Layout, Philox, Result, bf16, f16};
pub use tensor::{Data, DataMut, Device, Tensor, View, ViewMut};
pub use topk::{topk, topk_into, topk_workspace};
#[cfg(feature = "cuda")]
pub use {latens_cuda as cuda, latens_kernels::Span, latens_kernels::SpanMut};
