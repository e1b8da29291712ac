//! What a figure is worth: intervals, paired tests and ranks. Everything that draws has a seed, and draws the same every time.
use crate::Philox;
use crate::io::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A mean, and where it may well lie.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Of how many.
    pub n: usize,
    /// The mean.
    pub mean: f64,
    /// It is hardly below.
    pub low: f64,
    /// It is hardly above.
    pub high: f64,
}

/// Draws of a bootstrap.
const DRAWS: usize = 2000;

/// The mean of `values`, and the 2.5th and 97.5th percentile of the means of 2000 samples of as many, drawn with replacement
/// (Efron 1979).
///
/// # Errors
/// [`Error::Setting`] for no values, or one that is not finite.
pub fn bootstrap(values: &[f64], seed: u64) -> Result<Interval> {
    some("values", values)?;
    let (n, mut draw) = (values.len(), Philox::new(seed));
    let mut means: Vec<f64> =
        (0..DRAWS).map(|_| (0..n).map(|_| values[draw.below(n as u32) as usize]).sum::<f64>() / n as f64).collect();
    means.sort_by(f64::total_cmp);
    let at = |share: f64| means[(share * (DRAWS - 1) as f64).round() as usize];
    Ok(Interval { n, mean: mean(values), low: at(0.025), high: at(0.975) })
}

/// [`bootstrap`] of the mean of `values` of which some belong together, those whose `groups` are equal: whole groups are drawn, as many as there are.
/// `n` is that of the values.
///
/// # Errors
/// As there, and for not as many groups as values.
pub fn bootstrap_groups(values: &[f64], groups: &[usize], seed: u64) -> Result<Interval> {
    some("values", values)?;
    let (sums, mut draw) = (by_group(values, groups)?, Philox::new(seed));
    let mut means: Vec<f64> = (0..DRAWS)
        .map(|_| {
            let drawn = (0..sums.len()).map(|_| sums[draw.below(sums.len() as u32) as usize]);
            let (sum, count) = drawn.fold((0.0, 0.0), |(sum, count), of| (sum + of.0, count + of.1));
            sum / count
        })
        .collect();
    means.sort_by(f64::total_cmp);
    let at = |share: f64| means[(share * (DRAWS - 1) as f64).round() as usize];
    Ok(Interval { n: values.len(), mean: mean(values), low: at(0.025), high: at(0.975) })
}

/// The mean of a few `values`, and its interval of 95 % by Student's t, which a bootstrap of so few makes too narrow.
///
/// # Errors
/// As [`bootstrap`], and for a single value.
pub fn student(values: &[f64]) -> Result<Interval> {
    some("values", values)?;
    let (n, mean) = (values.len(), mean(values));
    if n < 2 {
        return Err(Error::setting("values", "there is one: two or more tell how far such values lie apart"));
    }
    let squares: f64 = values.iter().map(|x| (x - mean).powi(2)).sum();
    let half = quantile(n - 1) * (squares / ((n - 1) * n) as f64).sqrt();
    Ok(Interval { n, mean, low: mean - half, high: mean + half })
}

/// What Student's t of so many degrees of freedom is above in one of 40 cases: with `t = sqrt(f) tan(a)`, its density is that of `a`,
/// `cos(a)^(f - 1)`, whose parts are summed by Simpson's rule.
fn quantile(freedom: usize) -> f64 {
    const PARTS: usize = 4000;
    let half = std::f64::consts::FRAC_PI_2;
    let area = |end: f64| {
        let step = end / PARTS as f64;
        let at = |part: usize| (part as f64 * step).cos().max(0.0).powi(freedom as i32 - 1);
        let weight = |part| if part == 0 || part == PARTS { 1.0 } else { 2.0 + 2.0 * (part % 2) as f64 };
        (0..=PARTS).map(|part| weight(part) * at(part)).sum::<f64>() * step / 3.0
    };
    let (whole, mut low, mut high) = (area(half), 0.0, half);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if area(middle) < 0.95 * whole { low = middle } else { high = middle }
    }
    (freedom as f64).sqrt() * low.tan()
}

/// [`bootstrap`] of the mean of `a - b`, pair by pair.
///
/// # Errors
/// As there, and for as many of one as of the other.
pub fn bootstrap_paired(a: &[f64], b: &[f64], seed: u64) -> Result<Interval> {
    bootstrap(&differences(a, b)?, seed)
}

/// How likely pairs would differ in the mean by as much as these if each might as well be the other way round: of 10000 draws of signs, the
/// share whose sum is as far from 0, these included. Two-sided.
///
/// # Errors
/// As [`bootstrap_paired`].
pub fn permuted(a: &[f64], b: &[f64], seed: u64) -> Result<f64> {
    const FLIPS: usize = 10_000;
    let differences = differences(a, b)?;
    let (seen, mut draw) = (differences.iter().sum::<f64>().abs(), Philox::new(seed));
    // Sums of the same numbers in the same order, so equal ones are equal but for rounding.
    let close = 1e-12 * differences.iter().map(|d| d.abs()).sum::<f64>();
    let as_far = (0..FLIPS).filter(|_| {
        let sum: f64 = differences.iter().map(|d| if draw.below(2) == 0 { *d } else { -d }).sum();
        sum.abs() >= seen - close
    });
    Ok((as_far.count() + 1) as f64 / (FLIPS + 1) as f64)
}

/// [`permuted`] for pairs of which some belong together: whole groups are turned round.
///
/// # Errors
/// As there, and for not as many groups as pairs.
pub fn permuted_groups(a: &[f64], b: &[f64], groups: &[usize], seed: u64) -> Result<f64> {
    let sums: Vec<f64> = by_group(&differences(a, b)?, groups)?.into_iter().map(|(sum, _)| sum).collect();
    permuted(&sums, &vec![0.0; sums.len()], seed)
}

/// McNemar's test, exact: how likely the pairs that differ would be so uneven if either side might as well be the one that is true. Two-sided.
///
/// # Errors
/// [`Error::Setting`] for not as many of one as of the other, or none.
pub fn mcnemar(a: &[bool], b: &[bool]) -> Result<f64> {
    if a.len() != b.len() || a.is_empty() {
        return Err(Error::setting("b", format!("{} of them, for {}; there must be pairs", b.len(), a.len())));
    }
    let only = |first: &[bool], second: &[bool]| first.iter().zip(second).filter(|&(x, y)| *x && !*y).count();
    let (more, less) = (only(a, b), only(b, a));
    let (n, few) = (more + less, more.min(less));
    // ln of C(n, i) / 2^n, term by term.
    let mut term = -(n as f64) * std::f64::consts::LN_2;
    let mut tail = term.exp();
    for i in 0..few {
        term += ((n - i) as f64 / (i + 1) as f64).ln();
        tail += term.exp();
    }
    Ok((2.0 * tail).min(1.0))
}

/// Spearman's rank correlation, equal values at the mean of their ranks; `None` where one side is the same everywhere.
///
/// # Errors
/// As [`bootstrap_paired`].
pub fn spearman(a: &[f64], b: &[f64]) -> Result<Option<f64>> {
    differences(a, b)?;
    let (a, b) = (ranks(a), ranks(b));
    let (of_a, of_b) = (mean(&a), mean(&b));
    let sum = |f: &dyn Fn(f64, f64) -> f64| a.iter().zip(&b).map(|(x, y)| f(x - of_a, y - of_b)).sum::<f64>();
    let scale = (sum(&|x, _| x * x) * sum(&|_, y| y * y)).sqrt();
    Ok((scale > 0.0).then(|| sum(&|x, y| x * y) / scale))
}

/// The rank of each from 1, equal ones at the mean of theirs.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let (mut ranks, mut first) = (vec![0.0; values.len()], 0);
    for same in order.chunk_by(|&a, &b| values[a] == values[b]) {
        let rank = first as f64 + 0.5 * (same.len() + 1) as f64;
        same.iter().for_each(|&at| ranks[at] = rank);
        first += same.len();
    }
    ranks
}

/// The mean.
pub(super) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// The sum of each group, and how many there are, in the order of the groups.
fn by_group(values: &[f64], groups: &[usize]) -> Result<Vec<(f64, f64)>> {
    if values.len() != groups.len() {
        return Err(Error::setting("groups", format!("{} of them, for {} values", groups.len(), values.len())));
    }
    let mut sums = BTreeMap::<usize, (f64, f64)>::new();
    for (value, group) in values.iter().zip(groups) {
        let of = sums.entry(*group).or_default();
        *of = (of.0 + value, of.1 + 1.0);
    }
    Ok(sums.into_values().collect())
}

fn differences(a: &[f64], b: &[f64]) -> Result<Vec<f64>> {
    some("a", a)?;
    some("b", b)?;
    if a.len() != b.len() {
        return Err(Error::setting("b", format!("{} of them, for {}: they come in pairs", b.len(), a.len())));
    }
    Ok(a.iter().zip(b).map(|(a, b)| a - b).collect())
}

fn some(name: &'static str, values: &[f64]) -> Result<()> {
    match values.iter().find(|value| !value.is_finite()) {
        Some(value) => Err(Error::setting(name, format!("hold {value}"))),
        None if values.is_empty() => Err(Error::setting(name, "there are none")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_relative_eq;

    /// Of many values the interval is what the normal distribution says.
    #[test]
    fn intervals_of_a_mean() {
        let mut draw = Philox::new(1);
        let values: Vec<f64> = (0..900).map(|_| f64::from(draw.uniform())).collect();
        let found = bootstrap(&values, 7).unwrap();
        let half = 1.96 * (1.0_f64 / 12.0 / 900.0).sqrt();
        assert_relative_eq!(found.high - found.mean, half, max_relative = 0.1);
        assert_relative_eq!(found.mean - found.low, half, max_relative = 0.1);
        assert_eq!(found, bootstrap(&values, 7).unwrap());
        assert_ne!(found, bootstrap(&values, 8).unwrap());
        let same = bootstrap(&[2.0; 5], 0).unwrap();
        assert_eq!((same.n, same.low, same.mean, same.high), (5, 2.0, 2.0, 2.0));
    }

    /// 10 pairs that all differ one way: 2 of the 1024 ways to sign them are as far.
    #[test]
    fn signs_are_exchanged() {
        let (a, b) = ([1.0; 10], [0.0; 10]);
        assert_relative_eq!(permuted(&a, &b, 3).unwrap(), 2.0 / 1024.0, epsilon = 2e-3);
        assert_eq!(permuted(&a, &a, 3).unwrap(), 1.0);
        let (c, d): (Vec<f64>, Vec<f64>) = (0..40).map(|i| (f64::from(i % 2), f64::from((i + 1) % 2))).unzip();
        assert!(permuted(&c, &d, 3).unwrap() > 0.5);
    }

    /// Values that all stand alone are as without groups; pairs that say the same twice are worth half as many.
    #[test]
    fn groups_are_drawn_whole() {
        let mut draw = Philox::new(2);
        let values: Vec<f64> = (0..400).map(|_| f64::from(draw.uniform())).collect();
        let alone: Vec<usize> = (0..400).collect();
        let plain = bootstrap(&values, 3).unwrap();
        let grouped = bootstrap_groups(&values, &alone, 3).unwrap();
        assert_eq!((plain.n, plain.mean), (grouped.n, grouped.mean));
        assert_relative_eq!(plain.low, grouped.low, max_relative = 1e-12);
        let twice: Vec<f64> = values.iter().flat_map(|x| [*x, *x]).collect();
        let groups: Vec<usize> = (0..800).map(|at| at / 2).collect();
        let wide = bootstrap_groups(&twice, &groups, 3).unwrap();
        assert_eq!(wide.n, 800);
        assert_relative_eq!(wide.high - wide.low, plain.high - plain.low, max_relative = 1e-9);
        // Two groups: of 4 ways to sign them 2 are as far.
        let p = permuted_groups(&[1.0; 10], &[0.0; 10], &[0, 0, 0, 0, 0, 1, 1, 1, 1, 1], 5).unwrap();
        assert_relative_eq!(p, 0.5, epsilon = 2e-2);
        assert!(bootstrap_groups(&values, &[0], 0).unwrap_err().to_string().contains("groups"));
    }

    /// Of tables.
    #[test]
    fn few_values_by_students_t() {
        for (freedom, want) in [(1, 12.7062), (2, 4.3027), (6, 2.4469), (8, 2.3060), (30, 2.0423), (1000, 1.9623)] {
            assert_relative_eq!(quantile(freedom), want, max_relative = 2e-5);
        }
        let found = student(&[1.0, 2.0, 3.0]).unwrap();
        assert_relative_eq!(found.high - found.mean, 4.3027 / 3.0_f64.sqrt(), max_relative = 1e-4);
        assert!(student(&[1.0]).is_err() && student(&[]).is_err());
    }

    #[test]
    fn mcnemar_by_hand() {
        // 6 pairs differ, 1 of them the other way: 2 (1 + 6) / 64.
        let a = [true, true, true, true, true, false, true, false];
        let b = [false, false, false, false, false, true, true, false];
        assert_relative_eq!(mcnemar(&a, &b).unwrap(), 14.0 / 64.0, max_relative = 1e-12);
        assert_eq!(mcnemar(&a, &a).unwrap(), 1.0);
        let (many, none) = (vec![true; 2000], vec![false; 2000]);
        let p = mcnemar(&many, &none).unwrap();
        assert!((0.0..1e-300).contains(&p), "{p}");
        assert!(mcnemar(&a, &[true]).is_err() && mcnemar(&[], &[]).is_err());
    }

    #[test]
    fn ranks_and_their_correlation() {
        assert_eq!(ranks(&[3.0, 1.0, 3.0, 2.0]), [3.5, 1.0, 3.5, 2.0]);
        assert_relative_eq!(spearman(&[1.0, 2.0, 3.0], &[10.0, 100.0, 1000.0]).unwrap().unwrap(), 1.0);
        assert_relative_eq!(spearman(&[1.0, 2.0, 3.0], &[0.0, -1.0, -5.0]).unwrap().unwrap(), -1.0);
        // With d = 0, 1, 1, 0: 1 - 6 * 2 / (4 * 15).
        assert_relative_eq!(spearman(&[1.0, 2.0, 3.0, 4.0], &[1.0, 3.0, 2.0, 4.0]).unwrap().unwrap(), 0.8);
        assert_eq!(spearman(&[1.0, 1.0], &[1.0, 2.0]).unwrap(), None);
        assert!(spearman(&[1.0], &[1.0, 2.0]).unwrap_err().to_string().contains("pairs"));
        assert!(bootstrap(&[], 0).is_err() && bootstrap(&[f64::NAN], 0).is_err());
    }
}
