//! Finding a driver without the panics that cudarc raises where there is none, or an ancient one.
use crate::driver;
use cudarc::driver::{CudaContext, result, sys};
use latens_kernels::{Error, Result};
use std::ffi::c_void;
use std::sync::Arc;

/// The oldest driver that has every function we call (`cuFuncGetParamInfo` is the newest of them): CUDA 12.4.
const OLDEST: i32 = 12_040;

/// A driver of a usable version is here and has started.
///
/// # Errors
/// [`Error::NoDriver`], whatever is missing.
pub(crate) fn ready() -> Result<()> {
    // SAFETY: loading libcuda runs the vendor's start-up code only.
    if !unsafe { sys::is_culib_present() } {
        return Err(Error::NoDriver);
    }
    // The library first, then a symbol that an ancient one lacks: cudarc panics on a missing symbol.
    // SAFETY: the library is present, and the type is that of the driver's header.
    let version = unsafe {
        let ask = sys::culib().get::<unsafe extern "C" fn(*mut i32) -> i32>(b"cuDriverGetVersion\0");
        ask.ok().and_then(|ask| {
            let mut version = 0;
            (ask(&mut version) == 0).then_some(version)
        })
    };
    if version.is_none_or(|version| version < OLDEST) {
        return Err(Error::NoDriver);
    }
    // A driver without a device, or one that the kernel module does not match, says so here.
    result::init().map_err(|_| Error::NoDriver)
}

/// The primary context of GPU `ordinal`, which all libraries of a process share.
pub(crate) fn primary(ordinal: usize) -> Result<Arc<CudaContext>> {
    ready()?;
    let context = CudaContext::new(ordinal).map_err(driver("cuDevicePrimaryCtxRetain"))?;
    quiet(&context);
    Ok(context)
}

/// A context that the caller made and keeps.
///
/// # Safety
/// `context` is a live context of `ordinal`, and is not destroyed before everything that was made from it is dropped.
pub(crate) unsafe fn borrowed(ordinal: usize, context: *mut c_void) -> Result<Arc<CudaContext>> {
    ready()?;
    let device = result::device::get(ordinal as i32).map_err(driver("cuDeviceGet"))?;
    // SAFETY: the caller's promise.
    let context = unsafe { CudaContext::from_raw_context(ordinal, device, context.cast()) };
    let context = context.map_err(driver("cuCtxSetCurrent"))?;
    // cudarc destroys a context with its last handle. This one is the caller's, so a handle is never dropped.
    std::mem::forget(context.clone());
    quiet(&context);
    Ok(context)
}

/// No events at every use of memory: they break graph capture, and order nothing that one stream does not.
fn quiet(context: &Arc<CudaContext>) {
    // SAFETY: memory of a device is used on its one stream only, which `run` and the copies check or own.
    unsafe { context.disable_event_tracking() };
}
