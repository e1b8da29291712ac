//! Files as their formats say, for tests to write: GGUF and safetensors.
use std::fs;
use std::path::{Path, PathBuf};

/// An empty folder in `root`, the `CARGO_TARGET_TMPDIR` of the test.
pub fn folder(root: &str, name: &str) -> PathBuf {
    let folder = Path::new(root).join(format!("{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// A text and its length.
pub fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat()
}

/// Metadata: its name, the number of its kind, its bytes.
pub type Entry = (&'static str, u32, Vec<u8>);

/// A GGUF tensor: name, sizes innermost first, number of its type, bytes.
pub type Part = (String, Vec<u64>, u32, Vec<u8>);

/// A GGUF file, as the format says.
pub fn gguf(entries: &[(impl AsRef<str>, u32, Vec<u8>)], parts: &[Part]) -> Vec<u8> {
    let mut file = b"GGUF\x03\0\0\0".to_vec();
    file.extend((parts.len() as u64).to_le_bytes());
    file.extend((entries.len() as u64).to_le_bytes());
    for (name, kind, bytes) in entries {
        file.extend([text(name.as_ref()), kind.to_le_bytes().to_vec(), bytes.clone()].concat());
    }
    let mut data = vec![];
    for (name, dims, kind, bytes) in parts {
        file.extend(text(name));
        file.extend((dims.len() as u32).to_le_bytes());
        dims.iter().for_each(|dim| file.extend(dim.to_le_bytes()));
        file.extend(kind.to_le_bytes());
        file.extend((data.len() as u64).to_le_bytes());
        data.extend_from_slice(bytes);
        data.resize(data.len().next_multiple_of(32), 0);
    }
    file.resize(file.len().next_multiple_of(32), 0);
    file.extend(data);
    file
}

/// Numbers, byte by byte.
pub fn f32s(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// A list of texts.
pub fn texts(all: &[&str]) -> Vec<u8> {
    let head = [8_u32.to_le_bytes().to_vec(), (all.len() as u64).to_le_bytes().to_vec()].concat();
    all.iter().fold(head, |list, one| [list, text(one)].concat())
}

/// Header and data of a safetensors file.
pub fn safetensors(header: &str, data: &[u8]) -> Vec<u8> {
    [text(header), data.to_vec()].concat()
}
