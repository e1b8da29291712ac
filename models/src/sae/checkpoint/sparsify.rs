use super::plain::Plain;
use super::settings::Settings;
use super::{Gate, Origin, Sae};
use crate::io::named::{Incoming, Outgoing};
use crate::io::{Error, Result};
use crate::sae::Rows;
use serde_json::{Value, json};

pub(super) const WEIGHTS: &str = "sae.safetensors";
/// Says in our files whether what is read is what is made.
const PREDICTS: &str = "latens_predicts";

pub(super) fn config(sae: &Sae, origin: &Origin) -> Result<Value> {
    let (activation, k) = match sae.gate {
        Gate::Strongest(k) => ("topk", k),
        Gate::Groups(k) => ("groupmax", k),
        Gate::Above { .. } => {
            return Err(Error::setting("format", "sparsify's layout has no place for a threshold"));
        }
    };
    if sae.own.is_some() || sae.router.is_some() || sae.rows != Rows::AsTheyAre {
        let what = "sparsify's layout has no place for values of the latents' own, experts, or scaled rows";
        return Err(Error::setting("format", what));
    }
    if sae.predicts && sae.centred {
        return Err(Error::setting(
            "format",
            "sparsify's layout has no place for a transcoder that takes b_dec away first",
        ));
    }
    let (n, d) = (sae.latents(), sae.d());
    // It has none of this; other names than its own do not disturb it.
    let mut metadata = origin.metadata();
    metadata[PREDICTS] = sae.predicts.into();
    Ok(json!({
        "activation": activation,
        "expansion_factor": n / d.max(1),
        "normalize_decoder": true,
        "num_latents": n,
        "k": k,
        "multi_topk": false,
        "skip_connection": sae.skip.is_some(),
        // What it calls so reads its input as it is, which others do, too.
        "transcode": !sae.centred,
        "metadata": metadata,
        "d_in": d,
    }))
}

pub(super) fn weights(sae: &Sae) -> Result<Outgoing> {
    let (n, d) = (sae.latents(), sae.d());
    let mut weights = Outgoing::default();
    weights.put("encoder.weight", &[n, d], sae.w_enc.to_vec()?);
    weights.put("encoder.bias", &[n], sae.b_enc.to_vec()?);
    weights.put("W_dec", &[n, d], sae.w_dec.to_vec()?);
    weights.put("b_dec", &[d], sae.b_dec.to_vec()?);
    if let Some(skip) = &sae.skip {
        weights.put("W_skip", &[d, d], skip.to_vec()?);
    }
    Ok(weights)
}

pub(super) fn load(config: &Settings, mut weights: Incoming) -> Result<Plain> {
    let d = config.size("d_in")?;
    let n = match config.size("num_latents")? {
        0 => d.saturating_mul(config.size("expansion_factor")?),
        n => n,
    };
    let k = config.k(n)?;
    let gate = match config.only("activation", &["topk", "groupmax"])? {
        "groupmax" if n % k != 0 => return config.wrong(format!("{k} groups do not divide {n} latents")),
        "groupmax" => Gate::Groups(k),
        _ => Gate::Strongest(k),
    };
    config.off("signed")?;
    let plain = Plain {
        dims: [n, d],
        gate,
        w_enc: weights.take("encoder.weight", &[n, d])?,
        w_dec: weights.take("W_dec", &[n, d])?,
        b_enc: weights.take("encoder.bias", &[n])?,
        b_dec: weights.take("b_dec", &[d])?,
        centred: !config.is_on("transcode"),
        own: None,
        router: None,
        skip: if config.is_on("skip_connection") { Some(weights.take("W_skip", &[d, d])?) } else { None },
        rows: Rows::AsTheyAre,
        predicts: config.is_on("transcode") && config.value["metadata"][PREDICTS] != Value::Bool(false),
    };
    weights.finish()?;
    Ok(plain)
}
