//! NumPy's archives (`.npz`): a zip of arrays (`.npy`), packed or not.
use super::archive::Archive;
use super::{Error, Result, short};
use crate::io::safetensors::decode;
use safetensors::Dtype;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// An opened archive: the names of its arrays. Each is read, and checked, when it is asked for.
#[derive(Debug)]
pub struct Npz {
    path: PathBuf,
    names: BTreeSet<String>,
}

impl Npz {
    /// Find the arrays of the file at `path`.
    ///
    /// # Errors
    /// [`Error::System`]; [`Error::Content`] if it is no archive, or holds something else than arrays.
    pub fn open(path: &Path) -> Result<Self> {
        let archive = Archive::open(path)?;
        let mut names = BTreeSet::new();
        for name in archive.names() {
            let array = name.strip_suffix(".npy");
            let array = array.ok_or_else(|| Error::content(path, format!("{name:?} is no array of NumPy")))?;
            names.insert(array.to_owned());
        }
        Ok(Self { path: path.to_owned(), names })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The arrays.
    pub fn names(&self) -> &BTreeSet<String> {
        &self.names
    }

    /// The sizes of an array, outermost first.
    ///
    /// # Errors
    /// As [`Npz::read`].
    pub fn dims(&self, name: &str) -> Result<Vec<usize>> {
        self.with(name, |bytes| Ok(Header::split(bytes)?.0.dims))
    }

    /// The elements of array `name`, which must have these sizes, in f32, row by row.
    ///
    /// # Errors
    /// [`Error::Content`] if it is missing, of other sizes, of a type that is not read, or not as long as it says;
    /// [`Error::System`].
    pub fn read(&self, name: &str, dims: &[usize]) -> Result<Vec<f32>> {
        self.with(name, |bytes| match array(bytes)? {
            (got, all) if got == dims => Ok(all),
            (got, _) => Err(format!("it has sizes {got:?}, expected {dims:?}")),
        })
    }

    fn with<R>(&self, name: &str, read: impl FnOnce(&[u8]) -> std::result::Result<R, String>) -> Result<R> {
        if !self.names.contains(name) {
            return Err(Error::content(&self.path, format!("there is no array {name}")));
        }
        let bytes = Archive::open(&self.path)?.read(&format!("{name}.npy"), u64::MAX)?;
        read(&bytes).map_err(|what| Error::content(&self.path, format!("array {name}: {what}")))
    }
}

/// Sizes and elements, row by row.
fn array(bytes: &[u8]) -> std::result::Result<(Vec<usize>, Vec<f32>), String> {
    let (header, data) = Header::split(bytes)?;
    let size = header.dtype.bitsize() / 8;
    let count = header.dims.iter().try_fold(1_usize, |count, &dim| count.checked_mul(dim));
    if count.and_then(|count| count.checked_mul(size)) != Some(data.len()) {
        return Err(format!("sizes {:?} of {size} bytes, but {} bytes follow", header.dims, data.len()));
    }
    let element = decode::<f32>(header.dtype).ok_or_else(|| format!("its type {:?} is not read", header.dtype))?;
    let mut all: Vec<f32> = data.chunks_exact(size).map(element).collect();
    if header.columns {
        let [rows, columns] = header.dims[..] else { return Err("columns first is read of matrices only".into()) };
        all = (0..rows * columns).map(|i| all[i % columns * rows + i / columns]).collect();
    }
    Ok((header.dims, all))
}

/// Dimensions of an array, as NumPy has at most.
const RANK: usize = 64;

struct Header {
    dtype: Dtype,
    /// Whether the first index runs fastest.
    columns: bool,
    dims: Vec<usize>,
}

impl Header {
    /// `"\x93NUMPY" | version u8 u8 | length u16, from version 2 on u32 | a dictionary of Python | elements`.
    fn split(bytes: &[u8]) -> std::result::Result<(Self, &[u8]), String> {
        let short = "it ends too early";
        let rest = bytes.strip_prefix(b"\x93NUMPY").ok_or("it does not begin as an array")?;
        let (version, rest) = rest.split_first_chunk::<2>().ok_or(short)?;
        let (length, rest) = match version[0] {
            1 => rest.split_first_chunk::<2>().map(|(length, rest)| (u16::from_le_bytes(*length).into(), rest)),
            2 | 3 => rest.split_first_chunk::<4>().map(|(length, rest)| (u32::from_le_bytes(*length) as usize, rest)),
            other => return Err(format!("version {other}, expected 1 to 3")),
        }
        .ok_or(short)?;
        let (header, data) = rest.split_at_checked(length).ok_or(short)?;
        Ok((Self::read(std::str::from_utf8(header).map_err(|_| "its header is no text")?)?, data))
    }

    /// Of `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }`.
    fn read(text: &str) -> std::result::Result<Self, String> {
        let value = |key: &str| {
            let (_, after) = text.split_once(&format!("'{key}'")).ok_or_else(|| format!("its header has no {key}"))?;
            let after =
                after.trim_start().strip_prefix(':').ok_or_else(|| format!("{key} of its header has no value"))?;
            Ok::<_, String>(after.trim_start())
        };
        let kind = value("descr")?.strip_prefix('\'').and_then(|kind| kind.split_once('\'')).map(|(kind, _)| kind);
        let dtype = match kind {
            Some("<f4") => Dtype::F32,
            Some("<f8") => Dtype::F64,
            Some("<f2") => Dtype::F16,
            Some("<i8") => Dtype::I64,
            Some("<i4") => Dtype::I32,
            other => {
                let other = short(other.unwrap_or(""));
                return Err(format!("its type \"{other}\" is not read, known are <f2 <f4 <f8 <i4 <i8"));
            }
        };
        let columns = match value("fortran_order")? {
            order if order.starts_with("False") => false,
            order if order.starts_with("True") => true,
            _ => return Err("fortran_order of its header is neither True nor False".into()),
        };
        let shape = value("shape")?.strip_prefix('(').and_then(|shape| shape.split_once(')')).map(|(shape, _)| shape);
        let shape = shape.ok_or("shape of its header is no tuple")?;
        let parts = shape.split(',').map(str::trim).filter(|part| !part.is_empty());
        if parts.clone().nth(RANK).is_some() {
            return Err(format!("its shape has more than {RANK} sizes"));
        }
        let dims = parts.map(|part| part.parse().map_err(|_| format!("\"{}\" of its shape is no size", short(part))));
        Ok(Self { dtype, columns, dims: dims.collect::<std::result::Result<_, _>>()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn npy(header: &str, data: &[u8]) -> Vec<u8> {
        let length = (header.len() as u16).to_le_bytes();
        [b"\x93NUMPY\x01\x00", &length[..], header.as_bytes(), data].concat()
    }

    #[test]
    fn both_orders() {
        let data: Vec<u8> = (0..6).flat_map(|i| (i as f32).to_le_bytes()).collect();
        let header = |order: &str| format!("{{'descr': '<f4', 'fortran_order': {order}, 'shape': (2, 3), }}\n");
        let read = |order| array(&npy(&header(order), &data)).unwrap();
        assert_eq!(read("False"), (vec![2, 3], vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0]));
        assert_eq!(read("True"), (vec![2, 3], vec![0.0, 2.0, 4.0, 1.0, 3.0, 5.0]));
        let one =
            array(&npy("{'descr': '<f8', 'fortran_order': False, 'shape': (), }", &2.5_f64.to_le_bytes())).unwrap();
        assert_eq!(one, (vec![], vec![2.5]));
    }

    #[test]
    fn lies_are_refused() {
        let good = "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }";
        assert!(array(&npy(good, &[0; 4])).is_ok());
        for (header, data) in [
            (good, &[0_u8; 3][..]),
            (good, &[0; 8]),
            ("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", &[0; 4]),
            ("{'descr': '>f4', 'fortran_order': False, 'shape': (1,), }", &[0; 4]),
            ("{'descr': '<f4', 'fortran_order': 1, 'shape': (1,), }", &[0; 4]),
            ("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }", &[0; 4]),
            ("{'descr': '<f4', 'fortran_order': False, 'shape': (9223372036854775807, 9), }", &[0; 4]),
            ("{'descr': '<f4', 'fortran_order': False}", &[0; 4]),
            ("", &[]),
        ] {
            assert!(array(&npy(header, data)).is_err(), "{header}");
        }
        assert!(array(b"\x93NUMPY\x01\x00\xff\xff{").is_err());
        let shape = |sizes: &str| {
            array(&npy(&format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({sizes}), }}"), &[]))
        };
        assert!(shape(&"0,".repeat(64)).is_ok());
        assert!(shape(&"0,".repeat(65)).unwrap_err().contains("more than 64 sizes"));
        // An error is no place for all that a file says.
        assert!(shape(&"\u{7f}".repeat(9000)).unwrap_err().len() < 600);
    }
}
