//! Small sound files of every format, and some that are made to cost far more memory than they have bytes.
use latens::Philox;
use latens_tests::files::{f32s, safetensors, text};
use serde_json::{Map, Value, json};
use std::io::{Cursor, Write};
use std::path::Path;
use zip::write::SimpleFileOptions;

/// A file that can be changed outside or inside.
#[derive(Clone)]
pub enum Form {
    /// Text, or what has nothing inside.
    Bytes(Vec<u8>),
    /// Names and contents of entries, and whether they are packed.
    Zip(Vec<(String, Vec<u8>)>, bool),
    /// Header and data.
    Safetensors(Vec<u8>, Vec<u8>),
    /// Metadata (name, number of its kind, bytes) and tensors (name, sizes innermost first, number of the type, bytes).
    Gguf(Vec<(String, u32, Vec<u8>)>, Vec<(String, Vec<u64>, u32, Vec<u8>)>),
}

/// Files by name.
pub type Input = Vec<(String, Form)>;

/// Files to begin with.
pub struct Seed {
    pub files: Input,
    /// Whether the reader must take them.
    pub sound: bool,
}

impl Form {
    pub fn bytes(&self) -> Vec<u8> {
        match self {
            Form::Bytes(bytes) => bytes.clone(),
            Form::Zip(entries, packed) => zip(entries, *packed),
            Form::Safetensors(header, data) => [&(header.len() as u64).to_le_bytes()[..], header, data].concat(),
            Form::Gguf(entries, parts) => latens_tests::files::gguf(entries, parts),
        }
    }

    /// A file as it is on the disk.
    pub fn of(path: &Path) -> Self {
        let bytes = std::fs::read(path).unwrap();
        if path.extension().is_none_or(|end| end != "safetensors") {
            return Form::Bytes(bytes);
        }
        let (length, rest) = bytes.split_first_chunk::<8>().unwrap();
        let (header, data) = rest.split_at(u64::from_le_bytes(*length) as usize);
        Form::Safetensors(header.to_vec(), data.to_vec())
    }
}

/// Sound files.
pub fn sound(files: Vec<(&str, Form)>) -> Seed {
    Seed { files: files.into_iter().map(|(name, form)| (name.to_owned(), form)).collect(), sound: true }
}

/// Files to be refused, or not.
pub fn unsound(files: Vec<(&str, Form)>) -> Seed {
    Seed { sound: false, ..sound(files) }
}

/// All files of a folder that something was saved to.
pub fn saved(name: &str, save: impl FnOnce(&Path)) -> Input {
    let folder = latens_tests::files::folder(env!("CARGO_TARGET_TMPDIR"), &format!("fuzz-seed-{name}"));
    save(&folder);
    let mut paths: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let files = paths.iter().map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), Form::of(path)));
    let files = files.collect();
    std::fs::remove_dir_all(folder).unwrap();
    files
}

/// An archive; of two entries of the same name, the first.
fn zip(entries: &[(String, Vec<u8>)], packed: bool) -> Vec<u8> {
    let method = if packed { zip::CompressionMethod::Deflated } else { zip::CompressionMethod::Stored };
    let mut made = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in entries {
        if made.start_file(&name[..], SimpleFileOptions::default().compression_method(method)).is_ok() {
            made.write_all(bytes).unwrap();
        }
    }
    made.finish().unwrap().into_inner()
}

/// An archive of one empty entry, which its directory names so many times.
pub fn crowded(count: u32, name: impl Fn(u32) -> String) -> Vec<u8> {
    let mut all = [&b"PK\x03\x04"[..], &[0; 26]].concat();
    let start = all.len() as u32;
    for at in 0..count {
        let name = name(at);
        all.extend(
            [&b"PK\x01\x02"[..], &[0; 24], &(name.len() as u16).to_le_bytes(), &[0; 16], name.as_bytes()].concat(),
        );
    }
    let size = all.len() as u32 - start;
    let counted = (count.min(0xffff) as u16).to_le_bytes();
    all.extend(
        [&b"PK\x05\x06\0\0\0\0"[..], &counted, &counted, &size.to_le_bytes(), &start.to_le_bytes(), &[0; 2]].concat(),
    );
    all
}

/// Numbers that look like weights.
pub fn floats(count: usize) -> Vec<f32> {
    let mut draw = Philox::new(count as u64);
    (0..count).map(|_| draw.uniform() - 0.25).collect()
}

/// A tensor in `f32`.
pub fn tensor(name: &str, dims: &[usize]) -> (String, &'static str, Vec<usize>, Vec<u8>) {
    (name.to_owned(), "F32", dims.to_vec(), f32s(&floats(dims.iter().product())))
}

/// A file of tensors: name, type, sizes, bytes.
pub fn tensors(all: &[(String, &'static str, Vec<usize>, Vec<u8>)], notes: &[(&str, &str)]) -> Form {
    let (mut header, mut data) = (Map::new(), Vec::new());
    for (name, kind, dims, bytes) in all {
        let start = data.len();
        data.extend_from_slice(bytes);
        header.insert(name.clone(), json!({"dtype": kind, "shape": dims, "data_offsets": [start, data.len()]}));
    }
    if !notes.is_empty() {
        let notes: Map<String, Value> = notes.iter().map(|&(key, note)| (key.to_owned(), json!(note))).collect();
        header.insert("__metadata__".into(), notes.into());
    }
    Form::Safetensors(Value::Object(header).to_string().into_bytes(), data)
}

/// A header and no data.
pub fn bare(header: &str) -> Form {
    Form::Bytes(safetensors(header, &[]))
}

/// JSON.
pub fn words(value: Value) -> Form {
    Form::Bytes(value.to_string().into_bytes())
}

/// An array of NumPy.
pub fn npy(kind: &str, columns: bool, shape: &str, data: &[u8]) -> Vec<u8> {
    let order = if columns { "True" } else { "False" };
    let header = format!("{{'descr': '{kind}', 'fortran_order': {order}, 'shape': {shape}, }}\n");
    [b"\x93NUMPY\x01\x00", &(header.len() as u16).to_le_bytes()[..], header.as_bytes(), data].concat()
}

/// What a file of PyTorch holds under a name.
pub enum Held {
    /// Type of its memory, sizes, strides, bytes.
    Tensor(&'static str, Vec<usize>, Vec<usize>, Vec<u8>),
    Int(i32),
    Float(f64),
    Text(&'static str),
    Dictionary(Vec<(&'static str, Held)>),
}

/// A tensor in `f32`, row by row.
pub fn held(dims: &[usize]) -> Held {
    let strides = (0..dims.len()).map(|at| dims[at + 1..].iter().product()).collect();
    Held::Tensor("FloatStorage", dims.to_vec(), strides, f32s(&floats(dims.iter().product())))
}

/// As `torch.save` writes it.
pub fn torch(all: &[(&'static str, Held)]) -> Form {
    let (mut memory, mut pickle) = (Vec::new(), b"\x80\x02".to_vec());
    dictionary(all, &mut pickle, &mut memory);
    pickle.push(b'.');
    let mut entries = vec![
        ("archive/data.pkl".to_owned(), pickle),
        ("archive/byteorder".into(), b"little".to_vec()),
        ("archive/version".into(), b"3\n".to_vec()),
    ];
    entries.extend(memory.into_iter().enumerate().map(|(at, bytes)| (format!("archive/data/{at}"), bytes)));
    Form::Zip(entries, false)
}

/// A file of PyTorch with this pickle and no tensors.
pub fn pickled(pickle: &[u8]) -> Form {
    Form::Zip(vec![("archive/data.pkl".into(), pickle.to_vec())], false)
}

fn unicode(words: &str) -> Vec<u8> {
    [b"X", &(words.len() as u32).to_le_bytes()[..], words.as_bytes()].concat()
}

fn tuple(of: &[usize]) -> Vec<u8> {
    let parts = of.iter().flat_map(|&of| [b"J", &(of as u32).to_le_bytes()[..]].concat());
    [b"(".to_vec(), parts.collect(), b"t".to_vec()].concat()
}

fn dictionary(all: &[(&'static str, Held)], to: &mut Vec<u8>, memory: &mut Vec<Vec<u8>>) {
    to.extend(b"}(");
    for (name, held) in all {
        to.extend(unicode(name));
        match held {
            Held::Int(number) => to.extend([b"J", &number.to_le_bytes()[..]].concat()),
            Held::Float(number) => to.extend([b"G", &number.to_be_bytes()[..]].concat()),
            Held::Text(words) => to.extend(unicode(words)),
            Held::Dictionary(all) => dictionary(all, to, memory),
            Held::Tensor(kind, dims, strides, bytes) => {
                let size = match *kind {
                    "DoubleStorage" | "LongStorage" => 8,
                    "HalfStorage" | "BFloat16Storage" => 2,
                    _ => 4,
                };
                to.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
                to.extend(unicode("storage"));
                to.extend(format!("ctorch\n{kind}\n").as_bytes());
                to.extend([unicode(&memory.len().to_string()), unicode("cpu")].concat());
                to.extend([b"J", &(bytes.len() as u32 / size).to_le_bytes()[..], b"tQK\0"].concat());
                to.extend([tuple(dims), tuple(strides)].concat());
                to.extend(b"\x89ccollections\nOrderedDict\n)RtR");
                memory.push(bytes.clone());
            }
        }
    }
    to.push(b'u');
}

/// Metadata of GGUF.
pub fn entry(name: &str, kind: u32, bytes: Vec<u8>) -> (String, u32, Vec<u8>) {
    (name.to_owned(), kind, bytes)
}

/// A list in metadata: the kind of its entries, how many, their bytes.
pub fn list(kind: u32, count: u64, bytes: &[u8]) -> Vec<u8> {
    [&kind.to_le_bytes()[..], &count.to_le_bytes(), bytes].concat()
}

/// A text in metadata.
pub fn word(name: &str, of: &str) -> (String, u32, Vec<u8>) {
    entry(name, 8, text(of))
}

/// A number in metadata.
pub fn size(name: &str, of: u32) -> (String, u32, Vec<u8>) {
    entry(name, 4, of.to_le_bytes().to_vec())
}
