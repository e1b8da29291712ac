use latens_core::Error;
use std::any::Any;
use std::cell::RefCell;
use std::ffi::c_char;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What a call came to. [`latens_error`] has the text, which names the operation and the argument.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LatensStatus {
    /// Done, or put on the stream of the device.
    Ok = 0,
    /// A tensor has another size or rank than the operation asks for.
    Size = 1,
    /// A number is larger than it may be.
    Range = 2,
    /// Strides overlap, or there are gaps where there may be none.
    Stride = 3,
    /// A tensor has an element type that the operation does not take there.
    Type = 4,
    /// A tensor lives on another device than the call runs on.
    Device = 5,
    /// More elements than can be addressed.
    TooLarge = 6,
    /// Memory ran out.
    Memory = 7,
    /// Memory was asked for, or waited for, while a CUDA graph is being captured.
    Capture = 8,
    /// The CUDA driver reported an error.
    Driver = 9,
    /// This machine has no usable CUDA driver.
    NoDriver = 10,
    /// An argument has a value without a meaning.
    Value = 11,
    /// A null pointer where something was needed.
    Null = 12,
    /// An error of a later version of the library.
    Other = 19,
    /// An output shares memory with another argument.
    Overlap = 20,
    /// A handle that was never made or is freed already.
    Handle = 21,
    /// A file could not be read or written, or says what it must not.
    File = 22,
    /// A defect of the library. Nothing it was working on may be used again, except to free it.
    Panic = -1,
}

/// Why a call failed.
pub(crate) struct Failure {
    pub(crate) status: LatensStatus,
    pub(crate) text: String,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure { status: status(&error), text: error.to_string() }
    }
}

fn status(error: &Error) -> LatensStatus {
    use LatensStatus::*;
    let all = [Size, Range, Stride, Type, Device, TooLarge, Memory, Capture, Driver, NoDriver, Value, Null];
    all.into_iter().find(|status| *status as i32 == error.code()).unwrap_or(Other)
}

thread_local!(static LAST: RefCell<String> = const { RefCell::new(String::new()) });

/// Run `call`; note the text of what went wrong, panics included.
pub(crate) fn guard(call: impl FnOnce() -> Result<(), Failure>) -> LatensStatus {
    let failure = match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(())) => return LatensStatus::Ok,
        Ok(Err(failure)) => failure,
        Err(payload) => {
            Failure { status: LatensStatus::Panic, text: format!("latens panicked: {}", message(&*payload)) }
        }
    };
    // A thread that is ending has no place for the text any more; the status says enough.
    let _ = LAST.try_with(|last| *last.borrow_mut() = failure.text);
    failure.status
}

fn message(payload: &(dyn Any + Send)) -> &str {
    let owned = payload.downcast_ref::<String>().map(String::as_str);
    owned.or(payload.downcast_ref::<&str>().copied()).unwrap_or("no message")
}

/// The text of the last call that failed on this thread, cut to `size` bytes with its final NUL. Returns the length of
/// the whole text without the NUL; `latens_error(NULL, 0)` only asks for it.
///
/// # Safety
/// `text` is null or holds `size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_error(text: *mut c_char, size: usize) -> usize {
    let copy = |last: &RefCell<String>| {
        let last = last.borrow();
        if size > 0 && !text.is_null() {
            let whole = |&count: &usize| last.is_char_boundary(count);
            let count = (0..size.min(last.len() + 1)).rev().find(whole).unwrap_or(0);
            // SAFETY: `count + 1 <= size` bytes, which the caller owns.
            unsafe {
                std::ptr::copy_nonoverlapping(last.as_ptr().cast(), text, count);
                *text.add(count) = 0;
            }
        }
        last.len()
    };
    LAST.try_with(copy).unwrap_or(0)
}

/// The version of the library, such as `0.1.0`.
#[unsafe(no_mangle)]
pub extern "C" fn latens_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `size` and the others have the numbers of the errors of latens-core, and the texts pass unchanged.
    #[test]
    fn statuses_are_the_codes_of_errors() {
        let error = Error::Null { op: "topk", arg: "x" };
        assert_eq!(guard(|| Err(error.into())), LatensStatus::Null);
        assert_eq!(guard(|| Err(Error::NoDriver.into())) as i32, Error::NoDriver.code());
        assert_eq!(guard(|| Err(Error::Size { op: "topk", arg: "x", want: 1, got: 2 }.into())), LatensStatus::Size);
        let mut text = [7_i8; 8];
        // SAFETY: the array has that many bytes.
        let whole = unsafe { latens_error(text.as_mut_ptr().cast(), text.len()) };
        assert_eq!(whole, "topk: x has size 2, expected 1".len());
        assert_eq!(text.map(|byte| byte as u8), *b"topk: x\0");
    }

    #[test]
    fn a_panic_is_a_status() {
        assert_eq!(guard(|| panic!("on purpose {}", 1)), LatensStatus::Panic);
        assert_eq!(LAST.with(|last| last.borrow().clone()), "latens panicked: on purpose 1");
    }
}
