//! Seeds of language models, of their tokenizers, and of their training.
use crate::formats::headers;
use crate::seeds::*;
use crate::targets::HOST;
use latens::lm::mamba::{self, Mamba};
use latens::lm::{Config, Decoder};
use latens::train::{Rule, Schedule, Settings, Trainer};
use latens_tests::files::{f32s, text, texts};
use serde_json::{Value, json};
use std::path::Path;

/// What a token of byte-level BPE can be: letters, and pairs of them.
const TOKENS: [&str; 8] = ["<|im_start|>", "<|im_end|>", "a", "b", "c", "ab", "abc", "Ġ"];

pub fn gguf_models() -> Vec<Seed> {
    let numbers = |kind: u32, bytes: usize, dims: [u64; 2], name: &str| {
        let per = if kind == 0 { 1 } else { 32 };
        (name.to_owned(), dims.to_vec(), kind, vec![0x3c; (dims[0] * dims[1] / per) as usize * bytes])
    };
    let four = |name: &str| numbers(2, 18, [32, 32], name);
    let vector = |name: &str| (name.to_owned(), vec![32], 0, f32s(&floats(32)));
    let mut parts = vec![numbers(0, 4, [32, 8], "token_embd.weight"), vector("output_norm.weight")];
    parts.extend(["blk.0.attn_norm.weight", "blk.0.ffn_norm.weight"].map(vector));
    let products = ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"];
    parts.extend(products.map(|name| four(&format!("blk.0.{name}.weight"))));
    let entries = |kinds: &[i32]| {
        vec![
            word("general.architecture", "llama"),
            size("llama.block_count", 1),
            size("llama.context_length", 16),
            size("llama.embedding_length", 32),
            size("llama.feed_forward_length", 32),
            size("llama.attention.head_count", 2),
            entry("llama.attention.layer_norm_rms_epsilon", 6, 1e-5_f32.to_le_bytes().to_vec()),
            word("tokenizer.ggml.model", "gpt2"),
            word("tokenizer.ggml.pre", "smollm"),
            entry("tokenizer.ggml.tokens", 9, texts(&TOKENS)),
            entry(
                "tokenizer.ggml.token_type",
                9,
                list(5, 8, &kinds.iter().flat_map(|kind| kind.to_le_bytes()).collect::<Vec<_>>()),
            ),
            entry("tokenizer.ggml.merges", 9, texts(&["a b", "ab c"])),
            size("tokenizer.ggml.bos_token_id", 0),
            size("tokenizer.ggml.eos_token_id", 1),
            entry("tokenizer.ggml.add_bos_token", 7, vec![0]),
        ]
    };
    let good = |kinds: &[i32]| Form::Gguf(entries(kinds), parts.clone());
    // A vocabulary of nothing but special tokens.
    let mut crowd = entries(&[1; 8]);
    let count = 10_000_u32;
    crowd[9].2 = list(8, count.into(), &(0..count).flat_map(|at| text(&format!("{at:x}"))).collect::<Vec<_>>());
    crowd[10].2 = list(5, count.into(), &3_i32.to_le_bytes().repeat(count as usize));
    crowd[11].2 = texts(&[]);
    vec![
        sound(vec![("m.gguf", good(&[3, 3, 1, 1, 1, 1, 1, 1]))]),
        sound(vec![("m.gguf", good(&[1; 8]))]),
        unsound(vec![("m.gguf", Form::Gguf(crowd, parts.clone()))]),
    ]
}

fn small() -> Config {
    Config { hidden: 8, ..Config::llama(1, 8, 2, TOKENS.len(), 16) }
}

pub fn lm_trainer() -> (Decoder, Vec<u32>, Settings) {
    let settings =
        Settings { batch: 2, rule: Rule::AdamW8(Default::default()), ..Settings::new(4, Schedule::cosine(1e-3, 4)) };
    (Decoder::random(small(), 0, &HOST).unwrap(), (0..24).map(|at| at % 8).collect(), settings)
}

pub fn lm_states() -> Vec<Seed> {
    let (model, ids, settings) = lm_trainer();
    let mut trainer = Trainer::new(model, ids, settings).unwrap();
    trainer.step().unwrap();
    let files = saved("lm-state", |at| trainer.save_state(&at.join("s.safetensors")).unwrap());
    let mut all = vec![Seed { files, sound: true }];
    all.extend(headers().into_iter().map(|header| unsound(vec![("s.safetensors", header)])));
    all
}

/// The tokenizer of the small models, and others of other kinds.
fn vocabularies() -> Vec<Value> {
    let vocabulary = |tokens: &[&str]| {
        tokens.iter().enumerate().map(|(id, &token)| (token.to_owned(), json!(id))).collect::<serde_json::Map<_, _>>()
    };
    let added = |id: usize, content: &str| json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true});
    let split = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
    let bert = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "ab", "##c", ","];
    vec![
        json!({"version": "1.0", "truncation": null, "padding": null, "added_tokens": [added(0, TOKENS[0]), added(1, TOKENS[1])],
            "normalizer": null, "pre_tokenizer": split, "post_processor": null, "decoder": split,
            "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null, "end_of_word_suffix": null,
                "fuse_unk": false, "byte_fallback": false, "vocab": vocabulary(&TOKENS), "merges": [["a", "b"], ["ab", "c"]]}}),
        json!({"version": "1.0", "truncation": {"direction": "Right", "max_length": 128, "strategy": "LongestFirst", "stride": 0},
            "padding": {"strategy": {"Fixed": 128}, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"},
            "added_tokens": [added(2, "[CLS]")],
            "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null, "lowercase": true},
            "pre_tokenizer": {"type": "BertPreTokenizer"},
            "post_processor": {"type": "TemplateProcessing",
                "single": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
                "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
                "special_tokens": {"[CLS]": {"id": "[CLS]", "ids": [2], "tokens": ["[CLS]"]}}},
            "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
            "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
                "vocab": vocabulary(&bert)}}),
        json!({"version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
            "normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "\u{2581}"}, {"type": "Replace", "pattern": {"String": " "}, "content": "\u{2581}"}]},
            "pre_tokenizer": {"type": "Split", "pattern": {"Regex": "\\d{1,3}| ?[a-z]+"}, "behavior": "Isolated", "invert": false},
            "post_processor": null,
            "decoder": {"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "\u{2581}"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
            "model": {"type": "Unigram", "unk_id": 0, "byte_fallback": false, "vocab": [["<unk>", 0.0], ["\u{2581}a", -1.0], ["b", -2.0], ["c", -2.5], ["ab", -3.0]]}}),
        json!({"version": "1.0", "truncation": null, "padding": null, "added_tokens": [added(1, "b")], "normalizer": {"type": "NFKC"},
            "pre_tokenizer": {"type": "Metaspace", "replacement": "\u{2581}", "prepend_scheme": "always", "split": true}, "post_processor": null,
            "decoder": {"type": "Metaspace", "replacement": "\u{2581}", "prepend_scheme": "always", "split": true},
            "model": {"type": "WordLevel", "unk_token": "a", "vocab": {"a": 0, "b": 1, "c": 2}}}),
    ]
}

pub fn tokenizers() -> Vec<Seed> {
    let mut all: Vec<_> = vocabularies().into_iter().map(|of| sound(vec![("tokenizer.json", words(of))])).collect();
    let mut crowd = vocabularies().swap_remove(3);
    crowd["model"]["vocab"] =
        (0..20_000).map(|at| (format!("{at:x}"), json!(at))).collect::<serde_json::Map<_, _>>().into();
    all.push(unsound(vec![("tokenizer.json", words(crowd.clone()))]));
    crowd["added_tokens"] = (0..2000)
        .map(|at| {
            json!({"id": at, "content": format!("{at:x}"), "single_word": false, "lstrip": false, "rstrip": false,
        "normalized": true, "special": false})
        })
        .collect();
    all.push(unsound(vec![("tokenizer.json", words(crowd))]));
    // Sixty letters each, ten megabytes when compiled.
    let split = json!({"type": "Split", "pattern": {"Regex": "\\w{1,300}"}, "behavior": "Isolated", "invert": false});
    let mut heavy = vocabularies().swap_remove(3);
    heavy["pre_tokenizer"] = json!({"type": "Sequence", "pretokenizers": vec![split; 20]});
    all.push(unsound(vec![("tokenizer.json", words(heavy))]));
    all
}

/// What a save wrote, and a tokenizer beside it.
fn with_tokenizer(name: &str, vocabulary: usize, save: impl FnOnce(&Path)) -> Seed {
    let mut files = saved(name, save);
    files.push(("tokenizer.json".into(), words(vocabularies().swap_remove(vocabulary))));
    Seed { files, sound: true }
}

pub fn lm_folders() -> Vec<Seed> {
    let model = |config: Config| Decoder::<f32>::random(config, 0, &HOST).unwrap();
    let neox = Config { hidden: 8, ..Config::neox(1, 16, 2, TOKENS.len(), 16) };
    vec![
        with_tokenizer("llama", 0, |at| model(small()).save(at).unwrap()),
        with_tokenizer("gpt2", 0, |at| {
            model(Config { hidden: 8, ..Config::gpt2(1, 8, 2, TOKENS.len(), 16) }).save(at).unwrap()
        }),
        with_tokenizer("neox", 0, |at| model(neox).save_sharded(at, 2000).unwrap()),
        with_tokenizer("half", 0, |at| model(small()).to::<latens::f16>(&HOST).unwrap().save(at).unwrap()),
    ]
}

pub fn mambas() -> Vec<Seed> {
    let model = || Mamba::<f32>::random(mamba::Config::new(1, 4, 8), 0, &HOST).unwrap();
    vec![
        Seed { files: saved("mamba", |at| model().save(at).unwrap()), sound: true },
        Seed { files: saved("mamba-sharded", |at| model().save_sharded(at, 500).unwrap()), sound: true },
    ]
}

pub fn berts() -> Vec<Seed> {
    let (dim, hidden) = (4, 8);
    let mut all = vec![
        tensor("embeddings.word_embeddings.weight", &[TOKENS.len(), dim]),
        tensor("embeddings.position_embeddings.weight", &[6, dim]),
        tensor("embeddings.token_type_embeddings.weight", &[2, dim]),
    ];
    let mut both = |name: &str, dims: &[usize]| {
        all.push(tensor(&format!("{name}.weight"), dims));
        all.push(tensor(&format!("{name}.bias"), &dims[..1]));
    };
    both("embeddings.LayerNorm", &[dim]);
    both("pooler.dense", &[dim, dim]);
    for name in ["attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"] {
        both(&format!("encoder.layer.0.{name}"), &[dim, dim]);
    }
    both("encoder.layer.0.intermediate.dense", &[hidden, dim]);
    both("encoder.layer.0.output.dense", &[dim, hidden]);
    both("encoder.layer.0.attention.output.LayerNorm", &[dim]);
    both("encoder.layer.0.output.LayerNorm", &[dim]);
    let config = json!({"model_type": "bert", "num_hidden_layers": 1, "hidden_size": dim, "intermediate_size": hidden, "num_attention_heads": 2,
        "vocab_size": TOKENS.len(), "max_position_embeddings": 6, "type_vocab_size": 2, "layer_norm_eps": 1e-12, "hidden_act": "gelu"});
    let tokenizer = words(vocabularies().swap_remove(1));
    vec![sound(vec![
        ("config.json", words(config)),
        ("model.safetensors", tensors(&all, &[])),
        ("tokenizer.json", tokenizer),
    ])]
}
