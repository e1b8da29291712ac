//! Writing files of activations.
use super::note::{CHOSEN, Chosen, Note, USUAL};
use super::{NOTE, Shards, TENSOR, file};
use crate::io::named::Outgoing;
use crate::io::{self, Claim, Error, Result, differences};
use crate::lm::{Decoder, Point, Site};
use crate::sae::{Kept, hook_name};
use serde_json::json;
use std::fs;
use std::ops::Range;
use std::path::Path;

/// Rows whose lengths the median is of.
const MEDIAN: usize = 4096;

pub(super) fn write(
    folder: &Path,
    model: &Decoder,
    kept: &Kept<'_>,
    sites: &[Site],
    each: usize,
    data: &str,
    mut tell: impl FnMut(usize),
) -> Result<Shards> {
    if sites.is_empty() {
        return Err(Error::setting("sites", "there must be at least one"));
    }
    sites.iter().try_for_each(|site| site.check(model.config().layers, Point::PASSED))?;
    if each == 0 || kept.rows() == 0 {
        return Err(Error::setting("contexts", "there must be at least one, and one in a file"));
    }
    let _claim = Claim::of(folder)?;
    let mut writer = Writer { folder, model, kept, sites, note: note(model, kept, sites, each, data)? };
    writer.begin()?;
    for (at, first) in (0..kept.contexts().len()).step_by(each).enumerate() {
        let part = first..kept.contexts().len().min(first + each);
        match writer.has(at, &part) {
            true => tell(kept.of_contexts(part).len()),
            false => writer.put(at, part, &mut tell)?,
        }
    }
    writer.finish()
}

/// What is to be written, as far as that is known before the model runs.
fn note(model: &Decoder, kept: &Kept<'_>, sites: &[Site], each: usize, data: &str) -> Result<Note> {
    let (contexts, exclude) = (kept.contexts(), kept.exclude());
    let known = exclude.longest.is_none();
    let names = sites.iter().map(|&site| hook_name(site)).collect::<Result<Vec<_>>>()?;
    let parts = (0..contexts.len()).step_by(each).map(|first| first..contexts.len().min(first + each));
    let files = if known { parts.map(|part| kept.of_contexts(part).len()).collect() } else { Vec::new() };
    let chosen = Chosen { exclude: exclude.clone(), files, limits: Vec::new() };
    // Which rows are too long depends on where one looks.
    let at = if known { String::new() } else { format!(" at {}", names.join(", ")) };
    Ok(Note {
        version: if kept.is_usual() { USUAL } else { CHOSEN },
        d: model.config().dim,
        rows: if known { kept.rows() } else { 0 },
        each: each.saturating_mul(contexts.length - exclude.first),
        sites: names,
        data: format!("{data}; {}{at}", kept.data()),
        chosen: if kept.is_usual() { None } else { Some(chosen) },
    })
}

/// A folder on the way.
struct Writer<'a> {
    folder: &'a Path,
    model: &'a Decoder,
    kept: &'a Kept<'a>,
    sites: &'a [Site],
    note: Note,
}

impl Writer<'_> {
    /// Take over what is there of the same, or begin.
    fn begin(&mut self) -> Result<()> {
        let path = self.folder.join(NOTE);
        if fs::exists(&path).map_err(Error::system(&path, "read"))? {
            let there = Note::read(&path)?;
            if !there.is_of(&self.note) {
                let what = differences(&json!(there), &json!(self.note));
                return Err(Error::content(&path, format!("holds other activations: {what}")));
            }
            self.note = there;
        } else {
            let limits = self.limits()?;
            self.note.chosen.iter_mut().for_each(|chosen| chosen.limits.clone_from(&limits));
            self.note.write(&path)?;
        }
        for site in &self.note.sites {
            let path = self.folder.join(site);
            fs::create_dir_all(&path).map_err(Error::system(&path, "make folder"))?;
        }
        Ok(())
    }

    /// How long a row may be, at each place.
    fn limits(&self) -> Result<Vec<f32>> {
        let Some(longest) = self.kept.exclude().longest else { return Ok(Vec::new()) };
        let rows = self.kept.rows().min(MEDIAN);
        let all = self.kept.all_sites(self.model, self.kept.contexts_of(0..rows), self.sites, &mut |_| {})?;
        let limit = |of: &Vec<f32>| {
            let mut some: Vec<f32> = lengths(of, self.note.d).take(rows).collect();
            some.sort_unstable_by(f32::total_cmp);
            let median = some[rows / 2];
            match longest * median {
                limit if limit.is_finite() => Ok(limit),
                _ => Err(Error::setting("exclude.longest", format!("the median of lengths is {median}"))),
            }
        };
        all.iter().map(limit).collect()
    }

    /// Rows of a file, if they are known.
    fn rows(&self, at: usize, part: &Range<usize>) -> Option<usize> {
        match &self.note.chosen {
            Some(chosen) => chosen.files.get(at).copied(),
            None => Some(self.kept.of_contexts(part.clone()).len()),
        }
    }

    /// Whether a file is there, at all places.
    fn has(&self, at: usize, part: &Range<usize>) -> bool {
        let is_file = |site: &String| file(self.folder, site, at).is_file();
        self.rows(at, part).is_some_and(|rows| rows == 0 || self.note.sites.iter().all(is_file))
    }

    /// Write a file, at all places.
    fn put(&mut self, at: usize, part: Range<usize>, tell: &mut impl FnMut(usize)) -> Result<()> {
        let known = self.rows(at, &part);
        let mut all = self.kept.all_sites(self.model, part, self.sites, tell)?;
        if let Some(chosen) = &self.note.chosen {
            cut(&mut all, self.note.d, &chosen.limits);
        }
        let rows = all[0].len() / self.note.d;
        for (site, numbers) in self.note.sites.iter().zip(all) {
            if rows > 0 {
                let mut outgoing = Outgoing::default();
                outgoing.put(TENSOR, &[rows, self.note.d], numbers);
                io::replace(&file(self.folder, site, at), &outgoing.bytes()?)?;
            }
        }
        match &mut self.note.chosen {
            Some(chosen) if known.is_none() => {
                chosen.files.push(rows);
                self.note.write(&self.folder.join(NOTE))
            }
            _ => Ok(()),
        }
    }

    /// Say how many rows there are, where only now that is known.
    fn finish(mut self) -> Result<Shards> {
        if self.note.rows == 0 {
            self.note.rows = self.note.chosen.iter().flat_map(|chosen| &chosen.files).sum();
            if self.note.rows == 0 {
                return Err(Error::setting("exclude.longest", "every activation is too long, which leaves nothing"));
            }
            self.note.write(&self.folder.join(NOTE))?;
        }
        Shards::of(self.folder, self.note)
    }
}

fn lengths(rows: &[f32], d: usize) -> impl Iterator<Item = f32> + '_ {
    rows.chunks_exact(d).map(|row| row.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt() as f32)
}

/// Leave out of all places the rows that are longer than the limit of any.
fn cut(all: &mut [Vec<f32>], d: usize, limits: &[f32]) {
    let mut keep = vec![true; all.first().map_or(0, Vec::len) / d];
    for (of, &limit) in all.iter().zip(limits) {
        // What is no number stays: a trainer says where it is.
        keep.iter_mut().zip(lengths(of, d)).for_each(|(keep, length)| *keep &= length <= limit || length.is_nan());
    }
    if keep.iter().all(|&keep| keep) {
        return;
    }
    for of in all {
        let rows = of.chunks_exact(d).zip(&keep).filter(|(_, keep)| **keep);
        *of = rows.flat_map(|(row, _)| row).copied().collect();
    }
}
