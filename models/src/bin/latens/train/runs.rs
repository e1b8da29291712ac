//! Autoencoders in training.
use super::places::{Reads, Wanted};
use super::{Options, SAMPLE};
use crate::common::{Done, Opened, name, progress};
use indicatif::ProgressBar;
use latens::View;
use latens::io::{self, Scalars};
use latens::lm::{Decoder, Site};
use latens::sae::{Config, Contexts, EndToEnd, Loss, Origin, Progress, Source, Trainer, hook_name, side_by_side};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::SystemTime;

/// An autoencoder in training, and where it goes.
pub struct Run {
    reads: Reads,
    folder: PathBuf,
    pub trainer: Trainer,
    scalars: Scalars,
    bar: ProgressBar,
}

/// Every autoencoder, from the start or from its state.
pub fn begin(options: &Options, wanted: &Wanted, data: &str, source: &Source<'_>, opened: &Opened) -> Done<Vec<Run>> {
    let (mut samples, mut runs) = (None, Vec::new());
    for (reads, stem, config) in &wanted.runs {
        let hooks = hooks(&reads.from, &wanted.sites)?;
        let what = match reads.to {
            None => hooks.join(", "),
            Some(to) => format!("{} to {}", hooks[0], hook_name(wanted.sites[to])?),
        };
        let place = match &hooks[1..] {
            [] => hooks[0].clone(),
            more => format!("{}+{}", hooks[0], more.len()),
        };
        let seeds = if options.seeds.is_empty() { vec![config.seed] } else { options.seeds.clone() };
        for seed in seeds {
            let folder = options.out.join(format!("{place}-{stem}-{seed}"));
            if runs.iter().any(|run: &Run| run.folder == folder) {
                return Err(format!("{}: two runs would write there", folder.display()).into());
            }
            if folder.join(STATE).is_file() && !options.resume && !options.anew {
                let what = "has the state of a run: --resume continues it, --anew begins again";
                return Err(format!("{}: {what}", folder.display()).into());
            }
            options.layout(config)?.format().check(&folder.join("sae"))?;
            std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
            let through = if options.through > 0 {
                format!(", {} steps through the model", options.through)
            } else {
                String::new()
            };
            let config = Config { seed, data: format!("{what} of {data}{through}"), ..config.clone() };
            let state = folder.join(STATE);
            let trainer = if options.resume && state.is_file() {
                Trainer::resume(&state, &config, &opened.device)?
            } else {
                let samples = match &samples {
                    Some(samples) => samples,
                    None => samples.insert(source.first(SAMPLE)?),
                };
                match (&reads.from[..], reads.to) {
                    (&[from], None) => Trainer::new(config, &samples[from], &opened.device)?,
                    (&[from, ..], Some(to)) => {
                        Trainer::transcoder(config, &samples[from], &samples[to], &opened.device)?
                    }
                    (all, None) => {
                        let d = config.d / all.len();
                        let rows = samples.iter().map(|sample| sample.len() / d).min().unwrap_or(0);
                        let beside =
                            (0..rows).flat_map(|row| all.iter().flat_map(move |&of| &samples[of][row * d..][..d]));
                        Trainer::new(config, &beside.copied().collect::<Vec<f32>>(), &opened.device)?
                    }
                    ([], Some(_)) => return Err("there is no place to read".into()),
                }
            };
            let mut scalars = Scalars::begin(&folder)?;
            trainer.course().iter().try_for_each(|now| put(&mut scalars, now))?;
            let bar = progress("training", trainer.config().steps).with_position(trainer.steps() as u64);
            runs.push(Run { reads: reads.clone(), folder, trainer, scalars, bar });
        }
    }
    Ok(runs)
}

/// What places are called.
fn hooks(from: &[usize], sites: &[Site]) -> Done<Vec<String>> {
    Ok(from.iter().map(|&site| hook_name(sites[site])).collect::<Result<_, _>>()?)
}

const STATE: &str = "state.safetensors";

fn put(scalars: &mut Scalars, now: &Progress) -> Done {
    let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs_f64();
    Ok(scalars.put(now.step as u64, wall, &now.scalars())?)
}

impl Run {
    /// A step on a batch of every place.
    pub fn step(&mut self, parts: &[View<'_, f32, 2>], every: [NonZeroUsize; 2]) -> Done {
        let from: Vec<View<'_, f32, 2>> = self.reads.from.iter().map(|&from| parts[from]).collect();
        match self.reads.to {
            Some(to) => self.trainer.step_to(from[0], parts[to])?,
            None if from.len() == 1 => self.trainer.step(from[0])?,
            None => self.trainer.step(side_by_side(&from)?.view())?,
        }
        self.tell(every.map(NonZeroUsize::get))
    }

    /// After a step: numbers and states, each after so many.
    fn tell(&mut self, [tell, save]: [usize; 2]) -> Done {
        let (step, last) = (self.trainer.steps(), self.trainer.config().steps);
        if step.is_multiple_of(tell) || step == last {
            let now = self.trainer.mark()?;
            put(&mut self.scalars, &now)?;
            self.bar.set_position(step as u64);
            self.bar.set_message(format!("{}: FVU {:.3}, L0 {:.1}", name(&self.folder), now.fvu, now.l0));
        }
        if step.is_multiple_of(save) || step == last {
            self.trainer.save_state(&self.folder.join(STATE))?;
        }
        Ok(())
    }

    /// The first place that is read.
    pub fn site(&self) -> usize {
        self.reads.from[0]
    }

    /// The steps through the model that are left.
    pub fn go_through(&mut self, model: &Decoder, layer: usize, contexts: &Contexts, options: &Options) -> Done {
        let Config { steps, batch, .. } = *self.trainer.config();
        let (count, first) = (batch / (contexts.length - Contexts::SKIPPED), steps - options.through);
        while self.trainer.steps() < steps {
            let contexts = contexts.turn(self.trainer.steps() - first, count);
            EndToEnd::new(model, layer, &contexts)?.step(&mut self.trainer, Loss::Divergence)?;
            self.tell([options.tell_every, options.save_every].map(NonZeroUsize::get))?;
        }
        Ok(())
    }

    pub fn finish(self, options: &Options, opened: &Opened, sites: &[Site]) -> Done {
        self.bar.finish();
        let begin = opened.lm.tokenizer.begin().is_some();
        let hook = hooks(&self.reads.from, sites)?.join(", ");
        let predicted = self.reads.to.map_or(Ok(String::new()), |to| hook_name(sites[to]))?;
        let context = options.reading.context;
        let origin = Origin { model: name(&opened.model), hook, predicted, context, begin };
        let (layout, config) = (options.layout(self.trainer.config())?, self.trainer.config().to_json());
        self.trainer.finish()?.save(&self.folder.join("sae"), layout.format(), &origin)?;
        io::replace(&self.folder.join("config.json"), format!("{config}\n").as_bytes())?;
        println!("{}", self.folder.join("sae").display());
        Ok(())
    }
}
