use crate::io::{Error, Result};
use std::collections::VecDeque;

/// Limited-memory BFGS: the least value of a smooth function of not too many numbers, as a probe's loss is.
///
/// Directions come from the last `memory` changes of `x` and of the gradient (Nocedal, Updating Quasi-Newton Matrices with Limited
/// Storage, 1980), lengths from a search for the strong Wolfe conditions with 1e-4 and 0.9 (Nocedal and Wright, Numerical
/// Optimization, algorithms 3.5 and 3.6).
#[derive(Clone, Copy, Debug)]
pub struct Lbfgs {
    /// Changes that are remembered.
    pub memory: usize,
    /// Steps at most.
    pub steps: usize,
    /// The largest entry of a gradient that is taken for zero, relative to the larger of 1 and the size of the value.
    pub tolerance: f64,
}

impl Default for Lbfgs {
    fn default() -> Self {
        Self { memory: 10, steps: 200, tolerance: 1e-6 }
    }
}

/// Where [`Lbfgs::minimise`] came to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Minimum {
    /// The value there.
    pub value: f64,
    /// The largest entry of the gradient there.
    pub slope: f64,
    /// Steps taken.
    pub steps: usize,
    /// Whether the gradient is within the tolerance; else the steps were used up, or no step brought less.
    pub converged: bool,
}

/// A point on the line that is searched.
#[derive(Clone, Copy)]
struct Trial {
    at: f64,
    value: f64,
    /// Along the line.
    slope: f64,
}

const DECREASE: f64 = 1e-4;
const CURVATURE: f64 = 0.9;
/// Evaluations of one search.
const TRIALS: usize = 30;

impl Lbfgs {
    /// Bring `x` to where `f` is least nearby. `f` gives its value and writes its gradient.
    ///
    /// # Errors
    /// [`Error::Number`] if the value or the gradient is not finite where it begins.
    pub fn minimise(&self, x: &mut [f64], mut f: impl FnMut(&[f64], &mut [f64]) -> f64) -> Result<Minimum> {
        let mut gradient = vec![0.0; x.len()];
        let mut value = f(x, &mut gradient);
        if !(value.is_finite() && gradient.iter().all(|slope| slope.is_finite())) {
            return Err(Error::Number { step: 0, what: "the value or the gradient".into() });
        }
        let mut past: VecDeque<(Vec<f64>, Vec<f64>)> = VecDeque::new();
        for step in 0..self.steps {
            let slope = largest(&gradient);
            if slope <= self.tolerance * value.abs().max(1.0) {
                return Ok(Minimum { value, slope, steps: step, converged: true });
            }
            let mut direction = direction(&gradient, &past);
            if dot(&direction, &gradient) >= 0.0 {
                // Rounding left no way down: begin anew along the gradient.
                past.clear();
                direction = gradient.iter().map(|slope| -slope).collect();
            }
            let first = if past.is_empty() { (1.0 / dot(&gradient, &gradient).sqrt()).min(1.0) } else { 1.0 };
            let Some((to, found, slopes)) = search(x, value, &gradient, &direction, first, &mut f) else {
                return Ok(Minimum { value, slope, steps: step, converged: false });
            };
            let (s, y) = (minus(&to, x), minus(&slopes, &gradient));
            if dot(&s, &y) > 1e-12 * dot(&y, &y) {
                past.push_back((s, y));
                if past.len() > self.memory {
                    past.pop_front();
                }
            }
            x.copy_from_slice(&to);
            (value, gradient) = (found, slopes);
        }
        let slope = largest(&gradient);
        let converged = slope <= self.tolerance * value.abs().max(1.0);
        Ok(Minimum { value, slope, steps: self.steps, converged })
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn minus(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a - b).collect()
}

fn add(factor: f64, b: &[f64], a: &mut [f64]) {
    a.iter_mut().zip(b).for_each(|(a, b)| *a += factor * b);
}

fn largest(of: &[f64]) -> f64 {
    of.iter().fold(0.0, |most, x| x.abs().max(most))
}

/// Minus the gradient, by the inverse of the curvature that the past tells.
fn direction(gradient: &[f64], past: &VecDeque<(Vec<f64>, Vec<f64>)>) -> Vec<f64> {
    let mut q: Vec<f64> = gradient.iter().map(|slope| -slope).collect();
    let mut shares = Vec::with_capacity(past.len());
    for (s, y) in past.iter().rev() {
        let share = dot(s, &q) / dot(s, y);
        add(-share, y, &mut q);
        shares.push(share);
    }
    if let Some((s, y)) = past.back() {
        let scale = dot(s, y) / dot(y, y);
        q.iter_mut().for_each(|q| *q *= scale);
    }
    for ((s, y), share) in past.iter().zip(shares.into_iter().rev()) {
        let back = share - dot(y, &q) / dot(s, y);
        add(back, s, &mut q);
    }
    q
}

/// A point along `direction` with the strong Wolfe conditions, its value and its gradient; if there is none in sight, one that is
/// lower than the beginning.
fn search(
    x: &[f64],
    value: f64,
    gradient: &[f64],
    direction: &[f64],
    first: f64,
    f: &mut impl FnMut(&[f64], &mut [f64]) -> f64,
) -> Option<(Vec<f64>, f64, Vec<f64>)> {
    let start = Trial { at: 0.0, value, slope: dot(gradient, direction) };
    let (mut to, mut slopes) = (x.to_vec(), gradient.to_vec());
    let (mut low, mut high, mut at) = (start, None::<Trial>, first);
    let mut best: Option<(Vec<f64>, f64, Vec<f64>)> = None;
    for _ in 0..TRIALS {
        to.copy_from_slice(x);
        add(at, direction, &mut to);
        let value = f(&to, &mut slopes);
        let trial = Trial { at, value, slope: dot(&slopes, direction) };
        let finite = value.is_finite() && slopes.iter().all(|slope| slope.is_finite());
        if finite && value < best.as_ref().map_or(start.value, |(_, least, _)| *least) {
            best = Some((to.clone(), value, slopes.clone()));
        }
        let lower = finite && value <= start.value + DECREASE * at * start.slope;
        if !lower || value >= low.value && low.at > 0.0 {
            high = Some(trial);
        } else if trial.slope.abs() <= -CURVATURE * start.slope {
            return Some((to, value, slopes));
        } else {
            if trial.slope * high.map_or(1.0, |high| high.at - low.at) >= 0.0 {
                high = Some(low);
            }
            low = trial;
        }
        at = match high {
            Some(high) => between(low, high),
            None => 2.0 * at,
        };
    }
    best
}

/// Where the parabola through both values and the lower one's slope is least, kept off the ends; the middle if it has none.
fn between(low: Trial, high: Trial) -> f64 {
    let width = high.at - low.at;
    let bend = high.value - low.value - low.slope * width;
    let share = if bend.is_finite() && bend > 0.0 { -low.slope * width / (2.0 * bend) } else { 0.5 };
    low.at + width * share.clamp(0.1, 0.9)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Philox;
    use approx::assert_relative_eq;

    /// Rosenbrock's valley in pairs.
    fn valley(x: &[f64], gradient: &mut [f64]) -> f64 {
        let mut sum = 0.0;
        for (x, g) in x.chunks(2).zip(gradient.chunks_mut(2)) {
            let (a, b) = (1.0 - x[0], x[1] - x[0] * x[0]);
            sum += a * a + 100.0 * b * b;
            (g[0], g[1]) = (-2.0 * a - 400.0 * x[0] * b, 200.0 * b);
        }
        sum
    }

    #[test]
    fn the_bottom_of_a_valley() {
        let mut x = vec![-1.2, 1.0, 3.0, -2.0, 0.0, 0.0];
        let found = Lbfgs { tolerance: 1e-9, ..Lbfgs::default() }.minimise(&mut x, valley).unwrap();
        assert!(found.converged && found.steps < 150, "{found:?}");
        x.iter().for_each(|x| assert_relative_eq!(*x, 1.0, epsilon = 1e-6));
    }

    /// A quadratic of n numbers is done in about n steps, however it is scaled.
    #[test]
    fn quadratics() {
        for scale in [1e-6, 1.0, 1e6] {
            let curve = |i: usize| scale * (1 + i * i) as f64;
            let f = |x: &[f64], g: &mut [f64]| {
                g.iter_mut().enumerate().for_each(|(i, g)| *g = curve(i) * (x[i] - i as f64));
                x.iter().enumerate().map(|(i, x)| 0.5 * curve(i) * (x - i as f64).powi(2)).sum()
            };
            let mut x = vec![0.0; 8];
            let exact = Lbfgs { tolerance: 1e-9 * scale.min(1.0), ..Lbfgs::default() };
            assert!(exact.minimise(&mut x, f).unwrap().converged);
            x.iter().enumerate().for_each(|(i, x)| assert_relative_eq!(*x, i as f64, epsilon = 1e-4));
        }
    }

    /// Logistic regression with weights held small: at the minimum the gradient of the loss is that of the penalty.
    #[test]
    fn a_probe() {
        let (mut draw, n, d, penalty) = (Philox::new(7), 200, 5, 0.1);
        let rows: Vec<Vec<f64>> = (0..n).map(|_| (0..d).map(|_| f64::from(draw.uniform()) - 0.5).collect()).collect();
        let labels: Vec<f64> = rows.iter().map(|row| if row[0] - row[3] > 0.1 { 1.0 } else { -1.0 }).collect();
        let f = |w: &[f64], g: &mut [f64]| {
            g.iter_mut().zip(w).for_each(|(g, w)| *g = penalty * w);
            let mut sum = 0.5 * penalty * dot(w, w);
            for (row, label) in rows.iter().zip(&labels) {
                let margin = label * dot(row, w);
                sum += (-margin).exp().ln_1p();
                add(-label / (1.0 + margin.exp()), row, g);
            }
            sum
        };
        let mut w = vec![0.0; d];
        let found = Lbfgs::default().minimise(&mut w, f).unwrap();
        assert!(found.converged && found.steps < 40, "{found:?}");
        assert!(w[0] > 1.0 && w[3] < -1.0 && w[1].abs() < 0.5 * w[0], "{w:?}");
        // Anywhere near it is higher.
        for i in 0..d {
            for step in [-1e-2, 1e-2] {
                let mut near = w.clone();
                near[i] += step;
                assert!(f(&near, &mut vec![0.0; d]) > found.value);
            }
        }
    }

    #[test]
    fn ends_without_a_minimum() {
        let nan = Lbfgs::default().minimise(&mut [0.0], |_, g| {
            g[0] = f64::NAN;
            0.0
        });
        assert!(nan.unwrap_err().to_string().contains("the value or the gradient"));
        // A line goes down for ever: it stops when its steps are used up.
        let mut x = [0.0];
        let endless = Lbfgs { steps: 5, tolerance: 0.0, ..Lbfgs::default() }
            .minimise(&mut x, |x, g| {
                g[0] = -1.0;
                -x[0]
            })
            .unwrap();
        assert!(!endless.converged && x[0] > 0.0);
        // A wall of infinities is not crossed.
        let mut x = [1.0];
        let wall = |x: &[f64], g: &mut [f64]| {
            if x[0] > 0.0 {
                g[0] = 1.0 - 1.0 / x[0];
                x[0] - x[0].ln()
            } else {
                f64::INFINITY
            }
        };
        x[0] = 9.0;
        assert!(Lbfgs::default().minimise(&mut x, wall).unwrap().converged);
        assert_relative_eq!(x[0], 1.0, epsilon = 1e-4);
        assert_eq!(Lbfgs::default().minimise(&mut [], |_, _| 3.0).unwrap().value, 3.0);
    }
}
