//! Outputs that several tasks write, each its own columns: [`Sheet`] trusts them, [`Block`] is one's own.
#![allow(unsafe_code)]
use alloc::vec::Vec;
#[cfg(all(feature = "std", target_arch = "x86_64"))]
use core::arch::x86_64::*;
use core::marker::PhantomData;

/// Memory of an output that several threads write, each its own columns.
pub(crate) struct Sheet<T> {
    start: *mut T,
    len: usize,
}

// SAFETY: whoever writes says which elements, and promises that nobody else does.
unsafe impl<T: Send> Send for Sheet<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Sheet<T> {}

impl<T> Sheet<T> {
    pub(crate) fn new(of: &mut [T]) -> Self {
        Self { start: of.as_mut_ptr(), len: of.len() }
    }

    /// Ask for the cache line of an element that will be written.
    #[inline(always)]
    pub(crate) fn prefetch(&self, at: usize) {
        #[cfg(all(feature = "std", target_arch = "x86_64"))]
        // SAFETY: a prefetch touches no memory, whatever the address.
        unsafe {
            _mm_prefetch::<_MM_HINT_ET0>(self.start.wrapping_add(at).cast());
        }
        #[cfg(not(all(feature = "std", target_arch = "x86_64")))]
        let _ = at;
    }

    /// `count` elements from `at` on.
    ///
    /// # Safety
    /// The slice that was given to [`Sheet::new`] is still borrowed for this, and no other part meets this one.
    #[allow(clippy::mut_from_ref)] // parts are apart
    #[inline(always)]
    pub(crate) unsafe fn part(&self, at: usize, count: usize) -> &mut [T] {
        assert!(at.checked_add(count).is_some_and(|end| end <= self.len));
        // SAFETY: inside, and the caller's promise.
        unsafe { core::slice::from_raw_parts_mut(self.start.add(at), count) }
    }

    /// Row `r` of rows of `width` elements, the last of which may be shorter.
    ///
    /// # Safety
    /// As for [`Sheet::part`].
    #[allow(clippy::mut_from_ref)] // parts are apart
    #[inline(always)]
    pub(crate) unsafe fn row(&self, r: usize, width: usize) -> &mut [T] {
        // SAFETY: the caller's promise.
        unsafe { self.part(r * width, width.min(self.len - r * width)) }
    }
}

/// Some columns of some rows of an output: a part of it as a slice is, but not in one piece.
pub(crate) struct Block<'a, T> {
    start: *mut T,
    rows: usize,
    width: usize,
    stride: usize,
    of: PhantomData<&'a mut [T]>,
}

// SAFETY: it is the only way to its elements, as a slice would be.
unsafe impl<T: Send> Send for Block<'_, T> {}

impl<'a, T> Block<'a, T> {
    /// The columns of an output with rows of `stride` elements, `width` at a time; the last are as many as are left.
    pub(crate) fn columns(of: &'a mut [T], stride: usize, width: usize) -> Vec<Self> {
        let (rows, start) = (of.len() / stride, of.as_mut_ptr());
        let block = |c: usize| Self {
            start: start.wrapping_add(c),
            rows,
            width: width.min(stride - c),
            stride,
            of: PhantomData,
        };
        (0..stride).step_by(width).map(block).collect()
    }

    /// The first `rows` rows, which are taken off.
    pub(crate) fn split_first(&mut self, rows: usize) -> Self {
        assert!(rows <= self.rows);
        let first = Self { rows, ..*self };
        (self.start, self.rows) = (self.at(rows), self.rows - rows);
        first
    }

    /// How many rows and columns.
    pub(crate) fn size(&self) -> [usize; 2] {
        [self.rows, self.width]
    }

    /// The columns of row `r`.
    #[inline(always)]
    pub(crate) fn row(&mut self, r: usize) -> &mut [T] {
        assert!(r < self.rows);
        // SAFETY: the row is inside the output, which is borrowed for as long as the blocks, and no two blocks meet.
        unsafe { core::slice::from_raw_parts_mut(self.start.add(r * self.stride), self.width) }
    }

    /// Where row `r` begins, if there were so many.
    #[inline(always)]
    pub(crate) fn at(&self, r: usize) -> *mut T {
        self.start.wrapping_add(r * self.stride)
    }
}
