//! Elements in host memory, and what is kept of them for tensors to come.
use alloc::{vec, vec::Vec};
use core::ops::{Deref, DerefMut};
use latens_kernels::{Element, Error, Result};

/// Elements that a tensor owns. When it goes they may be kept, see [`keep_memory`](crate::keep_memory).
pub(crate) struct Memory<T> {
    elements: Vec<T>,
    /// Where they go then: tensors ask nothing of their type, so it is noted here.
    give: fn(Vec<T>),
}

impl<T: Element> Memory<T> {
    /// As many elements, of any value.
    pub(crate) fn any(len: usize) -> Result<Self> {
        match kept::take(len) {
            Some(kept) => Ok(kept.into()),
            None => Self::fresh(len),
        }
    }

    /// As many zeros.
    pub(crate) fn zeros(len: usize) -> Result<Self> {
        match kept::take(len) {
            Some(mut kept) => {
                kept.fill(T::default());
                Ok(kept.into())
            }
            None => Self::fresh(len),
        }
    }

    fn fresh(len: usize) -> Result<Self> {
        let mut memory = Vec::<T>::new();
        let bytes = len.saturating_mul(size_of::<T>());
        memory.try_reserve_exact(len).map_err(|_| Error::Memory { bytes })?;
        drop(memory); // the probe; `vec!` of zeros comes from zeroed pages, which `resize` would touch
        Ok(vec![T::default(); len].into())
    }
}

impl<T: Element> From<Vec<T>> for Memory<T> {
    fn from(elements: Vec<T>) -> Self {
        Self { elements, give: kept::give }
    }
}

impl<T> Deref for Memory<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        &self.elements
    }
}

impl<T> DerefMut for Memory<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.elements
    }
}

impl<T> Drop for Memory<T> {
    fn drop(&mut self) {
        (self.give)(core::mem::take(&mut self.elements));
    }
}

#[cfg(feature = "std")]
pub(crate) mod kept {
    extern crate std;
    use alloc::{boxed::Box, collections::BTreeMap, vec::Vec};
    use core::any::{Any, TypeId};
    use core::sync::atomic::{AtomicUsize, Ordering};
    use latens_kernels::Element;
    use std::sync::{Mutex, MutexGuard, PoisonError};

    /// Less is not worth it: the allocator keeps such pieces itself.
    const LEAST: usize = 1 << 17;

    static LIMIT: AtomicUsize = AtomicUsize::new(0);
    static KEPT: Mutex<Kept> = Mutex::new(Kept { bytes: 0, lists: BTreeMap::new() });

    /// Pieces of one type, by the elements they have room for.
    type List<T> = BTreeMap<usize, Vec<Vec<T>>>;

    struct Kept {
        bytes: usize,
        /// A [`List`] for each type.
        lists: BTreeMap<TypeId, Box<dyn Any + Send>>,
    }

    fn kept() -> MutexGuard<'static, Kept> {
        KEPT.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keep up to `bytes` of the host memory that tensors give back, in the whole process, for tensors to come; what is kept above
    /// it is given to the allocator. It is 0 at first: nothing is kept. Where more would be kept, all that was is let go.
    ///
    /// The operating system hands memory out page by page, at a cost that for large tensors is that of the work done on them. A loop
    /// that makes the same tensors again and again, as training does, finds them here instead.
    pub fn keep_memory(bytes: usize) {
        let mut kept = kept();
        LIMIT.store(bytes, Ordering::Relaxed);
        if kept.bytes > bytes {
            let gone = core::mem::take(&mut kept.lists);
            kept.bytes = 0;
            drop(kept);
            drop(gone);
        }
    }

    /// `len` elements of any value, if there is a piece that is little larger.
    pub(crate) fn take<T: Element>(len: usize) -> Option<Vec<T>> {
        if LIMIT.load(Ordering::Relaxed) == 0 || len.saturating_mul(size_of::<T>()) < LEAST {
            return None;
        }
        let mut kept = kept();
        let list = kept.lists.get_mut(&TypeId::of::<T>())?.downcast_mut::<List<T>>()?;
        let (&room, pieces) = list.range_mut(len..=len + len / 8).next()?;
        let piece = pieces.pop();
        if pieces.is_empty() {
            list.remove(&room);
        }
        let mut piece = piece?;
        kept.bytes -= room * size_of::<T>();
        drop(kept);
        piece.resize(len, T::default());
        Some(piece)
    }

    pub(crate) fn give<T: Element>(piece: Vec<T>) {
        let bytes = piece.capacity() * size_of::<T>();
        if bytes < LEAST || bytes > LIMIT.load(Ordering::Relaxed) {
            return;
        }
        let mut kept = kept();
        // Again, now that nobody changes it.
        let limit = LIMIT.load(Ordering::Relaxed);
        if bytes > limit {
            return;
        }
        let mut gone = BTreeMap::new();
        if kept.bytes + bytes > limit {
            gone = core::mem::take(&mut kept.lists);
            kept.bytes = 0;
        }
        let list = kept.lists.entry(TypeId::of::<T>()).or_insert_with(|| Box::new(List::<T>::new()));
        if let Some(list) = list.downcast_mut::<List<T>>() {
            list.entry(piece.capacity()).or_default().push(piece);
            kept.bytes += bytes;
        }
        drop(kept);
        drop(gone);
    }
}

#[cfg(not(feature = "std"))]
mod kept {
    use alloc::vec::Vec;

    pub(crate) fn take<T>(_len: usize) -> Option<Vec<T>> {
        None
    }

    pub(crate) fn give<T>(_piece: Vec<T>) {}
}
