//! Models written and read back, and every way in which what is read can lie.
use crate::models::{configs, ids, model};
use latens::io::safetensors::Safetensors;
use latens::lm::{Cache, Config, Decoder, Hooks, Mlp, Positions, Sampling, Site};
use latens::tape::Rotary;
use latens::{Act, Device, Float, Pairing, Tensor, bf16};
use latens_tests::close;
use latens_tests::files::folder;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

const ROOT: &str = env!("CARGO_TARGET_TMPDIR");

fn logits<T: Float>(model: &Decoder<T>) -> Vec<T> {
    let ids = model.ids(ids(12), 2).unwrap();
    model.logits(&ids, &mut Hooks::new()).unwrap().to_vec().unwrap()
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn there_and_back<T: Float>(folder: &Path, config: &Config) {
    let model = model::<T>(config, &Device::Host);
    let back = |what: &str| {
        let back = Decoder::<T>::open(folder, &Device::Host).unwrap();
        assert_eq!(back.config(), config, "{what}");
        let same = logits(&model).iter().zip(logits(&back)).all(|(a, b)| a.wide().to_bits() == b.wide().to_bits());
        assert!(same, "{what}");
    };
    model.save(folder).unwrap();
    assert_eq!(names(folder), ["config.json", "model.safetensors"]);
    back("one file");
    let before = fs::read(folder.join("model.safetensors")).unwrap();
    model.save_sharded(folder, 6_000).unwrap();
    let shards = names(folder);
    assert!(shards.len() > 4 && !shards.contains(&"model.safetensors".to_owned()), "{shards:?}");
    for shard in shards.iter().filter(|name| name.starts_with("model-")) {
        let file = Safetensors::open(&folder.join(shard)).unwrap();
        let bytes: usize = file.tensors().values().map(|entry| entry.dims.iter().product::<usize>()).sum();
        assert!(bytes * size_of::<T>() <= 6_000 || file.tensors().len() == 1, "{shard}");
    }
    back("shards");
    model.save_sharded(folder, 16_000).unwrap();
    assert!(names(folder).len() < shards.len(), "those of the earlier save are gone");
    back("larger shards");
    model.save(folder).unwrap();
    assert_eq!(names(folder), ["config.json", "model.safetensors"]);
    assert_eq!(fs::read(folder.join("model.safetensors")).unwrap(), before, "the same bytes again");
}

#[test]
fn what_is_saved_is_read() {
    for (name, config) in configs() {
        let folder = folder(ROOT, &format!("lm-save-{name}"));
        there_and_back::<f32>(&folder, &config);
        there_and_back::<f64>(&folder, &config);
        there_and_back::<bf16>(&folder, &config);
    }
}

/// A seed is a model, bit by bit; its numbers are spread as they should be.
#[test]
fn random_models_are_their_seeds() {
    let config = Config::gpt2(2, 64, 4, 500, 32);
    let new = |seed| Decoder::<f32>::random(config.clone(), seed, &Device::Host).unwrap();
    assert_eq!(logits(&new(3)), logits(&new(3)));
    assert_ne!(logits(&new(3)), logits(&new(4)));
    let deviation = |view: latens::View<'_, f32, 2>| {
        let mut copy = Tensor::empty(view.dims(), &Device::Host).unwrap();
        latens::copy_into(view, copy.view_mut()).unwrap();
        let all = copy.to_vec().unwrap();
        let mean = all.iter().map(|&x| f64::from(x)).sum::<f64>() / all.len() as f64;
        let squares = all.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>();
        (mean, (squares / all.len() as f64).sqrt())
    };
    let mut firsts = vec![];
    for parameter in new(3).parameters() {
        let name = parameter.names[0].clone();
        let (latens::lm::Values::Elements(values) | latens::lm::Values::Sums(values)) = parameter.values;
        let (mean, got) = deviation(values);
        if parameter.decays {
            let want = if name.ends_with("c_proj.weight") { 0.01 } else { 0.02 };
            assert!((got / want - 1.0).abs() < 0.05 && mean.abs() < want * 0.05, "{name}: {mean} and {got}");
            firsts.push(got.to_bits());
        } else {
            assert_eq!((mean, got), (if name.ends_with("bias") { 0.0 } else { 1.0 }, 0.0), "{name}");
        }
    }
    let all = firsts.len();
    firsts.sort_unstable();
    firsts.dedup();
    assert_eq!(firsts.len(), all, "no part is another again");
    let wrong = Decoder::<f32>::random(Config { heads: 3, kv_heads: 2, ..config }, 0, &Device::Host).err().unwrap();
    assert!(wrong.to_string().contains("3 heads of 16 over 2"), "{wrong}");
}

/// A Llama that turns neighbours, as llama.cpp's do, is written as one that turns halves.
#[test]
fn neighbours_become_halves() {
    let folder = folder(ROOT, "lm-save-neighbours");
    let (_, halves) = &configs()[2];
    let positions = Positions::Rotary(Rotary { base: 10_000.0, pairing: Pairing::Interleaved, dim: 4 });
    let ours = model::<f64>(&Config { positions, ..halves.clone() }, &Device::Host);
    ours.save(&folder).unwrap();
    let back = Decoder::<f64>::open(&folder, &Device::Host).unwrap();
    assert_eq!(back.config(), halves);
    close("logits", &logits(&back), &logits(&ours), 1e-24);
    // No family has all of these.
    for config in [
        Config { parallel: true, ..halves.clone() },
        Config { mlp: Mlp::Gated(Act::Silu), ..configs()[3].1.clone() },
        Config { mlp_bias: false, ..configs()[5].1.clone() },
    ] {
        let said = Decoder::<f32>::random(config, 0, &Device::Host).unwrap().save(&folder).err().unwrap().to_string();
        assert!(said.contains("no family"), "{said}");
    }
}

/// Write a model of configuration `at` of the list, and give its folder.
fn saved(at: usize, name: &str) -> PathBuf {
    let folder = folder(ROOT, name);
    model::<f32>(&configs()[at].1, &Device::Host).save(&folder).unwrap();
    folder
}

fn refused(folder: &Path) -> String {
    Decoder::<f32>::open(folder, &Device::Host).err().unwrap().to_string()
}

/// Write the tensors of a file anew, changed.
fn change(folder: &Path, with: impl Fn(&str) -> Option<String>, also: &[(&str, &[usize], f32)]) {
    use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};
    let path = folder.join("model.safetensors");
    let bytes = fs::read(&path).unwrap();
    let all = SafeTensors::deserialize(&bytes).unwrap();
    let kept = all.iter().filter_map(|(name, view)| Some((with(name)?, view)));
    let more: Vec<Vec<u8>> = also.iter().map(|(_, dims, x)| x.to_le_bytes().repeat(dims.iter().product())).collect();
    let more = also.iter().zip(&more).map(|((name, dims, _), bytes)| {
        ((*name).to_owned(), TensorView::new(Dtype::F32, dims.to_vec(), bytes).unwrap())
    });
    let all: Vec<_> = kept.chain(more).collect();
    fs::write(path, serialize(all, None).unwrap()).unwrap();
}

/// The first GPT-2 checkpoints have no `transformer.` before names, and buffers beside the weights.
#[test]
fn first_checkpoints_of_gpt2_are_read() {
    let folder = saved(3, "lm-save-bare");
    let before = logits(&Decoder::<f32>::open(&folder, &Device::Host).unwrap());
    let bare = |name: &str| Some(name.trim_start_matches("transformer.").to_owned());
    change(&folder, bare, &[("h.0.attn.bias", &[1, 1, 16, 16], 1.0), ("h.1.attn.masked_bias", &[1], -1e4)]);
    assert_eq!(logits(&Decoder::<f32>::open(&folder, &Device::Host).unwrap()), before);
    // A second table beside one that is said to serve both ways.
    change(&folder, |name| Some(name.to_owned()), &[("lm_head.weight", &[50, 24], 0.5)]);
    assert!(refused(&folder).contains("tables for reading and for writing differ"));
}

#[test]
fn tensors_too_many_or_too_few_are_errors() {
    let folder = saved(5, "lm-save-tensors");
    change(&folder, |name| Some(name.to_owned()), &[("gpt_neox.layers.3.mlp.dense_h_to_4h.bias", &[1], 0.0)]);
    assert!(refused(&folder).contains("layers.3.mlp.dense_h_to_4h.bias has no place in this model"));
    change(&folder, |name| (!name.contains("layers.3") && !name.contains("embed_out")).then(|| name.to_owned()), &[]);
    assert!(refused(&folder).contains("no tensor embed_out.weight"));
    change(&folder, |name| Some(name.to_owned()), &[("embed_out.weight", &[32, 50], 0.0)]);
    assert!(refused(&folder).contains("sizes [32, 50], expected [50, 32]"));
}

#[test]
fn shards_that_lie_are_errors() {
    let (_, config) = &configs()[0];
    let folder = folder(ROOT, "lm-save-shards");
    let other = latens_tests::files::folder(ROOT, "lm-save-shards-other");
    let write = || model::<f32>(config, &Device::Host).save_sharded(&folder, 9_000).unwrap();
    write();
    Decoder::<f32>::random(config.clone(), 1, &Device::Host).unwrap().save_sharded(&other, 9_000).unwrap();
    let first = names(&folder).into_iter().find(|name| name.starts_with("model-00001")).unwrap();
    // The same names and sizes of another save: a crash between renames.
    fs::copy(other.join(&first), folder.join(&first)).unwrap();
    assert!(refused(&folder).contains("belongs to the save"), "{}", refused(&folder));
    fs::remove_file(folder.join(&first)).unwrap();
    let said = refused(&folder);
    assert!(said.contains("cannot open") && said.contains(&first), "{said}");
    write();
    let index = folder.join("model.safetensors.index.json");
    let good: Value = serde_json::from_slice(&fs::read(&index).unwrap()).unwrap();
    let name = "model.norm.weight";
    let refused_with = |file: Option<&str>| {
        let mut index_of = good.clone();
        let map = index_of["weight_map"].as_object_mut().unwrap();
        match file {
            Some(file) => drop(map.insert(name.into(), json!(file))),
            None => drop(map.remove(name)),
        }
        fs::write(&index, index_of.to_string()).unwrap();
        refused(&folder)
    };
    let last = good["weight_map"]["model.layers.1.mlp.down_proj.weight"].as_str().unwrap();
    assert!(refused_with(Some("../model.safetensors")).contains("no plain file name"));
    assert!(refused_with(Some("/etc/passwd")).contains("no plain file name"));
    assert!(refused_with(Some(last)).contains("model.norm.weight is in"));
    assert!(refused_with(None).contains("of which it says nothing"));
    // A tensor of which nothing knows: in no file, and in no index.
    let mut lost = good.clone();
    lost["weight_map"]["model.layers.0.bias"] = json!(last);
    fs::write(&index, lost.to_string()).unwrap();
    assert!(refused(&folder).contains("where it is not"));
}

#[test]
fn configurations_that_lie_are_errors() {
    let huge = json!(u64::MAX);
    let cases: &[(usize, &str, Value, &str)] = &[
        (0, "model_type", json!("mixtral"), "family \"mixtral\""),
        (0, "hidden_act", json!("relu"), "hidden_act is \"relu\""),
        (0, "hidden_act", json!(3), "expected a text"),
        (0, "rope_scaling", json!({"type": "linear", "factor": 2.0}), "rope_scaling is"),
        (0, "rope_parameters", json!({"rope_type": "yarn"}), "positions scaled by yarn"),
        (0, "rope_theta", json!(-1.0), "rope base -1"),
        (0, "rope_theta", json!("much"), "rope_theta is \"much\", expected a number"),
        (0, "num_hidden_layers", json!(0), "layers is 0"),
        (0, "num_hidden_layers", json!(1 << 20), "1048576 layers cannot be"),
        (0, "num_hidden_layers", huge.clone(), "layers is 18446744073709551615"),
        (0, "num_hidden_layers", json!(-2), "num_hidden_layers is -2, expected a size"),
        (0, "hidden_size", huge.clone(), "dim is"),
        (0, "num_key_value_heads", json!(4), "6 heads of 4 over 4"),
        (0, "num_key_value_heads", json!(0), "kv_heads is 0"),
        (0, "head_dim", json!(3), "3 of the 3 entries of a head"),
        (0, "head_dim", huge.clone(), "head_dim is"),
        (0, "vocab_size", json!(51), "expected [51, 24]"),
        (0, "rms_norm_eps", Value::Null, "no rms_norm_eps"),
        (0, "rms_norm_eps", json!(-1.0), "epsilon -1"),
        (0, "attention_bias", json!("yes"), "expected true or false"),
        (0, "attention_bias", json!(true), "no tensor model.layers.0.self_attn.q_proj.bias"),
        (0, "tie_word_embeddings", json!(false), "no tensor lm_head.weight"),
        (3, "n_head", json!(5), "a width of 24 does not divide into 5 heads"),
        (3, "n_head", json!(0), "does not divide into 0 heads"),
        (3, "n_embd", huge.clone(), "does not divide"),
        (3, "n_positions", json!(17), "expected [17, 24]"),
        (3, "n_positions", Value::Null, "no n_positions"),
        (3, "activation_function", json!("quick_gelu"), "\"quick_gelu\""),
        (3, "scale_attn_by_inverse_layer_idx", json!(true), "scale_attn_by_inverse_layer_idx is true"),
        (3, "scale_attn_weights", json!(false), "scale_attn_weights is false"),
        (5, "rotary_pct", json!(0.5), ""),
        (5, "rotary_pct", json!(0.4), "3 of the 8 entries"),
        (5, "rotary_pct", json!(0.0), "0 of the 8 entries"),
        (5, "rotary_pct", json!(9.0), "72 of the 8 entries"),
        (5, "num_attention_heads", json!(7), "does not divide into 7 heads"),
    ];
    for &at in &[0, 3, 5] {
        let folder = saved(at, &format!("lm-save-config-{at}"));
        let path = folder.join("config.json");
        let good: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        for (_, key, value, what) in cases.iter().filter(|case| case.0 == at) {
            let mut other = good.clone();
            other[*key] = value.clone();
            fs::write(&path, other.to_string()).unwrap();
            match Decoder::<f32>::open(&folder, &Device::Host) {
                Ok(_) => assert_eq!(*what, "", "{key} of {value} was believed"),
                Err(error) => assert!(error.to_string().contains(what) && !what.is_empty(), "{key} {value}: {error}"),
            }
        }
        fs::write(&path, "{").unwrap();
        assert!(refused(&folder).contains("no JSON"));
    }
}

#[test]
fn what_a_model_cannot_read_is_an_error() {
    for (name, config) in configs() {
        let model = model::<f32>(&config, &Device::Host);
        let said = |result: latens::io::Result<Vec<f32>>| result.err().unwrap().to_string();
        assert!(model.ids(vec![1, 50], 1).err().unwrap().to_string().contains("50 is no token"), "{name}");
        assert!(model.ids(vec![1, 2, 3], 2).is_err() && model.ids(vec![], 0).is_err());
        let long = model.ids(vec![1; 17], 1).unwrap();
        let error = model.logits(&long, &mut Hooks::new()).err().unwrap().to_string();
        assert!(error.contains("17 tokens, but the model takes 16"), "{name}: {error}");
        assert!(Cache::new(&model, 1, 17).is_err());
        let mut cache = Cache::new(&model, 1, 3).unwrap();
        assert!(said(model.extend(vec![], &mut cache, &mut Hooks::new())).contains("without tokens"), "{name}");
        assert!(said(model.extend(vec![50], &mut cache, &mut Hooks::new())).contains("no token"), "{name}");
        let wide = Tensor::zeros([2, config.dim + 1], &Device::Host).unwrap();
        assert!(said(model.extend_embedded(wide, &mut cache, &mut Hooks::new())).contains("extend_embedded"));
        assert!(model.extend(vec![1; 4], &mut cache, &mut Hooks::new()).is_err(), "{name}: more than the cache holds");
        let sampling = Sampling { tokens: 20, ..Sampling::default() };
        assert!(model.generate(&[1], &sampling, None, &mut Hooks::new(), |_| ()).is_err());
        assert!(model.activations(&long, Site::residual(9), &mut Hooks::new()).is_err());
        // Nothing at all is no error where nothing is asked of it.
        for batch in [1, 3] {
            let none = model.ids(vec![], batch).unwrap();
            assert_eq!(model.logits(&none, &mut Hooks::new()).unwrap().dims(), [0, 50], "{name}");
            assert_eq!(model.losses(&none, &mut Hooks::new()).unwrap().dims(), [batch, 0]);
            assert!(model.next_logits(&none, &mut Hooks::new()).is_err());
        }
    }
}
