mod entry;

use crate::device::{Place, give};
use crate::tensor::Name;
use crate::{Failure, LatensStatus, LatensTensor};
pub(crate) use entry::Entry;
use latens_core::{Accumulate, DType, Data, DataMut, Device, Element, Error, Layout, Span, SpanMut, View, ViewMut};
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
    /// Write a number where the caller wants it.
    pub(crate) fn give<N>(
        &self,
        arg: &'static str,
        to: *mut N,
        make: impl FnOnce() -> Result<N, Failure>,
    ) -> Result<(), Failure> {
        if !to.is_aligned() {
            return Err(Name { op: self.op, arg }.wrong(LatensStatus::Value, "is not aligned"));
        }
        // SAFETY: the promise of `Entry::new`.
        unsafe { give(to, self.op, arg, make) }
    }

    /// What a pointer points at.
    pub(crate) fn settings<S: Copy>(&self, arg: &'static str, from: *const S) -> Result<S, Failure> {
        if !from.is_null() && !from.is_aligned() {
            return Err(Name { op: self.op, arg }.wrong(LatensStatus::Value, "is not aligned"));
        }
        // SAFETY: the promise of `Entry::new`.
        unsafe { from.as_ref() }.copied().ok_or(Error::Null { op: self.op, arg }.into())
    }

    /// The `count` numbers that a pointer points at, on the host.
    pub(crate) fn numbers(&self, arg: &'static str, from: *const u64, count: usize) -> Result<Vec<u64>, Failure> {
        if count == 0 {
            return Ok(Vec::new());
        }
        self.settings(arg, from)?;
        if count > isize::MAX as usize / size_of::<u64>() {
            return Err(Error::TooLarge.into());
        }
        // SAFETY: neither null nor out of line, and the promise of `Entry::new`.
        Ok(unsafe { std::slice::from_raw_parts(from, count) }.to_vec())
    }

    /// A yes or no of a caller's struct, which may hold anything.
    pub(crate) fn whether(&self, arg: &'static str, from: u8) -> Result<bool, Failure> {
        match from {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.no_choice(arg, "0 or 1")),
        }
    }

    /// An argument that is none of the choices.
    pub(crate) fn no_choice(&self, arg: &'static str, want: &'static str) -> Failure {
        Error::Value { op: self.op, arg, want }.into()
    }

    /// Say which argument an error is about.
    pub(crate) fn about(&self, arg: &'static str) -> impl Fn(Error) -> Failure {
        let name = Name { op: self.op, arg };
        move |error| {
            let Failure { status, text } = error.into();
            name.wrong(status, format_args!("does not fit: {text}"))
        }
    }

    /// The rank that a tensor has.
    pub(crate) fn rank(&self, arg: &'static str, tensor: *const LatensTensor) -> Result<i32, Failure> {
        Ok(self.tensor(arg, tensor)?.ndim)
    }

    /// The name of the operation.
    pub(crate) fn op(&self) -> &'static str {
        self.op
    }

    /// Where it runs, to be kept.
    pub(crate) fn place(&self) -> Arc<Place> {
        self.place.clone()
    }

    /// Where it runs.
    pub(crate) fn device(&self) -> &Device {
        &self.place.device
    }

    fn tensor(&self, arg: &'static str, tensor: *const LatensTensor) -> Result<&LatensTensor, Failure> {
        // SAFETY: the promise of `Entry::new`.
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
        // SAFETY: the promise of `Entry::new`.
        unsafe { self.tensor(arg, tensor)?.layout(Name { op: self.op, arg }) }
    }

    /// A tensor that is only read.
    pub(crate) fn input<T: Element, const R: usize>(
        &self,
        arg: &'static str,
        tensor: *const LatensTensor,
    ) -> Result<View<'_, T, R>, Failure> {
        let (layout, start, len) = self.cover::<T, R>(arg, tensor, false)?;
        // SAFETY: the promise of `Entry::new`; `start` is aligned and starts `len` elements, which no output covers.
        let data = unsafe {
            match &self.place.device {
                Device::Host => Data::Host(std::slice::from_raw_parts(start, len)),
                Device::Cuda(device) => Data::Cuda(device, Span::new(start as u64, len, device.id())),
            }
        };
        Ok(View::new(data, layout)?)
    }

    /// [`Call::input`], but on the host if the tensor says so, even where the call runs on a GPU.
    pub(crate) fn input_anywhere<T: Element, const R: usize>(
        &self,
        arg: &'static str,
        tensor: *const LatensTensor,
    ) -> Result<View<'_, T, R>, Failure> {
        let host = matches!(self.tensor(arg, tensor)?.device.device_type, 1 | 3);
        if !host || self.device().is_host() {
            return self.input(arg, tensor);
        }
        let name = Name { op: self.op, arg };
        // SAFETY: the promise of `Entry::new`.
        let layout = unsafe { self.tensor(arg, tensor)?.layout::<R>(name)? };
        let (start, len) = self.tensor(arg, tensor)?.memory::<T, R>(&layout, name)?;
        // SAFETY: the promise of `Entry::new`; `start` is aligned and starts `len` elements of host memory.
        let data = Data::Host(unsafe { std::slice::from_raw_parts(start, len) });
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
        // SAFETY: the promise of `Entry::new`; `start` is aligned and starts `len` elements, which nothing else covers.
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
        // SAFETY: the promise of `Entry::new`.
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

/// What becomes of the contents of an output.
#[repr(C)]
pub enum LatensAccumulate {
    /// They are overwritten.
    Replace = 0,
    /// They are added to.
    Add = 1,
}

/// That choice.
pub(crate) fn accumulation(call: &Call, accumulate: i32) -> Result<Accumulate, Failure> {
    match accumulate {
        0 => Ok(Accumulate::Replace),
        1 => Ok(Accumulate::Add),
        _ => Err(call.no_choice("accumulate", "a LatensAccumulate")),
    }
}
