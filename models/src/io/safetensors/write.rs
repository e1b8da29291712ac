//! Writing: one file, or several with an index, all put aside before the first takes its name.
use super::SAVE;
use crate::io::{Contents, Error, Result, replace_all_with};
use latens_core::{DType, Float, bf16, f16};
use safetensors::tensor::Dtype;
use serde_json::{Map, Value, json};
use std::hash::{DefaultHasher, Hasher};
use std::io;
use std::path::{Path, PathBuf};

/// A tensor to be written.
pub struct Piece<'a> {
    /// Its name.
    pub name: String,
    /// The type of its elements.
    pub dtype: Dtype,
    /// Sizes, outermost first.
    pub dims: Vec<usize>,
    /// Makes its bytes, little end first; called more than once.
    pub bytes: Box<dyn Fn() -> Result<Vec<u8>> + 'a>,
}

impl Piece<'_> {
    fn size(&self) -> usize {
        size(self.dtype, &self.dims)
    }
}

/// What safetensors call a type.
///
/// # Errors
/// A type that holds no floats.
pub fn dtype<T: Float>() -> Result<Dtype> {
    match T::DTYPE {
        DType::F32 => Ok(Dtype::F32),
        DType::F16 => Ok(Dtype::F16),
        DType::BF16 => Ok(Dtype::BF16),
        DType::F64 => Ok(Dtype::F64),
        other => Err(Error::setting("dtype", format!("{other:?} is no type of floats"))),
    }
}

/// The bytes of numbers, little end first.
pub fn bytes<T: Float>(values: &[T]) -> Vec<u8> {
    let wide = values.iter().map(|x| x.wide());
    match T::DTYPE {
        DType::F64 => wide.flat_map(f64::to_le_bytes).collect(),
        DType::F16 => wide.flat_map(|x| f16::narrow(x).to_le_bytes()).collect(),
        DType::BF16 => wide.flat_map(|x| bf16::narrow(x).to_le_bytes()).collect(),
        _ => values.iter().flat_map(|x| x.to_f32().to_le_bytes()).collect(),
    }
}

/// Write tensors to `folder`: to `model.safetensors`, or, if they have more than `most` bytes, to
/// `model-00001-of-0000N.safetensors` and so on, each of at most so many bytes unless it is of one tensor, with
/// `model.safetensors.index.json`. The `others` are written with them. What an earlier save left under such names and
/// this one does not write is removed.
///
/// A crash between renames may leave files of two saves; an index and its files say which save they belong to, so
/// [`Safetensors::open`](super::Safetensors::open) refuses them.
///
/// # Errors
/// [`Error::System`], or whatever made the bytes fail. The names are then as they were.
pub fn save(folder: &Path, pieces: Vec<Piece<'_>>, most: Option<usize>, others: &[(&Path, &[u8])]) -> Result<()> {
    std::fs::create_dir_all(folder).map_err(Error::system(folder, "create"))?;
    let total: usize = pieces.iter().map(Piece::size).sum();
    let sharded = most.filter(|most| total > *most);
    let save = sharded.map(|_| mark(&pieces)).transpose()?;
    let shards = shards(pieces, sharded);
    let names: Vec<PathBuf> = match sharded {
        None => vec!["model.safetensors".into()],
        Some(_) => {
            (1..=shards.len()).map(|at| format!("model-{at:05}-of-{:05}.safetensors", shards.len()).into()).collect()
        }
    };
    let index = save.as_ref().map(|save| index(&shards, &names, total, save).to_string().into_bytes());
    let write = |shard: &[Piece<'_>], to: &mut dyn io::Write| write_file(shard, save.as_deref(), to);
    let writers: Vec<_> = shards.iter().map(|shard| move |to: &mut dyn io::Write| write(shard, to)).collect();
    let plain: Vec<(&Path, &[u8])> =
        (index.iter().map(|index| (Path::new(INDEX), &index[..]))).chain(others.iter().copied()).collect();
    let plain_writers: Vec<_> =
        plain.iter().map(|(_, contents)| move |to: &mut dyn io::Write| to.write_all(contents)).collect();
    let mut files: Vec<(&Path, &Contents<'_>)> = Vec::new();
    files.extend(names.iter().zip(&writers).map(|(name, writer)| (&**name, writer as &Contents<'_>)));
    files.extend(plain.iter().zip(&plain_writers).map(|((name, _), writer)| (*name, writer as &Contents<'_>)));
    replace_all_with(folder, &files)?;
    remove_others(folder, &files.iter().map(|(name, _)| *name).collect::<Vec<_>>())
}

const INDEX: &str = "model.safetensors.index.json";

/// As many in a row as fit in `most` bytes, at least one.
fn shards(pieces: Vec<Piece<'_>>, most: Option<usize>) -> Vec<Vec<Piece<'_>>> {
    let (mut all, mut shard, mut size) = (Vec::new(), Vec::new(), 0_usize);
    for piece in pieces {
        let next = piece.size();
        if !shard.is_empty() && most.is_some_and(|most| size + next > most) {
            all.push(std::mem::take(&mut shard));
            size = 0;
        }
        size += next;
        shard.push(piece);
    }
    all.push(shard);
    all
}

/// What tells one save from another: a hash of all that is in it.
fn mark(pieces: &[Piece<'_>]) -> Result<String> {
    let mut hash = DefaultHasher::new();
    for piece in pieces {
        hash.write(piece.name.as_bytes());
        hash.write(&(piece.bytes)()?);
    }
    Ok(format!("{:016x}", hash.finish()))
}

fn index(shards: &[Vec<Piece<'_>>], names: &[PathBuf], total: usize, save: &str) -> Value {
    let map = shards
        .iter()
        .zip(names)
        .flat_map(|(shard, name)| shard.iter().map(move |piece| (piece.name.clone(), json!(name.to_string_lossy()))));
    json!({"metadata": {"total_size": total, SAVE: save}, "weight_map": map.collect::<Map<_, _>>()})
}

/// `length u64 | header | data`, the widest types first, so that every tensor is aligned.
fn write_file(pieces: &[Piece<'_>], save: Option<&str>, to: &mut dyn io::Write) -> io::Result<()> {
    let mut order: Vec<&Piece<'_>> = pieces.iter().collect();
    order.sort_by(|a, b| b.dtype.bitsize().cmp(&a.dtype.bitsize()).then_with(|| a.name.cmp(&b.name)));
    let mut notes = json!({"format": "pt"});
    if let Some(save) = save {
        notes[SAVE] = json!(save);
    }
    to.write_all(&head(notes, order.iter().map(|piece| (&*piece.name, piece.dtype, &*piece.dims)))?)?;
    for piece in order {
        let bytes = (piece.bytes)().map_err(io::Error::other)?;
        if bytes.len() != piece.size() {
            return Err(io::Error::other(format!(
                "{} has {} bytes, expected {}",
                piece.name,
                bytes.len(),
                piece.size()
            )));
        }
        to.write_all(&bytes)?;
    }
    Ok(())
}

/// The header of a file of these tensors, one after another, and its length before it.
pub(crate) fn head<'a>(
    notes: Value,
    tensors: impl IntoIterator<Item = (&'a str, Dtype, &'a [usize])>,
) -> io::Result<Vec<u8>> {
    let (mut header, mut end) = (Map::from_iter([("__metadata__".to_owned(), notes)]), 0);
    for (name, dtype, dims) in tensors {
        let start = end;
        end += size(dtype, dims);
        let entry = json!({"dtype": dtype, "shape": dims, "data_offsets": [start, end]});
        if header.insert(name.to_owned(), entry).is_some() {
            return Err(io::Error::other(format!("two tensors are called {name}")));
        }
    }
    let mut header = serde_json::to_vec(&header)?;
    header.resize(header.len().next_multiple_of(8), b' ');
    Ok([&(header.len() as u64).to_le_bytes()[..], &header].concat())
}

fn size(dtype: Dtype, dims: &[usize]) -> usize {
    dims.iter().product::<usize>() * dtype.bitsize() / 8
}

/// Remove what an earlier save wrote under names that this one does not use.
fn remove_others(folder: &Path, written: &[&Path]) -> Result<()> {
    let entries = std::fs::read_dir(folder).map_err(Error::system(folder, "read"))?;
    for entry in entries {
        let name = entry.map_err(Error::system(folder, "read"))?.file_name();
        let text = name.to_string_lossy();
        let shard = text.strip_prefix("model-").and_then(|rest| rest.strip_suffix(".safetensors"));
        let numbered = shard.and_then(|rest| rest.split_once("-of-")).is_some_and(|(at, of)| {
            [at, of].iter().all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
        });
        let ours = numbered || text == INDEX || text == "model.safetensors";
        if ours && !written.contains(&Path::new(&name)) {
            let path = folder.join(&name);
            std::fs::remove_file(&path).map_err(Error::system(&path, "remove"))?;
        }
    }
    Ok(())
}
