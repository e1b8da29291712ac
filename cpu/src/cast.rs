//! Elements of a type that a generic function knows only by comparison.
#![allow(unsafe_code)]
use core::any::TypeId;
use latens_kernels::Element;

/// The same elements, if `T` is `U`.
pub(crate) fn cast<T: Element, U: Element>(x: &[T]) -> Option<&[U]> {
    // SAFETY: the types are the same.
    (TypeId::of::<T>() == TypeId::of::<U>()).then(|| unsafe { core::slice::from_raw_parts(x.as_ptr().cast(), x.len()) })
}

/// The same elements, for writing, if `T` is `U`.
pub(crate) fn cast_mut<T: Element, U: Element>(x: &mut [T]) -> Option<&mut [U]> {
    let (pointer, len) = (x.as_mut_ptr().cast(), x.len());
    // SAFETY: the types are the same, and `x` is borrowed for as long as the result.
    (TypeId::of::<T>() == TypeId::of::<U>()).then(|| unsafe { core::slice::from_raw_parts_mut(pointer, len) })
}
