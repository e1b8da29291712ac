//! `compare lm`: SmolLM2 prefill and decoding beside candle (the same GGUF file, quantised) and PyTorch (the same weights, f32).
use crate::peer::{Exchange, Peer};
use crate::report::Row;
use crate::{Result, disagreement};
use latens::assets::{SMOLLM2, SPEECHES};
use latens::io::gguf::Gguf;
use latens::lm::{Cache, Config, Hooks, LanguageModel, Positions, Sampler, Sampling};
use latens_core::{Device, Pairing};
use serde_json::{Map, Value, json};
use std::path::Path;

const PREFILL: usize = 512;
const PROMPT: usize = 32;
const DECODE: usize = 32;

/// All rows, each given to `show` when it is there. Without `torch` only candle's.
pub fn compare(torch: Option<&Path>, model: Option<&Path>, show: &mut dyn FnMut(Row)) -> Result<()> {
    let path = SMOLLM2.locate(model)?;
    let lm = LanguageModel::open(&path, &Device::Host)?;
    let text = std::fs::read_to_string(SPEECHES.locate(None)?.join("1981-Carter-1.txt"))?;
    let ids = lm.tokenizer.encode(&text)?;
    let dir = Exchange::new()?;
    std::fs::write(dir.path().join("model.txt"), path.to_str().ok_or("the model's path is not text")?)?;

    let mut candle = Peer::candle()?;
    prefill(&lm, &ids, &dir, &mut candle, ("candle", Some(1.5), 1e-2), show)?;
    decode(&lm, &ids, &dir, &mut candle, "candle", show)?;
    drop(candle);
    if let Some(env) = torch {
        weights(&Gguf::open(&path)?, lm.model.config(), &dir)?;
        let mut torch = Peer::torch(env)?;
        prefill(&lm, &ids, &dir, &mut torch, ("torch", None, 1e-6), show)?;
        decode(&lm, &ids, &dir, &mut torch, "torch", show)?;
    }
    Ok(())
}

fn row(name: &'static str, peer: &Peer, [ours_ms, peer_ms]: [f64; 2], bar: Option<f64>, tokens: usize) -> Row {
    let rate = Some(("tokens/s", tokens as f64 / ours_ms * 1e3));
    let (shape, peer) = (format!("{tokens} tokens"), peer.name.clone());
    Row { name, shape, dtype: "f32", device: "cpu".into(), ours_ms, peer, peer_ms, bar, rate }
}

/// All layers over a prompt, and the logits of the token after it.
fn prefill(
    lm: &LanguageModel,
    ids: &[u32],
    dir: &Exchange,
    peer: &mut Peer,
    (who, bar, limit): (&str, Option<f64>, f64),
    show: &mut dyn FnMut(Row),
) -> Result<()> {
    let ids = ids.get(..PREFILL).ok_or("the text is too short")?;
    dir.put_ids("ids", ids)?;
    peer.setup("lm_prefill", dir.path(), &json!({"tokens": PREFILL}), "f32")?;
    let ids = lm.model.ids(ids.to_vec(), 1)?;
    let logits = lm.model.next_logits(&ids, &mut Hooks::new())?.to_vec()?;
    // candle rounds activations to 8 bits before each product, so it agrees less.
    let worst = disagreement(&logits, &dir.get("logits", who)?);
    if worst > limit {
        return Err(format!("lm_prefill disagrees with {who} by {worst:e}").into());
    }
    let times = peer.race(|| Ok(lm.model.next_logits(&ids, &mut Hooks::new()).map(drop)?))?;
    show(row("lm_prefill", peer, times.into(), bar, PREFILL));
    Ok(())
}

/// Greedy decoding after a short prompt, one token at a time.
fn decode(
    lm: &LanguageModel,
    ids: &[u32],
    dir: &Exchange,
    peer: &mut Peer,
    who: &str,
    show: &mut dyn FnMut(Row),
) -> Result<()> {
    let prompt = &ids[..PROMPT];
    dir.put_ids("ids", prompt)?;
    peer.setup("lm_decode", dir.path(), &json!({"prompt": PROMPT, "tokens": DECODE}), "f32")?;
    let greedy = Sampling { tokens: DECODE, temperature: 0.0, ..Sampling::default() };
    let mut cache = Cache::new(&lm.model, 1, PROMPT + DECODE + 1)?;
    let mut sampler = Sampler::new(&greedy)?;
    let first = sampler.choose(&lm.model.extend(prompt.to_vec(), &mut cache, &mut Hooks::new())?)?;
    let mut out = Vec::new();
    let mut generate = || -> Result<()> {
        cache.truncate(PROMPT);
        out = vec![first];
        while out.len() <= DECODE {
            let next = out[out.len() - 1..].to_vec();
            out.push(sampler.choose(&lm.model.extend(next, &mut cache, &mut Hooks::new())?)?);
        }
        Ok(())
    };
    generate()?;
    let times = peer.race(&mut generate)?;
    let theirs = dir.get("generated", who)?;
    let same = out.iter().zip(&theirs).take_while(|(a, b)| **a as f32 == **b).count();
    // PyTorch has our weights exactly; candle's rounding may choose another word after a while.
    if (who == "torch" && same < out.len()) || same == 0 {
        return Err(format!("lm_decode: only {same} of {} tokens are {who}'s", out.len()).into());
    }
    show(row("lm_decode", peer, times.into(), None, DECODE));
    Ok(())
}

/// Write the weights as PyTorch's side reads them.
pub(crate) fn weights(file: &Gguf, config: &Config, dir: &Exchange) -> Result<()> {
    let mut tensors = Map::new();
    for (name, entry) in file.tensors() {
        let short = match name.as_str() {
            "token_embd.weight" => "embed".into(),
            "output_norm.weight" => "norm".into(),
            "output.weight" => "head".into(),
            name => name.trim_start_matches("blk.").trim_end_matches(".weight").replace("attn_output", "o"),
        };
        let short =
            short.replace("attn_q", "q").replace("attn_k", "k").replace("attn_v", "v").replace("ffn_gate", "gate");
        let short = short.replace("ffn_up", "up").replace("ffn_down", "down");
        dir.put(&short, &file.read(name, &entry.dims)?)?;
        tensors.insert(short, json!(entry.dims));
    }
    let Positions::Rotary(rotary) = config.positions else { return Err("this model does not turn its heads".into()) };
    let shape: Value = json!({
        "layers": config.layers, "heads": config.heads, "kv_heads": config.kv_heads, "eps": config.epsilon,
        "rope_base": rotary.base, "interleaved": rotary.pairing == Pairing::Interleaved, "tensors": tensors,
    });
    std::fs::write(dir.path().join("llama.json"), shape.to_string())?;
    Ok(())
}
