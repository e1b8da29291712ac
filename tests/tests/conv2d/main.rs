//! One table of cases; every implementation of the 2-D convolution goes through it.
mod properties;

use latens_core::{
    Accumulate, Conv2d, DType, Device, Float, Layout, Tensor, View, bf16, conv2d, conv2d_backward,
    conv2d_backward_into, conv2d_backward_workspace, conv2d_into, f16,
};
use latens_cpu::Level;
use latens_cpu::conv2d::{backward_at, forward_at};
use latens_kernels::conv2d as family;
use latens_tests::{Cases, Fenced, Poison, bytes, close, devices, place, same, small, uniform, vector};

/// `[batch, height, width, channels]`, `[n, taps_y, taps_x]`, how, and a gap after every row of channels.
type Sizes = ([usize; 4], [usize; 3], Conv2d, usize);

const fn how(stride: [usize; 2], padding: [usize; 2], dilation: [usize; 2], groups: usize) -> Conv2d {
    Conv2d { stride, padding, dilation, groups }
}

/// A tile on CUDA has 64 rows and columns, a group of fewer than 16 channels is made entry by entry there.
const CASES: &[Sizes] = &[
    ([0, 5, 5, 3], [4, 3, 3], how([1, 1], [1, 1], [1, 1], 1), 0),
    ([2, 4, 5, 0], [4, 3, 3], how([1, 1], [1, 1], [1, 1], 1), 0),
    ([2, 4, 5, 3], [0, 3, 3], how([1, 1], [1, 1], [1, 1], 1), 0),
    ([1, 1, 1, 1], [1, 1, 1], how([1, 1], [0, 0], [1, 1], 1), 0),
    ([1, 1, 1, 1], [1, 3, 3], how([1, 1], [1, 1], [1, 1], 1), 0),
    ([2, 5, 7, 3], [4, 3, 3], how([1, 1], [1, 1], [1, 1], 1), 0),
    ([2, 5, 7, 3], [5, 3, 2], how([2, 1], [0, 2], [1, 2], 1), 2),
    ([1, 9, 8, 2], [3, 3, 3], how([2, 2], [1, 1], [1, 1], 1), 1),
    ([1, 12, 11, 3], [6, 4, 4], how([4, 4], [0, 0], [1, 1], 1), 0),
    ([1, 13, 13, 3], [2, 7, 7], how([2, 2], [3, 3], [1, 1], 1), 0),
    ([2, 7, 6, 2], [3, 2, 3], how([3, 4], [1, 0], [2, 2], 1), 0),
    ([1, 6, 6, 2], [2, 3, 3], how([4, 5], [2, 2], [3, 1], 1), 0),
    ([3, 6, 5, 17], [33, 1, 1], how([1, 1], [0, 0], [1, 1], 1), 0),
    ([3, 6, 5, 17], [9, 1, 1], how([1, 1], [0, 0], [1, 1], 1), 3),
    ([2, 6, 5, 8], [9, 1, 1], how([2, 2], [0, 0], [1, 1], 1), 0),
    ([2, 5, 6, 6], [4, 3, 3], how([1, 1], [1, 1], [1, 1], 2), 0),
    ([1, 6, 7, 8], [12, 3, 3], how([2, 2], [1, 1], [1, 1], 4), 3),
    ([2, 7, 6, 5], [5, 3, 3], how([1, 1], [1, 1], [1, 1], 5), 0),
    ([2, 7, 6, 34], [34, 3, 3], how([2, 2], [1, 1], [1, 1], 34), 1),
    ([1, 8, 8, 7], [7, 5, 3], how([1, 2], [4, 2], [2, 2], 7), 0),
    ([1, 5, 5, 6], [12, 3, 3], how([1, 1], [1, 1], [1, 1], 6), 0),
    ([1, 4, 5, 32], [40, 2, 2], how([1, 1], [1, 0], [1, 1], 2), 0),
    ([1, 9, 9, 16], [70, 3, 3], how([1, 1], [1, 1], [1, 1], 1), 0),
    ([2, 9, 9, 70], [5, 3, 3], how([2, 2], [1, 1], [1, 1], 1), 0),
    // Several parts of the pixels, and several tiles of patches on the host.
    ([2, 41, 43, 3], [4, 3, 3], how([1, 1], [1, 1], [1, 1], 1), 0),
    ([1, 37, 41, 4], [4, 3, 3], how([1, 1], [1, 1], [1, 1], 4), 0),
];

/// Only for the host: patches that are written in several tiles.
const LARGE: &[Sizes] = &[([1, 20, 27, 64], [2, 6, 6], how([1, 1], [3, 3], [1, 1], 1), 0)];

fn limit<T: Float>() -> f64 {
    match T::DTYPE {
        DType::BF16 => 1e-5,
        DType::F16 => 1e-6,
        _ => 1e-11,
    }
}

fn even<T: Float>(count: usize, seed: u64) -> Vec<T> {
    uniform(count, -1.0, 1.0, seed)
}

/// A gap after every row of channels, and one after every image.
fn gaps(dims @ [_, b, c, d]: [usize; 4], gap: usize) -> Layout<4> {
    let row = d + gap;
    Layout::strided(dims, [(b * c * row + 2 * gap).max(1), (c * row).max(1), row.max(1), 1]).unwrap()
}

/// What one case hands to every implementation.
struct Case<T: Float> {
    plan: family::Plan,
    x: Vec<T>,
    w: Vec<T>,
    dy: Vec<T>,
    bias: Option<Vec<T::Acc>>,
}

struct Outputs<T: Float> {
    y: Fenced<T, 4>,
    dx: Fenced<T, 4>,
    dw: Fenced<T::Acc, 4>,
    db: Fenced<T::Acc, 1>,
}

impl<T: Float<Acc: Poison> + Poison> Case<T> {
    fn new(&(x, [n, u, v], how, gap): &Sizes, accumulate: Accumulate, seed: u64) -> Self {
        let (x, w) = (gaps(x, gap), gaps([n, u, v, x[3] / how.groups], gap));
        let dy = gaps(family::plan(&x, &w, None, how).unwrap().out(), gap);
        let plan = family::plan_backward(&x, &w, &dy, how, accumulate).unwrap();
        let bias = seed.is_multiple_of(2).then(|| even(n, seed + 3));
        let [x, w, dy] = [(x, 1), (w, 2), (dy, 3)].map(|(layout, more)| even(layout.span(), 10 * seed + more));
        Self { plan, x, w, dy, bias }
    }

    /// Outputs before a call: poison, or numbers to add to.
    fn outputs(&self, device: &Device) -> Outputs<T> {
        fn of<T: Poison + Float, const R: usize>(dims: [usize; R], add: bool, device: &Device) -> Fenced<T, R> {
            let count = dims.iter().product();
            if add { Fenced::holding(&even(count, 9), dims, device) } else { Fenced::new(dims, device) }
        }
        let (p, add) = (&self.plan, self.plan.accumulate() == Accumulate::Add);
        let (dx, dw) = (of(p.x().dims(), add, device), of(p.w().dims(), add, device));
        Outputs { y: Fenced::new(p.out(), device), dx, dw, db: of([p.w().dims()[0]], add, device) }
    }

    /// The reference, or the host by the instructions of `level`.
    fn host(&self, level: Option<Level>) -> Outputs<T> {
        let (Self { plan, x, w, dy, bias }, mut out) = (self, self.outputs(&Device::Host));
        let (y, bias) = (out.y.slice(), bias.as_deref());
        let (dx, dw, db) = (Some(out.dx.slice()), Some(out.dw.slice()), Some(out.db.slice()));
        match level {
            Some(level) => {
                forward_at(level, plan, x, w, bias, y);
                backward_at(level, plan, x, w, dy, dx, dw, db);
            }
            None => {
                family::forward(plan, x, w, bias, y);
                family::backward(plan, x, w, dy, dx, dw, db);
            }
        }
        out
    }

    fn on(&self, device: &Device) -> [Tensor<T, 4>; 3] {
        let p = &self.plan;
        [(&self.x, p.x()), (&self.w, p.w()), (&self.dy, p.dy())]
            .map(|(x, layout)| Tensor::from_slice(x, layout, device).unwrap())
    }

    /// The operations on a device, with those gradients that are asked for.
    fn core(&self, device: &Device, asked: [bool; 3]) -> Outputs<T> {
        let (p, mut out, [x, w, dy]) = (&self.plan, self.outputs(device), self.on(device));
        let bias = self.bias.as_ref().map(|bias| vector(bias, device));
        let bias: Option<View<_, 1>> = bias.as_ref().map(Tensor::view);
        conv2d_into(x.view(), w.view(), bias, p.how(), out.y.view_mut()).unwrap();
        // For dx alone no scratch is needed.
        let scratch = match asked {
            [_, false, false] => 0,
            _ => conv2d_backward_workspace(&p.x(), &p.w(), p.how(), device).unwrap(),
        };
        let (dx, dw) = (asked[0].then(|| out.dx.view_mut()), asked[1].then(|| out.dw.view_mut()));
        let (db, mut scratch) = (asked[2].then(|| out.db.view_mut()), bytes(scratch, device));
        let (x, w, dy, scratch) = (x.view(), w.view(), dy.view(), scratch.view_mut());
        conv2d_backward_into(x, w, dy, p.how(), p.accumulate(), dx, dw, db, scratch).unwrap();
        out
    }

    /// The allocating forms, where memory is aligned.
    fn allocated(&self, device: &Device) -> (Vec<T>, Vec<T::Acc>) {
        let (p, [x, w, dy]) = (&self.plan, self.on(device));
        let bias = self.bias.as_ref().map(|bias| vector(bias, device));
        let y = conv2d(x.view(), w.view(), bias.as_ref().map(Tensor::view), p.how()).unwrap();
        let (dx, dw, db) = conv2d_backward(x.view(), w.view(), dy.view(), p.how()).unwrap();
        let (dw, db) = (dw.to_vec().unwrap(), db.to_vec().unwrap());
        ([y.to_vec().unwrap(), dx.to_vec().unwrap()].concat(), [dw, db].concat())
    }
}

impl<T: Float<Acc: Poison> + Poison> Outputs<T> {
    fn near(&self, want: &Self, what: &str) {
        close(&format!("{what} y"), &self.y.full(), &want.y.full(), limit::<T>());
        close(&format!("{what} dx"), &self.dx.full(), &want.dx.full(), limit::<T>());
        close(&format!("{what} dw"), &self.dw.full(), &want.dw.full(), 1e-11);
        close(&format!("{what} db"), &self.db.full(), &want.db.full(), 1e-11);
    }
}

fn check<T: Float<Acc: Poison> + Poison>(case: &Case<T>, on: &[Device], what: &str, cases: &mut Cases) {
    let want = case.host(None);
    cases.ran("reference");
    for level in Level::all() {
        case.host(Some(level)).near(&want, &format!("{level:?} {what}"));
        cases.ran("cpu");
    }
    for device in on.iter().filter(|device| device.is_host() || T::SYMBOL.is_some()) {
        let what = format!("{} {what}", place(device));
        let got = case.core(device, [true; 3]);
        got.near(&want, &what);
        // Again, one at a time: the same bits, and nothing else is touched.
        let none = case.outputs(device);
        let [x, w, b] = [0, 1, 2].map(|only| case.core(device, [0, 1, 2].map(|i| i == only)));
        assert!(same(&got.dx.take(), &x.dx.take()) && same(&none.dx.take(), &w.dx.take()), "{what}");
        assert!(same(&got.dw.take(), &w.dw.take()) && same(&none.dw.take(), &b.dw.take()), "{what}");
        assert!(same(&got.db.take(), &b.db.take()) && same(&none.db.take(), &x.db.take()), "{what}");
        if case.plan.accumulate() == Accumulate::Replace {
            let (stored, summed) = case.allocated(device);
            assert!(same(&[got.y.take(), got.dx.take()].concat(), &stored), "{what}");
            assert!(same(&[got.dw.take(), got.db.take()].concat(), &summed), "{what}");
        }
        cases.ran(place(device));
    }
}

fn table<T: Float<Acc: Poison> + Poison>() {
    let (mut cases, all) = (Cases::of("conv2d").in_type::<T>(), devices());
    for (on, table) in [(&all[..], CASES), (&all[..1], LARGE)] {
        for (seed, sizes) in table.iter().enumerate().filter(|(_, (x, ..))| !small() || x[1] < 20) {
            for accumulate in [Accumulate::Replace, Accumulate::Add] {
                let case = Case::<T>::new(sizes, accumulate, seed as u64);
                check(&case, on, &format!("{sizes:?} {accumulate:?}"), &mut cases);
            }
        }
    }
}

#[test]
fn f32_table() {
    table::<f32>();
}
#[test]
fn f64_table() {
    table::<f64>();
}
#[test]
fn f16_table() {
    table::<f16>();
}
#[test]
fn bf16_table() {
    table::<bf16>();
}
