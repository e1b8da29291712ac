//! Activations on the disk, for many autoencoders that are trained on the same: one pass of the model writes those of several places.
mod note;
mod write;

use super::{Contexts, Kept};
use crate::Tensor;
use crate::io::named::Incoming;
use crate::io::{Error, Result};
use crate::lm::{Decoder, Site};
use note::Note;
use std::path::{Path, PathBuf};

/// A folder of activations: `shards.json`, and for each place a folder with files `00000.safetensors` and so on, each a tensor
/// `activations` `[rows, d]` of f32; of a file without rows there is none. Rows are those of [`Contexts::activations`] or
/// [`Kept::activations`], in their order.
#[derive(Debug)]
pub struct Shards {
    folder: PathBuf,
    note: Note,
    /// Rows before each file and at last all, where files have different numbers of them.
    before: Vec<usize>,
}

const NOTE: &str = "shards.json";
const TENSOR: &str = "activations";

impl Shards {
    /// Run `model` over `contexts` and write what it has at `sites`, so many contexts to a file; `tell` how many rows at a time. What is
    /// there of an interrupted call with the same arguments is kept. `data` says what the rows are, model and text.
    ///
    /// # Errors
    /// Those of the model and of the disk; [`Error::Content`] if the folder holds activations of something else, or another run writes
    /// there.
    pub fn write(
        folder: &Path,
        model: &Decoder,
        contexts: &Contexts,
        sites: &[Site],
        each: usize,
        data: &str,
        tell: impl FnMut(usize),
    ) -> Result<Self> {
        Self::write_kept(folder, model, &Kept::usual(contexts), sites, each, data, tell)
    }

    /// The same of the tokens that are kept. All places have the same rows: where [lengths](super::Exclude::longest) decide, a token is
    /// left out if its activation is too long at any of them, and `tell` counts it still.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn write_kept(
        folder: &Path,
        model: &Decoder,
        kept: &Kept<'_>,
        sites: &[Site],
        each: usize,
        data: &str,
        tell: impl FnMut(usize),
    ) -> Result<Self> {
        write::write(folder, model, kept, sites, each, data, tell)
    }

    /// What [`write`](Self::write) left.
    ///
    /// # Errors
    /// [`Error::System`] or [`Error::Content`] if it is not there, or not that.
    pub fn open(folder: &Path) -> Result<Self> {
        Self::of(folder, Note::read(&folder.join(NOTE))?)
    }

    /// What `note` says of `folder`.
    fn of(folder: &Path, note: Note) -> Result<Self> {
        if note.rows == 0 {
            let what = "is not finished: the call that began it goes on";
            return Err(Error::content(&folder.join(NOTE), what));
        }
        let mut before = vec![0];
        for rows in note.chosen.iter().flat_map(|chosen| &chosen.files) {
            before.push(before[before.len() - 1] + rows);
        }
        Ok(Self { folder: folder.to_owned(), note, before })
    }

    /// Width of a row.
    pub fn d(&self) -> usize {
        self.note.d
    }

    /// Rows of each place.
    pub fn rows(&self) -> usize {
        self.note.rows
    }

    /// Names of the places.
    pub fn sites(&self) -> &[String] {
        &self.note.sites
    }

    /// What the rows are of, for [`Config::data`](super::Config::data).
    pub fn data(&self) -> &str {
        &self.note.data
    }

    /// Write rows `start..` of the place `site` (a number of [`sites`](Self::sites)) to `rows`, as far as there are any: what
    /// [`Buffer`](super::Buffer) asks for.
    ///
    /// # Errors
    /// A file that is missing or holds something else.
    pub fn read(&self, site: usize, start: usize, rows: &mut Tensor<f32, 2>) -> Result<()> {
        let ([room, d], note) = (rows.dims(), &self.note);
        if site >= note.sites.len() || d != note.d {
            let what = format!("place {site} of width {d}, there are {} of width {}", note.sites.len(), note.d);
            return Err(Error::setting("site", what));
        }
        let (end, mut at) = (note.rows.min(start.saturating_add(room)), start);
        while at < end {
            let (shard, first, count) = self.file_of(at);
            let numbers = Incoming::open(&self.path(site, shard))?.take(TENSOR, &[count, d])?;
            let to = end.min(first + count);
            let part =
                Tensor::from_vec(numbers[(at - first) * d..(to - first) * d].to_vec(), [to - at, d], &rows.device())?;
            crate::copy_into(part.view(), rows.view_mut().narrow(0, at - start, to - start)?)?;
            at = to;
        }
        Ok(())
    }

    /// The file of a row, its first row and its rows.
    fn file_of(&self, row: usize) -> (usize, usize, usize) {
        let note = &self.note;
        if note.chosen.is_none() {
            let shard = row / note.each;
            let first = shard * note.each;
            return (shard, first, note.each.min(note.rows - first));
        }
        let shard = self.before.partition_point(|&before| before <= row) - 1;
        (shard, self.before[shard], self.before[shard + 1] - self.before[shard])
    }

    /// The first so many rows of a place on the host, for what a trainer begins with.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn first(&self, site: usize, rows: usize) -> Result<Vec<f32>> {
        let mut some = Tensor::zeros([rows.min(self.note.rows), self.note.d], &crate::Device::Host)?;
        self.read(site, 0, &mut some)?;
        Ok(some.to_vec()?)
    }

    fn path(&self, site: usize, shard: usize) -> PathBuf {
        file(&self.folder, &self.note.sites[site], shard)
    }
}

/// Where the rows of a place are.
fn file(folder: &Path, site: &str, shard: usize) -> PathBuf {
    folder.join(site).join(format!("{shard:05}.safetensors"))
}
