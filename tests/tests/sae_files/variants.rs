//! Every kind of autoencoder: it learns, it repeats itself with any number of threads, it resumes bit by bit, its checkpoint is it,
//! and wrong input leaves it as it was.
use latens::io::Error;
use latens::sae::{
    Anneal, Config, Cosine, Cost, Decoder, Falling, Format, Gate, Jump, Multi, Normalise, Nudge, Origin, Revive, Rule,
    Sae, Sparsity, Switch, Trainer, Transcode, Variant,
};
use latens::{Device, Tensor};
use latens_tests::kinds::{D, N, ROWS, all, base, cost, rows, transcoder};
use std::fs;
use std::path::PathBuf;

fn begin(config: &Config) -> Trainer {
    let (x, y) = rows(12);
    match config.transcode {
        Some(_) => Trainer::transcoder(config.clone(), &x, &y, &Device::Host).unwrap(),
        None => Trainer::new(config.clone(), &x, &Device::Host).unwrap(),
    }
}

fn host(of: Vec<f32>) -> Tensor<f32, 2> {
    let count = of.len() / D;
    Tensor::from_vec(of, [count, D], &Device::Host).unwrap()
}

fn train(trainer: &mut Trainer, to: usize) {
    while trainer.steps() < to {
        let (x, y) = rows(100 + trainer.steps() as u64 % 8);
        let (x, y) = (host(x), host(y));
        match trainer.config().transcode {
            Some(_) => trainer.step_to(x.view(), y.view()).unwrap(),
            None => trainer.step(x.view()).unwrap(),
        }
    }
}

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("latens-variants-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn all_learn() {
    let mut wrong = Vec::new();
    for (name, config, most, fvu) in all() {
        let mut trainer = begin(&config);
        train(&mut trainer, config.steps);
        let now = trainer.progress().unwrap();
        if !(now.fvu < fvu && now.l0 <= most && now.l0 > 1.0) {
            wrong.push(format!("{name}: {now:?}, expected FVU {fvu} and {most} active"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The bytes of a state, which holds all that was learned.
fn state(trainer: &Trainer, folder: &Folder) -> Vec<u8> {
    let path = folder.0.join("state.safetensors");
    trainer.save_state(&path).unwrap();
    fs::read(path).unwrap()
}

/// That `go`, which takes a trainer to a step, gives the same bytes with one thread and with two, and after a pause.
fn repeats(name: &str, config: &Config, folder: &Folder, go: impl Fn(&mut Trainer, usize) + Sync) {
    let with = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let mut trainer = begin(config);
            go(&mut trainer, config.steps);
            state(&trainer, folder)
        })
    };
    let whole = with(1);
    assert!(whole == with(2), "{name} with two threads");
    let mut first = begin(config);
    go(&mut first, config.steps / 2 + 1);
    state(&first, folder);
    let path = folder.0.join("state.safetensors");
    let mut second = Trainer::resume(&path, config, &Device::Host).unwrap();
    assert_eq!(second.progress().unwrap(), first.progress().unwrap(), "{name}");
    go(&mut second, config.steps);
    assert!(whole == state(&second, folder), "{name} after a pause");
}

#[test]
fn the_same_bytes_with_any_number_of_threads_and_after_a_pause() {
    let folder = Folder::new("same");
    for (name, config, ..) in all() {
        repeats(name, &Config { steps: 40, ..config }, &folder, train);
    }
}

/// The same of steps on what something behind the reconstruction loses: here the squared difference of tanh, times what the step before left.
#[test]
fn the_same_bytes_through_a_loss() {
    let folder = Folder::new("through");
    let go = |trainer: &mut Trainer, to: usize| {
        while trainer.steps() < to {
            let (x, by) = (rows(100 + trainer.steps() as u64 % 8).0, trainer.progress().unwrap().fvu);
            let lost = |recon: &Tensor<f32, 2>| {
                let recon = recon.to_vec()?;
                let each = recon.iter().zip(&x).map(|(got, x)| (got.tanh() - x.tanh(), 1.0 - got.tanh().powi(2)));
                let loss = each.clone().map(|(apart, _)| f64::from(apart).powi(2)).sum::<f64>() / x.len() as f64;
                let gradient = each.map(|(apart, slope)| by * 2.0 * apart * slope / x.len() as f32).collect();
                Ok((f64::from(by) * loss, host(gradient)))
            };
            trainer.step_through(host(x.clone()).view(), 1.0, lost).unwrap();
        }
    };
    let may = |of: &Config| of.transcode.is_none() && of.parts == 1 && !of.normalise.scales_rows();
    for (name, config, ..) in all().into_iter().filter(|(_, of, ..)| may(of)) {
        repeats(name, &Config { steps: 24, ..config }, &folder, go);
    }
}

#[test]
fn a_checkpoint_is_what_was_trained() {
    let folder = Folder::new("kept");
    for (name, config, ..) in all() {
        let mut trainer = begin(&config);
        train(&mut trainer, 60);
        let format = if config.variant == Variant::GroupMax || config.transcode.is_some() {
            Format::Sparsify
        } else {
            Format::SaeLens
        };
        let sae = trainer.finish().unwrap();
        let x = host(rows(12).0);
        let before = sae.reconstruct(x.view()).unwrap().to_vec().unwrap();
        sae.save(&folder.0, format, &Origin::default()).unwrap();
        let loaded = Sae::load(&folder.0, &Device::Host).unwrap();
        let after = loaded.reconstruct(x.view()).unwrap().to_vec().unwrap();
        assert!(before == after, "{name}");
        fs::remove_dir_all(&folder.0).unwrap();
        fs::create_dir_all(&folder.0).unwrap();
    }
}

/// A row that is no number stops training with the number of the step, and nothing has moved.
#[test]
fn rows_that_are_no_numbers_change_nothing() {
    let folder = Folder::new("nan");
    for (name, config, ..) in all() {
        let mut trainer = begin(&config);
        train(&mut trainer, 20);
        let before = state(&trainer, &folder);
        refused(&mut trainer, 5, false, 21, name);
        assert!(state(&trainer, &folder) == before, "{name}");
        // At a look, in the last part of a step.
        train(&mut trainer, 32);
        let before = state(&trainer, &folder);
        refused(&mut trainer, ROWS - 1, false, 33, name);
        if config.transcode.is_some() {
            refused(&mut trainer, 7, true, 33, name);
        }
        assert!(state(&trainer, &folder) == before, "{name} at a look");
        train(&mut trainer, 33);
    }
}

/// A step with a row that is no number, of what is read or of what is predicted.
fn refused(trainer: &mut Trainer, row: usize, of_y: bool, step: usize, name: &str) {
    let (mut x, mut y) = rows(12);
    (if of_y { &mut y } else { &mut x })[row * D + 1] = f32::NAN;
    let (x, y) = (host(x), host(y));
    let done = match trainer.config().transcode {
        Some(_) => trainer.step_to(x.view(), y.view()),
        None => trainer.step(x.view()),
    };
    match done {
        Err(Error::Number { step: at, what }) => {
            assert!(at == step && what.contains(&format!("row {row}")), "{name}: step {at}, {what}");
            assert!(!of_y || what.contains("of y"), "{name}: {what}");
        }
        other => panic!("{name}: {other:?}"),
    }
}

/// Rows times a factor are other rows; what is trained on them, with that factor taken out first, is the same but for it.
#[test]
fn a_factor_of_rows_is_folded_in() {
    for (name, config, ..) in all().into_iter().filter(|(_, config, ..)| config.normalise == Normalise::None) {
        let config = Config { normalise: Normalise::Mean, steps: 10, rate: 1e-3, ..config };
        let mut trainer = begin(&config);
        train(&mut trainer, config.steps);
        let of_factored = trainer.sae().copy().unwrap();
        let (snapshot, (x, y)) = (trainer.snapshot().unwrap(), rows(12));
        let length = |rows: &[f32]| {
            let lengths = rows.chunks(D).map(|row| row.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt());
            lengths.sum::<f64>() / (rows.len() / D) as f64
        };
        let factor = |rows: &[f32]| ((D as f64).sqrt() / length(rows)) as f32;
        let (read, predicted) = (factor(&x), factor(if config.transcode.is_some() { &y } else { &x }));
        let batch = config.variant == Variant::BatchTopK;
        // Sides have a factor each, and a test by themselves.
        if config.average.is_none() && !config.ranked_by_length && config.sides == 1 {
            let of_factored = match snapshot.gate {
                // Its threshold is of rows as they are.
                Gate::Above { threshold, most } if batch => {
                    Sae { gate: Gate::Above { threshold: threshold * predicted, most }, ..of_factored }
                }
                _ => of_factored,
            };
            let factored = host(x.iter().map(|x| x * read).collect());
            let want = of_factored.reconstruct(factored.view()).unwrap().to_vec().unwrap();
            let got = snapshot.reconstruct(host(x).view()).unwrap().to_vec().unwrap();
            for (got, want) in got.iter().zip(want) {
                assert!((got * predicted - want).abs() < 1e-3, "{name}: {got} for {}", want / predicted);
            }
        }
        let finished = trainer.finish().unwrap();
        assert!(finished.w_enc.to_vec().unwrap() == snapshot.w_enc.to_vec().unwrap(), "{name}");
        assert!(finished.b_dec.to_vec().unwrap() == snapshot.b_dec.to_vec().unwrap(), "{name}");
    }
}

/// The mean of weights, written out: of all at first, then with the decay.
#[test]
fn weights_are_averaged() {
    let config = Config { average: Some(0.6), steps: 6, decoder: Decoder::Free, ..base(Variant::TopK) };
    let mut trainer = begin(&config);
    let mut mean = vec![0.0; D];
    for step in 0..6 {
        train(&mut trainer, step + 1);
        let keep = 0.6_f64.min(step as f64 / (step as f64 + 1.0));
        let now = trainer.sae().b_dec.to_vec().unwrap();
        mean.iter_mut().zip(now).for_each(|(mean, now)| *mean = keep * *mean + (1.0 - keep) * f64::from(now));
    }
    let got = trainer.finish().unwrap().b_dec.to_vec().unwrap();
    assert!(got.iter().zip(&mean).all(|(got, want)| (f64::from(*got) - want).abs() < 1e-5), "{got:?} for {mean:?}");
}

/// A step in parts is the step of all rows at once, where rows have nothing to do with one another.
#[test]
fn parts_are_the_whole() {
    for (name, config, ..) in all() {
        let apart = matches!(config.variant, Variant::BatchTopK | Variant::Switch(_)) || config.falling.is_some();
        if apart || config.parts > 1 || matches!(config.rule, Rule::Signum { .. }) {
            continue; // these look at all rows of a part, or only at signs, which noise turns
        }
        let after = |parts: usize| {
            let config = Config { parts, steps: 1, warm: 0, decay: 0, revive: None, ..config.clone() };
            let mut trainer = begin(&config);
            train(&mut trainer, 1);
            let (sae, now) = (trainer.sae(), trainer.progress().unwrap());
            ([&sae.w_enc, &sae.w_dec].map(|of| of.to_vec().unwrap()), sae.b_dec.to_vec().unwrap(), now)
        };
        let (whole, parts) = (after(1), after(4));
        let close = |a: &[f32], b: &[f32]| {
            // AdamW's first step is as long for a gradient that is only noise.
            let apart = a.iter().zip(b).filter(|(a, b)| (*a - *b).abs() > 1e-4).count();
            apart * 50 <= a.len()
        };
        assert!((0..2).all(|at| close(&whole.0[at], &parts.0[at])) && close(&whole.1, &parts.1), "{name}");
        let (a, b) = (whole.2, parts.2);
        assert!((a.fvu - b.fvu).abs() < 1e-4 && (a.l0 - b.l0).abs() < 1e-3, "{name}: {a:?} {b:?}");
    }
}

/// What makes a decoder's rows 1 long changes nothing else, and is refused where it would.
#[test]
fn lengths_are_folded_in() {
    for (name, config, ..) in all() {
        let mut trainer = begin(&config);
        train(&mut trainer, 30);
        let mut sae = trainer.finish().unwrap();
        let x = host(rows(12).0);
        let before = sae.reconstruct(x.view()).unwrap().to_vec().unwrap();
        match sae.fold_lengths() {
            Ok(()) => {
                let after = sae.reconstruct(x.view()).unwrap().to_vec().unwrap();
                for (got, want) in after.iter().zip(&before) {
                    assert!((got - want).abs() < 1e-3, "{name}: {got} for {want}");
                }
                for row in sae.w_dec.to_vec().unwrap().chunks(D) {
                    let length = row.iter().map(|w| w * w).sum::<f32>().sqrt();
                    assert!((length - 1.0).abs() < 1e-5 || length == 0.0, "{name}: {length}");
                }
            }
            Err(error) => {
                let compares = matches!(sae.gate, Gate::Strongest(_) | Gate::Groups(_));
                assert!(compares && config.decoder == Decoder::Free, "{name}: {error}");
            }
        }
    }
}

#[test]
fn settings_that_contradict_themselves_are_named() {
    let name = |config: Config| match config.check() {
        Err(Error::Setting { name, .. }) => name,
        other => panic!("{other:?}: {config:?}"),
    };
    let topk = || base(Variant::TopK);
    let relu = |sparsity| base(Variant::ReLU(sparsity));
    let switch = |experts| base(Variant::Switch(Switch { experts, balance: 1.0 }));
    let l1 = cost(1.0, Cost::Power(1.0));
    for (want, config) in [
        ("k", Config { k: N + 1, ..topk() }),
        ("k", Config { k: 5, ..base(Variant::GroupMax) }),
        ("variant.experts", Config { revive: None, ..switch(5) }),
        ("variant.experts", Config { revive: None, ..switch(16) }),
        ("variant.switch", Config { revive: None, ..base(Variant::Switch(Switch { experts: 4, balance: -1.0 })) }),
        ("revive", switch(4)),
        ("fraction", Config { fraction: 0.5, ..topk() }),
        ("fraction", Config { fraction: 1.0, ..base(Variant::BatchTopK) }),
        ("falling", Config { falling: Some(Falling { from: 9, steps: 3 }), ..base(Variant::GroupMax) }),
        ("falling.from", Config { falling: Some(Falling { from: 3, steps: 3 }), ..topk() }),
        ("multi", Config { multi: Some(Multi { times: 4, weight: 1.0 }), ..base(Variant::BatchTopK) }),
        ("multi", Config { multi: Some(Multi { times: 13, weight: 1.0 }), ..topk() }),
        ("prefixes", Config { prefixes: vec![6, 4, N], ..topk() }),
        ("prefixes", Config { prefixes: vec![6, N - 1], ..topk() }),
        ("prefixes", Config { prefixes: vec![0, N], ..topk() }),
        ("prefix_weights", Config { prefixes: vec![6, N], prefix_weights: vec![1.0], ..topk() }),
        ("sides", Config { sides: 3, ..topk() }),
        ("centred", Config { transcode: Some(Transcode { skip: false }), ..topk() }),
        ("nudge", Config { nudge: Some(Nudge { weight: 1.0, after: 1000 }), ..topk() }),
        ("variant.weight", relu(Sparsity { weight: f32::NAN, ..l1 })),
        ("variant.cost", relu(cost(1.0, Cost::Power(0.0)))),
        ("variant.cost", relu(cost(1.0, Cost::Count))),
        (
            "variant.anneal",
            relu(Sparsity { anneal: Some(Anneal { to: 0.5, from_step: 0, turns: 3 }), ..cost(1.0, Cost::Tanh(1.0)) }),
        ),
        ("variant.width", base(Variant::JumpReLU(Jump { width: 0.0, ..Jump::default() }))),
        ("rate", Config { rate: -1.0, ..topk() }),
        ("rate", Config { rate: f32::INFINITY, ..topk() }),
        ("fraction", Config { fraction: 0.5, k: N, ..base(Variant::BatchTopK) }),
        ("budgets", Config { budgets: vec![2, 4], ..topk() }),
        ("budgets", Config { budgets: vec![2], ..base(Variant::BatchTopK) }),
        ("ranked_by_length", Config { ranked_by_length: true, ..topk() }),
        ("threshold_decay", Config { threshold_decay: 1.0, ..topk() }),
        ("decoder", Config { decoder: Decoder::Unit, ..transcoder(false) }),
        ("revive.weight", Config { revive: Some(Revive::new(-1.0, 4, 64)), ..topk() }),
        ("beta1, beta2, eps", Config { eps: f32::INFINITY, ..topk() }),
        ("parts", Config { parts: 3, ..topk() }),
        ("normalise", Config { normalise: Normalise::Standard, ..transcoder(false) }),
        ("average", Config { average: Some(f32::NAN), ..topk() }),
        ("rule.beta", Config { rule: Rule::Muon { beta: -0.1 }, ..topk() }),
        ("cosine", Config { cosine: Some(Cosine { cycles: 0, lowest: 0.0 }), ..topk() }),
    ] {
        assert_eq!(name(config), want);
    }
    let (x, y) = rows(12);
    assert!(Trainer::new(transcoder(false), &x, &Device::Host).is_err());
    assert!(Trainer::transcoder(topk(), &x, &y, &Device::Host).is_err());
    assert!(Trainer::transcoder(transcoder(false), &x, &y[D..], &Device::Host).is_err());
    let mut trainer = begin(&transcoder(false));
    assert!(trainer.step(host(x.clone()).view()).is_err() && trainer.steps() == 0);
    assert!(begin(&topk()).step_to(host(x).view(), host(y).view()).is_err());
}
