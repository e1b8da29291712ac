use super::Contexts;
use crate::io::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Tokens whose activations are left out: no trainer sees them. By default only the first [`Contexts::SKIPPED`] of a context.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Exclude {
    /// So many at the beginning of a context.
    pub first: usize,
    /// These, by their numbers, wherever they stand: those of the tokenizer's own, line ends.
    pub ids: Vec<u32>,
    /// Those whose activation is longer, at any of the places that are written together, than so many times the median of the first
    /// few thousand there. Above 1. Lengths are known once the model has run, so this needs activations on the disk:
    /// [`Shards::write_kept`](super::Shards::write_kept).
    pub longest: Option<f32>,
}

impl Default for Exclude {
    fn default() -> Self {
        Self { first: Contexts::SKIPPED, ids: Vec::new(), longest: None }
    }
}

impl Exclude {
    /// Whether it can be asked of contexts of `length` tokens out of so many.
    ///
    /// # Errors
    /// [`Error::Setting`] that says which part cannot.
    pub fn check(&self, length: usize, vocabulary: usize) -> Result<()> {
        if self.first >= length {
            let what = format!("the first {} tokens of contexts of {length}, expected fewer", self.first);
            return Err(Error::setting("exclude.first", what));
        }
        if let Some(id) = self.ids.iter().find(|&&id| id as usize >= vocabulary) {
            let what = format!("{id} is no token, expected numbers below {vocabulary}");
            return Err(Error::setting("exclude.ids", what));
        }
        match self.longest {
            Some(longest) if !(longest.is_finite() && longest > 1.0) => {
                Err(Error::setting("exclude.longest", format!("{longest}, expected a finite number above 1")))
            }
            _ => Ok(()),
        }
    }

    /// The same in one way of writing: numbers rise, and each is there once.
    pub(super) fn sorted(mut self) -> Self {
        self.ids.sort_unstable();
        self.ids.dedup();
        self
    }

    /// Whether a token at this place of a context is left out, whatever its activation is. Numbers rise.
    pub(super) fn has(&self, place: usize, id: u32) -> bool {
        place < self.first || self.ids.binary_search(&id).is_ok()
    }
}

/// For [`Config::data`](super::Config::data).
impl fmt::Display for Exclude {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the first {}", self.first)?;
        if !self.ids.is_empty() {
            write!(f, ", tokens {:?}", self.ids)?;
        }
        match self.longest {
            Some(longest) => write!(f, ", and what is longer than {longest} medians"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_settings_are_named() {
        let said = |exclude: Exclude| exclude.check(8, 50).map_err(|error| error.to_string());
        let usual = Exclude::default;
        assert_eq!(said(usual()), Ok(()));
        assert_eq!(said(Exclude { first: 0, ids: vec![0, 49], longest: Some(1.5) }), Ok(()));
        let first = said(Exclude { first: 8, ..usual() }).unwrap_err();
        assert_eq!(first, "exclude.first: the first 8 tokens of contexts of 8, expected fewer");
        let ids = said(Exclude { ids: vec![3, 50], ..usual() }).unwrap_err();
        assert_eq!(ids, "exclude.ids: 50 is no token, expected numbers below 50");
        for longest in [1.0, -2.0, f32::NAN, f32::INFINITY] {
            let said = said(Exclude { longest: Some(longest), ..usual() }).unwrap_err();
            assert!(said.starts_with("exclude.longest: ") && said.ends_with("a finite number above 1"), "{said}");
        }
    }

    #[test]
    fn settings_are_json() {
        let all = Exclude { first: 0, ids: vec![7, 1], longest: Some(1.1) };
        let text = serde_json::to_string(&all).unwrap();
        assert_eq!(text, r#"{"first":0,"ids":[7,1],"longest":1.1}"#);
        assert_eq!(serde_json::from_str::<Exclude>(&text).unwrap(), all);
        assert_eq!(serde_json::from_str::<Exclude>("{}").unwrap(), Exclude::default());
        assert!(serde_json::from_str::<Exclude>(r#"{"firsts": 3}"#).is_err());
        assert_eq!(all.sorted().to_string(), "the first 0, tokens [1, 7], and what is longer than 1.1 medians");
    }
}
