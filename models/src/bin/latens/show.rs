use crate::common::{Done, device};
use clap::Args;
use latens::lm::LanguageModel;
use latens::sae::{Gate, Origin, Own, Rows, Sae};
use latens::{Device, Tensor, assets};
use std::path::PathBuf;

#[derive(Args)]
pub struct Options {
    /// Checkpoint of any layout that can be read
    checkpoint: PathBuf,
    /// A latent to look at: the tokens that its direction promotes
    #[arg(long)]
    latent: Option<usize>,
    /// The language model whose tokens these are [default: SmolLM2-135M-Instruct in 4 bits, fetched once]
    #[arg(long)]
    model: Option<PathBuf>,
    /// Tokens to show
    #[arg(long, default_value_t = 10)]
    tokens: usize,
    /// cpu or cuda [default: a GPU if there is one]
    #[arg(long, value_parser = ["cpu", "cuda"])]
    device: Option<String>,
}

pub fn run(options: &Options) -> Done {
    let device = device(options.device.as_deref())?;
    let sae = Sae::load(&options.checkpoint, &device)?;
    match options.latent {
        None => describe(&sae, &Origin::of(&options.checkpoint)?),
        Some(latent) => promoted(options, &sae, latent, &device),
    }
}

fn describe(sae: &Sae, origin: &Origin) -> Done {
    for (name, text) in [("model", &origin.model), ("reads", &origin.hook), ("predicts", &origin.predicted)] {
        if !text.is_empty() {
            println!("{name:<10} {text}");
        }
    }
    if sae.predicts && origin.predicted.is_empty() {
        println!("predicts   another place, which is not named");
    }
    if let Some(router) = &sae.router {
        println!("experts    {}", router.experts());
    }

    let gate = match sae.gate {
        Gate::Strongest(k) => format!("the {k} strongest of a row"),
        Gate::Groups(k) => format!("the strongest of each of {k} groups"),
        Gate::Above { threshold, .. } => format!("all above {threshold}"),
    };
    let own = match &sae.own {
        None => "the rectifier".into(),
        Some(Own::Thresholds(thresholds)) => format!("thresholds of their own, {}", range(&thresholds.to_vec()?)),
        Some(Own::Magnitudes { .. }) => "a gate, and magnitudes of their own".into(),
    };
    let rows = match sae.rows {
        Rows::AsTheyAre => "as they are",
        Rows::Standard => "without their mean, over their deviation",
        Rows::Length => "scaled to the root of their width",
    };
    println!("latents    {}", sae.latents());
    println!("width      {}", sae.d());
    println!("active     {gate}");
    println!("values by  {own}");
    println!("input      {rows}{}", if sae.centred { ", less b_dec" } else { "" });
    println!("skip       {}", if sae.skip.is_some() { "a matrix beside the latents" } else { "none" });
    for (name, weights) in [("encoder", &sae.w_enc), ("decoder", &sae.w_dec)] {
        let lengths: Vec<f32> = weights
            .to_vec()?
            .chunks_exact(sae.d().max(1))
            .map(|row| row.iter().map(|w| w * w).sum::<f32>().sqrt())
            .collect();
        println!("{name}    lengths of rows {}", range(&lengths));
    }
    println!("b_enc      {}", range(&sae.b_enc.to_vec()?));
    println!("b_dec      {}", range(&sae.b_dec.to_vec()?));
    Ok(())
}

fn range(of: &[f32]) -> String {
    let (least, most) = of.iter().fold((f32::MAX, f32::MIN), |(least, most), &x| (least.min(x), most.max(x)));
    format!("from {least:.4} to {most:.4}, {:.4} on average", of.iter().sum::<f32>() / of.len().max(1) as f32)
}

/// The tokens whose logits a latent's direction raises and lowers most.
fn promoted(options: &Options, sae: &Sae, latent: usize, device: &Device) -> Done {
    let model = assets::SMOLLM2.locate(options.model.as_deref())?;
    let lm = LanguageModel::open(&model, device)?;
    let (d, width) = (sae.d(), lm.model.config().dim);
    if d != width {
        return Err(format!("--latent: the checkpoint is of width {d}, the model of {width}").into());
    }
    let direction = Tensor::from_vec(sae.direction(latent)?, [1, d], device)?;
    let logits = lm.model.unembed(&direction)?.to_vec()?;
    let mut order: Vec<u32> = (0..logits.len() as u32).collect();
    order.sort_by(|&a, &b| logits[b as usize].total_cmp(&logits[a as usize]));
    let show = |what: &str, tokens: &mut dyn Iterator<Item = &u32>| -> Done {
        println!("{what}");
        for &token in tokens.take(options.tokens) {
            println!("  {:>9.4}  {:?}", logits[token as usize], lm.tokenizer.text(token));
        }
        Ok(())
    };
    show("promotes", &mut order.iter())?;
    show("suppresses", &mut order.iter().rev())
}
