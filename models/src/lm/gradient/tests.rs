//! Central differences in `f64`, of every part.
use super::*;
use crate::{Device, Pairing, Philox};

const CONFIG: Config = Config {
    layers: 2,
    dim: 6,
    hidden: 5,
    heads: 2,
    kv_heads: 1,
    head_dim: 4,
    context: 8,
    vocabulary: 11,
    epsilon: 1e-5,
    rope_base: 100.0,
    pairing: Pairing::Interleaved,
};

fn numbers(count: usize, centre: f64, draw: &mut Philox) -> Vec<f64> {
    (0..count).map(|_| centre + f64::from(draw.uniform()) - 0.5).collect()
}

fn weights(own_output: bool) -> Weights<f64> {
    let (draw, Config { dim, hidden, heads, kv_heads, head_dim, vocabulary, .. }) = (&mut Philox::new(7), CONFIG);
    let matrix = |draw: &mut Philox, dims: [usize; 2]| {
        Tensor::from_vec(numbers(dims.iter().product(), 0.0, draw), dims, &Device::Host).unwrap()
    };
    let vector = |draw: &mut Philox| Tensor::from_vec(numbers(dim, 1.0, draw), [dim], &Device::Host).unwrap();
    let layer = |_| Layer {
        attention_norm: vector(draw),
        attention_input: matrix(draw, [(heads + 2 * kv_heads) * head_dim, dim]),
        attention_output: matrix(draw, [dim, heads * head_dim]),
        mlp_norm: vector(draw),
        mlp_input: matrix(draw, [2 * hidden, dim]),
        mlp_output: matrix(draw, [dim, hidden]),
    };
    let layers = (0..CONFIG.layers).map(layer).collect();
    let output = own_output.then(|| matrix(draw, [vocabulary, dim]));
    Weights { embedding: matrix(draw, [vocabulary, dim]), norm: vector(draw), output, layers }
}

/// The numbers of a part.
fn part(weights: &mut Weights<f64>, part: Part) -> &mut [f64] {
    let layers = &mut weights.layers;
    let of = match part {
        Part::Embedding => weights.embedding.host_mut(),
        Part::Norm => weights.norm.host_mut(),
        Part::Output => weights.output.as_mut().unwrap().host_mut(),
        Part::AttentionNorm(at) => layers[at].attention_norm.host_mut(),
        Part::AttentionInput(at) => layers[at].attention_input.host_mut(),
        Part::AttentionOutput(at) => layers[at].attention_output.host_mut(),
        Part::MlpNorm(at) => layers[at].mlp_norm.host_mut(),
        Part::MlpInput(at) => layers[at].mlp_input.host_mut(),
        Part::MlpOutput(at) => layers[at].mlp_output.host_mut(),
    };
    of.unwrap()
}

/// The mean surprise of two contexts, and the tape at its beginning, with the residual after the first layer.
fn run(weights: &Weights<f64>, again: bool, nudge: f64) -> (f64, Tape<'_, f64>, Var) {
    let ids = Tensor::from_vec(vec![3, 1, 10, 0, 6, 6, 2, 9, 1, 1], [2, 5], &Device::Host).unwrap();
    let (mut tape, mut seen) = (Tape::new(&Device::Host), None);
    let mut recording = Recording::new().train(|_| true).at(Site::residual(0), |tape, x| {
        tape.watch(x);
        seen = Some(x);
        // What is added to one entry moves the loss as the gradient says.
        let dims = tape.dims(x);
        let mut by = vec![0.0; dims[0] * dims[1]];
        by[13] = nudge;
        let by = tape.leaf(Tensor::from_vec(by, dims, &Device::Host)?, false);
        tape.add(x, by)
    });
    recording.again = again;
    let flat = Tensor::from_vec(ids.to_vec().unwrap(), [10], &Device::Host).unwrap();
    let table = recording.weight(Part::Embedding, weights.embedding.view());
    let x = tape.embed(flat, table).unwrap();
    let x = layers(&CONFIG, weights, &mut tape, x, 2, &mut recording).unwrap();
    let losses = losses(&CONFIG, weights, &mut tape, x, &ids, &recording).unwrap();
    tape.backward().unwrap();
    drop(recording);
    (losses.to_vec().unwrap().iter().sum::<f64>() / 8.0, tape, seen.unwrap())
}

#[test]
fn gradients_are_slopes() {
    const H: f64 = 1e-5;
    for own_output in [false, true] {
        let all = weights(own_output);
        for again in [false, true] {
            let (_, tape, seen) = run(&all, again, 0.0);
            let per_layer = (0..CONFIG.layers).flat_map(|at| {
                [Part::AttentionNorm, Part::AttentionInput, Part::AttentionOutput]
                    .map(|part| part(at))
                    .into_iter()
                    .chain([Part::MlpNorm, Part::MlpInput, Part::MlpOutput].map(|part| part(at)))
            });
            let output = own_output.then_some(Part::Output);
            for which in [Part::Embedding, Part::Norm].into_iter().chain(output).chain(per_layer) {
                let got = tape.weights()[&which.number()].to_vec().unwrap();
                for at in (0..got.len()).step_by(3) {
                    let moved = |by: f64| {
                        let mut moved = weights(own_output);
                        part(&mut moved, which)[at] += by;
                        run(&moved, false, 0.0).0
                    };
                    let slope = (moved(H) - moved(-H)) / (2.0 * H);
                    let near = (got[at] - slope).abs() <= 1e-8 + 1e-6 * slope.abs();
                    assert!(near, "{which:?} at {at}, again {again}: {} and {slope}", got[at]);
                }
            }
            let slope = (run(&all, false, H).0 - run(&all, false, -H).0) / (2.0 * H);
            let got = tape.gradient(seen).unwrap().to_vec().unwrap()[13];
            assert!((got - slope).abs() <= 1e-8 + 1e-6 * slope.abs(), "residual: {got} and {slope}");
        }
    }
}
