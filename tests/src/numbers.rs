use latens_core::{Device, Element, Float, Layout, Tensor};
use latens_kernels::Philox;

/// Numbers that repeat: half of them from a small set, so that there are ties, with the special values among them.
pub fn numbers<T: Float>(count: usize, seed: u64) -> Vec<T> {
    const SPECIAL: [f64; 6] = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, -0.0, 65_504.0];
    let mut draw = Philox::new(seed);
    let mut number = || match draw.below(32) {
        special @ 0..6 => SPECIAL[special as usize],
        6..16 => f64::from(draw.below(7)) - 3.0,
        _ => f64::from(draw.uniform()) * 8.0 - 4.0,
    };
    (0..count).map(|_| T::narrow(number())).collect()
}

/// Normal numbers of mean 0 and the given deviation.
pub fn normal<T: Float>(count: usize, deviation: f64, seed: u64) -> Vec<T> {
    let mut draw = Philox::new(seed);
    let mut number = || {
        // Box and Muller; 1 - uniform is never 0.
        let radius = (-2.0 * (1.0 - f64::from(draw.uniform())).ln()).sqrt();
        radius * (std::f64::consts::TAU * f64::from(draw.uniform())).cos()
    };
    (0..count).map(|_| T::narrow(deviation * number())).collect()
}

/// Numbers in `[low, high)` (rounded to `T`).
pub fn uniform<T: Float>(count: usize, low: f64, high: f64, seed: u64) -> Vec<T> {
    let mut draw = Philox::new(seed);
    (0..count).map(|_| T::narrow(low + (high - low) * f64::from(draw.uniform()))).collect()
}

/// Small whole numbers, of whose products every sum is exact in `f32`.
pub fn whole<T: Float>([rows, columns]: [usize; 2], padding: usize, seed: u64) -> (Vec<T>, Layout<2>) {
    let layout = Layout::strided([rows, columns], [columns + padding, 1]).unwrap();
    let mut draw = Philox::new(seed);
    ((0..layout.span()).map(|_| T::narrow(f64::from(draw.below(5)) - 2.0)).collect(), layout)
}

/// These numbers on `device`.
pub fn vector<T: Element>(data: &[T], device: &Device) -> Tensor<T, 1> {
    Tensor::from_slice(data, Layout::packed([data.len()]).unwrap(), device).unwrap()
}

/// Memory to work in.
pub fn bytes(count: usize, device: &Device) -> Tensor<u8, 1> {
    Tensor::empty([count], device).unwrap()
}
