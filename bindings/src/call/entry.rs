use super::Call;
use crate::device::{Place, place};
use crate::{Failure, LatensDevice, LatensStatus, guard};
use std::cell::RefCell;
use std::sync::Arc;

/// A call of which only the name and the device are known: what an entry begins with.
pub(crate) struct Entry {
    op: &'static str,
    device: *const LatensDevice,
}

impl Entry {
    /// # Safety
    /// Every tensor that the call is asked about is null or as DLPack says: `shape` and `strides` point at `ndim`
    /// numbers or are null, and the memory they describe, up to the last element, is there, holds numbers, and is
    /// touched by nobody else (on a GPU: in the order of the device's stream) while the views live. Every other pointer
    /// that it is asked about is null or points at what its type says.
    pub(crate) const unsafe fn new(op: &'static str, device: *const LatensDevice) -> Self {
        Entry { op, device }
    }

    /// Find the device, and do the work.
    pub(crate) fn run(self, work: impl FnOnce(&Call) -> Result<(), Failure>) -> LatensStatus {
        let Entry { op, device } = self;
        self.run_at(|| place(device, op), work)
    }

    /// Do the work where something else says.
    pub(crate) fn run_at(
        self,
        place: impl FnOnce() -> Result<Arc<Place>, Failure>,
        work: impl FnOnce(&Call) -> Result<(), Failure>,
    ) -> LatensStatus {
        guard(|| work(&Call { op: self.op, place: place()?, covered: RefCell::default() }))
    }

    /// Make what `to` is a handle of. Whatever fails, the device included, `to` is null.
    pub(crate) fn make<H>(
        self,
        arg: &'static str,
        to: *mut *mut H,
        make: impl FnOnce(&Call) -> Result<*mut H, Failure>,
    ) -> LatensStatus {
        let Entry { op, device } = self;
        self.make_at(|| place(device, op), arg, to, make)
    }

    /// The same where something else says.
    pub(crate) fn make_at<H>(
        self,
        place: impl FnOnce() -> Result<Arc<Place>, Failure>,
        arg: &'static str,
        to: *mut *mut H,
        make: impl FnOnce(&Call) -> Result<*mut H, Failure>,
    ) -> LatensStatus {
        if !to.is_null() && to.is_aligned() {
            // SAFETY: neither null nor out of line, and the promise of `Entry::new`.
            unsafe { to.write(std::ptr::null_mut()) };
        }
        self.run_at(place, |call| call.give(arg, to, || make(call)))
    }
}
