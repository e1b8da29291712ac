//! The tape: its gradients are slopes, and the same on every device.
use approx::assert_relative_eq;
use latens::io::Result;
use latens::tape::{Heads, Rotary, Tape, Var, Weight};
use latens_core::{Act, Device, Float, IGNORED, Mask, Pairing, Tensor};
use latens_tests::{close, devices, normal, place};

const CONTEXTS: usize = 2;
const TOKENS: usize = 4;
const WORDS: usize = 7;
const WIDTH: usize = 6;
/// Sizes of the weights of [`Net`], by their numbers; vectors have one row.
const SIZES: [[usize; 2]; 12] = [
    [WORDS, WIDTH],
    [1, WIDTH],
    [1, WIDTH],
    [16, WIDTH],
    [1, 16],
    [WIDTH, 8],
    [1, WIDTH],
    [10, WIDTH],
    [WIDTH, 5],
    [WIDTH, WIDTH],
    [1, WIDTH],
    [9, WIDTH],
];

/// Something of everything: a table read and written by, both norms, biases, turned grouped attention, gates, activations.
struct Net<T: Float> {
    matrices: Vec<Option<Tensor<T, 2>>>,
    vectors: Vec<Option<Tensor<T::Acc, 1>>>,
    device: Device,
}

impl<T: Float> Net<T> {
    fn new(numbers: &[Vec<f64>], device: &Device) -> Self {
        let (mut matrices, mut vectors) = (Vec::new(), Vec::new());
        for (numbers, [rows, width]) in numbers.iter().zip(SIZES) {
            let matrix = || Tensor::from_vec(numbers.iter().map(|&x| T::narrow(x)).collect(), [rows, width], device);
            let vector = || Tensor::from_vec(numbers.iter().map(|&x| T::Acc::narrow(x)).collect(), [width], device);
            matrices.push((rows > 1).then(|| matrix().unwrap()));
            vectors.push((rows == 1).then(|| vector().unwrap()));
        }
        Self { matrices, vectors, device: device.clone() }
    }

    fn matrix(&self, number: usize, trained: bool) -> Weight<'_, T, 2> {
        let of = self.matrices[number].as_ref().unwrap().view();
        if trained { Weight::trained(of, number) } else { Weight::frozen(of) }
    }

    fn vector(&self, number: usize, trained: bool) -> Weight<'_, T::Acc, 1> {
        let of = self.vectors[number].as_ref().unwrap().view();
        if trained { Weight::trained(of, number) } else { Weight::frozen(of) }
    }

    fn block<'m>(&'m self, tape: &mut Tape<'m, T>, x: Var, trained: bool) -> Result<Var> {
        let [matrix, vector] = [(); 2].map(|()| trained);
        let heads = Heads {
            batch: CONTEXTS,
            heads: 2,
            kv_heads: 1,
            dim: 4,
            mask: Mask::Causal,
            turn: Some(Rotary { base: 100.0, pairing: Pairing::Halves, dim: 2 }),
        };
        let y = tape.layer_norm(x, self.vector(1, vector), Some(self.vector(2, vector)), 1e-5)?;
        let y = tape.linear(y, self.matrix(3, matrix), Some(self.vector(4, vector)))?;
        let y = tape.attention(y, heads)?;
        let y = tape.linear(y, self.matrix(5, matrix), None)?;
        let x = tape.add(x, y)?;
        let y = tape.rms_norm(x, self.vector(6, vector), 1e-5)?;
        let y = tape.linear(y, self.matrix(7, matrix), None)?;
        let y = tape.gated(y, Act::Silu)?;
        let y = tape.linear(y, self.matrix(8, matrix), None)?;
        tape.add(x, y)
    }

    /// The losses, and the tape back at its beginning, with what was read: tokens by the table, and something given.
    fn run(&self, given: &[f64], trained: bool, again: bool) -> (Vec<f64>, Tape<'_, T>, Var) {
        let mut tape = Tape::new(&self.device);
        let ids = Tensor::from_vec(vec![3, 1, 0, 6, 6, 2, 1, 1], [CONTEXTS * TOKENS], &self.device).unwrap();
        let given = given.iter().map(|&x| T::narrow(x)).collect();
        let given = Tensor::from_vec(given, [CONTEXTS * TOKENS, WIDTH], &self.device).unwrap();
        let given = tape.leaf(given, true);
        let x = tape.embed(ids, self.matrix(0, trained)).unwrap();
        let x = tape.add(given, x).unwrap();
        let x = match again {
            true => tape.again(x, move |tape, x| self.block(tape, x, trained)).unwrap(),
            false => self.block(&mut tape, x, trained).unwrap(),
        };
        // A second time, so that gradients of weights are added.
        let x = self.block(&mut tape, x, trained).unwrap();
        let y = tape.linear(x, self.matrix(9, trained), Some(self.vector(10, trained))).unwrap();
        let y = tape.act(y, Act::Gelu).unwrap();
        let targets = vec![0, 8, IGNORED, 4, 4, 1, 7, IGNORED];
        let targets = Tensor::from_vec(targets, [CONTEXTS * TOKENS], &self.device).unwrap();
        let shares = (0..CONTEXTS * TOKENS).map(|row| T::Acc::narrow(SHARES[row])).collect();
        let shares = Tensor::from_vec(shares, [CONTEXTS * TOKENS], &self.device).unwrap();
        // Three rows of logits at a time.
        let losses = tape.surprise(y, self.matrix(11, trained), &targets, &shares, 0.1, 3).unwrap();
        tape.backward().unwrap();
        (losses.to_vec().unwrap().into_iter().map(Float::wide).collect(), tape, given)
    }
}

const SHARES: [f64; CONTEXTS * TOKENS] = [1.0, 0.5, 3.0, -1.0, 2.0, 1.0, 0.0, 1.0];

fn weights() -> Vec<Vec<f64>> {
    let numbers = |(number, [rows, width]): (usize, [usize; 2])| {
        let spread = normal::<f64>(rows * width, if rows == 1 { 0.2 } else { 0.6 }, number as u64);
        // Norms are near 1.
        spread.into_iter().map(|x| if [1, 6].contains(&number) { 1.0 + x } else { x }).collect()
    };
    SIZES.into_iter().enumerate().map(numbers).collect()
}

fn wide<T: Float>(tensor: &Tensor<T, 2>) -> Vec<f64> {
    tensor.to_vec().unwrap().into_iter().map(Float::wide).collect()
}

#[test]
fn gradients_are_slopes() {
    let (weights, given) = (weights(), normal::<f64>(CONTEXTS * TOKENS * WIDTH, 0.5, 40));
    let loss = |weights: &[Vec<f64>], given: &[f64]| -> f64 {
        let losses = Net::<f64>::new(weights, &Device::Host).run(given, false, false).0;
        losses.iter().zip(SHARES).map(|(loss, share)| loss * share).sum()
    };
    let net = Net::<f64>::new(&weights, &Device::Host);
    let (_, tape, leaf) = net.run(&given, true, false);
    const H: f64 = 1e-5;
    for (number, numbers) in weights.iter().enumerate() {
        let got = wide(&tape.weights()[&number]);
        for at in 0..numbers.len() {
            let moved = |by: f64| {
                let mut weights = weights.clone();
                weights[number][at] += by;
                loss(&weights, &given)
            };
            let slope = (moved(H) - moved(-H)) / (2.0 * H);
            assert_relative_eq!(got[at], slope, epsilon = 1e-8, max_relative = 1e-6);
        }
    }
    let got = wide(tape.gradient(leaf).unwrap());
    for at in 0..given.len() {
        let moved = |by: f64| {
            let mut given = given.clone();
            given[at] += by;
            loss(&weights, &given)
        };
        let slope = (moved(H) - moved(-H)) / (2.0 * H);
        assert_relative_eq!(got[at], slope, epsilon = 1e-8, max_relative = 1e-6);
    }
}

#[test]
fn devices_agree() {
    let (weights, given) = (weights(), normal::<f64>(CONTEXTS * TOKENS * WIDTH, 0.5, 40));
    let exact = Net::<f64>::new(&weights, &Device::Host);
    let (want_losses, want, want_leaf) = exact.run(&given, true, false);
    for device in devices() {
        let net = Net::<f32>::new(&weights, &device);
        let (losses, tape, leaf) = net.run(&given, true, false);
        close("losses", &losses, &want_losses, 1e-10);
        close("leaf", &wide(tape.gradient(leaf).unwrap()), &wide(want.gradient(want_leaf).unwrap()), 1e-10);
        for (number, of) in want.weights() {
            let what = format!("{} weight {number}", place(&device));
            close(&what, &wide(&tape.weights()[number]), &wide(of), 1e-10);
        }
    }
}

/// What is run again on the way back gives the same bits, with fewer activations held.
#[test]
fn again_is_the_same() {
    let (weights, given) = (weights(), normal::<f64>(CONTEXTS * TOKENS * WIDTH, 0.5, 40));
    for device in devices() {
        let net = Net::<f32>::new(&weights, &device);
        let [(_, a, of_a), (_, b, of_b)] = [false, true].map(|again| net.run(&given, true, again));
        assert_eq!(wide(a.gradient(of_a).unwrap()), wide(b.gradient(of_b).unwrap()));
        for (number, of) in a.weights() {
            assert_eq!(wide(of), wide(&b.weights()[number]), "{} weight {number}", place(&device));
        }
    }
}

/// Frozen weights have no gradients, and what is given has the same.
#[test]
fn frozen_weights_cost_nothing() {
    let (weights, given) = (weights(), normal::<f64>(CONTEXTS * TOKENS * WIDTH, 0.5, 40));
    let net = Net::<f32>::new(&weights, &Device::Host);
    let [(_, a, of_a), (_, b, of_b)] = [false, true].map(|trained| net.run(&given, trained, false));
    assert!(a.weights().is_empty() && b.weights().len() == SIZES.len());
    assert_eq!(wide(a.gradient(of_a).unwrap()), wide(b.gradient(of_b).unwrap()));
}

#[test]
fn wrong_calls_are_errors() {
    let host = &Device::Host;
    let w = Tensor::<f32, 2>::zeros([5, 4], host).unwrap();
    let mut tape = Tape::<f32>::new(host);
    let x = tape.leaf(Tensor::zeros([2, 3], host).unwrap(), true);
    let error = tape.seed(x, Tensor::zeros([2, 4], host).unwrap()).unwrap_err().to_string();
    assert!(error.contains("seed") && error.contains('3') && error.contains('4'), "{error}");
    assert!(tape.linear(x, Weight::frozen(w.view()), None).is_err());
    // The tape is as it was.
    assert_eq!(tape.value(x).dims(), [2, 3]);
    tape.backward().unwrap();
    assert!(tape.gradient(x).is_none());
}
