use super::plain::Plain;
use super::settings::Settings;
use super::{Gate, Sae};
use crate::io::named::{Incoming, Outgoing};
use crate::io::{Error, Result};
use crate::sae::Rows;
use serde_json::{Value, json};

pub(super) const WEIGHTS: &str = "sae.safetensors";

pub(super) fn config(sae: &Sae) -> Result<Value> {
    let Gate::Strongest(k) = sae.gate else {
        return Err(Error::setting("format", "sparsify's layout has no place for a threshold"));
    };
    if sae.own.is_some() || !sae.centred || sae.rows != Rows::AsTheyAre {
        let what = "sparsify's layout has no place for values of the latents' own, an input that is not centred, or scaled rows";
        return Err(Error::setting("format", what));
    }
    let (n, d) = (sae.latents(), sae.d());
    Ok(json!({
        "activation": "topk",
        "expansion_factor": n / d.max(1),
        "normalize_decoder": true,
        "num_latents": n,
        "k": k,
        "multi_topk": false,
        "skip_connection": false,
        "transcode": false,
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
    Ok(weights)
}

pub(super) fn load(config: &Settings, mut weights: Incoming) -> Result<Plain> {
    let d = config.size("d_in")?;
    let n = match config.size("num_latents")? {
        0 => d.saturating_mul(config.size("expansion_factor")?),
        n => n,
    };
    config.only("activation", &["topk"])?;
    ["transcode", "skip_connection", "signed"].into_iter().try_for_each(|name| config.off(name))?;
    let plain = Plain {
        dims: [n, d],
        gate: Gate::Strongest(config.k(n)?),
        w_enc: weights.take("encoder.weight", &[n, d])?,
        w_dec: weights.take("W_dec", &[n, d])?,
        b_enc: weights.take("encoder.bias", &[n])?,
        b_dec: weights.take("b_dec", &[d])?,
        centred: true,
        own: None,
        rows: Rows::AsTheyAre,
    };
    weights.finish()?;
    Ok(plain)
}
