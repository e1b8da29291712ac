//! One instance of a generic operation for each element type that C can name.

/// `float!(call, "x" = x, T => body)`: `body`, a call of `latens_core`, with `T` the type of the elements of `x`.
macro_rules! float {
    ($call:expr, $arg:literal = $tensor:expr, $T:ident => $body:expr) => {
        dispatch!($call, $arg = $tensor, $T => $body, F32 f32, F16 latens_core::f16, BF16 latens_core::bf16, F64 f64)
    };
}

/// `float!` for the types that sums are kept in.
macro_rules! sum {
    ($call:expr, $arg:literal = $tensor:expr, $T:ident => $body:expr) => {
        dispatch!($call, $arg = $tensor, $T => $body, F32 f32, F64 f64)
    };
}

/// `float!` for the types that a corpus is copied in.
macro_rules! code {
    ($call:expr, $arg:literal = $tensor:expr, $T:ident => $body:expr) => {
        dispatch!($call, $arg = $tensor, $T => $body, I8 i8, BF16 latens_core::bf16)
    };
}

/// `float!` for all types.
macro_rules! element {
    ($call:expr, $arg:literal = $tensor:expr, $T:ident => $body:expr) => {
        dispatch!($call, $arg = $tensor, $T => $body, F32 f32, F16 latens_core::f16, BF16 latens_core::bf16, F64 f64,
            U32 u32, U8 u8, I32 i32, I8 i8)
    };
}

macro_rules! dispatch {
    ($call:expr, $arg:literal = $tensor:expr, $T:ident => $body:expr, $($dtype:ident $t:ty),*) => {
        match $call.dtype($arg, $tensor)? {
            $(latens_core::DType::$dtype => {
                type $T = $t;
                $body.map_err(crate::Failure::from)
            })*
            #[allow(unreachable_patterns)] // but for a type of a later version
            got => Err($call.no_instance($arg, got)),
        }
    };
}
