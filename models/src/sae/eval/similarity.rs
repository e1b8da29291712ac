use crate::io::{Error, Result};
use crate::sae::Sae;
use crate::{Device, Tensor, hyper_search};
use serde::{Deserialize, Serialize};

/// The nearest direction of each latent.
#[derive(Clone, Debug, PartialEq)]
pub struct Nearest {
    /// Which latent has it; of equally near ones, the first.
    pub latents: Vec<u32>,
    /// The cosine between the two. Against a direction of length 0 it is 0.
    pub cosines: Vec<f32>,
}

impl Nearest {
    /// Mean cosine.
    pub fn mean(&self) -> f64 {
        self.cosines.iter().map(|&cosine| f64::from(cosine)).sum::<f64>() / self.cosines.len().max(1) as f64
    }

    /// Share of latents whose cosine is above `least`.
    pub fn above(&self, least: f32) -> f64 {
        self.cosines.iter().filter(|&&cosine| cosine > least).count() as f64 / self.cosines.len().max(1) as f64
    }
}

/// For each latent of `sae`, which other latent's decoder row has the largest cosine with its own: features that were split or
/// learned twice are near 1. `tell` hears how many latents are done at a time. There is no tensor of latents by latents.
///
/// # Errors
/// An autoencoder of fewer than two latents, and those of the device.
pub fn nearest_within(sae: &Sae, tell: impl FnMut(usize)) -> Result<Nearest> {
    if sae.latents() < 2 {
        return Err(Error::setting("sae", format!("{} latents; the nearest other one takes two", sae.latents())));
    }
    let rows = units(sae)?;
    // Of the best two, one may be the latent itself; where other latents have the very same direction, neither need be.
    search(&rows, &rows, 2, tell, |own, ids| usize::from(ids[0] as usize == own))
}

/// For each latent of `sae`, which latent of `other` has the nearest decoder row.
///
/// # Errors
/// Autoencoders of other widths or of no latents, and those of the device.
pub fn nearest_in(sae: &Sae, other: &Sae, tell: impl FnMut(usize)) -> Result<Nearest> {
    if sae.d() != other.d() || other.latents() == 0 {
        let what =
            format!("width {} and {} latents, for an autoencoder of width {}", other.d(), other.latents(), sae.d());
        return Err(Error::setting("other", what));
    }
    search(&units(sae)?, &units(other)?, 1, tell, |_, _| 0)
}

/// How much two autoencoders found the same directions, as two seeds of one training should.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Agreement {
    /// Mean cosine between a latent and the nearest of the other autoencoder: of the first's latents, and of the second's.
    pub mean: [f64; 2],
    /// Share of latents whose nearest one is at a cosine above [`Agreement::SAME`], likewise.
    pub share: [f64; 2],
}

impl Agreement {
    /// From here on, two directions pass for the same feature.
    pub const SAME: f32 = 0.7;

    /// Match the latents of two autoencoders both ways. Several latents may be matched with one.
    ///
    /// # Errors
    /// As [`nearest_in`].
    pub fn measure(a: &Sae, b: &Sae, mut tell: impl FnMut(usize)) -> Result<Self> {
        let both = [nearest_in(a, b, &mut tell)?, nearest_in(b, a, &mut tell)?];
        Ok(Self { mean: [0, 1].map(|at| both[at].mean()), share: [0, 1].map(|at| both[at].above(Self::SAME)) })
    }
}

/// The decoder rows at length 1; rows of length 0 stay.
fn units(sae: &Sae) -> Result<Tensor<f32, 2>> {
    let mut rows = sae.w_dec.to_vec()?;
    for row in rows.chunks_exact_mut(sae.d().max(1)) {
        let length = row.iter().map(|&w| f64::from(w) * f64::from(w)).sum::<f64>().sqrt();
        if length > 0.0 {
            row.iter_mut().for_each(|w| *w = (f64::from(*w) / length) as f32);
        }
    }
    let device: Device = sae.device();
    Ok(Tensor::from_vec(rows, sae.w_dec.dims(), &device)?)
}

/// The best of `corpus` for each of `rows`, block by block. Of the `k` best, `pick` says which.
fn search(
    rows: &Tensor<f32, 2>,
    corpus: &Tensor<f32, 2>,
    k: usize,
    mut tell: impl FnMut(usize),
    pick: impl Fn(usize, &[u32]) -> usize,
) -> Result<Nearest> {
    const BLOCK: usize = 1024;
    let [count, _] = rows.dims();
    let mut all = Nearest { latents: Vec::with_capacity(count), cosines: Vec::with_capacity(count) };
    for start in (0..count).step_by(BLOCK) {
        let end = count.min(start + BLOCK);
        let (values, ids) = hyper_search(rows.view().narrow(0, start, end)?, corpus.view(), k)?;
        let (values, ids) = (values.to_vec()?, ids.to_vec()?);
        for (at, (values, ids)) in values.chunks_exact(k).zip(ids.chunks_exact(k)).enumerate() {
            let best = pick(start + at, ids);
            all.latents.push(ids[best]);
            all.cosines.push(values[best].clamp(-1.0, 1.0)); // rounding goes beyond
        }
        tell(end - start);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Philox;
    use crate::sae::Gate;
    use approx::assert_relative_eq;

    fn with(rows: &[f32], d: usize) -> Sae {
        Sae::tied(rows.to_vec(), vec![0.0; d], Gate::Strongest(1), &Device::Host).unwrap()
    }

    /// Angles by hand, and lengths that do not matter.
    #[test]
    fn angles() {
        let sae = with(&[2.0, 0.0, 0.0, 3.0, 1.0, 1.0, -5.0, 0.0, 0.0, 0.0], 2);
        let mut told = 0;
        let found = nearest_within(&sae, |count| told += count).unwrap();
        let half = 0.5_f32.sqrt();
        assert_eq!((found.latents[..3].to_vec(), told), (vec![2, 2, 0], 5));
        for (got, want) in found.cosines.iter().zip([half, half, half, 0.0, 0.0]) {
            assert_relative_eq!(*got, want, epsilon = 1e-6);
        }
        assert_eq!(found.above(0.7), 0.6);
        assert_relative_eq!(found.mean(), 0.6 * f64::from(half), epsilon = 1e-6);
        assert!(nearest_within(&with(&[1.0, 0.0], 2), |_| ()).is_err());
        assert!(nearest_in(&sae, &with(&[1.0, 0.0, 0.0], 3), |_| ()).is_err());
    }

    /// The same direction three times: each finds another, not itself.
    #[test]
    fn repeated_directions() {
        let found = nearest_within(&with(&[1.0, 2.0, 1.0, 2.0, 1.0, 2.0, -2.0, 1.0], 2), |_| ()).unwrap();
        assert!(found.cosines[..3].iter().all(|cosine| (cosine - 1.0).abs() < 1e-6));
        assert!(found.latents[..3].iter().enumerate().all(|(own, &other)| own != other as usize && other < 3));
    }

    /// Against all cosines in a table, over more than one block.
    #[test]
    fn as_the_whole_table() {
        let (d, draw) = (8, &mut Philox::new(9));
        let mut rows = |count: usize| -> Vec<f32> { (0..count * d).map(|_| draw.uniform() - 0.5).collect() };
        let (a, b) = (rows(1500), rows(300));
        let cosine = |a: &[f32], b: &[f32]| {
            let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>();
            dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
        };
        let best = |row: &[f32], among: &[f32], not: Option<usize>| {
            let all = among.chunks(d).enumerate().filter(|&(at, _)| Some(at) != not);
            all.map(|(_, other)| cosine(row, other)).fold(f64::MIN, f64::max)
        };
        let (one, other) = (with(&a, d), with(&b, d));
        let within = nearest_within(&one, |_| ()).unwrap();
        let across = nearest_in(&other, &one, |_| ()).unwrap();
        for (at, row) in a.chunks(d).enumerate().step_by(37) {
            assert_relative_eq!(f64::from(within.cosines[at]), best(row, &a, Some(at)), epsilon = 1e-5);
        }
        for (at, row) in b.chunks(d).enumerate() {
            assert_relative_eq!(f64::from(across.cosines[at]), best(row, &a, None), epsilon = 1e-5);
        }
        let same = Agreement::measure(&one, &one, |_| ()).unwrap();
        assert!(same.share == [1.0, 1.0] && same.mean.iter().all(|mean| *mean > 0.9999), "{same:?}");
        let both = Agreement::measure(&other, &one, |_| ()).unwrap();
        assert_eq!((both.mean[0], both.share[0]), (across.mean(), across.above(0.7)));
    }
}
