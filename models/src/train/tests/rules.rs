//! Every rule of a step: it learns, goes on where it stopped, takes the memory that it says, and says what is wrong.
use super::*;
use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};
use std::collections::HashMap;
use std::path::Path;

fn of(rule: Rule, rate: f64, steps: usize) -> Settings {
    Settings { rule, schedule: Schedule::cosine(rate, steps), ..settings(steps) }
}

/// All rules, with rates that suit them.
fn rules(steps: usize) -> [Settings; 3] {
    [
        of(Rule::default(), 1e-2, steps),
        of(Rule::AdamW8(Betas::default()), 1e-2, steps),
        of(Rule::Signum { beta: 0.9 }, 2e-3, steps),
    ]
}

/// Also where the weights have few bits, and steps are taken on their masters.
#[test]
fn every_rule_learns() {
    fn learns<T: Stored>(settings: Settings) -> f64 {
        let what = format!("{:?} {:?}", settings.rule, T::DTYPE);
        let mut trainer = Trainer::<T>::new(model(1), text(400), settings).unwrap();
        let before = trainer.judge(&text(100)).unwrap();
        run(&mut trainer, 150);
        let after = trainer.judge(&text(100)).unwrap();
        assert!(after < 0.6 * before, "{what}: {before} to {after}");
        println!("{what}: {before:.3} to {after:.3}");
        after
    }
    for settings in rules(150) {
        let [all, few] = [learns::<f32>(settings.clone()), learns::<bf16>(settings)];
        assert!((all - few).abs() < 0.15, "{all} and {few}");
    }
}

/// From averages of nothing, averages of 8 bits take the first step of those of 32, and others soon.
#[test]
fn averages_of_8_bits_begin_as_those_of_32() {
    let course = |settings: Settings| {
        let mut trainer = Trainer::<f32>::new(model(1), text(400), settings).unwrap();
        run(&mut trainer, 12);
        trainer.course().iter().map(|now| now.loss).collect::<Vec<_>>()
    };
    let [all, few, signs] = rules(12).map(course);
    assert_eq!(all[0], few[0]);
    assert_relative_eq!(all[1], few[1], max_relative = 1e-5);
    assert_ne!(all[11], few[11]);
    assert_relative_eq!(all[11], few[11], max_relative = 0.02);
    // Steps along signs are others.
    assert!(signs[0] == all[0] && (signs[1] - all[1]).abs() > 1e-4 * all[1]);
}

#[test]
fn every_rule_is_continued() {
    for settings in rules(12) {
        continued::<f32>(&settings);
        continued::<bf16>(&settings);
    }
}

#[test]
fn memory_of_every_rule_is_accounted_for() {
    let all = rules(12).map(|settings| {
        let mut trainer = Trainer::<bf16>::new(model(6), text(300), settings).unwrap();
        run(&mut trainer, 1);
        let sizes: Vec<usize> = trainer.model().parameters().iter().map(|p| p.dims.iter().product()).collect();
        let memory = trainer.memory();
        let moments = memory.0.into_iter().find(|held| held.what == "moments").unwrap();
        (sizes, moments)
    });
    let [(sizes, adamw), (_, adamw8), (_, signum)] = all;
    let count: usize = sizes.iter().sum();
    // A part of fewer weights than a block has a block of its own.
    let blocks: usize = sizes.iter().map(|size| size.div_ceil(256)).sum();
    assert!(sizes.iter().any(|size| *size < 256) && sizes.iter().any(|size| *size > 256));
    assert_eq!([adamw.bytes, adamw8.bytes, signum.bytes], [8 * count, 2 * count + 8 * blocks, 4 * count]);
    let share = adamw8.bytes as f64 / adamw.bytes as f64;
    assert!((0.25..0.27).contains(&share), "{share}");
    assert!(adamw8.why.contains("8 bits") && signum.why.contains("signum"), "{adamw8:?} {signum:?}");
}

#[test]
fn wrong_rules_are_named() {
    let new = |settings| Trainer::<f32>::new(model(7), text(300), settings).map(drop).unwrap_err().to_string();
    let betas = Betas::default();
    for (rule, what) in [
        (Rule::AdamW(Betas { beta1: 1.0, ..betas }), "beta1: is 1, expected at least 0 and less than 1"),
        (Rule::AdamW8(Betas { beta2: -0.5, ..betas }), "beta2: is -0.5"),
        (Rule::AdamW8(Betas { eps: f64::NAN, ..betas }), "eps: is NaN, expected a number of at least 0"),
        (Rule::Signum { beta: 1.5 }, "beta: is 1.5"),
    ] {
        let said = new(of(rule, 1e-3, 2));
        assert!(said.contains(what), "{said}");
    }
    assert!(new(Settings { weight_decay: f64::INFINITY, ..settings(1) }).contains("weight_decay: is inf"));
}

type Tensors = Vec<(String, Dtype, Vec<usize>, Vec<u8>)>;

/// Write a state anew, changed.
fn change(path: &Path, with: impl FnOnce(&mut String, &mut Tensors)) {
    let bytes = std::fs::read(path).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let mut note = header.metadata().as_ref().unwrap()["latens"].clone();
    let all = SafeTensors::deserialize(&bytes).unwrap();
    let mut tensors: Tensors = all
        .iter()
        .map(|(name, view)| (name.to_owned(), view.dtype(), view.shape().to_vec(), view.data().to_vec()))
        .collect();
    with(&mut note, &mut tensors);
    let views =
        tensors.iter().map(|(name, dtype, dims, bytes)| (name, TensorView::new(*dtype, dims.clone(), bytes).unwrap()));
    let note = HashMap::from([("latens".to_owned(), note)]);
    std::fs::write(path, serialize(views, Some(note)).unwrap()).unwrap();
}

/// A state of steps by `settings`.
fn saved(name: &str, settings: &Settings) -> PathBuf {
    let (mut trainer, path) = (Trainer::<f32>::new(model(2), text(300), settings.clone()).unwrap(), scratch(name));
    run(&mut trainer, 5);
    trainer.save_state(&path).unwrap();
    path
}

/// States of before there were several rules, which held AdamW's constants, are continued.
#[test]
fn states_without_a_rule_are_those_of_adamw() {
    let settings = of(Rule::AdamW(Betas { eps: 3e-7, ..Betas::default() }), 1e-2, 12);
    let path = saved("before", &settings);
    let now = std::fs::read(&path).unwrap();
    change(&path, |note, _| {
        let before = note.replace(
            r#""rule":{"adamw":{"beta1":0.9,"beta2":0.95,"eps":3e-7}}"#,
            r#""betas":{"beta1":0.9,"beta2":0.95,"eps":3e-7}"#,
        );
        assert_ne!(before, *note);
        *note = before;
    });
    let mut trainer = Trainer::<f32>::resume(&path, model(77), text(300), settings.clone()).unwrap();
    assert!(weights(&mut trainer) == now);
    change(&path, |note, _| *note = note.replace(r#""betas":"#, r#""rule":{"lion":"#).replace("3e-7}", "3e-7}}"));
    let said = Trainer::<f32>::resume(&path, model(77), text(300), settings).map(drop).unwrap_err().to_string();
    assert!(said.contains("unknown field `lion`, expected one of `adamw`, `adamw8`, `signum`"), "{said}");
    std::fs::remove_file(path).unwrap();
}

#[test]
fn states_that_lie_are_errors() {
    let [adamw, adamw8, signum] = rules(12);
    let path = saved("lies", &adamw8);
    let good = std::fs::read(&path).unwrap();
    let resume = |settings: &Settings| Trainer::<f32>::resume(&path, model(2), text(300), settings.clone()).map(drop);
    resume(&adamw8).unwrap();
    for other in [&adamw, &signum, &of(Rule::AdamW8(Betas { beta1: 0.8, ..Betas::default() }), 1e-2, 12)] {
        let said = resume(other).unwrap_err().to_string();
        assert!(said.contains("settings was"), "{said}");
    }
    let wrong = |change_of: &dyn Fn(&mut Tensors), what: &str| {
        std::fs::write(&path, &good).unwrap();
        change(&path, |_, tensors| change_of(tensors));
        let said = resume(&adamw8).unwrap_err().to_string();
        assert!(said.contains(what), "{what}: {said}");
    };
    let place = |tensors: &Tensors, end: &str| tensors.iter().position(|(name, ..)| name.ends_with(end)).unwrap();
    let scale = |at: usize, to: f32| {
        move |tensors: &mut Tensors| {
            let of = place(tensors, ".scales");
            tensors[of].3[4 * at..][..4].copy_from_slice(&to.to_le_bytes());
        }
    };
    wrong(&scale(0, f32::NAN), ".scales holds NaN");
    wrong(&scale(1, -1.0), ".scales holds -1");
    wrong(&|tensors| drop(tensors.remove(place(tensors, ".scales"))), "there is no tensor");
    wrong(&|tensors| drop(tensors.remove(place(tensors, ".square"))), "there is no tensor");
    wrong(
        &|tensors| {
            let of = place(tensors, ".mean");
            let (_, dtype, _, bytes) = &mut tensors[of];
            (*dtype, *bytes) = (Dtype::F32, vec![0; 4 * bytes.len()]);
        },
        "is of type F32, expected U8",
    );
    wrong(&|tensors| tensors.push(("more".into(), Dtype::U8, vec![1], vec![0])), "tensor more is unknown");
    std::fs::write(&path, &good).unwrap();
    resume(&adamw8).unwrap();
    std::fs::remove_file(path).unwrap();
}
