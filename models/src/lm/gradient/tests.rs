//! Central differences in `f64`, of every part of every family.
use super::*;
use crate::lm::{Positions, Values, ValuesMut};
use crate::tape::Rotary;
use crate::{Act, Device, Pairing, Philox};

/// Small models of each family, and one of each choice that no other has.
fn configs() -> Vec<(&'static str, Config)> {
    let turned = |pairing, dim| Positions::Rotary(Rotary { base: 100.0, pairing, dim });
    let llama = Config { hidden: 5, kv_heads: 1, head_dim: 4, ..Config::llama(2, 6, 2, 11, 8) };
    let llama = Config { positions: turned(Pairing::Interleaved, 4), ..llama };
    let gpt2 = Config { hidden: 7, ..Config::gpt2(2, 6, 2, 11, 8) };
    let neox = Config { hidden: 7, positions: turned(Pairing::Halves, 2), ..Config::neox(2, 8, 2, 11, 8) };
    vec![
        ("llama", llama.clone()),
        ("llama untied, with biases", Config { tied: false, attention_bias: true, mlp_bias: true, ..llama }),
        ("gpt2", gpt2.clone()),
        ("gpt2 untied", Config { tied: false, mlp: Mlp::Plain(Act::Gelu), ..gpt2 }),
        ("neox", neox.clone()),
        ("neox tied, one half after the other", Config { tied: true, parallel: false, attention_bias: false, ..neox }),
    ]
}

/// A model whose every part matters: nothing is 0, and logits are not small.
fn model(config: &Config) -> Decoder<f64> {
    let mut model = Decoder::random(config.clone(), 0, &Device::Host).unwrap();
    let mut draw = Philox::new(7);
    for parameter in model.parameters_mut() {
        let centre = if parameter.part.is_vector() && !parameter.part.is_bias() { 1.0 } else { 0.0 };
        let (ValuesMut::Elements(mut values) | ValuesMut::Sums(mut values)) = parameter.values;
        let numbers = (0..values.layout().len()).map(|_| centre + f64::from(draw.uniform()) - 0.5).collect();
        let numbers = Tensor::from_vec(numbers, values.dims(), &Device::Host).unwrap();
        crate::copy_into(numbers.view(), values.reborrow()).unwrap();
    }
    model
}

/// Add to one entry of a part.
fn nudge(model: &mut Decoder<f64>, part: Part, at: usize, by: f64) {
    let found = model.parameters_mut().into_iter().find(|parameter| parameter.part == part).unwrap();
    let (ValuesMut::Elements(values) | ValuesMut::Sums(values)) = found.values;
    let dims = values.dims();
    let mut change = vec![0.0; dims[0] * dims[1]];
    change[at] = by;
    let change = Tensor::from_vec(change, dims, &Device::Host).unwrap();
    crate::add_into(change.view(), values).unwrap();
}

/// What is added on the way: to entry 13 of the residual after the first layer, and to entry 5 of a prefix.
#[derive(Clone, Copy, Default)]
struct By {
    residual: f64,
    attention: f64,
    prefix: f64,
}

/// The mean surprise of two contexts behind prefixes of two rows each, and the tape at its beginning, with the prefix, what the
/// attention of the second layer adds if nothing runs again, and the residual after the first layer.
fn run(model: &Decoder<f64>, again: bool, by: By) -> (f64, Tape<'_, f64>, [Option<Var>; 3]) {
    let ids = Tensor::from_vec(vec![3, 1, 10, 0, 6, 6, 2, 9, 1, 1], [2, 5], &Device::Host).unwrap();
    let (mut tape, mut residual, mut attention) = (Tape::new(&Device::Host), None, None);
    fn change(tape: &mut Tape<'_, f64>, x: Var, at: usize, by: f64) -> Result<Var> {
        tape.watch(x);
        // What is added to one entry moves the loss as the gradient says.
        let dims = tape.dims(x);
        let mut all = vec![0.0; dims[0] * dims[1]];
        all[at] = by;
        let all = tape.leaf(Tensor::from_vec(all, dims, &Device::Host)?, false);
        tape.add(x, all)
    }
    let mut recording = Recording::new().train(|_| true).at(Site::residual(0), |tape, x| {
        residual = Some(x);
        change(tape, x, 13, by.residual)
    });
    if again {
        recording = recording.again();
    } else {
        recording = recording.at(Site::attention(1), |tape, x| {
            attention = Some(x);
            change(tape, x, 40, by.attention)
        });
    }
    let dim = model.config().dim;
    let mut prefix: Vec<f64> = (0..4 * dim).map(|at| (at as f64).sin()).collect();
    prefix[5] += by.prefix;
    let prefix = tape.leaf(Tensor::from_vec(prefix, [4, dim], &Device::Host).unwrap(), true);
    let x = model.record_embedding(&mut tape, &ids, &recording).unwrap();
    let x = tape.join(prefix, x, 2).unwrap();
    let x = model.record_layers(&mut tape, x, 2, &mut recording).unwrap();
    // The last row of the prefix is to say the first token.
    let targets = ids.to_vec().unwrap();
    let targets = targets.chunks(5).flat_map(|ids| [&[IGNORED], ids, &[IGNORED]].concat()).collect();
    let targets = Tensor::from_vec(targets, [2, 7], &Device::Host).unwrap();
    let losses = model.record_targets(&mut tape, x, &targets, &recording).unwrap().to_vec().unwrap();
    tape.backward().unwrap();
    drop(recording);
    (losses.iter().sum::<f64>() / 10.0, tape, [Some(prefix), attention, residual])
}

fn near(got: f64, slope: f64, what: &str) {
    assert!((got - slope).abs() <= 1e-8 + 1e-6 * slope.abs(), "{what}: {got} and {slope}");
}

const H: f64 = 1e-5;

#[test]
fn gradients_are_slopes() {
    for (name, config) in configs() {
        let mut model = model(&config);
        let parts: Vec<(Part, usize)> =
            model.parameters().iter().map(|parameter| (parameter.part, parameter.number)).collect();
        assert_eq!(parts.iter().map(|(part, _)| *part).collect::<Vec<_>>(), config.parts());
        for again in [false, true] {
            let gradients = run(&model, again, By::default()).1.into_weights();
            assert_eq!(gradients.len(), parts.len(), "{name}");
            for &(part, number) in &parts {
                let got = gradients[&number].to_vec().unwrap();
                assert_eq!(gradients[&number].dims(), config.dims(part), "{name} {part:?}");
                for at in (0..got.len()).step_by(5) {
                    let mut moved = |by: f64| {
                        nudge(&mut model, part, at, by);
                        let loss = run(&model, false, By::default()).0;
                        nudge(&mut model, part, at, -by);
                        loss
                    };
                    let slope = (moved(H) - moved(-H)) / (2.0 * H);
                    near(got[at], slope, &format!("{name}, {part:?} at {at}, again {again}"));
                }
            }
            let (_, tape, [prefix, attention, residual]) = run(&model, again, By::default());
            let slope = |by: fn(f64) -> By| (run(&model, again, by(H)).0 - run(&model, again, by(-H)).0) / (2.0 * H);
            let got = |x: Option<Var>, at: usize| tape.gradient(x.unwrap()).unwrap().to_vec().unwrap()[at];
            near(got(prefix, 5), slope(|by| By { prefix: by, ..By::default() }), &format!("{name}, prefix"));
            near(got(residual, 13), slope(|by| By { residual: by, ..By::default() }), &format!("{name}, residual"));
            if !again {
                let slope = slope(|by| By { attention: by, ..By::default() });
                near(got(attention, 40), slope, &format!("{name}, attention"));
            }
        }
    }
}

/// The tape and the way without one say the same, and what is decayed are matrices.
#[test]
fn a_tape_changes_nothing() {
    for (name, config) in configs() {
        let model = model(&config);
        let ids = model.ids(vec![3, 1, 10, 0, 6, 6, 2, 9, 1, 1], 2).unwrap();
        let (mut tape, mut recording) = (Tape::new(&Device::Host), Recording::new());
        let x = model.record_embedding(&mut tape, &ids, &recording).unwrap();
        let x = model.record_layers(&mut tape, x, 2, &mut recording).unwrap();
        let taped = model.record_losses(&mut tape, x, &ids, &recording).unwrap().to_vec().unwrap();
        let plain = model.losses(&ids, &mut crate::lm::Hooks::new()).unwrap().to_vec().unwrap();
        assert!(taped.iter().zip(&plain).all(|(a, b)| (a - b).abs() < 1e-12), "{name}: {taped:?} and {plain:?}");
        assert_eq!(plain.iter().filter(|&&loss| loss == 0.0).count(), 2);
        for parameter in model.parameters() {
            let (Values::Elements(values) | Values::Sums(values)) = parameter.values;
            assert_eq!(values.dims(), parameter.dims);
            assert_eq!(parameter.decays, parameter.dims[0] > 1, "{name} {:?}", parameter.part);
        }
    }
}
