//! What sound files of real sizes cost, where no room hides it.
use crate::checkpoints::*;
use crate::meter::watch;
use crate::seeds::Seed;
use crate::targets::HOST;
use crate::{PIECE, Place, TURN, files_of, say};
use latens::lm::LanguageModel;
use latens::{assets, sae};
use latens_tests::files::folder;
use std::sync::PoisonError;

/// Files of 8 MiB, where numbers take 4 bytes.
const LARGE: [usize; 2] = [256, 4096];
/// All memory that is alive at once: times the files.
const ALIVE: f64 = 4.0;

/// Neither a piece nor all of it is larger than four times the files: `f16` becomes `f32`, and a matrix is turned.
#[test]
fn autoencoders_of_real_sizes() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut place = Place::new(folder(env!("CARGO_TARGET_TMPDIR"), "fuzz-large"));
    type Make = fn([usize; 2]) -> Vec<Seed>;
    let all: [(&str, Make); 6] = [
        ("saelens", saelens),
        ("sparsify", sparsify),
        ("dictionary_learning", dictionaries),
        ("openai", openai),
        ("gemma_scope", gemma),
        ("llama_scope", llama_scope),
    ];
    for (name, make) in all {
        for (at, seed) in make(LARGE).iter().enumerate().filter(|(_, seed)| seed.sound) {
            let bytes = place.put(&files_of(seed)) as f64;
            let from = if name == "openai" { place.path.join("ae.pt") } else { place.path.clone() };
            let read = || sae::Sae::load(&from, &HOST).map(drop).map_err(|error| error.to_string());
            assert_eq!(read(), Ok(()), "{name} {at}");
            let seen = watch(read);
            let [piece, alive] = [seen.largest, seen.most].map(|taken| taken as f64 / bytes);
            say(&format!("large: {name} {at} of {bytes} bytes: a piece of {piece:.2} times, in all {alive:.2} times"));
            assert!(seen.accepted && piece <= PIECE && alive <= ALIVE, "{name} {at}: {piece} {alive}");
        }
    }
    std::fs::remove_dir_all(&place.path).unwrap();
}

/// A model whose weights have 5 to 8 bits becomes `f32`, four to six times as large in all; each tensor is a piece.
#[test]
fn a_model_of_real_size() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(path) = latens_tests::real(&assets::SMOLLM2) else { return };
    let bytes = std::fs::metadata(&path).unwrap().len() as f64;
    let seen = watch(|| LanguageModel::open(&path, &HOST).map(drop).map_err(|error| error.to_string()));
    let [piece, alive] = [seen.largest, seen.most].map(|taken| taken as f64 / bytes);
    say(&format!("large: SmolLM2 of {bytes} bytes: a piece of {piece:.2} times, in all {alive:.2} times"));
    assert!(seen.accepted && piece <= PIECE && alive <= 8.0, "{piece} {alive}");
}
