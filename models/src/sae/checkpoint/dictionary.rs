//! dictionary_learning: `config.json` and `ae.pt` in the folder of a trainer.
//!
//! | `dict_class` | tensors | values |
//! |--------------|---------|--------|
//! | `AutoEncoder` | `encoder.weight [n, d]`, `encoder.bias`, `decoder.weight [d, n]`, `bias [d]` | ReLU of what is centred by `bias`, times the decoder's length |
//! | `AutoEncoderNew` | the same with `decoder.bias` | ReLU, not centred |
//! | `GatedAutoEncoder` | `encoder.weight`, `decoder.weight`, `r_mag`, `gate_bias`, `mag_bias`, `decoder_bias` | gated, times the decoder's length |
//! | `AutoEncoderTopK`, `BatchTopKSAE` | as the first with `b_dec`, `k`, `threshold` | the `k` strongest; BatchTopK: above the threshold, if it is set |
//! | `JumpReluAutoEncoder` | `W_enc [d, n]`, `W_dec [n, d]`, `b_enc`, `b_dec`, `threshold [n]` | above thresholds, not centred, times the decoder's length |
//! | `MatryoshkaBatchTopKSAE` | the same with one `threshold`, `k`, `group_sizes` | as BatchTopK |
use super::plain::{Plain, PlainOwn, transpose};
use super::settings::Settings;
use crate::io::Result;
use crate::io::named::Incoming;
use crate::sae::Gate;

pub(super) fn load(config: &Settings, mut file: Incoming) -> Result<Plain> {
    let class = config.value["trainer"]["dict_class"].as_str().unwrap_or("").to_owned();
    let rows = file.has("encoder.weight");
    let dims = if rows { file.matrix("encoder.weight")? } else { file.matrix("W_enc").map(|[d, n]| [n, d])? };
    let [n, d] = dims;
    let (w_enc, w_dec) = if rows {
        let w_dec = transpose(&file.take("decoder.weight", &[d, n])?, d, n);
        (file.take("encoder.weight", &[n, d])?, w_dec)
    } else {
        (transpose(&file.take("W_enc", &[d, n])?, d, n), file.take("W_dec", &[n, d])?)
    };
    let (b_enc, b_dec) = match &class[..] {
        "AutoEncoder" => ("encoder.bias", "bias"),
        "AutoEncoderNew" => ("encoder.bias", "decoder.bias"),
        "GatedAutoEncoder" => ("gate_bias", "decoder_bias"),
        "AutoEncoderTopK" | "BatchTopKSAE" => ("encoder.bias", "b_dec"),
        "JumpReluAutoEncoder" | "MatryoshkaBatchTopKSAE" => ("b_enc", "b_dec"),
        other => return config.wrong(format!("trainer.dict_class is {other:?}, which is not read")),
    };
    let gate = Gate::Above { threshold: 0.0, most: n };
    let (b_enc, b_dec) = (file.take(b_enc, &[n])?, file.take(b_dec, &[d])?);
    let centred = !matches!(&class[..], "AutoEncoderNew" | "JumpReluAutoEncoder");
    let mut plain = Plain::new(dims, [w_enc, w_dec, b_enc, b_dec], centred, gate);
    match &class[..] {
        "GatedAutoEncoder" => {
            let (r_mag, b_mag) = (file.take("r_mag", &[n])?, file.take("mag_bias", &[n])?);
            plain.own = Some(PlainOwn::Magnitudes { r_mag, b_mag });
            plain.fold_lengths();
        }
        "JumpReluAutoEncoder" => {
            plain.own = Some(PlainOwn::Thresholds(super::thresholds(&mut file, n)?));
            plain.fold_lengths();
            plain.common_threshold();
        }
        "AutoEncoderTopK" => {
            plain.gate = Gate::Strongest(file.k("k", n)?);
            file.skip("threshold"); // only used where its caller asks for it
        }
        "BatchTopKSAE" | "MatryoshkaBatchTopKSAE" => {
            file.k("k", n)?;
            file.skip("group_sizes"); // of the training
            let threshold = file.number("threshold")?.ok_or_else(|| file.wrong("there is no number threshold"))? as f32;
            if !threshold.is_finite() {
                return Err(file.wrong(format!("threshold is {threshold}")));
            }
            // -1 until it is set: then all that is positive.
            plain.gate = Gate::Above { threshold: threshold.max(0.0), most: n };
        }
        // As it does when it loads one.
        "AutoEncoder" => plain.fold_lengths(),
        _ => {}
    }
    file.finish()?;
    Ok(plain)
}
