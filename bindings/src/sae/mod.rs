//! Sparse autoencoders, operation by operation.
mod backward;
mod decode;
mod encode;
mod gate;
mod track;

pub use backward::*;
pub use decode::*;
pub use encode::*;
pub use gate::*;
pub use track::*;

use crate::call::Call;
use crate::{Failure, LatensTensor};
use latens_core::{Codes, Element, Error, Shape};

/// The codes of a batch: slots of one number for each row, or with offsets.
fn codes<'a, A: Element>(
    call: &'a Call,
    values: *const LatensTensor,
    latents: *const LatensTensor,
    offsets: *const LatensTensor,
) -> Result<Codes<'a, A>, Failure> {
    if !offsets.is_null() {
        let (values, latents) = (call.input("values", values)?, call.input("latents", latents)?);
        return Codes::flat(values, latents, call.input("offsets", offsets)?).map_err(call.about("latents or offsets"));
    }
    let (values, latents) = (call.input::<A, 2>("values", values)?, call.input::<u32, 2>("latents", latents)?);
    let differs = values.dims().into_iter().zip(latents.dims()).find(|(want, got)| want != got);
    if let Some((want, got)) = differs {
        return Err(Error::Size { op: call.op(), arg: "latents", want, got }.into());
    }
    Codes::fixed(values, latents).map_err(call.about("values or latents"))
}

/// What [`codes`] would have for a shape.
fn shape(call: &Call, latents: *const LatensTensor, offsets: *const LatensTensor) -> Result<Shape, Failure> {
    if offsets.is_null() {
        let [rows, width] = call.layout("latents", latents)?.dims();
        return Ok(Shape::fixed(rows, width)?);
    }
    let ([slots], [ends]) = (call.layout("latents", latents)?.dims(), call.layout("offsets", offsets)?.dims());
    let rows = ends.checked_sub(1).ok_or(Error::Size { op: call.op(), arg: "offsets", want: 1, got: 0 })?;
    Ok(Shape::flat(rows, slots)?)
}
