use crate::autoencoder::named;
use crate::call::Entry;
use crate::device::{Place, give};
use crate::handle::Table;
use crate::text::text_of;
use crate::{Failure, LatensDevice, LatensSaeSettings, LatensStatus, LatensTensor, guard};
use latens::io;
use latens::sae::{Config, Progress, Trainer};
use latens_core::{Device, Error, Tensor, View};
use std::ffi::{c_char, c_void};
use std::mem::{offset_of, size_of};
use std::sync::{Arc, Mutex, PoisonError};

/// A sparse autoencoder in training, f32, on one device. Calls from several threads take turns.
pub struct LatensSaeTrainer {
    _never: (),
}

/// How the last step went.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct LatensSaeMetrics {
    /// Steps done.
    pub step: u64,
    /// The loss without the part that revives: the fraction of variance unexplained (FVU) of the batch.
    pub fvu: f32,
    /// Active latents per row.
    pub l0: f32,
    /// Share of latents that are dead.
    pub dead: f32,
    /// Learning rate of the next step.
    pub rate: f32,
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        let status = match error {
            io::Error::Operation(error) => return error.into(),
            io::Error::Setting { .. } | io::Error::Number { .. } => LatensStatus::Value,
            io::Error::System { .. } | io::Error::Content { .. } => LatensStatus::File,
            _ => LatensStatus::Other,
        };
        Failure { status, text: error.to_string() }
    }
}

struct Training {
    place: Arc<Place>,
    trainer: Mutex<Option<Trainer>>,
}

static TRAINERS: Table<Training> = Table::new();

/// A handle for a trainer on the device of `place`.
pub(crate) fn hold(place: Arc<Place>, trainer: Trainer) -> *mut LatensSaeTrainer {
    TRAINERS.put(Training { place, trainer: Mutex::new(Some(trainer)) })
}

/// Where the trainer of a handle is.
pub(crate) fn place_of(trainer: *const LatensSaeTrainer, op: &'static str) -> Result<Arc<Place>, Failure> {
    Ok(TRAINERS.get(trainer, op, "trainer")?.place.clone())
}

/// Work with the trainer of a handle. A panic takes the trainer along: what it left behind may be half of a step.
pub(crate) fn with<R>(
    trainer: *const LatensSaeTrainer,
    op: &'static str,
    work: impl FnOnce(&mut Trainer) -> Result<R, Failure>,
) -> Result<R, Failure> {
    let shared: Arc<_> = TRAINERS.get(trainer, op, "trainer")?;
    let mut place = shared.trainer.lock().unwrap_or_else(PoisonError::into_inner);
    let lost = || Failure { status: LatensStatus::Handle, text: format!("{op}: trainer was lost in a panic") };
    let mut taken = place.take().ok_or_else(lost)?;
    let done = work(&mut taken);
    *place = Some(taken);
    done.map_err(|Failure { status, text }| {
        let text = if text.starts_with(op) { text } else { format!("{op}: {text}") };
        Failure { status, text }
    })
}

/// A trainer on `device`, begun from a `sample` of the activations \[rows, dim\] f32, which gives centre, scale and
/// variance; some thousands of rows do. The sample may be on the host or on the device. On failure `*trainer` is null.
///
/// # Safety
/// `settings` is null or points at as many bytes as its first field says; `sample` is null or as DLPack says;
/// `trainer` is null or can be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_sae_trainer_new(
    device: *const LatensDevice,
    sample: *const LatensTensor,
    settings: *const LatensSaeSettings,
    trainer: *mut *mut LatensSaeTrainer,
) -> LatensStatus {
    const OP: &str = "sae_trainer_new";
    // SAFETY: the caller's promises.
    let entry = unsafe { Entry::new(OP, device) };
    entry.make("trainer", trainer, |call| {
        let size = call.settings("settings", settings.cast::<usize>())?;
        let want = offset_of!(LatensSaeSettings, seed) + size_of::<u64>();
        if size < want {
            return Err(Error::Size { op: OP, arg: "settings.size", want, got: size }.into());
        }
        let config = call.settings("settings", settings)?.config(OP)?;
        let rows = host_rows(call.input_anywhere::<f32, 2>("sample", sample)?)?;
        Ok(hold(call.place(), Trainer::new(config, &rows, call.device()).map_err(named(OP))?))
    })
}

/// The same for every kind of autoencoder: `settings` is JSON, an object with `d`, `latents`, `steps` and whatever else should not be
/// as it is by default, for example `{"d": 768, "latents": 16384, "steps": 1000, "variant": {"gated": {}}}`. `predicted` is null, or for
/// a transcoder rows \[rows, dim\] f32 that belong to those of `sample`. On failure `*trainer` is null.
///
/// # Safety
/// `settings` is null or a text in UTF-8 with its final NUL; tensors are null or as DLPack says; `trainer` is null or can be
/// written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_sae_trainer_configure(
    device: *const LatensDevice,
    sample: *const LatensTensor,
    predicted: *const LatensTensor,
    settings: *const c_char,
    trainer: *mut *mut LatensSaeTrainer,
) -> LatensStatus {
    const OP: &str = "sae_trainer_configure";
    // SAFETY: the caller's promises.
    let entry = unsafe { Entry::new(OP, device) };
    entry.make("trainer", trainer, |call| {
        // SAFETY: the caller's promise.
        let config = Config::from_json(unsafe { text_of(OP, "settings", settings)? }).map_err(named(OP))?;
        let rows = host_rows(call.input_anywhere::<f32, 2>("sample", sample)?)?;
        let made = match predicted.is_null() {
            true => Trainer::new(config, &rows, call.device()),
            false => {
                let predicted = host_rows(call.input_anywhere::<f32, 2>("predicted", predicted)?)?;
                Trainer::transcoder(config, &rows, &predicted, call.device())
            }
        };
        Ok(hold(call.place(), made.map_err(named(OP))?))
    })
}

/// One step on a batch \[batch, dim\] f32 that the caller owns, on the host or on the device of the trainer. Rows on the
/// host are copied there first; rows of another device are an error.
///
/// # Safety
/// `x` is null or as DLPack says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_sae_trainer_step(
    trainer: *mut LatensSaeTrainer,
    x: *const LatensTensor,
) -> LatensStatus {
    const OP: &str = "sae_trainer_step";
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new(OP, std::ptr::null()) };
    let place = || place_of(trainer, OP);
    entry.run_at(place, |call| {
        with(trainer, OP, |trainer| {
            let x = call.input_anywhere::<f32, 2>("x", x)?;
            let copy = copied(x, call.device())?;
            Ok(trainer.step(copy.as_ref().map_or(x, Tensor::view))?)
        })
    })
}

/// One step of a transcoder: `y` \[batch, dim\] f32 is to be predicted from `x` \[batch, dim\] f32. Each is where rows of
/// latens_sae_trainer_step may be.
///
/// # Safety
/// `x` and `y` are null or as DLPack says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_sae_trainer_step_to(
    trainer: *mut LatensSaeTrainer,
    x: *const LatensTensor,
    y: *const LatensTensor,
) -> LatensStatus {
    const OP: &str = "sae_trainer_step_to";
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new(OP, std::ptr::null()) };
    let place = || place_of(trainer, OP);
    entry.run_at(place, |call| {
        with(trainer, OP, |trainer| {
            let (x, y) = (call.input_anywhere::<f32, 2>("x", x)?, call.input_anywhere::<f32, 2>("y", y)?);
            let copies = (copied(x, call.device())?, copied(y, call.device())?);
            let (x, y) = (copies.0.as_ref().map_or(x, Tensor::view), copies.1.as_ref().map_or(y, Tensor::view));
            Ok(trainer.step_to(x, y)?)
        })
    })
}

/// What latens_sae_trainer_step_through asks: writes the loss of the reconstruction `recon` \[batch, dim\] and the gradient there, of the same
/// sizes, both on the host and without gaps, and answers 0; anything else ends the step. `context` is the caller's. It must neither use the
/// trainer nor end by an exception or a jump.
pub type LatensSaeLoss = Option<
    unsafe extern "C" fn(
        context: *mut c_void,
        recon: *const f32,
        batch: usize,
        dim: usize,
        loss: *mut f64,
        gradient: *mut f32,
    ) -> i32,
>;

/// One step on a loss that is not, or not only, the squared error, as of a language model in which the reconstruction stands for `x`
/// \[batch, dim\] f32, which is where rows of latens_sae_trainer_step may be. `loss` is called once, on this thread. The squared errors count
/// `squares` times what they do otherwise. Where `loss` answers another number than 0, or gives numbers that are not finite, all is as before.
///
/// # Safety
/// `x` is null or as DLPack says; `loss` is null or does as it should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_sae_trainer_step_through(
    trainer: *mut LatensSaeTrainer,
    x: *const LatensTensor,
    squares: f32,
    loss: LatensSaeLoss,
    context: *mut c_void,
) -> LatensStatus {
    const OP: &str = "sae_trainer_step_through";
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new(OP, std::ptr::null()) };
    let place = || place_of(trainer, OP);
    entry.run_at(place, |call| {
        let missing = || Failure { status: LatensStatus::Null, text: format!("{OP}: loss is null") };
        let loss = loss.ok_or_else(missing)?;
        if !(squares.is_finite() && squares >= 0.0) {
            let text = format!("{OP}: squares: is {squares}, expected a number of at least 0");
            return Err(Failure { status: LatensStatus::Value, text });
        }
        with(trainer, OP, |trainer| {
            let x = call.input_anywhere::<f32, 2>("x", x)?;
            let copy = copied(x, call.device())?;
            trainer.step_through(copy.as_ref().map_or(x, Tensor::view), squares, |recon| {
                let (rows, [batch, dim]) = (recon.to_vec()?, recon.dims());
                let (mut lost, mut gradient) = (0.0_f64, vec![0.0_f32; rows.len()]);
                // SAFETY: the caller's promise; all pointers are to as many numbers as it is told.
                let said = unsafe { loss(context, rows.as_ptr(), batch, dim, &mut lost, gradient.as_mut_ptr()) };
                match said {
                    0 => Ok((lost, Tensor::from_vec(gradient, [batch, dim], &recon.device())?)),
                    said => Err(io::Error::setting("loss", format!("answered {said}"))),
                }
            })?;
            Ok(())
        })
    })
}

/// How the last step went. On a GPU this waits for it.
///
/// # Safety
/// `metrics` is null or can be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_sae_trainer_metrics(
    trainer: *const LatensSaeTrainer,
    metrics: *mut LatensSaeMetrics,
) -> LatensStatus {
    const OP: &str = "sae_trainer_metrics";
    let made = || {
        let Progress { step, fvu, l0, dead, rate } = with(trainer, OP, |trainer| Ok(trainer.progress()?))?;
        Ok(LatensSaeMetrics { step: step as u64, fvu, l0, dead, rate })
    };
    // SAFETY: the caller's promise.
    guard(|| unsafe { give(metrics, OP, "metrics", made) })
}

/// Free the trainer. Null is allowed.
///
/// # Safety
/// None: a wrong handle is an error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_sae_trainer_free(trainer: *mut LatensSaeTrainer) -> LatensStatus {
    guard(|| TRAINERS.take(trainer, "sae_trainer_free", "trainer"))
}

/// The rows of a view, without gaps, on the host.
fn host_rows(x: View<'_, f32, 2>) -> Result<Vec<f32>, Failure> {
    let mut packed = Tensor::empty(x.dims(), &x.device())?;
    latens_core::copy_into(x, packed.view_mut())?;
    Ok(packed.to_vec()?)
}

/// A copy on the GPU of rows that are on the host. Rows that are where the trainer is need none.
fn copied(x: View<'_, f32, 2>, to: &Device) -> Result<Option<Tensor<f32, 2>>, Failure> {
    match (to, x.device()) {
        (Device::Cuda(_), Device::Host) => Ok(Some(Tensor::from_vec(host_rows(x)?, x.dims(), to)?)),
        _ => Ok(None),
    }
}
