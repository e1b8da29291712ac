use crate::call::{Call, Entry};
use crate::segments::segments as table;
use crate::{Failure, LatensDevice, LatensSegments, LatensStatus, LatensTensor};
use latens_core::{EntropySettings, Estimator, Sampling, entropy_into, entropy_workspace};

/// What entropy is estimated.
#[repr(C)]
pub enum LatensEstimator {
    /// Of a histogram between the lowest and the highest element: it does not change with the scale.
    Discrete = 0,
    /// Of that histogram as a density.
    Differential = 1,
    /// Of the normal distribution of that variance.
    Gaussian = 2,
}

/// How entropy is estimated.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct LatensEntropy {
    /// A LatensEstimator.
    pub estimator: i32,
    /// Whether the correction for empty bins is added.
    pub correct: i32,
    /// Bins of the histogram, 2 to 4096.
    pub bins: usize,
    /// Elements of a chunk, a power of two from 32 to 1024; or 0: every `stride`-th of all finite elements is taken.
    pub chunk: usize,
    /// One chunk of so many is taken.
    pub stride: usize,
    /// Names the draws.
    pub seed: u64,
    /// Names the draws of this call.
    pub step: u64,
}

fn settings(call: &Call, from: *const LatensEntropy) -> Result<EntropySettings, Failure> {
    let LatensEntropy { estimator, correct, bins, chunk, stride, seed, step } = call.settings("settings", from)?;
    let estimator = match estimator {
        0 => Estimator::Discrete,
        1 => Estimator::Differential,
        2 => Estimator::Gaussian,
        _ => return Err(call.no_choice("settings.estimator", "a LatensEstimator")),
    };
    let sampling = match chunk {
        0 => Sampling::Released { stride },
        _ => Sampling::Chunks { chunk, stride, seed, step },
    };
    Ok(EntropySettings { estimator, bins, correct: correct != 0, sampling })
}

/// Entropy in nats of the elements of each segment of `x` \[len\] T, from a sample. `values` \[segments, 8\] A: entropy,
/// standard error, correction for empty bins, lowest, highest, mean, variance, bins that are not empty. `counts`
/// \[segments, 3\] u32: finite elements of the sample, NaN, infinities.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_entropy(
    device: *const LatensDevice,
    x: *const LatensTensor,
    segments: *const LatensSegments,
    settings: *const LatensEntropy,
    values: *const LatensTensor,
    counts: *const LatensTensor,
    workspace: *const LatensTensor,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("entropy", device) };
    entry.run(|call| {
        let (table, settings) = (table(segments, call.op())?, self::settings(call, settings)?);
        float!(call, "x" = x, T => {
            let (x, values) = (call.input("x", x)?, call.output("values", values)?);
            entropy_into::<T>(x, &table, &settings, values, call.output("counts", counts)?, call.workspace(workspace)?)
        })
    })
}

/// Bytes of workspace that `latens_entropy` asks for.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_entropy_workspace(
    device: *const LatensDevice,
    segments: *const LatensSegments,
    settings: *const LatensEntropy,
    bytes: *mut usize,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("entropy_workspace", device) };
    entry.run(|call| {
        let (table, settings) = (table(segments, call.op())?, self::settings(call, settings)?);
        call.give("bytes", bytes, || Ok(entropy_workspace(table.segments(), &settings, call.device())?))
    })
}
