//! Files: what can go wrong with them, and how the library writes one.
mod error;
#[cfg(feature = "io")]
pub mod gguf;
#[cfg(feature = "io")]
pub mod safetensors;
mod write;

pub use error::{Error, Result};
pub use write::{replace, replace_all};
