use crate::autoencoder::named;
use crate::call::Entry;
use crate::device::{Place, give};
use crate::handle::Table;
use crate::{Failure, LatensDevice, LatensSaeSettings, LatensStatus, LatensTensor, guard};
use latens::io;
use latens::sae::{Config, Format, Origin, Progress, Trainer};
use latens_core::{Device, Error, Layout, Tensor, View};
use std::ffi::{CStr, c_char};
use std::mem::{offset_of, size_of};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// A sparse autoencoder in training, f32, on one device. Calls from several threads take turns.
pub struct LatensSaeTrainer {
    _never: (),
}

/// Whose checkpoint files.
#[repr(C)]
pub enum LatensSaeFormat {
    /// SAELens 6: `cfg.json` and `sae_weights.safetensors`.
    SaeLens = 0,
    /// EleutherAI's sparsify: `cfg.json` and `sae.safetensors`. It has no place for the threshold of BatchTopK.
    Sparsify = 1,
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

/// Work with the trainer of a handle. A panic takes the trainer along: what it left behind may be half of a step.
fn with<R>(
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
    entry.run(|call| {
        call.give("trainer", trainer, || Ok(std::ptr::null_mut()))?;
        let size = call.settings("settings", settings.cast::<usize>())?;
        let want = offset_of!(LatensSaeSettings, seed) + size_of::<u64>();
        if size < want {
            return Err(Error::Size { op: OP, arg: "settings.size", want, got: size }.into());
        }
        let config = call.settings("settings", settings)?.config(OP)?;
        let rows = host_rows(call.input_anywhere::<f32, 2>("sample", sample)?)?;
        let made = Trainer::new(config, &rows, call.device()).map_err(named(OP))?;
        call.give("trainer", trainer, || {
            Ok(TRAINERS.put(Training { place: call.place(), trainer: Mutex::new(Some(made)) }))
        })
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
    entry.run(|call| {
        call.give("trainer", trainer, || Ok(std::ptr::null_mut()))?;
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
        let made = made.map_err(named(OP))?;
        call.give("trainer", trainer, || {
            Ok(TRAINERS.put(Training { place: call.place(), trainer: Mutex::new(Some(made)) }))
        })
    })
}

/// One step of a transcoder: `y` \[batch, dim\] f32 is to be predicted from `x` \[batch, dim\] f32. Both are on the device of the trainer.
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
    let place = || Ok(TRAINERS.get(trainer, OP, "trainer")?.place.clone());
    entry.run_at(place, |call| {
        with(trainer, call.op(), |trainer| {
            let (x, y) = (call.input::<f32, 2>("x", x)?, call.input::<f32, 2>("y", y)?);
            Ok(trainer.step_to(x, y)?)
        })
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
    let place = || Ok(TRAINERS.get(trainer, OP, "trainer")?.place.clone());
    entry.run_at(place, |call| {
        with(trainer, call.op(), |trainer| {
            let x = call.input_anywhere::<f32, 2>("x", x)?;
            match (trainer.sae().device(), x.device()) {
                (Device::Cuda(_), Device::Host) => {
                    let rows = host_rows(x)?;
                    let copy = Tensor::from_slice(&rows, Layout::packed(x.dims())?, &trainer.sae().device())?;
                    Ok(trainer.step(copy.view())?)
                }
                _ => Ok(trainer.step(x)?),
            }
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

/// Write a checkpoint (a LatensSaeFormat) into `folder`, which is made if it is not there. Whatever happens, the files
/// there are the old ones or the new ones.
///
/// # Safety
/// `folder` is null or a text in UTF-8 with its final NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_sae_trainer_save(
    trainer: *const LatensSaeTrainer,
    folder: *const c_char,
    format: i32,
) -> LatensStatus {
    const OP: &str = "sae_trainer_save";
    guard(|| {
        // SAFETY: the caller's promise.
        let folder = unsafe { path_of(OP, "folder", folder)? };
        let format = format_of(OP, format)?;
        with(trainer, OP, |trainer| Ok(trainer.save(folder, format, &Origin::default())?))
    })
}

/// Free the trainer. Null is allowed.
///
/// # Safety
/// None: a wrong handle is an error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_sae_trainer_free(trainer: *mut LatensSaeTrainer) -> LatensStatus {
    guard(|| TRAINERS.take(trainer, "sae_trainer_free", "trainer"))
}

/// A LatensSaeFormat.
pub(crate) fn format_of(op: &'static str, format: i32) -> Result<Format, Failure> {
    match format {
        0 => Ok(Format::SaeLens),
        1 => Ok(Format::Sparsify),
        _ => Err(Error::Value { op, arg: "format", want: "a LatensSaeFormat" }.into()),
    }
}

/// A text.
///
/// # Safety
/// `text` is null, or in UTF-8 with its final NUL, and stays.
pub(crate) unsafe fn text_of<'a>(op: &'static str, arg: &'static str, text: *const c_char) -> Result<&'a str, Failure> {
    if text.is_null() {
        return Err(Error::Null { op, arg }.into());
    }
    // SAFETY: not null, and the caller's promise.
    let text = unsafe { CStr::from_ptr(text) }.to_str();
    text.map_err(|_| Error::Value { op, arg, want: "text in UTF-8" }.into())
}

/// A path.
///
/// # Safety
/// As [`text_of`].
pub(crate) unsafe fn path_of<'a>(
    op: &'static str,
    arg: &'static str,
    path: *const c_char,
) -> Result<&'a Path, Failure> {
    // SAFETY: the caller's promise.
    Ok(Path::new(unsafe { text_of(op, arg, path)? }))
}

/// The rows of a view, without gaps, on the host.
fn host_rows(x: View<'_, f32, 2>) -> Result<Vec<f32>, Failure> {
    let mut packed = Tensor::empty(x.dims(), &x.device())?;
    latens_core::copy_into(x, packed.view_mut())?;
    Ok(packed.to_vec()?)
}
