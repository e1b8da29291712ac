use crate::call::Entry;
use crate::checkpoint::{format_of, origin_of};
use crate::device::{Place, give};
use crate::handle::Table;
use crate::text::path_of;
use crate::{Failure, LatensDevice, LatensStatus, LatensTensor, guard};
use latens::sae::{Origin, Sae};
use latens_core::{Code, Error, Tensor};
use std::ffi::c_char;
use std::sync::Arc;

/// A sparse autoencoder to be used: of any kind, f32, on one device. Calls from several threads may use it at once.
pub struct LatensAutoencoder {
    _never: (),
}

struct Held {
    place: Arc<Place>,
    sae: Sae,
}

static AUTOENCODERS: Table<Held> = Table::new();

/// Read a checkpoint onto `device`: a folder in the layout of SAELens, sparsify, dictionary_learning, Gemma Scope or Llama Scope, or a
/// `.pt` file of OpenAI's. On failure `*autoencoder` is null.
///
/// # Safety
/// `path` is null or a text in UTF-8 with its final NUL; `autoencoder` is null or can be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_autoencoder_open(
    device: *const LatensDevice,
    path: *const c_char,
    autoencoder: *mut *mut LatensAutoencoder,
) -> LatensStatus {
    const OP: &str = "autoencoder_open";
    // SAFETY: the caller's promises.
    let entry = unsafe { Entry::new(OP, device) };
    entry.make("autoencoder", autoencoder, |call| {
        // SAFETY: the caller's promise.
        let path = unsafe { path_of(OP, "path", path)? };
        Ok(hold(call.place(), Sae::load(path, call.device()).map_err(named(OP))?))
    })
}

/// How many latents there are, and how wide rows are.
///
/// # Safety
/// `latents` and `dim` are null or can be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_autoencoder_size(
    autoencoder: *const LatensAutoencoder,
    latents: *mut usize,
    dim: *mut usize,
) -> LatensStatus {
    const OP: &str = "autoencoder_size";
    guard(|| {
        let held: Arc<Held> = AUTOENCODERS.get(autoencoder, OP, "autoencoder")?;
        // SAFETY: the caller's promises.
        unsafe {
            give(latents, OP, "latents", || Ok(held.sae.latents()))?;
            give(dim, OP, "dim", || Ok(held.sae.d()))
        }
    })
}

/// The active latents of each row of `x` \[rows, dim\] f32, by rising latent: `values` \[rows, width\] f32 and `latents` \[rows, width\] u32.
/// Empty slots hold 0 and the number of latents. A row with more active latents than `width` is an error that says how
/// many there are; nothing is written then.
///
/// # Safety
/// Tensors are null or as DLPack says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_autoencoder_encode(
    autoencoder: *const LatensAutoencoder,
    x: *const LatensTensor,
    values: *const LatensTensor,
    latents: *const LatensTensor,
) -> LatensStatus {
    const OP: &str = "autoencoder_encode";
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new(OP, std::ptr::null()) };
    let place = || Ok(held(autoencoder, OP)?.place.clone());
    entry.run_at(place, |call| {
        let held = held(autoencoder, OP)?;
        let x = call.input::<f32, 2>("x", x)?;
        let mut values = call.output::<f32, 2>("values", values)?;
        let mut latents = call.output::<u32, 2>("latents", latents)?;
        let [rows, width] = values.dims();
        for (arg, want, got) in
            [("values", x.dims()[0], rows), ("latents", rows, latents.dims()[0]), ("latents", width, latents.dims()[1])]
        {
            if want != got {
                return Err(Error::Size { op: OP, arg, want, got }.into());
            }
        }
        let code = held.sae.encode(x).map_err(named(OP))?;
        let (found, names) = padded(&code, [rows, width], held.sae.latents())?;
        let device = held.sae.device();
        latens_core::copy_into(Tensor::from_vec(found, [rows, width], &device)?.view(), values.reborrow())?;
        Ok(latens_core::copy_into(Tensor::from_vec(names, [rows, width], &device)?.view(), latents.reborrow())?)
    })
}

/// The rows `y` \[rows, dim\] f32 that codes stand for: `values` \[rows, width\] f32 and `latents` \[rows, width\] u32, of which latents beyond
/// the last are empty slots. Of an autoencoder that scales rows, these are scaled ones; see latens_autoencoder_reconstruct.
///
/// # Safety
/// Tensors are null or as DLPack says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_autoencoder_decode(
    autoencoder: *const LatensAutoencoder,
    values: *const LatensTensor,
    latents: *const LatensTensor,
    y: *const LatensTensor,
) -> LatensStatus {
    const OP: &str = "autoencoder_decode";
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new(OP, std::ptr::null()) };
    let place = || Ok(held(autoencoder, OP)?.place.clone());
    entry.run_at(place, |call| {
        let held = held(autoencoder, OP)?;
        let values = call.input::<f32, 2>("values", values)?;
        let latents = call.input::<u32, 2>("latents", latents)?;
        let y = call.output::<f32, 2>("y", y)?;
        let device = held.sae.device();
        let mut copies = (Tensor::empty(values.dims(), &device)?, Tensor::empty(latents.dims(), &device)?);
        latens_core::copy_into(values, copies.0.view_mut())?;
        latens_core::copy_into(latents, copies.1.view_mut())?;
        let recon = held.sae.decode(&Code::fixed(copies.0, copies.1)?).map_err(named(OP))?;
        Ok(latens_core::copy_into(recon.view(), y)?)
    })
}

/// What the autoencoder makes of `x` \[rows, dim\] f32: encode and decode, rows scaled and back, and what a skip transcoder adds. `y` is
/// \[rows, dim\] f32.
///
/// # Safety
/// Tensors are null or as DLPack says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_autoencoder_reconstruct(
    autoencoder: *const LatensAutoencoder,
    x: *const LatensTensor,
    y: *const LatensTensor,
) -> LatensStatus {
    const OP: &str = "autoencoder_reconstruct";
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new(OP, std::ptr::null()) };
    let place = || Ok(held(autoencoder, OP)?.place.clone());
    entry.run_at(place, |call| {
        let held = held(autoencoder, OP)?;
        let (x, y) = (call.input::<f32, 2>("x", x)?, call.output::<f32, 2>("y", y)?);
        let recon = held.sae.reconstruct(x).map_err(named(OP))?;
        Ok(latens_core::copy_into(recon.view(), y)?)
    })
}

/// Write a checkpoint (a LatensSaeFormat) into `folder`, which is made if it is not there. Whatever happens, the files there are the
/// old ones or the new ones.
///
/// # Safety
/// `folder` is null or a text in UTF-8 with its final NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_autoencoder_save(
    autoencoder: *const LatensAutoencoder,
    folder: *const c_char,
    format: i32,
) -> LatensStatus {
    const OP: &str = "autoencoder_save";
    guard(|| {
        // SAFETY: the caller's promise.
        let folder = unsafe { path_of(OP, "folder", folder)? };
        let format = format_of(OP, format)?;
        held(autoencoder, OP)?.sae.save(folder, format, &Origin::default()).map_err(named(OP))
    })
}

/// The same, and the checkpoint says where the activations came from: `origin` is as in latens_sae_trainer_save_as.
///
/// # Safety
/// `folder` and `origin` are null or texts in UTF-8 with their final NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_autoencoder_save_as(
    autoencoder: *const LatensAutoencoder,
    folder: *const c_char,
    format: i32,
    origin: *const c_char,
) -> LatensStatus {
    const OP: &str = "autoencoder_save_as";
    guard(|| {
        // SAFETY: the caller's promise, twice.
        let (folder, origin) = unsafe { (path_of(OP, "folder", folder)?, origin_of(OP, origin)?) };
        let format = format_of(OP, format)?;
        held(autoencoder, OP)?.sae.save(folder, format, &origin).map_err(named(OP))
    })
}

/// Free the autoencoder. Null is allowed.
///
/// # Safety
/// None: a wrong handle is an error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_autoencoder_free(autoencoder: *mut LatensAutoencoder) -> LatensStatus {
    guard(|| AUTOENCODERS.take(autoencoder, "autoencoder_free", "autoencoder"))
}

/// A handle for an autoencoder on the device of `place`.
pub(crate) fn hold(place: Arc<Place>, sae: Sae) -> *mut LatensAutoencoder {
    AUTOENCODERS.put(Held { place, sae })
}

fn held(autoencoder: *const LatensAutoencoder, op: &'static str) -> Result<Arc<Held>, Failure> {
    AUTOENCODERS.get(autoencoder, op, "autoencoder")
}

/// A failure that names the operation.
pub(crate) fn named<E: Into<Failure>>(op: &'static str) -> impl Fn(E) -> Failure {
    move |error| {
        let Failure { status, text } = error.into();
        let text = if text.starts_with(op) { text } else { format!("{op}: {text}") };
        Failure { status, text }
    }
}

/// Codes with so many slots for each row.
fn padded(code: &Code<f32>, [rows, width]: [usize; 2], n: usize) -> Result<(Vec<f32>, Vec<u32>), Failure> {
    let (values, latents) = (code.values.to_vec()?, code.latents.to_vec()?);
    let each = values.len().checked_div(rows).unwrap_or(0);
    let (mut all, mut names) = (vec![0.0; rows * width], vec![n as u32; rows * width]);
    for row in 0..rows {
        let slots = (row * each..(row + 1) * each).filter(|&slot| (latents[slot] as usize) < n && values[slot] > 0.0);
        let slots: Vec<usize> = slots.collect();
        if slots.len() > width {
            return Err(Error::Size { op: "autoencoder_encode", arg: "values", want: slots.len(), got: width }.into());
        }
        for (at, slot) in slots.into_iter().enumerate() {
            (all[row * width + at], names[row * width + at]) = (values[slot], latents[slot]);
        }
    }
    Ok((all, names))
}
