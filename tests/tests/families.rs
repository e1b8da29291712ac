//! Every family is in every room: whoever adds a folder to `kernels/src` is told what it still lacks.
use std::fs;
use std::path::{Path, PathBuf};

/// Families without a benchmark of their own, and why.
const UNTIMED: &[(&str, &str)] = &[];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The names of the families: the folders of `kernels/src`.
fn families() -> Vec<String> {
    let entries = fs::read_dir(root().join("kernels/src")).unwrap().map(Result::unwrap);
    let mut all: Vec<String> =
        entries.filter(|entry| entry.path().is_dir()).map(|entry| entry.file_name().into_string().unwrap()).collect();
    all.sort();
    assert!(all.len() > 15, "{all:?}");
    all
}

/// The contents of all files in `folder`, and below, that end so.
fn all(folder: &Path, end: &str) -> String {
    let mut text = String::new();
    for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            text += &all(&path, end);
        } else if path.extension().is_some_and(|extension| extension == end) {
            text += &fs::read_to_string(path).unwrap();
        }
    }
    text
}

#[test]
fn every_family_is_in_every_room() {
    for family in families() {
        for room in ["cpu/src", "core/src", "bindings/src", "tests/tests"] {
            let place = root().join(room);
            let there = place.join(format!("{family}.rs")).is_file() || place.join(&family).is_dir();
            assert!(there, "{family}: neither {room}/{family}.rs nor {room}/{family}/");
        }
    }
}

#[test]
fn every_family_has_a_benchmark() {
    let manifest = read("benches/Cargo.toml");
    for family in families() {
        let timed = manifest.contains(&format!("[[bench]]\nname = \"{family}\"\n"));
        let excused = UNTIMED.iter().any(|(name, _)| *name == family);
        assert!(timed || excused, "{family}: no [[bench]] in benches/Cargo.toml, and no reason in UNTIMED");
    }
}

#[test]
fn every_family_is_in_the_readme() {
    let readme = read("README.md");
    for family in families() {
        let row =
            |line: &str| line.starts_with("| `") && line.split('|').nth(1).unwrap().contains(&format!("`{family}`"));
        assert!(readme.lines().any(row), "{family}: no row in the README's table of families");
    }
}

/// Tables print how many cases went through: `cases: FAMILY IMPLEMENTATION COUNT`.
#[test]
fn every_family_counts_its_cases() {
    let tests = all(&root().join("tests/tests"), "rs");
    for family in families() {
        let counts = |end| tests.contains(&format!("Cases::of(\"{family}{end}"));
        assert!(['"', ' ', ',', '_'].into_iter().any(counts), "{family}: no Cases::of(\"{family}..\") in tests/tests");
    }
}

/// Every function of `latens.hpp` is called by a C++ program that the tests run.
#[test]
fn every_wrapper_is_called_from_cpp() {
    let header = read("bindings/include/latens.hpp");
    let calls = all(&root().join("tests/c"), "cpp");
    let mut count = 0;
    for line in header.lines().filter_map(|line| line.strip_prefix("inline ")) {
        let Some((before, _)) = line.split_once('(') else { continue };
        let name = before.split_whitespace().last().unwrap();
        if name != "check" {
            assert!(calls.contains(&format!("latens::{name}(")), "{name}: no call in tests/c/*.cpp");
            count += 1;
        }
    }
    assert!(count > 40, "only {count} functions were found");
}
