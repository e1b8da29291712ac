//! Firings on their way to the files of a cache.
use super::{ACTIVATIONS, Caching, LOCATIONS, OURS, TOKENS};
use crate::io::safetensors::head;
use crate::io::{Error, Result};
use crate::sae::Contexts;
use latens_core::{Float, f16};
use safetensors::Dtype;
use serde_json::json;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hasher};
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};

/// Bytes of a firing: context, position, latent counted from the first of its range, value.
const FIRING: usize = 16;
/// Bytes of a range that wait in memory.
const ROOM: usize = 1 << 16;

/// All ranges.
pub(super) struct Spills {
    pub all: Vec<Spill>,
    /// Where each range begins, and where the last ends.
    edges: Vec<usize>,
    half: bool,
    hash: DefaultHasher,
}

/// One range. Its file is opened when there is something to add, so there may be more of them than files can be open at once.
pub(super) struct Spill {
    first: usize,
    last: usize,
    path: PathBuf,
    waiting: Vec<u8>,
    count: usize,
    /// The largest context, position and latent.
    most: [u32; 3],
}

impl Spills {
    pub fn begin(folder: &Path, latents: usize, caching: &Caching) -> Result<Self> {
        // Wide, for the product of two sizes.
        let edge = |at: usize| (at as u128 * latents as u128 / caching.ranges as u128) as usize;
        let edges: Vec<usize> = (0..=caching.ranges).map(edge).collect();
        let all = edges.windows(2).map(|edges| Spill::begin(folder, edges[0], edges[1] - 1));
        Ok(Self { all: all.collect::<Result<_>>()?, edges, half: caching.half, hash: DefaultHasher::new() })
    }

    /// Add a firing at this context, position and latent. They come in that order.
    pub fn add(&mut self, [context, position, latent]: [u32; 3], value: f32) -> Result<()> {
        let value = if self.half { f16::narrow(value.into()).to_f32() } else { value };
        if !value.is_finite() {
            let what =
                format!("latent {latent} has a value at context {context}, position {position}, that f16 cannot hold");
            return Err(Error::setting("half", what));
        }
        if value == 0.0 {
            return Ok(());
        }
        let range = self.edges.partition_point(|&edge| edge <= latent as usize) - 1;
        let spill = &mut self.all[range];
        let firing = [context, position, latent - spill.first as u32, value.to_bits()];
        let bytes: Vec<u8> = firing.iter().flat_map(|number| number.to_le_bytes()).collect();
        self.hash.write(&bytes);
        spill.add(firing, &bytes)
    }

    /// Bring to the files what waits.
    pub fn flush(&mut self) -> Result<()> {
        self.all.iter_mut().try_for_each(Spill::flush)
    }

    /// What tells the files of one cache from those of another: a hash of all that is in it.
    pub fn mark(&self, contexts: &Contexts) -> String {
        let mut hash = self.hash.clone();
        hash.write(contexts.sha256().as_bytes());
        self.edges.iter().for_each(|&edge| hash.write_usize(edge));
        format!("{:016x}", hash.finish())
    }
}

impl Spill {
    fn begin(folder: &Path, first: usize, last: usize) -> Result<Self> {
        let path = folder.join(format!(".{first}_{last}.firings"));
        File::create(&path).map_err(Error::system(&path, "make"))?;
        Ok(Self { first, last, path, waiting: Vec::new(), count: 0, most: [0; 3] })
    }

    /// Of the file that it becomes.
    pub fn name(&self) -> String {
        format!("{}_{}.safetensors", self.first, self.last)
    }

    fn add(&mut self, [context, position, latent, _]: [u32; 4], bytes: &[u8]) -> Result<()> {
        self.most.iter_mut().zip([context, position, latent]).for_each(|(most, number)| *most = (*most).max(number));
        self.count += 1;
        self.waiting.extend_from_slice(bytes);
        if self.waiting.len() >= ROOM { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        if !self.waiting.is_empty() {
            let file = File::options().append(true).open(&self.path);
            let done = file.and_then(|mut file| file.write_all(&self.waiting));
            done.map_err(Error::system(&self.path, "write"))?;
            self.waiting.clear();
        }
        Ok(())
    }

    /// Write the file, the widest type first, so that every tensor is aligned.
    pub fn write(&self, contexts: &Contexts, half: bool, mark: &str, to: &mut dyn Write) -> io::Result<()> {
        let wide = self.most.iter().any(|&most| most > u16::MAX.into());
        let values = (ACTIVATIONS, if half { Dtype::F16 } else { Dtype::F32 }, &[self.count][..]);
        let places = (LOCATIONS, if wide { Dtype::U32 } else { Dtype::U16 }, &[self.count, 3][..]);
        let [one, other] = if wide { [places, values] } else { [values, places] };
        let tokens = (TOKENS, Dtype::I64, &[contexts.len(), contexts.length][..]);
        to.write_all(&head(json!({"format": "pt", OURS: mark}), [tokens, one, other])?)?;
        for &id in &contexts.ids[..contexts.len() * contexts.length] {
            to.write_all(&i64::from(id).to_le_bytes())?;
        }
        for (name, ..) in [one, other] {
            self.each(|[place @ .., value]| match (name, wide, half) {
                (ACTIVATIONS, _, false) => to.write_all(&value.to_le_bytes()),
                (ACTIVATIONS, _, true) => to.write_all(&f16::narrow(f32::from_bits(value).into()).to_le_bytes()),
                (_, true, _) => place.iter().try_for_each(|number| to.write_all(&number.to_le_bytes())),
                (_, false, _) => place.iter().try_for_each(|&number| to.write_all(&(number as u16).to_le_bytes())),
            })?;
        }
        Ok(())
    }

    /// Every firing, in the order in which they came.
    fn each(&self, mut then: impl FnMut([u32; 4]) -> io::Result<()>) -> io::Result<()> {
        let mut file = BufReader::new(File::open(&self.path)?);
        let mut bytes = [0; FIRING];
        for _ in 0..self.count {
            file.read_exact(&mut bytes)?;
            then(std::array::from_fn(|at| u32::from_le_bytes(std::array::from_fn(|byte| bytes[4 * at + byte]))))?;
        }
        Ok(())
    }
}

impl Drop for Spill {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path); // what is left is written over by the next
    }
}
