use super::{COLUMNS, Estimator, GROUPS, Plan};
use crate::{DType, Float, math};
use core::f64::consts::{E, LN_2, TAU};

/// Counts and sums of a group of the sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Group {
    /// Finite elements.
    pub count: u32,
    /// NaN.
    pub nan: u32,
    /// Infinities.
    pub infinite: u32,
    /// Lowest.
    pub low: f64,
    /// Highest.
    pub high: f64,
    /// Sum.
    pub sum: f64,
    /// Sum of squares.
    pub squares: f64,
}

impl Default for Group {
    fn default() -> Self {
        let (low, high) = (f64::INFINITY, f64::NEG_INFINITY);
        Self { count: 0, nan: 0, infinite: 0, low, high, sum: 0.0, squares: 0.0 }
    }
}

impl Group {
    /// Both together.
    pub fn with(&self, other: &Self) -> Self {
        Self {
            count: self.count + other.count,
            nan: self.nan + other.nan,
            infinite: self.infinite + other.infinite,
            low: self.low.min(other.low),
            high: self.high.max(other.high),
            sum: self.sum + other.sum,
            squares: self.squares + other.squares,
        }
    }

    fn variance(&self) -> f64 {
        let n = f64::from(self.count);
        if self.low == self.high { 0.0 } else { ((self.squares - self.sum * self.sum / n) / n).max(0.0) }
    }
}

/// The groups of one segment; `bins` has a histogram of each, one after the other, or is empty for `Gaussian`.
pub struct State<'a> {
    /// By number.
    pub groups: [Group; GROUPS],
    /// `[GROUPS, bins]`.
    pub bins: &'a [u32],
}

/// What brings elements to their bins; all steps round to `A`.
#[derive(Clone, Copy, Debug)]
pub struct Scale<A> {
    /// A power of two that brings the range near 1.
    pub unit: A,
    /// The lowest element, times that.
    pub offset: A,
    /// Bins in such a unit.
    pub factor: A,
    /// The last bin.
    pub last: u32,
}

impl<A: Float> Scale<A> {
    /// For elements from `low` to `high`.
    pub fn new(low: f64, high: f64, bins: usize) -> Self {
        // The unit stays a normal number: 2^126 for the narrowest range, 2^-126 for the widest.
        let unit = match A::DTYPE {
            DType::F64 => {
                f64::from_bits((2046 - ((high - low).to_bits() >> 52 & 2047) as i64).clamp(1, 2045) as u64 * (1 << 52))
            }
            _ => f32::from_bits(
                (254 - (((high - low) as f32).to_bits() >> 23 & 255) as i32).clamp(1, 253) as u32 * (1 << 23),
            )
            .into(),
        };
        let round = |x: f64| A::narrow(x).wide();
        let (bottom, top) = (round(low * unit), round(high * unit));
        let factor = A::narrow(bins as f64 / round(top - bottom));
        Self { unit: A::narrow(unit), offset: A::narrow(bottom), factor, last: bins as u32 - 1 }
    }

    /// The bin of `x`.
    pub fn bin(&self, x: f64) -> usize {
        let round = |x: f64| A::narrow(x).wide();
        let above = round(round(x * self.unit.wide()) - self.offset.wide());
        // NaN, of a range of nothing, becomes 0.
        (round(above * self.factor.wide()) as usize).min(self.last as usize)
    }
}

/// A row of `values`, and one of `counts`. `x_ln_x` is that function of whole numbers.
pub fn estimate(p: &Plan<'_>, state: &State<'_>, x_ln_x: impl Fn(u32) -> f64) -> ([f64; COLUMNS], [u32; 3]) {
    let all = state.groups.iter().fold(Group::default(), |all, group| all.with(group));
    let counts = [all.count, all.nan, all.infinite];
    if all.count == 0 {
        let entropy = if p.settings.estimator == Estimator::Discrete { 0.0 } else { f64::NAN };
        return ([entropy, f64::INFINITY, 0.0, f64::NAN, f64::NAN, f64::NAN, f64::NAN, 0.0], counts);
    }
    let estimates = if p.has_bins() { binned(p, state, &all, x_ln_x) } else { gaussian(state, &all) };
    let [entropy, correction, filled] = estimates[GROUPS];
    let spread = (0..GROUPS).filter(|&g| state.groups[g].count > 0 && state.groups[g].count < all.count);
    let error = jackknife(spread.map(|g| estimates[g][0]));
    let mean = all.sum / f64::from(all.count);
    ([entropy, error, correction, all.low + 0.0, all.high + 0.0, mean, all.variance(), filled], counts)
}

/// Entropy, correction and filled bins of the sample without each group, and last of all of it.
type Estimates = [[f64; 3]; GROUPS + 1];

fn gaussian(state: &State<'_>, all: &Group) -> Estimates {
    core::array::from_fn(|without| {
        let kept = state.groups.iter().enumerate().filter(|&(g, _)| g != without);
        let rest = kept.fold(Group::default(), |rest, (_, group)| rest.with(group));
        let variance = if without == GROUPS { all.variance() } else { rest.variance() };
        [math::ln(TAU * E * variance) / 2.0, 0.0, 0.0]
    })
}

fn binned(p: &Plan<'_>, state: &State<'_>, all: &Group, x_ln_x: impl Fn(u32) -> f64) -> Estimates {
    let bins = p.settings.bins;
    let (mut sums, mut filled) = ([0.0; GROUPS + 1], [0_u32; GROUPS + 1]);
    for bin in 0..bins {
        let total: u32 = (0..GROUPS).map(|g| state.bins[g * bins + bin]).sum();
        for g in 0..=GROUPS {
            let count = total - if g == GROUPS { 0 } else { state.bins[g * bins + bin] };
            sums[g] += x_ln_x(count);
            filled[g] += u32::from(count > 0);
        }
    }
    let width = match p.settings.estimator {
        // Halves, so that the width of the widest range is finite.
        Estimator::Differential => math::ln((all.high / 2.0 - all.low / 2.0) / bins as f64) + LN_2,
        _ => 0.0,
    };
    core::array::from_fn(|g| {
        let n = f64::from(all.count - state.groups.get(g).map_or(0, |group| group.count));
        let correction = (f64::from(filled[g]) - 1.0) / (2.0 * n);
        let added = if p.settings.correct { correction } else { 0.0 };
        // One bin says nothing, to the last bit.
        let plain = if filled[g] == 1 { 0.0 } else { math::ln(n) - sums[g] / n };
        [plain + added + width, correction, f64::from(filled[g])]
    })
}

/// Standard error from the estimates without a group each.
fn jackknife(estimates: impl Iterator<Item = f64>) -> f64 {
    let (mut all, mut count) = ([0.0; GROUPS], 0);
    for estimate in estimates {
        all[count] = estimate;
        count += 1;
    }
    let groups = count as f64;
    let mean = all[..count].iter().sum::<f64>() / groups;
    let spread: f64 = all[..count].iter().map(|x| (x - mean) * (x - mean)).sum();
    let error = math::sqrt(spread * (groups - 1.0) / groups);
    if count < 2 || !error.is_finite() { f64::INFINITY } else { error }
}
