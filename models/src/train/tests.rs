mod rules;

use super::*;
use crate::lm::{Config, Decoder, Part};
use crate::{Device, bf16};
use approx::assert_relative_eq;
use std::path::PathBuf;

/// A text with a rule to learn.
fn text(count: usize) -> Vec<u32> {
    (0..count as u32).map(|at| (at * at / 3 + at) % 11).collect()
}

fn model<T: crate::Float>(seed: u64) -> Decoder<T> {
    Decoder::random(Config::llama(2, 16, 2, 11, 12), seed, &Device::Host).unwrap()
}

fn settings(steps: usize) -> Settings {
    Settings { batch: 4, ..Settings::new(9, Schedule::cosine(1e-2, steps)) }
}

fn weights<T: Stored>(trainer: &mut Trainer<T>) -> Vec<u8> {
    let path = scratch("weights");
    trainer.save_state(&path).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    std::fs::remove_file(path).unwrap();
    bytes
}

fn scratch(name: &str) -> PathBuf {
    let thread = format!("{:?}", std::thread::current().id());
    let thread: String = thread.chars().filter(char::is_ascii_digit).collect();
    std::env::temp_dir().join(format!("latens-train-{name}-{}-{thread}.safetensors", std::process::id()))
}

fn run<T: Stored>(trainer: &mut Trainer<T>, until: usize) {
    while trainer.steps() < until {
        trainer.step().unwrap();
    }
}

#[test]
fn every_token_is_predicted_once_in_a_round() {
    let (ids, context) = ((0..97).collect::<Vec<u32>>(), 5);
    let mut order = Order::new(ids, context, 3).unwrap();
    let count = order.round();
    let mut orders = Vec::new();
    for round in 0..2 {
        let batch = order.batch((round * count) as u64, count, &Device::Host).unwrap().to_vec().unwrap();
        // The token after each of a context but its last.
        let mut predicted: Vec<u32> = batch.chunks(context).flat_map(|context| context[1..].to_vec()).collect();
        assert!(batch.chunks(context).all(|context| context.windows(2).all(|pair| pair[1] == pair[0] + 1)));
        predicted.sort_unstable();
        assert!(predicted.windows(2).all(|pair| pair[1] == pair[0] + 1), "each once, and none between is missing");
        orders.push(batch);
    }
    assert_ne!(orders[0], orders[1], "a round has an order of its own");
    let again = Order::new((0..97).collect(), context, 3).unwrap().batch(count as u64 + 7, 2, &Device::Host).unwrap();
    assert_eq!(again.to_vec().unwrap(), orders[1][7 * context..9 * context], "whatever was taken before");
}

#[test]
fn it_learns() {
    let mut trainer = Trainer::<f32>::new(model(1), text(400), settings(150)).unwrap();
    let before = trainer.judge(&text(100)).unwrap();
    assert_relative_eq!(before, 11_f64.ln(), max_relative = 0.05);
    run(&mut trainer, 150);
    assert!(trainer.is_done());
    let after = trainer.judge(&text(100)).unwrap();
    assert!(after < 0.6 * before, "{before} to {after}");
}

fn continued<T: Stored>(settings: &Settings) {
    let make = || Trainer::<T>::new(model(2), text(300), settings.clone()).unwrap();
    let (mut whole, mut part, path) = (make(), make(), scratch("state"));
    run(&mut whole, 12);
    run(&mut part, 5);
    part.save_state(&path).unwrap();
    // Weights of another seed: all of them come from the file.
    let mut rest = Trainer::<T>::resume(&path, model(77), text(300), settings.clone()).unwrap();
    assert_eq!(rest.steps(), 5);
    run(&mut rest, 12);
    assert!(weights(&mut whole) == weights(&mut rest));
    assert!(weights(&mut part) != weights(&mut rest));
    std::fs::remove_file(path).unwrap();
}

/// Weights of 16 bits learn nearly as those of 32: steps far below their precision are not lost.
#[test]
fn masters_keep_small_steps() {
    let mut exact = Trainer::<f32>::new(model(1), text(400), settings(100)).unwrap();
    let mut few = Trainer::<bf16>::new(model(1), text(400), settings(100)).unwrap();
    run(&mut exact, 100);
    run(&mut few, 100);
    let [exact, few] = [exact.judge(&text(100)), few.judge(&text(100))].map(Result::unwrap);
    assert!((exact - few).abs() < 0.1, "{exact} and {few}");
}

#[test]
fn passes_and_running_again_change_nothing_but_rounding() {
    let of = |settings: Settings| {
        let mut trainer = Trainer::<f32>::new(model(3), text(300), settings).unwrap();
        run(&mut trainer, 3);
        (trainer.course().to_vec(), weights(&mut trainer))
    };
    let (one, bytes) = of(settings(12));
    let (parts, _) = of(Settings { passes: 4, ..settings(12) });
    for (one, parts) in one.iter().zip(&parts) {
        assert_relative_eq!(one.loss, parts.loss, max_relative = 1e-4);
        assert_relative_eq!(one.length, parts.length, max_relative = 1e-3);
    }
    let (again, _) = of(Settings { again: true, ..settings(12) });
    assert_eq!(one, again, "the same operations, later");
    assert!(bytes != of(Settings { seed: 1, ..settings(12) }).1);
}

#[test]
fn groups_of_rate_zero_stay() {
    let before = model::<f32>(4);
    let frozen = |part: &Part| matches!(part, Part::Embedding | Part::MlpInput(0));
    let mut trainer = Trainer::<f32>::new(model(4), text(300), settings(12))
        .unwrap()
        .with_groups(move |part, _| Group { rate: if frozen(part) { 0.0 } else { 1.0 }, weight_decay: 0.0 });
    run(&mut trainer, 2);
    let after = trainer.into_model();
    for (before, after) in before.parameters().iter().zip(after.parameters()) {
        let numbers = |values: &crate::lm::Values<'_, f32>| {
            let (crate::lm::Values::Elements(view) | crate::lm::Values::Sums(view)) = values;
            let mut copy = crate::Tensor::empty(view.dims(), &Device::Host).unwrap();
            crate::copy_into(*view, copy.view_mut()).unwrap();
            copy.to_vec().unwrap()
        };
        assert_eq!(numbers(&before.values) == numbers(&after.values), frozen(&before.part), "{:?}", before.part);
    }
}

#[test]
fn numbers_that_are_none_stop_it() {
    let mut broken = model::<f32>(5);
    for parameter in broken.parameters_mut() {
        if parameter.part == Part::MlpOutput(1) {
            crate::scale_into(
                f32::NAN,
                match parameter.values {
                    crate::lm::ValuesMut::Elements(view) | crate::lm::ValuesMut::Sums(view) => view,
                },
            )
            .unwrap();
        }
    }
    let mut trainer = Trainer::<f32>::new(broken, text(300), settings(12)).unwrap();
    let error = trainer.step().unwrap_err().to_string();
    assert!(error.contains("the loss"), "{error}");
    assert_eq!(trainer.steps(), 0);
}

#[test]
fn memory_is_accounted_for() {
    let mut trainer = Trainer::<bf16>::new(model(6), text(300), settings(12)).unwrap();
    run(&mut trainer, 1);
    let memory = trainer.memory();
    let of = |what| memory.0.iter().find(|held| held.what == what).unwrap().bytes;
    let count: usize = trainer.model().parameters().iter().map(|p| p.dims.iter().product::<usize>()).sum();
    // Norms are kept in f32: they have no master.
    let norms = 5 * 16;
    assert_eq!(of("weights"), 2 * (count - norms) + 4 * norms);
    assert_eq!([of("masters"), of("moments"), of("gradients")], [4 * (count - norms), 8 * count, 4 * count]);
    assert!(of("activations") > 0 && memory.to_string().contains("moments"));
    let mut less = Trainer::<bf16>::new(model(6), text(300), Settings { again: true, ..settings(12) }).unwrap();
    run(&mut less, 1);
    let kept = less.memory().0.iter().find(|held| held.what == "activations").unwrap().bytes;
    assert!(kept < of("activations") / 2);
}

#[test]
fn wrong_settings_and_states_are_named() {
    let new = |ids, settings| Trainer::<f32>::new(model(7), ids, settings).map(drop).unwrap_err().to_string();
    assert!(new(text(300), Settings { passes: 3, ..settings(1) }).contains("passes"));
    assert!(new(text(300), Settings { context: 13, ..settings(1) }).contains("13 tokens, but the model takes 12"));
    assert!(new(text(300), Settings { context: 1, ..settings(1) }).contains("context"));
    assert!(new(text(300), Settings { clip: Some(0.0), ..settings(1) }).contains("clip"));
    assert!(new(vec![11; 300], settings(1)).contains("11 is no token"));
    assert!(new(text(10), settings(1)).contains("too few"));

    let path = scratch("wrong");
    let mut trainer = Trainer::<f32>::new(model(7), text(300), settings(9)).unwrap();
    run(&mut trainer, 2);
    trainer.save_state(&path).unwrap();
    let resume =
        |ids, settings| Trainer::<f32>::resume(&path, model(7), ids, settings).map(drop).unwrap_err().to_string();
    assert!(resume(text(301), settings(9)).contains("the text"));
    assert!(resume(text(300), Settings { seed: 8, ..settings(9) }).contains("settings"));
    let error = Trainer::<bf16>::resume(&path, model(7), text(300), settings(9)).map(drop).unwrap_err().to_string();
    assert!(error.contains("the type of weights"), "{error}");
    let other = Decoder::random(Config::llama(2, 24, 2, 11, 12), 0, &Device::Host).unwrap();
    assert!(Trainer::<f32>::resume(&path, other, text(300), settings(9)).is_err());
    let bytes = std::fs::read(&path).unwrap();
    for length in [0, 7, bytes.len() / 2, bytes.len() - 1] {
        std::fs::write(&path, &bytes[..length]).unwrap();
        assert!(Trainer::<f32>::resume(&path, model(7), text(300), settings(9)).is_err());
    }
    std::fs::remove_file(path).unwrap();
}
