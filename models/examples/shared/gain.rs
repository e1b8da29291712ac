//! What counts as a success at all, and how much more often one thing succeeds than another.
use crate::Outcome;
use latens::lm::Continuation;
use latens::steer::answers::distinct;
use latens::steer::statistics::{Interval, bootstrap_paired, permuted, student};
use serde::Serialize;

/// The share of different tokens in what is said below which it only says the same again, and shows nothing, whatever is seen in it.
pub const DIFFERENT: f64 = 0.5;

/// Whether it says something, and not only the same again.
pub fn speaks(said: &Continuation) -> bool {
    !said.text.trim().is_empty() && distinct(&said.ids) >= DIFFERENT
}

/// The mean of differences between pairs, each of one group (a concept, an instruction) and one prompt. The same prompts are in all groups, and what is
/// tried was chosen once for each group, so pairs do not stand alone: whole prompts, or whole groups, are drawn and turned round.
#[derive(Serialize)]
pub struct Gain {
    pub of: String,
    pub over: String,
    /// Pairs.
    pub n: usize,
    /// For these groups and other prompts, by a bootstrap.
    pub prompts: Worth,
    /// For other groups, where there are two or more, by Student's t: they are few.
    pub groups: Option<Worth>,
}

/// A mean, its interval of 95 %, and how likely so much would be by chance.
#[derive(Serialize)]
pub struct Worth {
    #[serde(flatten)]
    pub mean: Interval,
    pub p: f64,
}

impl Worth {
    fn tell(&self) -> String {
        let Interval { low, high, n, .. } = self.mean;
        format!("{:+.1} to {:+.1} (n = {n}, p = {:.1e})", 100.0 * low, 100.0 * high, self.p)
    }
}

impl Gain {
    /// Of successes by group and prompt.
    pub fn new(names: [&str; 2], a: &[Vec<f64>], b: &[Vec<f64>], seed: u64) -> Outcome<Self> {
        let by_group = |of: &[Vec<f64>]| of.iter().map(|row| mean(row.iter().copied())).collect::<Vec<f64>>();
        let prompts = a.first().map_or(0, Vec::len);
        let by_prompt =
            |of: &[Vec<f64>]| (0..prompts).map(|at| mean(of.iter().map(|row| row[at]))).collect::<Vec<f64>>();
        let ([a_prompts, b_prompts], [a_groups, b_groups]) = ([by_prompt(a), by_prompt(b)], [by_group(a), by_group(b)]);
        let differences: Vec<f64> = a_groups.iter().zip(&b_groups).map(|(a, b)| a - b).collect();
        let of_groups = || -> Outcome<Worth> {
            Ok(Worth { mean: student(&differences)?, p: permuted(&a_groups, &b_groups, seed)? })
        };
        Ok(Self {
            of: names[0].to_owned(),
            over: names[1].to_owned(),
            n: a.len() * prompts,
            prompts: Worth {
                mean: bootstrap_paired(&a_prompts, &b_prompts, seed)?,
                p: permuted(&a_prompts, &b_prompts, seed)?,
            },
            groups: if a.len() < 2 { None } else { Some(of_groups()?) },
        })
    }

    /// What it is of, the points, and what they are worth over prompts and over groups.
    pub fn cells(&self) -> Vec<String> {
        let points = format!("{:+.1}", 100.0 * self.prompts.mean.mean);
        let groups = self.groups.as_ref().map_or("one alone".into(), Worth::tell);
        vec![format!("{} over {}", self.of, self.over), points, self.prompts.tell(), groups]
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
