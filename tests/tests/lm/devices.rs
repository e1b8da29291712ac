//! A small Llama of random weights gives the same on every device, at once and token by token over a cache.
use latens::io::safetensors::Safetensors;
use latens::lm::{Cache, Config, Hooks, Llama};
use latens::{Device, Pairing};
use latens_tests::{close, devices, normal, place};
use safetensors::tensor::{Dtype, TensorView, serialize};

fn config() -> Config {
    Config {
        layers: 2,
        dim: 24,
        hidden: 40,
        heads: 6,
        kv_heads: 2,
        head_dim: 4,
        vocabulary: 50,
        context: 16,
        epsilon: 1e-5,
        rope_base: 10_000.0,
        pairing: Pairing::Halves,
    }
}

/// The weights as a file.
fn weights(c: &Config) -> Vec<u8> {
    let (q, kv) = (c.heads * c.head_dim, c.kv_heads * c.head_dim);
    let mut shapes = vec![
        ("model.embed_tokens.weight".to_owned(), vec![c.vocabulary, c.dim]),
        ("model.norm.weight".to_owned(), vec![c.dim]),
    ];
    for layer in 0..c.layers {
        for (name, shape) in [
            ("input_layernorm", vec![c.dim]),
            ("self_attn.q_proj", vec![q, c.dim]),
            ("self_attn.k_proj", vec![kv, c.dim]),
            ("self_attn.v_proj", vec![kv, c.dim]),
            ("self_attn.o_proj", vec![c.dim, q]),
            ("post_attention_layernorm", vec![c.dim]),
            ("mlp.gate_proj", vec![c.hidden, c.dim]),
            ("mlp.up_proj", vec![c.hidden, c.dim]),
            ("mlp.down_proj", vec![c.dim, c.hidden]),
        ] {
            shapes.push((format!("model.layers.{layer}.{name}.weight"), shape));
        }
    }
    let bytes: Vec<Vec<u8>> = shapes
        .iter()
        .enumerate()
        .map(|(seed, (_, shape))| normal::<f32>(shape.iter().product(), 0.4, seed as u64))
        .map(|numbers| numbers.iter().flat_map(|x| x.to_le_bytes()).collect())
        .collect();
    let views = shapes
        .iter()
        .zip(&bytes)
        .map(|((name, shape), bytes)| (name.clone(), TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap()));
    serialize(views, None).unwrap()
}

#[test]
fn every_device_agrees() {
    let path = std::env::temp_dir().join(format!("latens_lm_devices_{}.safetensors", std::process::id()));
    std::fs::write(&path, weights(&config())).unwrap();
    let open = |device: &Device| Llama::from_safetensors(&Safetensors::open(&path).unwrap(), config(), device).unwrap();
    let ids: Vec<u32> = (0..10).map(|i| i * 17 % 50).collect();
    let run = |model: &Llama| {
        let both = model.ids(ids.clone(), 2).unwrap();
        let logits = model.logits(&both, &mut Hooks::new()).unwrap().to_vec().unwrap();
        let losses = model.losses(&both, &mut Hooks::new()).unwrap().to_vec().unwrap();
        (logits, losses)
    };
    let host = run(&open(&Device::Host));
    for device in devices() {
        let (model, what) = (open(&device), place(&device));
        let (logits, losses) = run(&model);
        close(&format!("{what} logits"), &logits, &host.0, 1e-9);
        close(&format!("{what} losses"), &losses, &host.1, 1e-9);
        let mut cache = Cache::new(&model, 1, 5).unwrap();
        for (at, &id) in ids[..5].iter().enumerate() {
            let cached = model.extend(vec![id], &mut cache, &mut Hooks::new()).unwrap();
            close(&format!("{what} token {at}"), &cached, &host.0[at * 50..][..50], 1e-9);
        }
    }
    std::fs::remove_file(&path).unwrap();
}
