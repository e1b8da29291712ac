use crate::handle::Table;
use crate::{Failure, LatensStatus, guard};
use latens_core::{Device, Error, cuda};
use std::ffi::c_void;
use std::sync::Arc;

/// Where calls run: the host, or a GPU and one stream of it. A null pointer stands for the host everywhere.
pub struct LatensDevice {
    _never: (),
}

/// Kinds of device.
#[repr(C)]
pub enum LatensDeviceKind {
    /// This machine's processor and memory.
    Host = 0,
    /// An NVIDIA GPU, through the `libcuda.so` that the loader finds. The emulator of the test-suite is such a library:
    /// with its folder first on `LD_LIBRARY_PATH`, this kind is emulated.
    Cuda = 1,
}

/// A device and, if it is a GPU, which.
pub(crate) struct Place {
    pub(crate) device: Device,
    pub(crate) ordinal: i32,
}

static OPEN: Table<Place> = Table::new();

/// The place of a handle.
pub(crate) fn place(device: *const LatensDevice, op: &'static str) -> Result<Arc<Place>, Failure> {
    if device.is_null() {
        return Ok(Arc::new(Place { device: Device::Host, ordinal: 0 }));
    }
    OPEN.get(device, op, "device")
}

fn gpu(ordinal: i32, op: &str) -> Result<usize, Failure> {
    let text = || format!("{op}: ordinal is {ordinal}, expected 0 or more");
    usize::try_from(ordinal).map_err(|_| Failure { status: LatensStatus::Value, text: text() })
}

/// # Safety
/// `to` is null or can be written.
pub(crate) unsafe fn give<T>(
    to: *mut T,
    op: &'static str,
    arg: &'static str,
    make: impl FnOnce() -> Result<T, Failure>,
) -> Result<(), Failure> {
    if to.is_null() {
        return Err(Error::Null { op, arg }.into());
    }
    let made = make()?;
    // SAFETY: not null, so the caller's promise; what was there is not ours to drop.
    unsafe { to.write(made) };
    Ok(())
}

/// Open a device of this `kind` (`LatensDeviceKind`). A GPU gets a stream of its own; `ordinal` says which GPU, and is
/// ignored for the host. On failure `*device` is set to null.
///
/// # Safety
/// `device` is null or can be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_device_open(kind: i32, ordinal: i32, device: *mut *mut LatensDevice) -> LatensStatus {
    const OP: &str = "device_open";
    let make = || {
        let opened = match kind {
            0 => Place { device: Device::Host, ordinal: 0 },
            1 => Place { device: Device::cuda(gpu(ordinal, OP)?)?, ordinal },
            _ => return Err(Error::Value { op: OP, arg: "kind", want: "a LatensDeviceKind" }.into()),
        };
        Ok(OPEN.put(opened))
    };
    // SAFETY: the caller's promise, twice.
    guard(|| unsafe {
        if !device.is_null() {
            device.write(std::ptr::null_mut());
        }
        give(device, OP, "device", make)
    })
}

/// Open GPU `ordinal` on a stream of the caller, a `CUstream` or `cudaStream_t` of its primary context; null is the
/// default stream. All work of the device is ordered there. On failure `*device` is set to null.
///
/// # Safety
/// `stream` outlives the device and everything made with it; `device` is null or can be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_device_adopt(
    ordinal: i32,
    stream: *mut c_void,
    device: *mut *mut LatensDevice,
) -> LatensStatus {
    const OP: &str = "device_adopt";
    let make = || {
        // SAFETY: the caller's promise.
        let adopted = unsafe { cuda::Device::adopt(gpu(ordinal, OP)?, stream)? };
        Ok(OPEN.put(Place { device: Device::Cuda(adopted), ordinal }))
    };
    // SAFETY: the caller's promise, twice.
    guard(|| unsafe {
        if !device.is_null() {
            device.write(std::ptr::null_mut());
        }
        give(device, OP, "device", make)
    })
}

/// Wait until all work that was put on the stream of `device` is done. The host never has any.
///
/// # Safety
/// None: a wrong handle is an error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_device_wait(device: *const LatensDevice) -> LatensStatus {
    guard(|| match &place(device, "device_wait")?.device {
        Device::Host => Ok(()),
        Device::Cuda(device) => Ok(device.wait()?),
    })
}

/// Free the handle. What was made with it keeps what it needs. Null is allowed.
///
/// # Safety
/// None: a wrong handle is an error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_device_free(device: *mut LatensDevice) -> LatensStatus {
    guard(|| OPEN.take(device, "device_free", "device"))
}
