use crate::{Device, driver};
use cudarc::driver::{result, sys};
use latens_kernels::{Element, Error, Result, Span, SpanMut};
use std::marker::PhantomData;
use std::sync::Arc;

/// Owned device memory, contents undefined at first, freed in stream order.
pub struct Buffer<T> {
    memory: Arc<Memory>,
    len: usize,
    element: PhantomData<T>,
}

/// An allocation; buffers own one, and so do the graphs that were captured over it.
pub(crate) struct Memory {
    address: u64,
    bytes: usize,
    device: Device,
}

impl Device {
    /// Memory for `len` elements.
    pub fn alloc<T: Element>(&self, len: usize) -> Result<Buffer<T>> {
        self.settled()?;
        let bytes = len.checked_mul(size_of::<T>()).ok_or(Error::TooLarge)?.max(1);
        let stream = &self.0.stream;
        // SAFETY: a live stream, whose context is bound.
        let address =
            stream.context().bind_to_thread().and_then(|()| unsafe { result::malloc_async(stream.cu_stream(), bytes) });
        let address = address.map_err(|e| match e.0 {
            sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY => Error::Memory { bytes },
            _ => driver("cuMemAllocAsync")(e),
        })?;
        let memory = Arc::new(Memory { address, bytes, device: self.clone() });
        self.0.live.lock().unwrap().insert(address, Arc::downgrade(&memory));
        Ok(Buffer { memory, len, element: PhantomData })
    }
}

impl Memory {
    pub(crate) fn holds(&self, address: u64) -> bool {
        (self.address..self.address + self.bytes as u64).contains(&address)
    }
}

impl<T: Element> Buffer<T> {
    /// Where it lives.
    pub fn device(&self) -> &Device {
        &self.memory.device
    }

    /// Borrow all of it.
    pub fn span(&self) -> Span<'_, T> {
        // SAFETY: `len` elements were allocated, aligned to 256 bytes, and live as long as the borrow.
        unsafe { Span::new(self.memory.address, self.len, self.device().id()) }
    }

    /// Borrow all of it for writing.
    pub fn span_mut(&mut self) -> SpanMut<'_, T> {
        // SAFETY: as above, and `&mut` makes it the only span.
        unsafe { SpanMut::new(self.memory.address, self.len, self.device().id()) }
    }

    /// Its device, and all of it for writing.
    pub fn parts_mut(&mut self) -> (&Device, SpanMut<'_, T>) {
        // SAFETY: as above.
        let span = unsafe { SpanMut::new(self.memory.address, self.len, self.device().id()) };
        (self.device(), span)
    }

    /// Set every byte to 0, in stream order.
    pub fn zero(&mut self) -> Result<()> {
        self.copy(self.len)?;
        // SAFETY: `len` elements were allocated, and zero is a value of every `Element`.
        unsafe {
            result::memset_d8_async(
                self.memory.address,
                0,
                self.len * size_of::<T>(),
                self.device().0.stream.cu_stream(),
            )
        }
        .map_err(driver("cuMemsetD8Async"))
    }

    /// Copy from the host, and wait: `from` may be pinned, and then the copy would read it later.
    pub fn write(&mut self, from: &[T]) -> Result<()> {
        self.copy(from.len())?;
        // SAFETY: lengths are equal, and `Element`s are plain bytes.
        unsafe { result::memcpy_htod_async(self.memory.address, from, self.device().0.stream.cu_stream()) }
            .map_err(driver("cuMemcpyHtoDAsync"))?;
        self.device().wait()
    }

    /// Copy to the host, and wait.
    pub fn read(&self, to: &mut [T]) -> Result<()> {
        self.copy(to.len())?;
        // SAFETY: lengths are equal, and every bit pattern is an `Element`.
        unsafe { result::memcpy_dtoh_async(to, self.memory.address, self.device().0.stream.cu_stream()) }
            .map_err(driver("cuMemcpyDtoHAsync"))?;
        self.device().wait()
    }

    fn copy(&self, len: usize) -> Result<()> {
        self.device().settled()?;
        self.device().0.stream.context().bind_to_thread().map_err(driver("cuCtxSetCurrent"))?;
        if len == self.len { Ok(()) } else { Err(Error::Size { op: "copy", arg: "slice", want: self.len, got: len }) }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        let Device(inner) = &self.device;
        inner.live.lock().unwrap().remove(&self.address);
        let bound = inner.stream.context().bind_to_thread();
        // SAFETY: allocated on this stream and freed once, after all work that was ordered on it. A failure cannot be
        // reported from here; it leaks at worst.
        let _ = bound.and_then(|()| unsafe { result::free_async(self.address, inner.stream.cu_stream()) });
    }
}
