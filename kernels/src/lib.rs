//! What each kernel is: its contract, its plain reference, its device code, and the geometry of its launch.
//!
//! This crate owns no device and calls no driver. A program that already has a CUDA runtime can use it alone:
//! make [`Span`]s of its memory, ask a family for its [`Launch`]es, load their [`Image`], enqueue.
//!
//! `no_std` + `alloc`, always.
//!
//! # Why no `forbid(unsafe_code)`
//! The crate contains no unsafe block. It declares one unsafe *function*, [`Span::new`], so that an address cannot be
//! invented in safe code; that single word makes every later step (geometry, operation, execution) safe and sound.
#![no_std]
#![deny(unsafe_code)]
extern crate alloc;

mod accumulate;
pub mod act;
pub mod attention;
pub mod conv1d;
pub mod conv2d;
mod element;
pub mod embed;
pub mod entropy;
mod error;
pub mod hyper;
mod launch;
mod layout;
pub mod linear;
pub mod loss;
pub mod lowrank;
pub mod map;
pub mod math;
pub mod norm;
pub mod optim;
mod philox;
pub mod pool;
pub mod quant;
pub mod reduce;
pub mod resize;
pub mod rope;
pub mod route;
pub mod sae;
pub mod scan;
mod segments;
mod sort;
mod span;
pub mod sparsify;
pub mod ssd;
pub mod topk;

pub use accumulate::Accumulate;
pub use element::{DType, Element, Float, order};
pub use error::{Error, Result};
pub use half::{bf16, f16};
pub use launch::{Arg, Chip, Image, Launch};
pub use layout::Layout;
pub use philox::{Philox, philox};
pub use segments::{Segment, Segments};
pub use span::{Span, SpanMut};
