//! How near slopes come to what is really lost, and what it costs to compute them.
use crate::{Outcome, progress};
use latens::lm::{Hooks, LanguageModel, Site};
use latens::sae::Sae;
use latens::steer::Edit;
use latens::steer::gradsae::{Asked, GradSae, Influence};
use latens::steer::statistics::{Interval, bootstrap, spearman};
use latens::{Tensor, linear, sae_slopes};
use serde::Serialize;
use std::time::Instant;

#[derive(Serialize)]
pub struct Exact {
    /// Questions, and latents turned off.
    pub questions: usize,
    pub latents: usize,
    /// Spearman's correlation of what slopes foretell with what is lost, of each question, over all its latents.
    pub whole: Interval,
    /// The same of the score, whose slopes below 0 count as 0.
    pub score: Interval,
    /// Seconds of the slopes of active latents and of all, `[tokens, latents]`, for so many rows, and how many times as long these take. Not among
    /// the figures, which are the same every time.
    #[serde(skip)]
    pub seconds: [f64; 2],
    #[serde(skip)]
    pub times: f64,
    #[serde(skip)]
    pub rows: usize,
}

impl Exact {
    pub fn measure(
        lm: &LanguageModel,
        sae: &Sae,
        method: &GradSae<'_>,
        layer: usize,
        asked: &[Asked],
        influences: &[Influence],
        most: usize,
    ) -> Outcome<Self> {
        let some = asked.len().min(most);
        let (mut whole, mut score, mut latents) = (Vec::new(), Vec::new(), 0);
        let bar = progress("one by one", influences[..some].iter().map(|of| of.latents.len()).sum());
        for (asked, influence) in asked.iter().zip(influences).take(some) {
            let edits: Vec<Edit> = influence.latents.iter().map(|of| Edit::Zero(vec![of.latent])).collect();
            let p = method.probabilities(asked, &edits, |n| bar.inc(n as u64))?;
            let lost: Vec<f64> = p.iter().map(|p| influence.probability - p).collect();
            let of = |f: fn(&latens::steer::gradsae::Influential) -> f64| {
                influence.latents.iter().map(f).collect::<Vec<_>>()
            };
            whole.extend(spearman(&of(|of| of.whole), &lost)?);
            score.extend(spearman(&of(|of| of.gradient), &lost)?);
            latents += lost.len();
        }
        bar.finish();
        let (sparse, dense, rows) = cost(lm, sae, layer, asked)?;
        Ok(Self {
            questions: some,
            latents,
            whole: bootstrap(&whole, 0)?,
            score: bootstrap(&score, 0)?,
            seconds: [sparse, dense],
            times: dense / sparse,
            rows,
        })
    }

    pub fn print(&self) {
        println!(
            "slopes against {} latents turned off one by one: Spearman {:.3} ({:.3} to {:.3}), of scores {:.3}; slopes of active \
             latents alone take {:.2} ms for {} rows, of all {:.2}: {:.1} times as long",
            self.latents,
            self.whole.mean,
            self.whole.low,
            self.whole.high,
            self.score.mean,
            1e3 * self.seconds[0],
            self.rows,
            1e3 * self.seconds[1],
            self.times
        );
    }
}

/// Seconds of the slopes of active latents and of all, for the rows of some prompts: the best of several runs, and the same numbers.
fn cost(lm: &LanguageModel, sae: &Sae, layer: usize, asked: &[Asked]) -> Outcome<(f64, f64, usize)> {
    const PROMPTS: usize = 16;
    const RUNS: usize = 5;
    let prompts: Vec<&Vec<u32>> = asked.iter().take(PROMPTS).map(|one| &one.prompt).collect();
    let x = lm.model.activations_each(&prompts, Site::residual(layer), &mut Hooks::new())?;
    let code = sae.encode(x.view())?;
    // Any rows of the width of a gradient cost the same.
    let gradient = Tensor::from_vec(x.to_vec()?.into_iter().rev().collect(), x.dims(), &x.device())?;
    let (mut sparse, mut dense, mut all) = (f64::MAX, f64::MAX, Vec::new());
    for _ in 0..RUNS {
        let begun = Instant::now();
        let slopes = sae_slopes(code.view(), gradient.view(), sae.w_dec.view())?.to_vec()?;
        sparse = sparse.min(begun.elapsed().as_secs_f64());
        let begun = Instant::now();
        let whole = linear(gradient.view(), sae.w_dec.view(), None)?.to_vec()?;
        dense = dense.min(begun.elapsed().as_secs_f64());
        all = vec![slopes, whole];
    }
    let (latents, rows, n) = (code.latents.to_vec()?, x.dims()[0], sae.latents());
    for (slot, &latent) in latents.iter().enumerate().filter(|(_, latent)| (**latent as usize) < n) {
        let (got, want) = (all[0][slot], all[1][slot * rows / latents.len() * n + latent as usize]);
        if (got - want).abs() > 1e-2 * (1.0 + want.abs()) {
            return Err(format!("a slope is {got} by itself and {want} among all").into());
        }
    }
    Ok((sparse, dense, rows))
}
