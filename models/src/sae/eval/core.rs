use super::super::initial;
use super::Downstream;
use crate::io::{Error, Result};
use crate::lm::{Decoder, Site};
use crate::sae::{Contexts, Gate, Sae, on_host};
use crate::{Tensor, View};
use serde::{Deserialize, Serialize};

/// How well rows are reconstructed and how sparsely, by the names and formulas of SAEBench's core evaluation. `x` is a row, `x̂` its
/// reconstruction, `e = x - x̂`, `μ` the mean of all rows judged, `f` the values of the latents; ⟨·⟩ is the mean over rows.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Core {
    /// Rows judged.
    pub rows: usize,
    /// Fraction of variance unexplained, `Σ|e|² / Σ|x - μ|²`.
    pub fvu: f64,
    /// `1 - fvu`.
    pub explained_variance: f64,
    /// The older form, the mean of each row's own share, `⟨1 - |e|² / |x - μ|²⟩`: rows near the mean weigh in it as much as rows
    /// far away, so it is lower.
    pub explained_variance_by_row: f64,
    /// `⟨|e|²⟩`, the squares summed over the width.
    pub mse: f64,
    /// `⟨cos(x, x̂)⟩`, 0 where either is 0.
    pub cosine: f64,
    /// `⟨|x|⟩`.
    pub l2_in: f64,
    /// `⟨|x̂|⟩`.
    pub l2_out: f64,
    /// `⟨|x̂| / |x|⟩`: below 1 where reconstructions shrink. Where `|x| < 1e-4`, it is `|x̂|`.
    pub l2_ratio: f64,
    /// `⟨|x̂|²⟩ / ⟨x · x̂⟩`: below 1 where another scale of `x̂` would be nearer (Rajamanoharan et al. 2024, equation 10).
    pub reconstruction_bias: f64,
    /// Latents other than 0, `⟨|f|₀⟩`.
    pub l0: f64,
    /// `⟨|f|₁⟩`.
    pub l1: f64,
    /// Share of latents that are other than 0 on more than 1 % of rows.
    pub above_1_percent: f64,
    /// On more than 10 %.
    pub above_10_percent: f64,
    /// Share of latents that are other than 0 on some row.
    pub alive: f64,
    /// `1 - alive`.
    pub dead: f64,
    /// Share of rows with more latents above the threshold than [`Gate::Above`] has room for; as in
    /// [`Quality`](crate::sae::Quality).
    pub truncated: f64,
    /// What the language model loses by it, where that was asked for.
    pub downstream: Option<Downstream>,
}

/// Sums over rows.
#[derive(Default)]
struct Sums {
    error: f64,
    by_row: f64,
    cosine: f64,
    length_in: f64,
    length_out: f64,
    ratio: f64,
    square_out: f64,
    product: f64,
}

impl Sums {
    fn add(&mut self, x: &[f32], y: &[f32], mean: &[f32]) {
        let wide = || x.iter().zip(y).map(|(&x, &y)| (f64::from(x), f64::from(y)));
        let error: f64 = wide().map(|(x, y)| (x - y).powi(2)).sum();
        let around: f64 = x.iter().zip(mean).map(|(&x, &m)| (f64::from(x) - f64::from(m)).powi(2)).sum();
        let [xx, xy, yy] = wide().fold([0.0; 3], |[xx, xy, yy], (x, y)| [xx + x * x, xy + x * y, yy + y * y]);
        self.error += error;
        self.by_row += 1.0 - error / around.max(f64::MIN_POSITIVE);
        self.cosine += if xx > 0.0 && yy > 0.0 { xy / (xx.sqrt() * yy.sqrt()) } else { 0.0 };
        self.length_in += xx.sqrt();
        self.length_out += yy.sqrt();
        self.ratio += yy.sqrt() / if xx.sqrt() < 1e-4 { 1.0 } else { xx.sqrt() };
        self.square_out += yy;
        self.product += xy;
    }
}

impl Core {
    /// Judge `sae` on `rows`; `tell` hears how many are done at a time. Of no rows, figures that divide by them are 0 or NaN.
    ///
    /// # Errors
    /// Rows of another width or on another device, and a transcoder: see [`measure_to`](Self::measure_to).
    pub fn measure(sae: &Sae, rows: View<'_, f32, 2>, tell: impl FnMut(usize)) -> Result<Self> {
        sae.reconstructs()?;
        Self::measure_to(sae, rows, rows, tell)
    }

    /// How well `rows` are predicted from `read`, row by row: of a transcoder. `x` of the formulas is a row of `rows`.
    ///
    /// # Errors
    /// Rows of another width or number, or on another device.
    pub fn measure_to(
        sae: &Sae,
        read: View<'_, f32, 2>,
        rows: View<'_, f32, 2>,
        mut tell: impl FnMut(usize),
    ) -> Result<Self> {
        const ROWS: usize = 2048;
        let ([total, d], n, bias) = (rows.dims(), sae.latents(), sae.bias()?);
        if read.dims() != rows.dims() || d != sae.d() {
            let what = format!("{:?} and {:?}, expected the same, of width {}", read.dims(), rows.dims(), sae.d());
            return Err(Error::setting("read, rows", what));
        }
        let host = on_host(rows)?;
        let mean = initial::mean(&host, d);
        let (mut sums, mut active, mut size, mut cut, mut fired) =
            (Sums::default(), 0_usize, 0.0, 0_usize, vec![0_usize; n]);
        for start in (0..total).step_by(ROWS) {
            let end = total.min(start + ROWS);
            let x = read.narrow(0, start, end)?;
            let (code, counts) = sae.encode_counted(x, &bias)?;
            if let (Gate::Above { most, .. }, Some(counts)) = (sae.gate, counts) {
                cut += counts.to_vec()?.into_iter().filter(|&count| count as usize > most).count();
            }
            let recon = sae.reconstruct_with(x, &code)?.to_vec()?;
            for (x, y) in host[start * d..end * d].chunks_exact(d.max(1)).zip(recon.chunks_exact(d.max(1))) {
                sums.add(x, y, &mean);
            }
            for (latent, value) in code.latents.to_vec()?.into_iter().zip(code.values.to_vec()?) {
                if value != 0.0 && (latent as usize) < n {
                    fired[latent as usize] += 1;
                    active += 1;
                    size += f64::from(value.abs());
                }
            }
            tell(end - start);
        }
        let (count, variance) = (total.max(1) as f64, initial::variance(&host, &mean) * total as f64);
        let share = |on: f64| fired.iter().filter(|&&f| f as f64 / count > on).count() as f64 / n.max(1) as f64;
        let (fvu, alive) = (sums.error / variance, share(0.0));
        Ok(Self {
            rows: total,
            fvu,
            explained_variance: 1.0 - fvu,
            explained_variance_by_row: sums.by_row / count,
            mse: sums.error / count,
            cosine: sums.cosine / count,
            l2_in: sums.length_in / count,
            l2_out: sums.length_out / count,
            l2_ratio: sums.ratio / count,
            reconstruction_bias: sums.square_out / sums.product,
            l0: active as f64 / count,
            l1: size / count,
            above_1_percent: share(0.01),
            above_10_percent: share(0.1),
            alive,
            dead: 1.0 - alive,
            truncated: cut as f64 / count,
            downstream: None,
        })
    }

    /// [`Core::measure`] on the activations of `contexts` at `site`, and [`Downstream::measure`]. `tell` hears how many tokens are
    /// done at a time, each three times.
    ///
    /// # Errors
    /// Those of the model, and of both.
    pub fn measure_in(
        model: &Decoder,
        site: Site,
        contexts: &Contexts,
        sae: &Sae,
        mut tell: impl FnMut(usize),
    ) -> Result<Self> {
        let mut rows = Tensor::zeros([contexts.rows(), model.config().dim], &sae.device())?;
        contexts.activations(model, site, 0, &mut rows, &mut tell)?;
        let core = Self::measure(sae, rows.view(), &mut tell)?;
        Ok(Self { downstream: Some(Downstream::measure(model, site, contexts, sae, &mut tell)?), ..core })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Device;
    use approx::assert_relative_eq;

    /// Two latents along the axes of a plane, of which the stronger fires: `(3, 4)` becomes `(0, 4)`, `(-6, 2)` becomes `(0, 2)`,
    /// and of `(-1, -1)` nothing is left. Their mean is `(-4/3, 5/3)`.
    #[test]
    fn by_hand() {
        let sae = Sae::tied(vec![1.0, 0.0, 0.0, 1.0], vec![0.0; 2], Gate::Strongest(1), &Device::Host).unwrap();
        let rows = Tensor::from_vec(vec![3.0, 4.0, -6.0, 2.0, -1.0, -1.0], [3, 2], &Device::Host).unwrap();
        let mut told = 0;
        let found = Core::measure(&sae, rows.view(), |count| told += count).unwrap();
        let errors = [9.0, 36.0, 2.0];
        let around = [(13.0 / 3.0_f64).powi(2) + (7.0 / 3.0_f64).powi(2), (14.0 / 3.0_f64).powi(2) + 1.0 / 9.0, {
            1.0 / 9.0 + (8.0 / 3.0_f64).powi(2)
        }];
        let by_row = errors.iter().zip(around).map(|(error, around)| 1.0 - error / around).sum::<f64>() / 3.0;
        let forty = 40.0_f64.sqrt();
        for (got, want) in [
            (found.fvu, 47.0 / around.iter().sum::<f64>()),
            (found.explained_variance, 1.0 - 47.0 / around.iter().sum::<f64>()),
            (found.explained_variance_by_row, by_row),
            (found.mse, 47.0 / 3.0),
            (found.cosine, (0.8 + 2.0 / forty) / 3.0),
            (found.l2_in, (5.0 + forty + 2.0_f64.sqrt()) / 3.0),
            (found.l2_out, 2.0),
            (found.l2_ratio, (0.8 + 2.0 / forty) / 3.0),
            (found.reconstruction_bias, 1.0),
            (found.l0, 2.0 / 3.0),
            (found.l1, 2.0),
            (found.above_1_percent, 0.5),
            (found.above_10_percent, 0.5),
            (found.alive, 0.5),
            (found.dead, 0.5),
        ] {
            assert_relative_eq!(got, want, epsilon = 1e-6);
        }
        assert_eq!((found.rows, found.truncated, told, found.downstream), (3, 0.0, 3, None));
        // Reconstructions of half the length: the bias says so, and its inverse is the scale that mends it.
        let half = Tensor::from_vec(vec![0.5, 0.0, 0.0, 0.5], [2, 2], &Device::Host).unwrap();
        let shrunk = Core::measure(&Sae { w_dec: half, ..sae }, rows.view(), |_| ()).unwrap();
        assert_relative_eq!(shrunk.reconstruction_bias, 0.5, epsilon = 1e-6);
        assert_relative_eq!(shrunk.l2_ratio, 0.5 * found.l2_ratio, epsilon = 1e-6);
    }

    /// What [`quality`](crate::sae::quality) says too, it says alike; and the report goes through JSON.
    #[test]
    fn as_quality() {
        let mut draw = crate::Philox::new(8);
        let mut numbers = |count: usize| -> Vec<f32> { (0..count).map(|_| draw.uniform() - 0.5).collect() };
        let sae =
            Sae::tied(numbers(24 * 6), numbers(6), Gate::Above { threshold: 0.1, most: 3 }, &Device::Host).unwrap();
        let rows = Tensor::from_vec(numbers(500 * 6), [500, 6], &Device::Host).unwrap();
        let (ours, theirs) =
            (Core::measure(&sae, rows.view(), |_| ()).unwrap(), crate::sae::quality(&sae, rows.view()).unwrap());
        for (ours, theirs) in [
            (ours.fvu, theirs.fvu),
            (ours.l0, theirs.l0),
            (ours.truncated, theirs.truncated),
            (ours.cosine, theirs.cosine),
            (ours.dead, theirs.dead),
        ] {
            assert_relative_eq!(ours, theirs, epsilon = 1e-9);
        }
        assert!(ours.truncated > 0.0);
        let text = serde_json::to_string(&ours).unwrap();
        assert_eq!(serde_json::from_str::<Core>(&text).unwrap(), ours);
    }
}
