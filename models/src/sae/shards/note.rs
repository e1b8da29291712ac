//! The note beside files of activations.
use crate::io::{self, Error, Result};
use crate::sae::Exclude;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::Path;

/// Where only the first tokens of contexts are left out, all files but the last have as many rows.
pub(super) const USUAL: u32 = 1;
/// Where it was chosen what is left out, each has its own number.
pub(super) const CHOSEN: u32 = 2;

/// What the files hold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Note {
    pub version: u32,
    /// Width of a row.
    pub d: usize,
    /// All rows; 0 until they are known.
    pub rows: usize,
    /// Rows of a file; the last has what is left. In version 2, as many as there are if only the first tokens are left out.
    pub each: usize,
    /// Names of the places, in TransformerLens' words.
    pub sites: Vec<String>,
    /// What the rows are of.
    pub data: String,
    /// From version 2 on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chosen: Option<Chosen>,
}

/// What was chosen to be left out, and what is there then.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Chosen {
    pub exclude: Exclude,
    /// Rows of each file; where lengths decide, of those that are written.
    pub files: Vec<usize>,
    /// The longest that a row may be, at each place; none where lengths do not matter.
    pub limits: Vec<f32>,
}

impl Note {
    /// The note at `path`.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read(path).map_err(Error::system(path, "read"))?;
        let note: Self = serde_json::from_slice(&text).map_err(|error| Error::content(path, error.to_string()))?;
        match note.wrong() {
            Some(what) => Err(Error::content(path, what)),
            None => Ok(note),
        }
    }

    pub fn write(&self, path: &Path) -> Result<()> {
        io::replace(path, format!("{:#}\n", serde_json::json!(self)).as_bytes())
    }

    fn wrong(&self) -> Option<String> {
        let known = match &self.chosen {
            None => self.version == USUAL && self.rows > 0,
            Some(_) => self.version == CHOSEN,
        };
        if !known || self.d == 0 || self.each == 0 {
            return Some(format!(
                "is of version {} with {} rows of {}, expected version {USUAL} or {CHOSEN} and some rows",
                self.version, self.rows, self.d
            ));
        }
        if self.sites.iter().any(|site| site.contains(['/', '\\']) || site.starts_with('.')) {
            return Some("names a place outside of its folder".into());
        }
        let Some(Chosen { exclude, files, limits }) = &self.chosen else { return None };
        let all = files.iter().try_fold(0_usize, |all, &rows| all.checked_add(rows));
        if all.is_none() || files.iter().any(|&rows| rows > self.each) || self.rows > 0 && all != Some(self.rows) {
            return Some(format!(
                "has files of {files:?} rows, expected {} together, at most {} each",
                self.rows, self.each
            ));
        }
        let wanted = if exclude.longest.is_some() { self.sites.len() } else { 0 };
        (limits.len() != wanted).then(|| format!("has {} limits of length, expected {wanted}", limits.len()))
    }

    /// Whether this is of a call with the arguments that `wanted` is of, however far it came.
    pub fn is_of(&self, wanted: &Self) -> bool {
        let mut same = wanted.clone();
        if let (Some(there), Some(same_chosen)) = (&self.chosen, &mut same.chosen)
            && same_chosen.exclude.longest.is_some()
        {
            same.rows = self.rows;
            (same_chosen.files, same_chosen.limits) = (there.files.clone(), there.limits.clone());
        }
        *self == same
    }
}
