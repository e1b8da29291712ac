//! Central differences in `f64`, of every part.
use super::*;
use crate::lm::{Hooks, ValuesMut};
use crate::{Device, Philox};

fn configs() -> [Config; 2] {
    let small = Config { inner: 6, states: 3, taps: 3, rank: 2, ..Config::new(2, 5, 11) };
    [small.clone(), Config { conv_bias: false, bias: true, tied: false, taps: 4, rank: 1, ..small }]
}

/// A model whose every part matters.
fn model(config: &Config) -> Mamba<f64> {
    let mut model = Mamba::random(config.clone(), 0, &Device::Host).unwrap();
    let mut draw = Philox::new(7);
    for parameter in model.parameters_mut() {
        let (ValuesMut::Elements(values) | ValuesMut::Sums(values)) = parameter.values;
        let dims = values.dims();
        let numbers = (0..dims[0] * dims[1]).map(|_| f64::from(draw.uniform()) - 0.5).collect();
        crate::add_into(Tensor::from_vec(numbers, dims, &Device::Host).unwrap().view(), values).unwrap();
    }
    model
}

/// Add to one entry of a part.
fn nudge(model: &mut Mamba<f64>, part: Part, at: usize, by: f64) {
    let found = model.parameters_mut().into_iter().find(|parameter| parameter.part == part).unwrap();
    let (ValuesMut::Elements(values) | ValuesMut::Sums(values)) = found.values;
    let dims = values.dims();
    let mut change = vec![0.0; dims[0] * dims[1]];
    change[at] = by;
    crate::add_into(Tensor::from_vec(change, dims, &Device::Host).unwrap().view(), values).unwrap();
}

fn ids() -> Tensor<u32, 2> {
    Tensor::from_vec(vec![3, 1, 10, 0, 6, 6, 2, 9, 1, 1], [2, 5], &Device::Host).unwrap()
}

/// The mean surprise of two contexts, and the tape at its beginning, with what is read, and what the mixer of the second layer
/// adds or, if layers run again, the residual after the first.
fn run(model: &Mamba<f64>, again: bool, [read, changed]: [f64; 2]) -> (f64, Tape<'_, f64>, [Var; 2]) {
    let (mut tape, mut seen) = (Tape::new(&Device::Host), None);
    fn add(tape: &mut Tape<'_, f64>, x: Var, by: f64) -> Result<Var> {
        let dims = tape.dims(x);
        let mut all = vec![0.0; dims[0] * dims[1]];
        all[13] = by;
        let all = tape.leaf(Tensor::from_vec(all, dims, &Device::Host)?, false);
        tape.add(x, all)
    }
    let site = if again { Site::residual(0) } else { Site::mixer(1) };
    let mut recording = Recording::new().train(|_| true).at(site, |tape, x| {
        tape.watch(x);
        seen = Some(x);
        add(tape, x, changed)
    });
    if again {
        recording = recording.again();
    }
    let x = model.record_embedding(&mut tape, &ids(), &recording).unwrap();
    tape.watch(x);
    let from = x;
    let x = add(&mut tape, x, read).unwrap();
    let x = model.record_layers(&mut tape, x, 2, &mut recording).unwrap();
    let losses = model.record_losses(&mut tape, x, &ids(), &recording).unwrap().to_vec().unwrap();
    tape.backward().unwrap();
    drop(recording);
    (losses.iter().sum::<f64>() / 8.0, tape, [from, seen.unwrap()])
}

fn near(got: f64, slope: f64, what: &str) {
    assert!((got - slope).abs() <= 1e-8 + 1e-6 * slope.abs(), "{what}: {got} and {slope}");
}

#[test]
fn gradients_are_slopes() {
    const H: f64 = 1e-5;
    for config in configs() {
        let mut model = model(&config);
        for again in [false, true] {
            let gradients = run(&model, again, [0.0; 2]).1.into_weights();
            assert_eq!(gradients.len(), config.parts().len());
            for part in config.parts() {
                assert_eq!(gradients[&part.number()].dims(), config.dims(part), "{part:?}");
                let got = gradients[&part.number()].to_vec().unwrap();
                for at in (0..got.len()).step_by(4) {
                    let mut moved = |by: f64| {
                        nudge(&mut model, part, at, by);
                        let loss = run(&model, false, [0.0; 2]).0;
                        nudge(&mut model, part, at, -by);
                        loss
                    };
                    let slope = (moved(H) - moved(-H)) / (2.0 * H);
                    near(got[at], slope, &format!("{part:?} at {at}, again {again}"));
                }
            }
            let (_, tape, seen) = run(&model, again, [0.0; 2]);
            for (at, var) in seen.into_iter().enumerate() {
                let mut by = [0.0; 2];
                by[at] = H;
                let slope = (run(&model, again, by).0 - run(&model, again, by.map(|by| -by)).0) / (2.0 * H);
                near(tape.gradient(var).unwrap().to_vec().unwrap()[13], slope, &format!("activation {at}"));
            }
        }
    }
}

#[test]
fn a_tape_changes_nothing() {
    for config in configs() {
        let model = model(&config);
        let taped = run(&model, false, [0.0; 2]).0;
        let plain = model.losses(&ids(), &mut Hooks::new()).unwrap().to_vec().unwrap();
        assert!((taped - plain.iter().sum::<f64>() / 8.0).abs() < 1e-12);
    }
}
