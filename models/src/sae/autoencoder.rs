use super::Router;
use super::groups::strongest_of_groups;
use super::rows::{Rows, Scaled};
use crate::io::{Error, Result};
use crate::{
    Accumulate, Code, Device, SaeGate, Tensor, View, linear_into, sae_bias, sae_decode, sae_encode,
    sae_encode_threshold, sae_gate,
};

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
    /// The strongest positive one of each of so many groups of neighbours; they divide the latents.
    Groups(usize),
}

/// What makes a value of each latent, where that is not the rectifier.
pub enum Own {
    /// JumpReLU: a latent is active where `W_enc (x - b_dec) + b_enc` is above its threshold, and that is its value. The
    /// gate's own threshold comes on top of these.
    Thresholds(Tensor<f32, 1>),
    /// Gated: a latent is active where `W_enc (x - b_dec) + b_enc` passes the gate, and its value is
    /// `max(exp(r_mag) W_enc (x - b_dec) + b_mag, 0)`.
    Magnitudes {
        /// Logarithms of factors.
        r_mag: Tensor<f32, 1>,
        /// Biases.
        b_mag: Tensor<f32, 1>,
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
    /// `[d]`, added to the output, and subtracted from the input where it is [`centred`](Self::centred).
    pub b_dec: Tensor<f32, 1>,
    /// Whether the input is taken without `b_dec`.
    pub centred: bool,
    /// Which latents are active.
    pub gate: Gate,
    /// What makes the values, if it is not the rectifier.
    pub own: Option<Own>,
    /// What sends rows to experts: the strongest of a row are then those of its expert.
    pub router: Option<Router>,
    /// `[d, d]`: what a skip transcoder adds of the input, `W x`.
    pub skip: Option<Tensor<f32, 2>>,
    /// What is done to rows before the encoder, and undone behind the decoder.
    pub rows: Rows,
    /// Whether it is a transcoder: what it makes stands for other rows than those that it reads.
    pub predicts: bool,
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
            centred: true,
            gate,
            own: None,
            router: None,
            skip: None,
            rows: Rows::AsTheyAre,
            predicts: false,
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

    /// Refuse a transcoder where what it makes would be compared with what it reads.
    #[cfg(feature = "lm")]
    pub(super) fn reconstructs(&self) -> Result<()> {
        match self.predicts {
            false => Ok(()),
            true => Err(Error::setting(
                "sae",
                "is a transcoder, which does not make the rows that it reads: see Core::measure_to and Splice::Predicted",
            )),
        }
    }

    /// Its bias with the centre and thresholds folded in, `b_enc - W_enc b_dec - thresholds`: what encoding many batches shares.
    ///
    /// # Errors
    /// If the memory cannot be had.
    pub fn bias(&self) -> Result<Tensor<f32, 1>> {
        let none = if self.centred { None } else { Some(Tensor::zeros([self.d()], &self.device())?) };
        let center = none.as_ref().unwrap_or(&self.b_dec).view();
        let bias = sae_bias(self.w_enc.view(), self.b_enc.view(), center)?;
        let Some(Own::Thresholds(thresholds)) = &self.own else { return Ok(bias) };
        let less = bias.to_vec()?.into_iter().zip(thresholds.to_vec()?).map(|(bias, threshold)| bias - threshold);
        Ok(Tensor::from_vec(less.collect(), bias.dims(), &self.device())?)
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
        let scaled = self.rows.scale(x)?;
        let x = scaled.as_ref().map_or(x, Scaled::view);
        let (w_enc, bias) = (self.w_enc.view(), bias.view());
        let (code, counts) = match (self.gate, &self.router) {
            (Gate::Strongest(k), Some(router)) => (self.encode_routed(router, x, bias, k)?, None),
            (Gate::Strongest(k), None) => {
                let (values, latents) = sae_encode(x, w_enc, bias, k)?;
                (Code::fixed(values, latents)?, None)
            }
            (Gate::Groups(groups), _) => (strongest_of_groups(x, w_enc, bias, groups)?, None),
            (Gate::Above { threshold, most }, _) => {
                let (code, counts) = above(x, w_enc, bias, threshold, most)?;
                (code, Some(counts))
            }
        };
        Ok((self.valued(code)?, counts))
    }

    /// A code with the values that the latents' own thresholds or magnitudes make.
    fn valued(&self, mut code: Code<f32>) -> Result<Code<f32>> {
        let n = self.latents();
        code.values = match &self.own {
            None => return Ok(code),
            Some(Own::Thresholds(shift)) => {
                sae_gate(code.view(), n, SaeGate { shift: Some(shift.view()), ..SaeGate::default() })?
            }
            Some(Own::Magnitudes { r_mag, b_mag }) => {
                let (scale, b_enc) =
                    (r_mag.to_vec()?.into_iter().map(f32::exp).collect::<Vec<_>>(), self.b_enc.to_vec()?);
                let parts = scale.iter().zip(b_enc).zip(b_mag.to_vec()?);
                let shift = parts.map(|((scale, b_enc), b_mag)| b_mag - scale * b_enc).collect();
                let [scale, shift] = [scale, shift].map(|of| Tensor::<f32, 1>::from_vec(of, [n], &self.device()));
                let (scale, shift) = (scale?, shift?);
                let gate = SaeGate { scale: Some(scale.view()), shift: Some(shift.view()), ..SaeGate::default() };
                sae_gate(code.view(), n, gate)?
            }
        };
        Ok(code)
    }

    /// The rows that `code` stands for: as the decoder makes them, which are scaled ones where rows are [scaled](Self::rows).
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
        self.reconstruct_with(x, &self.encode(x)?)
    }

    /// What [`reconstruct`](Self::reconstruct) makes of `x`, whose code is at hand.
    ///
    /// # Errors
    /// If one of the two lives elsewhere.
    pub fn reconstruct_with(&self, x: View<'_, f32, 2>, code: &Code<f32>) -> Result<Tensor<f32, 2>> {
        let mut recon = self.decode(code)?;
        if let Some(skip) = &self.skip {
            linear_into(x, skip.view(), None, Accumulate::Add, recon.view_mut())?;
        }
        match self.rows.scale(x)? {
            Some(scaled) => scaled.undo(&recon),
            None => Ok(recon),
        }
    }

    /// What the directions of each row are multiplied by to undo its scaling; `None` where rows are as they are.
    ///
    /// # Errors
    /// If the device fails.
    #[cfg(feature = "steer")]
    pub(crate) fn undone_by(&self, x: View<'_, f32, 2>) -> Result<Option<Vec<f32>>> {
        Ok(self.rows.scale(x)?.as_ref().map(|scaled: &Scaled| scaled.factors().collect()))
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

/// All latents above a threshold, and how many each row has. Room is made for few of them first, and anew where that was not
/// enough: a row may have all, but hardly one has.
fn above(
    x: View<'_, f32, 2>,
    w_enc: View<'_, f32, 2>,
    bias: View<'_, f32, 1>,
    threshold: f32,
    most: usize,
) -> Result<(Code<f32>, Tensor<u32, 1>)> {
    const FEW: usize = 512;
    let mut room = most.min(FEW);
    loop {
        let (values, latents, counts) = sae_encode_threshold(x, w_enc, bias, threshold, room)?;
        let top = if room < most { counts.to_vec()?.into_iter().max().unwrap_or(0) as usize } else { 0 };
        if top <= room {
            return Ok((Code::fixed(values, latents)?, counts));
        }
        room = top.min(most);
    }
}
