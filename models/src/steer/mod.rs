//! Finding what in a model causes a behaviour, and changing it: [`gradsae`], [`sdcv`] and [`saif`], over the language models of
//! [`lm`](crate::lm) and the autoencoders of [`sae`](crate::sae).
//!
//! | part | |
//! |------|-|
//! | [`Insert`] | an autoencoder in the model: latents are turned off, set, scaled, added to |
//! | [`Push`] | a direction in the model |
//! | [`Positions`], [`Places`] | where in a context, in what is given and in what is chosen |
//! | [`Vector`] | a direction on disk, which belongs to one model |
//! | [`Run`], [`surprise()`] | many prompts continued at once, and how odd that is |
//! | [`states()`], [`states_at`] | texts by their activations and latents, at one place or at several |
//! | [`sources`] | real texts and facts |
//! | [`Grader`], [`answers`], [`judge`] | what came of it |
//! | [`statistics`] | and what that is worth |
//! | [`report`] | as a page |
//!
//! ```no_run
//! use latens::lm::{Hooks, LanguageModel, Site};
//! use latens::sae::Sae;
//! use latens::steer::{Places, Pooling, Positions, Push, Run, sdcv::Sdcv, states};
//! use latens::{Device, assets};
//! let lm = LanguageModel::open(&assets::SMOLLM2.locate(None).unwrap(), &Device::Host)?;
//! let site = Site::residual(15);
//! let sae = Sae::load_at("my-sae".as_ref(), site, &Device::Host)?;
//! // Texts that show a concept and texts that do not give a direction.
//! let texts = ["I beg to differ, Sir.", "Nope, don't think so!"].map(|text| lm.tokenizer.encode(text));
//! let texts = texts.into_iter().collect::<Result<Vec<_>, _>>()?;
//! let seen = states(&lm, site, &sae, &texts, Pooling::Mean, |_| ())?;
//! let found = Sdcv::default().find(&sae, &seen, &[true, false])?;
//! // The direction is added while the model speaks.
//! let prompts = vec![lm.tokenizer.encode("Dear")?];
//! let hooks = |_| Ok(Push::new(&found.values, 2.0, &Device::Host)?.into_hooks(site, Places::new(Positions::All)));
//! println!("{}", Run::new(&lm, 40).go(&prompts, hooks, |_| ())?[0].text);
//! # Ok::<(), latens::io::Error>(())
//! ```
pub mod answers;
mod graders;
pub mod gradsae;
mod insert;
pub mod judge;
mod language;
mod positions;
mod push;
pub mod report;
mod run;
pub mod saif;
pub mod sdcv;
pub mod sources;
mod states;
pub mod statistics;
mod vector;

pub use graders::{Grade, Grader};
pub use insert::{Edit, Insert, Keep};
pub use language::{Language, languages};
pub use positions::{Place, Places, Positions};
pub use push::{Form, Push, add_direction};
pub use run::{Begun, Run, surprise};
pub use states::{Pooling, states, states_at};
pub use vector::Vector;
