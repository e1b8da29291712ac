//! A trainer on disk: continued, it takes the very steps that it would have taken. One safetensors file holds the weights in
//! `f32` and what the rule remembers of them and, as its metadata, settings and course. The order of the text is a function of the seed and of
//! the steps taken.
use super::optimiser::exact;
use super::rule::numbers;
use super::{Progress, Settings, Stored, Trainer};
use crate::io::named::{Incoming, Outgoing};
use crate::io::{self, Error, Result};
use crate::lm::{Decoder, Parameter};
use crate::{Tensor, cast_into, copy_into};
use serde::{Deserialize, Serialize};
use std::path::Path;

#[derive(Serialize, Deserialize)]
struct Note {
    version: u32,
    settings: Settings,
    /// Of the ids.
    text: String,
    /// What the weights are kept in.
    element: String,
    course: Vec<Progress>,
}

/// Changes when a state of before can no longer be continued.
const VERSION: u32 = 1;

impl<T: Stored> Trainer<T> {
    fn note(&self) -> Note {
        Note {
            version: VERSION,
            settings: self.settings.clone(),
            text: self.text.clone(),
            element: format!("{:?}", T::DTYPE).to_lowercase(),
            course: self.course.clone(),
        }
    }

    /// Write all that the next step depends on. Whenever this is interrupted, the file is the one before or the new one.
    ///
    /// # Errors
    /// [`Error::System`] if the disk refuses.
    pub fn save_state(&mut self, path: &Path) -> Result<()> {
        let note = self.note();
        let (mut file, device) = (Outgoing::default(), self.model.device().clone());
        file.annotate(serde_json::to_string(&note).map_err(|e| Error::content(path, e.to_string()))?);
        for Parameter { number, dims, values, .. } in self.model.parameters_mut() {
            let Some(slot) = self.optimiser.slots.get(&number) else { continue };
            let weights = match (exact(values), &slot.master) {
                (Ok(weights), _) => {
                    let mut copy = Tensor::empty(dims, &device)?;
                    copy_into(weights.shared(), copy.view_mut())?;
                    copy.to_vec()?
                }
                (Err(_), Some(master)) => master.to_vec()?,
                (Err(_), None) => continue,
            };
            file.put(&slot.name, &dims, weights);
            slot.moments.put(&slot.name, &mut file)?;
        }
        io::replace(path, &file.bytes()?)
    }

    /// The trainer that [`save_state`](Self::save_state) wrote: `model` has its sizes, and its weights are read. Settings and ids
    /// must be those of the run.
    ///
    /// # Errors
    /// As [`Trainer::new`]; [`Error::System`] or [`Error::Content`] if the file cannot be read, is of another run, or is not such
    /// a state: every number is checked.
    pub fn resume(path: &Path, model: Decoder<T>, ids: Vec<u32>, settings: Settings) -> Result<Self> {
        let mut trainer = Self::new(model, ids, settings)?;
        let mut file = Incoming::open(path)?;
        let saved: Note = serde_json::from_str(file.note()?).map_err(|e| file.wrong(e.to_string()))?;
        trainer.course.clone_from(&saved.course);
        let ours = trainer.note();
        if saved.version != VERSION {
            return Err(file.wrong(format!("is a state of version {}, expected {VERSION}", saved.version)));
        }
        let differing = [
            ("the text", saved.text == ours.text, saved.text, ours.text),
            ("the type of weights", saved.element == ours.element, saved.element, ours.element),
            (
                "settings",
                saved.settings == ours.settings,
                format!("{:?}", saved.settings),
                format!("{:?}", ours.settings),
            ),
        ];
        if let Some((what, _, theirs, ours)) = differing.into_iter().find(|(_, same, ..)| !same) {
            return Err(file.wrong(format!("is a state of another run: {what} was {theirs}, now {ours}")));
        }
        let counted = saved.course.iter().enumerate().all(|(at, progress)| progress.step == at + 1);
        if !counted || saved.course.len() > trainer.settings.schedule.steps {
            return Err(file.wrong("its course is no count of steps"));
        }
        trainer.take(&mut file)?;
        file.finish()?;
        Ok(trainer)
    }

    fn take(&mut self, file: &mut Incoming) -> Result<()> {
        let device = self.model.device().clone();
        for Parameter { number, dims, values, .. } in self.model.parameters_mut() {
            let Some(slot) = self.optimiser.slots.get_mut(&number) else { continue };
            let weights = numbers(file, &slot.name, dims, &device, |_, x| x.is_finite())?;
            slot.moments.take(&slot.name, file)?;
            match exact(values) {
                Ok(to) => copy_into(weights.view(), to)?,
                Err(few) => {
                    cast_into(weights.view(), few)?;
                    slot.master = Some(weights);
                }
            }
        }
        Ok(())
    }
}
