//! The readers, with what they begin from and the memory that each may take.
use crate::checkpoints::*;
use crate::formats::*;
use crate::models::*;
use crate::seeds::Seed;
use crate::steering::*;
use latens::io::{self, gguf::Gguf, npz::Npz, safetensors::Safetensors, torch::Torch};
use latens::lm::bert::TextEncoder;
use latens::lm::mamba::Mamba;
use latens::lm::{LanguageModel, Tokenizer};
use latens::train::Trainer;
use latens::{Device, sae};
use std::path::Path;

/// A reader.
pub struct Target {
    pub name: &'static str,
    /// Times its files that it may take of memory. What files say of themselves takes 4 times at most; what comes on top is
    /// said of each.
    pub factor: usize,
    /// Bytes of memory that it may take whatever the size of its files.
    pub room: usize,
    pub seeds: fn() -> Vec<Seed>,
    /// Read the files in a folder.
    pub read: fn(&Path) -> io::Result<()>,
}

pub const HOST: Device = Device::Host;

/// The spare of a reader's budget (1 MiB), buffers, messages.
pub const ROOM: usize = 3 << 19;

/// Regular expressions, of which the heaviest that are read take ten megabytes, and some more on the way.
const PATTERNS: usize = 32 << 20;

pub const TARGETS: &[Target] = &[
    // A block of Q2_K, 84 bytes, is 256 numbers in f32: 12 times and itself.
    Target { name: "gguf", factor: 18, room: ROOM, seeds: ggufs, read: read_gguf },
    // Such a model, and its tokenizer: see below.
    Target {
        name: "gguf_model",
        factor: 96,
        room: ROOM,
        seeds: gguf_models,
        read: |at| LanguageModel::open(&at.join("m.gguf"), &HOST).map(drop),
    },
    // The bytes of a tensor in f16, and twice that in f32.
    Target {
        name: "safetensors",
        factor: 7,
        room: ROOM,
        seeds: plain,
        read: |at| read_safetensors(&at.join("m.safetensors")),
    },
    Target { name: "index", factor: 7, room: ROOM, seeds: sharded, read: read_safetensors },
    // Packed arrays unpack to 4 times the file; then as for safetensors, and once more where columns come first.
    Target { name: "npz", factor: 24, room: ROOM, seeds: npzs, read: read_npz },
    // Numbers of all tensors take 4 times the file, and so do the bytes of the one that is read.
    Target { name: "torch", factor: 12, room: ROOM, seeds: torches, read: read_torch },
    // All tensors together, in f32 where they may have been f16, one of them turned over.
    Target { name: "saelens", factor: 8, room: ROOM, seeds: || saelens(SMALL), read: load },
    Target { name: "sparsify", factor: 8, room: ROOM, seeds: || sparsify(SMALL), read: load },
    Target { name: "dictionary_learning", factor: 12, room: ROOM, seeds: || dictionaries(SMALL), read: load },
    Target {
        name: "openai",
        factor: 12,
        room: ROOM,
        seeds: || openai(SMALL),
        read: |at| sae::Sae::load(&at.join("ae.pt"), &HOST).map(drop),
    },
    Target { name: "gemma_scope", factor: 24, room: ROOM, seeds: || gemma(SMALL), read: load },
    Target { name: "llama_scope", factor: 8, room: ROOM, seeds: || llama_scope(SMALL), read: load },
    // A firing has 8 bytes at least: its place is read into 12, its value into 4, and both are kept in 16.
    Target { name: "sae_cache", factor: 8, room: ROOM, seeds: caches, read: read_cache },
    // Counters are text in a file, and copied with it.
    Target {
        name: "sae_state",
        factor: 8,
        room: ROOM,
        seeds: sae_states,
        read: |at| sae::Trainer::load_state(&at.join("s.safetensors"), &HOST).map(drop),
    },
    Target { name: "lm_state", factor: 8, room: ROOM, seeds: lm_states, read: read_lm_state },
    // The tokenizers crate reads a vocabulary into values of JSON, and keeps each token in several maps: 20 times for words, and
    // one step of a trie, a map, for each byte of Unigram's.
    Target { name: "tokenizer", factor: 400, room: PATTERNS, seeds: tokenizers, read: read_tokenizer },
    Target {
        name: "lm_folder",
        factor: 400,
        room: PATTERNS,
        seeds: lm_folders,
        read: |at| LanguageModel::open(at, &HOST).map(drop),
    },
    Target {
        name: "mamba_folder",
        factor: 8,
        room: ROOM,
        seeds: mambas,
        read: |at| Mamba::<f32>::open(at, &HOST).map(drop),
    },
    Target {
        name: "bert_folder",
        factor: 400,
        room: PATTERNS,
        seeds: berts,
        read: |at| TextEncoder::open(at, &HOST).map(drop),
    },
    Target { name: "vector", factor: 8, room: ROOM, seeds: vectors, read: read_vector },
    Target { name: "reviews", factor: 8, room: ROOM, seeds: reviews, read: read_reviews },
    Target { name: "countries", factor: 8, room: ROOM, seeds: countries, read: read_countries },
    // A paragraph of a letter is kept in a text of its own.
    Target { name: "declaration", factor: 16, room: ROOM, seeds: pages, read: read_page },
];

fn load(at: &Path) -> io::Result<()> {
    sae::Sae::load(at, &HOST).map(drop)
}

fn read_cache(at: &Path) -> io::Result<()> {
    let cache = sae::Cache::open(at)?;
    cache.tokens()?;
    (0..cache.ranges().count()).try_for_each(|range| cache.range(range).map(drop))
}

fn read_gguf(at: &Path) -> io::Result<()> {
    let file = Gguf::open(&at.join("m.gguf"))?;
    file.tensors().iter().try_for_each(|(name, entry)| file.read(name, &entry.dims).map(drop))
}

fn read_safetensors(at: &Path) -> io::Result<()> {
    let file = Safetensors::open(at)?;
    for (name, entry) in file.tensors() {
        let codes = file.read_codes(name, &entry.dims);
        file.read(name, &entry.dims).map(drop).or(codes.map(drop))?;
    }
    Ok(())
}

fn read_npz(at: &Path) -> io::Result<()> {
    let file = Npz::open(&at.join("m.npz"))?;
    file.names().iter().try_for_each(|name| file.read(name, &file.dims(name)?).map(drop))
}

fn read_torch(at: &Path) -> io::Result<()> {
    let file = Torch::open(&at.join("m.pt"))?;
    for (name, entry) in file.tensors() {
        file.read(name, &entry.dims)?;
        file.number(name)?;
    }
    Ok(())
}

fn read_lm_state(at: &Path) -> io::Result<()> {
    let (model, ids, settings) = lm_trainer();
    Trainer::resume(&at.join("s.safetensors"), model, ids, settings).map(drop)
}

/// A text is split and joined with whatever was read.
fn read_tokenizer(at: &Path) -> io::Result<()> {
    let tokenizer = Tokenizer::from_json(&at.join("tokenizer.json"))?;
    // An error is one for the caller, not of the file.
    if let Ok(ids) = tokenizer.encode("ab c, abc <|im_end|> \u{e9}12\n") {
        tokenizer.decode(&ids);
        let mut pieces = tokenizer.pieces();
        ids.iter().for_each(|&id| drop(pieces.push(id)));
    }
    tokenizer.decode(&[0, 7, 1 << 30, u32::MAX]);
    Ok(())
}
