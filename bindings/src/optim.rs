use crate::call::{Entry, accumulation};
use crate::{LatensDevice, LatensStatus, LatensTensor};
use latens_core::{
    AdamW, Signum, adamw_into, adamw8_into, clip_scale_into, clip_squares_into, decoder_step_into, signum_into,
};

/// Settings of a step.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct LatensAdamW {
    /// Learning rate.
    pub lr: f64,
    /// Decay of the mean of gradients.
    pub beta1: f64,
    /// Decay of the mean of their squares.
    pub beta2: f64,
    /// Guard against division by zero.
    pub eps: f64,
    /// Decay of the weights, times `lr`.
    pub weight_decay: f64,
    /// The number of this step, from 1.
    pub step: u64,
}

impl From<LatensAdamW> for AdamW {
    fn from(from: LatensAdamW) -> Self {
        let LatensAdamW { lr, beta1, beta2, eps, weight_decay, step } = from;
        AdamW { lr, beta1, beta2, eps, weight_decay, step }
    }
}

/// A step of AdamW of the entries of `w` along the gradient `g`, in place, with running means `m` and `v` of `g` and its
/// square: all f32 and of one shape, of rank 1 or 2.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_adamw(
    device: *const LatensDevice,
    g: *const LatensTensor,
    settings: *const LatensAdamW,
    w: *const LatensTensor,
    m: *const LatensTensor,
    v: *const LatensTensor,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("adamw", device) };
    entry.run(|call| {
        let adamw = call.settings("settings", settings)?.into();
        let rank = call.rank("w", w)?;
        let done = if rank == 1 {
            adamw_into::<1>(
                call.output("w", w)?,
                call.input("g", g)?,
                call.output("m", m)?,
                call.output("v", v)?,
                &adamw,
            )
        } else {
            adamw_into::<2>(
                call.output("w", w)?,
                call.input("g", g)?,
                call.output("m", m)?,
                call.output("v", v)?,
                &adamw,
            )
        };
        Ok(done?)
    })
}

/// A step of the rows of a decoder, in place: each loses the part of its gradient `g` along itself, takes a step of AdamW, and
/// is made of length one again. All \[n, dim\] f32.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_decoder_step(
    device: *const LatensDevice,
    g: *const LatensTensor,
    settings: *const LatensAdamW,
    w_dec: *const LatensTensor,
    m: *const LatensTensor,
    v: *const LatensTensor,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("decoder_step", device) };
    entry.run(|call| {
        let adamw = call.settings("settings", settings)?.into();
        let (w_dec, g) = (call.output("w_dec", w_dec)?, call.input("g", g)?);
        Ok(decoder_step_into(w_dec, g, call.output("m", m)?, call.output("v", v)?, &adamw)?)
    })
}

/// A step of AdamW whose running means are codes of 8 bits, in place: `w` and `g` f32, `m` and `v` u8, all of one shape, of rank
/// 1 or 2; `scales` \[blocks, 2\] f32, of the means of each block of `block` entries (a multiple of 32 from 64 to 4096; the
/// last may be shorter). Codes and scales are zero before the first step.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_adamw8(
    device: *const LatensDevice,
    g: *const LatensTensor,
    settings: *const LatensAdamW,
    block: usize,
    w: *const LatensTensor,
    m: *const LatensTensor,
    v: *const LatensTensor,
    scales: *const LatensTensor,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("adamw8", device) };
    entry.run(|call| {
        let adamw = call.settings("settings", settings)?.into();
        let scales = call.output("scales", scales)?;
        Ok(if call.rank("w", w)? == 1 {
            let (w, g) = (call.output("w", w)?, call.input("g", g)?);
            adamw8_into::<1>(w, g, call.output("m", m)?, call.output("v", v)?, scales, block, &adamw)
        } else {
            let (w, g) = (call.output("w", w)?, call.input("g", g)?);
            adamw8_into::<2>(w, g, call.output("m", m)?, call.output("v", v)?, scales, block, &adamw)
        }?)
    })
}

/// A step of the entries of `w` by the sign of a running mean `m` of the gradient `g`, in place: m = beta m + (1 - beta) g,
/// w = (1 - lr weight_decay) w - lr sign(m). All f32 and of one shape, of rank 1 or 2.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_signum(
    device: *const LatensDevice,
    g: *const LatensTensor,
    lr: f64,
    beta: f64,
    weight_decay: f64,
    w: *const LatensTensor,
    m: *const LatensTensor,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("signum", device) };
    entry.run(|call| {
        let rates = Signum { lr, beta, weight_decay };
        Ok(match call.rank("w", w)? {
            1 => signum_into::<1>(call.output("w", w)?, call.input("g", g)?, call.output("m", m)?, &rates),
            _ => signum_into::<2>(call.output("w", w)?, call.input("g", g)?, call.output("m", m)?, &rates),
        }?)
    })
}

/// Partial sums of the squares of `g`, one part of a gradient, f32 of rank 1 or 2: `squares` \[256\] f32, replaced or
/// added to by `accumulate` (a LatensAccumulate). Then latens_clip_scale for each part.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_clip_squares(
    device: *const LatensDevice,
    g: *const LatensTensor,
    accumulate: i32,
    squares: *const LatensTensor,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("clip_squares", device) };
    entry.run(|call| {
        let accumulate = accumulation(call, accumulate)?;
        let squares = call.output("squares", squares)?;
        Ok(match call.rank("g", g)? {
            1 => clip_squares_into::<1>(call.input("g", g)?, accumulate, squares),
            _ => clip_squares_into::<2>(call.input("g", g)?, accumulate, squares),
        }?)
    })
}

/// Shorten `g`, one part of a gradient, in place, by what brings the whole to length `most` if it is longer. The host does
/// not wait.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_clip_scale(
    device: *const LatensDevice,
    squares: *const LatensTensor,
    most: f32,
    g: *const LatensTensor,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("clip_scale", device) };
    entry.run(|call| {
        let squares = call.input("squares", squares)?;
        Ok(match call.rank("g", g)? {
            1 => clip_scale_into::<1>(squares, most, call.output("g", g)?),
            _ => clip_scale_into::<2>(squares, most, call.output("g", g)?),
        }?)
    })
}
