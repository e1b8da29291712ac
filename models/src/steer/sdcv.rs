//! SDCV: concept vectors, denoised by an autoencoder (Zhao et al., *Denoising Concept Vectors with Sparse Autoencoders*, Findings of
//! EACL 2026).
//!
//! Of texts that show a concept and texts that do not, the states `h` are encoded, the `k` latents that tell the two kinds apart best
//! are kept, and the vector is found from what these decode to. The public sources name the method's parts and leave open how latents are scored,
//! how many are kept, and whether the others and the error stay: what is open is an option here, and none of these is said to be the paper's.
use super::states::weighted;
use crate::io::{Error, Result};
use crate::sae::Sae;
use crate::sae::eval::{Fit, Inputs, Pooled, Probe, SparseRows};
use serde::{Deserialize, Serialize};

/// How latents are scored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Select {
    /// `|mean₊ - mean₋|`, the difference of the means of both kinds.
    #[default]
    Difference,
    /// `mean₊ - mean₋`: only latents that the concept makes stronger.
    Signed,
    /// The F statistic of two kinds, `Σ n (μ - mean)² / (pooled variance + 1e-8)`, as SAE-SSV has it.
    F,
    /// `|AUC - 1/2|`: how well the latent alone ranks one kind above the other.
    Auc,
    /// The size of the weight in a logistic regression on latents of deviation 1.
    Logistic,
}

/// What the states become.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Denoise {
    /// They stay as they are, and no latent matters.
    Raw,
    /// `h̃ = Σ_S aⱼ W_dec[j]`: only the kept latents.
    #[default]
    Masked,
    /// `h̃ = h + (by - 1) Σ_S aⱼ W_dec[j]`: the kept latents stronger; with `error` on top of the state itself, else on top of its
    /// reconstruction.
    Scaled {
        /// How many times as strong.
        by: f32,
        /// Whether what is not reconstructed stays.
        error: bool,
    },
}

/// How a vector is found from states of both kinds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Estimate {
    /// The difference of the means.
    #[default]
    Means,
    /// The weights of a logistic regression.
    Logistic {
        /// See [`Fit::l2`].
        l2: f64,
        /// Whether the weights are those of columns of deviation 1, as scikit-learn's `coef_` behind a scaler, which GCS takes.
        standardised: bool,
    },
}

/// How a concept vector is found.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sdcv {
    /// How latents are scored.
    pub select: Select,
    /// How many are kept.
    pub k: usize,
    /// What the states become.
    pub denoise: Denoise,
    /// How the vector is found.
    pub estimate: Estimate,
    /// Whether the latents that would not be kept are kept instead: if these are but noise, the vector does not steer.
    pub discarded: bool,
}

impl Default for Sdcv {
    fn default() -> Self {
        Self {
            select: Select::default(),
            k: 32,
            denoise: Denoise::default(),
            estimate: Estimate::default(),
            discarded: false,
        }
    }
}

/// What was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// The vector.
    pub values: Vec<f32>,
    /// The best `k` latents, best first, with their scores; none for raw states.
    pub latents: Vec<(u32, f64)>,
    /// Of the others the strongest `k`, strongest first, with their means over all states: what denoising takes away.
    pub others: Vec<(u32, f64)>,
}

/// Means that are no further apart than this, in lengths of states, are the same but for rounding.
const SAME: f64 = 1e-6;

fn length(of: &[f64]) -> f64 {
    of.iter().map(|x| x * x).sum::<f64>().sqrt()
}

impl Sdcv {
    /// The vector of a concept from `states` (see [`states`](super::states())) of which those that show it have the label `true`.
    ///
    /// # Errors
    /// [`Error::Setting`] for labels that are not as many as states or all alike, `k` of 0 or more than there are latents, states of another
    /// width or that are not finite, and kinds that do not differ.
    pub fn find(&self, sae: &Sae, states: &Pooled, labels: &[bool]) -> Result<Found> {
        if states.d() != sae.d() || states.latents().width() != sae.latents() {
            let what = format!("{} wide, for an autoencoder of {}", states.d(), sae.d());
            return Err(Error::setting("states", what));
        }
        let raw = self.denoise == Denoise::Raw;
        if !raw && (self.k == 0 || self.k > sae.latents()) {
            return Err(Error::setting("k", format!("{} of {} latents", self.k, sae.latents())));
        }
        let best = if raw { Vec::new() } else { best(states.latents(), labels, self.select, self.k)? };
        let mut chosen = vec![self.discarded && !raw; sae.latents()];
        best.iter().for_each(|&(latent, _)| chosen[latent as usize] = !self.discarded);
        let only = |latent: usize| if chosen[latent] { 1.0 } else { 0.0 };
        let rows = match self.denoise {
            Denoise::Raw => states.raw().to_vec(),
            Denoise::Masked => weighted(sae, states.written(), only)?,
            Denoise::Scaled { by, error: true } => {
                let more = weighted(sae, states.written(), |latent| (by - 1.0) * only(latent))?;
                states.raw().iter().zip(more).map(|(h, more)| h + more).collect()
            }
            Denoise::Scaled { by, error: false } => {
                weighted(sae, states.written(), |latent| 1.0 + (by - 1.0) * only(latent))?
            }
        };
        if let Some(x) = rows.iter().find(|x| !x.is_finite()) {
            return Err(Error::setting("states", format!("hold {x}")));
        }
        // Equal means leave nothing but what rounding makes, to either estimate.
        let apart = length(&Estimate::Means.of(&rows, sae.d(), labels)?);
        let typical = rows.chunks_exact(sae.d()).map(|row| row.iter().map(|x| f64::from(x * x)).sum::<f64>().sqrt());
        if apart <= SAME * typical.sum::<f64>() / labels.len() as f64 {
            return Err(Error::setting("states", "both kinds are the same: there is no direction between them"));
        }
        let values = self.estimate.of(&rows, sae.d(), labels)?;
        let others = if raw { Vec::new() } else { self.others(states, &best) };
        Ok(Found { values: values.into_iter().map(|x| x as f32).collect(), latents: best, others })
    }

    fn others(&self, states: &Pooled, best: &[(u32, f64)]) -> Vec<(u32, f64)> {
        let (means, _) = Inputs::Sparse(states.latents()).moments();
        let mut all: Vec<(u32, f64)> = means.into_iter().enumerate().map(|(at, mean)| (at as u32, mean)).collect();
        all.retain(|(latent, mean)| *mean > 0.0 && !best.iter().any(|(other, _)| other == latent));
        all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        all.truncate(self.k);
        all
    }
}

impl Estimate {
    fn of(self, rows: &[f32], d: usize, labels: &[bool]) -> Result<Vec<f64>> {
        let x = Inputs::Dense { values: rows, width: d };
        match self {
            Estimate::Means => x.differences(labels),
            Estimate::Logistic { l2, standardised } => {
                let probe = Probe::fit(x, labels, Fit { l2, ..Fit::default() })?;
                if !standardised {
                    return Ok(probe.weights);
                }
                let (_, deviations) = x.moments();
                Ok(probe.weights.iter().zip(deviations).map(|(weight, deviation)| weight * deviation).collect())
            }
        }
    }
}

/// The score of every latent: how well it tells rows that are labelled from the others.
///
/// # Errors
/// Labels that are not as many as rows, or all alike.
pub fn scores(values: &SparseRows, labels: &[bool], select: Select) -> Result<Vec<f64>> {
    let x = Inputs::Sparse(values);
    Ok(match select {
        Select::Difference => x.differences(labels)?.into_iter().map(f64::abs).collect(),
        Select::Signed => x.differences(labels)?,
        Select::F => f_statistics(values, labels, &x.differences(labels)?),
        Select::Auc => {
            x.differences(labels)?; // refuses labels that do not fit
            areas(values, labels).into_iter().map(|area| (area - 0.5).abs()).collect()
        }
        Select::Logistic => {
            let (probe, (_, deviations)) = (Probe::fit(x, labels, Fit::default())?, x.moments());
            probe.weights.iter().zip(deviations).map(|(weight, deviation)| (weight * deviation).abs()).collect()
        }
    })
}

/// The `k` latents of the largest scores with these, of equal ones the first; those of score 0 or less are left out.
///
/// # Errors
/// As [`scores`].
pub fn best(values: &SparseRows, labels: &[bool], select: Select, k: usize) -> Result<Vec<(u32, f64)>> {
    let all = scores(values, labels, select)?;
    let mut order: Vec<(u32, f64)> =
        all.into_iter().enumerate().map(|(latent, score)| (latent as u32, score)).filter(|(_, s)| *s > 0.0).collect();
    order.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    order.truncate(k);
    Ok(order)
}

/// `[n₀ (μ₀ - μ)² + n₁ (μ₁ - μ)²] / [((n₀ - 1) s₀² + (n₁ - 1) s₁²) / (n - 2) + 1e-8]` of each column.
fn f_statistics(values: &SparseRows, labels: &[bool], differences: &[f64]) -> Vec<f64> {
    let yes = labels.iter().filter(|&&label| label).count();
    let (n1, n0, n) = (yes as f64, (labels.len() - yes) as f64, labels.len() as f64);
    let (mut sums, mut squares) = (vec![[0.0; 2]; values.width()], vec![[0.0; 2]; values.width()]);
    for (row, &label) in labels.iter().enumerate() {
        for (column, value) in values.row(row) {
            sums[column][usize::from(label)] += f64::from(value);
            squares[column][usize::from(label)] += f64::from(value) * f64::from(value);
        }
    }
    let statistic = |((sums, squares), difference): ((&[f64; 2], &[f64; 2]), &f64)| {
        // Σ n (μ - mean)² of two kinds is n₀ n₁ / n times the squared difference of their means.
        let between = n0 * n1 / n * difference * difference;
        let within = (squares[0] - sums[0] * sums[0] / n0) + (squares[1] - sums[1] * sums[1] / n1);
        between / (within.max(0.0) / (n - 2.0).max(1.0) + 1e-8)
    };
    sums.iter().zip(&squares).zip(differences).map(statistic).collect()
}

/// The area under the curve of each column: how likely a labelled row has more than another, equal ones half.
fn areas(values: &SparseRows, labels: &[bool]) -> Vec<f64> {
    let mut columns: Vec<Vec<(f32, bool)>> = vec![Vec::new(); values.width()];
    for (row, &label) in labels.iter().enumerate() {
        values.row(row).for_each(|(column, value)| columns[column].push((value, label)));
    }
    let yes = labels.iter().filter(|&&label| label).count();
    let [all_no, all_yes] = [(labels.len() - yes) as f64, yes as f64];
    let area = |mut column: Vec<(f32, bool)>| {
        // Rows without an entry are 0, below none that is active.
        let of = |part: &[(f32, bool)], label| part.iter().filter(|entry| entry.1 == label).count() as f64;
        let silent = [all_no - of(&column, false), all_yes - of(&column, true)];
        column.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (mut below, mut won) = (silent[0], 0.5 * silent[0] * silent[1]);
        for same in column.chunk_by(|a, b| a.0 == b.0) {
            let (no, yes) = (of(same, false), of(same, true));
            won += yes * (below + 0.5 * no);
            below += no;
        }
        won / (all_no * all_yes)
    };
    columns.into_iter().map(area).collect()
}

#[cfg(test)]
mod tests;
