use super::{Group, Memory, Optimiser, Order, Rule, Schedule, Stored};
use crate::io::{Error, Result, sha256};
use crate::lm::{Decoder, Hooks, Part, Recording};
use crate::tape::Tape;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Everything that decides a run: equal settings, models, texts and groups give equal bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Tokens of a context.
    pub context: usize,
    /// Contexts of a step.
    pub batch: usize,
    /// Parts of a step that run one after the other, their gradients added up: more of them take less memory.
    pub passes: usize,
    /// The learning rate of each step, and how many there are.
    pub schedule: Schedule,
    /// What makes a step of a gradient.
    #[serde(alias = "betas", deserialize_with = "Rule::read")]
    pub rule: Rule,
    /// The decay of tables and products; norms and biases have none.
    pub weight_decay: f64,
    /// The greatest length of a gradient; longer ones are shortened to it.
    pub clip: Option<f32>,
    /// Keep only the residuals between layers, and run each layer again on the way back.
    pub again: bool,
    /// Seed of the order of the text.
    pub seed: u64,
}

impl Settings {
    /// AdamW, eight contexts a step, decay 0.1 and gradients of length 1 at most, as language models are usually trained.
    pub fn new(context: usize, schedule: Schedule) -> Self {
        Self {
            context,
            batch: 8,
            passes: 1,
            schedule,
            rule: Rule::default(),
            weight_decay: 0.1,
            clip: Some(1.0),
            again: false,
            seed: 0,
        }
    }

    /// # Errors
    /// [`Error::Setting`] naming what has no meaning.
    pub fn check(&self) -> Result<()> {
        self.schedule.check()?;
        self.rule.check()?;
        if !(self.weight_decay.is_finite() && self.weight_decay >= 0.0) {
            let what = format!("is {}, expected a number of at least 0", self.weight_decay);
            return Err(Error::setting("weight_decay", what));
        }
        if self.batch == 0 || self.passes == 0 || !self.batch.is_multiple_of(self.passes) {
            let what = format!("{} contexts do not divide into {} passes", self.batch, self.passes);
            return Err(Error::setting("passes", what));
        }
        if self.clip.is_some_and(|clip| clip.is_nan() || clip <= 0.0) {
            return Err(Error::setting("clip", "expected a length above 0"));
        }
        Ok(())
    }
}

/// How a step went.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Steps done.
    pub step: usize,
    /// Mean surprise of the step's tokens, in nats.
    pub loss: f64,
    /// Length of the gradient, before it was shortened.
    pub length: f32,
    /// The rate of the step.
    pub rate: f64,
}

/// How the weights of a part learn, told whether decay is customary for it.
pub(super) type Groups = Box<dyn Fn(&Part, bool) -> Group>;

/// A model in training, and all that its next step depends on.
pub struct Trainer<T: Stored = f32> {
    pub(super) model: Decoder<T>,
    pub(super) optimiser: Optimiser,
    pub(super) settings: Settings,
    pub(super) course: Vec<Progress>,
    /// The hash of the ids, by which a saved state knows its text.
    pub(super) text: String,
    order: Order,
    groups: Groups,
    /// Bytes of activations and of gradients at most, of the last step.
    pub(super) most: [usize; 2],
}

impl<T: Stored> Trainer<T> {
    /// Train `model` on `ids`.
    ///
    /// # Errors
    /// [`Error::Setting`] for settings without meaning, ids that are no tokens of the model or too few of them, and contexts
    /// longer than it takes.
    pub fn new(mut model: Decoder<T>, ids: Vec<u32>, settings: Settings) -> Result<Self> {
        settings.check()?;
        let (tokens, longest) = (model.config().vocabulary, model.config().context);
        if let Some(id) = ids.iter().find(|&&id| id as usize >= tokens) {
            return Err(Error::setting("ids", format!("{id} is no token: the model has {tokens}")));
        }
        if settings.context > longest {
            let what = format!("{} tokens, but the model takes {longest}", settings.context);
            return Err(Error::setting("context", what));
        }
        let device = model.device().clone();
        let optimiser = Optimiser::new(model.parameters_mut(), settings.rule, &device)?;
        let bytes: Vec<u8> = ids.iter().flat_map(|id| id.to_le_bytes()).collect();
        let text = sha256(&[&bytes]);
        let order = Order::new(ids, settings.context, settings.seed)?;
        let decay = settings.weight_decay;
        let groups =
            Box::new(move |_: &Part, decays| Group { rate: 1.0, weight_decay: if decays { decay } else { 0.0 } });
        Ok(Self { model, optimiser, settings, course: Vec::new(), text, order, groups, most: [0; 2] })
    }

    /// Have parts of the weights learn as `groups` says, told whether decay is customary for them. Those with a rate of 0 stay as
    /// they are, and their gradients are not computed. A state that is continued must be given the same.
    #[must_use]
    pub fn with_groups(self, groups: impl Fn(&Part, bool) -> Group + 'static) -> Self {
        Self { groups: Box::new(groups), ..self }
    }

    /// One step.
    ///
    /// # Errors
    /// [`Error::Number`] if the loss or the gradient is not finite: the weights are as before then.
    pub fn step(&mut self) -> Result<Progress> {
        let Settings { context, batch, passes, schedule, clip, again, .. } = self.settings;
        let (done, share) = (self.course.len(), batch / passes);
        let taken = (done * batch) as u64;
        let trained: BTreeMap<Part, bool> =
            self.model.parameters().iter().map(|p| (p.part, (self.groups)(&p.part, p.decays).rate != 0.0)).collect();
        let (mut gradients, mut sum, mut most) = (BTreeMap::new(), 0.0, [0; 2]);
        for pass in 0..passes {
            let ids = self.order.batch(taken + (pass * share) as u64, share, self.model.device())?;
            let mut tape = Tape::adding_to(self.model.device(), gradients);
            let recording = Recording::new().train(|part| trained.get(&part).copied().unwrap_or(false));
            let mut recording = if again { recording.again() } else { recording };
            let x = self.model.record_embedding(&mut tape, &ids, &recording)?;
            let x = self.model.record_layers(&mut tape, x, share, &mut recording)?;
            let losses = self.model.record_losses(&mut tape, x, &ids, &recording)?;
            most[0] = most[0].max(tape.bytes());
            tape.backward()?;
            gradients = tape.into_weights();
            sum += losses.to_vec()?.into_iter().map(f64::from).sum::<f64>();
        }
        most[1] = gradients.values().map(|gradient| 4 * gradient.layout().len()).sum();
        let (loss, rate) = (sum / (batch * (context - 1)) as f64, schedule.at(done));
        if !loss.is_finite() {
            return Err(Error::Number { step: done + 1, what: "the loss".into() });
        }
        let (parameters, at) = (self.model.parameters_mut(), (rate, done as u64 + 1));
        let length = self.optimiser.step(parameters, &mut gradients, 1.0 / passes as f32, clip, at, &*self.groups)?;
        self.most = most;
        let now = Progress { step: done + 1, loss, length, rate };
        self.course.push(now);
        Ok(now)
    }

    /// The mean surprise, in nats, of every token of `ids` but the first, in contexts as long as those of training, that overlap
    /// by one token.
    ///
    /// # Errors
    /// Fewer than two ids, or one that is no token.
    pub fn judge(&self, ids: &[u32]) -> Result<f64> {
        if ids.len() < 2 {
            return Err(Error::setting("ids", format!("{} of them predict nothing", ids.len())));
        }
        let (stride, batch) = (self.settings.context - 1, self.settings.batch / self.settings.passes);
        let whole = (ids.len() - 1) / stride;
        let mut sum = 0.0;
        let mut run = |ids: Vec<u32>, count: usize| -> Result<()> {
            let losses = self.model.losses(&self.model.ids(ids, count)?, &mut Hooks::new())?;
            sum += losses.to_vec()?.into_iter().map(f64::from).sum::<f64>();
            Ok(())
        };
        for first in (0..whole).step_by(batch) {
            let count = batch.min(whole - first);
            let contexts = (first..first + count).flat_map(|at| &ids[at * stride..][..=stride]);
            run(contexts.copied().collect(), count)?;
        }
        let rest = &ids[whole * stride..];
        if rest.len() > 1 {
            run(rest.to_vec(), 1)?;
        }
        Ok(sum / (ids.len() - 1) as f64)
    }

    /// The model as it stands.
    pub fn model(&self) -> &Decoder<T> {
        &self.model
    }

    /// The model, with no more training.
    pub fn into_model(self) -> Decoder<T> {
        self.model
    }

    /// The settings it was made with.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// How every step went so far, since the first even if the state was continued.
    pub fn course(&self) -> &[Progress] {
        &self.course
    }

    /// Steps done.
    pub fn steps(&self) -> usize {
        self.course.len()
    }

    /// Whether all steps of the schedule are done.
    pub fn is_done(&self) -> bool {
        self.steps() >= self.settings.schedule.steps
    }

    /// The ids it learns from.
    pub fn ids(&self) -> &[u32] {
        self.order.ids()
    }

    /// What is held, and why. Activations are those of the last step.
    pub fn memory(&self) -> Memory {
        Memory::of(self)
    }
}
