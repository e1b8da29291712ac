//! candle's quantised Llama behind the protocol of `torch_peer.py`: the same GGUF file, run from its quantised blocks.
use candle_core::{Device, Result, Tensor, quantized::gguf_file::Content};
use candle_transformers::models::quantized_llama::ModelWeights;
use serde_json::{Value, json};
use std::{fs, io::BufRead, time::Instant};

struct Case {
    model: ModelWeights,
    ids: Vec<u32>,
    decode: usize,
}

impl Case {
    fn setup(ask: &Value) -> Result<Self> {
        let dir = ask["dir"].as_str().unwrap_or_default();
        let path = fs::read_to_string(format!("{dir}/model.txt"))?;
        let mut file = fs::File::open(&path)?;
        let model = ModelWeights::from_gguf(Content::read(&mut file)?, &mut file, &Device::Cpu)?;
        let ids = fs::read(format!("{dir}/ids.bin"))?.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        let decode = if ask["setup"] == "lm_decode" { ask["dims"]["tokens"].as_u64().unwrap_or(0) as usize } else { 0 };
        let mut case = Self { model, ids, decode };
        let (logits, out, _) = case.run()?;
        let bytes: Vec<u8> = logits.iter().flat_map(|x| x.to_le_bytes()).collect();
        fs::write(format!("{dir}/logits.candle.bin"), bytes)?;
        let bytes: Vec<u8> = out.iter().flat_map(|&x| (x as f32).to_le_bytes()).collect();
        fs::write(format!("{dir}/generated.candle.bin"), bytes)?;
        Ok(case)
    }

    /// Last logits of the prompt, the tokens generated greedily after it, and the seconds of what is measured.
    fn run(&mut self) -> Result<(Vec<f32>, Vec<u32>, f64)> {
        let mut started = Instant::now();
        let mut forward = |ids: &[u32], at: usize| {
            let x = Tensor::new(ids, &Device::Cpu)?.unsqueeze(0)?;
            self.model.forward(&x, at)?.squeeze(0)?.to_vec1::<f32>()
        };
        let first = forward(&self.ids, 0)?;
        let mut out = vec![largest(&first)];
        if self.decode > 0 {
            started = Instant::now();
        }
        while out.len() <= self.decode {
            let logits = forward(&out[out.len() - 1..], self.ids.len() + out.len() - 1)?;
            out.push(largest(&logits));
        }
        Ok((first, out, started.elapsed().as_secs_f64()))
    }
}

fn largest(logits: &[f32]) -> u32 {
    (0..logits.len()).max_by(|&a, &b| logits[a].total_cmp(&logits[b])).unwrap_or(0) as u32
}

fn main() -> Result<()> {
    println!("{}", json!({"peer": "candle 0.11 quantized_llama"}));
    let mut case = None;
    for line in std::io::stdin().lock().lines() {
        let ask: Value = serde_json::from_str(&line?).map_err(candle_core::Error::wrap)?;
        if ask.get("setup").is_some() {
            case = Some(Case::setup(&ask)?);
            println!("{}", json!({}));
        } else if let Some(case) = &mut case {
            let repeats = ask["time"].as_u64().unwrap_or(1);
            let mut total = 0.0;
            for _ in 0..repeats {
                total += case.run()?.2;
            }
            println!("{}", json!({"ms": 1e3 * total / repeats as f64}));
        }
    }
    Ok(())
}
