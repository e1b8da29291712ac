//! Every kind of autoencoder: it learns, it repeats itself with any number of threads, it resumes bit by bit, its checkpoint is it,
//! and wrong input leaves it as it was.
use latens::io::Error;
use latens::sae::{
    Anneal, Config, Cost, Falling, Format, Jump, Multi, Nudge, Origin, Sae, Sparsity, Switch, Trainer, Transcode,
    Variant,
};
use latens::{Device, Tensor};
use latens_tests::kinds::{D, N, all, base, cost, rows, transcoder};
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

#[test]
fn the_same_bytes_with_any_number_of_threads_and_after_a_pause() {
    const STEPS: usize = 40;
    let folder = Folder::new("same");
    for (name, config, ..) in all() {
        let config = Config { steps: STEPS, ..config };
        let with = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let mut trainer = begin(&config);
                train(&mut trainer, STEPS);
                state(&trainer, &folder)
            })
        };
        let whole = with(1);
        assert!(whole == with(2), "{name} with two threads");
        let mut first = begin(&config);
        train(&mut first, STEPS / 2 + 1);
        state(&first, &folder);
        let path = folder.0.join("state.safetensors");
        let mut second = Trainer::resume(&path, &config, &Device::Host).unwrap();
        train(&mut second, STEPS);
        assert!(whole == state(&second, &folder), "{name} after a pause");
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
        let (mut x, y) = rows(12);
        x[5 * D + 1] = f32::NAN;
        let (x, y) = (host(x), host(y));
        let done = match config.transcode {
            Some(_) => trainer.step_to(x.view(), y.view()),
            None => trainer.step(x.view()),
        };
        match done {
            Err(Error::Number { step, what }) => {
                assert!(step == 21 && what.contains("row 5"), "{name}: step {step}, {what}");
            }
            other => panic!("{name}: {other:?}"),
        }
        let [after, before] = [state(&trainer, &folder), before].map(|bytes| weights(&bytes));
        assert!(after == before, "{name}");
    }
}

/// What follows the header, which has counters.
fn weights(state: &[u8]) -> Vec<u8> {
    let header = u64::from_le_bytes(state[..8].try_into().unwrap()) as usize;
    state[8 + header..].to_vec()
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
        ("part", Config { part: 0.5, ..topk() }),
        ("part", Config { part: 1.0, ..base(Variant::BatchTopK) }),
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
