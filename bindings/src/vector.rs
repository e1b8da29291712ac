use crate::autoencoder::named;
use crate::call::Entry;
use crate::device::{Place, give};
use crate::handle::Table;
use crate::text::{path_of, text_of};
use crate::{Failure, LatensDevice, LatensStatus, LatensTensor, guard};
use latens::steer::{Vector, add_direction};
use latens_core::{Error, Float};
use std::ffi::c_char;
use std::sync::Arc;

/// A direction that stands for a concept, to be added to activations on one device. Calls from several threads may use it at once.
pub struct LatensVector {
    _never: (),
}

struct Held {
    place: Arc<Place>,
    vector: Vector,
}

static VECTORS: Table<Held> = Table::new();

/// Read the vector that is saved as `path`.safetensors and `path`.json. On failure `*vector` is null.
///
/// # Safety
/// `path` is null or a text in UTF-8 with its final NUL; `vector` is null or can be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_vector_open(
    device: *const LatensDevice,
    path: *const c_char,
    vector: *mut *mut LatensVector,
) -> LatensStatus {
    const OP: &str = "vector_open";
    // SAFETY: the caller's promises.
    let entry = unsafe { Entry::new(OP, device) };
    entry.make("vector", vector, |call| {
        // SAFETY: the caller's promise.
        let path = unsafe { path_of(OP, "path", path)? };
        Ok(VECTORS.put(Held { place: call.place(), vector: Vector::load(path).map_err(named(OP))? }))
    })
}

/// How wide it is, the layer whose activations it is added to, and the mean length of these, or 0 where that was not measured.
///
/// # Safety
/// `dim`, `layer` and `typical` are null or can be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_vector_size(
    vector: *const LatensVector,
    dim: *mut usize,
    layer: *mut usize,
    typical: *mut f32,
) -> LatensStatus {
    const OP: &str = "vector_size";
    guard(|| {
        let held = held(vector, OP)?;
        // SAFETY: the caller's promises.
        unsafe {
            give(dim, OP, "dim", || Ok(held.vector.values.len()))?;
            give(layer, OP, "layer", || Ok(held.vector.site.layer))?;
            give(typical, OP, "typical", || Ok(held.vector.typical))
        }
    })
}

/// Refuse a vector that was made for another model or place: `model` is the SHA-256 of its weights, as the vector's JSON has it, `site` the place
/// by TransformerLens' name, such as blocks.15.hook_resid_post. Either may be null, and is then not looked at.
///
/// # Safety
/// `model` and `site` are null or texts in UTF-8 with their final NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_vector_check(
    vector: *const LatensVector,
    model: *const c_char,
    site: *const c_char,
) -> LatensStatus {
    const OP: &str = "vector_check";
    guard(|| {
        let held = held(vector, OP)?;
        let text = |arg, text: *const c_char| match text.is_null() {
            true => Ok(None),
            // SAFETY: the caller's promise.
            false => unsafe { text_of(OP, arg, text) }.map(Some),
        };
        held.vector.check_named(text("model", model)?, text("site", site)?).map_err(named(OP))
    })
}

/// x += strength * vector, in every row of `x` \[rows, dim\] of any float type, rounded once. Rows that are to stay are left out of `x`, which
/// may have gaps between rows.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_vector_add(
    vector: *const LatensVector,
    strength: f32,
    x: *const LatensTensor,
) -> LatensStatus {
    const OP: &str = "vector_add";
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new(OP, std::ptr::null()) };
    entry.run_at(place(vector, OP), |call| {
        let held = held(vector, OP)?;
        float!(call, "x" = x, T => {
            let x = call.output::<T, 2>("x", x)?;
            let strengths = vec![strength; x.dims()[0]];
            add::<T>(OP, &held.vector, &strengths, x)
        })
    })
}

/// x\[row\] += strengths\[row\] * vector: another strength in each row, \[rows\] f32, on the host or where `x` is.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_vector_add_each(
    vector: *const LatensVector,
    strengths: *const LatensTensor,
    x: *const LatensTensor,
) -> LatensStatus {
    const OP: &str = "vector_add_each";
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new(OP, std::ptr::null()) };
    entry.run_at(place(vector, OP), |call| {
        let held = held(vector, OP)?;
        let given = call.input_anywhere::<f32, 1>("strengths", strengths)?;
        let mut strengths = latens_core::Tensor::empty(given.dims(), &given.device())?;
        latens_core::copy_into(given, strengths.view_mut())?;
        let strengths = strengths.to_vec()?;
        float!(call, "x" = x, T => add::<T>(OP, &held.vector, &strengths, call.output::<T, 2>("x", x)?))
    })
}

/// Free the vector. Null is allowed.
///
/// # Safety
/// None: a wrong handle is an error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_vector_free(vector: *mut LatensVector) -> LatensStatus {
    guard(|| VECTORS.take(vector, "vector_free", "vector"))
}

fn add<T: Float>(
    op: &'static str,
    vector: &Vector,
    strengths: &[f32],
    x: latens_core::ViewMut<'_, T, 2>,
) -> Result<(), Failure> {
    let [rows, got] = x.dims();
    let size = |arg, want, got| Err(Error::Size { op, arg, want, got }.into());
    if got != vector.values.len() {
        return size("x", vector.values.len(), got);
    }
    if rows != strengths.len() {
        return size("strengths", rows, strengths.len());
    }
    add_direction(&vector.values, strengths, x).map_err(named(op))
}

fn held(vector: *const LatensVector, op: &'static str) -> Result<Arc<Held>, Failure> {
    VECTORS.get(vector, op, "vector")
}

fn place(vector: *const LatensVector, op: &'static str) -> impl Fn() -> Result<Arc<Place>, Failure> {
    move || Ok(held(vector, op)?.place.clone())
}
