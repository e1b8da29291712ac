//! Files: what can go wrong with them, and how the library writes one.
mod error;
mod write;

pub use error::{Error, Result};
pub use write::replace;
