use crate::{Failure, LatensStatus};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

/// The objects behind the handles of one kind.
pub(crate) struct Table<T>(RwLock<BTreeMap<usize, Arc<T>>>);

/// Shared by all tables, so that a handle of one is nothing to another; spaced, so that it is no small number by chance.
static NEXT: AtomicUsize = AtomicUsize::new(0x1000);

impl<T> Table<T> {
    pub(crate) const fn new() -> Self {
        Table(RwLock::new(BTreeMap::new()))
    }

    /// A handle for `object`. `H` is a name for the header only and never exists.
    pub(crate) fn put<H>(&self, object: T) -> *mut H {
        let number = NEXT.fetch_add(0x10, Ordering::Relaxed);
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(number, Arc::new(object));
        std::ptr::without_provenance_mut(number)
    }

    /// The object, which lives until the last who got it is done.
    pub(crate) fn get<H>(&self, handle: *const H, op: &str, arg: &str) -> Result<Arc<T>, Failure> {
        let found = self.0.read().unwrap_or_else(PoisonError::into_inner).get(&handle.addr()).cloned();
        found.ok_or_else(|| unknown(handle, op, arg))
    }

    /// Forget the object; null is allowed.
    pub(crate) fn take<H>(&self, handle: *mut H, op: &str, arg: &str) -> Result<(), Failure> {
        if handle.is_null() {
            return Ok(());
        }
        let found = self.0.write().unwrap_or_else(PoisonError::into_inner).remove(&handle.addr());
        found.map(drop).ok_or_else(|| unknown(handle, op, arg)) // dropped after the lock is given back
    }
}

fn unknown<H>(handle: *const H, op: &str, arg: &str) -> Failure {
    if handle.is_null() {
        return Failure { status: LatensStatus::Null, text: format!("{op}: {arg} is a null pointer") };
    }
    let text = format!("{op}: {arg} is no handle, or one that is freed already");
    Failure { status: LatensStatus::Handle, text }
}
