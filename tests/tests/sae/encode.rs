//! One table of cases; every implementation of the SAE encoder goes through it.
use latens_core::{self as core, Device, Error, Float, Layout, Tensor, bf16, f16};
use latens_cpu::sae::{Level, encode as cpu};
use latens_kernels::sae::encode as family;
use latens_tests::encode::{CASES, Case};
use latens_tests::{Cases, Fenced, Poison, devices, normal, place, uniform};

/// The cpu at every level, and core on every device: what each of them put out.
fn all<T: Float>(case: &Case<T>, cases: &mut Cases, mut check: impl FnMut(&str, Vec<T::Acc>, Vec<u32>))
where
    T::Acc: Poison,
{
    let dims = [case.rows(), case.k];
    let fenced = |device: &Device| (Fenced::<T::Acc, 2>::new(dims, device), Fenced::<u32, 2>::new(dims, device));
    for level in Level::all() {
        let (mut v, mut l) = fenced(&Device::Host);
        let p = case.plan().unwrap();
        cpu::forward_at(level, &p, &case.x.1, &case.w.1, &case.bias, v.slice(), l.slice());
        check(&format!("{level:?}"), v.take(), l.take());
        cases.ran("cpu");
    }
    for device in devices() {
        let ((x, w, bias), (mut v, mut l)) = (case.on(&device), fenced(&device));
        let bytes = core::sae_encode_workspace::<T>(&case.x.0, &case.w.0, case.k, &device).unwrap();
        let mut workspace = Tensor::empty([bytes], &device).unwrap();
        let (v_out, l_out) = (v.view_mut(), l.view_mut());
        core::sae_encode_into(x.view(), w.view(), bias.view(), case.k, v_out, l_out, workspace.view_mut()).unwrap();
        check(place(&device), v.take(), l.take());
        let (v, l) = core::sae_encode(x.view(), w.view(), bias.view(), case.k).unwrap();
        check(place(&device), v.to_vec().unwrap(), l.to_vec().unwrap());
        cases.ran(place(&device));
    }
}

fn bits<A: Float>(x: &[A]) -> Vec<u64> {
    x.iter().map(|x| x.wide().to_bits()).collect()
}

fn exact<T: Float>(case: &Case<T>, cases: &mut Cases, what: &str)
where
    T::Acc: Poison,
{
    let (values, latents) = case.want();
    all(case, cases, |place, v, l| {
        assert_eq!(l, latents, "{place} {what}");
        assert_eq!(bits(&v), bits(&values), "{place} {what}");
    });
}

fn table<T: Float>(cases: &mut Cases)
where
    T::Acc: Poison,
{
    for (seed, &case) in CASES.iter().enumerate() {
        for special in [false, true] {
            exact(&Case::<T>::whole(case, special, 10 * seed as u64), cases, &format!("{case:?} special {special}"));
        }
    }
}

#[test]
fn exact_table() {
    let mut cases = Cases::of("sae encode");
    table::<f32>(&mut cases);
    table::<bf16>(&mut cases);
    table::<f16>(&mut cases);
}

/// Rows where all are equal, where every latent beats those before it, where none does after the first, and where all
/// fall into one bucket of exponents; latents of which all are copies of a few.
#[test]
fn hard_rows() {
    let mut cases = Cases::of("sae encode, hard rows");
    let n = 1000;
    let shapes: [fn(usize) -> f64; 5] =
        [|_| 1.0, |j| j as f64, |j| 2000.0 - j as f64, |j| 1.0 + (j * 7919 % 1000) as f64 / 1024.0, |j| (j % 3) as f64];
    for shape in shapes {
        for (rows, k) in [(3, 8), (40, 33), (1, 1000)] {
            let mut case = Case::<f32>::whole([rows, 2, n, k, 0], false, 1);
            case.x.1.fill(1.0);
            case.w.1 = (0..2 * n).map(|i| if i % 2 == 0 { shape(i / 2) as f32 } else { 0.0 }).collect();
            case.bias.fill(0.0);
            exact(&case, &mut cases, "hard");
        }
    }
}

/// Sums that round differently may choose differently only where pre-activations are as close as the contract says.
fn nearly<T: Float>(case: &Case<T>, limit: f64, cases: &mut Cases)
where
    T::Acc: Poison,
{
    let (dim, n, k) = (case.x.0.dims()[1], case.n(), case.k);
    all(case, cases, |place, values, latents| {
        for r in 0..case.rows() {
            let x = &case.x.1[r * case.x.0.strides()[0]..][..dim];
            let z = |j: usize| {
                let terms = || {
                    let w = &case.w.1[j * case.w.0.strides()[0]..][..dim];
                    x.iter().zip(w).map(|(x, w)| x.wide() * w.wide())
                };
                (terms().sum::<f64>() + case.bias[j].wide(), terms().map(f64::abs).sum::<f64>() * limit)
            };
            let chosen = &latents[r * k..][..k];
            let full = chosen.iter().take_while(|&&l| l < n as u32).count();
            assert!(chosen[..full].is_sorted_by(|a, b| a < b), "{place}");
            assert!(chosen[full..].iter().all(|&l| l == n as u32), "{place}");
            let least = chosen[..full].iter().map(|&l| z(l as usize).0).fold(f64::INFINITY, f64::min);
            for j in 0..n {
                let (z, slack) = z(j);
                match chosen[..full].binary_search(&(j as u32)) {
                    Ok(slot) => assert!((values[r * k + slot].wide() - z).abs() <= slack, "{place} {r} {j}"),
                    Err(_) => assert!(z <= slack || (full == k && z <= least + 2.0 * slack), "{place} {r} {j}"),
                }
            }
        }
    });
}

#[test]
fn random_numbers() {
    let mut cases = Cases::of("sae encode, random");
    fn random<T: Float>([rows, dim, n, k, padding]: [usize; 5], seed: u64) -> Case<T> {
        let mut case = Case::<T>::whole([rows, dim, n, k, padding], false, seed);
        case.x.1 = normal(case.x.1.len(), 1.0, seed);
        case.w.1 = normal(case.w.1.len(), 0.2, seed + 1);
        case
    }
    for (seed, &case) in CASES.iter().enumerate() {
        nearly(&random::<f32>(case, seed as u64), 1e-5, &mut cases);
        nearly(&random::<bf16>(case, seed as u64), 2e-5, &mut cases);
        nearly(&random::<f16>(case, seed as u64), 1e-5, &mut cases);
    }
}

/// The same bits from one thread and from two, and again.
#[test]
fn threads_do_not_matter() {
    let case = Case::<f32> { bias: normal(700, 0.1, 3), ..Case::whole([100, 40, 700, 9, 0], false, 1) };
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let (mut v, mut l) = (vec![0.0_f32; 900], vec![0; 900]);
        pool.install(|| cpu::forward(&case.plan().unwrap(), &case.x.1, &case.w.1, &case.bias, &mut v, &mut l));
        let (mut fv, mut fl, mut offsets) = (vec![0.0_f32; 500], vec![0; 500], vec![0; 101]);
        let p = family::plan_flat(&case.x.0, &case.w.0, &case.bias(), 500).unwrap();
        pool.install(|| cpu::flat(&p, &case.x.1, &case.w.1, &case.bias, &mut fv, &mut fl, &mut offsets));
        (bits(&v), l, bits(&fv), fl, offsets)
    };
    let one = run(1);
    for threads in [2, 3, 7, 2] {
        assert!(run(threads) == one, "{threads} threads");
    }
}

/// Nor where blocks of rows share what is rounded of `w`, or more of it than is rounded at once; sums round.
#[test]
fn threads_do_not_matter_to_blocks() {
    for [rows, dim, n, k] in [[1100, 80, 600, 7], [520, 72, 60_000, 3]] {
        let (x, w) = (normal::<f32>(rows * dim, 1.0, 1), normal::<f32>(n * dim, 0.1, 2));
        let bias = normal::<f32>(n, 0.1, 3);
        let layout = |dims| Layout::packed(dims).unwrap();
        let p = family::plan(&layout([rows, dim]), &layout([n, dim]), &Layout::packed([n]).unwrap(), k).unwrap();
        let run = |threads: usize, level| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let (mut v, mut l) = (vec![0.0_f32; rows * k], vec![0; rows * k]);
            pool.install(|| cpu::forward_at(level, &p, &x, &w, &bias, &mut v, &mut l));
            (bits(&v), l)
        };
        for level in Level::all().into_iter().filter(|level| level.screens()) {
            let one = run(1, level);
            for threads in [2, 3, 8] {
                assert!(run(threads, level) == one, "{level:?}, {threads} threads, {rows}");
            }
        }
    }
}

/// Nor where lists are given up, at a latent that hangs on how the work is parted: one entry far above the others makes errors
/// too large for them.
#[test]
fn threads_do_not_matter_where_lists_are_vain() {
    let [rows, dim, n, k] = [256, 64, 4096, 32];
    let (mut x, mut w) = (uniform::<f32>(rows * dim, -1.0, 1.0, 1), uniform::<f32>(n * dim, -1.0, 1.0, 2));
    x.iter_mut().skip(5).step_by(dim).for_each(|x| *x = 3000.0);
    w.iter_mut().skip(5).step_by(dim).for_each(|w| *w *= 0.001);
    // A row and a latent of which nothing is known.
    x[7 * dim] = f32::NAN;
    let bias = normal::<f32>(n, 0.1, 3);
    let layout = |dims| Layout::packed(dims).unwrap();
    let p = family::plan(&layout([rows, dim]), &layout([n, dim]), &Layout::packed([n]).unwrap(), k).unwrap();
    let run = |threads: usize, w: &[f32]| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let (mut v, mut l) = (vec![0.0_f32; rows * k], vec![0; rows * k]);
        pool.install(|| cpu::forward(&p, &x, w, &bias, &mut v, &mut l));
        (bits(&v), l)
    };
    for unknown in [false, true] {
        if unknown {
            w[3000 * dim] = f32::INFINITY;
        }
        let one = run(1, &w);
        for threads in [2, 3, 4] {
            assert!(run(threads, &w) == one, "{threads} threads, {unknown}");
        }
    }
}

#[test]
fn wrong_calls_are_errors() {
    for device in devices() {
        let tensor = |dims| Tensor::<f32, 2>::zeros(dims, &device).unwrap();
        let bias = Tensor::<f32, 1>::zeros([4], &device).unwrap();
        let (x, w) = (tensor([2, 3]), tensor([4, 3]));
        let encode =
            |x: &Tensor<f32, 2>, w: &Tensor<f32, 2>, k| core::sae_encode(x.view(), w.view(), bias.view(), k).err();
        let op = "sae_encode";
        assert_eq!(encode(&x, &w, 5), Some(Error::Range { op, arg: "k", max: 4, got: 5 }));
        assert_eq!(encode(&x, &tensor([4, 2]), 1), Some(Error::Size { op, arg: "w_enc", want: 3, got: 2 }));
        assert_eq!(encode(&x, &tensor([5, 3]), 1), Some(Error::Size { op, arg: "bias", want: 5, got: 4 }));
        let flat = core::sae_encode_flat(x.view(), w.view(), bias.view(), 9).err();
        assert_eq!(flat, Some(Error::Range { op, arg: "total", max: 8, got: 9 }));
        let nan = core::sae_encode_threshold(x.view(), w.view(), bias.view(), f32::NAN, 1).err();
        assert_eq!(nan, Some(Error::Value { op, arg: "threshold", want: "a number" }));
        if device.is_host() {
            let subset = |list: &[u32]| {
                let len = Layout::packed([list.len()]).unwrap();
                let list = Tensor::from_slice(list, len, &device).unwrap();
                let count = Tensor::from_vec(vec![9], [1], &device).unwrap();
                core::sae_encode_subset(x.view(), w.view(), bias.view(), list.view(), count.view(), 1).err()
            };
            assert_eq!(subset(&[0, 3]), None);
            assert_eq!(subset(&[0, 4]), Some(Error::Range { op, arg: "subset", max: 3, got: 4 }));
            assert_eq!(subset(&[1, 1]), Some(Error::Value { op, arg: "subset", want: "rising" }));
        }
    }
}
