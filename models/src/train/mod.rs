//! Training of language models: the order of the text, schedules, rules of a step, groups of weights, accumulation, few-bit weights
//! with `f32` masters, states that are continued bit by bit, and what all of it takes of memory. And [`Lbfgs`], for probes.
//!
//! ```no_run
//! use latens::lm::{Config, Decoder};
//! use latens::train::{Schedule, Settings, Trainer};
//! use latens::{Device, assets};
//! let text = std::fs::read(assets::SPEECHES.locate(None).unwrap().join("1981-Carter-1.txt")).unwrap();
//! let ids: Vec<u32> = text.into_iter().map(u32::from).collect(); // a token is a byte
//! let model: Decoder = Decoder::random(Config::llama(4, 128, 4, 256, 128), 0, &Device::Host)?;
//! let settings = Settings::new(128, Schedule::cosine(2e-3, 200));
//! let mut trainer = Trainer::new(model, ids, settings)?;
//! while !trainer.is_done() {
//!     let now = trainer.step()?;
//!     println!("{} {:.3}", now.step, now.loss);
//! }
//! trainer.model().save("model".as_ref())?;
//! # Ok::<(), latens::io::Error>(())
//! ```
mod lbfgs;
mod memory;
mod ngram;
mod optimiser;
mod order;
mod rule;
mod schedule;
mod state;
mod trainer;

pub use lbfgs::{Lbfgs, Minimum};
pub use memory::{Held, Memory, peak};
pub use ngram::Trigrams;
pub use optimiser::{Group, Optimiser, Stored};
pub use order::Order;
pub use rule::{Betas, Rule};
pub use schedule::{Schedule, Shape};
pub use trainer::{Progress, Settings, Trainer};

#[cfg(test)]
mod tests;
