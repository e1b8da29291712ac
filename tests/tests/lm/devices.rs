//! Small models of random weights give the same on every device, at once and token by token over a cache.
use crate::models::{configs, ids, model};
use latens::Device;
use latens::lm::{Cache, Decoder, Hooks};
use latens_tests::{close, devices, place};

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
            let rows = latens::Tensor::from_vec(ids[..5].to_vec(), [5], &device).unwrap();
            let x = latens::embed(model.embedding().view(), rows.view()).unwrap();
            let mut cache = Cache::new(&model, 1, 5).unwrap();
            let soft = model.extend_embedded(x, &mut cache, &mut Hooks::new()).unwrap();
            close(&format!("{what}: embedded"), &soft, &host.0[4 * 50..][..50], 1e-9);
        }
    }
}

/// Half the bits, the same model but for rounding.
#[test]
fn bf16_is_near() {
    for (name, config) in configs() {
        let full = model::<f32>(&config, &Device::Host);
        let half = model::<latens::bf16>(&config, &Device::Host);
        let ids = full.ids(ids(10), 2).unwrap();
        let full = full.losses(&ids, &mut Hooks::new()).unwrap().to_vec().unwrap();
        let half = half.losses(&ids, &mut Hooks::new()).unwrap().to_vec().unwrap();
        close(name, &half, &full, 3e-3);
    }
}
