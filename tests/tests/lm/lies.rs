//! Every way in which what is read can lie, and what a model refuses to read.
use crate::models::{configs, model};
use crate::save::{ROOT, names, refused, saved};
use latens::lm::{Cache, Config, Decoder, Hooks, Sampling, Site};
use latens::{Device, Tensor};
use latens_tests::files::folder;
use serde_json::{Value, json};
use std::fs;

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

/// More than any machine has memory for.
#[test]
fn models_that_are_too_large_are_errors() {
    let (_, config) = configs().swap_remove(0);
    let most = 1 << 24;
    for config in [
        Config { vocabulary: most, dim: most, ..config.clone() },
        Config { hidden: most, dim: most, ..config.clone() },
        Config { layers: most, dim: most, ..config.clone() },
        Config { vocabulary: most + 1, ..config },
    ] {
        let said = Decoder::<f32>::random(config, 0, &Device::Host).err().unwrap().to_string();
        assert!(said.contains("allocation of") || said.contains("vocabulary is 16777217"), "{said}");
    }
}
