//! OpenAI's `.pt`: `pre_bias [d]`, `latent_bias [n]`, `encoder.weight [n, d]`, `decoder.weight [d, n]`, and which activation.
//!
//! Theirs with TopK take a row without its mean and divided by its deviation, and undo that behind the decoder; those with ReLU
//! take it as it is.
use super::plain::{Plain, transpose};
use crate::io::Result;
use crate::io::named::Incoming;
use crate::sae::{Gate, Rows};

pub(super) fn load(mut file: Incoming) -> Result<Plain> {
    let dims @ [n, d] = file.matrix("encoder.weight")?;
    let w_enc = file.take("encoder.weight", &[n, d])?;
    let w_dec = transpose(&file.take("decoder.weight", &[d, n])?, d, n);
    let (b_enc, b_dec) = (file.take("latent_bias", &[n])?, file.take("pre_bias", &[d])?);
    for statistics in ["stats_last_nonzero", "latents_activation_frequency", "latents_mean_square"] {
        file.skip(statistics);
    }
    let (gate, rows) = match file.text("activation") {
        None | Some("ReLU") => (Gate::Above { threshold: 0.0, most: n }, Rows::AsTheyAre),
        Some("TopK") => match file.text("activation_state_dict.postact_fn") {
            None | Some("ReLU") => (Gate::Strongest(file.k("activation_state_dict.k", n)?), Rows::Standard),
            Some(other) => return Err(file.wrong(format!("what follows its TopK is {other:?}, expected ReLU"))),
        },
        Some(other) => return Err(file.wrong(format!("its activation is {other:?}, expected ReLU or TopK"))),
    };
    file.finish()?;
    Ok(Plain { rows, ..Plain::new(dims, [w_enc, w_dec, b_enc, b_dec], true, gate) })
}
