//! Caches, and what is checked of them: they may be of strangers.
use super::{ACTIVATIONS, CONFIG, LOCATIONS, OURS, TOKENS, VERSION};
use crate::io::safetensors::Safetensors;
use crate::io::{Error, Result, json};
use crate::sae::Contexts;
use safetensors::Dtype;
use serde_json::Value;
use std::fs;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

/// The firings of all latents of an autoencoder on many contexts, in files by ranges of latents.
///
/// The layout is that of EleutherAI's delphi, after its `delphi/latents/cache.py` at commit cd43058 and `loader.py` at 30158d9: a folder
/// for each place in a model, in which each range of latents has a file `START_END.safetensors` (`END` is the last of them) with
///
/// | tensor        | sizes                | type | what |
/// |---------------|----------------------|------|------|
/// | `locations`   | `[firings, 3]`       | u16 where all numbers of the file fit, else u32 | context, position in it, latent counted from `START` |
/// | `activations` | `[firings]`          | f16, or f32 | the values, in the order of `locations` |
/// | `tokens`      | `[contexts, length]` | i64  | what was read, the same in every file |
///
/// and a `config.json`. Firings are sorted by context, then position, then latent. Where ranges begin is theirs too: number `i` of `r`
/// at `i n / r` of `n` latents, rounded down.
///
/// What differs, as far as is known:
///
/// - delphi stores values in f16 always. Here they are f32 unless [`Caching::half`](super::Caching::half) asks for f16. Its loader makes a
///   tensor of whatever floats there are.
/// - delphi counts values beyond 1e-5 in size, this library all that are above 0; and for u16 it looks at contexts and latents only, not
///   at positions.
/// - The first [`Contexts::SKIPPED`] tokens of a context never fire. Positions count them.
/// - A range without firings has a file with none. delphi cannot write one; whether it reads one was not tried.
/// - `config.json` holds what delphi's loader looks for if it is given no tokenizer (`model_name`), some of what it notes of its own runs
///   (`ctx_len`, since called `cache_ctx_len`, `n_tokens`, `n_splits`, `dataset_repo`), and `latens` with what [`open`](Self::open) checks.
///
/// delphi itself was not run on these files; NumPy and the `safetensors` package of Python read them.
#[derive(Debug)]
pub struct Cache {
    files: Vec<Ranged>,
    contexts: usize,
    length: usize,
}

/// The file of a range.
#[derive(Debug)]
struct Ranged {
    first: usize,
    last: usize,
    firings: usize,
    file: Safetensors,
}

/// A firing of a latent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fired {
    /// Number of the context.
    pub context: u32,
    /// Place of the token in it, from its beginning.
    pub position: u32,
    /// The latent's value there.
    pub value: f32,
}

/// The firings of a range of latents.
#[derive(Clone, Debug, PartialEq)]
pub struct Cached {
    range: RangeInclusive<usize>,
    /// By latent, counted from the first of the range, then by context and position.
    fired: Vec<(u32, Fired)>,
}

impl Cached {
    /// Which latents these are.
    pub fn range(&self) -> RangeInclusive<usize> {
        self.range.clone()
    }

    /// Firings of all of them.
    pub fn len(&self) -> usize {
        self.fired.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.fired.is_empty()
    }

    /// Those of one latent, by context and position; none of a latent that is not of the range.
    pub fn of(&self, latent: usize) -> impl Iterator<Item = Fired> + '_ {
        let at = latent.wrapping_sub(*self.range.start());
        let start = self.fired.partition_point(|&(of, _)| (of as usize) < at);
        self.fired[start..].iter().take_while(move |&&(of, _)| of as usize == at).map(|&(_, fired)| fired)
    }
}

impl Cache {
    /// What [`write`](Self::write) or delphi left in `folder`: the headers of all files. Ranges must begin at latent 0 and follow each
    /// other.
    ///
    /// # Errors
    /// [`Error::System`] or [`Error::Content`] if it is not there, or not that; files of two caches.
    pub fn open(folder: &Path) -> Result<Self> {
        let path = folder.join(CONFIG);
        let (config, wrong) = (json::read(&path)?, |what: String| Error::content(&path, what));
        if !config.is_object() {
            return Err(wrong("this is no object of JSON".into()));
        }
        let ours = &config[OURS];
        if ours["version"].as_u64().is_some_and(|version| version != VERSION) {
            return Err(wrong(format!("is of version {}, expected {VERSION}", ours["version"])));
        }
        let mut files: Vec<Ranged> = Vec::new();
        for (path, first, last) in files_of(folder)? {
            let next = files.last().map_or(0, |file| file.last + 1);
            if first < next {
                return Err(Error::content(&path, format!("latents {first} to {} are in another file too", next - 1)));
            }
            if first > next {
                return Err(Error::content(folder, format!("latents {next} to {} are in no file", first - 1)));
            }
            files.push(Ranged::open(&path, first, last, ours)?);
        }
        let Some(tokens) = files.first().map(|file| file.sizes(TOKENS)).transpose()? else {
            return Err(Error::content(folder, "holds no files START_END.safetensors"));
        };
        let [contexts, length] = tokens;
        for file in &files {
            if file.sizes(TOKENS)? != tokens {
                let what = format!(
                    "tensor {TOKENS} has sizes {:?}, those of other files {tokens:?}",
                    file.sizes::<2>(TOKENS)?
                );
                return Err(Error::content(file.file.path(), what));
            }
        }
        let cache = Self { files, contexts, length };
        for (name, said, found) in
            [("latents", &ours["latents"], cache.latents()), ("ctx_len", &config["ctx_len"], length)]
        {
            if !said.is_null() && said.as_u64() != Some(found as u64) {
                return Err(wrong(format!("says {name} {said}, the files have {found}")));
            }
        }
        Ok(cache)
    }

    /// How many latents there are.
    pub fn latents(&self) -> usize {
        self.files.last().map_or(0, |file| file.last + 1)
    }

    /// How many contexts were read, and tokens of each.
    pub fn contexts(&self) -> [usize; 2] {
        [self.contexts, self.length]
    }

    /// The ranges of latents, each of a file.
    pub fn ranges(&self) -> impl Iterator<Item = RangeInclusive<usize>> + '_ {
        self.files.iter().map(|file| file.first..=file.last)
    }

    /// The tokens that were read, as the first file has them.
    ///
    /// # Errors
    /// A file that cannot be read; [`Error::Content`] for a number that is no token.
    pub fn tokens(&self) -> Result<Contexts> {
        let ids = self.files[0].file.read_whole(TOKENS, &[self.contexts, self.length])?;
        Ok(Contexts { ids, length: self.length })
    }

    /// All firings of a range of latents, by its number among [`ranges`](Self::ranges). Memory is taken for as many as the file has.
    ///
    /// # Errors
    /// A file that cannot be read; [`Error::Content`] for a place that is not in the contexts or not in the range, for one that occurs
    /// twice, and for a value that is not finite; [`Error::Setting`] if there is no such range.
    pub fn range(&self, range: usize) -> Result<Cached> {
        match self.files.get(range) {
            Some(file) => file.read(self.contexts, self.length),
            None => Err(Error::setting("range", format!("{range} is not one of the {}", self.files.len()))),
        }
    }

    /// The firings of one latent, by context and position. Its file is read whole: for many latents, [`range`](Self::range) is better.
    ///
    /// # Errors
    /// As [`range`](Self::range).
    pub fn firings(&self, latent: usize) -> Result<Vec<Fired>> {
        match self.files.iter().position(|file| (file.first..=file.last).contains(&latent)) {
            Some(range) => Ok(self.range(range)?.of(latent).collect()),
            None => Err(Error::setting("latent", format!("{latent} is not one of the {} latents", self.latents()))),
        }
    }
}

impl Ranged {
    fn open(path: &Path, first: usize, last: usize, ours: &Value) -> Result<Self> {
        let file = Safetensors::open(path)?;
        if ours["save"].as_str().is_some_and(|save| file.notes().get(OURS).map(String::as_str) != Some(save)) {
            let what = format!("is of another cache than {CONFIG} beside it: writing was interrupted, or is under way");
            return Err(Error::content(path, what));
        }
        let known = [
            (LOCATIONS, &[Dtype::U16, Dtype::U32][..]),
            (ACTIVATIONS, &[Dtype::F16, Dtype::F32]),
            (TOKENS, &[Dtype::I64]),
        ];
        for (name, entry) in file.tensors() {
            let Some((_, types)) = known.iter().find(|(known, _)| known == name) else {
                return Err(Error::content(path, format!("tensor {name} is unknown")));
            };
            if !types.contains(&entry.dtype) {
                let what = format!("tensor {name} is of type {:?}, expected one of {types:?}", entry.dtype);
                return Err(Error::content(path, what));
            }
        }
        let mut ranged = Self { first, last, firings: 0, file };
        let ([firings], [rows, columns]) = (ranged.sizes(ACTIVATIONS)?, ranged.sizes(LOCATIONS)?);
        if [rows, columns] != [firings, 3] {
            let what = format!("tensor {LOCATIONS} has sizes [{rows}, {columns}], expected [{firings}, 3]");
            return Err(Error::content(path, what));
        }
        ranged.sizes::<2>(TOKENS)?;
        ranged.firings = firings;
        Ok(ranged)
    }

    /// The sizes of a tensor of so many.
    fn sizes<const N: usize>(&self, name: &str) -> Result<[usize; N]> {
        let wrong = |what: String| Error::content(self.file.path(), what);
        let entry = self.file.tensors().get(name).ok_or_else(|| wrong(format!("there is no tensor {name}")))?;
        let dims = <[usize; N]>::try_from(&entry.dims[..]);
        dims.map_err(|_| wrong(format!("tensor {name} has sizes {:?}, expected {N}", entry.dims)))
    }

    fn read(&self, contexts: usize, length: usize) -> Result<Cached> {
        let wrong = |what: String| Error::content(self.file.path(), what);
        let places = self.file.read_whole(LOCATIONS, &[self.firings, 3])?;
        let values = self.file.read(ACTIVATIONS, &[self.firings])?;
        let mut fired = Vec::with_capacity(values.len());
        for (at, (place, &value)) in places.chunks_exact(3).zip(&values).enumerate() {
            let &[context, position, latent] = place else { continue }; // chunks are of three
            let there = (context as usize) < contexts && (position as usize) < length;
            if !there || latent as usize > self.last - self.first {
                let what = format!(
                    "row {at} of {LOCATIONS} is {place:?}, beyond {contexts} contexts of {length} tokens and {} latents",
                    self.last - self.first + 1
                );
                return Err(wrong(what));
            }
            if !value.is_finite() {
                return Err(wrong(format!("tensor {ACTIVATIONS} holds {value}")));
            }
            fired.push((latent, Fired { context, position, value }));
        }
        let place = |&(latent, fired): &(u32, Fired)| (latent, fired.context, fired.position);
        fired.sort_unstable_by_key(place);
        if let Some(twice) = fired.windows(2).find(|two| place(&two[0]) == place(&two[1])) {
            let (latent, Fired { context, position, .. }) = twice[0];
            return Err(wrong(format!("{LOCATIONS} has [{context}, {position}, {latent}] twice")));
        }
        Ok(Cached { range: self.first..=self.last, fired })
    }
}

/// The files of ranges in a folder, by their first latents, with these and the last. Others that end in `.safetensors` are refused.
pub(super) fn files_of(folder: &Path) -> Result<Vec<(PathBuf, usize, usize)>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).map_err(Error::system(folder, "read"))? {
        let path = entry.map_err(Error::system(folder, "read"))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Some(stem) = name.strip_suffix(".safetensors").filter(|stem| !stem.starts_with('.')) else { continue };
        // As they are written: a number has one name only.
        let number = |text: &str| text.parse::<u32>().ok().filter(|number| number.to_string() == text);
        let edges = stem.split_once('_').and_then(|(first, last)| number(first).zip(number(last)));
        match edges {
            Some((first, last)) if first <= last => all.push((path, first as usize, last as usize)),
            _ => return Err(Error::content(&path, "its name is no range of latents START_END")),
        }
    }
    all.sort_by_key(|&(_, first, last)| (first, last));
    Ok(all)
}
