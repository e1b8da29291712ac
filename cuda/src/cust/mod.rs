//! Launches on memory and streams of the crate [`cust`](::cust), for programs that already use it.
//!
//! cust makes the context and owns the memory; a [`Device`] adopts its stream, and spans name its buffers:
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use cust::{memory::DeviceBuffer, stream::{Stream, StreamFlags}};
//! let _context = latens_cuda::cust::start()?; // instead of cust::quick_init
//! let stream = Stream::new(StreamFlags::NON_BLOCKING, None)?;
//! // SAFETY: the stream outlives the device.
//! let device = unsafe { latens_cuda::cust::adopt(0, &stream)? };
//! let buffer = DeviceBuffer::from_slice(&[1.0_f32; 16])?;
//! let span = latens_cuda::cust::span(&device, &buffer);
//! # Ok(())
//! # }
//! ```
mod symbols;

use crate::Device;
use ::cust::memory::{DeviceBuffer, DeviceCopy};
use ::cust::stream::Stream;
use latens_kernels::{Element, Error, Result, Span, SpanMut};

/// Start cust on GPU 0, with its primary context, which our devices share. No function of cust may be called before.
///
/// # Errors
/// [`Error::NoDriver`] where there is none.
pub fn start() -> Result<::cust::context::Context> {
    if !symbols::load() {
        return Err(Error::NoDriver);
    }
    ::cust::quick_init().map_err(|error| Error::Driver { call: "cust::quick_init", code: error as i32 })
}

/// A device on a stream of cust.
///
/// # Errors
/// As [`Device::open`].
///
/// # Safety
/// `stream` is of GPU `ordinal`, and outlives every clone of the device.
pub unsafe fn adopt(ordinal: usize, stream: &Stream) -> Result<Device> {
    // SAFETY: the caller's promise; the contexts of cust 0.3 are primary ones.
    unsafe { Device::adopt(ordinal, stream.as_inner().cast()) }
}

/// Borrow a buffer of cust. What cust itself does to it meanwhile must be ordered on the device's stream.
pub fn span<'a, T: Element + DeviceCopy>(device: &Device, buffer: &'a DeviceBuffer<T>) -> Span<'a, T> {
    // SAFETY: the buffer holds `len` elements for as long as it is borrowed, and is not written meanwhile.
    unsafe { Span::new(buffer.as_device_ptr().as_raw(), buffer.len(), device.id()) }
}

/// Borrow a buffer of cust for writing.
pub fn span_mut<'a, T: Element + DeviceCopy>(device: &Device, buffer: &'a mut DeviceBuffer<T>) -> SpanMut<'a, T> {
    // SAFETY: as above, and `&mut` makes it the only span.
    unsafe { SpanMut::new(buffer.as_device_ptr().as_raw(), buffer.len(), device.id()) }
}
