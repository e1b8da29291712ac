//! Numbers further apart than 2^31 and 2^32 of them: address space of which nothing exists but the pages that are touched, for the
//! host and, through the emulator, for the device code.
#![allow(dead_code, reason = "test programs use different parts")]
use latens_cuda::Device;
use latens_kernels::{Chip, Element, Span, SpanMut};
use std::ffi::{c_int, c_void};
use std::io::Write;

/// What geometry is made for where nothing runs.
pub const CHIP: Chip = Chip { capability: (9, 0), multiprocessors: 132, shared: 227 * 1024 };

unsafe extern "C" {
    fn mmap(at: *mut c_void, len: usize, protection: c_int, flags: c_int, file: c_int, offset: i64) -> *mut c_void;
    fn munmap(at: *mut c_void, len: usize) -> c_int;
}

/// Numbers of address space, zero until written.
pub struct Far<T> {
    start: *mut T,
    pub len: usize,
}

/// New memory that takes no room until it is touched, or -1.
fn map(bytes: usize) -> *mut c_void {
    const READ_WRITE: c_int = 3;
    const PRIVATE_ANONYMOUS_NORESERVE: c_int = 0x2 | 0x20 | 0x4000;
    // SAFETY: wherever there is room.
    unsafe { mmap(std::ptr::null_mut(), bytes, READ_WRITE, PRIVATE_ANONYMOUS_NORESERVE, -1, 0) }
}

/// Whether there is address space enough, which a limit of the user, a system that counts what is only reserved, or a small
/// address forbids. If not, that is said: CI counts such lines.
pub fn room() -> bool {
    const MOST: usize = 1 << 40;
    let at = map(MOST);
    if at as isize == -1 {
        let why = std::io::Error::last_os_error();
        let _ = writeln!(std::io::stderr(), "skipped: no address space of 2^40 bytes: {why}");
        return false;
    }
    // SAFETY: mapped above, and nobody has it.
    unsafe { munmap(at, MOST) };
    true
}

impl<T: Element> Far<T> {
    pub fn new(len: usize) -> Self {
        let bytes = size_of::<T>() * len.max(1);
        let at = map(bytes);
        assert_ne!(at as isize, -1, "no address space of {bytes} bytes: {}", std::io::Error::last_os_error());
        Self { start: at.cast(), len }
    }

    /// Numbers that lie near.
    pub fn of(numbers: &[T]) -> Self {
        let mut to = Self::new(numbers.len());
        to.slice_mut().copy_from_slice(numbers);
        to
    }

    /// Rows of `width` numbers, each `apart` from the last.
    pub fn rows(numbers: &[T], width: usize, apart: usize) -> Self {
        let rows = numbers.chunks(width);
        let mut to = Self::new((rows.len() - 1) * apart + width);
        for (r, row) in rows.enumerate() {
            to.slice_mut()[r * apart..][..width].copy_from_slice(row);
        }
        to
    }

    pub fn slice(&self) -> &[T] {
        // SAFETY: as much as was mapped, and all bits are a number.
        unsafe { std::slice::from_raw_parts(self.start, self.len) }
    }

    pub fn slice_mut(&mut self) -> &mut [T] {
        // SAFETY: as above, and nobody else has it.
        unsafe { std::slice::from_raw_parts_mut(self.start, self.len) }
    }

    pub fn span(&self, device: &Device) -> Span<'_, T> {
        // SAFETY: on the emulator the memory of the host is that of the device.
        unsafe { Span::new(self.start as u64, self.len, device.id()) }
    }

    pub fn span_mut(&mut self, device: &Device) -> SpanMut<'_, T> {
        // SAFETY: as above, and nobody else has it.
        unsafe { SpanMut::new(self.start as u64, self.len, device.id()) }
    }
}

impl<T> Drop for Far<T> {
    fn drop(&mut self) {
        // SAFETY: mapped by `new`, and gone with this.
        unsafe { munmap(self.start.cast(), size_of::<T>() * self.len.max(1)) };
    }
}

/// Small numbers between -1 and 1, of which no few next to each other are alike.
pub fn numbers(count: usize, seed: usize) -> Vec<f32> {
    (0..count).map(|i| ((i * 37 + seed * 11) % 101) as f32 / 50.5 - 1.0).collect()
}

/// The emulator's device.
pub fn device() -> Device {
    latens_emulator::start();
    Device::open(0).unwrap()
}

/// Memory of `len` numbers that is not there, to be named in launches that never run.
pub fn nowhere<T: Element>(len: usize) -> Span<'static, T> {
    // SAFETY: no launch runs, so nothing is read.
    unsafe { Span::new(256, len, 7) }
}

/// The same for writing.
pub fn nowhere_mut<T: Element>(len: usize) -> SpanMut<'static, T> {
    // SAFETY: no launch runs, so nothing is written.
    unsafe { SpanMut::new(256, len, 7) }
}
