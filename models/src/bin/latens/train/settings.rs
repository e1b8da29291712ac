//! Settings from files and options.
use super::Options;
use crate::common::{Done, Layout};
use latens::sae::{Config, Contexts, Gated, Jump, Sparsity, Variant};
use serde_json::Value;

impl Options {
    /// Names and settings of autoencoders, without seeds, for so many activations at so many places of width `d`.
    pub fn settings(&self, [d, places]: [usize; 2], rows: usize) -> Done<Vec<(String, Config)>> {
        let batch = self.batch.unwrap_or(self.usual_batch()).min(rows);
        let steps = self.steps.unwrap_or((rows.saturating_mul(5) / batch.max(1)).max(1));
        let usual = if self.crosscoder { places } else { 1 };
        let mut all = Vec::new();
        for path in &self.config {
            let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
            let mut given: Value =
                serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
            let Value::Object(fields) = &mut given else {
                return Err(format!("{}: is no object", path.display()).into());
            };
            let sides = fields.entry("sides").or_insert(usual.into()).as_u64();
            // Other than numbers are refused with the rest.
            let width = sides.and_then(|sides| usize::try_from(sides).ok()).map_or(d, |sides| d.saturating_mul(sides));
            for (name, value) in
                [("d", width), ("latents", self.latents), ("k", self.k), ("steps", steps), ("batch", batch)]
            {
                fields.entry(name).or_insert(value.into());
            }
            if let Some(rate) = self.rate {
                fields.entry("rate").or_insert(rate.into());
            }
            let config =
                Config::from_json(&given.to_string()).map_err(|error| format!("{}: {error}", path.display()))?;
            if config.d != width || config.batch != batch {
                let what = format!("d {} and batch {}, expected {width} and {batch}", config.d, config.batch);
                return Err(format!("{}: {what}, which all have in common", path.display()).into());
            }
            if config.sides > 1 && config.sides != places {
                let what = format!("{} sides, but --layer or --site name {places} places", config.sides);
                return Err(format!("{}: {what}", path.display()).into());
            }
            let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
            all.push((stem, config));
        }
        if all.is_empty() {
            let mut config = Config {
                variant: self.variant(steps)?,
                batch,
                sides: usual,
                ..Config::new(d * usual, self.latents, self.k, steps)
            };
            config.rate = self.rate.unwrap_or(config.rate);
            if !config.variant.counts() {
                config.revive = None; // as where settings are read from a file
                config.bias = self.begun();
            }
            config.check()?;
            all.push((self.variant.clone(), config));
        }
        all.iter().try_for_each(|(_, config)| self.layout(config).map(drop))?;
        Ok(all)
    }

    /// What biases of latents with a penalty begin with: few of them are active then. From 0 half of all are, and some thousand steps do not
    /// bring that down; thresholds of JumpReLU move even less.
    fn begun(&self) -> f32 {
        if self.variant == "jumprelu" { -1.2 } else { -2.0 }
    }

    fn usual_batch(&self) -> usize {
        const USUAL: usize = 1024;
        let context = self.reading.context.saturating_sub(Contexts::SKIPPED).max(1);
        if self.through > 0 { (USUAL / context).max(1) * context } else { USUAL }
    }

    fn variant(&self, steps: usize) -> Done<Variant> {
        let sparsity =
            |usual: Sparsity| Sparsity { weight: self.weight.unwrap_or(usual.weight), warm: steps / 10, ..usual };
        if self.weight.is_some() && matches!(&*self.variant, "topk" | "batchtopk" | "groupmax") {
            return Err(format!("--weight: {} has no penalty", self.variant).into());
        }
        Ok(match &*self.variant {
            "batchtopk" => Variant::BatchTopK,
            "groupmax" => Variant::GroupMax,
            "relu" => Variant::ReLU(sparsity(Sparsity::default())),
            "jumprelu" => {
                // With SAELens' thresholds, which a hundred thousand steps have time to move, a run of some thousand stays dense.
                let usual = Jump { width: 0.5, start: 0.5, ..Jump::default() };
                Variant::JumpReLU(Jump { sparsity: sparsity(usual.sparsity), ..usual })
            }
            "gated" => {
                let usual = Gated::default();
                Variant::Gated(Gated { sparsity: sparsity(usual.sparsity), ..usual })
            }
            _ => Variant::TopK,
        })
    }

    /// The layout that what comes out is written in: better known before training than after it.
    pub fn layout(&self, config: &Config) -> Done<Layout> {
        let counts = matches!(config.variant, Variant::TopK | Variant::GroupMax);
        let transcodes = config.transcode.is_some();
        // What SAELens' has no place for.
        let only = config.variant == Variant::GroupMax || (transcodes && config.variant == Variant::TopK);
        match self.format.unwrap_or(if only { Layout::Sparsify } else { Layout::Saelens }) {
            Layout::Saelens if config.variant == Variant::GroupMax => {
                Err("--format: SAELens' layout has no place for groups of latents, sparsify's has".into())
            }
            Layout::Saelens if transcodes && !matches!(config.variant, Variant::ReLU(_) | Variant::JumpReLU(_)) => {
                Err("--format: SAELens' layout has transcoders by a rectifier or thresholds only, sparsify's by topk"
                    .into())
            }
            Layout::Sparsify if !counts || config.normalise.scales_rows() => {
                Err("--format: sparsify's layout has a place for topk and groupmax only, of rows as they are".into())
            }
            layout => Ok(layout),
        }
    }
}
