//! Two orders of rows at once: central differences in `f64`; and calls that make no sense.
use super::*;
use crate::{Device, Philox};

const ROWS: usize = 8;
const WIDTH: usize = 3;
const STATES: usize = 2;
/// What is read, and weights: taps, their bias, steps, what goes into and out of states, decays, skip, bias of steps, gates.
const SIZES: [[usize; 2]; 9] =
    [[ROWS, WIDTH], [6, 3], [1, 6], [6, 6], [8, 6], [6, STATES], [1, 6], [1, 6], [WIDTH, WIDTH]];

fn numbers() -> Vec<Vec<f64>> {
    let mut draw = Philox::new(11);
    SIZES.map(|[rows, n]| (0..rows * n).map(|_| 1.4 * f64::from(draw.uniform()) - 0.7).collect()).into()
}

/// A sum of what comes out, each entry by a number of its own, and the gradients of all that goes in.
fn run(numbers: &[Vec<f64>]) -> Result<(f64, Vec<Vec<f64>>)> {
    let matrix = |at: usize| Tensor::from_vec(numbers[at].clone(), SIZES[at], &Device::Host);
    let vector = |at: usize| Tensor::from_vec(numbers[at].clone(), [SIZES[at][1]], &Device::Host);
    let (taps, taps_bias, step, select, log, gates) =
        (matrix(1)?, vector(2)?, matrix(3)?, matrix(4)?, matrix(5)?, matrix(8)?);
    let (skip, bias) = (vector(6)?, vector(7)?);
    let orders = Tensor::from_vec(vec![0, 1, 2, 3, 3, 1, 0, 2], [2, 4], &Device::Host)?;
    let mut tape = Tape::new(&Device::Host);
    let x = tape.leaf(matrix(0)?, true);
    let convolution = Convolution {
        batch: 2,
        weight: Weight::trained(taps.view(), 1),
        bias: Some(Weight::trained(taps_bias.view(), 2)),
        silu: true,
        orders: Some(orders.view()),
    };
    let u = tape.conv1d(x, convolution)?;
    let delta = tape.linear(u, Weight::trained(step.view(), 3), None)?;
    let both = tape.linear(u, Weight::trained(select.view(), 4), None)?;
    let gate = tape.linear(x, Weight::trained(gates.view(), 8), None)?;
    let (b, c) = (tape.columns(both, 0, 4)?, tape.columns(both, 4, 8)?);
    let y = tape.scan(Selective {
        batch: 2,
        u,
        delta,
        b,
        c,
        gate: Some(gate),
        log: Weight::trained(log.view(), 5),
        skip: Some(Weight::trained(skip.view(), 6)),
        bias: Some(Weight::trained(bias.view(), 7)),
        orders: Some(orders.view()),
    })?;
    assert_eq!(tape.dims(y), [ROWS, WIDTH]);
    let by: Vec<f64> = (0..ROWS * WIDTH).map(|at| (at as f64 + 0.5).sin()).collect();
    let sum = tape.value(y).to_vec()?.iter().zip(&by).map(|(y, by)| y * by).sum();
    tape.seed(y, Tensor::from_vec(by, [ROWS, WIDTH], &Device::Host)?)?;
    tape.backward()?;
    let mut all = vec![tape.gradient(x).unwrap().to_vec()?];
    for of in tape.into_weights().values() {
        all.push(of.to_vec()?);
    }
    Ok((sum, all))
}

#[test]
fn gradients_over_two_orders_are_slopes() {
    const H: f64 = 1e-6;
    let (_, gradients) = run(&numbers()).unwrap();
    assert_eq!(gradients.len(), SIZES.len());
    for (which, got) in gradients.iter().enumerate() {
        assert_eq!(got.len(), SIZES[which][0] * SIZES[which][1]);
        for at in 0..got.len() {
            let moved = |by: f64| {
                let mut numbers = numbers();
                numbers[which][at] += by;
                run(&numbers).unwrap().0
            };
            let slope = (moved(H) - moved(-H)) / (2.0 * H);
            let near = (got[at] - slope).abs() <= 1e-7 + 1e-6 * slope.abs();
            assert!(near, "{which} at {at}: {} and {slope}", got[at]);
        }
    }
    assert!(gradients.iter().flatten().any(|x| x.abs() > 0.1));
}

#[test]
fn wrong_calls_are_errors() {
    let weight = Tensor::<f64, 2>::zeros([3, 2], &Device::Host).unwrap();
    let log = Tensor::<f64, 2>::zeros([3, 2], &Device::Host).unwrap();
    let mut tape = Tape::<f64>::new(&Device::Host);
    let x = tape.leaf(Tensor::zeros([6, 3], &Device::Host).unwrap(), true);
    let narrow = tape.leaf(Tensor::zeros([4, 2], &Device::Host).unwrap(), true);
    let convolution = |batch| {
        let weight = Weight::frozen(weight.view());
        Convolution { batch, weight, bias: None, silu: false, orders: None }
    };
    for batch in [0, 4] {
        assert!(tape.conv1d(x, convolution(batch)).err().unwrap().to_string().contains("sequences"));
        assert!(tape.join(x, x, batch).err().unwrap().to_string().contains("contexts"));
    }
    assert!(tape.conv1d(narrow, convolution(2)).is_err());
    assert!(tape.join(x, narrow, 2).err().unwrap().to_string().contains("join"));
    assert!(tape.columns(x, 2, 4).is_err() && tape.columns(x, 2, 1).is_err());
    let selective = Selective {
        batch: 2,
        u: x,
        delta: x,
        b: narrow,
        c: narrow,
        gate: None,
        log: Weight::frozen(log.view()),
        skip: None,
        bias: None,
        orders: None,
    };
    assert!(tape.scan(selective).is_err(), "rows of u and of b differ");
}
