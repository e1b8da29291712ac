//! Elements of a type that a generic function knows only by comparison.
#![allow(unsafe_code)]
use core::any::TypeId;
use latens_kernels::Element;

/// The same elements, if `T` is `U`.
pub(crate) fn cast<T: Element, U: Element>(x: &[T]) -> Option<&[U]> {
    // SAFETY: the types are the same.
    (TypeId::of::<T>() == TypeId::of::<U>()).then(|| unsafe { core::slice::from_raw_parts(x.as_ptr().cast(), x.len()) })
}
