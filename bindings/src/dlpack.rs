use latens_core::{DType, Data, DataMut, Element, Error, Layout, Result, View, ViewMut};
use std::ffi::c_void;

/// DLPack's tensor, version 1.
#[repr(C)]
pub struct DLTensor {
    /// Start of the memory.
    pub data: *mut c_void,
    /// 1 host, 2 CUDA, 3 pinned host, 13 managed.
    pub device_type: i32,
    /// Which of them.
    pub device_id: i32,
    /// Rank.
    pub ndim: i32,
    /// 0 signed, 1 unsigned, 2 float, 4 bfloat.
    pub code: u8,
    /// Bits of an element.
    pub bits: u8,
    /// Elements packed into one; 1 here.
    pub lanes: u16,
    /// Sizes.
    pub shape: *const i64,
    /// Strides in elements, or null if packed.
    pub strides: *const i64,
    /// Bytes to skip.
    pub byte_offset: u64,
}

/// `None` is the host.
pub type Place<'a> = Option<&'a latens_core::cuda::Device>;

impl DLTensor {
    /// The element type, if it is one of ours.
    pub fn dtype(&self) -> Result<DType> {
        match (self.code, self.bits, self.lanes) {
            (2, 32, 1) => Ok(DType::F32),
            (2, 16, 1) => Ok(DType::F16),
            (4, 16, 1) => Ok(DType::BF16),
            (2, 64, 1) => Ok(DType::F64),
            (1, 32, 1) => Ok(DType::U32),
            (1, 8, 1) => Ok(DType::U8),
            (0, 32, 1) => Ok(DType::I32),
            (0, 8, 1) => Ok(DType::I8),
            _ => Err(Error::Value {
                op: "DLTensor",
                arg: "dtype",
                want: "f32, f16, bf16, f64, u32, u8, i32 or i8 of one lane",
            }),
        }
    }

    /// # Safety
    /// `shape` and `strides` are as DLPack says, and the memory is there for `'a`.
    pub unsafe fn view<'a, T: Element, const R: usize>(&self, place: Place<'a>) -> Result<View<'a, T, R>> {
        // SAFETY: the caller's promise.
        let (start, layout) = unsafe { self.parts::<T, R>(place)? };
        let (len, id) = (layout.span(), place.map(|device| device.id()));
        // SAFETY: the caller's promise; `start` is aligned and not null.
        let data = unsafe {
            match place.zip(id) {
                None => Data::Host(std::slice::from_raw_parts(start, len)),
                Some((device, id)) => Data::Cuda(device, latens_core::Span::new(start as u64, len, id)),
            }
        };
        View::new(data, layout)
    }

    /// # Safety
    /// As [`DLTensor::view`], and nobody else uses the memory.
    pub unsafe fn view_mut<'a, T: Element, const R: usize>(&self, place: Place<'a>) -> Result<ViewMut<'a, T, R>> {
        // SAFETY: the caller's promise.
        let (start, layout) = unsafe { self.parts::<T, R>(place)? };
        let len = layout.span();
        // SAFETY: the caller's promise; `start` is aligned and not null.
        let data = unsafe {
            match place {
                None => DataMut::Host(std::slice::from_raw_parts_mut(start, len)),
                Some(device) => DataMut::Cuda(device, latens_core::SpanMut::new(start as u64, len, device.id())),
            }
        };
        ViewMut::new(data, layout)
    }

    unsafe fn parts<T: Element, const R: usize>(&self, place: Place<'_>) -> Result<(*mut T, Layout<R>)> {
        let op = "DLTensor";
        if self.dtype()? != T::DTYPE {
            return Err(Error::Type { op, arg: "dtype", got: self.dtype()? });
        }
        if self.ndim != R as i32 {
            return Err(Error::Size { op, arg: "ndim", want: R, got: self.ndim as usize });
        }
        if place.is_some() != matches!(self.device_type, 2 | 13) {
            return Err(Error::Device { op, arg: "device_type" });
        }
        // SAFETY: DLPack has `ndim` of each; the caller's promise.
        let (dims, strides) = unsafe {
            (read::<R>(self.shape)?, if self.strides.is_null() { None } else { Some(read::<R>(self.strides)?) })
        };
        let layout = strides.map_or_else(|| Layout::packed(dims), |strides| Layout::strided(dims, strides))?;
        let start = if layout.span() == 0 {
            std::ptr::dangling_mut()
        } else {
            self.data.wrapping_byte_add(self.byte_offset as usize).cast::<T>()
        };
        if start.is_null() || !start.is_aligned() {
            return Err(Error::Size { op, arg: "data", want: align_of::<T>(), got: start as usize % align_of::<T>() });
        }
        Ok((start, layout))
    }
}

/// # Safety
/// `from` points at `R` numbers.
unsafe fn read<const R: usize>(from: *const i64) -> Result<[usize; R]> {
    // SAFETY: the caller's promise.
    let from = unsafe { *from.cast::<[i64; R]>() };
    let mut to = [0; R];
    for (to, from) in to.iter_mut().zip(from) {
        *to = usize::try_from(from).map_err(|_| Error::Value {
            op: "DLTensor",
            arg: "shape or strides",
            want: "not negative",
        })?;
    }
    Ok(to)
}
