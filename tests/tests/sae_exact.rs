//! The SAE family where sums have no rounding: small whole numbers, so every device must agree with the reference bit for
//! bit, ties and all. What rounding does is the table's business, in `sae.rs`.
use latens_core::{
    Against, Codes, sae_backward_into, sae_backward_workspace, sae_bias_backward_into, sae_bias_backward_workspace,
    sae_bias_into, sae_decode_into, sae_decode_workspace, sae_encode_flat_into, sae_encode_flat_workspace,
    sae_encode_into, sae_encode_subset, sae_encode_subset_into, sae_encode_subset_workspace, sae_encode_threshold_into,
    sae_encode_threshold_workspace, sae_encode_workspace,
};
use latens_core::{Device, Float, Layout, Tensor, bf16, f16};
use latens_kernels::Accumulate;
use latens_kernels::Philox;
use latens_kernels::sae::{self, Shape, backward, bias, decode, encode};
use latens_tests::{Cases, Fenced, Poison, devices, place, same};

/// `[rows, dim, n, k, padding]`. A tile is 128 rows by 128 latents; a part of the latents keeps k and two tiles.
const CASES: &[[usize; 5]] = &[
    [0, 8, 9, 2, 0],
    [3, 8, 0, 0, 0],
    [3, 8, 9, 0, 0],
    [2, 0, 5, 2, 0],
    [1, 1, 1, 1, 0],
    [5, 7, 40, 3, 1],
    [2, 33, 128, 128, 0],
    [3, 64, 129, 5, 3],
    [130, 16, 300, 4, 0],
    [2, 40, 1500, 6, 0],
    [1, 16, 2600, 2300, 0],
];

/// Small whole numbers, of whose products every sum is exact in `f32`.
fn whole<T: Float>([rows, columns]: [usize; 2], padding: usize, seed: u64) -> (Vec<T>, Layout<2>) {
    let layout = Layout::strided([rows, columns], [columns + padding, 1]).unwrap();
    let mut draw = Philox::new(seed);
    ((0..layout.span()).map(|_| T::narrow(f64::from(draw.below(5)) - 2.0)).collect(), layout)
}

struct Problem<T: Float> {
    x: (Vec<T>, Layout<2>),
    w: (Vec<T>, Layout<2>),
    bias: Vec<T::Acc>,
    k: usize,
}

fn problems<T: Float>([rows, dim, n, k, padding]: [usize; 5], seed: u64) -> Vec<Problem<T>> {
    let of = |bias: &dyn Fn(usize) -> f64| Problem {
        x: whole([rows, dim], padding, seed),
        w: whole([n, dim], padding, seed + 1),
        bias: (0..n).map(|i| T::Acc::narrow(bias(i))).collect(),
        k,
    };
    let mut all = vec![
        of(&|_| 0.0),
        of(&|i| 4.0 + i as f64),
        of(&|i| 4000.0 - i as f64),
        of(&|i| if i % 7 == 0 { f64::NAN } else { -3.0 }),
        of(&|i| if i % 5 == 0 { f64::INFINITY } else { -1e9 }),
    ];
    // Every z of a row the same.
    let mut flat = of(&|_| 1.0);
    flat.w.0.fill(T::narrow(1.0));
    all.push(flat);
    all
}

fn tensors<T: Float>(p: &Problem<T>, device: &Device) -> (Tensor<T, 2>, Tensor<T, 2>, Tensor<T::Acc, 1>) {
    let two = |(data, layout): &(Vec<T>, Layout<2>)| Tensor::from_slice(data, *layout, device).unwrap();
    (two(&p.x), two(&p.w), vector(&p.bias, device))
}

fn vector<T: latens_core::Element>(data: &[T], device: &Device) -> Tensor<T, 1> {
    Tensor::from_slice(data, Layout::packed([data.len()]).unwrap(), device).unwrap()
}

fn bytes(count: usize, device: &Device) -> Tensor<u8, 1> {
    Tensor::empty([count], device).unwrap()
}

fn encodes<T: Float<Acc = f32>>() {
    let mut cases = Cases::of("sae_encode");
    for (seed, &case) in CASES.iter().enumerate() {
        for p in problems::<T>(case, 10 * seed as u64) {
            rows(&p, case, &mut cases);
            threshold(&p, case, &mut cases);
            subset(&p, case, &mut cases);
        }
    }
}

fn rows<T: Float<Acc = f32>>(p: &Problem<T>, case: [usize; 5], cases: &mut Cases) {
    let (bias, [rows, ..]) = (Layout::packed([p.bias.len()]).unwrap(), case);
    let plan = encode::plan(&p.x.1, &p.w.1, &bias, p.k).unwrap();
    let (mut values, mut latents) = (vec![0.0; rows * p.k], vec![0; rows * p.k]);
    encode::forward(&plan, &p.x.0, &p.w.0, &p.bias, &mut values, &mut latents);
    for device in devices() {
        let (x, w, bias) = tensors(p, &device);
        let (mut v, mut l) = (Fenced::new([rows, p.k], &device), Fenced::new([rows, p.k], &device));
        let mut workspace = bytes(sae_encode_workspace::<T>(&p.x.1, &p.w.1, p.k, &device).unwrap(), &device);
        let (x, w, bias) = (x.view(), w.view(), bias.view());
        sae_encode_into(x, w, bias, p.k, v.view_mut(), l.view_mut(), workspace.view_mut()).unwrap();
        assert_eq!((l.take(), v.take()), (latents.clone(), values.clone()), "{} {case:?}", place(&device));
        cases.ran(place(&device));
    }
}

fn threshold<T: Float<Acc = f32>>(p: &Problem<T>, case: [usize; 5], cases: &mut Cases) {
    let (bias, [rows, ..]) = (Layout::packed([p.bias.len()]).unwrap(), case);
    for least in [-5.0, 3.0] {
        let plan = encode::plan_threshold(&p.x.1, &p.w.1, &bias, least, p.k).unwrap();
        let (mut values, mut latents, mut counts) = (vec![0.0; rows * p.k], vec![0; rows * p.k], vec![0; rows]);
        encode::threshold(&plan, &p.x.0, &p.w.0, &p.bias, &mut values, &mut latents, &mut counts);
        for device in devices() {
            let (x, w, bias) = tensors(p, &device);
            let (mut v, mut l) = (Fenced::new([rows, p.k], &device), Fenced::new([rows, p.k], &device));
            let mut c = Fenced::new([rows], &device);
            let mut workspace =
                bytes(sae_encode_threshold_workspace::<T>(&p.x.1, &p.w.1, p.k, &device).unwrap(), &device);
            let (x, w, bias, workspace) = (x.view(), w.view(), bias.view(), workspace.view_mut());
            let (to, c_to) = ((v.view_mut(), l.view_mut()), c.view_mut());
            sae_encode_threshold_into(x, w, bias, least, p.k, to.0, to.1, c_to, workspace).unwrap();
            let got = (l.take(), v.take(), c.take());
            assert_eq!(got, (latents.clone(), values.clone(), counts.clone()), "{} {case:?}", place(&device));
            cases.ran(place(&device));
        }
    }
}

fn subset<T: Float<Acc = f32>>(p: &Problem<T>, case: [usize; 5], cases: &mut Cases) {
    let (bias, [rows, _, n, ..]) = (Layout::packed([p.bias.len()]).unwrap(), case);
    let listed: Vec<u32> = (0..n as u32).filter(|i| i % 3 != 1).collect();
    for count in [listed.len() as u32 / 2, u32::MAX] {
        let [list, one] = [listed.len(), 1].map(|len| Layout::packed([len]).unwrap());
        let plan = encode::plan_subset(&p.x.1, &p.w.1, &bias, &list, &one, p.k).unwrap();
        let (mut values, mut latents) = (vec![0.0; rows * p.k], vec![0; rows * p.k]);
        encode::subset(&plan, &p.x.0, &p.w.0, &p.bias, &listed, &[count], &mut values, &mut latents).unwrap();
        for device in devices() {
            let (x, w, bias) = tensors(p, &device);
            let (list, count) = (vector(&listed, &device), vector(&[count], &device));
            let (mut v, mut l) = (Fenced::new([rows, p.k], &device), Fenced::new([rows, p.k], &device));
            let need = sae_encode_subset_workspace::<T>(&p.x.1, &p.w.1, listed.len(), p.k, &device).unwrap();
            let mut workspace = bytes(need, &device);
            let (x, w, bias, list, count) = (x.view(), w.view(), bias.view(), list.view(), count.view());
            let (v_to, l_to, workspace) = (v.view_mut(), l.view_mut(), workspace.view_mut());
            sae_encode_subset_into(x, w, bias, list, count, p.k, v_to, l_to, workspace).unwrap();
            assert_eq!((l.take(), v.take()), (latents.clone(), values.clone()), "{} {case:?}", place(&device));
            cases.ran(place(&device));
        }
    }
}

fn flat<T: Float<Acc = f32> + Poison>() {
    let mut cases = Cases::of("sae_encode_flat");
    for (seed, &case) in CASES.iter().enumerate() {
        let [rows, _, n, k, _] = case;
        let mut all = problems::<T>(case, 10 * seed as u64);
        // One row takes everything: more than any cache holds.
        let mut greedy = all.swap_remove(0);
        greedy.x.0.iter_mut().take(case[1]).for_each(|x| *x = T::narrow(4.0 + x.wide()));
        greedy.w.0.iter_mut().for_each(|w| *w = T::narrow(w.wide().abs()));
        all.push(greedy);
        for (p, total) in all.iter().flat_map(|p| [(p, rows * k), (p, (rows * k).min(rows * n / 3))]) {
            let bias = Layout::packed([p.bias.len()]).unwrap();
            let plan = encode::plan_flat(&p.x.1, &p.w.1, &bias, total).unwrap();
            let (mut values, mut latents, mut offsets) = (vec![0.0; total], vec![0; total], vec![0; rows + 1]);
            encode::flat(&plan, &p.x.0, &p.w.0, &p.bias, &mut values, &mut latents, &mut offsets);
            for device in devices() {
                let (x, w, bias) = tensors(p, &device);
                let (mut v, mut l) = (Fenced::new([total], &device), Fenced::new([total], &device));
                let mut o = Fenced::new([rows + 1], &device);
                let mut workspace =
                    bytes(sae_encode_flat_workspace::<T>(&p.x.1, &p.w.1, total, &device).unwrap(), &device);
                let (x, w, bias, workspace) = (x.view(), w.view(), bias.view(), workspace.view_mut());
                let (v_to, l_to, o_to) = (v.view_mut(), l.view_mut(), o.view_mut());
                sae_encode_flat_into(x, w, bias, total, v_to, l_to, o_to, workspace).unwrap();
                let place = place(&device);
                assert_eq!(o.take(), offsets, "{place} {case:?} {total}");
                assert_eq!((l.take(), v.take()), (latents.clone(), values.clone()), "{place} {case:?} {total}");
                cases.ran(place);
            }
        }
    }
}

#[test]
fn f32_flat() {
    flat::<f32>();
}
#[test]
fn f16_flat() {
    flat::<f16>();
}
#[test]
fn bf16_flat() {
    flat::<bf16>();
}

/// Codes of whole numbers for rows of `k` slots, or of offsets that leave a row empty and slots to no row.
struct Coded {
    values: Vec<f32>,
    latents: Vec<u32>,
    offsets: Vec<u32>,
    shape: Shape,
}

fn codes(rows: usize, n: usize, k: usize, seed: u64) -> [Coded; 2] {
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

impl Coded {
    fn host(&self) -> sae::Codes<'_, f32> {
        sae::Codes { values: &self.values, latents: &self.latents, offsets: &self.offsets }
    }

    /// On `device`, for as long as `work` takes.
    fn with<R>(&self, device: &Device, work: impl FnOnce(Codes<'_, f32>) -> R) -> R {
        let (values, latents) = (vector(&self.values, device), vector(&self.latents, device));
        let offsets = vector(&self.offsets, device);
        match self.shape.width() {
            Some(k) => {
                let dims = [self.shape.rows(), k];
                let (values, latents) = (values.reshape(dims).unwrap(), latents.reshape(dims).unwrap());
                work(Codes::fixed(values.view(), latents.view()).unwrap())
            }
            None => work(Codes::flat(values.view(), latents.view(), offsets.view()).unwrap()),
        }
    }
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
    let mut cases = Cases::of("sae_decode");
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
    let mut cases = Cases::of("sae_backward");
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
    let mut cases = Cases::of("sae_bias");
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

/// On a GPU, where to look would be to wait, what is wrong in a list is passed over.
#[test]
fn a_wrong_list_is_passed_over() {
    for device in devices().into_iter().filter(|device| !device.is_host()) {
        let p = &problems::<f32>([2, 4, 50, 6, 0], 3)[1];
        let (x, w, bias) = tensors(p, &device);
        let (list, count) = (vector(&[3_u32, 3, 1, 9, 50, u32::MAX, 7, 11], &device), vector(&[8_u32], &device));
        let view = (x.view(), w.view(), bias.view());
        let (_, latents) = sae_encode_subset(view.0, view.1, view.2, list.view(), count.view(), 6).unwrap();
        assert_eq!(latents.to_vec().unwrap(), [[3, 9, 11, 50, 50, 50]; 2].concat());
    }
}

#[test]
fn f32_encodes() {
    encodes::<f32>();
}
#[test]
fn f16_encodes() {
    encodes::<f16>();
}
#[test]
fn bf16_encodes() {
    encodes::<bf16>();
}
