//! Ours and a peer in turn on this machine: verified first, then medians and ratios.
//!
//! `compare sae --torch DIR/env --json OUT` or `compare lm ...`; `DIR/env` is a shell file that puts a Python with PyTorch on the path;
//! `compare hyper` and `compare entropy` need numpy and scipy there (`pip install scipy`).
use clap::Parser;
use latens_benches::{
    Result, conv1d, entropy, hyper, lm, lm_grad, loss, lowrank, models, quant, report::Row, sae, scan, sparsify,
};
use std::path::PathBuf;

#[derive(Parser)]
#[command(about = "Compare latens with PyTorch and candle on this machine")]
struct Options {
    /// What to compare.
    #[arg(value_parser = ["sae", "scan", "conv1d", "hyper", "entropy", "quant", "sparsify", "lowrank", "models", "lm", "lm_grad", "all"])]
    what: String,
    /// Shell file that puts a Python with PyTorch on the path.
    #[arg(long)]
    torch: Option<PathBuf>,
    /// Where to write the rows.
    #[arg(long)]
    json: Option<PathBuf>,
    /// GGUF file of the language model; by default the pinned SmolLM2-135M.
    #[arg(long)]
    model: Option<PathBuf>,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let mut rows = Vec::new();
    println!("{}", Row::HEADING);
    let mut show = |row: Row| {
        println!("{row}");
        rows.push(row);
    };
    let asked = |what| options.what == what || options.what == "all";
    let torch = || options.torch.as_deref().ok_or("compare needs --torch FILE for this");
    if asked("sae") {
        sae::compare(torch()?, &mut show)?;
    }
    if asked("scan") {
        scan::compare(torch()?, &mut show)?;
    }
    if asked("conv1d") {
        conv1d::compare(torch()?, &mut show)?;
    }
    if asked("hyper") {
        hyper::compare(torch()?, &mut show)?;
    }
    if asked("entropy") {
        entropy::compare(torch()?, &mut show)?;
    }
    if asked("quant") {
        quant::compare(torch()?, &mut show)?;
    }
    if asked("sparsify") {
        sparsify::compare(torch()?, &mut show)?;
    }
    if asked("lowrank") {
        lowrank::compare(torch()?, &mut show)?;
    }
    if asked("models") {
        models::compare(torch()?, &mut show)?;
        loss::compare(torch()?, &mut show)?;
    }
    if asked("lm_grad") {
        lm_grad::compare(torch()?, options.model.as_deref(), &mut show)?;
    }
    if asked("lm") {
        lm::compare(options.torch.as_deref(), options.model.as_deref(), &mut show)?;
    }
    if let Some(path) = options.json {
        let text = serde_json::to_string_pretty(&rows.iter().map(Row::json).collect::<Vec<_>>())?;
        std::fs::write(path, text)?;
    }
    let missed = rows.iter().filter(|row| !row.ok()).count();
    println!("{} rows, {missed} below their bar", rows.len());
    Ok(())
}
