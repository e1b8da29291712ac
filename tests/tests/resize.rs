//! One table of cases; every implementation of the change of size goes through it.
use latens_core::{
    Accumulate, DType, Device, Error, Filter, Float, Layout, Resize, Tensor, bf16, f16, resize, resize_backward,
    resize_backward_into, resize_into, resize_workspace,
};
use latens_cpu::Level;
use latens_cpu::resize::{backward_at, forward_at};
use latens_kernels::resize::{self as family, Tables};
use latens_tests::{Cases, Fenced, Poison, bytes, close, devices, normal, place, same};

/// `[batch, height, width, channels]`, rows and columns after, and a gap after every row of channels.
type Sizes = ([usize; 4], [usize; 2], usize);

const CASES: &[Sizes] = &[
    ([0, 4, 4, 3], [2, 2], 0),
    ([2, 4, 4, 0], [2, 2], 0),
    ([1, 1, 1, 1], [1, 1], 0),
    ([2, 1, 1, 3], [4, 3], 0),
    ([1, 5, 7, 2], [1, 1], 1),
    ([2, 8, 6, 3], [4, 3], 0),
    ([1, 9, 7, 3], [4, 5], 2),
    ([2, 5, 6, 4], [11, 7], 0),
    ([1, 5, 6, 1], [5, 6], 0),
    ([1, 7, 6, 33], [3, 13], 1),
    ([3, 24, 31, 3], [7, 40], 0),
];
const FILTERS: [Filter; 4] = [Filter::Bilinear, Filter::Bicubic, Filter::BilinearAntialias, Filter::BicubicAntialias];

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
struct Case<T> {
    tables: Tables,
    forward: family::Plan,
    backward: family::Plan,
    x: Vec<T>,
    dy: Vec<T>,
}

struct Outputs<T> {
    y: Fenced<T, 4>,
    dx: Fenced<T, 4>,
}

impl<T: Float + Poison> Case<T> {
    fn new(filter: Filter, &(dims, to, gap): &Sizes, accumulate: Accumulate, seed: u64) -> Self {
        let (tables, x) = (Tables::new(filter, [dims[1], dims[2]], to).unwrap(), gaps(dims, gap));
        let forward = family::plan(&tables, &x).unwrap();
        let dy = gaps(forward.out(), gap);
        let backward = family::plan_backward(&tables, &dy, accumulate).unwrap();
        let (x, dy) = (normal(x.span(), 1.0, seed), normal(dy.span(), 1.0, seed + 50));
        Self { tables, forward, backward, x, dy }
    }

    fn outputs(&self, device: &Device) -> Outputs<T> {
        let dims = self.backward.x().dims();
        let dx = match self.backward.accumulate() {
            Accumulate::Replace => Fenced::new(dims, device),
            Accumulate::Add => Fenced::holding(&normal(dims.iter().product(), 1.0, 9), dims, device),
        };
        Outputs { y: Fenced::new(self.forward.out(), device), dx }
    }

    /// The reference, or the host by the instructions of `level`.
    fn host(&self, level: Option<Level>) -> Outputs<T> {
        let (Self { tables, forward, backward, x, dy }, mut out) = (self, self.outputs(&Device::Host));
        match level {
            Some(level) => {
                forward_at(level, forward, tables, x, out.y.slice());
                backward_at(level, backward, tables, dy, out.dx.slice());
            }
            None => {
                family::forward(forward, tables, x, out.y.slice());
                family::backward(backward, tables, dy, out.dx.slice());
            }
        }
        out
    }

    /// The operations on a device.
    fn core(&self, device: &Device) -> Outputs<T> {
        let mut out = self.outputs(device);
        let by = Resize::new(self.tables.filter(), self.tables.from(), self.tables.to(), device).unwrap();
        let x = Tensor::from_slice(&self.x, self.forward.x(), device).unwrap();
        let dy = Tensor::from_slice(&self.dy, self.backward.dy(), device).unwrap();
        let scratch = || bytes(resize_workspace(&self.forward.x(), &by, device).unwrap(), device);
        resize_into(x.view(), &by, out.y.view_mut(), scratch().view_mut()).unwrap();
        let accumulate = self.backward.accumulate();
        resize_backward_into(dy.view(), &by, accumulate, out.dx.view_mut(), scratch().view_mut()).unwrap();
        assert!(same(&resize(x.view(), &by).unwrap().to_vec().unwrap(), &out.y.take()));
        if accumulate == Accumulate::Replace {
            assert!(same(&resize_backward(dy.view(), &by).unwrap().to_vec().unwrap(), &out.dx.take()));
        }
        out
    }
}

impl<T: Float + Poison> Outputs<T> {
    fn near(&self, want: &Self, what: &str) {
        close(&format!("{what} y"), &self.y.full(), &want.y.full(), limit::<T>());
        close(&format!("{what} dx"), &self.dx.full(), &want.dx.full(), limit::<T>());
    }
}

fn table<T: Float + Poison>() {
    let (mut cases, all) = (Cases::of("resize").in_type::<T>(), devices());
    for (seed, sizes) in CASES.iter().enumerate() {
        for (filter, accumulate) in
            FILTERS.into_iter().flat_map(|filter| [Accumulate::Replace, Accumulate::Add].map(|how| (filter, how)))
        {
            let case = Case::<T>::new(filter, sizes, accumulate, seed as u64);
            let (want, what) = (case.host(None), format!("{filter:?} {sizes:?} {accumulate:?}"));
            cases.ran("reference");
            for level in Level::all() {
                case.host(Some(level)).near(&want, &format!("{level:?} {what}"));
                cases.ran("cpu");
            }
            for device in all.iter().filter(|device| device.is_host() || T::SYMBOL.is_some()) {
                case.core(device).near(&want, &format!("{} {what}", place(device)));
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

/// The image of tests/vectors/resize.py.
fn image(count: usize) -> Vec<f32> {
    (0..count).map(|k| ((k * k * 7 + k * 3) % 23) as f32 / 4.0 - 2.0).collect()
}

/// As Pillow and PyTorch have it: tests/vectors/resize.py. Both round to `f32`; PyTorch was given `f64`.
#[test]
fn as_pillow_and_pytorch() {
    let lines = include_str!("../vectors/resize.txt").lines();
    assert_eq!(lines.clone().count(), 20);
    for line in lines {
        let mut words = line.split(' ');
        let name = words.next().unwrap();
        let filter = FILTERS.into_iter().find(|filter| format!("{filter:?}") == name).unwrap();
        let mut size = || words.next().unwrap().parse::<usize>().unwrap();
        let (from, to) = ([size(), size()], [size(), size()]);
        let want: Vec<f32> = words.map(|word| word.parse().unwrap()).collect();
        for device in devices() {
            let x = Tensor::from_vec(image(from[0] * from[1]), [1, from[0], from[1], 1], &device).unwrap();
            let by = Resize::new(filter, from, to, &device).unwrap();
            let got = resize(x.view(), &by).unwrap().to_vec().unwrap();
            assert_eq!(got.len(), want.len());
            let near = got.iter().zip(&want).all(|(got, want)| (got - want).abs() < 2e-6);
            assert!(near, "{name} {from:?} {to:?} {}: {got:?} {want:?}", place(&device));
        }
    }
}

/// An equal size is a copy, in every bit, and no entry spoils its neighbours.
#[test]
fn an_equal_size_is_a_copy() {
    for (filter, device) in FILTERS.into_iter().flat_map(|filter| devices().into_iter().map(move |at| (filter, at))) {
        let mut x = normal::<f32>(5 * 7 * 2, 1.0, 1);
        (x[20], x[33]) = (f32::NAN, f32::INFINITY);
        let tensor = Tensor::from_vec(x.clone(), [1, 5, 7, 2], &device).unwrap();
        let by = Resize::new(filter, [5, 7], [5, 7], &device).unwrap();
        assert!(same(&resize(tensor.view(), &by).unwrap().to_vec().unwrap(), &x), "{filter:?}");
        assert!(same(&resize_backward(tensor.view(), &by).unwrap().to_vec().unwrap(), &x), "{filter:?}");
    }
}

/// Weights of a row sum to one: an even image stays even, at any size.
#[test]
fn an_even_image_stays_even() {
    for (filter, (from, to)) in FILTERS.into_iter().flat_map(|filter| {
        [([3, 50], [17, 4]), ([1, 2], [9, 1]), ([64, 7], [5, 7]), ([1000, 3], [1, 301])].map(|sizes| (filter, sizes))
    }) {
        let by = Resize::new(filter, from, to, &Device::Host).unwrap();
        let x = Tensor::from_vec(vec![3.0_f64; from[0] * from[1]], [1, from[0], from[1], 1], &Device::Host).unwrap();
        let y = resize(x.view(), &by).unwrap().to_vec().unwrap();
        assert!(y.iter().all(|y| (y - 3.0).abs() < 1e-12), "{filter:?} {from:?} {to:?}");
    }
}

/// The gradients of the reference are the slopes of the reference, which is linear.
#[test]
fn gradient() {
    for (filter, sizes) in FILTERS.into_iter().flat_map(|filter| [4, 6, 7].map(|case| (filter, &CASES[case]))) {
        let case = Case::<f64>::new(filter, sizes, Accumulate::Replace, 3);
        let (p, dx) = (&case.forward, case.host(None).dx.full());
        let of = |layout: Layout<4>, at: usize| {
            let ([_, b, c, d], [image, row, column, _]) = (layout.dims(), layout.strides());
            at / d / c / b * image + at / d / c % b * row + at / d % c * column + at % d
        };
        let loss = |x: &[f64]| -> f64 {
            let mut y = vec![0.0; p.dy().len()];
            family::forward(p, &case.tables, x, &mut y);
            y.iter().enumerate().map(|(at, y)| y * case.dy[of(case.backward.dy(), at)]).sum()
        };
        for (at, dx) in dx.into_iter().enumerate() {
            let [up, down] = [0.5, -0.5].map(|by| {
                let mut x = case.x.clone();
                x[of(p.x(), at)] += by;
                loss(&x)
            });
            assert!((dx - (up - down)).abs() < 1e-11, "{filter:?} {sizes:?} {at}: {dx} {}", up - down);
        }
    }
}

/// NaN and infinities stay in their image and channel.
#[test]
fn images_and_channels_keep_apart() {
    for (filter, device) in FILTERS.into_iter().flat_map(|filter| devices().into_iter().map(move |at| (filter, at))) {
        let mut case = Case::<f32>::new(filter, &CASES[5], Accumulate::Replace, 3);
        let clean = case.core(&device);
        (case.x[3], case.dy[0]) = (f32::NAN, f32::INFINITY);
        let wrong = case.core(&device);
        for [clean, wrong] in [[clean.y.full(), wrong.y.full()], [clean.dx.full(), wrong.dx.full()]] {
            let image = clean.len() / 2;
            let spoilt = (0..clean.len()).filter(|&at| clean[at].to_bits() != wrong[at].to_bits());
            let spoilt: Vec<usize> = spoilt.collect();
            assert!(!spoilt.is_empty() && spoilt.iter().all(|&at| at < image && at % 3 == 0), "{filter:?} {spoilt:?}");
        }
    }
}

#[test]
fn wrong_calls_are_errors() {
    let tables = |from, to| Tables::new(Filter::Bicubic, from, to).err();
    let none = |arg| Some(Error::Value { op: "resize", arg, want: "at least one pixel each way" });
    let most = 1 << 20;
    assert_eq!(tables([0, 3], [2, 2]), none("from"));
    assert_eq!(tables([3, 3], [2, 0]), none("to"));
    assert_eq!(
        tables([3, most + 1], [2, 1]),
        Some(Error::Range { op: "resize", arg: "from", max: most, got: most + 1 })
    );
    assert_eq!(
        tables([3, 1], [2, usize::MAX]),
        Some(Error::Range { op: "resize", arg: "to", max: most, got: usize::MAX })
    );
    assert_eq!(tables([most, 1], [1, most]), None);
    let large = Tables::new(Filter::Bilinear, [1, 1], [most, most]).unwrap();
    let x = Layout::packed([1, 1, 1, 1 << 30]).unwrap();
    assert_eq!(family::plan(&large, &x).err(), Some(Error::TooLarge));
    for device in devices() {
        let of = |dims| Tensor::<f32, 4>::zeros(dims, &device).unwrap();
        let size = |arg, want, got| Some(Error::Size { op: "resize", arg, want, got });
        let by = Resize::new(Filter::Bilinear, [4, 6], [2, 3], &device).unwrap();
        assert_eq!(resize(of([1, 4, 5, 2]).view(), &by).err(), size("x", 6, 5));
        assert_eq!(resize_backward(of([1, 2, 4, 2]).view(), &by).err(), size("dy", 3, 4));
        let (x, mut y) = (of([1, 4, 6, 2]), of([2, 2, 3, 2]));
        let mut scratch = bytes(resize_workspace(&x.layout(), &by, &device).unwrap(), &device);
        assert_eq!(resize_into(x.view(), &by, y.view_mut(), scratch.view_mut()).err(), size("y", 1, 2));
        assert_eq!(resize_into(x.view(), &by, of([1, 2, 3, 2]).view_mut(), scratch.view_mut()).err(), None);
        if !device.is_host() {
            let mut little = bytes(16, &device);
            let got = resize_into(x.view(), &by, of([1, 2, 3, 2]).view_mut(), little.view_mut()).err();
            assert!(matches!(got, Some(Error::Size { arg: "workspace", .. })));
            let there = Tensor::<f32, 4>::zeros([1, 4, 6, 2], &Device::Host).unwrap();
            assert_eq!(resize(there.view(), &by).err(), Some(Error::Device { op: "resize", arg: "by" }));
        }
    }
}
