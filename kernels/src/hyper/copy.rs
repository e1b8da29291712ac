//! A copy of a corpus in fewer bytes, and what a score is at most that the copy tells.
//!
//! A row `x` is copied as `c`, and a query `q` taken as `q'`: for a copy of integers in integers too, else as it is. Then
//! `x · q = c · q' + (x - c) · q' + x · (q - q')`, and by Cauchy's inequality
//!
//! ```text
//! x · q ≤ c · q' + |x - c| (|q| + |q - q'|) + |x| |q - q'|
//! ```
//!
//! **Roundings.** What must not be passed is the score as `forward` rounds it, by a bound that is itself rounded. With
//! `u = 2^-24`, a sum of `dim` products differs from the true one by at most `dim u / (1 - dim u)` of `|x| |q|`, in whatever
//! order it is summed. At most two such sums stand on the way, `x · q` and `c · q'`; the sums of squares are others, but with
//! integers, where those of products are exact, and elsewhere below a hundredth. A few dozen `u` are for what does not grow
//! with `dim`. So [`slack`], `3 dim u + 128 u`, is more than enough for `dim` up to 2^16; the bound has it times `|x| |q|`.
//!
//! **Range.** This holds where nothing overflows, or is lost below the smallest number: for rows and queries whose largest
//! number is between 2^-40 and 2^40. One beyond is infinitely far from its copy, so always a candidate; one below has the
//! codes of 0, and the length of the largest there is below.
use crate::{DType, Element, Float, bf16, math};
use alloc::vec::Vec;

/// The largest `dim`: sums of products of 8 bits fit an `i32`, and `dim u` is small.
pub(super) const DIM: usize = 1 << 16;
/// Half a step from 1 to the next `f32`.
const U: f32 = 1.0 / (1 << 24) as f32;
/// The largest number of rows and queries that are copied is between these: twins of `copy.cuh`.
const TINY: f32 = 1.0 / HUGE;
const HUGE: f32 = (1_u64 << 40) as f32;

/// A type that rows are copied in: `i8` (with a scale for each row), or `bf16`.
pub trait Copied: Element {
    /// The kernel that copies.
    #[doc(hidden)]
    const KERNEL: &'static str;
    /// Codes, by their type.
    fn codes(codes: &[Self]) -> Codes<'_>;
    /// Copy a row, and say its scale, `|x - c|` and `|x|`. Codes and scales are the same on every device.
    fn copy<T: Float>(x: &[T], codes: &mut [Self]) -> [f32; 3];
}

/// Codes of one of the types.
#[derive(Clone, Copy, Debug)]
pub enum Codes<'a> {
    /// Integers of 8 bits.
    Int8(&'a [i8]),
    /// The nearest numbers of 16 bits.
    Bf16(&'a [bf16]),
}

impl Copied for i8 {
    const KERNEL: &'static str = "hyper_compress";
    fn codes(codes: &[Self]) -> Codes<'_> {
        Codes::Int8(codes)
    }
    fn copy<T: Float>(x: &[T], codes: &mut [Self]) -> [f32; 3] {
        let scale = largest(x) / 127.0;
        let rest = |x: T, code: i8| x.wide() - f64::from(code) * f64::from(scale);
        copy(x, codes, scale, |x| nearest(x.to_f32() / scale), rest)
    }
}

impl Copied for bf16 {
    const KERNEL: &'static str = "hyper_round";
    fn codes(codes: &[Self]) -> Codes<'_> {
        Codes::Bf16(codes)
    }
    fn copy<T: Float>(x: &[T], codes: &mut [Self]) -> [f32; 3] {
        copy(x, codes, 1.0, |x| bf16::from_f32(x.to_f32()), |x, code| x.wide() - code.wide())
    }
}

fn copy<T: Float, C: Copied>(
    x: &[T],
    codes: &mut [C],
    scale: f32,
    code: impl Fn(T) -> C,
    rest: impl Fn(T, C) -> f64,
) -> [f32; 3] {
    let top = largest(x);
    if !fits(top) {
        codes.fill(C::default());
        let far = beyond(top, x.len());
        return [0.0, far, far];
    }
    let (mut off, mut all) = (0.0, 0.0);
    for (to, &x) in codes.iter_mut().zip(x) {
        *to = code(x);
        let rest = rest(x, *to);
        (off, all) = (off + rest * rest, all + x.wide() * x.wide());
    }
    [scale, math::sqrt(off) as f32, math::sqrt(all) as f32]
}

/// The largest size; NaN if one is. What `f32` would take for 0 is not.
fn largest<T: Float>(x: &[T]) -> f32 {
    let size = |x: &T| if x.to_f32() == 0.0 && x.wide() != 0.0 { f32::MIN_POSITIVE } else { x.to_f32().abs() };
    x.iter().map(size).fold(0.0, |top, x| if x > top || x.is_nan() { x } else { top })
}

/// Whether numbers of this largest size are copied.
fn fits(top: f32) -> bool {
    (TINY..=HUGE).contains(&top)
}

/// What stands for the length of `dim` numbers that are not copied.
fn beyond(top: f32, dim: usize) -> f32 {
    if top == 0.0 {
        0.0
    } else if top < TINY {
        TINY * math::sqrt(dim as f64) as f32
    } else {
        f32::INFINITY
    }
}

/// The nearest integer, ties to even, at most 127 in size.
fn nearest(x: f32) -> i8 {
    const ROUND: f32 = 12_582_912.0;
    (x.clamp(-127.0, 127.0) + ROUND - ROUND) as i8
}

/// What roundings may add to a score or take from its bound, in parts of `|x| |q|`.
pub fn slack(dim: usize) -> f32 {
    (3 * dim + 128) as f32 * U
}

/// What a bound needs of a query.
#[derive(Clone, Copy, Debug)]
pub struct Lengths {
    /// `|q| + |q - q'|`.
    length: f32,
    /// `|q - q'| + slack |q|`.
    off: f32,
}

impl Lengths {
    /// Of a query that is multiplied as it is, in `f32`.
    pub fn of<T: Float>(q: &[T]) -> Self {
        let (mut off, mut all) = (0.0, 0.0);
        for q in q {
            let rest = q.wide() - f64::from(q.to_f32());
            (off, all) = (off + rest * rest, all + q.wide() * q.wide());
        }
        Self::new(largest(q), q.len(), off, all)
    }

    /// From the sums of squares, of what the query is off and of the query.
    fn new(top: f32, dim: usize, off: f64, all: f64) -> Self {
        let (off, length) = (math::sqrt(off) as f32, math::sqrt(all) as f32);
        let far = beyond(top, dim);
        let (off, length) = if fits(top) { (off, length) } else { (far, far) };
        Self { length: length + off, off: off + slack(dim) * length }
    }

    /// What a score is at most, from `c · q'` and the bounds of the row.
    #[inline(always)]
    pub fn bound(&self, near: f32, bounds: &[f32]) -> f32 {
        let bound = near + bounds[1] * self.length + bounds[2] * self.off;
        if bound.is_nan() { f32::INFINITY } else { bound }
    }
}

/// A query in integers: `scale (high + low / 254)`.
#[derive(Clone, Debug)]
pub struct Integers {
    /// The larger parts.
    pub high: Vec<i8>,
    /// The smaller parts.
    pub low: Vec<i8>,
    /// What bounds need of it.
    pub lengths: Lengths,
    scale: f32,
}

impl Integers {
    /// Of a query.
    pub fn of<T: Float>(q: &[T]) -> Self {
        let top = largest(q);
        let scale = if fits(top) { top / 127.0 } else { 0.0 };
        let (mut high, mut low) = (Vec::with_capacity(q.len()), Vec::with_capacity(q.len()));
        let (mut off, mut all) = (0.0, 0.0);
        for q in q {
            let h = if scale > 0.0 { nearest(q.to_f32() / scale) } else { 0 };
            let rest = q.wide() - f64::from(h) * f64::from(scale);
            let l = if scale > 0.0 { nearest(rest as f32 / scale * 254.0) } else { 0 };
            let rest = rest - f64::from(l) * f64::from(scale) / 254.0;
            (off, all) = (off + rest * rest, all + q.wide() * q.wide());
            high.push(h);
            low.push(l);
        }
        Self { high, low, lengths: Lengths::new(top, q.len(), off, all), scale }
    }

    /// `c · q'`, from the sums of products of codes with `high` and `low`, and the bounds of the row.
    #[inline(always)]
    pub fn near(&self, high: i32, low: i32, bounds: &[f32]) -> f32 {
        self.scale * bounds[0] * (high as f32 + low as f32 * (1.0 / 254.0))
    }
}

/// Whether a copy is of integers.
pub(super) fn integers<C: Copied>() -> bool {
    C::DTYPE == DType::I8
}
