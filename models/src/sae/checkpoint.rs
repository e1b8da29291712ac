//! Checkpoints that other libraries open.
//!
//! | layout    | files | tensors |
//! |-----------|-------|---------|
//! | SAELens 6 | `cfg.json`, `sae_weights.safetensors` | `W_enc [d, latents]`, `W_dec [latents, d]`, `b_enc`, `b_dec`, for `jumprelu` also `threshold [latents]` |
//! | sparsify  | `cfg.json`, `sae.safetensors`         | `encoder.weight [latents, d]`, `encoder.bias`, `W_dec [latents, d]`, `b_dec` |
//!
//! [`Gate::Strongest`] is SAELens' `topk`; [`Gate::Above`] its `jumprelu` with one threshold for all, and has no place in
//! sparsify's layout.
//!
//! Both files are written aside before the first is renamed, so a full disk leaves the old ones. A file system renames one
//! file at a time, weights first: a crash between the two, or a look at that moment, finds new weights beside an old
//! `cfg.json`. Each file therefore bears the same mark, a hash of both (`metadata.latens_pair`, and `latens` in the
//! metadata of the weights), and [`Sae::load`] refuses weights whose mark `cfg.json` does not bear. Weights without a mark,
//! as other libraries write them, are taken as they are.
use super::{
    Gate, Sae,
    settings::{CONFIG, PAIR, Settings},
};
use crate::io::named::{Incoming, Outgoing};
use crate::io::{self, Error, Result};
use crate::{Device, Tensor};
use serde_json::{Value, json};
use std::{fs, path::Path};

/// Whose files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// SAELens, version 6.
    SaeLens,
    /// EleutherAI's sparsify.
    Sparsify,
}

/// Where the activations came from; SAELens keeps it beside the weights.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The language model.
    pub model: String,
    /// The place in it, in TransformerLens' words: `blocks.15.hook_resid_post`.
    pub hook: String,
    /// Tokens per context.
    pub context: usize,
    /// Whether each begins with the tokenizer's token for the beginning of a text.
    pub begin: bool,
}

const SAELENS: &str = "sae_weights.safetensors";
const SPARSIFY: &str = "sae.safetensors";

impl Sae {
    /// Write a checkpoint into `folder`, which is made if it is not there.
    ///
    /// # Errors
    /// [`Error::System`] if the disk refuses, and then nothing has changed there; [`Error::Setting`] if the layout has
    /// no place for this gate.
    pub fn save(&self, folder: &Path, format: Format, origin: &Origin) -> Result<()> {
        fs::create_dir_all(folder).map_err(Error::system(folder, "make folder"))?;
        let (name, mut config, mut weights) = match format {
            Format::SaeLens => (SAELENS, self.saelens(origin), self.saelens_weights()?),
            Format::Sparsify => (SPARSIFY, self.sparsify()?, self.sparsify_weights()?),
        };
        let pair = io::sha256(&[&weights.bytes()?, config.to_string().as_bytes()]);
        config["metadata"][PAIR] = pair.as_str().into();
        weights.annotate(pair);
        let config = format!("{config:#}\n");
        io::replace_all(folder, &[(Path::new(name), &weights.bytes()?), (Path::new(CONFIG), config.as_bytes())])
    }

    /// Read a checkpoint of either layout.
    ///
    /// # Errors
    /// [`Error::System`] for a file that cannot be read, [`Error::Content`] for one that is cut short, lies about its
    /// sizes, holds a tensor that has no place here, or misses one, and for files of two checkpoints.
    pub fn load(folder: &Path, device: &Device) -> Result<Self> {
        let config = Settings::open(&folder.join(CONFIG))?;
        match (folder.join(SAELENS), folder.join(SPARSIFY)) {
            (file, _) if file.is_file() => load_saelens(&config, config.beside(&file)?, device),
            (_, file) if file.is_file() => load_sparsify(&config, config.beside(&file)?, device),
            _ => Err(Error::content(folder, format!("holds neither {SAELENS} nor {SPARSIFY}"))),
        }
    }

    fn saelens(&self, origin: &Origin) -> Value {
        let mut config = json!({
            "architecture": "topk",
            "d_in": self.d(),
            "d_sae": self.latents(),
            "dtype": "float32",
            "device": "cpu",
            "apply_b_dec_to_input": true,
            "normalize_activations": "none",
            "reshape_activations": "none",
            "metadata": {
                "sae_lens_version": "6.0.0",
                "model_name": origin.model,
                "hook_name": origin.hook,
                "context_size": origin.context,
                "prepend_bos": origin.begin,
            },
        });
        match self.gate {
            Gate::Strongest(k) => {
                config["k"] = k.into();
                config["rescale_acts_by_decoder_norm"] = false.into();
            }
            Gate::Above { most, .. } => {
                config["architecture"] = "jumprelu".into();
                config["metadata"]["most"] = most.into();
            }
        }
        config
    }

    fn saelens_weights(&self) -> Result<Outgoing> {
        let (n, d) = (self.latents(), self.d());
        let mut weights = Outgoing::default();
        weights.put("W_enc", &[d, n], transpose(&self.w_enc.to_vec()?, n, d));
        weights.put("W_dec", &[n, d], self.w_dec.to_vec()?);
        weights.put("b_enc", &[n], self.b_enc.to_vec()?);
        weights.put("b_dec", &[d], self.b_dec.to_vec()?);
        if let Gate::Above { threshold, .. } = self.gate {
            weights.put("threshold", &[n], vec![threshold; n]);
        }
        Ok(weights)
    }

    fn sparsify(&self) -> Result<Value> {
        let Gate::Strongest(k) = self.gate else {
            return Err(Error::setting("format", "sparsify's layout has no place for a threshold"));
        };
        let (n, d) = (self.latents(), self.d());
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

    fn sparsify_weights(&self) -> Result<Outgoing> {
        let (n, d) = (self.latents(), self.d());
        let mut weights = Outgoing::default();
        weights.put("encoder.weight", &[n, d], self.w_enc.to_vec()?);
        weights.put("encoder.bias", &[n], self.b_enc.to_vec()?);
        weights.put("W_dec", &[n, d], self.w_dec.to_vec()?);
        weights.put("b_dec", &[d], self.b_dec.to_vec()?);
        Ok(weights)
    }
}

fn load_saelens(config: &Settings, mut weights: Incoming, device: &Device) -> Result<Sae> {
    let (n, d) = (config.size("d_sae")?, config.size("d_in")?);
    config.only("normalize_activations", &["none"])?;
    config.only("reshape_activations", &["none"])?;
    config.off("rescale_acts_by_decoder_norm")?;
    let gate = match config.only("architecture", &["topk", "jumprelu"])? {
        "topk" => Gate::Strongest(config.k(n)?),
        _ => {
            let most = match config.value["metadata"].get("most") {
                None | Some(Value::Null) => n, // SAELens has no limit
                Some(most) => match most.as_u64() {
                    Some(most @ 1..) => n.min(usize::try_from(most).unwrap_or(n)),
                    _ => return config.wrong(format!("metadata.most is {most}, expected at least 1")),
                },
            };
            Gate::Above { threshold: one_threshold(&mut weights, n)?, most }
        }
    };
    let w_enc = transpose(&weights.take("W_enc", &[d, n])?, d, n);
    let w_dec = weights.take("W_dec", &[n, d])?;
    let (mut b_enc, b_dec) = (weights.take("b_enc", &[n])?, weights.take("b_dec", &[d])?);
    if config.value["apply_b_dec_to_input"] == Value::Bool(false) {
        // The same function, said as one that subtracts `b_dec` first.
        for (b, row) in b_enc.iter_mut().zip(w_enc.chunks_exact(d.max(1))) {
            *b += row.iter().zip(&b_dec).map(|(w, c)| w * c).sum::<f32>();
        }
    }
    weights.finish()?;
    assemble([n, d], [w_enc, w_dec, b_enc, b_dec], gate, device)
}

fn load_sparsify(config: &Settings, mut weights: Incoming, device: &Device) -> Result<Sae> {
    let d = config.size("d_in")?;
    let n = match config.size("num_latents")? {
        0 => d.saturating_mul(config.size("expansion_factor")?),
        n => n,
    };
    config.only("activation", &["topk"])?;
    config.off("transcode")?;
    config.off("skip_connection")?;
    let gate = Gate::Strongest(config.k(n)?);
    let parts = [
        weights.take("encoder.weight", &[n, d])?,
        weights.take("W_dec", &[n, d])?,
        weights.take("encoder.bias", &[n])?,
        weights.take("b_dec", &[d])?,
    ];
    weights.finish()?;
    assemble([n, d], parts, gate, device)
}

fn assemble([n, d]: [usize; 2], parts: [Vec<f32>; 4], gate: Gate, device: &Device) -> Result<Sae> {
    let [w_enc, w_dec, b_enc, b_dec] = parts;
    Ok(Sae {
        w_enc: Tensor::from_vec(w_enc, [n, d], device)?,
        w_dec: Tensor::from_vec(w_dec, [n, d], device)?,
        b_enc: Tensor::from_vec(b_enc, [n], device)?,
        b_dec: Tensor::from_vec(b_dec, [d], device)?,
        gate,
    })
}

/// The threshold, if it is the same for all latents, which is what BatchTopK leaves.
fn one_threshold(weights: &mut Incoming, n: usize) -> Result<f32> {
    let all = weights.take("threshold", &[n])?;
    match all.first() {
        Some(first) if !first.is_finite() => Err(weights.wrong(format!("tensor threshold holds {first}"))),
        Some(&first) if all.iter().all(|&one| one == first) => Ok(first),
        _ => Err(weights.wrong("tensor threshold differs from latent to latent: only one for all is supported")),
    }
}

/// `[rows, columns]` turned over, in squares that fit the nearest cache.
fn transpose(from: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    const SQUARE: usize = 32;
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
