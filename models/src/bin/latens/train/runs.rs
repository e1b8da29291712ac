//! Autoencoders in training.
use super::places::{Reads, Wanted};
use super::{Options, SAMPLE};
use crate::common::{Done, Opened, name, progress};
use indicatif::ProgressBar;
use latens::View;
use latens::io::{self, Scalars};
use latens::lm::Site;
use latens::sae::{Config, Origin, Progress, Source, Trainer, hook_name};
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
        let hook = hook_name(wanted.sites[reads.from])?;
        let what = match reads.to {
            None => hook.clone(),
            Some(to) => format!("{hook} to {}", hook_name(wanted.sites[to])?),
        };
        for &seed in &options.seeds {
            let folder = options.out.join(format!("{hook}-{stem}-{seed}"));
            if runs.iter().any(|run: &Run| run.folder == folder) {
                return Err(format!("{}: two runs would write there", folder.display()).into());
            }
            if folder.join(STATE).is_file() && !options.resume && !options.anew {
                let what = "has the state of a run: --resume continues it, --anew begins again";
                return Err(format!("{}: {what}", folder.display()).into());
            }
            options.layout(config)?.format().check(&folder.join("sae"))?;
            std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
            let config = Config { seed, data: format!("{what} of {data}"), ..config.clone() };
            let state = folder.join(STATE);
            let trainer = if options.resume && state.is_file() {
                Trainer::resume(&state, &config, &opened.device)?
            } else {
                let samples = match &samples {
                    Some(samples) => samples,
                    None => samples.insert(source.first(SAMPLE)?),
                };
                match reads.to {
                    None => Trainer::new(config, &samples[reads.from], &opened.device)?,
                    Some(to) => Trainer::transcoder(config, &samples[reads.from], &samples[to], &opened.device)?,
                }
            };
            let mut scalars = Scalars::begin(&folder)?;
            trainer.course().iter().try_for_each(|now| put(&mut scalars, now))?;
            let bar = progress("training", trainer.config().steps).with_position(trainer.steps() as u64);
            runs.push(Run { reads: *reads, folder, trainer, scalars, bar });
        }
    }
    Ok(runs)
}

const STATE: &str = "state.safetensors";

fn put(scalars: &mut Scalars, now: &Progress) -> Done {
    let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs_f64();
    Ok(scalars.put(now.step as u64, wall, &now.scalars())?)
}

impl Run {
    /// A step on a batch of every place.
    pub fn step(&mut self, parts: &[View<'_, f32, 2>], every: [NonZeroUsize; 2]) -> Done {
        match self.reads.to {
            None => self.trainer.step(parts[self.reads.from])?,
            Some(to) => self.trainer.step_to(parts[self.reads.from], parts[to])?,
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

    pub fn finish(self, options: &Options, opened: &Opened, sites: &[Site]) -> Done {
        self.bar.finish();
        let begin = opened.lm.tokenizer.begin().is_some();
        let hook = hook_name(sites[self.reads.from])?;
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
