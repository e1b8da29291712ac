//! One small Llama, written as Hugging Face and as llama.cpp would: both files are the same model, on every device.
use latens::io::{gguf::Gguf, safetensors::Safetensors};
use latens::lm::{Config, Decoder, Hooks, Positions};
use latens::tape::Rotary;
use latens::{Device, Pairing, Philox};
use latens_tests::files::{f32s, folder, gguf, safetensors, text};
use std::collections::BTreeMap;
use std::fs;

/// Dims and numbers of each weight, by name.
type Weights = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// A Llama of two layers with random weights, by the names of Hugging Face.
fn tiny() -> (Config, Weights) {
    let config = Config { hidden: 48, kv_heads: 2, tied: false, ..Config::llama(2, 32, 4, 40, 64) };
    let mut draw = Philox::new(3);
    let mut weights = BTreeMap::new();
    let mut add = |name: String, dims: &[usize]| {
        let value =
            (0..dims.iter().product()).map(|_| draw.uniform() - if dims.len() == 1 { -0.5 } else { 0.5 }).collect();
        weights.insert(name, (dims.to_vec(), value));
    };
    add("model.embed_tokens.weight".into(), &[40, 32]);
    add("model.norm.weight".into(), &[32]);
    add("lm_head.weight".into(), &[40, 32]);
    for layer in 0..2 {
        let parts: [(&str, &[usize]); 9] = [
            ("input_layernorm", &[32]),
            ("self_attn.q_proj", &[32, 32]),
            ("self_attn.k_proj", &[16, 32]),
            ("self_attn.v_proj", &[16, 32]),
            ("self_attn.o_proj", &[32, 32]),
            ("post_attention_layernorm", &[32]),
            ("mlp.gate_proj", &[48, 32]),
            ("mlp.up_proj", &[48, 32]),
            ("mlp.down_proj", &[32, 48]),
        ];
        parts.iter().for_each(|(name, dims)| add(format!("model.layers.{layer}.{name}.weight"), dims));
    }
    (config, weights)
}

fn hugging_face(weights: &Weights) -> Vec<u8> {
    let (mut header, mut data) = (serde_json::Map::new(), vec![]);
    for (name, (dims, values)) in weights {
        let start = data.len();
        data.extend(f32s(values));
        let entry = serde_json::json!({"dtype": "F32", "shape": dims, "data_offsets": [start, data.len()]});
        header.insert(name.clone(), entry);
    }
    safetensors(&serde_json::to_string(&header).unwrap(), &data)
}

/// The same model as llama.cpp would write it: other names, and the rows of queries and keys reordered, because it turns
/// neighbours where Hugging Face turns halves.
fn llama_cpp(config: &Config, weights: &Weights) -> Vec<u8> {
    let names = [
        ("model.embed_tokens", "token_embd"),
        ("model.norm", "output_norm"),
        ("lm_head", "output"),
        ("model.layers.", "blk."),
        ("input_layernorm", "attn_norm"),
        ("self_attn.q_proj", "attn_q"),
        ("self_attn.k_proj", "attn_k"),
        ("self_attn.v_proj", "attn_v"),
        ("self_attn.o_proj", "attn_output"),
        ("post_attention_layernorm", "ffn_norm"),
        ("mlp.gate_proj", "ffn_gate"),
        ("mlp.up_proj", "ffn_up"),
        ("mlp.down_proj", "ffn_down"),
    ];
    let parts = weights.iter().map(|(name, (dims, values))| {
        let renamed = names.iter().fold(name.clone(), |name, (from, to)| name.replace(from, to));
        let mut values = values.clone();
        if name.contains("q_proj") || name.contains("k_proj") {
            let (half, from) = (config.head_dim / 2, values.clone());
            for row in 0..dims[0] {
                let (head, at) = (row / config.head_dim, row % config.head_dim);
                let source = head * config.head_dim + at / 2 + at % 2 * half;
                values[row * 32..][..32].copy_from_slice(&from[source * 32..][..32]);
            }
        }
        (renamed, dims.iter().rev().map(|&dim| dim as u64).collect(), 0, f32s(&values))
    });
    let number = |number: usize| (number as u32).to_le_bytes().to_vec();
    let entries = [
        ("general.architecture", 8, text("llama")),
        ("llama.block_count", 4, number(2)),
        ("llama.context_length", 4, number(64)),
        ("llama.embedding_length", 4, number(32)),
        ("llama.feed_forward_length", 4, number(48)),
        ("llama.attention.head_count", 4, number(4)),
        ("llama.attention.head_count_kv", 4, number(2)),
        ("llama.attention.layer_norm_rms_epsilon", 6, 1e-5_f32.to_le_bytes().to_vec()),
    ];
    gguf(&entries, &parts.collect::<Vec<_>>())
}

fn logits(model: &Decoder) -> Vec<f32> {
    let ids = model.ids((0..24).map(|i| i * 7 % 40).collect(), 2).unwrap();
    model.logits(&ids, &mut Hooks::new()).unwrap().to_vec().unwrap()
}

#[test]
fn both_formats_give_the_same_model() {
    let (folder, (config, weights)) = (folder(env!("CARGO_TARGET_TMPDIR"), "lm-files-tiny"), tiny());
    fs::write(folder.join("model.safetensors"), hugging_face(&weights)).unwrap();
    fs::write(folder.join("model.gguf"), llama_cpp(&config, &weights)).unwrap();
    let one = Decoder::from_safetensors(&Safetensors::open(&folder).unwrap(), config.clone(), &Device::Host).unwrap();
    let other = Decoder::from_gguf(&Gguf::open(&folder.join("model.gguf")).unwrap(), &Device::Host).unwrap();
    let positions = Positions::Rotary(Rotary { base: 10_000.0, pairing: Pairing::Interleaved, dim: 8 });
    assert_eq!(*other.config(), Config { positions, ..config.clone() });
    let (one, other) = (logits(&one), logits(&other));
    assert!(one.iter().any(|logit| logit.abs() > 0.5));
    assert!(one.iter().zip(&other).all(|(a, b)| (a - b).abs() < 1e-4));

    // A tensor too many, one too few, one of other sizes; more layers than there are.
    let load = |change: &dyn Fn(&mut Weights), config: Config| {
        let mut weights = weights.clone();
        change(&mut weights);
        fs::write(folder.join("model.safetensors"), hugging_face(&weights)).unwrap();
        let model = Decoder::<f32>::from_safetensors(&Safetensors::open(&folder).unwrap(), config, &Device::Host);
        model.err().unwrap().to_string()
    };
    let name = "model.layers.1.mlp.up_proj.weight";
    let extra = |weights: &mut Weights| {
        drop(weights.insert("model.layers.0.self_attn.q_proj.bias".into(), (vec![1], vec![0.0])))
    };
    assert!(load(&extra, config.clone()).contains("q_proj.bias has no place in this model"));
    assert!(
        load(&|weights| drop(weights.remove("model.norm.weight")), config.clone())
            .contains("no tensor model.norm.weight")
    );
    let odd = |weights: &mut Weights| drop(weights.insert(name.into(), (vec![32, 48], vec![0.0; 32 * 48])));
    assert!(load(&odd, config.clone()).contains("sizes [32, 48], expected [48, 32]"));
    assert!(load(&|_| (), Config { layers: 1 << 20, ..config.clone() }).contains("1048576 layers cannot be"));
    assert!(load(&|_| (), Config { kv_heads: 3, ..config }).contains("4 heads of 8 over 3"));
}

/// The same on a GPU, real or emulated, as on the host.
#[test]
fn every_device_gives_the_same_model() {
    let (folder, (config, weights)) = (folder(env!("CARGO_TARGET_TMPDIR"), "lm-files-devices"), tiny());
    fs::write(folder.join("model.safetensors"), hugging_face(&weights)).unwrap();
    let file = Safetensors::open(&folder).unwrap();
    let all = latens_tests::devices()
        .into_iter()
        .map(|device| Decoder::from_safetensors(&file, config.clone(), &device).unwrap());
    let all: Vec<_> = all.map(|model| logits(&model)).collect();
    for other in &all[1..] {
        assert!(all[0].iter().zip(other).all(|(a, b)| (a - b).abs() < 1e-4));
    }
}
