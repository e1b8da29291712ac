//! Autoencoders are trained and judged on a GPU as on the host.
use latens::sae::eval::{Agreement, Core, Fit, Labelled, Pooled, nearest_within, sparse_probing};
use latens::sae::{Config, Gate, Sae, Trainer};
use latens::{Device, Philox, Tensor};
use latens_tests::kinds::{D, ROWS, all, rows};
use latens_tests::{devices, place, small};

fn trained(config: &Config, device: &Device) -> Vec<f32> {
    let (x, y) = rows(12);
    let mut trainer = match config.transcode {
        Some(_) => Trainer::transcoder(config.clone(), &x, &y, device).unwrap(),
        None => Trainer::new(config.clone(), &x, device).unwrap(),
    };
    let [x, y] = [x, y].map(|of| Tensor::from_vec(of, [ROWS, D], device).unwrap());
    while trainer.steps() < config.steps {
        match config.transcode {
            Some(_) => trainer.step_to(x.view(), y.view()).unwrap(),
            None => trainer.step(x.view()).unwrap(),
        }
    }
    let sae = trainer.finish().unwrap();
    [sae.w_enc.to_vec().unwrap(), sae.w_dec.to_vec().unwrap(), sae.b_enc.to_vec().unwrap()].concat()
}

#[test]
fn kinds_are_trained_alike() {
    let elsewhere: Vec<Device> = devices().into_iter().filter(|device| !device.is_host()).collect();
    for (name, config, ..) in all().into_iter().step_by(if small() { 3 } else { 1 }) {
        let config = Config { steps: if small() { 1 } else { 3 }, rate: 1e-3, ..config };
        for device in &elsewhere {
            let apart = trained(&config, device)
                .iter()
                .zip(trained(&config, &Device::Host))
                .map(|(a, b)| (a - b).abs())
                .fold(0.0, f32::max);
            assert!(apart < 1e-3, "{name} on {}: {apart}", place(device));
        }
    }
}

/// What is measured on a GPU is what is measured on the host.
#[test]
fn devices_agree() {
    const D: usize = 12;
    let mut draw = Philox::new(3);
    let mut numbers = |count: usize| -> Vec<f32> { (0..count).map(|_| draw.uniform() - 0.5).collect() };
    let (decoder, center, rows) = (numbers(40 * D), numbers(D), numbers(60 * D));
    let (labels, tokens): (Vec<bool>, _) = ((0..30).map(|text| text % 3 == 0).collect(), [2; 30]);
    let measure = |device: &Device| {
        let sae = |gate| Sae::tied(decoder.clone(), center.clone(), gate, device).unwrap();
        let (sae, other) = (sae(Gate::Strongest(4)), sae(Gate::Above { threshold: 0.2, most: 8 }));
        let rows = Tensor::from_vec(rows.clone(), [60, D], device).unwrap();
        let mut texts = Pooled::new(&sae);
        texts.push(&sae, &sae.bias().unwrap(), rows.view(), &tokens).unwrap();
        let of = Labelled { texts: &texts, labels: &labels };
        let found = sparse_probing("thirds", of, of, &[3], Fit::default()).unwrap();
        let core = Core::measure(&other, rows.view(), |_| ()).unwrap();
        let near = nearest_within(&sae, |_| ()).unwrap();
        (found, core, near, Agreement::measure(&sae, &other, |_| ()).unwrap())
    };
    let want = measure(&Device::Host);
    assert_eq!(want.3.share, [1.0; 2]);
    for device in devices() {
        let got = measure(&device);
        let at = place(&device);
        assert_eq!(
            (&got.0.sparse[0].latents, got.2.latents),
            (&want.0.sparse[0].latents, want.2.latents.clone()),
            "{at}"
        );
        for (got, want) in
            [(got.1.fvu, want.1.fvu), (got.1.l0, want.1.l0), (got.1.l1, want.1.l1), (got.0.raw, want.0.raw)]
        {
            assert!((got - want).abs() < 1e-5, "{at}: {got} {want}");
        }
        for (got, want) in got.2.cosines.iter().zip(&want.2.cosines) {
            assert!((got - want).abs() < 1e-5, "{at}: {got} {want}");
        }
    }
}
