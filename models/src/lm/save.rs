//! A decoder into files.
use super::layout::{Family, Layout};
use super::part::to_vec;
use super::{Decoder, Part, Values};
use crate::io::{self, Error, Result, safetensors as format};
use crate::{DType, Float};
use std::path::Path;

impl<T: Float> Decoder<T> {
    /// Write `config.json` and `model.safetensors` to `folder`, as Hugging Face would: any of its readers reads them. All is
    /// written aside before the first name is taken: see [`format::save`].
    ///
    /// # Errors
    /// [`Error::Setting`] if no family of Llama, GPT-2 and GPT-NeoX has such parts together; [`Error::System`].
    pub fn save(&self, folder: &Path) -> Result<()> {
        self.write(folder, None)
    }

    /// The same in files of at most `most` bytes, or of one tensor, and an index.
    ///
    /// # Errors
    /// As [`Decoder::save`].
    pub fn save_sharded(&self, folder: &Path, most: usize) -> Result<()> {
        self.write(folder, Some(most))
    }

    /// SHA-256 of all its weights, in hexadecimal: which model it is, whatever file it came from. A copy of other elements is
    /// another.
    ///
    /// # Errors
    /// Those of the device.
    pub fn sha256(&self) -> Result<String> {
        let mut all = Vec::new();
        for part in self.parameters() {
            let bytes = match part.values {
                Values::Elements(view) => format::bytes(&to_vec(view)?),
                Values::Sums(view) => format::bytes(&to_vec(view)?),
            };
            let numbers = [part.number].into_iter().chain(part.dims).flat_map(|n| (n as u64).to_le_bytes());
            all.extend(io::sha256(&[&numbers.collect::<Vec<u8>>(), &bytes]).into_bytes());
        }
        Ok(io::sha256(&[&all]))
    }

    fn write(&self, folder: &Path, most: Option<usize>) -> Result<()> {
        let config = &self.config;
        let family = Family::of(config).map_err(|what| Error::setting("config", what))?;
        let json = format!("{:#}\n", config.to_json(family, type_name::<T>()));
        let mut pieces = Vec::new();
        for part in config.parts() {
            // A part that lies in several tensors is made for each of them: they are written one at a time.
            let mut from = 0;
            for piece in Layout::new(family, config, false).pieces(part) {
                let (start, end) = (from, from + piece.dims.iter().product::<usize>());
                from = end;
                let dtype = if part.is_vector() { format::dtype::<T::Acc>()? } else { format::dtype::<T>()? };
                let bytes = move || self.bytes(family, part, start, end);
                pieces.push(format::Piece { name: piece.name, dtype, dims: piece.dims, bytes: Box::new(bytes) });
            }
        }
        format::save(folder, pieces, most, &[(Path::new("config.json"), json.as_bytes())])
    }

    /// Bytes of entries `start..end` of a part, in the order of the file.
    fn bytes(&self, family: Family, part: Part, start: usize, end: usize) -> Result<Vec<u8>> {
        let layout = Layout::new(family, &self.config, false);
        match self.weights.get(part) {
            Some(Values::Elements(view)) => Ok(format::bytes(&layout.written(part, to_vec(view)?)[start..end])),
            Some(Values::Sums(view)) => Ok(format::bytes(&layout.written(part, to_vec(view)?)[start..end])),
            None => Err(Error::setting("part", format!("{part:?} is not in this model"))),
        }
    }
}

/// What Hugging Face calls a type.
pub(super) fn type_name<T: Float>() -> &'static str {
    match T::DTYPE {
        DType::F16 => "float16",
        DType::BF16 => "bfloat16",
        DType::F64 => "float64",
        _ => "float32",
    }
}

/// A part that lies in a file as it does here, but perhaps with dimensions of 1 between.
pub(super) fn piece<T: Float>(name: String, dims: Vec<usize>, values: Values<'_, T>) -> Result<format::Piece<'_>> {
    let dtype = match values {
        Values::Elements(_) => format::dtype::<T>()?,
        Values::Sums(_) => format::dtype::<T::Acc>()?,
    };
    let bytes = move || match values {
        Values::Elements(view) => Ok(format::bytes(&to_vec(view)?)),
        Values::Sums(view) => Ok(format::bytes(&to_vec(view)?)),
    };
    Ok(format::Piece { name, dtype, dims, bytes: Box::new(bytes) })
}
