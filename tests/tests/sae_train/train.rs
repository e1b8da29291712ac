//! Training: it learns, it repeats itself, it resumes bit by bit, and a GPU does as the host does.
use latens::io::Error;
use latens::sae::{Buffer, Center, Config, Format, Gate, Origin, Revive, Trainer, Variant};
use latens::{Device, Philox, Tensor};
use latens_tests::{devices, place, small};
use std::{fs, path::PathBuf};

const D: usize = 16;
const ROWS: usize = 512;

/// Rows that are sums of three of 24 directions, around a centre far from 0.
fn rows() -> Vec<f32> {
    let mut draw = Philox::new(11);
    let mut number = || draw.uniform() * 2.0 - 1.0;
    let directions: Vec<f32> = (0..24 * D).map(|_| number()).collect();
    let center: Vec<f32> = (0..D).map(|_| 5.0 * number()).collect();
    let mut draw = Philox::new(12);
    let mut all = Vec::new();
    for _ in 0..ROWS {
        let mut row = center.clone();
        for _ in 0..3 {
            let (which, size) = (draw.below(24) as usize, 1.0 + draw.uniform());
            row.iter_mut().zip(&directions[which * D..]).for_each(|(x, w)| *x += size * w);
        }
        all.extend(row);
    }
    all
}

fn config(steps: usize) -> Config {
    let revive = Some(Revive::new(1.0 / 32.0, 8, 512));
    Config { batch: 64, rate: 5e-3, revive, seed: 3, ..Config::new(D, 48, 4, steps) }
}

/// Train from wherever `trainer` stands to step `to`.
fn run(trainer: &mut Trainer, to: usize, device: &Device) {
    let (all, config) = (rows(), trainer.config().clone());
    let at = trainer.steps() as u64;
    let mut buffer = Buffer::new(ROWS, D, 200, config.batch, config.seed, at, device).unwrap();
    while trainer.steps() < to {
        let batch = buffer.next(|start, into| {
            let mut part = all[start * D..ROWS.min(start + 200) * D].to_vec();
            part.resize(200 * D, 0.0);
            Ok(into.write(&part)?)
        });
        trainer.step(batch.unwrap()).unwrap();
    }
}

fn trained(config: Config, device: &Device) -> Trainer {
    let steps = config.steps;
    let mut trainer = Trainer::new(config, &rows(), device).unwrap();
    run(&mut trainer, steps, device);
    trainer
}

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("latens-train-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn bytes(trainer: Trainer, folder: &Folder) -> Vec<u8> {
    trainer.finish().unwrap().save(&folder.0, Format::SaeLens, &Origin::default()).unwrap();
    fs::read(folder.0.join("sae_weights.safetensors")).unwrap()
}

#[test]
fn it_learns() {
    for (variant, center) in [(Variant::TopK, Center::Mean), (Variant::BatchTopK, Center::Median)] {
        let trainer = trained(Config { variant, center, clip: Some(1.0), ..config(600) }, &Device::Host);
        let progress = trainer.progress().unwrap();
        assert!(progress.fvu < 0.1 && progress.l0 <= 4.0, "{variant:?} {progress:?}");
        let sae = trainer.finish().unwrap();
        let all = Tensor::from_vec(rows(), [ROWS, D], &Device::Host).unwrap();
        let code = sae.encode(all.view()).unwrap();
        let active = code.values.to_vec().unwrap().iter().filter(|&&v| v > 0.0).count() as f32 / ROWS as f32;
        match (variant, sae.gate) {
            (Variant::TopK, Gate::Strongest(4)) => assert!(active <= 4.0),
            // The threshold lets through about as many as training did.
            (Variant::BatchTopK, Gate::Above { threshold, .. }) => {
                assert!(threshold > 0.0 && (3.0..5.0).contains(&active), "{threshold} {active}");
            }
            (_, gate) => panic!("{gate:?}"),
        }
        let unit = |row: &[f32]| (row.iter().map(|w| w * w).sum::<f32>() - 1.0).abs() < 1e-5;
        assert!(sae.w_dec.to_vec().unwrap().chunks(D).all(unit));
    }
}

/// The auxiliary loss reaches latents that do not fire: without its weight they stay where they were.
#[test]
fn dead_latents_move() {
    let with = |weight| {
        let revive = Some(Revive::new(weight, 8, 64));
        let trainer = trained(Config { revive, ..config(300) }, &Device::Host);
        (trainer.progress().unwrap(), trainer.finish().unwrap().w_enc.to_vec().unwrap())
    };
    let ((_, moved), (progress, still)) = (with(1.0), with(0.0));
    assert!(progress.dead > 0.0 && moved != still && moved.iter().all(|w| w.is_finite()));
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let folder = Folder::new("same");
    for variant in [Variant::TopK, Variant::BatchTopK] {
        let once = || bytes(trained(Config { variant, ..config(40) }, &Device::Host), &folder);
        assert!(once() == once());
        let other = bytes(trained(Config { variant, seed: 4, ..config(40) }, &Device::Host), &folder);
        assert!(once() != other);
    }
}

/// Interrupted anywhere, on looks and between them, on fillings and between them.
#[test]
fn resumed_training_gives_the_same_bytes() {
    let folder = Folder::new("resume");
    let state = folder.0.join("state.safetensors");
    for variant in [Variant::TopK, Variant::BatchTopK] {
        let config = Config { variant, ..config(40) };
        let whole = bytes(trained(config.clone(), &Device::Host), &folder);
        for at in [0, 1, 15, 16, 17, 33, 39, 40] {
            let mut first = Trainer::new(config.clone(), &rows(), &Device::Host).unwrap();
            run(&mut first, at, &Device::Host);
            first.mark().unwrap();
            first.save_state(&state).unwrap();
            let course = first.course().to_vec();
            drop(first);
            let mut second = Trainer::load_state(&state, &Device::Host).unwrap();
            assert_eq!((second.steps(), second.config(), second.course()), (at, &config, &course[..]));
            run(&mut second, 40, &Device::Host);
            assert!(bytes(second, &folder) == whole, "{variant:?} {at}");
        }
    }
    fs::write(&state, b"not a state").unwrap();
    let Err(error) = Trainer::load_state(&state, &Device::Host) else { panic!("was taken") };
    assert!(error.to_string().contains("state.safetensors"), "{error}");
}

#[test]
fn a_gpu_does_as_the_host() {
    let steps = if small() { 3 } else { 20 };
    for variant in [Variant::TopK, Variant::BatchTopK] {
        let config = Config { variant, ..config(steps) };
        let host = trained(config.clone(), &Device::Host).finish().unwrap();
        for device in devices().into_iter().filter(|device| !device.is_host()) {
            let sae = trained(config.clone(), &device).finish().unwrap();
            for (ours, theirs) in [(&sae.w_dec, &host.w_dec), (&sae.w_enc, &host.w_enc)] {
                let (ours, theirs) = (ours.to_vec().unwrap(), theirs.to_vec().unwrap());
                let apart = ours.iter().zip(&theirs).map(|(a, b)| (a - b).abs()).max_by(f32::total_cmp).unwrap_or(0.0);
                assert!(apart < 1e-3, "{} {variant:?} {apart}", place(&device));
            }
        }
    }
}

#[test]
fn wrong_calls_are_errors() {
    let name = |result: Result<Trainer, Error>| match result {
        Err(Error::Setting { name, .. }) => name,
        _ => "",
    };
    let device = Device::Host;
    assert_eq!(name(Trainer::new(Config { k: 49, ..config(5) }, &rows(), &device)), "k");
    assert_eq!(name(Trainer::new(Config { batch: 0, ..config(5) }, &rows(), &device)), "batch");
    assert_eq!(name(Trainer::new(config(5), &[1.0; D], &device)), "sample");
    assert_eq!(name(Trainer::new(config(5), &[f32::NAN; 2 * D], &device)), "sample");
    assert_eq!(name(Trainer::new(config(5), &[1.0; D + 1], &device)), "sample");
    let mut trainer = Trainer::new(config(5), &rows(), &device).unwrap();
    let short = Tensor::<f32, 2>::zeros([3, D], &device).unwrap();
    assert!(trainer.step(short.view()).is_err());
}
