//! `include/latens.h` is what cbindgen makes of `src/`. `LATENS_WRITE_HEADER=1` rewrites it.
use std::path::Path;

/// Files in the order of the header.
const FILES: &[&str] = &[
    "status",
    "device",
    "call",
    "segments",
    "map",
    "reduce",
    "topk",
    "linear",
    "norm",
    "act",
    "rope",
    "attention",
    "conv1d",
    "conv2d",
    "pool",
    "resize",
    "scan",
    "ssd",
    "embed",
    "loss",
    "optim",
    "entropy",
    "quant",
    "sae/encode",
    "sae/decode",
    "sae/backward",
    "sae/gate",
    "sae/track",
    "sparsify",
    "hyper/incidence",
    "hyper/weigh",
    "hyper/pool",
    "hyper/rank",
    "hyper/search",
    "lowrank",
    "settings",
    "trainer",
    "checkpoint",
    "autoencoder",
    "vector",
];

/// One test, so that nothing reads the header while it is renewed.
#[test]
fn headers_are_current_complete_and_sound() {
    every_file_is_listed();
    header_is_current();
    every_function_is_in_cpp();
    cpp_compiles();
}

fn header_is_current() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = cbindgen::Config::from_file(here.join("cbindgen.toml")).unwrap();
    let sources = FILES.iter().map(|file| here.join(format!("src/{file}.rs")));
    let made = sources.fold(cbindgen::Builder::new().with_config(config), cbindgen::Builder::with_src);
    let mut text = Vec::new();
    made.generate().unwrap().write(&mut text);
    let text = tidy(&String::from_utf8(text).unwrap());

    let path = here.join("include/latens.h");
    if std::env::var_os("LATENS_WRITE_HEADER").is_some_and(|value| value == "1") {
        std::fs::write(&path, &text).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == text, "include/latens.h is stale: LATENS_WRITE_HEADER=1 cargo test -p latens-c");
}

/// Every file that exports a function is in the header.
fn every_file_is_listed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for folder in [root.clone(), root.join("sae"), root.join("hyper")] {
        let sources = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
        for path in sources.filter(|path| path.is_file()) {
            let name = path.strip_prefix(&root).unwrap().with_extension("");
            let exports = std::fs::read_to_string(&path).unwrap().contains("no_mangle");
            assert!(!exports || FILES.contains(&name.to_str().unwrap()), "{name:?} is missing in FILES");
        }
    }
}

/// Every function can be called from C++.
fn every_function_is_in_cpp() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("include");
    let [c, cpp] = ["latens.h", "latens.hpp"].map(|name| std::fs::read_to_string(folder.join(name)).unwrap());
    let mut count = 0;
    for line in c.lines().filter(|line| !line.starts_with("//")) {
        let words = line.split(|letter: char| !(letter.is_alphanumeric() || letter == '_'));
        for name in words.filter(|word| word.starts_with("latens_") && line.contains(&format!("{word}("))) {
            assert!(cpp.contains(&format!("{name}(")), "{name} is missing in latens.hpp");
            count += 1;
        }
    }
    assert!(count > 40, "only {count} functions were found");
}

/// Alone, and without a warning.
fn cpp_compiles() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("include");
    let compiler = std::env::var("CXX").unwrap_or("g++".into());
    let flags = ["-fsyntax-only", "-std=c++17", "-Wall", "-Wextra", "-Werror", "-x", "c++"];
    let done = std::process::Command::new(&compiler).args(flags).arg(folder.join("latens.hpp")).output();
    let done = done.unwrap_or_else(|error| panic!("{compiler}: {error}"));
    assert!(done.status.success(), "latens.hpp: {}", String::from_utf8_lossy(&done.stderr));
}

/// The sections on safety are the same everywhere and stand at the top of the header; Rust's links and escapes mean
/// nothing in C.
fn tidy(header: &str) -> String {
    let mut lines: Vec<&str> = Vec::new();
    let mut skipping = false;
    for line in header.lines() {
        skipping = line.starts_with("//") && (skipping || line == "// # Safety");
        if skipping && lines.last() == Some(&"//") {
            lines.pop();
        }
        if !skipping {
            lines.push(line);
        }
    }
    lines.join("\n").replace("\\[", "[").replace("\\]", "]").replace("[`", "`").replace("`]", "`").replace('`', "")
        + "\n"
}
