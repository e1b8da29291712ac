//! The gradients of the SAE family are the slopes of its forward passes, in f64; and properties that hold for all codes.
use latens_core::{self as core, Codes, Device, Layout, Tensor};
use latens_kernels::Philox;
use latens_tests::normal;
use proptest::prelude::*;

const ROWS: usize = 5;
const DIM: usize = 4;
const N: usize = 9;
const K: usize = 3;

#[derive(Clone)]
struct Model {
    x: Tensor2,
    w_enc: Tensor2,
    w_dec: Tensor2,
    b_enc: Vec<f64>,
    b_dec: Vec<f64>,
}
type Tensor2 = Vec<f64>;

fn tensor<const R: usize>(of: &[f64], dims: [usize; R]) -> Tensor<f64, R> {
    Tensor::from_slice(of, Layout::packed(dims).unwrap(), &Device::Host).unwrap()
}

impl Model {
    fn new() -> Self {
        let some = |len, seed| normal(len, 0.7, seed);
        let (w_enc, w_dec) = (some(N * DIM, 2), some(N * DIM, 3));
        Self { x: some(ROWS * DIM, 1), w_enc, w_dec, b_enc: some(N, 4), b_dec: some(DIM, 5) }
    }

    /// Half the squared error of all rows, and its gradients: x, w_enc, w_dec, b_enc, b_dec.
    fn loss(&self, flat: bool) -> (f64, [Vec<f64>; 5]) {
        let (x, w_enc, w_dec) =
            (tensor(&self.x, [ROWS, DIM]), tensor(&self.w_enc, [N, DIM]), tensor(&self.w_dec, [N, DIM]));
        let (b_enc, b_dec) = (tensor(&self.b_enc, [N]), tensor(&self.b_dec, [DIM]));
        let bias = core::sae_bias(w_enc.view(), b_enc.view(), b_dec.view()).unwrap();
        let code = if flat {
            let (v, l, o) = core::sae_encode_flat(x.view(), w_enc.view(), bias.view(), ROWS * K - 2).unwrap();
            core::Code::flat(v, l, o).unwrap()
        } else {
            let (v, l) = core::sae_encode(x.view(), w_enc.view(), bias.view(), K).unwrap();
            core::Code::fixed(v, l).unwrap()
        };
        let decoded = core::sae_decode(code.view(), w_dec.view(), Some(b_dec.view()), Some(x.view())).unwrap();
        let loss = decoded.error.unwrap().to_vec().unwrap().iter().sum::<f64>() / 2.0;
        let e = decoded.residual.unwrap().to_vec().unwrap();
        let g = tensor(&e.iter().map(|e| -e).collect::<Vec<_>>(), [ROWS, DIM]);
        let grad = core::sae_backward(code.view(), x.view(), g.view(), w_dec.view(), Some(b_dec.view())).unwrap();
        let db_dec = core::sae_bias_backward(g.view(), w_enc.view(), grad.b_enc.view()).unwrap();
        // x is read by the encoder and is the target: dx = W_encᵀ dvalues + e.
        let through = code.view().with(grad.values.view()).unwrap();
        let dx = core::sae_decode(through, w_enc.view(), None, None).unwrap().recon.to_vec().unwrap();
        let dx = dx.iter().zip(&e).map(|(dx, e)| dx + e).collect();
        let [w_enc, w_dec] = [grad.w_enc, grad.w_dec].map(|w| w.to_vec().unwrap());
        (loss, [dx, w_enc, w_dec, grad.b_enc.to_vec().unwrap(), db_dec.to_vec().unwrap()])
    }

    fn part(&mut self, part: usize) -> &mut Vec<f64> {
        [&mut self.x, &mut self.w_enc, &mut self.w_dec, &mut self.b_enc, &mut self.b_dec].into_iter().nth(part).unwrap()
    }
}

#[test]
fn gradients_are_slopes() {
    let h = 1e-6;
    for flat in [false, true] {
        let (_, gradients) = Model::new().loss(flat);
        for (part, gradient) in gradients.iter().enumerate() {
            assert!(gradient.iter().any(|&slope| slope != 0.0));
            for (at, slope) in gradient.iter().enumerate() {
                let moved = |by: f64| {
                    let mut model = Model::new();
                    model.part(part)[at] += by;
                    model.loss(flat).0
                };
                let want = (moved(h) - moved(-h)) / (2.0 * h);
                assert!(
                    (slope - want).abs() < 1e-6 * (1.0 + want.abs()),
                    "flat {flat} part {part} at {at}: {slope} {want}"
                );
            }
        }
    }
}

/// The auxiliary loss: silent latents of a list explain the residual, which is a constant, without the decoder's bias.
#[test]
fn auxiliary_gradients_are_slopes() {
    let target: Vec<f64> = normal(ROWS * DIM, 1.0, 9);
    let (list, count) = ([1_u32, 4, 5, 8, 9, 9, 9, 9, 9], [4_u32]);
    let [list, count] = [&list[..], &count]
        .map(|of| Tensor::<u32, 1>::from_slice(of, Layout::packed([of.len()]).unwrap(), &Device::Host).unwrap());
    let run = |model: &Model| {
        let (x, target) = (tensor(&model.x, [ROWS, DIM]), tensor(&target, [ROWS, DIM]));
        let (w_enc, w_dec) = (tensor(&model.w_enc, [N, DIM]), tensor(&model.w_dec, [N, DIM]));
        let (b_enc, b_dec) = (tensor(&model.b_enc, [N]), tensor(&model.b_dec, [DIM]));
        let bias = core::sae_bias(w_enc.view(), b_enc.view(), b_dec.view()).unwrap();
        let (v, l) =
            core::sae_encode_subset(x.view(), w_enc.view(), bias.view(), list.view(), count.view(), 2).unwrap();
        let code = core::Code::fixed(v, l).unwrap();
        let decoded = core::sae_decode(code.view(), w_dec.view(), None, Some(target.view())).unwrap();
        let g: Vec<f64> = decoded.residual.unwrap().to_vec().unwrap().iter().map(|e| -e).collect();
        let g = tensor(&g, [ROWS, DIM]);
        let grad = core::sae_backward(code.view(), x.view(), g.view(), w_dec.view(), Some(b_dec.view())).unwrap();
        // The decoder's bias is in the encoder only.
        let none = tensor(&[0.0; ROWS * DIM], [ROWS, DIM]);
        let db_dec = core::sae_bias_backward(none.view(), w_enc.view(), grad.b_enc.view()).unwrap();
        let gradients = [
            grad.w_enc.to_vec().unwrap(),
            grad.w_dec.to_vec().unwrap(),
            grad.b_enc.to_vec().unwrap(),
            db_dec.to_vec().unwrap(),
        ];
        (decoded.error.unwrap().to_vec().unwrap().iter().sum::<f64>() / 2.0, gradients)
    };
    let h = 1e-6;
    for (part, gradient) in run(&Model::new()).1.iter().enumerate() {
        for (at, slope) in gradient.iter().enumerate() {
            let moved = |by: f64| {
                let mut model = Model::new();
                model.part(part + 1)[at] += by;
                run(&model).0
            };
            let want = (moved(h) - moved(-h)) / (2.0 * h);
            assert!((slope - want).abs() < 1e-6 * (1.0 + want.abs()), "part {part} at {at}: {slope} {want}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Every row is sorted, positive, padded at its end, and no value left out is larger than one kept.
    #[test]
    fn codes_are_well_formed(rows in 0_usize..70, dim in 0_usize..20, n in 1_usize..90, share in 0.0_f64..1.0, seed: u64) {
        let k = (share * n as f64) as usize;
        let mut draw = Philox::new(seed);
        let mut whole = |len: usize| (0..len).map(|_| draw.below(9) as f32 - 4.0).collect::<Vec<_>>();
        let (x, w, bias) = (whole(rows * dim), whole(n * dim), whole(n));
        let z: Vec<f32> = (0..rows * n)
            .map(|i| (0..dim).map(|c| x[i / n * dim + c] * w[i % n * dim + c]).sum::<f32>() + bias[i % n])
            .collect();
        let tensor = |of: Vec<f32>, dims| Tensor::from_vec(of, dims, &Device::Host).unwrap();
        let (x, w) = (tensor(x, [rows, dim]), tensor(w, [n, dim]));
        let bias = Tensor::from_vec(bias, [n], &Device::Host).unwrap();
        let (values, latents) = core::sae_encode(x.view(), w.view(), bias.view(), k).unwrap();
        prop_assert!(Codes::fixed(values.view(), latents.view()).is_ok());
        let (values, latents) = (values.to_vec().unwrap(), latents.to_vec().unwrap());
        for r in 0..rows {
            let (values, latents) = (&values[r * k..][..k], &latents[r * k..][..k]);
            let z = &z[r * n..][..n];
            let full = latents.iter().take_while(|&&l| l < n as u32).count();
            prop_assert_eq!(full, k.min(z.iter().filter(|&&z| z > 0.0).count()));
            prop_assert!(latents[..full].is_sorted_by(|a, b| a < b));
            prop_assert!(latents[full..].iter().all(|&l| l == n as u32) && values[full..].iter().all(|&v| v == 0.0));
            let least = values[..full].iter().copied().fold(f32::INFINITY, f32::min);
            for (l, &z) in z.iter().enumerate() {
                match latents[..full].binary_search(&(l as u32)) {
                    Ok(slot) => prop_assert!(values[slot] == z && z > 0.0),
                    Err(_) => prop_assert!(z <= 0.0 || z <= least),
                }
            }
        }
    }
}
