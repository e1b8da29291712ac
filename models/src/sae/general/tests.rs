//! Gradients of every variant against differences of a loss that is written down anew, in `f64`.
mod loss;

use crate::sae::train::Trainer;
use crate::sae::{
    Anneal, Config, Cost, Decoder, Gated, Jump, Multi, Normalise, Nudge, Over, Own, Revive, Sparsity, Switch,
    Transcode, Units, Variant,
};
use crate::{Device, Philox, Tensor};
use loss::{Learned, Loss, wide};

const D: usize = 6;
const N: usize = 12;
const ROWS: usize = 10;

fn numbers(count: usize, seed: u64) -> Vec<f32> {
    let mut draw = Philox::new(seed);
    (0..count).map(|_| draw.uniform() * 2.0 - 1.0).collect()
}

/// A trainer with weights from all over, and the rows of its first step.
fn trainer(config: &Config, device: &Device) -> (Trainer, Vec<f32>, Vec<f32>) {
    let [x, y] = [21, 22].map(|seed| numbers(ROWS * D, seed).into_iter().map(|x| 3.0 * x).collect::<Vec<_>>());
    let mut trainer = match config.transcode {
        Some(_) => Trainer::transcoder(config.clone(), &x, &y, device).unwrap(),
        None => Trainer::new(config.clone(), &x, device).unwrap(),
    };
    let sae = &mut trainer.sae;
    sae.w_dec.write(&numbers(N * D, 1)).unwrap();
    sae.w_enc.write(&numbers(N * D, 2)).unwrap();
    sae.b_enc.write(&numbers(N, 3)).unwrap();
    sae.b_dec.write(&numbers(D, 4)).unwrap();
    match &mut sae.own {
        Some(Own::Magnitudes { r_mag, b_mag }) => {
            r_mag.write(&numbers(N, 5)).unwrap();
            b_mag.write(&numbers(N, 6)).unwrap();
        }
        Some(Own::Thresholds(thresholds)) => {
            let all: Vec<f32> = numbers(N, 7).iter().map(|x| 1.0 + 0.5 * x).collect();
            thresholds.write(&all).unwrap();
        }
        None => {}
    }
    if let Some(router) = &mut sae.router {
        router.w.write(&numbers(router.w.dims().iter().product(), 9)).unwrap();
        router.b.write(&numbers(D, 10)).unwrap();
    }
    if let Some(skip) = &mut sae.skip {
        skip.write(&numbers(D * D, 8)).unwrap();
    }
    (trainer, x, y)
}

fn base(variant: Variant) -> Config {
    // A rate of 0: the step leaves all as it is, and the gradients in the scratch.
    Config { variant, batch: ROWS, rate: 0.0, revive: None, units: Units::Deviation, ..Config::new(D, N, 3, 10) }
}

fn penalty(cost: Cost, by_length: bool) -> Sparsity {
    Sparsity { weight: 0.7, cost, warm: 0, by_length, anneal: None }
}

fn configs() -> Vec<Config> {
    let gated =
        |detached, by_length| Variant::Gated(Gated { sparsity: penalty(Cost::Power(1.0), by_length), detached });
    let free = |variant| Config { centred: false, decoder: Decoder::Free, ..base(variant) };
    let prefixes = vec![3, 7, N];
    vec![
        base(Variant::GroupMax),
        Config { k: 2, ..base(Variant::Switch(Switch { experts: 3, balance: 0.7 })) },
        Config { centred: false, ..base(Variant::TopK) },
        Config { fraction: 0.5, ..base(Variant::BatchTopK) },
        Config { multi: Some(Multi { times: 3, weight: 0.125 }), ..base(Variant::TopK) },
        Config { prefixes: prefixes.clone(), ..base(Variant::BatchTopK) },
        Config { budgets: vec![1, 2], ..base(Variant::TopK) },
        Config { ranked_by_length: true, ..free(Variant::TopK) },
        Config { ranked_by_length: true, fraction: 0.5, ..free(Variant::BatchTopK) },
        revived(Over::Left, true, 4),
        revived(Over::Loss, false, 20),
        // Of which the first part knows, that is.
        Config { parts: 2, revive: Some(Revive::new(0.5, 3, ROWS as u32 / 2)), ..revived(Over::Left, true, 3) },
        Config { prefixes: prefixes.clone(), prefix_weights: vec![1.0, 0.5, 2.0], ..base(Variant::TopK) },
        base(Variant::ReLU(penalty(Cost::Power(1.0), false))),
        free(Variant::ReLU(penalty(Cost::Power(1.0), true))),
        free(Variant::ReLU(penalty(Cost::Power(0.6), true))),
        Config { sides: 2, ..free(Variant::ReLU(penalty(Cost::Tanh(4.0), true))) },
        Config { units: Units::AsTheyAre, ..base(Variant::ReLU(penalty(Cost::Tanh(2.0), false))) },
        Config { prefixes, ..base(Variant::ReLU(penalty(Cost::Power(1.0), true))) },
        base(Variant::JumpReLU(Jump { sparsity: penalty(Cost::Tanh(4.0), true), width: 1.0, start: 0.5, log: true })),
        base(gated(true, false)),
        base(gated(false, true)),
        Config { transcode: Some(Transcode { skip: false }), ..free(Variant::TopK) },
        Config { transcode: Some(Transcode { skip: true }), ..free(Variant::ReLU(penalty(Cost::Power(1.0), false))) },
        // In parts, and of rows times a factor.
        Config { parts: 2, ..base(Variant::TopK) },
        Config { parts: 5, ..base(Variant::ReLU(penalty(Cost::Power(0.6), true))) },
        Config { parts: 2, ..base(gated(true, true)) },
        Config { parts: 5, normalise: Normalise::Mean, ..base(gated(false, false)) },
        Config { normalise: Normalise::Mean, ..base(Variant::ReLU(penalty(Cost::Tanh(4.0), true))) },
        Config {
            transcode: Some(Transcode { skip: true }),
            normalise: Normalise::Mean,
            parts: 2,
            ..free(Variant::ReLU(penalty(Cost::Power(1.0), false)))
        },
    ]
}

/// Where all latents that no row has are dead.
fn revived(over: Over, share: bool, k: usize) -> Config {
    let revive = Revive { over, share, ..Revive::new(0.5, k, ROWS as u32) };
    Config { k: 1, revive: Some(revive), ..base(Variant::TopK) }
}

fn step(trainer: &mut Trainer, x: &[f32], y: &[f32]) {
    let [x, y] = [x, y].map(|of| Tensor::from_vec(of.to_vec(), [ROWS, D], &Device::Host).unwrap());
    match trainer.config.transcode {
        Some(_) => trainer.step_to(x.view(), y.view()).unwrap(),
        None => trainer.step(x.view()).unwrap(),
    }
}

/// Latents that were dead in the first step, and what their loss weighed.
fn dead(trainer: &Trainer) -> (Vec<usize>, f64) {
    let Some(Revive { weight, k, over, share, .. }) = trainer.config.revive else { return (Vec::new(), 0.0) };
    let list = trainer.dead.to_vec().unwrap();
    let dead: Vec<usize> = list[..trainer.facts.dead].iter().map(|&latent| latent as usize).collect();
    let share = if share { (dead.len() as f64 / k as f64).min(1.0) } else { 1.0 };
    let left = if over == Over::Left { f64::from(trainer.facts.left) } else { 1.0 };
    (dead, f64::from(weight) * share / left)
}

/// When its power changes, the penalty goes on as it was.
#[test]
fn penalties_go_on() {
    let anneal = Some(Anneal { to: 0.5, from_step: 12, turns: 1 });
    let of = |by_length| Sparsity { anneal, ..penalty(Cost::Power(1.0), by_length) };
    let free = |variant| Config { decoder: Decoder::Free, steps: 14, ..base(variant) };
    for config in [
        free(Variant::ReLU(of(false))),
        free(Variant::ReLU(of(true))),
        free(Variant::Gated(Gated { detached: true, sparsity: of(true) })),
        Config { parts: 2, ..free(Variant::Gated(Gated { detached: false, sparsity: of(false) })) },
    ] {
        let (mut trainer, x, y) = trainer(&config, &Device::Host);
        let p = Learned::of(&trainer);
        (0..12).for_each(|_| step(&mut trainer, &x, &y));
        let x = wide(&x);
        let unit = f64::from(trainer.facts.unit);
        let loss = Loss { config: &config, x: &x, target: &x, unit, norm: 1.0, fixed: &p, dead: (Vec::new(), 0.0) };
        let z = loss.z(&p);
        let on: Vec<f64> = match config.variant {
            Variant::Gated(_) => z.iter().map(|z| z.max(0.0)).collect(),
            _ => loss.y(&p, &z, 0),
        };
        let cost =
            |power| loss.cost(&Sparsity { cost: Cost::Power(power), ..*config.variant.sparsity().unwrap() }, &p, &on);
        let (want, kept) = (cost(1.0) / cost(0.5), f64::from(trainer.facts.kept));
        let exact = config.parts == 1; // else the last part speaks for all
        assert!((kept / want - 1.0).abs() < if exact { 1e-4 } else { 0.2 }, "{kept} for {want}: {config:?}");
        assert!(kept != 1.0);
    }
}

#[test]
fn gradients_are_those_of_the_loss() {
    for config in configs() {
        let (mut trainer, x, y) = trainer(&config, &Device::Host);
        let before = Learned::of(&trainer);
        step(&mut trainer, &x, &y);
        let parts = [(&x, 0), if config.transcode.is_some() { (&y, 1) } else { (&x, 0) }];
        let normal = |(of, which): (&Vec<f32>, usize)| of.iter().map(|x| x * trainer.facts.normal[which]).collect();
        let [x, target] = parts.map(|part| wide(&Vec::<f32>::from_iter::<Vec<f32>>(normal(part))));
        let (unit, norm) = (f64::from(trainer.facts.unit), f64::from(trainer.norm()));
        let dead = dead(&trainer);
        assert!(config.revive.is_none() || !dead.0.is_empty(), "none is dead of {config:?}");
        let loss = Loss { config: &config, x: &x, target: &target, unit, norm, fixed: &before, dead };
        let mut gradients = vec![
            ("w_enc", trainer.scratch.dw_enc.to_vec().unwrap()),
            ("w_dec", trainer.scratch.dw_dec.to_vec().unwrap()),
            ("b_enc", trainer.scratch.db_enc.to_vec().unwrap()),
            ("b_dec", trainer.scratch.db_dec.to_vec().unwrap()),
        ];
        // AdamW's first mean is a tenth of the gradient.
        let tenth = |mean: &Tensor<f32, 1>| mean.to_vec().unwrap().iter().map(|m| 10.0 * m).collect::<Vec<f32>>();
        if let crate::sae::gates::Learned::Magnitudes { factors, biases } = &trainer.learned {
            gradients.extend([("r_mag", tenth(factors.mean())), ("b_mag", tenth(biases.mean()))]);
        }
        if let crate::sae::gates::Learned::Router { w, b } = &trainer.learned {
            let of_w = w.mean().to_vec().unwrap().iter().map(|m| 10.0 * m).collect();
            gradients.extend([("router", of_w), ("router_b", tenth(b.mean()))]);
        }
        if let Some(moments) = &trainer.w_skip {
            gradients.push(("skip", moments.mean().to_vec().unwrap().iter().map(|m| 10.0 * m).collect()));
        }
        for (name, gradient) in gradients {
            let largest = gradient.iter().fold(0.0_f32, |a, b| a.max(b.abs()));
            assert!(largest > 0.0, "{name} of {config:?} has none");
            for (at, &got) in gradient.iter().enumerate() {
                const STEP: f64 = 1e-6;
                let at_step = |step: f64| {
                    let mut p = before.clone();
                    p.part(name)[at] += step;
                    loss.loss(&p)
                };
                let want = (at_step(STEP) - at_step(-STEP)) / (2.0 * STEP);
                let off = (f64::from(got) - want).abs();
                assert!(off <= 2e-4 * f64::from(largest) + 1e-6, "{name}[{at}] is {got}, expected {want}: {config:?}");
            }
        }
    }
}

/// Thresholds have no gradient but what the rectangle makes of the slopes of values near them, and of the number of active latents.
#[test]
fn thresholds_learn_through_the_rectangle() {
    for (cost, log) in [(Cost::Count, true), (Cost::Target(2.0), false), (Cost::Tanh(4.0), true)] {
        let jump = Jump { sparsity: penalty(cost, false), width: 1.0, start: 0.5, log };
        let config = base(Variant::JumpReLU(jump));
        let (mut trainer, x, y) = trainer(&config, &Device::Host);
        let p = Learned::of(&trainer);
        step(&mut trainer, &x, &y);
        let x = wide(&x);
        let (unit, norm) = (f64::from(trainer.facts.unit), f64::from(trainer.norm()));
        let dead = (Vec::new(), 0.0);
        let loss = Loss { config: &config, x: &x, target: &x, unit, norm, fixed: &p, dead };
        let (z, width) = (loss.z(&p), f64::from(jump.width) * unit);
        let y = loss.y(&p, &z, 0);
        let active = y.iter().filter(|&&y| y > 0.0).count() as f64 / ROWS as f64;
        let by = 0.7 / (ROWS * D) as f64;
        let mut want = vec![0.0; N];
        for (at, &z) in z.iter().enumerate() {
            let (j, threshold) = (at % N, p.thresholds[at % N]);
            if (z - threshold).abs() < width / 2.0 {
                let e = loss.error(&p, &[], at / N, &y, N);
                let mut slope: f64 =
                    (0..D).map(|i| -2.0 * e[i] * p.w_dec[j * D + i]).sum::<f64>() / (ROWS as f64 * norm);
                let step = match cost {
                    Cost::Tanh(c) => {
                        let a = f64::from(c) / unit;
                        slope += by * a * (1.0 - (a * y[at]).tanh().powi(2));
                        0.0
                    }
                    Cost::Target(target) => by * 2.0 * (active / f64::from(target) - 1.0) / f64::from(target),
                    _ => by,
                };
                want[j] -= (threshold * slope + step) / width;
            }
        }
        let crate::sae::gates::Learned::Thresholds { moments, .. } = &trainer.learned else { panic!() };
        let got = moments.mean().to_vec().unwrap();
        assert!(want.iter().filter(|&&w| w != 0.0).count() > N / 2, "{want:?}");
        for (j, want) in want.into_iter().enumerate() {
            let want = if log { want * p.thresholds[j] } else { want };
            assert!((10.0 * f64::from(got[j]) - want).abs() < 1e-4, "{j}: {} for {want} of {cost:?}", 10.0 * got[j]);
        }
    }
}

/// The gradient of `Σ max(threshold - z, 0)` over dead latents, by differences.
#[test]
fn dead_latents_are_nudged() {
    let jump = Jump { sparsity: penalty(Cost::Count, false), width: 0.1, start: 0.5, log: false };
    let nudge = Nudge { weight: 0.5, after: ROWS as u32 };
    let config = Config { nudge: Some(nudge), ..base(Variant::JumpReLU(jump)) };
    let with = |config: &Config| {
        let (mut trainer, x, y) = trainer(config, &Device::Host);
        // Three latents that never fire.
        let Some(Own::Thresholds(thresholds)) = &mut trainer.sae.own else { panic!() };
        let mut all = thresholds.to_vec().unwrap();
        all[2..5].fill(100.0);
        thresholds.write(&all).unwrap();
        step(&mut trainer, &x, &y);
        let length = |row: &[f32]| row.iter().map(|w| w * w).sum::<f32>().sqrt();
        let lengths: Vec<f32> = numbers(N * D, 1).chunks(D).map(length).collect(); // the step has divided rows by them
        (trainer, x, lengths)
    };
    let ((nudged, x, lengths), (plain, ..)) = (with(&config), with(&Config { nudge: None, ..config.clone() }));
    let b_dec = numbers(D, 4);
    let [after, before] = [&nudged, &plain].map(|trainer| trainer.scratch.dw_enc.to_vec().unwrap());
    let [b_after, b_before] = [&nudged, &plain].map(|trainer| trainer.scratch.db_enc.to_vec().unwrap());
    for j in 0..N {
        let by = if (2..5).contains(&j) { 0.5 * lengths[j] / ((ROWS * D) as f32 * nudged.facts.unit) } else { 0.0 };
        for i in 0..D {
            let sum: f32 = x.chunks(D).map(|row| row[i] - b_dec[i]).sum();
            let moved = after[j * D + i] - before[j * D + i];
            assert!((moved + by * sum).abs() < 1e-5, "w_enc[{j}, {i}] by {moved}, expected {}", -by * sum);
        }
        assert!((b_after[j] - b_before[j] + by * ROWS as f32).abs() < 1e-5);
    }
}
