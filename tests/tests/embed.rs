//! One table of cases; every implementation of the table look-up goes through it.
use latens_core::{Device, Error, Float, Layout, Tensor, bf16, embed, embed_into, f16, gather_rows};
use latens_kernels::embed as family;
use latens_tests::{Cases, Fenced, Poison, devices, numbers, place, same};

/// `[vocab, dim, ids, padding]`.
const CASES: &[[usize; 4]] = &[
    [0, 4, 0, 0],
    [5, 0, 3, 0],
    [5, 3, 0, 0],
    [1, 1, 1, 0],
    [7, 31, 9, 1],
    [9, 32, 40, 0],
    [3, 33, 5, 7],
    [50, 1000, 6, 8],
];

fn ids(count: usize, below: usize) -> Vec<u32> {
    (0..count).map(|i| (i * 7 % below.max(1)) as u32).collect()
}

fn table<T: Float + Poison>() {
    let mut cases = Cases::of("embed");
    for (seed, &[vocab, dim, n, padding]) in CASES.iter().enumerate() {
        let (what, ids) = (format!("{vocab} {dim} {n}"), ids(n, vocab));
        let layout = Layout::strided([vocab, dim], [dim + padding, 1]).unwrap();
        let rows = &numbers::<T>(vocab * (dim + padding), seed as u64)[..layout.span()];
        let p = family::plan(&layout, &Layout::packed([n]).unwrap()).unwrap();
        let mut want = vec![T::POISON; n * dim];
        family::forward(&p, rows, &ids, &mut want).unwrap();
        cases.ran("reference");
        let mut y = Fenced::<T, 2>::new([n, dim], &Device::Host);
        latens_cpu::embed::forward(&p, rows, &ids, y.slice()).unwrap();
        assert!(same(&y.full(), &want), "cpu {what}");
        cases.ran("cpu");
        for device in devices() {
            let rows = Tensor::from_slice(rows, layout, &device).unwrap();
            let ids = Tensor::from_slice(&ids, Layout::packed([n]).unwrap(), &device).unwrap();
            for y in [embed(rows.view(), ids.view()), gather_rows(rows.view(), ids.view())] {
                assert!(same(&y.unwrap().to_vec().unwrap(), &want), "{} {what}", place(&device));
            }
            let mut into = Fenced::<T, 2>::new([n, dim], &device);
            embed_into(rows.view(), ids.view(), into.view_mut()).unwrap();
            assert!(same(&into.full(), &want), "{} {what}", place(&device));
            cases.ran(place(&device));
        }
    }
}

#[test]
fn f32_table() {
    table::<f32>();
}
#[test]
fn f16_table() {
    table::<f16>();
}
#[test]
fn bf16_table() {
    table::<bf16>();
}

/// On the host a bad id is an error, and nothing is written; on CUDA its row is NaN, and the others are right.
#[test]
fn bad_ids() {
    for device in devices() {
        let rows = Tensor::from_slice(&[1.0_f32, 2.0, 3.0, 4.0], Layout::packed([2, 2]).unwrap(), &device).unwrap();
        for bad in [2, u32::MAX] {
            let ids = Tensor::from_slice(&[1, bad, 0], Layout::packed([3]).unwrap(), &device).unwrap();
            let mut y = Fenced::<f32, 2>::new([3, 2], &device);
            let done = embed_into(rows.view(), ids.view(), y.view_mut());
            if device.is_host() {
                assert_eq!(done, Err(Error::Range { op: "embed", arg: "ids", max: 1, got: bad as usize }));
                assert_eq!(y.take(), [f32::POISON; 6]);
            } else {
                done.unwrap();
                assert!(same(&y.take(), &[3.0, 4.0, f32::NAN, f32::NAN, 1.0, 2.0]));
            }
        }
        let ids = Tensor::from_slice(&[0_u32], Layout::packed([1]).unwrap(), &device).unwrap();
        let mut small = Fenced::<f32, 2>::new([1, 3], &device);
        let size = Error::Size { op: "embed", arg: "y", want: 2, got: 3 };
        assert_eq!(embed_into(rows.view(), ids.view(), small.view_mut()), Err(size));
    }
}
