use crate::io::Result;
use crate::sae::{Gate, Own, Router, Rows, Sae};
use crate::{Device, Tensor};

/// An autoencoder as a file has it: rows of both matrices are latents.
pub(super) struct Plain {
    pub dims: [usize; 2],
    pub w_enc: Vec<f32>,
    pub w_dec: Vec<f32>,
    pub b_enc: Vec<f32>,
    pub b_dec: Vec<f32>,
    pub centred: bool,
    pub gate: Gate,
    pub own: Option<PlainOwn>,
    /// Experts, and the weights and biases of what sends rows to them.
    pub router: Option<(usize, Vec<f32>, Vec<f32>)>,
    /// `[d, d]`, what is added of the input.
    pub skip: Option<Vec<f32>>,
    pub rows: Rows,
    pub predicts: bool,
}

/// See [`Own`].
pub(super) enum PlainOwn {
    Thresholds(Vec<f32>),
    Magnitudes { r_mag: Vec<f32>, b_mag: Vec<f32> },
}

impl Plain {
    /// Of rows as they are, and nothing beside the four.
    pub fn new(dims: [usize; 2], [w_enc, w_dec, b_enc, b_dec]: [Vec<f32>; 4], centred: bool, gate: Gate) -> Self {
        let (own, router, skip, rows, predicts) = (None, None, None, Rows::AsTheyAre, false);
        Self { dims, w_enc, w_dec, b_enc, b_dec, centred, gate, own, router, skip, rows, predicts }
    }

    /// Of what is a number in every sound checkpoint, what is none.
    pub fn not_finite(&self) -> Option<(&'static str, f32)> {
        let of = |name, all: &[f32]| all.iter().find(|x| !x.is_finite()).map(|&x| (name, x));
        let four = [
            ("the encoder", &self.w_enc),
            ("the decoder", &self.w_dec),
            ("b_enc", &self.b_enc),
            ("b_dec", &self.b_dec),
        ];
        let found = four.into_iter().find_map(|(name, all)| of(name, all));
        let router = self.router.iter().find_map(|(_, w, b)| of("the router", w).or(of("the router", b)));
        let own = self.own.as_ref().and_then(|own| match own {
            PlainOwn::Thresholds(all) => of("the thresholds", all),
            PlainOwn::Magnitudes { r_mag, b_mag } => of("r_mag", r_mag).or(of("b_mag", b_mag)),
        });
        found.or(router).or(own).or(self.skip.as_ref().and_then(|skip| of("the skip", skip)))
    }

    pub fn on(self, device: &Device) -> Result<Sae> {
        let [n, d] = self.dims;
        let one = |of: Vec<f32>| Tensor::from_vec(of, [n], device);
        let own = match self.own {
            None => None,
            Some(PlainOwn::Thresholds(thresholds)) => Some(Own::Thresholds(one(thresholds)?)),
            Some(PlainOwn::Magnitudes { r_mag, b_mag }) => {
                Some(Own::Magnitudes { r_mag: one(r_mag)?, b_mag: one(b_mag)? })
            }
        };
        Ok(Sae {
            w_enc: Tensor::from_vec(self.w_enc, [n, d], device)?,
            w_dec: Tensor::from_vec(self.w_dec, [n, d], device)?,
            b_enc: Tensor::from_vec(self.b_enc, [n], device)?,
            b_dec: Tensor::from_vec(self.b_dec, [d], device)?,
            centred: self.centred,
            gate: self.gate,
            own,
            router: match self.router {
                Some((experts, w, b)) => {
                    Some(Router { w: Tensor::from_vec(w, [experts, d], device)?, b: Tensor::from_vec(b, [d], device)? })
                }
                None => None,
            },
            skip: self.skip.map(|skip| Tensor::from_vec(skip, [d, d], device)).transpose()?,
            rows: self.rows,
            predicts: self.predicts,
        })
    }

    /// Thresholds that are all the same become the gate's, which is what BatchTopK leaves.
    pub fn common_threshold(&mut self) {
        let Some(PlainOwn::Thresholds(all)) = &self.own else { return };
        if let (Some(&threshold), Gate::Above { most, .. }) = (all.first(), self.gate)
            && threshold >= 0.0
            && all.iter().all(|&one| one == threshold)
        {
            (self.gate, self.own) = (Gate::Above { threshold, most }, None);
        }
    }

    /// Give every row of the decoder length 1, and its values that length: the reconstruction stays. Rows of zeros stay, too.
    pub fn fold_lengths(&mut self) {
        let [n, d] = self.dims;
        for j in 0..n {
            let row = &mut self.w_dec[j * d..][..d];
            let length = row.iter().map(|w| f64::from(*w) * f64::from(*w)).sum::<f64>().sqrt() as f32;
            if length == 0.0 {
                continue;
            }
            row.iter_mut().for_each(|w| *w /= length);
            match &mut self.own {
                // exp(r + ln s) (u) + s b = s (exp(r) u + b): the gate itself is not scaled.
                Some(PlainOwn::Magnitudes { r_mag, b_mag }) => {
                    r_mag[j] += length.ln();
                    b_mag[j] *= length;
                    continue;
                }
                Some(PlainOwn::Thresholds(thresholds)) => thresholds[j] *= length,
                None => {}
            }
            self.w_enc[j * d..][..d].iter_mut().for_each(|w| *w *= length);
            self.b_enc[j] *= length;
        }
    }
}

/// `[rows, columns]` turned over, in squares that fit the nearest cache.
pub(super) fn transpose(from: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    const SQUARE: usize = 32;
    if from.is_empty() {
        return Vec::new(); // of as many rows as there may be
    }
    let mut to = vec![0.0; from.len()];
    for top in (0..rows).step_by(SQUARE) {
        for left in (0..columns).step_by(SQUARE) {
            for r in top..rows.min(top + SQUARE) {
                for c in left..columns.min(left + SQUARE) {
                    to[c * rows + r] = from[r * columns + c];
                }
            }
        }
    }
    to
}
