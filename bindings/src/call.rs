use crate::device::{Place, place};
use crate::tensor::Name;
use crate::{Failure, LatensDevice, LatensStatus, LatensTensor};
use latens_core::{DType, Data, DataMut, Device, Element, Error, Layout, Span, SpanMut, View, ViewMut};
use std::cell::RefCell;
use std::ops::Range;
use std::sync::Arc;

/// One call of an operation: turns what C passed into views, and keeps account of the memory they cover, so that an
/// output never shares memory with another argument.
pub(crate) struct Call {
    op: &'static str,
    place: Arc<Place>,
    covered: RefCell<Vec<Covered>>,
}

struct Covered {
    bytes: Range<usize>,
    arg: &'static str,
    written: bool,
}

impl Call {
    /// # Safety
    /// Every tensor that this call is asked about is null or as DLPack says: `shape` and `strides` point at `ndim`
    /// numbers or are null, and the memory they describe, up to the last element, is there, holds numbers, and is
    /// touched by nobody else (on a GPU: in the order of the device's stream) while the views live.
    pub(crate) unsafe fn new(op: &'static str, device: *const LatensDevice) -> Result<Self, Failure> {
        Ok(Call { op, place: place(device, op)?, covered: RefCell::default() })
    }

    /// Where it runs.
    pub(crate) fn device(&self) -> &Device {
        &self.place.device
    }

    fn tensor(&self, arg: &'static str, tensor: *const LatensTensor) -> Result<&LatensTensor, Failure> {
        // SAFETY: the promise of `new`.
        unsafe { tensor.as_ref() }.ok_or(Error::Null { op: self.op, arg }.into())
    }

    /// The element type that decides which instance of a generic operation runs.
    pub(crate) fn dtype(&self, arg: &'static str, tensor: *const LatensTensor) -> Result<DType, Failure> {
        self.tensor(arg, tensor)?.dtype(Name { op: self.op, arg })
    }

    /// That type has no instance.
    pub(crate) fn no_instance(&self, arg: &'static str, got: DType) -> Failure {
        Error::Type { op: self.op, arg, got }.into()
    }

    /// Sizes and strides alone; the memory may be null.
    pub(crate) fn layout<const R: usize>(
        &self,
        arg: &'static str,
        tensor: *const LatensTensor,
    ) -> Result<Layout<R>, Failure> {
        // SAFETY: the promise of `new`.
        unsafe { self.tensor(arg, tensor)?.layout(Name { op: self.op, arg }) }
    }

    /// A tensor that is only read.
    pub(crate) fn input<T: Element, const R: usize>(
        &self,
        arg: &'static str,
        tensor: *const LatensTensor,
    ) -> Result<View<'_, T, R>, Failure> {
        let (layout, start, len) = self.cover::<T, R>(arg, tensor, false)?;
        // SAFETY: the promise of `new`; `start` is aligned and starts `len` elements, which no output covers.
        let data = unsafe {
            match &self.place.device {
                Device::Host => Data::Host(std::slice::from_raw_parts(start, len)),
                Device::Cuda(device) => Data::Cuda(device, Span::new(start as u64, len, device.id())),
            }
        };
        Ok(View::new(data, layout)?)
    }

    /// [`Call::input`], or nothing if the pointer is null.
    pub(crate) fn optional<T: Element, const R: usize>(
        &self,
        arg: &'static str,
        tensor: *const LatensTensor,
    ) -> Result<Option<View<'_, T, R>>, Failure> {
        if tensor.is_null() { Ok(None) } else { self.input(arg, tensor).map(Some) }
    }

    /// A tensor that is written, and perhaps read.
    pub(crate) fn output<T: Element, const R: usize>(
        &self,
        arg: &'static str,
        tensor: *const LatensTensor,
    ) -> Result<ViewMut<'_, T, R>, Failure> {
        let (layout, start, len) = self.cover::<T, R>(arg, tensor, true)?;
        self.writable(layout, start, len)
    }

    /// [`Call::output`], or nothing if the pointer is null.
    pub(crate) fn optional_output<T: Element, const R: usize>(
        &self,
        arg: &'static str,
        tensor: *const LatensTensor,
    ) -> Result<Option<ViewMut<'_, T, R>>, Failure> {
        if tensor.is_null() { Ok(None) } else { self.output(arg, tensor).map(Some) }
    }

    /// Scratch memory: a `u8` tensor, or null for none.
    pub(crate) fn workspace(&self, tensor: *const LatensTensor) -> Result<ViewMut<'_, u8, 1>, Failure> {
        if tensor.is_null() {
            return self.writable(Layout::packed([0])?, std::ptr::dangling_mut(), 0);
        }
        self.output("workspace", tensor)
    }

    fn writable<T: Element, const R: usize>(
        &self,
        layout: Layout<R>,
        start: *mut T,
        len: usize,
    ) -> Result<ViewMut<'_, T, R>, Failure> {
        // SAFETY: the promise of `new`; `start` is aligned and starts `len` elements, which nothing else covers.
        let data = unsafe {
            match &self.place.device {
                Device::Host => DataMut::Host(std::slice::from_raw_parts_mut(start, len)),
                Device::Cuda(device) => DataMut::Cuda(device, SpanMut::new(start as u64, len, device.id())),
            }
        };
        Ok(ViewMut::new(data, layout)?)
    }

    /// Check all that can be checked about a tensor, and note the memory it covers.
    fn cover<T: Element, const R: usize>(
        &self,
        arg: &'static str,
        tensor: *const LatensTensor,
        written: bool,
    ) -> Result<(Layout<R>, *mut T, usize), Failure> {
        let (tensor, name) = (self.tensor(arg, tensor)?, Name { op: self.op, arg });
        // SAFETY: the promise of `new`.
        let layout = unsafe { tensor.layout::<R>(name)? };
        let (start, len) = tensor.memory::<T, R>(&layout, name)?;
        if len > 0 {
            tensor.reachable(&self.place, name)?;
            let bytes = start.addr()..start.addr() + len * size_of::<T>();
            let mut covered = self.covered.borrow_mut();
            let meets = |other: &&Covered| {
                (written || other.written) && bytes.start < other.bytes.end && other.bytes.start < bytes.end
            };
            if let Some(other) = covered.iter().find(meets) {
                return Err(name.wrong(LatensStatus::Overlap, format_args!("shares memory with {}", other.arg)));
            }
            covered.push(Covered { bytes, arg, written });
        }
        Ok((layout, start, len))
    }
}

/// `float!(call, "x" = x, T => body)`: `body` with `T` the type of the elements of `x`.
macro_rules! float {
    ($call:expr, $arg:literal = $tensor:expr, $T:ident => $body:expr) => {{
        use latens_core::{DType, bf16, f16};
        macro_rules! instance {
            ($t:ty) => {{
                type $T = $t;
                $body
            }};
        }
        match $call.dtype($arg, $tensor)? {
            DType::F32 => instance!(f32),
            DType::F16 => instance!(f16),
            DType::BF16 => instance!(bf16),
            DType::F64 => instance!(f64),
            got => return Err($call.no_instance($arg, got)),
        }
    }};
}
