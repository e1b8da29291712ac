//! Files: what can go wrong with them, and how the library writes one.
#[cfg(feature = "sae")]
mod archive;
#[cfg(feature = "io")]
mod budget;
mod claim;
#[cfg(any(feature = "lm", feature = "sae"))]
mod digest;
mod error;
#[cfg(feature = "io")]
pub mod gguf;
#[cfg(feature = "io")]
pub(crate) mod json;
#[cfg(any(feature = "lm", feature = "sae"))]
pub(crate) mod named;
#[cfg(feature = "sae")]
pub mod npz;
#[cfg(feature = "sae")]
mod pickle;
#[cfg(feature = "io")]
pub mod safetensors;
#[cfg(feature = "sae")]
mod scalars;
#[cfg(feature = "sae")]
pub mod torch;
mod write;

pub use claim::Claim;
#[cfg(any(feature = "lm", feature = "sae"))]
pub use digest::{sha256, sha256_of};
#[cfg(feature = "sae")]
pub(crate) use error::differences;
#[cfg(any(feature = "lm", feature = "sae"))]
pub(crate) use error::short;
pub use error::{Error, Result};
#[cfg(feature = "sae")]
pub use scalars::Scalars;
pub use write::{Contents, replace, replace_all, replace_all_with};
