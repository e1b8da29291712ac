//! How near slopes come to what is really lost, and what it costs to compute them.
use crate::shared::shuffle;
use crate::{Outcome, progress};
use latens::lm::{Hooks, LanguageModel, Site};
use latens::sae::Sae;
use latens::steer::Edit;
use latens::steer::gradsae::{Asked, GradSae, Influence, Influential};
use latens::steer::statistics::{Interval, bootstrap, spearman};
use latens::{Tensor, linear, sae_slopes};
use serde::{Deserialize, Serialize};
use std::time::Instant;

#[derive(Serialize, Deserialize)]
pub struct Exact {
    /// Questions, and latents turned off.
    pub questions: usize,
    pub latents: usize,
    /// Spearman's correlation of what slopes foretell with what is lost, of each question, over some of its latents.
    pub whole: Interval,
    /// The same of the score, whose slopes below 0 count as 0.
    pub score: Interval,
}

impl Exact {
    /// Of the first `most` questions, `each` of the latents, drawn.
    pub fn measure(
        method: &GradSae<'_>,
        asked: &[Asked],
        influences: &[Influence],
        [most, each]: [usize; 2],
        seed: u64,
    ) -> Outcome<Self> {
        let some = asked.len().min(most);
        let (mut whole, mut score, mut latents) = (Vec::new(), Vec::new(), 0);
        let bar = progress("one by one", influences[..some].iter().map(|of| of.latents.len().min(each)).sum());
        for (at, (asked, influence)) in asked.iter().zip(influences).take(some).enumerate() {
            let mut drawn: Vec<&Influential> = influence.latents.iter().collect();
            shuffle(&mut drawn, seed.wrapping_add(at as u64));
            drawn.truncate(each);
            let edits: Vec<Edit> = drawn.iter().map(|of| Edit::Zero(vec![of.latent])).collect();
            let p = method.probabilities(asked, &edits, |n| bar.inc(n as u64))?;
            let lost: Vec<f64> = p.iter().map(|p| influence.probability - p).collect();
            let of = |f: fn(&Influential) -> f64| drawn.iter().map(|of| f(of)).collect::<Vec<_>>();
            whole.extend(spearman(&of(|of| of.whole), &lost)?);
            score.extend(spearman(&of(|of| of.gradient), &lost)?);
            latents += lost.len();
        }
        bar.finish();
        Ok(Self { questions: some, latents, whole: bootstrap(&whole, seed)?, score: bootstrap(&score, seed)? })
    }

    pub fn print(&self) {
        println!(
            "slopes against {} latents turned off one by one: Spearman {:.3} ({:.3} to {:.3}), of scores {:.3}",
            self.latents, self.whole.mean, self.whole.low, self.whole.high, self.score.mean
        );
    }
}

/// Tell how much faster the slopes of active latents are than those of all, `[tokens, latents]`, for the rows of some prompts: the best of several
/// runs, and the same numbers. Not among the figures, which are the same every time.
pub fn tell_cost(lm: &LanguageModel, sae: &Sae, layer: usize, asked: &[&Asked]) -> Outcome<()> {
    const RUNS: usize = 5;
    let prompts: Vec<&Vec<u32>> = asked.iter().map(|one| &one.prompt).collect();
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
    println!(
        "layer {layer}: slopes of active latents alone take {:.2} ms for {rows} rows, of all {:.2}: {:.1} times as long",
        1e3 * sparse,
        1e3 * dense,
        dense / sparse
    );
    Ok(())
}
