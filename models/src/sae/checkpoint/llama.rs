//! Llama Scope: `hyperparams.json` and `checkpoints/final.safetensors`, or `final.safetensors` beside it.
//!
//! `encoder.weight [n, d]`, `encoder.bias [n]`, `decoder.weight [d, n]`, `decoder.bias [d]`; for activations as they are, the
//! published form is folded into the weights:
//!
//! ```text
//! s_in = √d / norm_in,  s_out = √d / norm_out,  D' = decoder.weight s_in / s_out,  lengths n_j of its columns
//! z_j = n_j (encoder.weight_j x + encoder.bias_j / s_in),  f_j = z_j where z_j > jump_relu_threshold,
//! x̂   = Σ f_j D'_j / n_j + decoder.bias / s_out
//! ```
//! Where `hook_point_out` is another place than `hook_point_in`, it is a transcoder, which predicts what is there.
//! `n_j` counts where `sparsity_include_decoder_norm` says so.
use super::plain::{Plain, transpose};
use super::settings::Settings;
use crate::io::Result;
use crate::io::named::Incoming;
use crate::sae::Gate;

/// Its settings.
pub(super) const CONFIG: &str = "hyperparams.json";

pub(super) fn load(config: &Settings, mut file: Incoming) -> Result<Plain> {
    let [n, d] = file.matrix("encoder.weight")?;
    for (name, got) in [("d_sae", n), ("d_model", d)] {
        let said = config.size(name)?;
        if said != got {
            return config.wrong(format!("{name} is {said}, but encoder.weight has {got}"));
        }
    }
    config.only("act_fn", &["jumprelu"])?;
    config.only("norm_activation", &["dataset-wise"])?;
    config.off("apply_decoder_bias_to_pre_encoder")?;
    let norms = &config.value["dataset_average_activation_norm"];
    let [norm_in, norm_out] = [config.positive(norms, "in")?, config.positive(norms, "out")?];
    let (s_in, s_out) = ((d as f64).sqrt() / norm_in, (d as f64).sqrt() / norm_out);
    let scale = |of: Vec<f32>, by: f64| of.into_iter().map(|x| (f64::from(x) * by) as f32).collect::<Vec<f32>>();
    let w_enc = file.take("encoder.weight", &[n, d])?;
    let w_dec = scale(transpose(&file.take("decoder.weight", &[d, n])?, d, n), s_in / s_out);
    let b_enc = scale(file.take("encoder.bias", &[n])?, 1.0 / s_in);
    let b_dec = match config.value["use_decoder_bias"].as_bool() {
        Some(false) => vec![0.0; d],
        _ => scale(file.take("decoder.bias", &[d])?, 1.0 / s_out),
    };
    file.finish()?;
    let gate = Gate::Above { threshold: 0.0, most: n };
    let [read, predicted] = ["hook_point_in", "hook_point_out"].map(|name| config.value[name].as_str());
    let mut plain = Plain::new([n, d], [w_enc, w_dec, b_enc, b_dec], false, gate);
    plain.predicts = predicted.is_some() && predicted != read;
    // After the lengths, for the threshold is of what they were multiplied with.
    if config.value["sparsity_include_decoder_norm"].as_bool() == Some(true) {
        plain.fold_lengths();
    }
    let threshold = config.positive(&config.value, "jump_relu_threshold")? as f32;
    plain.gate = Gate::Above { threshold, most: n };
    Ok(plain)
}
