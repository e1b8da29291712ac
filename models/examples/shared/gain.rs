//! How much more often one thing succeeds than another.
use crate::Outcome;
use latens::steer::statistics::{Interval, bootstrap_paired, permuted};
use serde::Serialize;

/// The mean of differences between pairs, each of one group (a concept, an instruction) and one prompt. The same prompts are in all groups, and what is
/// tried was chosen once for each group, so pairs do not stand alone: whole prompts, or whole groups, are drawn and turned round.
#[derive(Serialize)]
pub struct Gain {
    pub of: &'static str,
    pub over: &'static str,
    /// Pairs.
    pub n: usize,
    /// For these groups and other prompts.
    pub prompts: Worth,
    /// For other groups.
    pub groups: Worth,
}

/// A mean, its interval of 95 %, and how likely so much would be by chance.
#[derive(Serialize)]
pub struct Worth {
    #[serde(flatten)]
    pub mean: Interval,
    pub p: f64,
}

impl Worth {
    fn of(a: &[f64], b: &[f64], seed: u64) -> Outcome<Self> {
        Ok(Self { mean: bootstrap_paired(a, b, seed)?, p: permuted(a, b, seed)? })
    }

    fn tell(&self) -> String {
        let Interval { low, high, n, .. } = self.mean;
        format!("{:+.1} to {:+.1} (n = {n}, p = {:.1e})", 100.0 * low, 100.0 * high, self.p)
    }
}

impl Gain {
    /// Of successes by group and prompt.
    pub fn new(names: [&'static str; 2], a: &[Vec<f64>], b: &[Vec<f64>], seed: u64) -> Outcome<Self> {
        let by_group = |of: &[Vec<f64>]| of.iter().map(|row| mean(row.iter().copied())).collect::<Vec<f64>>();
        let prompts = a.first().map_or(0, Vec::len);
        let by_prompt =
            |of: &[Vec<f64>]| (0..prompts).map(|at| mean(of.iter().map(|row| row[at]))).collect::<Vec<f64>>();
        Ok(Self {
            of: names[0],
            over: names[1],
            n: a.len() * prompts,
            prompts: Worth::of(&by_prompt(a), &by_prompt(b), seed)?,
            groups: Worth::of(&by_group(a), &by_group(b), seed)?,
        })
    }

    /// What it is of, the points, and what they are worth over prompts and over groups.
    pub fn cells(&self) -> Vec<String> {
        let points = format!("{:+.1}", 100.0 * self.prompts.mean.mean);
        vec![format!("{} over {}", self.of, self.over), points, self.prompts.tell(), self.groups.tell()]
    }

    pub fn print(&self) {
        let [what, points, prompts, groups] = &self.cells()[..] else { return };
        println!("{what}: {points} points; over prompts {prompts}, over groups {groups}");
    }
}

fn mean(of: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = of.len().max(1) as f64;
    of.sum::<f64>() / count
}
