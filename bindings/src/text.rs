use crate::Failure;
use latens_core::Error;
use std::ffi::{CStr, c_char};
use std::path::Path;

/// A text.
///
/// # Safety
/// `text` is null, or in UTF-8 with its final NUL, and stays.
pub(crate) unsafe fn text_of<'a>(op: &'static str, arg: &'static str, text: *const c_char) -> Result<&'a str, Failure> {
    if text.is_null() {
        return Err(Error::Null { op, arg }.into());
    }
    // SAFETY: not null, and the caller's promise.
    let text = unsafe { CStr::from_ptr(text) }.to_str();
    text.map_err(|_| Error::Value { op, arg, want: "text in UTF-8" }.into())
}

/// A path.
///
/// # Safety
/// As [`text_of`].
pub(crate) unsafe fn path_of<'a>(
    op: &'static str,
    arg: &'static str,
    path: *const c_char,
) -> Result<&'a Path, Failure> {
    // SAFETY: the caller's promise.
    Ok(Path::new(unsafe { text_of(op, arg, path)? }))
}
