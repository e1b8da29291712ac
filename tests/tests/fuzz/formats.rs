//! Seeds of the formats that say nothing of models: GGUF, safetensors, NumPy's, PyTorch's.
use crate::seeds::*;
use latens_tests::files::{f32s, texts};
use serde_json::{Value, json};

/// Bytes of each type of GGUF, and elements of a block.
const BLOCKS: [(u32, usize, u64); 13] = [
    (0, 4, 1),
    (1, 2, 1),
    (2, 18, 32),
    (3, 20, 32),
    (6, 22, 32),
    (7, 24, 32),
    (8, 34, 32),
    (10, 84, 256),
    (11, 110, 256),
    (12, 144, 256),
    (13, 176, 256),
    (14, 210, 256),
    (30, 2, 1),
];

pub fn ggufs() -> Vec<Seed> {
    let of = |entries, parts| vec![("m.gguf", Form::Gguf(entries, parts))];
    let part = |(kind, bytes, elements): (u32, usize, u64)| {
        (format!("t{kind}"), vec![elements, 2], kind, vec![0x3c; 2 * bytes])
    };
    let all = vec![
        word("general.name", "small"),
        size("general.alignment", 32),
        entry("u8", 0, vec![1]),
        entry("i16", 3, vec![1, 2]),
        entry("f64", 12, vec![0; 8]),
        entry("truth", 7, vec![1]),
        entry("texts", 9, texts(&["a", "b"])),
        entry("bytes", 9, list(0, 3, &[1, 2, 3])),
        entry("floats", 9, list(6, 2, &[0; 8])),
        entry("lists", 9, list(9, 1, &list(5, 2, &[0; 8]))),
    ];
    let lists = |kind, each: &[u8]| of(vec![entry("l", 9, list(kind, 1 << 18, &each.repeat(1 << 18)))], vec![]);
    let keys = (0..10_000).map(|at: u32| entry(&format!("{at:x}"), 7, vec![1])).collect();
    let one = |at: u32| (format!("{at:x}"), vec![1], 1, vec![0; 2]);
    let tight = vec![size("general.alignment", 1)];
    vec![
        sound(of(all, BLOCKS.map(part).to_vec())),
        sound(of(vec![word("a", "b")], vec![("t".into(), vec![3], 0, f32s(&[1.0, 2.0, 3.0]))])),
        unsound(lists(0, &[1])),
        unsound(lists(7, &[1])),
        unsound(lists(8, &[0; 8])),
        unsound(of(keys, vec![])),
        unsound(of(tight, (0..5000).map(one).collect())),
    ]
}

/// Tensors of all types that are read.
fn of_all_types() -> Form {
    let of = |name: &str, kind, dims: &[usize], bytes: usize| (name.to_owned(), kind, dims.to_vec(), vec![0x3c; bytes]);
    let all = [
        of("one", "F32", &[2, 3], 24),
        of("two", "F16", &[4], 8),
        of("three", "BF16", &[2, 1, 2], 8),
        of("four", "F64", &[1], 8),
        of("five", "U8", &[5], 5),
        of("none", "F32", &[0, 7], 0),
        of("scalar", "F32", &[], 4),
    ];
    tensors(&all, &[("format", "pt"), ("latens", "note")])
}

/// Headers of nothing but names, notes, sizes.
pub fn headers() -> Vec<Form> {
    let name = |at: usize| format!("\"{at:x}\":{{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}}");
    let all = |of: Vec<String>| of.join(",");
    vec![
        bare(&format!("{{{}}}", all((0..8000).map(name).collect()))),
        bare(&format!("{{\"__metadata__\":{{{}}}}}", all((0..40_000).map(|at| format!("\"{at:x}\":\"\"")).collect()))),
        bare(&format!(
            "{{\"a\":{{\"dtype\":\"F32\",\"shape\":[{}],\"data_offsets\":[0,0]}}}}",
            all(vec!["0".into(); 200_000])
        )),
        bare(&format!("{{\"a\":{{\"b\":[{}]}}}}", all(vec!["[]".into(); 150_000]))),
    ]
}

pub fn plain() -> Vec<Seed> {
    let mut all = vec![
        sound(vec![("m.safetensors", of_all_types())]),
        sound(vec![("m.safetensors", tensors(&[tensor("a", &[40, 3]), tensor("b", &[7])], &[]))]),
    ];
    all.extend(headers().into_iter().map(|header| unsound(vec![("m.safetensors", header)])));
    all
}

pub fn sharded() -> Vec<Seed> {
    let index =
        |map: Value, save: Value| words(json!({"metadata": {"total_size": 99, "save": save}, "weight_map": map}));
    let files = |index| {
        let one = tensors(&[tensor("a", &[40, 3]), tensor("b", &[7])], &[("save", "x")]);
        vec![
            ("model.safetensors.index.json", index),
            ("a.safetensors", one),
            ("b.safetensors", tensors(&[tensor("c", &[5])], &[("save", "x")])),
        ]
    };
    let map = json!({"a": "a.safetensors", "b": "a.safetensors", "c": "b.safetensors"});
    let dense = Form::Bytes(format!("{{\"weight_map\":[{}]}}", vec!["0"; 200_000].join(",")).into_bytes());
    vec![sound(files(index(map.clone(), json!("x")))), sound(files(index(map, Value::Null))), unsound(files(dense))]
}

fn arrays() -> Vec<(String, Vec<u8>)> {
    let some = |count| f32s(&floats(count));
    vec![
        ("a.npy".into(), npy("<f4", false, "(2, 3)", &some(6))),
        ("b.npy".into(), npy("<f4", true, "(3, 4)", &some(12))),
        ("c.npy".into(), npy("<f8", false, "()", &[0; 8])),
        ("d.npy".into(), npy("<f2", false, "(5,)", &[0x3c; 10])),
        ("e.npy".into(), npy("<i8", false, "(2,)", &[1; 16])),
        ("f.npy".into(), npy("<i4", false, "(0, 9)", &[])),
    ]
}

/// Archives of nothing but entries: each with a name of its own, all with the same, or in two bytes of what is packed.
pub fn crowds(end: &str) -> Vec<Form> {
    let packed = (0..40).map(|at| (format!("{at}{end}"), vec![0; 1 << 12])).collect();
    vec![
        Form::Bytes(crowded(8000, |at| format!("{at:x}{end}"))),
        Form::Bytes(crowded(8000, |_| format!("a{end}"))),
        Form::Zip(packed, true),
    ]
}

pub fn npzs() -> Vec<Seed> {
    let mut all: Vec<_> = [false, true].map(|packed| sound(vec![("m.npz", Form::Zip(arrays(), packed))])).into();
    all.extend(crowds(".npy").into_iter().map(|crowd| unsound(vec![("m.npz", crowd)])));
    let deep = npy("<f4", false, &format!("({})", "0,".repeat(25_000)), &[]);
    all.push(unsound(vec![("m.npz", Form::Zip(vec![("a.npy".into(), deep)], false))]));
    all
}

/// Pickles whose instructions of a byte or two each make something.
pub fn pickles() -> Vec<Form> {
    let of = |part: &[u8]| pickled(&[&b"\x80\x02}q\0("[..], &part.repeat((1 << 18) / part.len()), b"u."].concat());
    let mut all: Vec<_> = [&b"N"[..], b")", b"]", b"N\x94", b"(t", b"\x8c\x00", b"X\0\0\0\0"].map(of).into();
    // A text, and a tensor, under very many names.
    let names = |of: &[u8]| {
        (0..20_000)
            .flat_map(|at| [&b"X\x04\0\0\0"[..], format!("{at:04x}").as_bytes(), of].concat())
            .collect::<Vec<_>>()
    };
    let words = [&b"X\0\x04\0\0"[..], &[b'w'; 1024]].concat();
    all.push(pickled(&[b"\x80\x02", &words[..], b"q\x010}(", &names(b"h\x01"), b"u."].concat()));
    // A dictionary with a long name, of very many.
    all.push(pickled(&[b"\x80\x02}", &words[..], b"}(", &names(b"N"), b"us."].concat()));
    all
}

pub fn torches() -> Vec<Seed> {
    let all = [
        ("a", held(&[2, 3])),
        ("turned", Held::Tensor("FloatStorage", vec![3, 2], vec![1, 3], f32s(&floats(6)))),
        ("half", Held::Tensor("HalfStorage", vec![4], vec![1], vec![0x3c; 8])),
        ("one", Held::Tensor("LongStorage", vec![], vec![], vec![7, 0, 0, 0, 0, 0, 0, 0])),
        ("wide", Held::Tensor("DoubleStorage", vec![1, 2], vec![2, 1], vec![0; 16])),
        ("state", Held::Dictionary(vec![("k", Held::Int(2)), ("x", Held::Float(0.5)), ("t", Held::Text("ReLU"))])),
    ];
    let mut seeds = vec![sound(vec![("m.pt", torch(&all))]), sound(vec![("m.pt", torch(&[("w", held(&[30, 3]))]))])];
    let unsounds = pickles().into_iter().chain(crowds("/data.pkl"));
    seeds.extend(unsounds.map(|form| unsound(vec![("m.pt", form)])));
    seeds
}
