//! What an autoencoder is good for, by the published measures: reconstruction and sparsity ([`Core`]), what a language model loses by it
//! ([`Downstream`]), what few latents tell of a text ([`sparse_probing`]), whether a concept can be taken out ([`scr`], [`tpp`]),
//! whether latents of words absorb those of letters ([`first_letters`]), and which directions are found twice ([`nearest_within`],
//! [`Agreement`]), and whether words say where a latent fires ([`interpret()`], by [`explain`], [`detection`] and [`fuzzing`]). The definitions are SAEBench's (Karvonen et al. 2025) unless said otherwise; every variant of [`Sae`](super::Sae)
//! goes through them, on any device.
//!
//! ```no_run
//! use latens::lm::{LanguageModel, Site};
//! use latens::sae::{Sae, eval::{Draw, Sources, binary, probe_task}};
//! use latens::{Device, assets};
//! let lm = LanguageModel::open(&assets::SMOLLM2.locate(None).unwrap(), &Device::Host)?;
//! let sae = Sae::load("my-sae".as_ref(), &Device::Host)?;
//! for task in binary(&Sources::locate().unwrap(), &Draw::default())? {
//!     let found = probe_task(&lm, Site::residual(15), &sae, &task, 64, &[1, 2, 5], |_| ())?;
//!     println!("{}: {:.2} by one latent, {:.2} by all of it", found.task, found.sparse[0].accuracy, found.raw);
//! }
//! # Ok::<(), latens::io::Error>(())
//! ```
mod absorption;
mod concepts;
mod core;
mod downstream;
mod forward;
mod inputs;
mod interpret;
mod interpreted;
mod lasso;
mod pooled;
mod probe;
mod probing;
mod similarity;
mod sources;
mod sparse;
mod spelling;
mod tasks;

pub use self::core::Core;
pub use absorption::{Absorption, Letter, Letters, Words, absorption};
pub use concepts::{ABLATED, Classed, Crossed, Scr, ScrScore, Tpp, TppScore, scr, scr_task, tpp, tpp_task};
pub use downstream::Downstream;
pub use inputs::Inputs;
pub use interpret::{Score, Shown, detection, explain, fuzzing};
pub use interpreted::{Interpreted, interpret};
pub use pooled::{Pooled, pool, pool_each};
pub use probe::{Fit, Probe};
pub use probing::{Labelled, Probing, SparseProbe, probe_task, probe_task_each, sparse_probing};
pub use similarity::{Agreement, Nearest, nearest_in, nearest_within};
pub use sources::{Essay, Sentence, Sources, Speech, brown, mails, sentences, speeches};
pub use sparse::SparseRows;
pub use spelling::{Spelling, Word, first_letters, words};
pub use tasks::{Draw, Example, Task, binary, classed, crossed, era, genres, labels, party, party_by_era, spam, tags};
