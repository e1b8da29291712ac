//! One table of sparse codes; every implementation of decode, backward and bias goes through it. The encoder
//! has its own, `sae_encode.rs`, and so have firing and dying, `sae_track.rs`.
use latens_core::{self as core, Accumulate, Codes, Device, Error, Float, Layout, Tensor, bf16, f16};
use latens_cpu::sae as cpu;
use latens_kernels::sae as family;
use latens_tests::{Batch, Cases, FLAT, Fenced, Poison, close, devices, normal, place};

/// `[rows, dim, n, k, padding]`; a `k` of [`FLAT`] makes rows of different widths.
const CASES: &[[usize; 5]] = &[
    [0, 4, 5, 2, 0],
    [3, 4, 0, 2, 0],
    [3, 0, 7, 3, 0],
    [2, 4, 5, 0, 0],
    [1, 1, 1, 1, 0],
    [5, 31, 12, 4, 1],
    [17, 64, 9, 9, 0],
    [40, 255, 3, 2, 3],
    [33, 256, 300, 7, 0],
    [6, 257, 300, 32, 2],
    [200, 40, 50, 6, 0],
    [0, 4, 5, FLAT, 0],
    [7, 33, 20, FLAT, 1],
    [50, 300, 100, FLAT, 0],
];
/// The squared error that sums in `f32` and one rounding to the type may cost.
fn limit<T: Float>() -> f64 {
    match T::DTYPE {
        latens_core::DType::BF16 => 1e-5,
        latens_core::DType::F16 => 1e-6,
        _ => 1e-11,
    }
}

pub(super) fn decode<T: Poison + Float>(case: &Batch<T>, cases: &mut Cases, what: &str)
where
    T::Acc: Poison,
{
    let [rows, dim, _] = case.dims();
    let b_dec = case.b_dec.as_deref();
    let bias = Layout::packed([dim]).unwrap();
    let p = family::decode::plan(&case.codes.shape, &case.w.0, b_dec.map(|_| &bias), Some(&case.x.0)).unwrap();
    let (mut recon, mut residual) = (vec![T::POISON; rows * dim], vec![T::POISON; rows * dim]);
    let mut error = vec![<T::Acc as Poison>::POISON; rows];
    let against = family::decode::Against { x: &case.x.1, residual: &mut residual, error: &mut error };
    family::decode::forward(&p, case.codes.host(), &case.w.1, b_dec, &mut recon, Some(against));
    let check = |place: &str, r: Vec<T>, e: Vec<T>, s: Vec<T::Acc>| {
        close(&format!("{place} {what} recon"), &r, &recon, limit::<T>());
        close(&format!("{place} {what} residual"), &e, &residual, limit::<T>());
        close(&format!("{place} {what} error"), &s, &error, 1e-11);
    };
    let fenced = |device: &Device| {
        let wide = || Fenced::<T, 2>::new([rows, dim], device);
        (wide(), wide(), Fenced::<T::Acc, 1>::new([rows], device))
    };
    for level in cpu::Level::all() {
        let (mut r, mut e, mut s) = fenced(&Device::Host);
        let against = cpu::decode::Against { x: &case.x.1, residual: e.slice(), error: s.slice() };
        cpu::decode::forward_at(level, &p, case.codes.host(), &case.w.1, b_dec, r.slice(), Some(against));
        check(&format!("{level:?}"), r.full(), e.full(), s.full());
        cases.ran("cpu");
    }
    for device in devices() {
        let (on, (mut r, mut e, mut s)) = (case.on(&device), fenced(&device));
        let bytes = core::sae_decode_workspace::<T>(&case.codes.shape, &case.w.0, true, &device).unwrap();
        let mut workspace = Tensor::empty([bytes], &device).unwrap();
        let against = core::Against { x: on.x.view(), residual: e.view_mut(), error: s.view_mut() };
        let b_dec = on.b_dec.as_ref().map(Tensor::view);
        core::sae_decode_into(on.codes(), on.w.view(), b_dec, r.view_mut(), Some(against), workspace.view_mut())
            .unwrap();
        check(place(&device), r.full(), e.full(), s.full());
        let alone = core::sae_decode(on.codes(), on.w.view(), b_dec, None).unwrap();
        close(what, &alone.recon.to_vec().unwrap(), &recon, limit::<T>());
        assert!(alone.residual.is_none() && alone.error.is_none());
        cases.ran(place(&device));
    }
}

type Sums<A> = (Vec<A>, Vec<A>, Vec<A>, Vec<A>);

fn reference<T: Float>(case: &Batch<T>, p: &family::backward::Plan, before: f64) -> Sums<T::Acc> {
    let [_, dim, n] = case.dims();
    let start = |len: usize| vec![T::Acc::narrow(before); len];
    let mut out = (start(n * dim), start(n * dim), start(n), start(case.codes.shape.slots()));
    let (dec, enc, bias, values) = (&mut out.0, &mut out.1, &mut out.2, &mut out.3);
    let b_dec = case.b_dec.as_deref();
    family::backward::backward(p, case.codes.host(), &case.x.1, &case.g.1, &case.w.1, b_dec, dec, enc, bias, values);
    out
}

fn backward<T: Float>(case: &Batch<T>, accumulate: Accumulate, cases: &mut Cases, what: &str)
where
    T::Acc: Poison,
{
    let [_, dim, n] = case.dims();
    let bias = Layout::packed([dim]).unwrap();
    let b_dec = case.b_dec.as_deref();
    let b_layout = b_dec.map(|_| &bias);
    let p = family::backward::plan(&case.codes.shape, &case.x.0, &case.g.0, &case.w.0, b_layout, accumulate).unwrap();
    let before = if accumulate == Accumulate::Add { 0.5 } else { f64::NAN };
    let want = reference(case, &p, before);
    let check = |place: &str, got: Sums<T::Acc>| {
        close(&format!("{place} {what} dw_dec"), &got.0, &want.0, 1e-11);
        close(&format!("{place} {what} dw_enc"), &got.1, &want.1, 1e-11);
        close(&format!("{place} {what} db_enc"), &got.2, &want.2, 1e-11);
        close(&format!("{place} {what} dvalues"), &got.3, &want.3, 1e-11);
        for (slot, got) in got.3.iter().enumerate() {
            let open = (case.codes.latents[slot] as usize) < n && case.codes.values[slot].wide() > 0.0;
            assert!(open || got.wide().to_bits() == 0, "{place} {what}: a gradient through slot {slot}");
        }
    };
    let fenced = |device: &Device| {
        let wide = || Fenced::<T::Acc, 2>::holding(&vec![T::Acc::narrow(before); n * dim], [n, dim], device);
        let bias = Fenced::<T::Acc, 1>::holding(&vec![T::Acc::narrow(before); n], [n], device);
        (wide(), wide(), bias, Fenced::<T::Acc, 1>::new([case.codes.shape.slots()], device))
    };
    for level in cpu::Level::all() {
        let (mut d, mut e, mut b, mut v) = fenced(&Device::Host);
        let (dec, enc, db) = (d.slice(), e.slice(), b.slice());
        let (x, g, w) = (&case.x.1, &case.g.1, &case.w.1);
        cpu::backward::backward_at(level, &p, case.codes.host(), x, g, w, b_dec, dec, enc, db, v.slice());
        check(&format!("{level:?}"), (d.take(), e.take(), b.take(), v.full()));
        cases.ran("cpu");
    }
    for device in devices() {
        let (on, (mut d, mut e, mut b, mut v)) = (case.on(&device), fenced(&device));
        let bytes = core::sae_backward_workspace::<T>(&case.codes.shape, &case.w.0, &device).unwrap();
        let mut workspace = Tensor::empty([bytes], &device).unwrap();
        let b_dec = on.b_dec.as_ref().map(Tensor::view);
        let (x, g, w) = (on.x.view(), on.g.view(), on.w.view());
        let (dec, enc, db, dv) = (d.view_mut(), e.view_mut(), b.view_mut(), v.view_mut());
        core::sae_backward_into(on.codes(), x, g, w, b_dec, accumulate, dec, enc, db, dv, workspace.view_mut())
            .unwrap();
        check(place(&device), (d.take(), e.take(), b.take(), v.full()));
        cases.ran(place(&device));
    }
}

fn table<T: Poison + Float>()
where
    T::Acc: Poison,
{
    let mut cases = Cases::of("sae").in_type::<T>();
    for (seed, &case) in CASES.iter().enumerate() {
        let (what, case) = (format!("{case:?}"), Batch::<T>::new(case, seed as u64));
        decode(&case, &mut cases, &what);
        backward(&case, Accumulate::Replace, &mut cases, &what);
        backward(&case, Accumulate::Add, &mut cases, &what);
    }
}

#[test]
fn f32_table() {
    table::<f32>();
}
#[test]
fn bf16_table() {
    table::<bf16>();
}
#[test]
fn f16_table() {
    table::<f16>();
}

/// One latent that every row names, and a row of NaN that only reaches what it names.
#[test]
fn hot_latents_and_bad_rows() {
    let mut cases = Cases::of("sae, hot");
    let mut case = Batch::<f32>::new([500, 70, 40, 3, 0], 1);
    for r in 0..500 {
        (case.codes.latents[3 * r], case.codes.values[3 * r]) = (7, 1.0);
    }
    decode(&case, &mut cases, "hot");
    backward(&case, Accumulate::Replace, &mut cases, "hot");
    case.x.1[70 * 3..70 * 4].fill(f32::NAN);
    case.g.1[70 * 5..70 * 6].fill(f32::INFINITY);
    decode(&case, &mut cases, "bad rows");
    let on = case.on(&Device::Host);
    let got = core::sae_backward(on.codes(), on.x.view(), on.g.view(), on.w.view(), None).unwrap();
    let named = |row: usize, l: u32| case.codes.latents[3 * row..3 * row + 3].contains(&l);
    for (l, row) in got.w_enc.to_vec().unwrap().chunks(70).enumerate() {
        let reached = named(3, l as u32) || named(5, l as u32);
        assert!(reached || row.iter().all(|x| x.is_finite()), "latent {l}");
    }
}

#[test]
fn threads_do_not_matter() {
    let case = Batch::<f32>::new([300, 70, 40, 5, 0], 2);
    let on = case.on(&Device::Host);
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let b = on.b_dec.as_ref().map(Tensor::view);
            let got = core::sae_backward(on.codes(), on.x.view(), on.g.view(), on.w.view(), b).unwrap();
            let db = core::sae_bias_backward(on.g.view(), on.w.view(), got.b_enc.view()).unwrap();
            let recon = core::sae_decode(on.codes(), on.w.view(), b, None).unwrap().recon;
            let all = [got.w_dec.to_vec(), got.w_enc.to_vec(), got.b_enc.to_vec(), got.values.to_vec(), db.to_vec()];
            all.into_iter().chain([recon.to_vec()]).map(|x| x.unwrap().iter().map(|x| x.to_bits()).collect()).collect()
        })
    };
    let one: Vec<Vec<u32>> = run(1);
    for threads in [2, 3, 8, 2] {
        assert!(run(threads) == one, "{threads} threads");
    }
}

#[test]
fn biases() {
    fn check<T: Poison + Float>(cases: &mut Cases)
    where
        T::Acc: Poison,
    {
        for (seed, &[rows, dim, n, ..]) in CASES.iter().enumerate() {
            let case = Batch::<T>::new([rows, dim, n, 0, 2], seed as u64);
            let (b_enc, b_dec) = (normal::<T::Acc>(n, 1.0, 1), normal::<T::Acc>(dim, 1.0, 2));
            let [long, short] = [n, dim].map(|len| Layout::packed([len]).unwrap());
            let p = family::bias::plan(&case.w.0, &long, &short).unwrap();
            let mut want = vec![T::Acc::default(); n];
            family::bias::forward(&p, &case.w.1, &b_enc, &b_dec, &mut want);
            let back = family::bias::plan_backward(&case.g.0, &case.w.0, &long, Accumulate::Add).unwrap();
            let mut slope = vec![T::Acc::narrow(0.5); dim];
            family::bias::backward(&back, &case.g.1, &case.w.1, &b_enc, &mut slope);
            for device in devices() {
                let on = case.on(&device);
                let enc = Tensor::from_slice(&b_enc, long, &device).unwrap();
                let dec = Tensor::from_slice(&b_dec, short, &device).unwrap();
                let got = core::sae_bias(on.w.view(), enc.view(), dec.view()).unwrap();
                close("bias", &got.to_vec().unwrap(), &want, 1e-11);
                let mut out = Fenced::<T::Acc, 1>::holding(&vec![T::Acc::narrow(0.5); dim], [dim], &device);
                let bytes = core::sae_bias_backward_workspace::<T>(&case.g.0, &case.w.0, &device).unwrap();
                let mut workspace = Tensor::empty([bytes], &device).unwrap();
                let (g, w) = (on.g.view(), on.w.view());
                let add = Accumulate::Add;
                core::sae_bias_backward_into(g, w, enc.view(), add, out.view_mut(), workspace.view_mut()).unwrap();
                close("db_dec", &out.take(), &slope, 1e-11);
                cases.ran(place(&device));
            }
        }
    }
    let mut cases = Cases::of("sae bias");
    check::<f32>(&mut cases);
    check::<bf16>(&mut cases);
    check::<f16>(&mut cases);
}

#[test]
fn wrong_calls_are_errors() {
    for device in devices() {
        let w = Tensor::<f32, 2>::zeros([4, 3], &device).unwrap();
        let x = Tensor::<f32, 2>::zeros([2, 3], &device).unwrap();
        let values = Tensor::<f32, 1>::zeros([2], &device).unwrap();
        let tensor = |list: &[u32]| Tensor::from_slice(list, Layout::packed([list.len()]).unwrap(), &device).unwrap();
        let narrow = Tensor::<f32, 2>::zeros([2, 2], &device).unwrap();
        let fixed = |latents: &Tensor<u32, 1>, x: &Tensor<f32, 2>| {
            let (values, latents) = (values.view().reshape([2, 1]).unwrap(), latents.view().reshape([2, 1]).unwrap());
            core::sae_decode(Codes::fixed(values, latents).unwrap(), w.view(), None, Some(x.view())).err()
        };
        let op = "sae_decode";
        assert_eq!(fixed(&tensor(&[0, 4]), &x), None);
        assert_eq!(fixed(&tensor(&[0, 4]), &narrow), Some(Error::Size { op, arg: "x", want: 3, got: 2 }));
        let three = tensor(&[0, 1, 2]);
        assert!(Codes::flat(values.view(), three.view(), three.view()).is_err());
        if device.is_host() {
            assert_eq!(fixed(&tensor(&[0, 5]), &x), Some(Error::Range { op, arg: "latents", max: 4, got: 5 }));
            for offsets in [[0, 2, 1], [1, 1, 2], [0, 1, 3]] {
                let (latents, offsets) = (tensor(&[0, 1]), tensor(&offsets));
                let codes = Codes::flat(values.view(), latents.view(), offsets.view()).unwrap();
                let wrong = core::sae_decode(codes, w.view(), None, None).err();
                assert!(matches!(wrong, Some(Error::Value { arg: "offsets", .. })), "{wrong:?}");
            }
        }
    }
}
