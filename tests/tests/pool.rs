//! One table of cases; every implementation of pooling goes through it.
use latens_core::{
    Accumulate, DType, Device, Error, Float, Layout, Tensor, Window, average_pool, average_pool_backward,
    average_pool_backward_into, average_pool_into, bf16, f16, max_pool, max_pool_backward, max_pool_backward_into,
    max_pool_into,
};
use latens_cpu::Level;
use latens_cpu::pool::{backward_at, forward_at};
use latens_kernels::pool::{self as family, Pooling};
use latens_tests::{Cases, Fenced, Poison, close, devices, normal, numbers, place, same};

/// `[batch, height, width, channels]`, windows, and a gap after every row of channels.
type Sizes = ([usize; 4], Window, usize);

const fn window(size: [usize; 2], stride: [usize; 2], padding: [usize; 2]) -> Window {
    Window { size, stride, padding }
}

const CASES: &[Sizes] = &[
    ([0, 4, 4, 3], window([2, 2], [2, 2], [0, 0]), 0),
    ([2, 4, 4, 0], window([2, 2], [2, 2], [0, 0]), 0),
    ([1, 1, 1, 1], window([1, 1], [1, 1], [0, 0]), 0),
    ([2, 1, 1, 5], window([3, 3], [1, 1], [1, 1]), 0),
    ([2, 4, 6, 3], window([2, 2], [2, 2], [0, 0]), 0),
    ([2, 7, 5, 3], window([3, 3], [2, 2], [1, 1]), 2),
    ([1, 9, 9, 33], window([3, 3], [2, 2], [1, 1]), 0),
    ([1, 8, 7, 2], window([5, 4], [1, 3], [2, 2]), 1),
    ([1, 7, 8, 4], window([2, 1], [3, 2], [1, 0]), 0),
    ([2, 5, 6, 9], window([5, 6], [1, 1], [0, 0]), 0),
    ([1, 6, 6, 1], window([3, 2], [1, 1], [0, 1]), 0),
    ([1, 20, 21, 17], window([3, 3], [2, 2], [1, 1]), 3),
];
const KINDS: [Pooling; 3] =
    [Pooling::Max, Pooling::Average { count_padding: true }, Pooling::Average { count_padding: false }];

fn limit<T: Float>() -> f64 {
    match T::DTYPE {
        DType::BF16 => 1e-5,
        DType::F16 => 1e-6,
        _ => 1e-11,
    }
}

fn gaps(dims @ [_, b, c, d]: [usize; 4], gap: usize) -> Layout<4> {
    let row = d + gap;
    Layout::strided(dims, [(b * c * row + gap).max(1), (c * row).max(1), row.max(1), 1]).unwrap()
}

/// What one case hands to every implementation.
struct Case<T: Float> {
    forward: family::Plan,
    plan: family::Plan,
    x: Vec<T>,
    dy: Vec<T>,
    /// As the reference has them, in the layout of the plan, with some that are in no window.
    indices: Vec<u32>,
}

struct Outputs<T: Float> {
    y: Fenced<T, 4>,
    indices: Fenced<u32, 4>,
    dx: Fenced<T, 4>,
}

impl<T: Float + Poison> Case<T> {
    fn new(kind: Pooling, &(dims, window, gap): &Sizes, accumulate: Accumulate, special: bool, seed: u64) -> Self {
        let x = gaps(dims, gap);
        let forward = family::plan(kind, &x, window).unwrap();
        let out = gaps(forward.out(), gap);
        let plan = family::plan_backward(kind, dims, window, &out, Some(&out), accumulate).unwrap();
        let draw = |count, seed| if special { numbers(count, seed) } else { normal(count, 1.0, seed) };
        let (x, dy) = (draw(x.span(), seed), normal(out.span(), 1.0, seed + 50));
        let (mut y, mut found) = (vec![T::default(); forward.dy().len()], vec![0; forward.dy().len()]);
        family::forward(&forward, &x, &mut y, Some(&mut found));
        let mut indices = vec![u32::MAX; out.span()];
        let [_, rows, columns, channels] = out.dims();
        for (at, index) in found.into_iter().enumerate().filter(|(at, _)| at % 7 != 3) {
            let ([image, row, column, _], pixel) = (out.strides(), at / channels);
            let [b, i, j] = [pixel / columns / rows, pixel / columns % rows, pixel % columns];
            indices[b * image + i * row + j * column + at % channels] = index;
        }
        Self { forward, plan, x, dy, indices }
    }

    fn outputs(&self, device: &Device) -> Outputs<T> {
        let (out, dims) = (self.plan.out(), self.plan.x().dims());
        let dx = match self.plan.accumulate() {
            Accumulate::Replace => Fenced::new(dims, device),
            Accumulate::Add => Fenced::holding(&normal(dims.iter().product(), 1.0, 9), dims, device),
        };
        Outputs { y: Fenced::new(out, device), indices: Fenced::new(out, device), dx }
    }

    /// The reference, or the host by the instructions of `level`.
    fn host(&self, level: Option<Level>) -> Outputs<T> {
        let mut out = self.outputs(&Device::Host);
        let indices = (self.plan.pooling() == Pooling::Max).then(|| out.indices.slice());
        match level {
            Some(level) => {
                forward_at(level, &self.forward, &self.x, out.y.slice(), indices);
                backward_at(level, &self.plan, &self.dy, &self.indices, out.dx.slice());
            }
            None => {
                family::forward(&self.forward, &self.x, out.y.slice(), indices);
                family::backward(&self.plan, &self.dy, &self.indices, out.dx.slice());
            }
        }
        out
    }

    /// The operations on a device.
    fn core(&self, device: &Device) -> Outputs<T> {
        let (p, mut out, window) = (&self.plan, self.outputs(device), self.plan.window());
        let x = Tensor::from_slice(&self.x, self.forward.x(), device).unwrap();
        let dy = Tensor::from_slice(&self.dy, p.dy(), device).unwrap();
        let indices = Tensor::from_slice(&self.indices, p.indices(), device).unwrap();
        let (x, dy, indices, dims) = (x.view(), dy.view(), indices.view(), p.x().dims());
        match p.pooling() {
            Pooling::Max => {
                max_pool_into(x, window, out.y.view_mut(), Some(out.indices.view_mut())).unwrap();
                max_pool_backward_into(dy, indices, window, p.accumulate(), out.dx.view_mut()).unwrap();
                // Aligned, and without places.
                let (y, at) = max_pool(x, window).unwrap();
                assert!(same(&y.to_vec().unwrap(), &out.y.take()) && at.to_vec().unwrap() == out.indices.take());
                let mut alone = Fenced::new(p.out(), device);
                max_pool_into(x, window, alone.view_mut(), None).unwrap();
                assert!(same(&alone.take(), &out.y.take()));
                if p.accumulate() == Accumulate::Replace {
                    let dx = max_pool_backward(dy, indices, dims, window).unwrap();
                    assert!(same(&dx.to_vec().unwrap(), &out.dx.take()));
                }
            }
            Pooling::Average { count_padding } => {
                average_pool_into(x, window, count_padding, out.y.view_mut()).unwrap();
                average_pool_backward_into(dy, window, count_padding, p.accumulate(), out.dx.view_mut()).unwrap();
                let y = average_pool(x, window, count_padding).unwrap();
                assert!(same(&y.to_vec().unwrap(), &out.y.take()));
                if p.accumulate() == Accumulate::Replace {
                    let dx = average_pool_backward(dy, dims, window, count_padding).unwrap();
                    assert!(same(&dx.to_vec().unwrap(), &out.dx.take()));
                }
            }
        }
        out
    }
}

impl<T: Float + Poison> Outputs<T> {
    fn near(&self, want: &Self, kind: Pooling, what: &str) {
        if kind == Pooling::Max {
            // The sign of a zero, too, for it is that of the first.
            assert!(same(&self.y.take(), &want.y.take()), "{what} y");
        }
        assert_eq!(self.indices.take(), want.indices.take(), "{what} indices");
        close(&format!("{what} y"), &self.y.full(), &want.y.full(), limit::<T>());
        close(&format!("{what} dx"), &self.dx.full(), &want.dx.full(), limit::<T>());
    }
}

fn table<T: Float + Poison>() {
    let (mut cases, all) = (Cases::of("pool").in_type::<T>(), devices());
    for (seed, sizes) in CASES.iter().enumerate() {
        for (kind, (accumulate, special)) in KINDS
            .into_iter()
            .flat_map(|kind| [(Accumulate::Replace, true), (Accumulate::Add, false)].map(|how| (kind, how)))
        {
            let case = Case::<T>::new(kind, sizes, accumulate, special, seed as u64);
            let (want, what) = (case.host(None), format!("{kind:?} {sizes:?} {accumulate:?}"));
            cases.ran("reference");
            for level in Level::all() {
                case.host(Some(level)).near(&want, kind, &format!("{level:?} {what}"));
                cases.ran("cpu");
            }
            for device in all.iter().filter(|device| device.is_host() || T::SYMBOL.is_some()) {
                case.core(device).near(&want, kind, &format!("{} {what}", place(device)));
                cases.ran(place(device));
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

/// Worked out by hand: order, ties and NaN, and what counts at the border.
#[test]
fn by_hand() {
    let nan = f32::NAN;
    for device in devices() {
        let of = |x: &[f32], dims| Tensor::from_vec(x.to_vec(), dims, &device).unwrap();
        // One row of windows of two: a tie, zeros of both signs, a NaN beside the least number, nothing but NaN.
        let x = of(&[3.0, 3.0, -0.0, 0.0, nan, f32::NEG_INFINITY, nan, nan], [1, 1, 8, 1]);
        let (y, indices) = max_pool(x.view(), Window::tiles([1, 2])).unwrap();
        assert_eq!(indices.to_vec().unwrap(), [0, 2, 5, 6]);
        assert!(same(&y.to_vec().unwrap(), &[3.0, -0.0, f32::NEG_INFINITY, nan]));
        let dy = of(&[1.0, 2.0, 3.0, 4.0], [1, 1, 4, 1]);
        let dx = max_pool_backward(dy.view(), indices.view(), x.dims(), Window::tiles([1, 2])).unwrap();
        assert_eq!(dx.to_vec().unwrap(), [1.0, 0.0, 2.0, 0.0, 0.0, 3.0, 4.0, 0.0]);
        // Windows of 2 by 2 at the corners of a padded image of 2 by 2 have one pixel each.
        let x = of(&[4.0, 8.0, 12.0, 16.0], [1, 2, 2, 1]);
        let corners = Window { size: [2, 2], stride: [2, 2], padding: [1, 1] };
        let mean = |count_padding| average_pool(x.view(), corners, count_padding).unwrap().to_vec().unwrap();
        assert_eq!([mean(true), mean(false)], [[1.0, 2.0, 3.0, 4.0], [4.0, 8.0, 12.0, 16.0]]);
        let all = average_pool(x.view(), Window::whole(x.dims()), false).unwrap();
        assert_eq!((all.dims(), all.to_vec().unwrap()), ([1, 1, 1, 1], vec![10.0]));
    }
}

/// The gradients of the reference are the slopes of the reference; all entries differ, so none changes places.
#[test]
fn gradient() {
    for (kind, sizes) in KINDS.into_iter().flat_map(|kind| [&CASES[5], &CASES[7], &CASES[8]].map(|sizes| (kind, sizes)))
    {
        let case = Case::<f64>::new(kind, sizes, Accumulate::Replace, false, 3);
        let (dims, window, gap) = *sizes;
        let (p, out) = (case.forward, case.forward.out());
        let packed = Layout::packed(out).unwrap();
        let back = family::plan_backward(kind, dims, window, &packed, Some(&packed), Accumulate::Replace).unwrap();
        let dy = normal::<f64>(packed.len(), 1.0, 4);
        let loss = |x: &[f64]| {
            let mut y = vec![0.0; dy.len()];
            family::forward(&p, x, &mut y, None);
            y.iter().zip(&dy).map(|(y, dy)| y * dy).sum::<f64>()
        };
        let (mut y, mut indices, mut dx) = (vec![0.0; dy.len()], vec![0; dy.len()], vec![0.0; back.x().len()]);
        family::forward(&p, &case.x, &mut y, Some(&mut indices));
        family::backward(&back, &dy, &indices, &mut dx);
        let [_, height, width, channels] = dims;
        for (at, dx) in dx.into_iter().enumerate() {
            let ([image, row, column, _], pixel) = (p.x().strides(), at / channels);
            let from = pixel / width / height * image + pixel / width % height * row + pixel % width * column;
            let [up, down] = [1e-6, -1e-6].map(|by| {
                let mut x = case.x.clone();
                x[from + at % channels] += by;
                loss(&x)
            });
            assert!((dx - (up - down) / 2e-6).abs() < 1e-8, "{kind:?} {sizes:?} {gap} {at}");
        }
    }
}

/// NaN and infinities stay in their image.
#[test]
fn images_keep_apart() {
    for (kind, sizes) in KINDS.into_iter().flat_map(|kind| [&CASES[4], &CASES[5], &CASES[9]].map(|sizes| (kind, sizes)))
    {
        for device in devices() {
            let mut case = Case::<f32>::new(kind, sizes, Accumulate::Replace, false, 3);
            let clean = case.core(&device);
            case.x[..3].copy_from_slice(&[f32::NAN, f32::INFINITY, f32::NEG_INFINITY]);
            case.dy[0] = f32::NAN;
            let wrong = case.core(&device);
            for [clean, wrong] in [[clean.y.full(), wrong.y.full()], [clean.dx.full(), wrong.dx.full()]] {
                let image = clean.len() / 2;
                assert!(!same(&clean[..image], &wrong[..image]), "{kind:?} {sizes:?}");
                assert!(same(&clean[image..], &wrong[image..]), "{kind:?} {sizes:?}");
            }
        }
    }
}

#[test]
fn wrong_calls_are_errors() {
    let plan = |x: [usize; 4], window| family::plan(Pooling::Max, &Layout::packed(x).unwrap(), window).map(|p| p.out());
    let value = |arg, want| Err(Error::Value { op: "max_pool", arg, want });
    let range = |arg, max, got| Err(Error::Range { op: "max_pool", arg, max, got });
    let (x, max) = ([1, 5, 6, 4], i32::MAX as usize);
    assert_eq!(plan(x, window([2, 3], [2, 2], [1, 1])), Ok([1, 3, 3, 4]));
    assert_eq!(plan(x, window([0, 3], [2, 2], [0, 0])), value("window", "at least 1"));
    assert_eq!(plan(x, window([2, 3], [2, 0], [0, 0])), value("stride", "at least 1"));
    assert_eq!(plan(x, window([2, 3], [2, 2], [1, 2])), value("padding", "at most half the window"));
    assert_eq!(plan(x, window([6, 3], [1, 1], [0, 0])), range("window", 5, 6));
    assert_eq!(plan([1, 0, 6, 4], window([1, 1], [1, 1], [0, 0])), value("x", "images of at least one pixel"));
    let huge = usize::MAX / 2;
    assert_eq!(plan(x, window([huge, 1], [1, 1], [huge / 2, 0])), range("padded image", max, 2 * max + 5));
    assert_eq!(
        plan([0, 1 << 17, 1 << 16, 4], Window::tiles([1, 1])),
        range("pixels of an image", 0xffff_ffff, 1 << 33)
    );
    assert_eq!(plan(x, window([max - 5, 1], [1, 1], [(max - 5) / 2, 0])), Ok([1, 6, 6, 4]));

    for device in devices() {
        let of = |dims| Tensor::<f32, 4>::zeros(dims, &device).unwrap();
        let (x, window) = (of([1, 4, 6, 2]), Window::tiles([2, 2]));
        let size = |op, arg, want, got| Some(Error::Size { op, arg, want, got });
        let into = |y: &mut Tensor<f32, 4>| average_pool_into(x.view(), window, true, y.view_mut()).err();
        assert_eq!(into(&mut of([1, 2, 4, 2])), size("average_pool", "y", 3, 4));
        assert_eq!(into(&mut of([1, 2, 3, 2])), None);
        let (dy, at) = (of([1, 2, 3, 2]), |dims| Tensor::<u32, 4>::zeros(dims, &device).unwrap());
        let back = |at: Tensor<u32, 4>, x| max_pool_backward(dy.view(), at.view(), x, window).err();
        assert_eq!(back(at([1, 2, 3, 1]), x.dims()), size("max_pool", "indices", 2, 1));
        assert_eq!(back(at([1, 2, 3, 2]), [1, 6, 6, 2]), size("max_pool", "dy", 3, 2));
        assert_eq!(back(at([1, 2, 3, 2]), [1, 5, 7, 2]), None);
        if !device.is_host() {
            let mut there = Tensor::<f32, 4>::zeros([1, 2, 3, 2], &Device::Host).unwrap();
            assert_eq!(into(&mut there), Some(Error::Device { op: "average_pool", arg: "y" }));
        }
    }
}
