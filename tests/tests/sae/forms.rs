//! The forms of the SAE encoder against the reference: a subset of latents, a flat batch, a threshold.
use latens_core::{self as core, Layout, Tensor};
use latens_kernels::sae::encode as family;
use latens_tests::encode::{CASES, Case};
use latens_tests::{Cases, devices, place};

#[test]
fn subsets() {
    let mut cases = Cases::of("sae encode_subset");
    for (seed, &[rows, dim, n, k, padding]) in CASES.iter().enumerate() {
        let case = Case::<f32>::whole([rows, dim, n, k, padding], true, seed as u64);
        for (every, fewer) in [(1, 0), (3, 0), (2, 1), (1, n)] {
            let list: Vec<u32> = (0..n as u32).step_by(every).collect();
            let count = [list.len().saturating_sub(fewer) as u32];
            // Nothing but the latents of the list takes part: the same as all the others at a bias of minus infinity.
            let mut other = Case { bias: case.bias.clone(), x: case.x.clone(), w: case.w.clone(), k };
            let listed = &list[..count[0] as usize];
            for j in (0..n).filter(|&j| !listed.contains(&(j as u32))) {
                other.bias[j] = f32::NEG_INFINITY;
            }
            let (values, latents) = other.want();
            for device in devices() {
                let (x, w, bias) = case.on(&device);
                let list = Tensor::from_slice(&list, Layout::packed([list.len()]).unwrap(), &device).unwrap();
                let count = Tensor::from_slice(&count, Layout::packed([1]).unwrap(), &device).unwrap();
                let (b, l, c) = (bias.view(), list.view(), count.view());
                let (v, l) = core::sae_encode_subset(x.view(), w.view(), b, l, c, k).unwrap();
                assert_eq!(l.to_vec().unwrap(), latents, "{} {rows} {n} {k} {every}", place(&device));
                assert_eq!(v.to_vec().unwrap(), values);
                cases.ran(place(&device));
            }
        }
    }
}

#[test]
fn flat_batches() {
    let mut cases = Cases::of("sae encode_flat");
    for (seed, &[rows, dim, n, k, padding]) in CASES.iter().enumerate() {
        let case = Case::<f32>::whole([rows, dim, n, k, padding], true, seed as u64);
        // int(k * rows) of a fractional k among them, everything, and more than is positive.
        for total in [0, rows * k, (rows as f64 * k as f64 * 0.7) as usize, rows * n] {
            let p = family::plan_flat(&case.x.0, &case.w.0, &case.bias(), total).unwrap();
            let (mut values, mut latents, mut offsets) = (vec![7.0; total], vec![7; total], vec![7; rows + 1]);
            family::flat(&p, &case.x.1, &case.w.1, &case.bias, &mut values, &mut latents, &mut offsets);
            for device in devices() {
                let (x, w, bias) = case.on(&device);
                let (v, l, o) = core::sae_encode_flat(x.view(), w.view(), bias.view(), total).unwrap();
                assert_eq!(o.to_vec().unwrap(), offsets, "{} {rows} {n} {total}", place(&device));
                assert_eq!(l.to_vec().unwrap(), latents, "{} {rows} {n} {total}", place(&device));
                assert_eq!(v.to_vec().unwrap(), values);
                cases.ran(place(&device));
            }
        }
    }
}

/// Equal values in several rows: the first rows get them.
#[test]
fn flat_ties_across_rows() {
    let one = Layout::packed([3, 1]).unwrap();
    let case = Case::<f32> { x: (one, vec![1.0; 3]), w: (one, vec![2.0, 3.0, 2.0]), bias: vec![0.0; 3], k: 0 };
    for device in devices() {
        let (x, w, bias) = case.on(&device);
        let (v, l, o) = core::sae_encode_flat(x.view(), w.view(), bias.view(), 6).unwrap();
        assert_eq!(v.to_vec().unwrap(), [2.0, 3.0, 2.0, 2.0, 3.0, 3.0]);
        assert_eq!(l.to_vec().unwrap(), [0, 1, 2, 0, 1, 1]);
        assert_eq!(o.to_vec().unwrap(), [0, 3, 5, 6]);
    }
}

#[test]
fn thresholds() {
    let mut cases = Cases::of("sae encode_threshold");
    for (seed, &[rows, dim, n, k, padding]) in CASES.iter().enumerate() {
        let case = Case::<f32>::whole([rows, dim, n, k, padding], true, seed as u64);
        for threshold in [0.0, -1.0, 4.0, f32::INFINITY, f32::NEG_INFINITY] {
            let p = family::plan_threshold(&case.x.0, &case.w.0, &case.bias(), threshold, k).unwrap();
            let (mut values, mut latents, mut counts) = (vec![7.0; rows * k], vec![7; rows * k], vec![7; rows]);
            family::threshold(&p, &case.x.1, &case.w.1, &case.bias, &mut values, &mut latents, &mut counts);
            for device in devices() {
                let (x, w, bias) = case.on(&device);
                let (v, l, c) = core::sae_encode_threshold(x.view(), w.view(), bias.view(), threshold, k).unwrap();
                assert_eq!(c.to_vec().unwrap(), counts, "{} {rows} {n} {threshold}", place(&device));
                assert_eq!(l.to_vec().unwrap(), latents, "{} {rows} {n} {threshold}", place(&device));
                assert_eq!(v.to_vec().unwrap(), values);
                cases.ran(place(&device));
            }
        }
    }
}
