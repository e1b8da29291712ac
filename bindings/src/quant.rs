use crate::call::{Call, Entry, accumulation};
use crate::{Failure, LatensDevice, LatensStatus, LatensTensor};
use latens_core::{
    Element, Error, Format, QuantSettings, QuantisedMut, Rounding, ViewMut, dequant_into, quant_head, quant_into,
    quant_message, quant_read_into, quant_sum_into, quant_write_into,
};

/// Which numbers there are.
#[repr(C)]
pub enum LatensFormat {
    /// Multiples of the scale to both sides of 0, 2 to 8 bits.
    Symmetric = 0,
    /// Multiples of the scale from the lowest number on, 1 to 8 bits.
    Affine = 1,
    /// Quantiles of the normal distribution, 4 bits.
    Normal4 = 2,
    /// Seven decades, 8 bits.
    Dynamic8 = 3,
    /// The sign, 1 bit.
    Sign = 4,
}

/// How numbers are packed.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct LatensQuant {
    /// A LatensFormat.
    pub format: i32,
    /// Bits of a code.
    pub bits: i32,
    /// Numbers that share a scale: a power of two from 32 to 4096.
    pub block: usize,
    /// 0 for the nearest number; else one of the two around it, right on average.
    pub stochastic: i32,
    /// Names the draws.
    pub seed: u64,
    /// Names the draws of this call.
    pub step: u64,
}

pub(crate) fn settings(call: &Call, from: *const LatensQuant) -> Result<QuantSettings, Failure> {
    let LatensQuant { format, bits, block, stochastic, seed, step } = call.settings("settings", from)?;
    let width = u8::try_from(bits).map_err(|_| call.no_choice("settings.bits", "1 to 8"))?;
    let format = match format {
        0 => Format::Symmetric(width),
        1 => Format::Affine(width),
        2 => Format::Normal4,
        3 => Format::Dynamic8,
        4 => Format::Sign,
        _ => return Err(call.no_choice("settings.format", "a LatensFormat")),
    };
    if format.bits() != usize::from(width) {
        return Err(call.no_choice("settings.bits", "those of the format"));
    }
    let rounding = if stochastic == 0 { Rounding::Nearest } else { Rounding::Stochastic { seed, step } };
    Ok(QuantSettings { format, block, rounding })
}

pub(crate) fn to(
    call: &Call,
    codes: *const LatensTensor,
    scales: *const LatensTensor,
    dropped: *const LatensTensor,
) -> Result<QuantisedMut<'_>, Failure> {
    let (codes, scales) = (call.output("codes", codes)?, call.output("scales", scales)?);
    Ok(QuantisedMut { codes, scales, dropped: call.output("dropped", dropped)? })
}

fn left<'a, T: Element>(call: &'a Call, error: *const LatensTensor) -> Result<Option<ViewMut<'a, T, 1>>, Failure> {
    call.optional_output("error", error)
}

/// Codes of `x` \[n\] T, to which `error` \[n\] f32 is added and in which the rest is left (or null): `codes` \[n bits / 8,
/// rounded up\] u8, `scales` \[blocks, 1\] f32 (for affine codes \[blocks, 2\]: scale and offset). Numbers that are not finite count
/// as 0, and are added to `dropped` \[1\] u32.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_quant(
    device: *const LatensDevice,
    x: *const LatensTensor,
    settings: *const LatensQuant,
    error: *const LatensTensor,
    codes: *const LatensTensor,
    scales: *const LatensTensor,
    dropped: *const LatensTensor,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("quant", device) };
    entry.run(|call| {
        let settings = self::settings(call, settings)?;
        float!(call, "x" = x, T => {
            let (x, error) = (call.input("x", x)?, left(call, error)?);
            quant_into::<T>(x, &settings, error, to(call, codes, scales, dropped)?)
        })
    })
}

/// The numbers of codes, `y` \[n\] T; `accumulate` is a LatensAccumulate.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_dequant(
    device: *const LatensDevice,
    codes: *const LatensTensor,
    scales: *const LatensTensor,
    settings: *const LatensQuant,
    accumulate: i32,
    y: *const LatensTensor,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("dequant", device) };
    entry.run(|call| {
        let (settings, accumulate) = (self::settings(call, settings)?, accumulation(call, accumulate)?);
        float!(call, "y" = y, T => {
            let (codes, scales) = (call.input("codes", codes)?, call.input("scales", scales)?);
            dequant_into::<T>(codes, scales, &settings, accumulate, call.output("y", y)?)
        })
    })
}

/// Codes of `factor` times the sum of the `n` numbers of each rank, whose codes are \[ranks, bytes\] u8 with scales \[ranks,
/// blocks, 1 or 2\] f32. The sum is f32, in the order of ranks. Outputs as for `latens_quant`.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_quant_sum(
    device: *const LatensDevice,
    rank_codes: *const LatensTensor,
    rank_scales: *const LatensTensor,
    n: usize,
    factor: f32,
    settings: *const LatensQuant,
    error: *const LatensTensor,
    codes: *const LatensTensor,
    scales: *const LatensTensor,
    dropped: *const LatensTensor,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("quant_sum", device) };
    entry.run(|call| {
        let settings = self::settings(call, settings)?;
        let (from, from_scales) = (call.input("rank_codes", rank_codes)?, call.input("rank_scales", rank_scales)?);
        let (error, to) = (left(call, error)?, to(call, codes, scales, dropped)?);
        Ok(quant_sum_into(from, from_scales, n, factor, &settings, error, to)?)
    })
}

/// Bytes of the message that `n` numbers are sent in.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_quant_message(
    n: usize,
    settings: *const LatensQuant,
    bytes: *mut usize,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("quant_message", std::ptr::null()) };
    entry.run(|call| {
        let settings = self::settings(call, settings)?;
        call.give("bytes", bytes, || Ok(quant_message(n, &settings)?))
    })
}

/// Codes and scales of `n` numbers as a message, the same bytes on any machine: `message` \[latens_quant_message\] u8. All
/// tensors are on the host. A head of 32 bytes, numbers lowest byte first: the letters LTNQ; version 1, the LatensFormat,
/// the bits and 0 in a byte each; the block in 4 bytes and 4 bytes of 0; n in 8; how many bytes follow in 8. Then the
/// scales, then the codes.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_quant_write(
    codes: *const LatensTensor,
    scales: *const LatensTensor,
    n: usize,
    settings: *const LatensQuant,
    message: *const LatensTensor,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("quant_write", std::ptr::null()) };
    entry.run(|call| {
        let settings = self::settings(call, settings)?;
        let (codes, scales) = (call.input("codes", codes)?, call.input("scales", scales)?);
        Ok(quant_write_into(codes, scales, n, &settings, call.output("message", message)?)?)
    })
}

/// How many numbers a message is of, and how they are packed; rounding is said to be to the nearest. The message may come
/// from a stranger: all but its codes and scales is checked, and on failure nothing is written.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_quant_head(
    message: *const LatensTensor,
    n: *mut usize,
    settings: *mut LatensQuant,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("quant_head", std::ptr::null()) };
    entry.run(|call| {
        let (count, QuantSettings { format, block, .. }) = quant_head(call.input("message", message)?)?;
        let (number, bits) = (i32::from(format.number()), format.bits() as i32);
        if n.is_null() {
            return Err(Error::Null { op: "quant_head", arg: "n" }.into());
        }
        let found = LatensQuant { format: number, bits, block, stochastic: 0, seed: 0, step: 0 };
        call.give("settings", settings, || Ok(found))?;
        call.give("n", n, || Ok(count))
    })
}

/// The codes and scales of a message, in the shapes of `latens_quant` by what `latens_quant_head` tells. All tensors are
/// on the host. On failure nothing is written.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_quant_read(
    message: *const LatensTensor,
    codes: *const LatensTensor,
    scales: *const LatensTensor,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("quant_read", std::ptr::null()) };
    entry.run(|call| {
        let message = call.input("message", message)?;
        Ok(quant_read_into(message, call.output("codes", codes)?, call.output("scales", scales)?)?)
    })
}
