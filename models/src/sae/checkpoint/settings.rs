use crate::io::named::Incoming;
use crate::io::{self, Error, Result};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// The settings of a checkpoint.
pub(super) const CONFIG: &str = "cfg.json";
/// Under `metadata` there: the mark that the weights bear too.
pub(super) const PAIR: &str = "latens_pair";

/// There too: room per row, which SAELens does not limit.
pub(super) const ROOM: &str = "most";

/// `cfg.json`, and errors that name its path.
pub(super) struct Settings {
    path: PathBuf,
    pub value: Value,
}

impl Settings {
    pub fn open(path: &Path) -> Result<Self> {
        Ok(Self { path: path.to_owned(), value: io::json::read(path)? })
    }

    pub fn wrong<T>(&self, what: String) -> Result<T> {
        Err(Error::content(&self.path, what))
    }

    /// A whole number.
    pub fn size(&self, name: &str) -> Result<usize> {
        match self.value[name].as_u64().map(usize::try_from) {
            Some(Ok(size)) => Ok(size),
            _ => self.wrong(format!("{name} is {}, expected a size", self.value[name])),
        }
    }

    /// The weights, which must not be of another checkpoint.
    pub fn beside(&self, path: &Path) -> Result<Incoming> {
        let weights = Incoming::open(path)?;
        match weights.note() {
            Ok(pair) if self.value["metadata"][PAIR] != *pair => Err(weights.wrong(format!(
                "these weights are of another checkpoint than {CONFIG} beside them: saving was interrupted, or is under way"
            ))),
            _ => Ok(weights),
        }
    }

    /// Latents that are kept of a row, before version 6 of SAELens an argument of its activation.
    pub fn k(&self, n: usize) -> Result<usize> {
        let old = self.value["k"].is_null().then(|| self.value["activation_fn_kwargs"]["k"].as_u64()).flatten();
        let k = old.map_or_else(|| self.size("k"), |k| Ok(usize::try_from(k).unwrap_or(usize::MAX)))?;
        match k {
            0 => self.wrong("k is 0, at least one latent must be kept".into()),
            k if k <= n => Ok(k),
            k => self.wrong(format!("k is {k}, more than the {n} latents")),
        }
    }

    /// Room per row: all, if nothing is said.
    pub fn room(&self, n: usize) -> Result<usize> {
        match &self.value["metadata"][ROOM] {
            Value::Null => Ok(n),
            most => match most.as_u64() {
                Some(most @ 1..) => Ok(n.min(usize::try_from(most).unwrap_or(n))),
                _ => self.wrong(format!("metadata.{ROOM} is {most}, expected at least 1")),
            },
        }
    }

    /// A number above 0 in a part of the settings.
    pub fn positive(&self, part: &Value, name: &str) -> Result<f64> {
        match part[name].as_f64() {
            Some(number) if number > 0.0 && number.is_finite() => Ok(number),
            _ => self.wrong(format!("{name} is {}, expected a number above 0", part[name])),
        }
    }

    /// A word, which must be one of these; the first if nothing is said.
    pub fn only<'a>(&self, name: &str, known: &[&'a str]) -> Result<&'a str> {
        let said = match &self.value[name] {
            Value::Null => known[0],
            Value::String(said) => said,
            _ => "",
        };
        match known.iter().find(|one| **one == said) {
            Some(one) => Ok(one),
            None => self.wrong(format!("{name} is {}, supported are {known:?}", self.value[name])),
        }
    }

    /// Whether something is switched on.
    pub fn is_on(&self, name: &str) -> bool {
        self.value[name] == Value::Bool(true)
    }

    /// Something that must not be switched on.
    pub fn off(&self, name: &str) -> Result<()> {
        if self.is_on(name) { self.wrong(format!("{name} is not supported")) } else { Ok(()) }
    }
}
