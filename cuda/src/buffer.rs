use crate::{Device, driver, held};
use cudarc::driver::{result, sys};
use latens_kernels::{Element, Error, Result, Span, SpanMut};
use std::marker::PhantomData;
use std::ops::Range;
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
    ///
    /// # Errors
    /// [`Error::Memory`] if there is not so much, [`Error::Capture`] during a capture.
    pub fn alloc<T: Element>(&self, len: usize) -> Result<Buffer<T>> {
        // The driver has no empty allocations.
        let bytes = len.checked_mul(size_of::<T>()).ok_or(Error::TooLarge)?.max(1);
        let held_stream = self.settled()?;
        self.bind()?;
        // SAFETY: a live stream, whose context is bound.
        let address = unsafe {
            if self.0.pools {
                result::malloc_async(self.0.stream.cu_stream(), bytes)
            } else {
                result::malloc_sync(bytes)
            }
        };
        drop(held_stream);
        let address = address.map_err(|e| match e.0 {
            sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY => Error::Memory { bytes },
            _ => driver("cuMemAlloc")(e),
        })?;
        let memory = Arc::new(Memory { address, bytes, device: self.clone() });
        held(&self.0.live).insert(address, Arc::downgrade(&memory));
        Ok(Buffer { memory, len, element: PhantomData })
    }

    /// Free memory of ours after all work that is on the stream. No capture may be under way.
    pub(crate) fn free(&self, address: u64) {
        if self.bind().is_err() {
            return;
        }
        // A failure cannot be reported from where this is called; it leaks at worst.
        // SAFETY: allocated by `alloc` in the same way, and freed once.
        let _ = unsafe {
            // `cuMemFree` waits for the device by itself.
            if self.0.pools {
                result::free_async(address, self.0.stream.cu_stream())
            } else {
                result::free_sync(address)
            }
        };
    }
}

impl Memory {
    pub(crate) fn holds(&self, address: u64) -> bool {
        (self.address..self.address + self.bytes as u64).contains(&address)
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        held(&self.device.0.live).remove(&self.address);
        self.device.release(self.address);
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
        self.parts_mut().1
    }

    /// Its device, and all of it for writing.
    pub fn parts_mut(&mut self) -> (&Device, SpanMut<'_, T>) {
        // SAFETY: `len` elements were allocated, aligned to 256 bytes, and `&mut` makes this the only span.
        let span = unsafe { SpanMut::new(self.memory.address, self.len, self.device().id()) };
        (self.device(), span)
    }

    /// Set every byte to 0, in stream order.
    ///
    /// # Errors
    /// [`Error::Capture`] during a capture.
    pub fn zero(&mut self) -> Result<()> {
        let bytes = self.len * size_of::<T>();
        self.ordered("cuMemsetD8Async", |stream| {
            // SAFETY: `len` elements were allocated, and zero is a value of every `Element`.
            unsafe { result::memset_d8_async(self.memory.address, 0, bytes, stream) }
        })
    }

    /// Copy from the host, and wait: `from` may be pinned, and then the copy would read it later.
    ///
    /// # Errors
    /// [`Error::Size`] if the lengths differ.
    pub fn write(&mut self, from: &[T]) -> Result<()> {
        same_length(self.len, from.len())?;
        self.write_at(0, from)
    }

    /// Copy from the host to the elements from `start` on, and wait.
    ///
    /// # Errors
    /// [`Error::Size`] if they reach past the end.
    pub fn write_at(&mut self, start: usize, from: &[T]) -> Result<()> {
        let to = self.part(start, from.len())?;
        self.ordered("cuMemcpyHtoDAsync", |stream| {
            // SAFETY: the part was checked, and `Element`s are plain bytes.
            unsafe { result::memcpy_htod_async(to, from, stream) }
        })?;
        self.device().wait()
    }

    /// Copy to the host, and wait.
    ///
    /// # Errors
    /// [`Error::Size`] if the lengths differ.
    pub fn read(&self, to: &mut [T]) -> Result<()> {
        same_length(self.len, to.len())?;
        self.read_at(0, to)
    }

    /// Copy the elements from `start` on to the host, and wait.
    ///
    /// # Errors
    /// [`Error::Size`] if they reach past the end.
    pub fn read_at(&self, start: usize, to: &mut [T]) -> Result<()> {
        let from = self.part(start, to.len())?;
        self.ordered("cuMemcpyDtoHAsync", |stream| {
            // SAFETY: the part was checked, and every bit pattern is an `Element`.
            unsafe { result::memcpy_dtoh_async(to, from, stream) }
        })?;
        self.device().wait()
    }

    /// Copy `range` of another buffer of the same device to the elements from `start` on, in stream order.
    ///
    /// # Errors
    /// [`Error::Size`] if either part reaches past the end, [`Error::Device`] if `from` is of another device.
    pub fn copy_from(&mut self, start: usize, from: &Self, range: Range<usize>) -> Result<()> {
        if from.device().id() != self.device().id() {
            return Err(Error::Device { op: "copy", arg: "from" });
        }
        let len = range.len();
        let (to, from) = (self.part(start, len)?, from.part(range.start, len)?);
        self.ordered("cuMemcpyDtoDAsync", |stream| {
            // SAFETY: both parts were checked; `&mut` keeps them apart.
            unsafe { result::memcpy_dtod_async(to, from, len * size_of::<T>(), stream) }
        })
    }

    /// Put something on the stream that is not a launch.
    fn ordered(
        &self,
        call: &'static str,
        work: impl FnOnce(sys::CUstream) -> std::result::Result<(), cudarc::driver::DriverError>,
    ) -> Result<()> {
        let _held = self.device().settled()?;
        self.device().bind()?;
        work(self.device().0.stream.cu_stream()).map_err(driver(call))
    }

    /// The address of `len` elements from `start` on.
    fn part(&self, start: usize, len: usize) -> Result<u64> {
        let end = start.checked_add(len).ok_or(Error::TooLarge)?;
        if end > self.len {
            return Err(Error::Size { op: "copy", arg: "range", want: self.len, got: end });
        }
        Ok(self.memory.address + (start * size_of::<T>()) as u64)
    }
}

fn same_length(want: usize, got: usize) -> Result<()> {
    if want == got { Ok(()) } else { Err(Error::Size { op: "copy", arg: "slice", want, got }) }
}
