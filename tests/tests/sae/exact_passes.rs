//! Decode, backward and bias where sums have no rounding, as `sae_exact.rs` has the encoders.
use latens_core::{
    Against, sae_backward_into, sae_backward_workspace, sae_bias_backward_into, sae_bias_backward_workspace,
    sae_bias_into, sae_decode_into, sae_decode_workspace,
};
use latens_core::{Float, Layout, Tensor, bf16, f16};
use latens_kernels::sae::{Shape, backward, bias, decode};
use latens_kernels::{Accumulate, Philox};
use latens_tests::{Cases, Coded, Fenced, Poison, bytes, devices, place, same, vector, whole};

/// Codes of whole numbers for rows of `k` slots, or of offsets that leave a row empty and slots to no row.
fn codes(rows: usize, n: usize, k: usize, seed: u64) -> [Coded<f32>; 2] {
    let mut draw = Philox::new(seed);
    let slots = rows * k;
    let values: Vec<f32> = (0..slots).map(|_| draw.below(7) as f32 - 2.0).collect();
    // One in n names nothing; one latent is hot.
    let latents: Vec<u32> =
        (0..slots).map(|i| if i % 3 == 0 { 0 } else { draw.below(n as u32 + 1) }).map(|l| l.min(n as u32)).collect();
    let mut offsets: Vec<u32> = (0..rows as u32).map(|_| draw.below(slots as u32 + 1)).collect();
    offsets.push(0);
    offsets.sort_unstable();
    let fixed = Shape::fixed(rows, k).unwrap();
    let flat = Shape::flat(rows, slots).unwrap();
    let again = (values.clone(), latents.clone());
    [
        Coded { values, latents, offsets: vec![], shape: fixed },
        Coded { values: again.0, latents: again.1, offsets, shape: flat },
    ]
}

/// `[rows, dim, n, k, padding]`
const CODED: &[[usize; 5]] = &[
    [0, 8, 9, 2, 0],
    [3, 0, 9, 2, 0],
    [3, 8, 9, 0, 0],
    [2, 5, 1, 1, 0],
    [5, 7, 40, 3, 1],
    [9, 264, 20, 33, 0],
    [20, 520, 30, 5, 8],
    [700, 20, 50, 4, 4],
    [40, 300, 6, 70, 1],
];

fn decodes<T: Float<Acc = f32> + Poison>() {
    let mut cases = Cases::of("sae_decode").in_type::<T>();
    for (seed, &case) in CODED.iter().enumerate() {
        let [rows, dim, n, k, padding] = case;
        let (w, x) = (whole::<T>([n, dim], padding, 7), whole::<T>([rows, dim], padding, 8));
        let b_dec: Vec<f32> = (0..dim).map(|c| c as f32 % 5.0).collect();
        for (codes, with_bias, compare) in
            codes(rows, n, k, seed as u64).iter().flat_map(|c| [(c, true, true), (c, false, true), (c, true, false)])
        {
            let bias = with_bias.then_some(&b_dec[..]);
            let b_layout = Layout::packed([dim]).unwrap();
            let plan = decode::plan(&codes.shape, &w.1, bias.map(|_| &b_layout), compare.then_some(&x.1)).unwrap();
            let (mut recon, mut residual) = (vec![T::POISON; rows * dim], vec![T::POISON; rows * dim]);
            let mut error = vec![f32::POISON; rows];
            let against = decode::Against { x: &x.0, residual: &mut residual, error: &mut error };
            decode::forward(&plan, codes.host(), &w.0, bias, &mut recon, compare.then_some(against));
            for device in devices() {
                let w_there = Tensor::from_slice(&w.0, w.1, &device).unwrap();
                let x_there = Tensor::from_slice(&x.0, x.1, &device).unwrap();
                let b_there = vector(&b_dec, &device);
                let mut out = [(); 2].map(|()| Fenced::<T, 2>::new([rows, dim], &device));
                let mut e = Fenced::<f32, 1>::new([rows], &device);
                let need = sae_decode_workspace::<T>(&codes.shape, &w.1, compare, &device).unwrap();
                let mut workspace = bytes(need, &device);
                let [recon_to, residual_to] = out.each_mut().map(|out| out.view_mut());
                let against = Against { x: x_there.view(), residual: residual_to, error: e.view_mut() };
                let b = with_bias.then_some(b_there.view());
                codes
                    .with(&device, |codes| {
                        let against = compare.then_some(against);
                        sae_decode_into(codes, w_there.view(), b, recon_to, against, workspace.view_mut())
                    })
                    .unwrap();
                let place = place(&device);
                assert!(same(&out[0].take(), &recon) && same(&out[1].take(), &residual), "{place} {case:?}");
                assert_eq!(e.take(), error, "{place} {case:?}");
                cases.ran(place);
            }
        }
    }
}

#[test]
fn f32_decodes() {
    decodes::<f32>();
}
#[test]
fn f16_decodes() {
    decodes::<f16>();
}
#[test]
fn bf16_decodes() {
    decodes::<bf16>();
}

fn backwards<T: Float<Acc = f32> + Poison>() {
    let mut cases = Cases::of("sae_backward").in_type::<T>();
    for (seed, &case) in CODED.iter().enumerate() {
        let [rows, dim, n, k, padding] = case;
        let (w, x, g) =
            (whole::<T>([n, dim], padding, 7), whole::<T>([rows, dim], padding, 8), whole::<T>([rows, dim], 0, 9));
        let b_dec: Vec<f32> = (0..dim).map(|c| c as f32 % 5.0).collect();
        let b_layout = Layout::packed([dim]).unwrap();
        for (codes, accumulate, with_bias) in codes(rows, n, k, seed as u64)
            .iter()
            .flat_map(|c| [(c, Accumulate::Replace, true), (c, Accumulate::Add, false)])
        {
            let bias = with_bias.then_some(&b_dec[..]);
            let plan = backward::plan(&codes.shape, &x.1, &g.1, &w.1, bias.map(|_| &b_layout), accumulate).unwrap();
            let before = vec![3.0; n * dim];
            let (mut dec, mut enc, mut b) = (before.clone(), before.clone(), vec![3.0; n]);
            let mut values = vec![0.0; codes.shape.slots()];
            let into = (&mut dec[..], &mut enc[..], &mut b[..], &mut values[..]);
            backward::backward(&plan, codes.host(), &x.0, &g.0, &w.0, bias, into.0, into.1, into.2, into.3);
            for device in devices() {
                let there = |(data, layout): &(Vec<T>, Layout<2>)| Tensor::from_slice(data, *layout, &device).unwrap();
                let (w_there, x_there, g_there, b_there) = (there(&w), there(&x), there(&g), vector(&b_dec, &device));
                let mut two = [(); 2].map(|()| Fenced::holding(&before, [n, dim], &device));
                let mut db = Fenced::holding(&vec![3.0; n], [n], &device);
                let mut dv = Fenced::<f32, 1>::new([codes.shape.slots()], &device);
                let need = sae_backward_workspace::<T>(&codes.shape, &w.1, &device).unwrap();
                let mut workspace = bytes(need, &device);
                let [dec_to, enc_to] = two.each_mut().map(|out| out.view_mut());
                let (x, g, w) = (x_there.view(), g_there.view(), w_there.view());
                let b_dec = with_bias.then_some(b_there.view());
                let (db_to, dv_to, workspace) = (db.view_mut(), dv.view_mut(), workspace.view_mut());
                codes
                    .with(&device, |codes| {
                        sae_backward_into(codes, x, g, w, b_dec, accumulate, dec_to, enc_to, db_to, dv_to, workspace)
                    })
                    .unwrap();
                let place = place(&device);
                assert_eq!(dv.take(), values, "{place} {case:?}");
                assert_eq!(db.take(), b, "{place} {case:?}");
                assert_eq!(two[0].take(), dec, "{place} {case:?}");
                assert_eq!(two[1].take(), enc, "{place} {case:?}");
                cases.ran(place);
            }
        }
    }
}

#[test]
fn f32_backwards() {
    backwards::<f32>();
}
#[test]
fn f16_backwards() {
    backwards::<f16>();
}
#[test]
fn bf16_backwards() {
    backwards::<bf16>();
}

fn biases<T: Float<Acc = f32> + Poison>() {
    let mut cases = Cases::of("sae_bias").in_type::<T>();
    for (seed, &[rows, dim, n, _, padding]) in CODED.iter().enumerate() {
        let (w, g) = (whole::<T>([n, dim], padding, 7), whole::<T>([rows, dim], padding, seed as u64));
        let b_dec: Vec<f32> = (0..dim).map(|c| c as f32 % 5.0).collect();
        let b_enc: Vec<f32> = (0..n).map(|c| c as f32 - 3.0).collect();
        let layouts = [n, dim].map(|len| Layout::packed([len]).unwrap());
        let plan = bias::plan(&w.1, &layouts[0], &layouts[1]).unwrap();
        let mut folded = vec![0.0; n];
        bias::forward(&plan, &w.0, &b_enc, &b_dec, &mut folded);
        for accumulate in [Accumulate::Replace, Accumulate::Add] {
            let back = bias::plan_backward(&g.1, &w.1, &layouts[0], accumulate).unwrap();
            let mut db_dec = b_dec.clone();
            bias::backward(&back, &g.0, &w.0, &b_enc, &mut db_dec);
            for device in devices() {
                let (w_there, g_there) =
                    (Tensor::from_slice(&w.0, w.1, &device).unwrap(), Tensor::from_slice(&g.0, g.1, &device).unwrap());
                let (b, d) = (vector(&b_enc, &device), vector(&b_dec, &device));
                let mut out = Fenced::<f32, 1>::new([n], &device);
                sae_bias_into(w_there.view(), b.view(), d.view(), out.view_mut()).unwrap();
                assert_eq!(out.take(), folded);
                let mut out = Fenced::holding(&b_dec, [dim], &device);
                let need = sae_bias_backward_workspace::<T>(&g.1, &w.1, &device).unwrap();
                let mut workspace = bytes(need, &device);
                let (g, w) = (g_there.view(), w_there.view());
                sae_bias_backward_into(g, w, b.view(), accumulate, out.view_mut(), workspace.view_mut()).unwrap();
                assert_eq!(out.take(), db_dec);
                cases.ran(place(&device));
            }
        }
    }
}

#[test]
fn bias_there_and_back() {
    biases::<f32>();
    biases::<f16>();
    biases::<bf16>();
}
