use super::plain::{Plain, PlainOwn, transpose};
use super::settings::{ROOM, Settings};
use super::{Gate, Origin, Sae};
use crate::io::named::{Incoming, Outgoing};
use crate::io::{Error, Result};
use crate::sae::{Own, Rows};
use serde_json::{Value, json};

pub(super) const WEIGHTS: &str = "sae_weights.safetensors";

/// What it calls the scaling of rows.
const ROWS: [(&str, Rows); 3] =
    [("none", Rows::AsTheyAre), ("layer_norm", Rows::Standard), ("constant_norm_rescale", Rows::Length)];

pub(super) fn config(sae: &Sae, origin: &Origin) -> Result<Value> {
    if sae.own.is_some() && !matches!(sae.gate, Gate::Above { threshold: 0.0, .. }) {
        let what = "SAELens' layout has no place for values of the latents' own behind a gate other than that above 0";
        return Err(Error::setting("format", what));
    }
    let gated = matches!(sae.own, Some(Own::Magnitudes { .. }));
    let transcodes = sae.predicts || sae.skip.is_some();
    if transcodes && (sae.centred || gated || !matches!(sae.gate, Gate::Above { .. })) {
        let what = "SAELens' layout has transcoders by a rectifier or thresholds only";
        return Err(Error::setting("format", what));
    }
    let rows = ROWS.iter().find(|(_, rows)| *rows == sae.rows).map(|(name, _)| name);
    let mut config = json!({
        "architecture": "topk",
        "d_in": sae.d(),
        "d_sae": sae.latents(),
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": sae.centred,
        "normalize_activations": rows,
        "reshape_activations": "none",
        "metadata": origin.metadata(),
    });
    config["metadata"]["sae_lens_version"] = "6.0.0".into();
    match (sae.gate, &sae.own) {
        (Gate::Strongest(k), _) => {
            if let Some(router) = &sae.router {
                config["architecture"] = "switch".into();
                config["experts"] = router.experts().into();
            }
            config["k"] = k.into();
            config["rescale_acts_by_decoder_norm"] = false.into();
        }
        (Gate::Groups(_), _) => {
            return Err(Error::setting("format", "SAELens' layout has no place for groups of latents"));
        }
        (Gate::Above { most, .. }, own) => {
            config["architecture"] = match own {
                Some(Own::Magnitudes { .. }) => "gated",
                _ => match (all_positive(sae), transcodes, sae.skip.is_some()) {
                    (true, false, _) => "standard",
                    (true, true, false) => "transcoder",
                    (true, true, true) => "skip_transcoder",
                    (false, false, _) => "jumprelu",
                    (false, true, false) => "jumprelu_transcoder",
                    (false, true, true) => "jumprelu_skip_transcoder",
                },
            }
            .into();
            config["metadata"][ROOM] = most.into();
        }
    }
    if transcodes {
        config["d_out"] = sae.d().into();
    }
    Ok(config)
}

/// Whether it is a rectifier without more.
fn all_positive(sae: &Sae) -> bool {
    sae.own.is_none() && sae.gate == Gate::Above { threshold: 0.0, most: sae.latents() }
}

pub(super) fn weights(sae: &Sae) -> Result<Outgoing> {
    let (n, d) = (sae.latents(), sae.d());
    let mut weights = Outgoing::default();
    weights.put("W_enc", &[d, n], transpose(&sae.w_enc.to_vec()?, n, d));
    weights.put("W_dec", &[n, d], sae.w_dec.to_vec()?);
    weights.put("b_dec", &[d], sae.b_dec.to_vec()?);
    if let Some(skip) = &sae.skip {
        weights.put("W_skip", &[d, d], skip.to_vec()?);
    }
    if let Some(router) = &sae.router {
        weights.put("router.weight", &[router.experts(), d], router.w.to_vec()?);
        weights.put("router.bias", &[d], router.b.to_vec()?);
    }
    let b_enc = sae.b_enc.to_vec()?;
    match (&sae.own, sae.gate) {
        (Some(Own::Magnitudes { r_mag, b_mag }), _) => {
            weights.put("b_gate", &[n], b_enc);
            weights.put("b_mag", &[n], b_mag.to_vec()?);
            weights.put("r_mag", &[n], r_mag.to_vec()?);
            return Ok(weights);
        }
        (Some(Own::Thresholds(thresholds)), _) => weights.put("threshold", &[n], thresholds.to_vec()?),
        (None, Gate::Above { threshold, .. }) if !all_positive(sae) => {
            weights.put("threshold", &[n], vec![threshold; n]);
        }
        _ => {}
    }
    weights.put("b_enc", &[n], b_enc);
    Ok(weights)
}

pub(super) fn load(config: &Settings, mut weights: Incoming) -> Result<Plain> {
    let (n, d) = (config.size("d_sae")?, config.size("d_in")?);
    let rows = rows(config)?;
    // Heads side by side, as our rows have them anyway.
    config.only("reshape_activations", &["none", "hook_z"])?;
    let architecture = architecture(config)?;
    let gate = if matches!(architecture, "topk" | "switch") {
        Gate::Strongest(config.k(n)?)
    } else {
        Gate::Above { threshold: 0.0, most: config.room(n)? }
    };
    let w_enc = transpose(&weights.take("W_enc", &[d, n])?, d, n);
    let (w_dec, b_dec) = (weights.take("W_dec", &[n, d])?, weights.take("b_dec", &[d])?);
    let b_enc = weights.take(if architecture == "gated" { "b_gate" } else { "b_enc" }, &[n])?;
    let said = config.value["architecture"].as_str().unwrap_or_default();
    let transcoder = said.ends_with("transcoder");
    if transcoder && config.size("d_out")? != d {
        return config
            .wrong(format!("d_out is {}, supported is {d}, the width of what is read", config.value["d_out"]));
    }
    let centred = !transcoder && config.value["apply_b_dec_to_input"] != Value::Bool(false);
    let skip = if said.ends_with("skip_transcoder") { Some(weights.take("W_skip", &[d, d])?) } else { None };
    if skip.is_some() && rows != Rows::AsTheyAre {
        return config.wrong(
            "has a matrix beside the latents of scaled rows, of which it does not say what it multiplies".into(),
        );
    }
    let (own, router, dims, predicts) = (None, None, [n, d], transcoder);
    let mut plain = Plain { dims, w_enc, w_dec, b_enc, b_dec, centred, gate, own, router, skip, rows, predicts };
    match architecture {
        "jumprelu" => plain.own = Some(PlainOwn::Thresholds(super::thresholds(&mut weights, n)?)),
        "gated" => {
            let (r_mag, b_mag) = (weights.take("r_mag", &[n])?, weights.take("b_mag", &[n])?);
            plain.own = Some(PlainOwn::Magnitudes { r_mag, b_mag });
        }
        _ => {}
    }
    if architecture == "switch" {
        let experts = config.size("experts")?;
        if experts == 0 || n % experts != 0 || config.k(n)? > n / experts {
            return config.wrong(format!("{experts} experts for {n} latents, of which {} are kept", config.value["k"]));
        }
        plain.router =
            Some((experts, weights.take("router.weight", &[experts, d])?, weights.take("router.bias", &[d])?));
    }
    if config.value["rescale_acts_by_decoder_norm"] == Value::Bool(true) {
        plain.fold_lengths();
    }
    plain.common_threshold();
    if architecture.ends_with("batchtopk") {
        // Of values that are scaled already.
        let threshold = weights.take("topk_threshold", &[])?.first().copied().unwrap_or(0.0);
        if !threshold.is_finite() {
            return Err(weights.wrong(format!("tensor topk_threshold holds {threshold}")));
        }
        plain.gate = Gate::Above { threshold: threshold.max(0.0), most: config.room(n)? };
    }
    if weights.has("scaling_factor") {
        finetuned(config, &mut weights, &mut plain)?;
    }
    weights.finish()?;
    Ok(plain)
}

/// Which kind. Before version 6 the activation said it.
fn architecture(config: &Settings) -> Result<&'static str> {
    /// What a transcoder makes values by.
    const TRANSCODERS: [(&str, &str); 4] = [
        ("transcoder", "standard"),
        ("skip_transcoder", "standard"),
        ("jumprelu_transcoder", "jumprelu"),
        ("jumprelu_skip_transcoder", "jumprelu"),
    ];
    let known = [
        "standard",
        "topk",
        "jumprelu",
        "gated",
        "batchtopk",
        "matryoshka_batchtopk",
        "switch",
        "transcoder",
        "skip_transcoder",
        "jumprelu_transcoder",
        "jumprelu_skip_transcoder",
    ];
    let said = config.only("architecture", &known)?;
    if let Some((_, by)) = TRANSCODERS.iter().find(|(name, _)| *name == said) {
        return Ok(by);
    }
    let activation = ["activation_fn", "activation_fn_str"].into_iter().find(|name| !config.value[name].is_null());
    match (said, activation) {
        ("standard", Some(name)) => match config.only(name, &["relu", "topk"])? {
            "topk" => Ok("topk"),
            _ => Ok("standard"),
        },
        (said, _) => Ok(known.into_iter().find(|known| *known == said).unwrap_or(known[0])),
    }
}

fn rows(config: &Settings) -> Result<Rows> {
    match &config.value["normalize_activations"] {
        Value::Null | Value::Bool(false) => Ok(Rows::AsTheyAre),
        Value::String(said) => match ROWS.iter().find(|(name, _)| name == said) {
            Some((_, rows)) => Ok(*rows),
            None => config.wrong(format!(
                "normalize_activations is {said:?}, supported are none, layer_norm and constant_norm_rescale, and what was \
                 folded into the weights"
            )),
        },
        other => config.wrong(format!(
            "normalize_activations is {other}: the factor of that run is in no file, it must be folded into the weights"
        )),
    }
}

/// Factors of values, from fine-tuning: they go into the decoder.
fn finetuned(config: &Settings, weights: &mut Incoming, plain: &mut Plain) -> Result<()> {
    let [n, d] = plain.dims;
    let factors = weights.take("scaling_factor", &[n])?;
    if config.value["finetuning_scaling_factor"] == Value::Bool(true) {
        for (row, factor) in plain.w_dec.chunks_exact_mut(d.max(1)).zip(factors) {
            row.iter_mut().for_each(|w| *w *= factor);
        }
    } else if factors.iter().any(|&factor| factor != 1.0) {
        return Err(weights.wrong("tensor scaling_factor is not 1, but finetuning_scaling_factor is not true"));
    }
    Ok(())
}
