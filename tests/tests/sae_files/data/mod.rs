//! What trainers are given: rows of the tokens that are kept, the same from files and from the model, and files that a full disk leaves whole.
mod exclude;
#[cfg(unix)]
mod full;
mod longest;

use latens::lm::{Config, Decoder, Hooks, Site};
use latens::sae::{Contexts, Exclude};
use latens::{Device, Philox};
use std::path::{Path, PathBuf};
use std::{fs, io};

const D: usize = 16;
const VOCABULARY: usize = 12;
/// The first is reached last: places are in the order in which they are asked for.
const SITES: [Site; 2] =
    [Site { layer: 1, point: latens::lm::Point::Residual }, Site { layer: 0, point: latens::lm::Point::Mlp }];

fn model() -> Decoder {
    Decoder::random(Config::llama(2, D, 2, VOCABULARY, 16), 3, &Device::Host).unwrap()
}

fn contexts(count: usize, length: usize, seed: u64) -> Contexts {
    let mut draw = Philox::new(seed);
    Contexts { ids: (0..count * length).map(|_| draw.below(VOCABULARY as u32)).collect(), length }
}

/// What a plain loop over tokens keeps: contexts and places, and the rows at each of [`SITES`], where the model reads `together` contexts
/// at once, on which last bits depend.
fn plain(
    model: &Decoder,
    contexts: &Contexts,
    exclude: &Exclude,
    together: usize,
) -> (Vec<(usize, usize)>, [Vec<f32>; 2]) {
    let (mut tokens, mut rows) = (Vec::new(), [Vec::new(), Vec::new()]);
    let run = |site| -> Vec<f32> {
        let some = contexts.ids.chunks(together * contexts.length);
        let run = |ids: &[u32]| {
            let ids = model.ids(ids.to_vec(), ids.len() / contexts.length).unwrap();
            model.activations(&ids, site, &mut Hooks::new()).unwrap().to_vec().unwrap()
        };
        some.flat_map(run).collect()
    };
    let all = SITES.map(run);
    for (at, id) in contexts.ids.iter().enumerate() {
        let (context, place) = (at / contexts.length, at % contexts.length);
        if place >= exclude.first && !exclude.ids.contains(id) {
            tokens.push((context, place));
            rows.iter_mut().zip(&all).for_each(|(rows, all)| rows.extend(&all[at * D..(at + 1) * D]));
        }
    }
    (tokens, rows)
}

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("latens-data-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        Self(path)
    }

    /// All files below, with their bytes.
    fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut all = Vec::new();
        below(&self.0, &mut all).unwrap();
        all.sort();
        all
    }
}

fn below(folder: &Path, all: &mut Vec<(PathBuf, Vec<u8>)>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        match path.is_dir() {
            true => below(&path, all)?,
            false => all.push((path.clone(), fs::read(&path)?)),
        }
    }
    Ok(())
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
