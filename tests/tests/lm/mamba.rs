//! Small Mambas: token by token as at once, on every device, written and read back, and run by numpy.
use crate::models::ids;
use crate::parity::agrees;
use latens::lm::mamba::{Config, Mamba, Recording, State};
use latens::lm::{Hooks, Sampling, Site, ValuesMut};
use latens::tape::Tape;
use latens::{Device, Float, Tensor, add_into, bf16};
use latens_tests::files::folder;
use latens_tests::{close, devices, normal, place};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

const ROOT: &str = env!("CARGO_TARGET_TMPDIR");

fn configs() -> [(&'static str, Config); 2] {
    let small = Config { states: 5, rank: 3, ..Config::new(2, 24, 50) };
    let other = Config { inner: 36, taps: 3, conv_bias: false, bias: true, tied: false, ..small.clone() };
    [("mamba", small), ("mamba-other", other)]
}

/// As it begins, and something added to every part.
fn model<T: Float>(config: &Config, device: &Device) -> Mamba<T> {
    let mut model = Mamba::random(config.clone(), 0, device).unwrap();
    for parameter in model.parameters_mut() {
        let (count, dims) = (parameter.dims.iter().product(), parameter.dims);
        let numbers: Vec<f64> = normal(count, 0.2, parameter.number as u64);
        match parameter.values {
            ValuesMut::Elements(to) => {
                let from = numbers.into_iter().map(T::narrow).collect();
                add_into(Tensor::from_vec(from, dims, device).unwrap().view(), to).unwrap();
            }
            ValuesMut::Sums(to) => {
                let from = numbers.into_iter().map(T::Acc::narrow).collect();
                add_into(Tensor::from_vec(from, dims, device).unwrap().view(), to).unwrap();
            }
        }
    }
    model
}

fn logits<T: Float>(model: &Mamba<T>) -> Vec<T> {
    let ids = model.ids(ids(12), 2).unwrap();
    model.logits(&ids, &mut Hooks::new()).unwrap().to_vec().unwrap()
}

#[test]
fn every_device_agrees_token_by_token() {
    for (name, config) in configs() {
        let host = logits(&model::<f32>(&config, &Device::Host));
        assert!(host.iter().any(|logit| logit.abs() > 0.5));
        for device in devices() {
            let (model, what) = (model::<f32>(&config, &device), format!("{name} on {}", place(&device)));
            close(&what, &logits(&model), &host, 1e-9);
            // One by one, all but one at once, in two pieces.
            for pieces in [&[1, 1, 1, 1, 1, 1][..], &[5, 1], &[3, 3], &[1, 5]] {
                let (mut state, mut from) = (State::new(&model, 1).unwrap(), 0);
                for piece in pieces {
                    let next = ids(6)[from..from + piece].to_vec();
                    from += piece;
                    let got = model.extend(next, &mut state, &mut Hooks::new()).unwrap();
                    close(&format!("{what}: {pieces:?} up to {from}"), &got, &host[(from - 1) * 50..][..50], 1e-9);
                }
                assert_eq!(state.len(), 6);
            }
        }
    }
}

/// Gradients of all parts, by their numbers.
fn gradients<T: Float>(model: &Mamba<T>) -> Vec<(usize, Vec<f64>)> {
    let ids = model.ids(ids(10), 2).unwrap();
    let (mut tape, mut recording) = (Tape::new(model.device()), Recording::new().train(|_| true));
    let x = model.record_embedding(&mut tape, &ids, &recording).unwrap();
    let x = model.record_layers(&mut tape, x, 2, &mut recording).unwrap();
    model.record_losses(&mut tape, x, &ids, &recording).unwrap();
    tape.backward().unwrap();
    drop(recording);
    let all = tape.into_weights().into_iter();
    all.map(|(number, of)| (number, of.to_vec().unwrap().into_iter().map(Float::wide).collect())).collect()
}

#[test]
fn every_device_agrees_on_gradients() {
    for (name, config) in configs() {
        let exact = gradients(&model::<f64>(&config, &Device::Host));
        assert_eq!(exact.len(), config.parts().len());
        for device in devices() {
            let model = model::<f64>(&config, &Device::Host).to::<f32>(&device).unwrap();
            for ((number, got), (_, want)) in gradients(&model).iter().zip(&exact) {
                close(&format!("{name} on {}: part {number}", place(&device)), got, want, 1e-8);
            }
        }
    }
}

#[test]
fn what_is_saved_is_read_and_numpy_agrees() {
    fn there_and_back<T: Float>(config: &Config, folder: &Path) {
        let model = model::<T>(config, &Device::Host);
        for most in [None, Some(4_000)] {
            match most {
                None => model.save(folder).unwrap(),
                Some(most) => model.save_sharded(folder, most).unwrap(),
            }
            assert_eq!(folder.join("model.safetensors").exists(), most.is_none());
            let back = Mamba::<T>::open(folder, &Device::Host).unwrap();
            assert_eq!(back.config(), config);
            assert!(logits(&model).iter().zip(logits(&back)).all(|(a, b)| a.wide().to_bits() == b.wide().to_bits()));
        }
    }
    for (name, config) in configs() {
        let folder = folder(ROOT, &format!("lm-{name}"));
        there_and_back::<f32>(&config, &folder);
        there_and_back::<bf16>(&config, &folder);
        there_and_back::<f64>(&config, &folder);
        let model = Mamba::<f64>::open(&folder, &Device::Host).unwrap();
        let (ids, batch) = (ids(12), model.ids(ids(12), 1).unwrap());
        let logits = model.logits(&batch, &mut Hooks::new()).unwrap().to_vec().unwrap();
        agrees(&folder, &ids, &logits);
    }
}

#[test]
fn hooks_and_losses() {
    let (_, config) = &configs()[0];
    let model = model::<f64>(config, &Device::Host);
    let ids = model.ids(ids(12), 2).unwrap();
    let clean = model.losses(&ids, &mut Hooks::new()).unwrap().to_vec().unwrap();
    for site in [Site::mixer(0), Site::residual(0), Site::mixer(1)] {
        let mut seen = vec![];
        let mut hooks = Hooks::new().at(site, |x: &mut Tensor<f64, 2>| {
            seen = x.to_vec()?;
            Ok(())
        });
        assert_eq!(model.losses(&ids, &mut hooks).unwrap().to_vec().unwrap(), clean);
        drop(hooks);
        assert_eq!(model.activations(&ids, site, &mut Hooks::new()).unwrap().to_vec().unwrap(), seen, "{site:?}");
        let mut hooks = Hooks::new().at(site, |x: &mut Tensor<f64, 2>| Ok(latens::scale_into(2.0, x.view_mut())?));
        assert_ne!(model.losses(&ids, &mut hooks).unwrap().to_vec().unwrap(), clean);
    }
    let there = model.activations(&ids, Site::residual(0), &mut Hooks::new()).unwrap();
    assert_eq!(model.losses_from(0, there, &ids, &mut Hooks::new()).unwrap().to_vec().unwrap(), clean);
    for wrong in [Site::attention(0), Site::mlp(1)] {
        let said = model.activations(&ids, wrong, &mut Hooks::new()).err().unwrap().to_string();
        assert!(said.contains("[Mixer, Residual]"), "{said}");
    }
    assert!(model.activations(&ids, Site::mixer(2), &mut Hooks::new()).is_err());
    let sampling = Sampling { tokens: 40, temperature: 1.0, seed: 3, ..Sampling::default() };
    let draw = || model.generate(&[1, 2], &sampling, None, &mut Hooks::new(), |_| ()).unwrap();
    assert!(draw() == draw() && draw().len() == 40);
    assert!(model.generate(&[], &sampling, None, &mut Hooks::new(), |_| ()).is_err());
    assert!(model.ids(vec![50], 1).is_err());
    let none = model.ids(vec![], 2).unwrap();
    assert_eq!(model.logits(&none, &mut Hooks::new()).unwrap().dims(), [0, 50]);
}

#[test]
fn configurations_that_lie_are_errors() {
    let cases = [
        ("model_type", json!("mamba2"), "family \"mamba2\""),
        ("hidden_act", json!("gelu"), "expected silu"),
        ("hidden_act", json!("relu"), "\"relu\""),
        ("state_size", json!(0), "states is 0, expected 1 to 256"),
        ("state_size", json!(257), "states is 257"),
        ("conv_kernel", json!(5), "taps is 5, expected 2 to 4"),
        ("time_step_rank", json!(0), "rank is 0"),
        ("time_step_rank", json!("much"), "time_step_rank is \"much\""),
        ("time_step_rank", json!(4), "sizes [13, 48], expected [14, 48]"),
        ("time_step_rank", json!("auto"), "sizes [13, 48], expected [12, 48]"),
        ("intermediate_size", json!(u64::MAX), "inner is"),
        ("hidden_size", json!(-1), "hidden_size is -1"),
        ("num_hidden_layers", json!(3), "3 layers cannot be"),
        ("num_hidden_layers", json!(1), "layers.1"),
        ("use_bias", json!(true), "no tensor backbone.layers"),
        ("use_conv_bias", json!(false), "conv1d.bias has no place"),
        ("tie_word_embeddings", json!(false), "no tensor lm_head.weight"),
        ("layer_norm_epsilon", json!(-1.0), "epsilon -1"),
    ];
    let folder = folder(ROOT, "lm-mamba-config");
    let (_, config) = &configs()[0];
    model::<f32>(config, &Device::Host).save(&folder).unwrap();
    let path = folder.join("config.json");
    let good: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    for (key, value, what) in cases {
        let mut other = good.clone();
        other[key] = value.clone();
        fs::write(&path, other.to_string()).unwrap();
        let said = Mamba::<f32>::open(&folder, &Device::Host).err().unwrap().to_string();
        assert!(said.contains(what), "{key} {value}: {said}");
    }
    let wrong = Mamba::<f32>::random(Config { taps: 1, ..config.clone() }, 0, &Device::Host).err().unwrap().to_string();
    assert!(wrong.contains("taps is 1"), "{wrong}");
    let large = Config { layers: 1 << 24, inner: 1 << 24, ..config.clone() };
    assert!(Mamba::<f32>::random(large, 0, &Device::Host).err().unwrap().to_string().contains("allocation of"));
}
