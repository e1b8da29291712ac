use crate::DType;
use core::fmt;

/// `Result` with the library's [`Error`].
pub type Result<T> = core::result::Result<T, Error>;

/// The one error of the library. It owns no memory, so it crosses `no_std` and the C ABI unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// Argument `arg` of `op` has `got` elements where `want` are required.
    Size {
        /// The operation.
        op: &'static str,
        /// Its argument.
        arg: &'static str,
        /// What the contract asks for.
        want: usize,
        /// What came.
        got: usize,
    },
    /// Argument `arg` of `op` exceeds `max`.
    Range {
        /// The operation.
        op: &'static str,
        /// Its argument.
        arg: &'static str,
        /// The largest value allowed.
        max: usize,
        /// What came.
        got: usize,
    },
    /// The strides of `arg`: the innermost is not 1, rows overlap, or an output is not packed.
    Stride {
        /// The operation.
        op: &'static str,
        /// Its argument.
        arg: &'static str,
        /// The least stride that would do.
        want: usize,
        /// What came.
        got: usize,
    },
    /// Argument `arg` has an element type that the operation does not take on this device.
    Type {
        /// The operation.
        op: &'static str,
        /// Its argument.
        arg: &'static str,
        /// What came.
        got: DType,
    },
    /// Argument `arg` lives on another device or stream than the first.
    Device {
        /// The operation.
        op: &'static str,
        /// Its argument.
        arg: &'static str,
    },
    /// A number among the arguments has no meaning for the operation.
    Value {
        /// The operation.
        op: &'static str,
        /// Its argument.
        arg: &'static str,
        /// What the contract asks for, in words.
        want: &'static str,
    },
    /// A null pointer where memory was needed (C ABI).
    Null {
        /// The operation.
        op: &'static str,
        /// Its argument.
        arg: &'static str,
    },
    /// More elements than an index, or more shared memory than a block, can hold.
    TooLarge,
    /// Allocation of `bytes` failed.
    Memory {
        /// What was asked for.
        bytes: usize,
    },
    /// Memory was asked for, or waited for, while a graph is being captured.
    Capture,
    /// The driver answered `call` with `code`.
    Driver {
        /// What was asked of the driver.
        call: &'static str,
        /// The driver's number.
        code: i32,
    },
    /// No CUDA driver on this machine, or one that is too old.
    NoDriver,
}

impl Error {
    /// The number of this error in the C ABI.
    pub fn code(&self) -> i32 {
        match self {
            Error::Size { .. } => 1,
            Error::Range { .. } => 2,
            Error::Stride { .. } => 3,
            Error::Type { .. } => 4,
            Error::Device { .. } => 5,
            Error::TooLarge => 6,
            Error::Memory { .. } => 7,
            Error::Capture => 8,
            Error::Driver { .. } => 9,
            Error::NoDriver => 10,
            Error::Value { .. } => 11,
            Error::Null { .. } => 12,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Error::Size { op, arg, want, got } => write!(f, "{op}: {arg} has size {got}, expected {want}"),
            Error::Range { op, arg, max, got } => write!(f, "{op}: {arg} is {got}, at most {max} is allowed"),
            Error::Stride { op, arg, want, got } => {
                write!(f, "{op}: {arg} has stride {got}, expected {want} (innermost 1, rows apart, outputs packed)")
            }
            Error::Type { op, arg, got } => {
                write!(f, "{op}: {arg} has type {got:?}, which this device has no kernel for")
            }
            Error::Device { op, arg } => {
                write!(f, "{op}: {arg} lives on another device or stream than the first argument")
            }
            Error::Value { op, arg, want } => write!(f, "{op}: {arg} must be {want}"),
            Error::Null { op, arg } => write!(f, "{op}: {arg} is a null pointer"),
            Error::TooLarge => f.write_str("more elements than the kernels can index"),
            Error::Memory { bytes } => write!(f, "allocation of {bytes} bytes failed"),
            Error::Capture => f.write_str("only the _into functions may be called while a graph is captured"),
            Error::Driver { call, code } => write!(f, "{call} failed with driver code {code}"),
            Error::NoDriver => f.write_str("no usable CUDA driver on this machine"),
        }
    }
}

impl core::error::Error for Error {}
