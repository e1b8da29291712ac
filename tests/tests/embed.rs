//! One table of cases; every implementation of the table look-up, and of what flows back, goes through it.
use latens_core::{
    Accumulate, Device, Error, Float, Layout, Tensor, bf16, embed, embed_backward, embed_backward_into,
    embed_backward_workspace, embed_into, f16, gather_rows,
};
use latens_cpu::{Level, embed as cpu};
use latens_kernels::embed as family;
use latens_tests::{
    Cases, Fenced, Poison, bytes, close, devices, emulated, normal, numbers, place, same, small, vector,
};

/// `[vocab, dim, ids, padding]`.
const CASES: &[[usize; 4]] = &[
    [0, 4, 0, 0],
    [5, 0, 3, 0],
    [5, 3, 0, 0],
    [1, 1, 1, 0],
    [1, 5, 70, 0],
    [7, 31, 9, 1],
    [9, 32, 40, 0],
    [3, 33, 5, 7],
    [300, 8, 200, 0],
    [50, 1000, 6, 8],
    // More digits than two, and more ids than a block of the sort holds.
    [66_000, 2, 2100, 0],
];

/// Every other id is one of few, so that they come in turns.
fn ids(count: usize, below: usize) -> Vec<u32> {
    (0..count).map(|i| (if i % 2 == 0 { i * 7919 } else { i % 3 } % below.max(1)) as u32).collect()
}

fn table<T: Float + Poison>() {
    let mut cases = Cases::of("embed").in_type::<T>();
    for (seed, &[vocab, dim, n, padding]) in CASES.iter().enumerate() {
        let (what, ids) = (format!("{vocab} {dim} {n}"), ids(n, vocab));
        let layout = Layout::strided([vocab, dim], [dim + padding, 1]).unwrap();
        let rows = &numbers::<T>(vocab * (dim + padding), seed as u64)[..layout.span()];
        let p = family::plan(&layout, &Layout::packed([n]).unwrap()).unwrap();
        let mut want = vec![T::POISON; n * dim];
        family::forward(&p, rows, &ids, &mut want).unwrap();
        cases.ran("reference");
        let mut y = Fenced::<T, 2>::new([n, dim], &Device::Host);
        cpu::forward(&p, rows, &ids, y.slice()).unwrap();
        assert!(same(&y.full(), &want), "cpu {what}");
        cases.ran("cpu");
        for device in devices() {
            let rows = Tensor::from_slice(rows, layout, &device).unwrap();
            let ids = vector(&ids, &device);
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

/// What a backward case hands to every implementation.
struct Case<T: Float> {
    plan: family::Plan,
    layout: Layout<2>,
    dy: Vec<T>,
    ids: Vec<u32>,
    held: Vec<T::Acc>,
}

impl<T: Float<Acc: Poison> + Poison> Case<T> {
    fn new([vocab, dim, n, padding]: [usize; 4], accumulate: Accumulate, dy: impl Fn(usize) -> Vec<T>) -> Self {
        let layout = Layout::strided([n, dim], [dim + padding, 1]).unwrap();
        let plan = family::plan_backward(&layout, &Layout::packed([n]).unwrap(), vocab, accumulate).unwrap();
        let held = match accumulate {
            Accumulate::Replace => vec![T::Acc::POISON; vocab * dim],
            Accumulate::Add => normal(vocab * dim, 1.0, 5),
        };
        Self { plan, layout, dy: dy(layout.span()), ids: ids(n, vocab), held }
    }

    fn output(&self, device: &Device) -> Fenced<T::Acc, 2> {
        Fenced::holding(&self.held, self.plan.table().dims(), device)
    }

    fn reference(&self) -> Vec<T::Acc> {
        let mut out = self.output(&Device::Host);
        family::backward(&self.plan, &self.dy, &self.ids, out.slice()).unwrap();
        out.full()
    }

    fn at(&self, level: Level) -> Vec<T::Acc> {
        let mut out = self.output(&Device::Host);
        cpu::backward_at(level, &self.plan, &self.dy, &self.ids, out.slice()).unwrap();
        out.full()
    }

    fn core(&self, device: &Device) -> Vec<T::Acc> {
        let (mut out, [vocab, _]) = (self.output(device), self.plan.table().dims());
        let dy = Tensor::from_slice(&self.dy, self.layout, device).unwrap();
        let ids = vector(&self.ids, device);
        let mut workspace = bytes(embed_backward_workspace(&self.layout, vocab, device).unwrap(), device);
        let accumulate = self.plan.accumulate();
        embed_backward_into(dy.view(), ids.view(), accumulate, out.view_mut(), workspace.view_mut()).unwrap();
        if accumulate == Accumulate::Replace {
            let all = embed_backward(dy.view(), ids.view(), vocab).unwrap();
            assert!(same(&all.to_vec().unwrap(), &out.take()));
        }
        out.full()
    }
}

fn backward_table<T: Float<Acc: Poison> + Poison>() {
    let mut cases = Cases::of("embed_backward").in_type::<T>();
    for (seed, &sizes) in CASES.iter().enumerate() {
        let seed = seed as u64;
        for accumulate in [Accumulate::Replace, Accumulate::Add] {
            // A block for each row of the table is slow in the emulator.
            if sizes[0] > 1000 && (small() || emulated() && accumulate == Accumulate::Add) {
                continue;
            }
            for case in [
                Case::<T>::new(sizes, accumulate, |count| normal(count, 1.0, seed)),
                Case::new(sizes, accumulate, |count| numbers(count, seed)),
            ] {
                let (what, want) = (format!("{sizes:?} {accumulate:?}"), case.reference());
                cases.ran("reference");
                let first = case.at(Level::best());
                close(&what, &first, &want, 1e-11);
                for level in Level::all() {
                    assert!(same(&case.at(level), &first), "{level:?} {what}");
                    cases.ran("cpu");
                }
                // The same bits everywhere.
                for device in devices().into_iter().filter(|device| device.is_host() || T::SYMBOL.is_some()) {
                    assert!(same(&case.core(&device), &first), "{} {what}", place(&device));
                    assert!(same(&case.core(&device), &first), "{} {what}: two runs differ", place(&device));
                    cases.ran(place(&device));
                }
            }
        }
    }
}

#[test]
fn f32_table() {
    table::<f32>();
    backward_table::<f32>();
}
#[test]
fn f64_table() {
    backward_table::<f64>();
}
#[test]
fn f16_table() {
    table::<f16>();
    backward_table::<f16>();
}
#[test]
fn bf16_table() {
    table::<bf16>();
    backward_table::<bf16>();
}

/// The gradient of the reference is the slope of the reference.
#[test]
fn gradient() {
    let ([vocab, dim, n], h) = ([5, 3, 9], 1e-4);
    let case = Case::<f64>::new([vocab, dim, n, 2], Accumulate::Replace, |count| normal(count, 1.0, 1));
    let p = family::plan(&case.plan.table(), &Layout::packed([n]).unwrap()).unwrap();
    let table = normal::<f64>(vocab * dim, 1.0, 2);
    let loss = |at: usize, by: f64| -> f64 {
        let (mut table, mut y) = (table.clone(), vec![0.0; n * dim]);
        table[at] += by;
        family::forward(&p, &table, &case.ids, &mut y).unwrap();
        (0..n * dim).map(|e| y[e] * case.dy[e / dim * (dim + 2) + e % dim]).sum()
    };
    for (at, slope) in case.reference().into_iter().enumerate() {
        assert!((slope - (loss(at, h) - loss(at, -h)) / (2.0 * h)).abs() < 1e-9);
    }
}

/// On the host a bad id is an error, and nothing is written; on CUDA its row is NaN, and the others are right; its
/// gradient is left out.
#[test]
fn bad_ids() {
    for device in devices() {
        let rows = Tensor::from_slice(&[1.0_f32, 2.0, 3.0, 4.0], Layout::packed([2, 2]).unwrap(), &device).unwrap();
        let dy = Tensor::from_vec(vec![1.0_f32, 2.0, 3.0, 4.0, 5.0, 6.0], [3, 2], &device).unwrap();
        let mut workspace = bytes(embed_backward_workspace(&dy.layout(), 2, &device).unwrap(), &device);
        for bad in [2, u32::MAX] {
            let ids = vector(&[1, bad, 0], &device);
            let [mut y, mut dtable] = [[3, 2], [2, 2]].map(|dims| Fenced::<f32, 2>::new(dims, &device));
            let replace = Accumulate::Replace;
            let done = [
                embed_into(rows.view(), ids.view(), y.view_mut()),
                embed_backward_into(dy.view(), ids.view(), replace, dtable.view_mut(), workspace.view_mut()),
            ];
            if device.is_host() {
                assert_eq!(done, [Err(Error::Range { op: "embed", arg: "ids", max: 1, got: bad as usize }); 2]);
                assert_eq!((y.take(), dtable.take()), (vec![f32::POISON; 6], vec![f32::POISON; 4]));
            } else {
                assert_eq!(done, [Ok(()); 2]);
                assert!(same(&y.take(), &[3.0, 4.0, f32::NAN, f32::NAN, 1.0, 2.0]));
                assert_eq!(dtable.take(), [5.0, 6.0, 1.0, 2.0]);
            }
        }
    }
}

#[test]
fn wrong_calls_are_errors() {
    for device in devices() {
        let rows = Tensor::<f32, 2>::zeros([2, 2], &device).unwrap();
        let ids = vector(&[0_u32], &device);
        let mut small = Fenced::<f32, 2>::new([1, 3], &device);
        let size = |arg, want, got| Err(Error::Size { op: "embed", arg, want, got });
        assert_eq!(embed_into(rows.view(), ids.view(), small.view_mut()), size("y", 2, 3));
        assert_eq!(embed_backward(rows.view(), ids.view(), 4).map(drop), size("ids", 2, 1));
        let (two, mut workspace) = (vector(&[0_u32, 1], &device), bytes(0, &device));
        let mut back = |dtable: &mut Fenced<f32, 2>| {
            let dtable = dtable.view_mut();
            embed_backward_into(rows.view(), two.view(), Accumulate::Add, dtable, workspace.view_mut())
        };
        assert_eq!(back(&mut small), size("dtable", 2, 3));
        let short = back(&mut Fenced::new([5, 2], &device));
        assert!(if device.is_host() {
            short.is_ok()
        } else {
            matches!(short, Err(Error::Size { arg: "workspace", .. }))
        });
        let most = Error::Range { op: "embed", arg: "vocab", max: i32::MAX as usize, got: 1 << 31 };
        assert_eq!(embed_backward_workspace(&rows.layout(), 1 << 31, &device), Err(most));
    }
}
