//! `compare lm_grad`: the gradients of SmolLM2's surprise at a text, beside PyTorch's autograd: agreement, time and memory.
use crate::lm::weights;
use crate::peer::{Exchange, Peer};
use crate::report::Row;
use crate::{Result, disagreement, normal};
use latens::assets::{SMOLLM2, SPEECHES};
use latens::io::gguf::Gguf;
use latens::lm::{LanguageModel, Part, Recording, Site};
use latens::tape::{Tape, Var};
use latens::{Device, IGNORED, Tensor};
use serde_json::json;
use std::path::Path;

/// Tokens of the text, and rows that are put in front of it.
const TOKENS: usize = 256;
const PREFIX: usize = 8;
/// The layer after which the residual's gradient is looked at.
const LAYER: usize = 15;
/// How far, relative to its length, a gradient may be from that of double precision.
const LIMIT: f64 = 1e-4;

/// All rows, each given to `show` when it is there.
pub fn compare(torch: &Path, model: Option<&Path>, show: &mut dyn FnMut(Row)) -> Result<()> {
    let path = SMOLLM2.locate(model)?;
    let (lm, dir) = (LanguageModel::open(&path, &Device::Host)?, Exchange::new()?);
    let text = std::fs::read_to_string(SPEECHES.locate(None)?.join("1981-Carter-1.txt"))?;
    let ids = lm.tokenizer.encode(&text)?;
    let ids = ids.get(..TOKENS).ok_or("the text is too short")?;
    weights(&Gguf::open(&path)?, lm.model.config(), &dir)?;
    dir.put_ids("ids", ids)?;
    let dim = lm.model.config().dim;
    let prefix: Vec<f32> = normal(PREFIX * dim, 5).into_iter().map(|x| 0.1 * x).collect();
    dir.put("prefix", &prefix)?;
    let prefix = Tensor::from_vec(prefix, [PREFIX, dim], &Device::Host)?;
    let ids = lm.model.ids(ids.to_vec(), 1)?;

    let (mut ours, mut held) = (Vec::new(), 0.0);
    let peak = peak(|| {
        let (tape, losses, seen) = step(&lm, &ids)?;
        held = tape.bytes() as f64 / 1e6;
        let mean = losses.to_vec()?.iter().sum::<f32>() / (TOKENS - 1) as f32;
        let weight = |part: Part| -> Result<Vec<f32>> { Ok(tape.weights()[&part.number()].to_vec()?) };
        ours.push(("loss", vec![mean]));
        ours.push(("residual", tape.gradient(seen).ok_or("no gradient at the tap")?.to_vec()?));
        ours.push(("o", weight(Part::AttentionOutput(0))?));
        ours.push(("norm", weight(Part::Norm)?));
        ours.push(("embed", weight(Part::Embedding)?));
        Ok(())
    })?;
    ours.push(("prefix", before_a_text(&lm, prefix, &ids)?));

    let mut torch = Peer::torch(torch)?;
    let dims = json!({"tokens": TOKENS, "layer": LAYER, "prefix": PREFIX});
    torch.setup("lm_grad", dir.path(), &dims, "f32")?;
    println!("off from gradients in double precision, of their length: latens, PyTorch");
    for (name, ours) in ours {
        let exact = dir.get(name, "torch")?;
        let [ours, theirs] =
            [&ours, &dir.get(&format!("{name}.single"), "torch")?].map(|x| disagreement(x, &exact).sqrt());
        println!("  {name:<10} {ours:.1e}  {theirs:.1e}");
        if ours > LIMIT {
            return Err(format!("lm_grad of {name} is off by {ours:e}").into());
        }
    }
    let peer = torch.name.clone();
    let row = |name, shape, [ours_ms, peer_ms]: [f64; 2], bar| Row {
        name,
        shape,
        dtype: "f32",
        device: "cpu".into(),
        ours_ms,
        peer: peer.clone(),
        peer_ms,
        bar: Some(bar),
        rate: None,
    };
    let memory = dir.get("memory", "torch")?;
    show(row("lm_grad_memory", format!("{TOKENS} tokens, MB for ms"), [peak, memory[0].into()], 1.25));
    latens::keep_memory(1 << 30); // as a loop of training would
    let times = torch.race(|| step(&lm, &ids).map(drop))?;
    let rate = Some(("tokens/s", TOKENS as f64 / times.0 * 1e3));
    show(Row { rate, ..row("lm_grad", format!("{TOKENS} tokens"), times.into(), 1.3) });
    Ok(())
}

/// One pass there and back: all gradients of weights, and that of a residual.
fn step<'m>(lm: &'m LanguageModel, ids: &Tensor<u32, 2>) -> Result<(Tape<'m, f32>, Tensor<f32, 2>, Var)> {
    let (mut tape, mut seen) = (Tape::new(lm.model.device()), None);
    let watch = |tape: &mut Tape<'_, f32>, x: Var| {
        tape.watch(x);
        seen = Some(x);
        Ok(x)
    };
    let mut recording = Recording::new().train(|_| true).at(Site::residual(LAYER), watch);
    let x = lm.model.record_embedding(&mut tape, ids, &recording)?;
    let x = lm.model.record_layers(&mut tape, x, 1, &mut recording)?;
    let losses = lm.model.record_losses(&mut tape, x, ids, &recording)?;
    tape.backward()?;
    drop(recording);
    Ok((tape, losses, seen.ok_or("no tap was called")?))
}

/// The gradient of rows that stand before a text.
fn before_a_text(lm: &LanguageModel, prefix: Tensor<f32, 2>, ids: &Tensor<u32, 2>) -> Result<Vec<f32>> {
    let (mut tape, mut recording) = (Tape::new(lm.model.device()), Recording::new());
    let before = tape.leaf(prefix, true);
    let text = lm.model.record_embedding(&mut tape, ids, &recording)?;
    let x = tape.join(before, text, 1)?;
    let x = lm.model.record_layers(&mut tape, x, 1, &mut recording)?;
    let ids = ids.to_vec()?;
    let targets = [vec![IGNORED; PREFIX], ids[1..].to_vec(), vec![IGNORED]].concat();
    let targets = Tensor::from_vec(targets, [1, PREFIX + TOKENS], lm.model.device())?;
    lm.model.record_targets(&mut tape, x, &targets, &recording)?;
    tape.backward()?;
    Ok(tape.gradient(before).ok_or("no gradient of the prefix")?.to_vec()?)
}

/// Megabytes that a call takes at most, over what was there before it; Linux.
fn peak(of: impl FnOnce() -> Result<()>) -> Result<f64> {
    let status = |name: &str| -> Result<f64> {
        let status = std::fs::read_to_string("/proc/self/status")?;
        let line =
            status.lines().find_map(|line| line.strip_prefix(name)).ok_or("no such line in /proc/self/status")?;
        Ok(line.split_whitespace().next().ok_or("an empty line")?.parse::<f64>()? * 1024.0 / 1e6)
    };
    std::fs::write("/proc/self/clear_refs", "5")?;
    let before = status("VmRSS:")?;
    of()?;
    Ok(status("VmHWM:")? - before)
}
