use crate::io::{Error, Result};
use serde::{Deserialize, Serialize};
use std::f64::consts::PI;

/// How a learning rate goes over a run of steps.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// It stays.
    Constant,
    /// Half a turn of a cosine, from the end of the rise to the end of the run.
    Cosine,
    /// A line, from the end of the rise to the end of the run.
    Linear,
    /// It stays, and falls on a line over so many last steps.
    Plateau {
        /// Steps of the fall.
        fall: usize,
    },
}

/// The learning rate of each step, counted from 0.
///
/// ```text
/// rate(s) = highest * rise(s) * (least + (1 - least) * shape(s)),    rise(s) = min(1, (s + 1) / warm)
/// ```
/// `shape` goes from 1 at the end of the rise to 0 at the step after the last, so the last step still learns.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    /// The highest rate.
    pub highest: f64,
    /// The share of it that the shape ends at.
    pub least: f64,
    /// Steps over which it rises on a line.
    pub warm: usize,
    /// What comes after the rise.
    pub shape: Shape,
    /// Steps of the whole run.
    pub steps: usize,
}

impl Schedule {
    /// A cosine down to a tenth after a rise over a twentieth of the steps.
    pub fn cosine(highest: f64, steps: usize) -> Self {
        Self { highest, least: 0.1, warm: steps / 20, shape: Shape::Cosine, steps }
    }

    /// The rate of a step; past the end that of the end.
    pub fn at(&self, step: usize) -> f64 {
        let rise = if step + 1 >= self.warm { 1.0 } else { (step + 1) as f64 / self.warm as f64 };
        let left = self.steps.saturating_sub(step);
        let share = |left: usize, of: usize| if left >= of { 1.0 } else { left as f64 / of as f64 };
        let rest = share(left, self.steps.saturating_sub(self.warm));
        let shape = match self.shape {
            Shape::Constant => 1.0,
            Shape::Cosine => 0.5 - 0.5 * (PI * rest).cos(),
            Shape::Linear => rest,
            Shape::Plateau { fall } => share(left, fall),
        };
        self.highest * rise * (self.least + (1.0 - self.least) * shape)
    }

    /// # Errors
    /// [`Error::Setting`] naming what has no meaning.
    pub fn check(&self) -> Result<()> {
        if !(self.highest.is_finite() && self.highest >= 0.0) {
            return Err(Error::setting("rate", format!("is {}, expected a number of at least 0", self.highest)));
        }
        if !(0.0..=1.0).contains(&self.least) {
            return Err(Error::setting("least", format!("is {}, expected a share from 0 to 1", self.least)));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_relative_eq;

    #[test]
    fn rises_and_falls() {
        let of = |shape| Schedule { highest: 2.0, least: 0.5, warm: 4, shape, steps: 12 };
        for shape in [Shape::Constant, Shape::Cosine, Shape::Linear, Shape::Plateau { fall: 2 }] {
            assert_relative_eq!(of(shape).at(0), 0.5, epsilon = 1e-12);
            assert_relative_eq!(of(shape).at(3), 2.0, epsilon = 1e-12);
        }
        assert_eq!([7, 8, 12, 99].map(|step| of(Shape::Linear).at(step)), [1.625, 1.5, 1.0, 1.0]);
        assert_relative_eq!(of(Shape::Cosine).at(8), 1.5, epsilon = 1e-12);
        assert_eq!([4, 10, 11, 12].map(|step| of(Shape::Plateau { fall: 2 }).at(step)), [2.0, 2.0, 1.5, 1.0]);
        assert_eq!(of(Shape::Constant).at(11), 2.0);
        // No rise, no steps.
        assert_eq!(Schedule { warm: 0, ..of(Shape::Constant) }.at(0), 2.0);
        assert_eq!(Schedule { steps: 0, warm: 0, ..of(Shape::Linear) }.at(0), 2.0);
    }

    #[test]
    fn wrong_settings_are_named() {
        let good = Schedule::cosine(1e-3, 100);
        assert!(good.check().is_ok());
        for (bad, name) in
            [(Schedule { highest: f64::NAN, ..good }, "rate"), (Schedule { least: 1.5, ..good }, "least")]
        {
            assert!(bad.check().unwrap_err().to_string().contains(name));
        }
    }
}
