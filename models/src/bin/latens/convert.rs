use crate::common::{Done, Layout};
use clap::Args;
use latens::Device;
use latens::sae::{Origin, Sae};
use std::path::PathBuf;

#[derive(Args)]
pub struct Options {
    /// Checkpoint: a folder of SAELens, sparsify, dictionary_learning, Gemma Scope or Llama Scope, or OpenAI's .pt file
    from: PathBuf,
    /// Folder to write to
    to: PathBuf,
    /// Whose layout to write
    #[arg(long, value_enum, default_value = "saelens")]
    format: Layout,
    /// Name of the language model, for the checkpoint to say [default: what it said]
    #[arg(long)]
    model: Option<String>,
    /// Place in it, in TransformerLens' words [default: what it said]
    #[arg(long)]
    hook: Option<String>,
}

pub fn run(options: &Options) -> Done {
    let sae = Sae::load(&options.from, &Device::Host)?;
    let said = Origin::of(&options.from)?;
    let origin = Origin {
        model: options.model.clone().unwrap_or(said.model),
        hook: options.hook.clone().unwrap_or(said.hook),
        ..said
    };
    sae.save(&options.to, options.format.format(), &origin)?;
    println!("{} latents of width {} are in {}", sae.latents(), sae.d(), options.to.display());
    Ok(())
}
