//! The encoders where sums have no rounding: small whole numbers, so every device must agree with the reference bit for
//! bit, ties and all. What rounding does is the table's business, in `sae.rs`.
use latens_core::{Device, Float, Layout, Tensor, bf16, f16};
use latens_core::{
    sae_encode_flat_into, sae_encode_flat_workspace, sae_encode_into, sae_encode_subset, sae_encode_subset_into,
    sae_encode_subset_workspace, sae_encode_threshold_into, sae_encode_threshold_workspace, sae_encode_workspace,
};
use latens_kernels::sae::encode;
use latens_tests::{Cases, Fenced, Poison, bytes, devices, place, small, vector, whole};

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

fn encodes<T: Float<Acc = f32>>() {
    let mut cases = Cases::of("sae_encode").in_type::<T>();
    for (seed, &case) in CASES.iter().enumerate().filter(|(_, case)| !small() || case[3] < 1000) {
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
    let mut cases = Cases::of("sae_encode_flat").in_type::<T>();
    for (seed, &case) in CASES.iter().enumerate().filter(|(_, case)| !small() || case[3] < 1000) {
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
