use crate::io::{Error, Result};
use crate::{Code, Device, Tensor, View, sae_bias, sae_decode, sae_encode, sae_encode_threshold};

/// How the active latents of a row are chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Gate {
    /// The `k` strongest positive ones.
    Strongest(usize),
    /// Those above `threshold`, but no more than the `most` strongest of them. SAELens, which calls this gate `jumprelu`,
    /// has no such limit: where a row has more, its reconstruction has more terms than ours. That is never an error here,
    /// and never silent: [`Sae::encode_counted`] gives the true count of each row, and
    /// [`Quality::truncated`](super::Quality::truncated) the share of rows that were cut.
    Above {
        /// What a value must exceed.
        threshold: f32,
        /// Room per row.
        most: usize,
    },
}

/// A sparse autoencoder: `x̂ = b_dec + Σ aⱼ W_dec[j]` over the few latents that its gate lets through of
/// `a = max(W_enc (x - b_dec) + b_enc, 0)`.
pub struct Sae {
    /// `[latents, d]`, one row per latent.
    pub w_enc: Tensor<f32, 2>,
    /// `[latents, d]`, one row of length 1 per latent.
    pub w_dec: Tensor<f32, 2>,
    /// `[latents]`.
    pub b_enc: Tensor<f32, 1>,
    /// `[d]`, subtracted from the input and added to the output.
    pub b_dec: Tensor<f32, 1>,
    /// Which latents are active.
    pub gate: Gate,
}

impl Sae {
    /// An autoencoder whose encoder is its decoder turned over.
    ///
    /// # Errors
    /// If the memory cannot be had.
    pub fn tied(decoder: Vec<f32>, center: Vec<f32>, gate: Gate, device: &Device) -> Result<Self> {
        let d = center.len();
        let latents = decoder.len().checked_div(d).unwrap_or(0);
        Ok(Self {
            w_enc: Tensor::from_vec(decoder.clone(), [latents, d], device)?,
            w_dec: Tensor::from_vec(decoder, [latents, d], device)?,
            b_enc: Tensor::zeros([latents], device)?,
            b_dec: Tensor::from_vec(center, [d], device)?,
            gate,
        })
    }

    /// Number of latents.
    pub fn latents(&self) -> usize {
        self.w_enc.dims()[0]
    }

    /// Width of the activations.
    pub fn d(&self) -> usize {
        self.w_enc.dims()[1]
    }

    /// Where it lives.
    pub fn device(&self) -> Device {
        self.w_enc.device()
    }

    /// Its bias with the centre folded in, `b_enc - W_enc b_dec`: what encoding many batches shares.
    ///
    /// # Errors
    /// If the memory cannot be had.
    pub fn bias(&self) -> Result<Tensor<f32, 1>> {
        Ok(sae_bias(self.w_enc.view(), self.b_enc.view(), self.b_dec.view())?)
    }

    /// The active latents of every row of `x`.
    ///
    /// # Errors
    /// If `x` has another width or lives elsewhere.
    pub fn encode(&self, x: View<'_, f32, 2>) -> Result<Code<f32>> {
        self.encode_with(x, &self.bias()?)
    }

    /// [`encode`](Self::encode) with the [`bias`](Self::bias) at hand.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    pub fn encode_with(&self, x: View<'_, f32, 2>, bias: &Tensor<f32, 1>) -> Result<Code<f32>> {
        Ok(self.encode_counted(x, bias)?.0)
    }

    /// [`encode_with`](Self::encode_with), and behind a threshold also how many latents of each row are above it, those
    /// included for which there was no room.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    pub fn encode_counted(
        &self,
        x: View<'_, f32, 2>,
        bias: &Tensor<f32, 1>,
    ) -> Result<(Code<f32>, Option<Tensor<u32, 1>>)> {
        let (w_enc, bias) = (self.w_enc.view(), bias.view());
        let (values, latents, counts) = match self.gate {
            Gate::Strongest(k) => {
                let (values, latents) = sae_encode(x, w_enc, bias, k)?;
                (values, latents, None)
            }
            Gate::Above { threshold, most } => {
                let (values, latents, counts) = sae_encode_threshold(x, w_enc, bias, threshold, most)?;
                (values, latents, Some(counts))
            }
        };
        Ok((Code::fixed(values, latents)?, counts))
    }

    /// The rows that `code` stands for.
    ///
    /// # Errors
    /// If `code` lives elsewhere.
    pub fn decode(&self, code: &Code<f32>) -> Result<Tensor<f32, 2>> {
        Ok(sae_decode(code.view(), self.w_dec.view(), Some(self.b_dec.view()), None)?.recon)
    }

    /// Encode and decode at once.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    pub fn reconstruct(&self, x: View<'_, f32, 2>) -> Result<Tensor<f32, 2>> {
        self.decode(&self.encode(x)?)
    }

    /// The direction that a latent writes, on the host.
    ///
    /// # Errors
    /// [`Error::Setting`] if there is no such latent.
    pub fn direction(&self, latent: usize) -> Result<Vec<f32>> {
        let (n, d) = (self.latents(), self.d());
        if latent >= n {
            return Err(Error::setting("latent", format!("{latent} is not one of the {n} latents")));
        }
        Ok(match self.w_dec.host() {
            Some(host) => host[latent * d..][..d].to_vec(),
            None => self.w_dec.to_vec()?[latent * d..][..d].to_vec(),
        })
    }
}
