use crate::device::Place;
use crate::{Failure, LatensStatus};
use latens_core::{DType, Device, Element, Layout};
use std::ffi::c_void;
use std::fmt::{self, Display};

/// `DLDevice` of DLPack 1: 1 host, 2 CUDA, 3 pinned host, 13 managed.
#[repr(C)]
pub struct LatensTensorDevice {
    /// The kind.
    pub device_type: i32,
    /// Which of them.
    pub device_id: i32,
}

/// `DLDataType` of DLPack 1: code 0 signed, 1 unsigned, 2 float, 4 bfloat.
#[repr(C)]
pub struct LatensTensorType {
    /// What kind of number.
    pub code: u8,
    /// Bits of one.
    pub bits: u8,
    /// Numbers in an element; 1 here.
    pub lanes: u16,
}

/// `DLTensor` of DLPack 1.
#[repr(C)]
pub struct LatensTensor {
    /// Start of the memory.
    pub data: *mut c_void,
    /// Where it is.
    pub device: LatensTensorDevice,
    /// Rank.
    pub ndim: i32,
    /// What it holds.
    pub dtype: LatensTensorType,
    /// Sizes.
    pub shape: *const i64,
    /// Strides in elements, or null if packed.
    pub strides: *const i64,
    /// Bytes to skip.
    pub byte_offset: u64,
}

/// An argument of an operation: what errors name.
#[derive(Clone, Copy)]
pub(crate) struct Name {
    pub(crate) op: &'static str,
    pub(crate) arg: &'static str,
}

impl Name {
    pub(crate) fn wrong(self, status: LatensStatus, text: impl Display) -> Failure {
        Failure { status, text: format!("{self} {text}") }
    }
}

impl Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.op, self.arg)
    }
}

impl LatensTensor {
    pub(crate) fn dtype(&self, name: Name) -> Result<DType, Failure> {
        let LatensTensorType { code, bits, lanes } = self.dtype;
        match (code, bits, lanes) {
            (2, 32, 1) => Ok(DType::F32),
            (2, 16, 1) => Ok(DType::F16),
            (4, 16, 1) => Ok(DType::BF16),
            (2, 64, 1) => Ok(DType::F64),
            (1, 32, 1) => Ok(DType::U32),
            (1, 8, 1) => Ok(DType::U8),
            (0, 32, 1) => Ok(DType::I32),
            (0, 8, 1) => Ok(DType::I8),
            _ => Err(name.wrong(
                LatensStatus::Type,
                format_args!(
                    "has DLPack type (code {code}, bits {bits}, lanes {lanes}), expected f32, f16, bf16, f64, u32, u8, i32 or i8"
                ),
            )),
        }
    }

    /// Sizes and strides, if there are `R` of each and they make sense.
    ///
    /// # Safety
    /// `shape` and `strides` are null or point at `ndim` numbers.
    pub(crate) unsafe fn layout<const R: usize>(&self, name: Name) -> Result<Layout<R>, Failure> {
        if self.ndim != R as i32 {
            return Err(name.wrong(LatensStatus::Size, format_args!("has {} dimensions, expected {R}", self.ndim)));
        }
        if self.shape.is_null() {
            return Err(name.wrong(LatensStatus::Null, "has a null shape"));
        }
        // SAFETY: `ndim` is `R`, and the caller's promise.
        let dims = numbers::<R>(unsafe { self.shape.cast::<[i64; R]>().read() }, "shape", name)?;
        let layout = if self.strides.is_null() {
            Layout::packed(dims)
        } else {
            // SAFETY: as above.
            let strides = unsafe { self.strides.cast::<[i64; R]>().read() };
            match strides.map(|stride| stride.max(0)) {
                // What is never used may be anything, negative numbers included.
                used if dims.contains(&0) => Layout::strided(dims, used.map(|stride| stride as usize)),
                _ => Layout::strided(dims, numbers::<R>(unused(strides, dims), "strides", name)?),
            }
        };
        layout.map_err(|error| {
            let failure = Failure::from(error);
            name.wrong(
                failure.status,
                format_args!("has a shape or strides that do not describe rows in order: {}", failure.text),
            )
        })
    }

    /// The first element and the number of elements up to the last, if they are memory that `T` can be read from.
    pub(crate) fn memory<T: Element, const R: usize>(
        &self,
        layout: &Layout<R>,
        name: Name,
    ) -> Result<(*mut T, usize), Failure> {
        let got = self.dtype(name)?;
        if got != T::DTYPE {
            return Err(name.wrong(LatensStatus::Type, format_args!("has type {got:?}, expected {:?}", T::DTYPE)));
        }
        let len = layout.span();
        if len == 0 {
            return Ok((std::ptr::dangling_mut(), 0));
        }
        if self.data.is_null() {
            return Err(name.wrong(LatensStatus::Null, "has null data"));
        }
        let skip = usize::try_from(self.byte_offset).ok();
        let bytes = len.checked_mul(size_of::<T>()).filter(|bytes| isize::try_from(*bytes).is_ok());
        let end = skip.and_then(|skip| self.data.addr().checked_add(skip)?.checked_add(bytes?));
        if end.is_none() {
            return Err(name.wrong(LatensStatus::TooLarge, "ends past the last address"));
        }
        let start = self.data.wrapping_byte_add(self.byte_offset as usize).cast::<T>();
        if !start.is_aligned() {
            let text = format_args!("starts at {start:p}, expected a multiple of {} bytes", align_of::<T>());
            return Err(name.wrong(LatensStatus::Value, text));
        }
        Ok((start, len))
    }

    /// Whether `place` can reach the memory. An empty tensor is anywhere.
    pub(crate) fn reachable(&self, place: &Place, name: Name) -> Result<(), Failure> {
        let LatensTensorDevice { device_type, device_id } = self.device;
        let (fits, want) = match place.device {
            Device::Host => (matches!(device_type, 1 | 3), "1 or 3 (host)".into()),
            Device::Cuda(_) => (
                matches!(device_type, 2 | 13) && device_id == place.ordinal,
                format!("2 or 13 (CUDA) and id {}", place.ordinal),
            ),
        };
        let text = format_args!("has device type {device_type} and id {device_id}, expected type {want}");
        if fits { Ok(()) } else { Err(name.wrong(LatensStatus::Device, text)) }
    }
}

/// The strides, with those that are never used made harmless.
fn unused<const R: usize>(strides: [i64; R], dims: [usize; R]) -> [i64; R] {
    std::array::from_fn(|d| if dims[d] == 1 { 1 } else { strides[d] })
}

fn numbers<const R: usize>(from: [i64; R], what: &str, name: Name) -> Result<[usize; R], Failure> {
    if from.iter().any(|number| *number < 0) {
        return Err(name.wrong(LatensStatus::Value, format_args!("has a negative number in its {what}: {from:?}")));
    }
    Ok(from.map(|number| number as usize))
}
