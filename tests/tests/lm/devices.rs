//! Small models of random weights give the same on every device, at once and token by token over a cache.
use crate::models::{configs, ids, model};
use latens::lm::{Cache, Decoder, Hooks, Recording};
use latens::tape::Tape;
use latens::{Device, Float, IGNORED, Tensor, bf16};
use latens_tests::{close, devices, normal, place};

#[test]
fn every_device_agrees() {
    for (name, config) in configs() {
        let ids = ids(10);
        let run = |model: &Decoder| {
            let both = model.ids(ids.clone(), 2).unwrap();
            let logits = model.logits(&both, &mut Hooks::new()).unwrap().to_vec().unwrap();
            let losses = model.losses(&both, &mut Hooks::new()).unwrap().to_vec().unwrap();
            (logits, losses)
        };
        let host = run(&model(&config, &Device::Host));
        for device in devices() {
            let (model, what) = (model(&config, &device), format!("{name} on {}", place(&device)));
            let (logits, losses) = run(&model);
            close(&format!("{what}: logits"), &logits, &host.0, 1e-9);
            close(&format!("{what}: losses"), &losses, &host.1, 1e-9);
            let mut cache = Cache::new(&model, 1, 5).unwrap();
            for (at, &id) in ids[..5].iter().enumerate() {
                let cached = model.extend(vec![id], &mut cache, &mut Hooks::new()).unwrap();
                close(&format!("{what}: token {at}"), &cached, &host.0[at * 50..][..50], 1e-9);
            }
            // A soft prompt of the embeddings of the same tokens is the same text.
            let rows = Tensor::from_vec(ids[..5].to_vec(), [5], &device).unwrap();
            let x = latens::embed(model.embedding().view(), rows.view()).unwrap();
            let mut cache = Cache::new(&model, 1, 5).unwrap();
            let soft = model.extend_embedded(x, &mut cache, &mut Hooks::new()).unwrap();
            close(&format!("{what}: embedded"), &soft, &host.0[4 * 50..][..50], 1e-9);
        }
    }
}

/// Gradients of all parts, by their numbers, and last of a prefix in front of two texts.
fn gradients<T: Float>(model: &Decoder<T>) -> Vec<(usize, Vec<f64>)> {
    let (ids, dim, device) = (model.ids(ids(10), 2).unwrap(), model.config().dim, model.device());
    let (mut tape, mut recording) = (Tape::new(device), Recording::new().train(|_| true));
    let prefix = Tensor::from_vec(normal(4 * dim, 0.3, 99), [4, dim], device).unwrap();
    let prefix = tape.leaf(prefix, true);
    let x = model.record_embedding(&mut tape, &ids, &recording).unwrap();
    let x = tape.join(prefix, x, 2).unwrap();
    let x = model.record_layers(&mut tape, x, 2, &mut recording).unwrap();
    let targets = ids.to_vec().unwrap();
    let targets = targets.chunks(5).flat_map(|ids| [&[IGNORED], ids, &[IGNORED]].concat()).collect();
    let targets = Tensor::from_vec(targets, [2, 7], device).unwrap();
    model.record_targets(&mut tape, x, &targets, &recording).unwrap();
    tape.backward().unwrap();
    drop(recording);
    let wide = |of: Vec<T::Acc>| of.into_iter().map(Float::wide).collect();
    let last = tape.gradient(prefix).unwrap().to_vec().unwrap().into_iter().map(Float::wide).collect();
    let all = tape.into_weights().into_iter().map(|(number, of)| (number, wide(of.to_vec().unwrap())));
    all.chain([(usize::MAX, last)]).collect()
}

#[test]
fn every_device_agrees_on_gradients() {
    for (name, config) in configs() {
        let exact = gradients(&model::<f64>(&config, &Device::Host));
        assert_eq!(exact.len(), config.parts().len() + 1);
        for device in devices() {
            let model = model::<f64>(&config, &Device::Host).to::<f32>(&device).unwrap();
            for ((number, got), (_, want)) in gradients(&model).iter().zip(&exact) {
                close(&format!("{name} on {}: part {number}", place(&device)), got, want, 1e-8);
            }
        }
    }
}

/// Half the bits, the same model but for rounding.
#[test]
fn bf16_is_near() {
    for (name, config) in configs() {
        let full = model::<f32>(&config, &Device::Host);
        let half = model::<bf16>(&config, &Device::Host);
        let ids = full.ids(ids(10), 2).unwrap();
        // Whoever rounds a model has the model that was made rounded, and its gradients are near too.
        let exact = model::<f64>(&config, &Device::Host).to::<bf16>(&Device::Host).unwrap();
        for ((_, got), (_, want)) in gradients(&exact).iter().zip(gradients(&half)) {
            assert_eq!(*got, want, "{name}");
        }
        for ((number, got), (_, want)) in gradients(&half).iter().zip(gradients(&full)) {
            close(&format!("{name}: part {number}"), got, &want, 5e-3);
        }
        let full = full.losses(&ids, &mut Hooks::new()).unwrap().to_vec().unwrap();
        let half = half.losses(&ids, &mut Hooks::new()).unwrap().to_vec().unwrap();
        close(name, &half, &full, 3e-3);
    }
}
