//! One run.
use crate::judge::{self, Judged};
use crate::variants::{Reads, Run};
use crate::{CONTEXT, Zoo, progress};
use latens::io;
use latens::sae::{Config, Contexts, EndToEnd, Format, Loss, Origin, Sae, Source, Stream, Trainer, side_by_side};
use serde_json::{Value, json};
use std::error::Error;
use std::path::Path;
use std::time::Instant;

/// Activations in memory at once.
const ROOM: usize = 1024 * (CONTEXT - Contexts::SKIPPED);
/// Activations that training begins with.
const SAMPLE: usize = 8192;
/// Of a run that is not done: its last state, and the seconds that went into it.
const STATE: &str = "state.safetensors";
const CLOCK: &str = "seconds.json";

impl Zoo<'_> {
    /// The settings of a run, and what it is trained on.
    pub fn config(&self, run: &Run, key: &str) -> Config {
        Config { data: format!("{}; {key}", self.shards.data()), ..run.config.clone() }
    }

    /// One run, from the start or from its last state.
    pub fn one(&self, run: &Run, place: usize, key: &str, folder: &Path) -> Result<Value, Box<dyn Error>> {
        std::fs::create_dir_all(folder)?;
        forget_peak();
        let (config, reads) = (self.config(run, key), self.reads(run.reads, place));
        let (trainer, seconds) = self.train(run, place, key, folder)?;
        let course = trainer.course().to_vec();
        let sae = trainer.finish()?;
        let held: Vec<_> = reads.iter().map(|&site| &self.held[site]).collect();
        let judged = Judged::of(self.lm, &sae, run.reads, &held)?;
        let each = judged
            .each
            .iter()
            .map(|(place, fvu, recovered)| json!({"place": place, "fvu": fvu, "ce_recovered": recovered}));
        let mut figures = json!({
            "key": key, "kind": run.kind, "name": run.name, "place": judge::place(run.reads, &self.sites[reads[0]]),
            "fvu": judged.fvu, "l0": judged.l0, "dead": judged.dead, "ce_recovered": judged.recovered,
            "steps_per_s": seconds.map(|all| config.steps as f64 / all.max(1e-9)), "seconds": seconds, "steps": config.steps,
            "peak_rss_mb": peak(), "last": course.last().map(|last| json!({"fvu": last.fvu, "l0": last.l0})),
        });
        if !judged.each.is_empty() {
            figures["each"] = each.collect();
        }
        self.keep(run, &sae, folder, &reads)?;
        io::replace(&folder.join("settings.json"), format!("{:#}\n", json!(config)).as_bytes())?;
        io::replace(&folder.join("figures.json"), format!("{figures:#}\n").as_bytes())?;
        [STATE, CLOCK].into_iter().for_each(|done| _ = std::fs::remove_file(folder.join(done)));
        Ok(figures)
    }

    /// All steps that are left, and the seconds of all, where they are known.
    fn train(
        &self,
        run: &Run,
        place: usize,
        key: &str,
        folder: &Path,
    ) -> Result<(Trainer, Option<f64>), Box<dyn Error>> {
        const SAVE: usize = 200;
        let (state, clock, config) = (folder.join(STATE), folder.join(CLOCK), self.config(run, key));
        let mut trainer = match state.is_file() {
            true => Trainer::resume(&state, &config, &self.device)?,
            false => self.begin(run, place, config.clone())?,
        };
        let at = trainer.steps();
        let source = Source::Shards(&self.shards, self.reads(run.reads, place));
        let mut stream = Stream::new(source, ROOM, config.batch, config.seed, at as u64, &self.device)?;
        let bar = progress("training", config.steps).with_message(key.to_owned()).with_position(at as u64);
        let mut noted = spent(&clock);
        let mut seconds = if at == 0 { Some(0.0) } else { noted[at.to_string()].as_f64() };
        while trainer.steps() < config.steps {
            stream.prepare(|_| {})?;
            let begun = Instant::now();
            // A step that takes as long as many others, and is looked at and kept as they are.
            let through = run.reads == Reads::Through && trainer.steps() >= self.steps;
            if through {
                self.step_through(&mut trainer, self.options.layers[place])?;
            } else {
                let parts = stream.batch()?;
                match run.reads {
                    Reads::Residual | Reads::Through => trainer.step(parts[0])?,
                    Reads::Mlp => trainer.step_to(parts[0], parts[1])?,
                    Reads::All => trainer.step(side_by_side(&parts)?.view())?,
                }
            }
            seconds = seconds.map(|all| all + begun.elapsed().as_secs_f64());
            if through || trainer.steps() % 20 == 0 {
                let now = trainer.mark()?;
                bar.set_position(now.step as u64);
                bar.set_message(format!("{key}: FVU {:.3}, L0 {:.1}", now.fvu, now.l0));
            }
            if (through || trainer.steps() % SAVE == 0) && trainer.steps() < config.steps {
                // Before the state: whichever of the two is the last there, its seconds are.
                noted[trainer.steps().to_string()] = json!(seconds);
                io::replace(&clock, noted.to_string().as_bytes())?;
                trainer.save_state(&state)?;
            }
        }
        bar.finish();
        Ok((trainer, seconds))
    }

    /// A step on the next whole contexts, and on what the model predicts.
    fn step_through(&self, trainer: &mut Trainer, layer: usize) -> Result<(), Box<dyn Error>> {
        let count = (self.options.batch / (CONTEXT - Contexts::SKIPPED)).max(1);
        let contexts = self.train.turn(trainer.steps() - self.steps, count);
        Ok(EndToEnd::new(&self.lm.model, layer, &contexts)?.step(trainer, Loss::Divergence)?)
    }

    /// Write a checkpoint in the layout that has a place for it.
    fn keep(&self, run: &Run, sae: &Sae, folder: &Path, reads: &[usize]) -> Result<(), Box<dyn Error>> {
        let begin = self.lm.tokenizer.begin().is_some();
        // Of a crosscoder all places, whose rows lie side by side.
        let hook = match run.reads {
            Reads::All => reads.iter().map(|&site| &*self.shards.sites()[site]).collect::<Vec<_>>().join(", "),
            _ => self.shards.sites()[reads[0]].clone(),
        };
        let predicted = if run.reads == Reads::Mlp { self.shards.sites()[reads[1]].clone() } else { String::new() };
        let origin = Origin { model: self.model.clone(), hook, predicted, context: CONTEXT, begin };
        let format = match (run.reads, run.kind) {
            (Reads::Mlp, _) | (_, "groupmax") => Format::Sparsify,
            _ => Format::SaeLens,
        };
        Ok(sae.save(&folder.join("sae"), format, &origin)?)
    }

    /// The places whose rows a run reads: of a transcoder also what it predicts.
    fn reads(&self, reads: Reads, place: usize) -> Vec<usize> {
        let layers = self.options.layers.len();
        match reads {
            Reads::Residual | Reads::Through => vec![place],
            Reads::Mlp => vec![layers + 2 * place, layers + 2 * place + 1],
            Reads::All => (0..layers).collect(),
        }
    }

    fn begin(&self, run: &Run, place: usize, config: Config) -> Result<Trainer, Box<dyn Error>> {
        let rows = self.shards.rows().min(SAMPLE);
        let samples = self
            .reads(run.reads, place)
            .iter()
            .map(|&site| self.shards.first(site, rows))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(match run.reads {
            Reads::Residual | Reads::Through => Trainer::new(config, &samples[0], &self.device)?,
            Reads::Mlp => Trainer::transcoder(config, &samples[0], &samples[1], &self.device)?,
            Reads::All => {
                let (d, mut all) = (self.shards.d(), Vec::new());
                (0..rows).for_each(|row| samples.iter().for_each(|of| all.extend_from_slice(&of[row * d..][..d])));
                Trainer::new(config, &all, &self.device)?
            }
        })
    }
}

/// The seconds that it took to each step that was kept.
fn spent(clock: &Path) -> Value {
    let noted = std::fs::read(clock).ok().and_then(|text| serde_json::from_slice(&text).ok());
    noted.filter(Value::is_object).unwrap_or_else(|| json!({}))
}

/// Begin to count the most memory anew, where the system can.
fn forget_peak() {
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// The most memory since then, where the system tells.
fn peak() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse::<f64>().ok().map(|kilobytes| kilobytes / 1024.0)
}
