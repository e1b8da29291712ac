//! Gradients of every variant against differences of a loss that is written down anew here, in `f64`.
use crate::sae::train::Trainer;
use crate::sae::{
    Config, Cost, Decoder, Gated, Jump, Multi, Normalise, Nudge, Own, Sparsity, Switch, Transcode, Units, Variant,
};
use crate::{Device, Philox, Tensor};

const D: usize = 6;
const N: usize = 12;
const ROWS: usize = 10;

/// All that is learned, in `f64`.
#[derive(Clone, Default)]
struct Learned {
    w_enc: Vec<f64>,
    w_dec: Vec<f64>,
    b_enc: Vec<f64>,
    b_dec: Vec<f64>,
    r_mag: Vec<f64>,
    b_mag: Vec<f64>,
    skip: Vec<f64>,
    thresholds: Vec<f64>,
    router: Vec<f64>,
    router_b: Vec<f64>,
}

fn wide(of: &[f32]) -> Vec<f64> {
    of.iter().map(|&x| x.into()).collect()
}

impl Learned {
    fn of(trainer: &Trainer) -> Self {
        let sae = &trainer.sae;
        let mut all = Self {
            w_enc: wide(&sae.w_enc.to_vec().unwrap()),
            w_dec: wide(&sae.w_dec.to_vec().unwrap()),
            b_enc: wide(&sae.b_enc.to_vec().unwrap()),
            b_dec: wide(&sae.b_dec.to_vec().unwrap()),
            ..Self::default()
        };
        match &sae.own {
            Some(Own::Magnitudes { r_mag, b_mag }) => {
                (all.r_mag, all.b_mag) = (wide(&r_mag.to_vec().unwrap()), wide(&b_mag.to_vec().unwrap()));
            }
            Some(Own::Thresholds(thresholds)) => all.thresholds = wide(&thresholds.to_vec().unwrap()),
            None => {}
        }
        if let Some(router) = &sae.router {
            (all.router, all.router_b) = (wide(&router.w.to_vec().unwrap()), wide(&router.b.to_vec().unwrap()));
        }
        if let Some(skip) = &sae.skip {
            all.skip = wide(&skip.to_vec().unwrap());
        }
        all
    }

    fn part(&mut self, name: &str) -> &mut Vec<f64> {
        match name {
            "w_enc" => &mut self.w_enc,
            "w_dec" => &mut self.w_dec,
            "b_enc" => &mut self.b_enc,
            "b_dec" => &mut self.b_dec,
            "r_mag" => &mut self.r_mag,
            "b_mag" => &mut self.b_mag,
            "router" => &mut self.router,
            "router_b" => &mut self.router_b,
            _ => &mut self.skip,
        }
    }
}

/// The loss of a batch as the documentation says it, but for dead latents.
struct Loss<'a> {
    config: &'a Config,
    x: &'a [f64],
    target: &'a [f64],
    unit: f64,
    norm: f64,
    /// The decoder that a detached reconstruction uses.
    fixed: &'a Learned,
}

impl Loss<'_> {
    fn z(&self, p: &Learned) -> Vec<f64> {
        let mut z = Vec::new();
        for x in self.x.chunks_exact(D) {
            for j in 0..N {
                let of = |i: usize| p.w_enc[j * D + i] * (x[i] - if self.config.centred { p.b_dec[i] } else { 0.0 });
                z.push(p.b_enc[j] + (0..D).map(of).sum::<f64>());
            }
        }
        z
    }

    /// The `k` largest positive ones of some places.
    fn largest(z: &[f64], places: std::ops::Range<usize>, k: usize, y: &mut [f64]) {
        let mut order: Vec<usize> = places.filter(|&at| z[at] > 0.0).collect();
        order.sort_by(|&a, &b| z[b].total_cmp(&z[a]));
        order.into_iter().take(k).for_each(|at| y[at] = z[at]);
    }

    /// The chances of experts for a row.
    fn chances(&self, p: &Learned, row: usize) -> Vec<f64> {
        let x = &self.x[row * D..][..D];
        let logit = |w: &[f64]| (0..D).map(|i| w[i] * (x[i] - p.router_b[i])).sum::<f64>().exp();
        let all: Vec<f64> = p.router.chunks_exact(D).map(logit).collect();
        let sum: f64 = all.iter().sum();
        all.into_iter().map(|one| one / sum).collect()
    }

    fn expert(chances: &[f64]) -> usize {
        (0..chances.len()).max_by(|&a, &b| chances[a].total_cmp(&chances[b])).unwrap()
    }

    /// What keeps experts busy: the shares are no function of what is learned.
    fn balance(&self, p: &Learned, experts: usize) -> f64 {
        let mut sum = 0.0;
        for expert in 0..experts {
            let share = (0..ROWS).filter(|&row| Self::expert(&self.chances(self.fixed, row)) == expert).count();
            let mean = (0..ROWS).map(|row| self.chances(p, row)[expert]).sum::<f64>() / ROWS as f64;
            sum += share as f64 / ROWS as f64 * mean;
        }
        experts as f64 * sum / D as f64
    }

    fn y(&self, p: &Learned, z: &[f64], k: usize) -> Vec<f64> {
        let mut y = vec![0.0; z.len()];
        match self.config.variant {
            Variant::TopK => (0..ROWS).for_each(|r| Self::largest(z, r * N..(r + 1) * N, k, &mut y)),
            Variant::BatchTopK => Self::largest(z, 0..z.len(), self.config.total(k), &mut y),
            Variant::GroupMax => {
                (0..ROWS * k).for_each(|g| Self::largest(z, g * (N / k)..(g + 1) * (N / k), 1, &mut y));
            }
            Variant::Switch(Switch { experts, .. }) => {
                for row in 0..ROWS {
                    let chances = self.chances(p, row);
                    let (expert, each) = (Self::expert(&chances), N / experts);
                    let first = row * N + expert * each;
                    Self::largest(z, first..first + each, k, &mut y);
                    y[row * N..(row + 1) * N].iter_mut().for_each(|y| *y *= chances[expert]);
                }
            }
            _ => {}
        }
        for at in 0..z.len() {
            let j = at % N;
            match self.config.variant {
                Variant::ReLU(_) => y[at] = z[at].max(0.0),
                Variant::JumpReLU(_) if z[at] > p.thresholds[j] => y[at] = z[at],
                Variant::Gated(_) if z[at] > 0.0 => {
                    y[at] = (p.r_mag[j].exp() * (z[at] - p.b_enc[j]) + p.b_mag[j]).max(0.0);
                }
                _ => {}
            }
        }
        y
    }

    /// What a decoder leaves over of a row, from the first so many latents.
    fn error(&self, p: &Learned, skip: &[f64], row: usize, y: &[f64], prefix: usize) -> [f64; D] {
        std::array::from_fn(|i| {
            let more: f64 = (0..skip.len() / D).map(|c| skip[i * D + c] * self.x[row * D + c]).sum();
            let made: f64 = (0..prefix).map(|j| y[row * N + j] * p.w_dec[j * D + i]).sum();
            self.target[row * D + i] - p.b_dec[i] - made - more
        })
    }

    fn squares(&self, p: &Learned, skip: &[f64], y: &[f64], prefix: usize) -> f64 {
        let all = (0..ROWS).flat_map(|row| self.error(p, skip, row, y, prefix));
        all.map(|e| e * e).sum::<f64>() / (ROWS as f64 * self.norm)
    }

    fn cost(&self, sparsity: &Sparsity, p: &Learned, y: &[f64]) -> f64 {
        let mut sum = 0.0;
        for (at, &y) in y.iter().enumerate().filter(|(_, y)| **y > 0.0) {
            let row = &p.w_dec[at % N * D..][..D];
            let length = |side: &[f64]| side.iter().map(|w| w * w).sum::<f64>().sqrt();
            let by = if sparsity.by_length { row.chunks(D / self.config.sides).map(length).sum() } else { 1.0 };
            let a = by * y / self.unit;
            sum += match sparsity.cost {
                Cost::Power(power) => a.powf(power.into()),
                Cost::Tanh(c) => (f64::from(c) * a).tanh(),
                Cost::Count | Cost::Target(_) => 0.0, // has no slope but that of thresholds
            };
        }
        f64::from(sparsity.weight) * sum / (ROWS * D) as f64
    }

    fn loss(&self, p: &Learned) -> f64 {
        let (config, z) = (self.config, self.z(p));
        let y = self.y(p, &z, config.k);
        let all = [N];
        let prefixes = if config.prefixes.is_empty() { &all[..] } else { &config.prefixes };
        let mut loss = 0.0;
        for (at, &prefix) in prefixes.iter().enumerate() {
            let weight = config.prefix_weights.get(at).map_or(1.0 / prefixes.len() as f64, |&weight| weight.into());
            loss += weight * self.squares(p, &p.skip, &y, prefix);
        }
        if let Some(Multi { times, weight }) = config.multi {
            loss += f64::from(weight) * self.squares(p, &p.skip, &self.y(p, &z, times * config.k), N);
        }
        if let Variant::Switch(Switch { experts, balance }) = config.variant {
            loss += f64::from(balance) * self.balance(p, experts);
        }
        let found: Vec<f64> = z.iter().map(|z| z.max(0.0)).collect();
        match &config.variant {
            Variant::Gated(Gated { detached, sparsity }) => {
                // What a detached reconstruction takes of the encoder's centre is learned, what it adds at the end is not.
                let mut decoder = p.clone();
                if *detached {
                    (decoder.w_dec, decoder.b_dec) = (self.fixed.w_dec.clone(), self.fixed.b_dec.clone());
                }
                loss += self.squares(&decoder, &p.skip, &found, N) + self.cost(sparsity, p, &found);
            }
            variant => loss += variant.sparsity().map_or(0.0, |sparsity| self.cost(sparsity, p, &y)),
        }
        loss
    }
}

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
        Config { part: 0.5, ..base(Variant::BatchTopK) },
        Config { multi: Some(Multi { times: 3, weight: 0.125 }), ..base(Variant::TopK) },
        Config { prefixes: prefixes.clone(), ..base(Variant::BatchTopK) },
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
        Config { transcode: Some(Transcode { skip: false }), centred: false, ..base(Variant::TopK) },
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

fn step(trainer: &mut Trainer, x: &[f32], y: &[f32]) {
    let [x, y] = [x, y].map(|of| Tensor::from_vec(of.to_vec(), [ROWS, D], &Device::Host).unwrap());
    match trainer.config.transcode {
        Some(_) => trainer.step_to(x.view(), y.view()).unwrap(),
        None => trainer.step(x.view()).unwrap(),
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
        let loss = Loss { config: &config, x: &x, target: &target, unit, norm, fixed: &before };
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
        let loss = Loss { config: &config, x: &x, target: &x, unit, norm, fixed: &p };
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
