use super::{Part, Point, Site};
use crate::Float;
use crate::io::{Error, Result};
use crate::tape::{Tape, Var};

type Tap<'a, 'm, T> = Box<dyn FnMut(&mut Tape<'m, T>, Var) -> Result<Var> + 'a>;

/// What is wanted of a run on a [`Tape`]: gradients for weights, for any activation on the way, for what is read.
///
/// ```no_run
/// use latens::lm::{LanguageModel, Recording, Site};
/// use latens::tape::Tape;
/// use latens::{Device, assets};
/// let lm = LanguageModel::open(&assets::SMOLLM2.locate(None).unwrap(), &Device::Host)?;
/// let (ids, mut seen) = (lm.ids("The capital of France is Paris.")?, None);
/// // How the mean surprise of a text hangs on the residual after layer 15.
/// let mut tape = Tape::new(lm.model.device());
/// let mut recording = Recording::new().at(Site::residual(15), |tape, x| {
///     tape.watch(x);
///     seen = Some(x);
///     Ok(x)
/// });
/// let x = lm.model.record_embedding(&mut tape, &ids, &recording)?;
/// let x = lm.model.record_layers(&mut tape, x, 1, &mut recording)?;
/// let losses = lm.model.record_losses(&mut tape, x, &ids, &recording)?;
/// tape.backward()?;
/// drop(recording);
/// let gradient = tape.gradient(seen.unwrap()).unwrap();
/// # let _ = (losses, gradient);
/// # Ok::<(), latens::io::Error>(())
/// ```
///
/// Embeddings in front of a text, a soft prompt, have gradients as well:
///
/// ```
/// use latens::lm::{Config, Decoder, Recording};
/// use latens::tape::Tape;
/// use latens::{Device, IGNORED, Tensor};
/// let model = Decoder::random(Config::llama(2, 32, 4, 100, 64), 0, &Device::Host)?;
/// let (mut tape, mut recording) = (Tape::new(model.device()), Recording::new());
/// let prefix = tape.leaf(Tensor::<f32, 2>::zeros([3, 32], model.device())?, true);
/// let text = model.record_embedding(&mut tape, &model.ids(vec![5, 6, 7], 1)?, &recording)?;
/// let x = tape.join(prefix, text, 1)?;
/// let x = model.record_layers(&mut tape, x, 1, &mut recording)?;
/// // The last row of the prefix is to say the first token.
/// let targets = Tensor::from_vec(vec![IGNORED, IGNORED, 5, 6, 7, IGNORED], [1, 6], model.device())?;
/// let losses = model.record_targets(&mut tape, x, &targets, &recording)?;
/// tape.backward()?;
/// assert_eq!(tape.gradient(prefix).unwrap().dims(), [3, 32]);
/// # let _ = losses;
/// # Ok::<(), latens::io::Error>(())
/// ```
///
/// A step of training changes every part by its gradient:
///
/// ```
/// use latens::lm::{Config, Decoder, Recording, ValuesMut};
/// use latens::tape::Tape;
/// use latens::{Device, add_into, scale_into};
/// let mut model = Decoder::<f32>::random(Config::gpt2(2, 32, 4, 100, 64), 0, &Device::Host)?;
/// let ids = model.ids((0..48).map(|i| i * 7 % 100).collect(), 2)?;
/// let mut losses = vec![];
/// for _ in 0..3 {
///     let mut tape = Tape::new(model.device());
///     let mut recording = Recording::new().train(|_| true).again();
///     let x = model.record_embedding(&mut tape, &ids, &recording)?;
///     let x = model.record_layers(&mut tape, x, 2, &mut recording)?;
///     losses.push(model.record_losses(&mut tape, x, &ids, &recording)?.to_vec()?.iter().sum::<f32>());
///     tape.backward()?;
///     drop(recording);
///     let mut gradients = tape.into_weights();
///     for parameter in model.parameters_mut() {
///         let (ValuesMut::Elements(values) | ValuesMut::Sums(values)) = parameter.values;
///         if let Some(mut by) = gradients.remove(&parameter.number) {
///             scale_into(-0.5, by.view_mut())?;
///             add_into(by.view(), values)?;
///         }
///     }
/// }
/// assert!(losses[2] < losses[0]);
/// # Ok::<(), latens::io::Error>(())
/// ```
pub struct Recording<'a, 'm, T: Float = f32, P = Part> {
    pub(in crate::lm) trained: Box<dyn Fn(P) -> bool + 'a>,
    pub(in crate::lm) again: bool,
    taps: Vec<(Site, Tap<'a, 'm, T>)>,
}

impl<T: Float, P> Default for Recording<'_, '_, T, P> {
    fn default() -> Self {
        Self { trained: Box::new(|_| false), again: false, taps: Vec::new() }
    }
}

impl<'a, 'm, T: Float, P> Recording<'a, 'm, T, P> {
    /// No gradients but those that a tap asks for, or something read.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gradients for these parts of the weights.
    #[must_use]
    pub fn train(self, trained: impl Fn(P) -> bool + 'a) -> Self {
        Self { trained: Box::new(trained), ..self }
    }

    /// Keep only the residuals between layers; the way back runs each layer again.
    #[must_use]
    pub fn again(self) -> Self {
        Self { again: true, ..self }
    }

    /// Call `tap` with the activation at `site`; the run goes on with what it gives back. What a half of a layer adds is used up
    /// when it has been added: of that, a tap can watch the gradient, but a later look at the value is too late.
    #[must_use]
    pub fn at(mut self, site: Site, tap: impl FnMut(&mut Tape<'m, T>, Var) -> Result<Var> + 'a) -> Self {
        self.taps.push((site, Box::new(tap)));
        self
    }

    /// Tokens of a context, if the taps are at layers that there are and the rows divide into contexts.
    pub(super) fn check(&self, layers: usize, points: &[Point], rows: usize, batch: usize) -> Result<usize> {
        if batch == 0 || !rows.is_multiple_of(batch) {
            return Err(Error::setting("batch", format!("{rows} rows do not divide into {batch} contexts")));
        }
        for (site, _) in &self.taps {
            site.check(layers, points)?;
            if self.again && site.point != Point::Residual {
                return Err(Error::setting("again", "taps inside a layer that runs again would be called twice"));
            }
        }
        Ok(rows / batch)
    }

    pub(super) fn tap(&mut self, site: Site, tape: &mut Tape<'m, T>, mut x: Var) -> Result<Var> {
        for (_, tap) in self.taps.iter_mut().filter(|(at, _)| *at == site) {
            x = tap(tape, x)?;
        }
        Ok(x)
    }
}
