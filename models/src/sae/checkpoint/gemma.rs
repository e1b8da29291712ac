//! Gemma Scope: JumpReLU with a threshold for each latent, whose input is not centred.
//!
//! `W_enc [d, n]`, `W_dec [n, d]`, `b_enc`, `b_dec`, `threshold [n]`: as `params.npz` (1), with capital or small letters, or as
//! `params.safetensors` with small ones (2). `affine_skip_connection` `[d, d]` of a transcoder multiplies from the right, as an audit found;
//! our matrix is it, turned over.
use super::plain::{Plain, PlainOwn, transpose};
use crate::io::Result;
use crate::io::named::Incoming;
use crate::sae::Gate;

pub(super) fn load(mut file: Incoming) -> Result<Plain> {
    let (enc, dec) = if file.has("W_enc") { ("W_enc", "W_dec") } else { ("w_enc", "w_dec") };
    let [d, n] = file.matrix(enc)?;
    let w_enc = transpose(&file.take(enc, &[d, n])?, d, n);
    let (w_dec, b_enc, b_dec) = (file.take(dec, &[n, d])?, file.take("b_enc", &[n])?, file.take("b_dec", &[d])?);
    let gate = Gate::Above { threshold: 0.0, most: n };
    let mut plain = Plain::new([n, d], [w_enc, w_dec, b_enc, b_dec], false, gate);
    if file.has("affine_skip_connection") {
        plain.predicts = true;
        plain.skip = Some(transpose(&file.take("affine_skip_connection", &[d, d])?, d, d));
    }
    plain.own = Some(PlainOwn::Thresholds(super::thresholds(&mut file, n)?));
    plain.common_threshold();
    file.finish()?;
    Ok(plain)
}
