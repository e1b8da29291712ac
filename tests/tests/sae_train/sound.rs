//! Training that would not be sound: rows that are no numbers, states that lie, states of a run on other data.
use latens::io::Error;
use latens::lm::{self, Decoder, Point, Site};
use latens::sae::{Config, Contexts, Format, Origin, Revive, Splice, Trainer, Variant, spliced_loss};
use latens::{Device, Philox, Tensor};
use latens_tests::files::folder;
use latens_tests::{devices, place};
use std::fs;
use std::path::Path;

const D: usize = 8;
const BATCH: usize = 16;

fn numbers(seed: u64) -> Vec<f32> {
    let mut draw = Philox::new(seed);
    (0..BATCH * D).map(|_| draw.uniform() - 0.5).collect()
}

fn config() -> Config {
    let revive = Some(Revive::new(0.1, 4, 64));
    Config { batch: BATCH, revive, data: "one text".into(), ..Config::new(D, 24, 3, 40) }
}

fn trainer(config: Config, device: &Device, steps: usize) -> Trainer {
    let mut trainer = Trainer::new(config, &numbers(1), device).unwrap();
    (0..steps).for_each(|step| feed(&mut trainer, numbers(2 + step as u64)).unwrap());
    trainer
}

fn feed(trainer: &mut Trainer, rows: Vec<f32>) -> Result<(), Error> {
    let device = trainer.sae().device();
    trainer.step(Tensor::from_vec(rows, [BATCH, D], &device).unwrap().view())
}

fn with(bad: f32) -> Vec<f32> {
    let mut rows = numbers(9);
    rows[3 * D + 5] = bad;
    rows
}

/// On the host the very step is refused, with its row and number, and nothing was learned from it.
#[test]
fn rows_that_are_no_numbers_are_refused() {
    let folder = folder(env!("CARGO_TARGET_TMPDIR"), "sound-host");
    let saved = |trainer: &mut Trainer| {
        trainer.save(&folder, Format::SaeLens, &Origin::default()).unwrap();
        fs::read(folder.join("sae_weights.safetensors")).unwrap()
    };
    for variant in [Variant::TopK, Variant::BatchTopK] {
        for (bad, text) in [(f32::NAN, "NaN"), (f32::INFINITY, "inf"), (f32::NEG_INFINITY, "-inf")] {
            for steps in [0, 5, 16] {
                let mut trainer = trainer(Config { variant, ..config() }, &Device::Host, steps);
                let before = saved(&mut trainer);
                let error = feed(&mut trainer, with(bad)).unwrap_err();
                assert_eq!(error.to_string(), format!("step {}: row 3 of x holds {text}", steps + 1));
                assert!(matches!(error, Error::Number { .. }) && trainer.steps() == steps);
                assert!(saved(&mut trainer) == before, "weights have moved");
                feed(&mut trainer, numbers(50)).unwrap();
            }
        }
    }
    let mut diverged = trainer(config(), &Device::Host, 2);
    let error = feed(&mut diverged, vec![1e30; BATCH * D]).unwrap_err().to_string();
    assert!(error.contains("step 3: the squared error of row 0 is inf"), "{error}");
}

/// A GPU looks every sixteenth step, and nothing is kept of what it did not look at.
#[test]
fn a_gpu_refuses_them_at_the_next_look() {
    let folder = folder(env!("CARGO_TARGET_TMPDIR"), "sound-gpu");
    let state = folder.join("state.safetensors");
    for device in devices().into_iter().filter(|device| !device.is_host()) {
        for bad in [f32::NAN, f32::INFINITY] {
            let at_once = feed(&mut trainer(config(), &device, 0), with(bad)).unwrap_err();
            assert!(at_once.to_string().starts_with("step 1: row 3 of x holds "), "{} {at_once}", place(&device));
            let mut trainer = trainer(config(), &device, 3);
            feed(&mut trainer, with(bad)).unwrap();
            let number = |error: Error| matches!(error, Error::Number { .. });
            assert!(number(trainer.progress().unwrap_err()));
            assert!(number(trainer.save_state(&state).unwrap_err()) && !state.exists());
            assert!(number(trainer.save(&folder, Format::SaeLens, &Origin::default()).unwrap_err()));
            assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
            let next = (0..16).find_map(|step| feed(&mut trainer, numbers(step)).err());
            assert!(next.is_some_and(number) && trainer.steps() == 16);
            assert!(trainer.finish().is_err_and(number));
        }
    }
}

#[test]
fn a_state_of_other_data_or_settings_is_not_resumed() {
    let folder = folder(env!("CARGO_TARGET_TMPDIR"), "sound-resume");
    let state = folder.join("state.safetensors");
    let contexts = |last| Contexts { ids: vec![1, 2, 3, last], length: 4 };
    let on = |last| Config { data: format!("4 tokens of a.txt ({})", contexts(last).sha256()), ..config() };
    trainer(on(4), &Device::Host, 2).save_state(&state).unwrap();
    let resume = |config: &Config| match Trainer::resume(&state, config, &Device::Host) {
        Ok(_) => String::new(),
        Err(error) => error.to_string(),
    };
    assert_eq!(resume(&on(4)), "");
    let said = resume(&on(5));
    assert!(said.contains("state.safetensors") && said.contains("other data"), "{said}");
    let said = resume(&Config { k: 2, ..on(4) });
    assert!(said.contains("other settings"), "{said}");
    assert_ne!(contexts(4).sha256(), Contexts { length: 2, ..contexts(4) }.sha256());
}

/// A loss over no token is none.
#[test]
fn contexts_of_which_no_token_has_a_next_one() {
    let model = Decoder::random(lm::Config::llama(1, 16, 2, 50, 16), 0, &Device::Host).unwrap();
    let loss = |length: usize| {
        let contexts = Contexts { ids: vec![1; 2 * length], length };
        spliced_loss(&model, Site { layer: 0, point: Point::Residual }, &contexts, Splice::Zero, |_| ())
    };
    for length in 0..4 {
        let said = loss(length).unwrap_err().to_string();
        assert!(said.contains("length") && said.contains(&format!("contexts of {length} tokens")), "{said}");
    }
    assert!(loss(4).unwrap() > 0.0);
}

/// A state with its note changed by hand.
fn change(path: &Path, good: &[u8], note: impl FnOnce(&mut serde_json::Value)) {
    let length = u64::from_le_bytes(good[..8].try_into().unwrap()) as usize;
    let mut header: serde_json::Value = serde_json::from_slice(&good[8..8 + length]).unwrap();
    let mut inner = serde_json::from_str(header["__metadata__"]["latens"].as_str().unwrap()).unwrap();
    note(&mut inner);
    header["__metadata__"]["latens"] = inner.to_string().into();
    let header = header.to_string();
    let file = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &good[8 + length..]].concat();
    fs::write(path, file).unwrap();
}

#[test]
fn states_that_lie_are_refused() {
    let folder = folder(env!("CARGO_TARGET_TMPDIR"), "sound-lies");
    let path = folder.join("state.safetensors");
    let mut honest = trainer(config(), &Device::Host, 20);
    honest.mark().unwrap();
    honest.save_state(&path).unwrap();
    let good = fs::read(&path).unwrap();
    change(&path, &good, |_| ());
    Trainer::load_state(&path, &Device::Host).unwrap();
    let cases: [(&str, serde_json::Value, &str); 19] = [
        ("/facts/step", u64::MAX.into(), "step is"),
        ("/facts/step", (u64::MAX - 7).into(), "step is"),
        ("/facts/step", 21.into(), "tokens is"),
        ("/facts/tokens", u64::MAX.into(), "tokens is"),
        ("/facts/variance", 0.0.into(), "variance"),
        ("/facts/variance", 1e300.into(), "number out of range"),
        ("/facts/scale", (-1.0).into(), "scale"),
        ("/facts/left", 0.0.into(), "left"),
        ("/facts/threshold", (-1.0).into(), "threshold"),
        ("/facts/dead", 25.into(), "dead is 25"),
        ("/facts/dead", u64::MAX.into(), "dead is"),
        ("/dead", vec![0; 23].into(), "counts 24 and 23"),
        ("/dead", vec![25; 24].into(), "dead is no"),
        ("/since", vec![u32::MAX; 24].into(), "since is"),
        ("/course/0/step", 21.into(), "course"),
        ("/config/batch", (1_u64 << 60).into(), "batch"),
        ("/config/latents", (1_u64 << 30).into(), "expected 1073741824"),
        ("/config/k", 0.into(), "k"),
        ("/version", 1.into(), "version 1"),
    ];
    for (place, value, named) in cases {
        change(&path, &good, |note| *note.pointer_mut(place).unwrap() = value.clone());
        let Err(error) = Trainer::load_state(&path, &Device::Host) else { panic!("{place} {value} was taken") };
        assert!(error.to_string().contains(named), "{place} {value}: {error}");
    }
    // The last number of the file belongs to a mean of squares.
    for (bytes, named) in [(f32::NAN.to_le_bytes(), "holds NaN"), ((-1.0_f32).to_le_bytes(), "holds -1")] {
        let file = [&good[..good.len() - 4], &bytes].concat();
        fs::write(&path, file).unwrap();
        let Err(error) = Trainer::load_state(&path, &Device::Host) else { panic!("{named} was taken") };
        assert!(error.to_string().contains(named), "{error}");
    }
}
