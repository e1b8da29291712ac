//! Activations on the disk, for many autoencoders that are trained on the same: one pass of the model writes those of several places.
use super::Contexts;
use crate::Tensor;
use crate::io::named::{Incoming, Outgoing};
use crate::io::{self, Claim, Error, Result};
use crate::lm::{Decoder, Hooks, Point, Site};
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};

/// A folder of activations: `shards.json`, and for each place a folder with files `00000.safetensors` and so on, each a tensor
/// `activations` `[rows, d]` of f32. Rows are those of [`Contexts::activations`], in their order.
#[derive(Debug)]
pub struct Shards {
    folder: PathBuf,
    note: Note,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    version: u32,
    /// Width of a row.
    d: usize,
    rows: usize,
    /// Rows of a file; the last has what is left.
    each: usize,
    /// Names of the places, in TransformerLens' words.
    sites: Vec<String>,
    /// What the rows are of.
    data: String,
}

const NOTE: &str = "shards.json";
const TENSOR: &str = "activations";
const VERSION: u32 = 1;

/// What TransformerLens calls a place.
///
/// # Errors
/// A place that it has no name for.
pub fn hook_name(site: Site) -> Result<String> {
    let point = match site.point {
        Point::Residual => "hook_resid_post",
        Point::Attention => "hook_attn_out",
        Point::MlpInput => "ln2.hook_normalized",
        Point::Mlp => "hook_mlp_out",
        Point::Mixer => return Err(Error::setting("site", "a mixer has no name in TransformerLens' words")),
    };
    Ok(format!("blocks.{}.{point}", site.layer))
}

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
        mut tell: impl FnMut(usize),
    ) -> Result<Self> {
        let Some(last) = sites.iter().max() else { return Err(Error::setting("sites", "there must be at least one")) };
        if each == 0 || contexts.is_empty() {
            return Err(Error::setting("contexts", "there must be at least one, and one in a file"));
        }
        let _claim = Claim::of(folder)?;
        let per = contexts.rows() / contexts.len();
        let note = Note {
            version: VERSION,
            d: model.config().dim,
            rows: contexts.rows(),
            each: each * per,
            sites: sites.iter().map(|&site| hook_name(site)).collect::<Result<_>>()?,
            data: format!("{data}; contexts {}", contexts.sha256()),
        };
        match fs::read(folder.join(NOTE)) {
            Ok(_) => Self::open(folder)?.is(&note)?,
            Err(_) => io::replace(&folder.join(NOTE), format!("{:#}\n", serde_json::json!(note)).as_bytes())?,
        }
        for site in &note.sites {
            let path = folder.join(site);
            fs::create_dir_all(&path).map_err(Error::system(&path, "make folder"))?;
        }
        let shards = Self { folder: folder.to_owned(), note };
        for (at, first) in (0..contexts.len()).step_by(each).enumerate() {
            let count = each.min(contexts.len() - first);
            if (0..sites.len()).all(|site| shards.path(site, at).is_file()) {
                tell(count * per);
                continue;
            }
            let part = Contexts {
                length: contexts.length,
                ids: contexts.ids[first * contexts.length..][..count * contexts.length].to_vec(),
            };
            let all = all_sites(model, &part, sites, *last, &mut tell)?;
            for (site, rows) in all.into_iter().enumerate() {
                let mut file = Outgoing::default();
                file.put(TENSOR, &[count * per, shards.note.d], rows);
                io::replace(&shards.path(site, at), &file.bytes()?)?;
            }
        }
        Ok(shards)
    }

    /// What [`write`](Self::write) left.
    ///
    /// # Errors
    /// [`Error::System`] or [`Error::Content`] if it is not there, or not that.
    pub fn open(folder: &Path) -> Result<Self> {
        let path = folder.join(NOTE);
        let text = fs::read(&path).map_err(Error::system(&path, "read"))?;
        let note: Note = serde_json::from_slice(&text).map_err(|error| Error::content(&path, error.to_string()))?;
        if note.version != VERSION || note.d == 0 || note.each == 0 || note.rows == 0 {
            let what = format!(
                "is of version {} with {} rows of {}, expected version {VERSION} and some rows",
                note.version, note.rows, note.d
            );
            return Err(Error::content(&path, what));
        }
        if note.sites.iter().any(|site| site.contains(['/', '\\']) || site.starts_with('.')) {
            return Err(Error::content(&path, "names a place outside of its folder"));
        }
        Ok(Self { folder: folder.to_owned(), note })
    }

    fn is(&self, wanted: &Note) -> Result<()> {
        match self.note == *wanted {
            true => Ok(()),
            false => {
                let what = format!("holds other activations: {:?}, now {wanted:?}", self.note);
                Err(Error::content(&self.folder.join(NOTE), what))
            }
        }
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
            let shard = at / note.each;
            let first = shard * note.each;
            let count = note.each.min(note.rows - first);
            let numbers = Incoming::open(&self.path(site, shard))?.take(TENSOR, &[count, d])?;
            let to = end.min(first + count);
            let part =
                Tensor::from_vec(numbers[(at - first) * d..(to - first) * d].to_vec(), [to - at, d], &rows.device())?;
            crate::copy_into(part.view(), rows.view_mut().narrow(0, at - start, to - start)?)?;
            at = to;
        }
        Ok(())
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
        self.folder.join(&self.note.sites[site]).join(format!("{shard:05}.safetensors"))
    }
}

/// The activations of several places in one pass.
pub(super) fn all_sites(
    model: &Decoder,
    contexts: &Contexts,
    sites: &[Site],
    last: Site,
    tell: &mut impl FnMut(usize),
) -> Result<Vec<Vec<f32>>> {
    const BATCH: usize = 8;
    let (length, d) = (contexts.length, model.config().dim);
    let all: Vec<RefCell<Vec<f32>>> = sites.iter().map(|_| RefCell::default()).collect();
    for ids in contexts.ids.chunks(BATCH * length) {
        let batch = ids.len() / length;
        let mut hooks = Hooks::new();
        for (&site, to) in sites.iter().zip(&all) {
            hooks = hooks.at(site, move |x| {
                let (x, mut to) = (x.to_vec()?, to.borrow_mut());
                for context in x.chunks_exact(length * d) {
                    to.extend_from_slice(&context[Contexts::SKIPPED * d..]);
                }
                Ok(())
            });
        }
        model.activations(&model.ids(ids.to_vec(), batch)?, last, &mut hooks)?;
        drop(hooks);
        tell(batch * (length - Contexts::SKIPPED));
    }
    Ok(all.into_iter().map(RefCell::into_inner).collect())
}
