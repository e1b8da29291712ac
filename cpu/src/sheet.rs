//! Outputs that several tasks write, each its own columns.
#![allow(unsafe_code)]
#[cfg(all(feature = "std", target_arch = "x86_64"))]
use core::arch::x86_64::*;

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
