//! Files that lie, end early or are nothing at all: each gives an error that says what is wrong, and no byte makes the readers
//! panic or take more memory than the file has.
use latens::io::{Error, gguf::Gguf, safetensors::Safetensors};
use latens::lm::{Config, LanguageModel, Tokenizer};
use latens::{Device, assets};
use latens_tests::files::{Entry, f32s, folder, gguf, safetensors, text, texts};
use proptest::prelude::*;
use std::fs;
use std::path::Path;

fn small() -> Vec<u8> {
    let entries = [("general.name", 8, text("small")), ("list", 9, texts(&["a", "b"])), ("size", 4, vec![7, 0, 0, 0])];
    let part = |name: &str, values: &[f32]| (name.to_owned(), vec![values.len() as u64], 0, f32s(values));
    gguf(&entries, &[part("one", &[1.0, 2.0]), part("two", &[3.0; 9])])
}

/// What the reader says of these bytes.
fn said(folder: &Path, bytes: &[u8]) -> String {
    let path = folder.join("file.gguf");
    fs::write(&path, bytes).unwrap();
    Gguf::open(&path).unwrap_err().to_string()
}

#[test]
fn gguf_lies_are_told() {
    let folder = folder(env!("CARGO_TARGET_TMPDIR"), "files-gguf");
    let good = small();
    fs::write(folder.join("file.gguf"), &good).unwrap();
    let file = Gguf::open(&folder.join("file.gguf")).unwrap();
    assert_eq!(file.read("one", &[2]).unwrap(), [1.0, 2.0]);
    assert!(file.read("one", &[3]).unwrap_err().to_string().contains("sizes [2], expected [3]"));
    assert!(file.read("none", &[3]).unwrap_err().to_string().contains("no tensor none"));

    let at = |what: &[u8]| good.windows(what.len()).position(|window| window == what).unwrap();
    let with = |place: usize, bytes: &[u8]| {
        let mut bad = good.clone();
        bad[place..place + bytes.len()].copy_from_slice(bytes);
        bad
    };
    let (most, third) = ((u64::MAX / 2).to_le_bytes(), at(b"two") + 3); // rank, size, type and offset of tensor two
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("0 bytes that are left", vec![]),
        ("begins with", with(0, b"GGML")),
        ("version 9", with(4, &[9])),
        ("big-endian", with(4, &[0, 0, 0, 3])),
        ("tensors cannot be in", with(8, &most)),
        ("metadata entries cannot be in", with(16, &[0xff; 8])),
        ("a metadata key has", with(24, &most)),
        ("kind 77", with(at(b"general.name") + 12, &[77])),
        ("bytes of a text cannot be in", with(at(b"general.name") + 16, &most)),
        ("a list of 9223372036854775807 entries", with(at(b"list") + 12, &most)),
        ("a list of kind 99", with(at(b"list") + 8, &[99])),
        ("not UTF-8", with(at(b"small"), &[0xff])),
        ("rank 0", with(third, &[0])),
        ("rank 4294967295", with(third, &[0xff; 4])),
        ("expected 1 to", with(third + 4, &[0; 8])),
        ("too large", with(third + 4, &most)),
        ("end beyond", with(third + 4, &1000_u64.to_le_bytes())),
        ("type 200", with(third + 12, &[200])),
        ("no whole blocks of Q4_K", with(third + 12, &[12])),
        ("expected a multiple of 32", with(third + 16, &[1])),
        ("overlap", with(third + 16, &[0])),
        ("end beyond", with(third + 16, &(u64::MAX - 31).to_le_bytes())),
        ("tensor one occurs twice", with(at(b"two"), b"one")),
        ("end beyond", good[..good.len() - 40].to_vec()),
    ];
    for (what, bad) in cases {
        let said = said(&folder, &bad);
        assert!(said.contains(what) && said.contains("file.gguf"), "{what}: {said}");
    }
    let twice = gguf(&[("a", 7, vec![1]), ("a", 7, vec![0])], &[]);
    assert!(said(&folder, &twice).contains("metadata a occurs twice"));
    assert!(said(&folder, &gguf(&[("a", 7, vec![3])], &[])).contains("truth value 3"));
    let alignment = |kind, bytes: &[u8]| said(&folder, &gguf(&[("general.alignment", kind, bytes.to_vec())], &[]));
    assert!(alignment(4, &[3, 0, 0, 0]).contains("general.alignment is 3, expected a power of two"));
    assert!(alignment(8, &text("wide")).contains("general.alignment is no unsigned number"));
    // Lists in lists in lists, for as long as the file goes on.
    let nest = [9_u32.to_le_bytes().to_vec(), 1_u64.to_le_bytes().to_vec()].concat();
    assert!(said(&folder, &gguf(&[("a", 9, nest.repeat(100_000))], &[])).contains("deep"));
    for end in 0..good.len() - 28 {
        said(&folder, &good[..end]); // the last 28 bytes only fill up the last 32
    }
}

/// Sound files that are nothing but words about themselves, each of which would take many times its bytes of memory.
#[test]
fn words_that_cost_too_much_are_refused() {
    let folder = folder(env!("CARGO_TARGET_TMPDIR"), "files-words");
    let list = |kind: u32, count: u64, each: &[u8]| {
        let list = [&kind.to_le_bytes()[..], &count.to_le_bytes(), &each.repeat(count as usize)].concat();
        gguf(&[("l", 9, list)], &[])
    };
    let keys: Vec<_> = (0..50_000).map(|at| (format!("{at:x}"), 7, vec![1])).collect();
    for bad in [list(0, 1 << 20, &[1]), gguf(&keys, &[])] {
        let said = said(&folder, &bad);
        assert!(said.contains("bytes of memory, 4 times the file"), "{said}");
    }
    // What a vocabulary has: texts, numbers of four bytes.
    for good in [list(8, 1 << 17, &text("ab")), list(5, 1 << 18, &[1, 0, 0, 0])] {
        fs::write(folder.join("file.gguf"), good).unwrap();
        Gguf::open(&folder.join("file.gguf")).unwrap();
    }
    let path = folder.join("file.safetensors");
    let all = |of: Vec<String>| format!("{{{}}}", of.join(","));
    let empty = r#"{"dtype":"F32","shape":[0],"data_offsets":[0,0]}"#;
    for bad in [
        all((0..20_000).map(|at| format!("\"{at}\":{empty}")).collect()),
        format!("{{\"__metadata__\":{}}}", all((0..100_000).map(|at| format!("\"{at}\":\"\"")).collect())),
        format!("{{\"a\":[{}]}}", vec!["[]"; 100_000].join(",")),
    ] {
        fs::write(&path, safetensors(&bad, &[])).unwrap();
        let said = Safetensors::open(&path).unwrap_err().to_string();
        assert!(said.contains("bytes of memory, 4 times the file"), "{said}");
    }
}

#[test]
fn safetensors_lies_are_told() {
    let folder = folder(env!("CARGO_TARGET_TMPDIR"), "files-safetensors");
    let path = folder.join("file.safetensors");
    let open = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        Safetensors::open(&path)
    };
    let one = r#"{"__metadata__":{"k":"v"},"one":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
    let good = safetensors(one, &f32s(&[1.0, 2.0]));
    let file = open(&good).unwrap();
    assert_eq!(file.read("one", &[2]).unwrap(), [1.0, 2.0]);
    assert_eq!(file.notes()["k"], "v");
    assert!(file.read("one", &[1, 2]).unwrap_err().to_string().contains("sizes [2], expected [1, 2]"));
    let tensor = |rest: &str| safetensors(&format!(r#"{{"one":{rest}}}"#), &[0; 8]);
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("0 bytes", vec![]),
        ("header would have", [&u64::MAX.to_le_bytes()[..], &[0; 40]].concat()),
        ("header would have 9223372036854775807", [&(u64::MAX / 2).to_le_bytes()[..], &[0; 40]].concat()),
        ("its header", safetensors("{", &[])),
        ("its header", safetensors("[]", &[])),
        ("its header", safetensors(&"[".repeat(100_000), &[])),
        ("its tensors have 8 bytes", safetensors(one, &[0; 9])),
        ("its tensors have 8 bytes", good[..good.len() - 1].to_vec()),
        ("its header", tensor(r#"{"dtype":"F33","shape":[2],"data_offsets":[0,8]}"#)),
        ("its header", tensor(r#"{"dtype":"F32","shape":[3],"data_offsets":[0,8]}"#)),
        ("its header", tensor(r#"{"dtype":"F32","shape":[2],"data_offsets":[8,16]}"#)),
        ("its header", tensor(r#"{"dtype":"F32","shape":[2],"data_offsets":[8,0]}"#)),
        ("its header", tensor(r#"{"dtype":"F32","shape":[4611686018427387905,4],"data_offsets":[0,8]}"#)),
        ("its header", tensor(r#"{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}"#)),
        (
            "its tensors have",
            tensor(r#"{"dtype":"F32","shape":[144115188075855872],"data_offsets":[0,576460752303423488]}"#),
        ),
        ("its header", {
            let overlap = r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}"#;
            safetensors(overlap, &[0; 12])
        }),
        ("tensor a occurs twice", {
            let twice = r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
            safetensors(twice, &[0; 8])
        }),
    ];
    for (what, bad) in cases {
        let said = open(&bad).unwrap_err().to_string();
        assert!(said.contains(what) && said.contains("file.safetensors"), "{what}: {said}");
    }
    let whole = open(&safetensors(r#"{"one":{"dtype":"I64","shape":[1],"data_offsets":[0,8]}}"#, &[0; 8])).unwrap();
    assert!(whole.read("one", &[1]).unwrap_err().to_string().contains("type I64"));
    (0..good.len()).for_each(|end| assert!(open(&good[..end]).is_err()));
}

#[test]
fn an_index_is_believed_only_if_true() {
    let folder = folder(env!("CARGO_TARGET_TMPDIR"), "files-index");
    let one = r#"{"one":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
    fs::write(folder.join("a.safetensors"), safetensors(one, &f32s(&[1.0, 2.0]))).unwrap();
    fs::write(folder.join("b.safetensors"), safetensors(&one.replace("one", "two"), &f32s(&[3.0, 4.0]))).unwrap();
    let both = r#"{"one":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"two":{"dtype":"F32","shape":[0],"data_offsets":[8,8]}}"#;
    fs::write(folder.join("d.safetensors"), safetensors(both, &f32s(&[5.0, 6.0]))).unwrap();
    let open = |map: &str| {
        fs::write(folder.join("model.safetensors.index.json"), format!(r#"{{"weight_map":{map}}}"#)).unwrap();
        Safetensors::open(&folder)
    };
    let all = open(r#"{"one":"a.safetensors","two":"b.safetensors"}"#).unwrap();
    assert_eq!(all.read("two", &[2]).unwrap(), [3.0, 4.0]);
    let wrong = [
        (r#"{"one":"b.safetensors"}"#, "where it is not"),
        (r#"{"one":"../a.safetensors"}"#, "no plain file name"),
        (r#"{"one":"/etc/passwd"}"#, "no plain file name"),
        (r#"{"one":3}"#, "no text"),
        ("3", "no weight_map"),
        (r#"{"one":"c.safetensors"}"#, "cannot open"),
        (r#"{"one":"a.safetensors","two":"a.safetensors"}"#, "it says that two is in a.safetensors, where it is not"),
        (r#"{"one":"d.safetensors"}"#, "two is in d.safetensors, of which it says nothing"),
        (r#"{"one":"a.safetensors","two":"d.safetensors"}"#, "one is in d.safetensors, of which it says nothing"),
    ];
    for (map, what) in wrong {
        let said = open(map).unwrap_err().to_string();
        assert!(said.contains(what), "{map}: {said}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    /// Bytes changed and cut off anywhere: an error or a file, never a panic.
    #[test]
    fn damaged_files_never_panic(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4), keep in 0.5_f64..1.0) {
        let folder = std::env::temp_dir();
        for (name, open) in [("g", (|path| { if let Ok(file) = Gguf::open(path) { let _ = file.read("two", &[9]); } }) as fn(&Path)),
            ("s", |path| { if let Ok(file) = Safetensors::open(path) { let _ = file.read("one", &[2]); } })] {
            let one = r#"{"one":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
            let mut bytes = if name == "g" { small() } else { safetensors(one, &f32s(&[1.0, 2.0])) };
            changes.iter().for_each(|(at, byte)| *at.get_mut(&mut bytes) = *byte);
            let path = folder.join(format!("latens-damage-{name}-{}", std::process::id()));
            fs::write(&path, &bytes).unwrap();
            open(&path);
            bytes.truncate((bytes.len() as f64 * keep) as usize);
            fs::write(&path, &bytes).unwrap();
            open(&path);
            fs::remove_file(&path).unwrap();
        }
    }
}

#[test]
fn other_models_are_named() {
    let folder = folder(env!("CARGO_TARGET_TMPDIR"), "files-other");
    let path = folder.join("model.gguf");
    let open = |entries: &[Entry]| {
        fs::write(&path, gguf(entries, &[])).unwrap();
        let file = Gguf::open(&path).unwrap();
        (Config::from_gguf(&file).unwrap_err().to_string(), Tokenizer::from_gguf(&file).err().unwrap().to_string())
    };
    assert!(open(&[]).0.contains("no general.architecture"));
    assert!(open(&[("general.architecture", 8, text("mamba"))]).0.contains("family mamba, expected llama"));
    assert!(open(&[("general.architecture", 4, vec![0; 4])]).0.contains("an unsigned number"));
    assert!(open(&[("tokenizer.ggml.model", 8, text("bert"))]).1.contains("kind bert, expected gpt2"));
    let bpe = ("tokenizer.ggml.model", 8, text("gpt2"));
    let tokens = ("tokenizer.ggml.tokens", 9, texts(&["a", "b"]));
    let pre = ("tokenizer.ggml.pre", 8, text("klingon"));
    assert!(open(&[bpe.clone(), tokens.clone(), pre]).1.contains("klingon"));
    let merges = ("tokenizer.ggml.merges", 9, texts(&["a b"]));
    assert!(open(&[bpe.clone(), tokens.clone(), merges]).1.contains("its tokenizer"), "ab is no token");
    let merges = ("tokenizer.ggml.merges", 9, texts(&["ab"]));
    assert!(open(&[bpe, tokens, merges]).1.contains("no pair"));
    let missing = LanguageModel::open(&folder.join("none.gguf"), &Device::Host).err().unwrap();
    assert!(matches!(missing, Error::System { .. }) && missing.to_string().contains("none.gguf"));
}

/// The header of a real model, cut off at many places and with bytes changed: an error each time, soon.
#[test]
fn a_real_header_cut_short_is_an_error() {
    let Some(path) = assets::SMOLLM2.for_test() else { return };
    let real = fs::read(path).unwrap();
    let folder = folder(env!("CARGO_TARGET_TMPDIR"), "files-real");
    for end in [4, 30, 1000, 100_000, 1_800_000] {
        said(&folder, &real[..end]);
    }
    let last = said(&folder, &real[..real.len() - 1]);
    assert!(last.contains("end beyond"), "{last}");
}
