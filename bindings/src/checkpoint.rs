use crate::autoencoder::{self, named};
use crate::call::Entry;
use crate::text::{path_of, text_of};
use crate::trainer::{hold, place_of, with};
use crate::{Failure, LatensAutoencoder, LatensDevice, LatensSaeTrainer, LatensStatus, guard};
use latens::sae::{Config, Format, Origin, Trainer};
use latens_core::Error;
use std::ffi::c_char;

/// Whose checkpoint files.
#[repr(C)]
pub enum LatensSaeFormat {
    /// SAELens 6: `cfg.json` and `sae_weights.safetensors`.
    SaeLens = 0,
    /// EleutherAI's sparsify: `cfg.json` and `sae.safetensors`. It has no place for the threshold of BatchTopK.
    Sparsify = 1,
}

/// Write all that the next step depends on into the file `path`, for latens_sae_trainer_resume. Whenever this is interrupted,
/// the file is the one before or the new one.
///
/// # Safety
/// `path` is null or a text in UTF-8 with its final NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_sae_trainer_save_state(
    trainer: *const LatensSaeTrainer,
    path: *const c_char,
) -> LatensStatus {
    const OP: &str = "sae_trainer_save_state";
    guard(|| {
        // SAFETY: the caller's promise.
        let path = unsafe { path_of(OP, "path", path)? };
        with(trainer, OP, |trainer| Ok(trainer.save_state(path)?))
    })
}

/// The trainer that latens_sae_trainer_save_state wrote to `path`, on `device`: on the same kind of device, and given the rows that
/// would have come next, it takes the very steps that it would have taken. `settings` is null, or as in
/// latens_sae_trainer_configure, and a run with others or on other data is an error then. The metrics say how many steps were done;
/// until the next one, `fvu` and `l0` there are those of an earlier step, or 0. On failure `*trainer` is null.
///
/// # Safety
/// `path` and `settings` are null or texts in UTF-8 with their final NUL; `trainer` is null or can be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_sae_trainer_resume(
    device: *const LatensDevice,
    path: *const c_char,
    settings: *const c_char,
    trainer: *mut *mut LatensSaeTrainer,
) -> LatensStatus {
    const OP: &str = "sae_trainer_resume";
    // SAFETY: the caller's promises.
    let entry = unsafe { Entry::new(OP, device) };
    entry.make("trainer", trainer, |call| {
        // SAFETY: the caller's promise.
        let path = unsafe { path_of(OP, "path", path)? };
        let resumed = match settings.is_null() {
            true => Trainer::load_state(path, call.device()),
            false => {
                // SAFETY: the caller's promise.
                let config = Config::from_json(unsafe { text_of(OP, "settings", settings)? }).map_err(named(OP))?;
                Trainer::resume(path, &config, call.device())
            }
        };
        Ok(hold(call.place(), resumed.map_err(named(OP))?))
    })
}

/// What training would give now, on the device of the trainer, which goes on unchanged. On failure `*autoencoder` is null.
///
/// # Safety
/// `autoencoder` is null or can be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_sae_trainer_snapshot(
    trainer: *const LatensSaeTrainer,
    autoencoder: *mut *mut LatensAutoencoder,
) -> LatensStatus {
    const OP: &str = "sae_trainer_snapshot";
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new(OP, std::ptr::null()) };
    let place = || place_of(trainer, OP);
    entry.make_at(place, "autoencoder", autoencoder, |call| {
        Ok(autoencoder::hold(call.place(), with(trainer, OP, |trainer| Ok(trainer.snapshot()?))?))
    })
}

/// Write a checkpoint (a LatensSaeFormat) into `folder`, which is made if it is not there. Each file
/// there is the old one or the new one, whatever happens; where the machine stops between the two, they do not belong together,
/// and opening them says so.
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

/// The same, and the checkpoint says where the activations came from. `origin` is null, if nothing is known, or JSON, an object of
/// what is known, for example `{"model": "gpt2", "hook": "blocks.3.hook_resid_post", "context": 128, "begin": true}`: the language
/// model, the place in it, for a transcoder also `predicted`, the place that is predicted, and both or none of the tokens per context
/// and whether each begins with the tokenizer's token for the beginning of a text. Only SAELens' layout has a place for it.
///
/// # Safety
/// `folder` and `origin` are null or texts in UTF-8 with their final NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_sae_trainer_save_as(
    trainer: *const LatensSaeTrainer,
    folder: *const c_char,
    format: i32,
    origin: *const c_char,
) -> LatensStatus {
    const OP: &str = "sae_trainer_save_as";
    guard(|| {
        // SAFETY: the caller's promise, twice.
        let (folder, origin) = unsafe { (path_of(OP, "folder", folder)?, origin_of(OP, origin)?) };
        let format = format_of(OP, format)?;
        with(trainer, OP, |trainer| Ok(trainer.save(folder, format, &origin)?))
    })
}

/// A LatensSaeFormat.
pub(crate) fn format_of(op: &'static str, format: i32) -> Result<Format, Failure> {
    match format {
        0 => Ok(Format::SaeLens),
        1 => Ok(Format::Sparsify),
        _ => Err(Error::Value { op, arg: "format", want: "a LatensSaeFormat" }.into()),
    }
}

/// Where activations came from, as text; null if nothing is known.
///
/// # Safety
/// As [`text_of`].
pub(crate) unsafe fn origin_of(op: &'static str, origin: *const c_char) -> Result<Origin, Failure> {
    if origin.is_null() {
        return Ok(Origin::default());
    }
    // SAFETY: the caller's promise.
    Origin::from_json(unsafe { text_of(op, "origin", origin)? }).map_err(named(op))
}
