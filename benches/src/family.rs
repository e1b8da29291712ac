//! What the benchmarks of families share: inputs, the check before the clock, and the floor beside the time.
//!
//! A family's floor is the time in which this machine copies as many bytes as the operation must move: no implementation
//! that reads its inputs from memory is faster. The rate of a copy is measured in the same run.
use crate::{disagreement, normal};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput};
use latens_core::{Device, Float, Layout, Result, Tensor};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// The group of one family.
pub struct Family<'c>(BenchmarkGroup<'c, WallTime>);

impl<'c> Family<'c> {
    /// The group named `name`.
    pub fn new(c: &'c mut Criterion, name: &str) -> Self {
        let mut group = c.benchmark_group(name);
        group.sample_size(10).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
        Self(group)
    }

    /// Time an operation that memory bounds; criterion prints its bytes per second.
    pub fn bytes<O>(&mut self, op: &str, size: &str, bytes: usize, call: impl FnMut() -> Result<O>) {
        self.time(op, size, bytes, Throughput::Bytes(bytes as u64), call);
    }

    /// Time an operation that arithmetic bounds; criterion prints its multiplications and additions per second.
    pub fn flops<O>(&mut self, op: &str, size: &str, flops: usize, bytes: usize, call: impl FnMut() -> Result<O>) {
        self.time(op, size, bytes, Throughput::Elements(flops as u64), call);
    }

    fn time<O>(&mut self, op: &str, size: &str, bytes: usize, rate: Throughput, mut call: impl FnMut() -> Result<O>) {
        let floor = bytes as f64 / copy_rate();
        println!("floor: {op}/{size} {:.3} ms at a copy's {:.1} GB/s", floor * 1e3, copy_rate() / 1e9);
        self.0.throughput(rate);
        self.0.bench_function(BenchmarkId::new(op, size), |b| b.iter(|| call().unwrap()));
    }
}

/// Bytes read and written per second by a copy that fits no cache, every core at work: the best of several.
fn copy_rate() -> f64 {
    static RATE: OnceLock<f64> = OnceLock::new();
    *RATE.get_or_init(|| {
        let (from, mut to) = (vec![1_u64; 1 << 23], vec![2_u64; 1 << 23]);
        let seconds = (0..7).map(|_| {
            let started = Instant::now();
            copy(&from, &mut to);
            started.elapsed().as_secs_f64()
        });
        2.0 * size_of_val(&*from) as f64 / seconds.fold(f64::INFINITY, f64::min)
    })
}

/// Copy by every core.
pub fn copy(from: &[u64], to: &mut [u64]) {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let part = from.len().div_ceil(cores).max(1);
    std::thread::scope(|scope| {
        for (from, to) in from.chunks(part).zip(to.chunks_mut(part)) {
            scope.spawn(|| to.copy_from_slice(from));
        }
    });
}

/// `count` numbers near enough to normal.
pub fn numbers<T: Float>(count: usize, seed: u64) -> Vec<T> {
    normal(count, seed).into_iter().map(T::from_f32).collect()
}

/// A tensor of them on the host.
pub fn tensor<T: Float, const R: usize>(dims: [usize; R], seed: u64) -> Tensor<T, R> {
    host(numbers(dims.iter().product(), seed), dims)
}

/// These elements on the host.
pub fn host<T: latens_core::Element, const R: usize>(elements: Vec<T>, dims: [usize; R]) -> Tensor<T, R> {
    Tensor::from_vec(elements, dims, &Device::Host).unwrap()
}

/// The packed layout of these sizes.
pub fn packed<const R: usize>(dims: [usize; R]) -> Layout<R> {
    Layout::packed(dims).unwrap()
}

/// The elements of a tensor on the host.
pub fn slice<T: latens_core::Element, const R: usize>(x: &Tensor<T, R>) -> &[T] {
    x.host().expect("the tensor is on the host")
}

/// Stop unless `got` agrees with the reference.
pub fn verify<T: Float>(what: &str, got: &[T], want: &[T], limit: f64) {
    let single = |x: &[T]| x.iter().map(|x| x.to_f32()).collect::<Vec<_>>();
    let error = disagreement(&single(got), &single(want));
    assert!(error <= limit, "{what} disagrees with its reference: {error:e}");
}
