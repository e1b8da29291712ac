//! Statistics of classes, in one batch and in several.
use latens_core::{
    Accumulate, ClassMoments, Device, Error, Float, Layout, Tensor, bf16, class_moments, class_moments_into,
    class_moments_workspace, f16,
};
use latens_cpu::Level;
use latens_cpu::reduce::classes as cpu;
use latens_kernels::{Philox, reduce::classes as family};
use latens_tests::{Cases, Fenced, Poison, bytes, close, devices, normal, numbers, place, same, small};

/// `[rows, n, classes, padding]`.
const CASES: &[[usize; 4]] = &[
    [0, 3, 2, 0],
    [5, 0, 3, 0],
    [5, 2, 0, 0],
    [1, 1, 1, 0],
    [40, 33, 3, 5],
    [300, 5, 40, 1],
    [3000, 31, 1, 0],
    [2100, 130, 7, 2],
];

/// Counts, means, squares, ignored.
#[derive(Clone)]
struct Held<A> {
    counts: Vec<u32>,
    means: Vec<A>,
    squares: Vec<A>,
    ignored: Vec<u32>,
}

struct Memory<A> {
    counts: Fenced<u32, 1>,
    means: Fenced<A, 2>,
    squares: Fenced<A, 2>,
    ignored: Fenced<u32, 1>,
}

impl<A: Float + Poison> Memory<A> {
    fn new(p: &family::Plan, held: Option<&Held<A>>, at: &Device) -> Self {
        let ([classes, n], of) = (p.out(), |poison: u32, count: usize| vec![poison; count]);
        let held = held.cloned().unwrap_or(Held {
            counts: of(u32::POISON, classes),
            means: vec![A::POISON; classes * n],
            squares: vec![A::POISON; classes * n],
            ignored: of(u32::POISON, 1),
        });
        Self {
            counts: Fenced::holding(&held.counts, [classes], at),
            means: Fenced::holding(&held.means, [classes, n], at),
            squares: Fenced::holding(&held.squares, [classes, n], at),
            ignored: Fenced::holding(&held.ignored, [1], at),
        }
    }

    fn take(&self) -> Held<A> {
        let (means, squares) = (self.means.full(), self.squares.full());
        Held { counts: self.counts.take(), means, squares, ignored: self.ignored.take() }
    }
}

struct Batch<T> {
    layout: Layout<2>,
    x: Vec<T>,
    labels: Vec<u32>,
}

impl<T: Float<Acc: Poison> + Poison> Batch<T> {
    /// Some labels are no class; some classes have most rows, some none.
    fn new([rows, n, classes, padding]: [usize; 4], special: bool, seed: u64) -> Self {
        let layout = Layout::strided([rows, n], [n + padding, 1]).unwrap();
        let x = if special { numbers(layout.span(), seed) } else { normal(layout.span(), 1.0, seed) };
        let x = x.into_iter().map(|x: T| T::narrow(x.wide() + 5.0)).collect();
        let mut draw = Philox::new(seed);
        let label = |draw: &mut Philox| match draw.below(8) {
            0 => u32::MAX - draw.below(3),
            1 => classes as u32,
            2..5 => 0,
            _ => draw.below(classes as u32 + 1),
        };
        Self { layout, x, labels: (0..rows).map(|_| label(&mut draw)).collect() }
    }

    fn plan(&self, classes: usize, held: Option<&Held<T::Acc>>) -> family::Plan {
        let labels = Layout::packed([self.labels.len()]).unwrap();
        let accumulate = if held.is_some() { Accumulate::Add } else { Accumulate::Replace };
        family::plan(&self.layout, &labels, classes, accumulate).unwrap()
    }

    /// The reference, or the host by the instructions of `level`.
    fn host(&self, level: Option<Level>, classes: usize, held: Option<&Held<T::Acc>>) -> Held<T::Acc> {
        let p = self.plan(classes, held);
        let mut to = Memory::new(&p, held, &Device::Host);
        let Memory { counts, means, squares, ignored } = &mut to;
        let (counts, means, squares, ignored) = (counts.slice(), means.slice(), squares.slice(), ignored.slice());
        match level {
            Some(level) => cpu::forward_at(level, &p, &self.x, &self.labels, counts, means, squares, ignored),
            None => family::forward(&p, &self.x, &self.labels, counts, means, squares, ignored),
        }
        to.take()
    }

    fn core(&self, classes: usize, held: Option<&Held<T::Acc>>, device: &Device) -> Held<T::Acc> {
        let p = self.plan(classes, held);
        let mut to = Memory::new(&p, held, device);
        let x = Tensor::from_slice(&self.x, self.layout, device).unwrap();
        let labels = Tensor::from_vec(self.labels.clone(), [self.labels.len()], device).unwrap();
        let mut work = bytes(class_moments_workspace(&self.layout, classes, device).unwrap(), device);
        let Memory { counts, means, squares, ignored } = &mut to;
        let (counts, ignored) = (counts.view_mut(), ignored.view_mut());
        let (means, squares) = (means.view_mut(), squares.view_mut());
        let outputs = latens_core::ClassMomentsMut { counts, means, squares, ignored };
        class_moments_into(x.view(), labels.view(), p.accumulate(), outputs, work.view_mut()).unwrap();
        to.take()
    }
}

fn near<A: Float>(got: &Held<A>, want: &Held<A>, what: &str) {
    assert_eq!((&got.counts, &got.ignored), (&want.counts, &want.ignored), "{what}: counts");
    close(&format!("{what} means"), &got.means, &want.means, 1e-11);
    close(&format!("{what} squares"), &got.squares, &want.squares, 1e-11);
}

fn table<T: Float<Acc: Poison> + Poison>() {
    let mut count = Cases::of("reduce classes").in_type::<T>();
    for (seed, &sizes) in (1..).zip(CASES.iter().filter(|sizes| !small() || sizes[0] * sizes[1] < 20_000)) {
        for special in [false, true] {
            // The first batch replaces; others join, the second with classes that have no rows in it.
            let mut held = None;
            for (turn, rows) in [sizes[0], sizes[0].min(7), sizes[0] / 2].into_iter().enumerate() {
                let batch = Batch::<T>::new([rows, sizes[1], sizes[2], sizes[3]], special, seed * 10 + turn as u64);
                let (before, what) = (held.as_ref(), format!("{sizes:?} {special} {turn}"));
                let want = batch.host(None, sizes[2], before);
                count.ran("reference");
                for level in Level::all() {
                    near(&batch.host(Some(level), sizes[2], before), &want, &format!("{level:?} {what}"));
                    count.ran("cpu");
                }
                for device in devices() {
                    let got = batch.core(sizes[2], before, &device);
                    near(&got, &want, &format!("{} {what}", place(&device)));
                    let again = batch.core(sizes[2], before, &device);
                    assert!(same(&got.means, &again.means) && same(&got.squares, &again.squares), "two runs differ");
                    count.ran(place(&device));
                }
                held = Some(want);
            }
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

/// Batches that join are the whole: however the rows are cut, and from nothing on.
#[test]
fn batches_join() {
    let (n, classes) = (6, 5);
    let whole = Batch::<f32>::new([200, n, classes, 0], false, 4);
    let want = whole.host(None, classes, None);
    for device in devices() {
        let mut to = ClassMoments::<f32>::zeros([classes, n], &device).unwrap();
        for (begin, end) in [(0, 1), (1, 50), (50, 50), (50, 163), (163, 200)] {
            let x = Tensor::from_vec(whole.x[begin * n..end * n].to_vec(), [end - begin, n], &device).unwrap();
            let labels = Tensor::from_vec(whole.labels[begin..end].to_vec(), [end - begin], &device).unwrap();
            let mut work = bytes(class_moments_workspace(&x.layout(), classes, &device).unwrap(), &device);
            class_moments_into(x.view(), labels.view(), Accumulate::Add, to.view_mut(), work.view_mut()).unwrap();
        }
        let got = Held {
            counts: to.counts.to_vec().unwrap(),
            means: to.means.to_vec().unwrap(),
            squares: to.squares.to_vec().unwrap(),
            ignored: to.ignored.to_vec().unwrap(),
        };
        near(&got, &want, place(&device));
    }
}

/// By hand: bad labels are counted, an empty class is zero, a NaN stays in its column of its class.
#[test]
fn labels_decide() {
    let x = vec![1.0, 2.0, 5.0, f32::NAN, 3.0, 6.0, 9.0, 9.0];
    for device in devices() {
        let x = Tensor::from_vec(x.clone(), [4, 2], &device).unwrap();
        let labels = Tensor::from_vec(vec![2, 0, 2, 3], [4], &device).unwrap();
        let to = class_moments(x.view(), labels.view(), 3).unwrap();
        assert_eq!(to.counts.to_vec().unwrap(), [1, 0, 2]);
        assert_eq!(to.ignored.to_vec().unwrap(), [1]);
        assert!(same(&to.means.to_vec().unwrap(), &[5.0, f32::NAN, 0.0, 0.0, 2.0, 4.0]), "{}", place(&device));
        assert!(same(&to.squares.to_vec().unwrap(), &[0.0, f32::NAN, 0.0, 0.0, 2.0, 8.0]), "{}", place(&device));
    }
}

/// A class that a batch leaves out keeps its bits, and counts do not pass the largest.
#[test]
fn what_is_held_stays() {
    let held =
        Held { counts: vec![u32::MAX - 1, 7], means: vec![0.1, 0.2], squares: vec![0.3, 0.4], ignored: vec![u32::MAX] };
    let (layout, labels) = (Layout::packed([3, 1]).unwrap(), vec![0, 0, 9]);
    let batch = Batch { layout, x: vec![0.1_f32; 3], labels };
    for device in devices() {
        let got = batch.core(2, Some(&held), &device);
        assert_eq!((got.counts, got.ignored), (vec![u32::MAX, 7], vec![u32::MAX]), "{}", place(&device));
        assert_eq!((got.means[1], got.squares[1]), (0.2, 0.4));
        assert!((got.means[0] - 0.1).abs() < 1e-6);
    }
}

#[test]
fn threads_do_not_change_the_result() {
    let batch = Batch::<f32>::new([4000, 150, 3, 0], false, 1);
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| batch.core(3, None, &Device::Host))
    };
    let [one, three] = [run(1), run(3)];
    assert!(same(&one.means, &three.means) && same(&one.squares, &three.squares));
}

#[test]
fn wrong_calls_are_errors() {
    for device in devices() {
        let x = Tensor::<f32, 2>::zeros([4, 3], &device).unwrap();
        let labels = |n: usize| Tensor::<u32, 1>::zeros([n], &device).unwrap();
        let size = |arg, want, got| Some(Error::Size { op: "class_moments", arg, want, got });
        assert_eq!(class_moments(x.view(), labels(3).view(), 2).err(), size("labels", 4, 3));
        let mut to = ClassMoments::<f32>::zeros([2, 4], &device).unwrap();
        let (all, mut work) = (labels(4), bytes(1 << 16, &device));
        let call = class_moments_into(x.view(), all.view(), Accumulate::Add, to.view_mut(), work.view_mut());
        assert_eq!(call.err(), size("means", 3, 4));
    }
}
