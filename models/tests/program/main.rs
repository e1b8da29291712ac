//! The program `latens`, as a shell calls it, on a real language model.
mod judge;
mod train;

use latens::assets::{BROWN, SMOLLM2, SPEAKERS};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::{fs, str};

fn latens(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_latens")).args(arguments).output().unwrap()
}

fn fine(arguments: &[&str]) -> String {
    let done = latens(arguments);
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success(), "{arguments:?}: {said}");
    String::from_utf8(done.stdout).unwrap()
}

fn refused(arguments: &[&str]) -> String {
    let done = latens(arguments);
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(!done.status.success() && !said.contains("panicked"), "{arguments:?}: {said}");
    said
}

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("latens-program-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const SMALL: [&str; 12] =
    ["--context", "32", "--tokens", "300", "--batch", "64", "--latents", "96", "--device", "cpu", "--room", "600"];

/// One speech: to read all of them takes longer than all the rest.
fn text() -> Option<String> {
    let (model, speeches) = (latens::assets::SMOLLM2.for_test(), latens::assets::SPEECHES.for_test());
    model.and(speeches).map(|folder| folder.join("1981-Carter-1.txt").to_str().unwrap().to_owned())
}

fn train(folder: &Folder, out: &str, more: &[&str]) -> String {
    let (out, text) = (folder.path(out), text().unwrap());
    fine(&[&["sae", "train", "--out", &out, "--text", &text][..], &SMALL, more].concat())
}

fn bytes(folder: &Folder, out: &str, run: &str) -> Vec<u8> {
    fs::read(Path::new(&folder.path(out)).join(run).join("sae/sae_weights.safetensors")).unwrap()
}

#[test]
fn wrong_calls_say_what_is_wrong() {
    let folder = Folder::new("wrong");
    let nowhere = folder.path("nowhere");
    assert!(refused(&["sae", "show", &nowhere]).contains("nowhere"));
    assert!(refused(&["sae", "convert", &nowhere, &folder.path("to")]).contains("nowhere"));
    assert!(refused(&["sae", "train", "--variant", "other"]).contains("possible values"));
    let Some(text) = text() else { return };
    let out = folder.path("out");
    let with = |more: &[&str]| {
        refused(&[&["sae", "train", "--text", &text, "--out", &out, "--device", "cpu"][..], more].concat())
    };
    assert!(with(&["--k", "5000"]).contains("5000 is more than the 4608 latents"));
    assert!(with(&["--tokens", "0"]).contains("nothing to train"));
    assert!(with(&["--layer", "30", "--tokens", "300", "--batch", "64"]).contains("30 was asked for"));
    assert!(with(&["--weight", "3"]).contains("topk has no penalty"));
    assert!(with(&["--rate", "nan"]).contains("rate"));
    assert!(with(&["--exclude-first", "128"]).contains("the first 128 tokens of contexts of 128, expected fewer"));
    assert!(with(&["--exclude-ids", "3,49152"]).contains("49152 is no token, expected numbers below 49152"));
    assert!(with(&["--exclude-longer", "5"]).contains("--activations"));
    let kept = folder.path("kept");
    assert!(with(&["--exclude-longer", "1", "--activations", &kept]).contains("expected a finite number above 1"));
    let said = with(&["--site", "blocks.*.hook_resid_post", "--site", "blocks.30.*"]);
    assert!(said.contains("--site: blocks.30.* names no place") && said.contains("hook_mlp_out"), "{said}");
    assert!(with(&["--site", "*.3.*", "--layers-every", "2"]).contains("no place that is named"));
    assert!(with(&["--site", "*.3.*", "--layer", "3"]).contains("cannot be used with"));
    assert!(with(&["--layers-every", "0"]).contains("--layers-every"));
    assert!(with(&["--variant", "relu", "--format", "sparsify"]).contains("topk and groupmax only"));
    let config = folder.path("bad.json");
    fs::write(&config, r#"{"variant": "topk", "prefixes": [64, 32, 4608]}"#).unwrap();
    let said = with(&["--config", &config]);
    assert!(said.contains("bad.json") && said.contains("prefixes"), "{said}");
    let claim = latens::io::Claim::of(Path::new(&out)).unwrap();
    let said = with(&["--tokens", "300", "--batch", "64"]);
    assert!(said.contains("another run writes"), "{said}");
    drop(claim);
}
