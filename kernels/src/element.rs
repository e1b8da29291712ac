use half::{bf16, f16};

/// Run-time name of an [`Element`] type; the numbers are part of the C ABI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[non_exhaustive]
#[allow(missing_docs)]
pub enum DType {
    F32 = 0,
    F16 = 1,
    BF16 = 2,
    F64 = 3,
    U32 = 4,
    U8 = 5,
    I32 = 6,
    I8 = 7,
}

mod seal {
    pub trait Sealed {}
}

/// A number that can live in a tensor. Every bit pattern of it is a value.
pub trait Element: Copy + Default + PartialEq + Send + Sync + seal::Sealed + 'static {
    /// Its run-time name.
    const DTYPE: DType;
    /// Its name in a kernel's symbol, as in `topk_select_f32`; `None` for types that live on the host only.
    const SYMBOL: Option<&'static str>;
}

/// An element that the reference widens to `f64`.
pub trait Float: Element {
    /// What sums, biases and sparse codes of this type are kept in: `f64` for `f64`, else `f32`.
    type Acc: Float;
    /// Exactly this value.
    fn wide(self) -> f64;
    /// The nearest value of this type.
    fn narrow(x: f64) -> Self;
    /// The nearest `f32`: exact except for `f64`.
    fn to_f32(self) -> f32;
    /// The nearest value of this type.
    fn from_f32(x: f32) -> Self;
}

/// An integer that ranks as the value does on every device: NaN lowest, `-0.0` with `0.0`.
/// The device twin, in `kernels/cuda/latens.cuh`, is the same function of 32-bit floats; widening keeps the ranking.
pub fn order<T: Float>(x: T) -> u64 {
    let x = x.wide();
    if x.is_nan() {
        return 0;
    }
    let bits = (x + 0.0).to_bits();
    if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
}

/// Round to the neighbour with an odd last bit, unless `x` is an `f32`: rounding that to 16 bits is then rounding `x`, once.
/// (`half`'s own conversions from `f64` drop bits that break ties.)
fn to_odd(x: f64) -> f32 {
    let near = x as f32;
    let (bits, back) = (near.to_bits(), f64::from(near));
    if x.is_nan() || back == x || bits & 1 == 1 {
        return near;
    }
    f32::from_bits(if back.abs() < x.abs() { bits + 1 } else { bits - 1 })
}

macro_rules! elements {
    ($($t:ty, $dtype:ident, $symbol:expr;)*) => {$(
        impl seal::Sealed for $t {}
        impl Element for $t {
            const DTYPE: DType = DType::$dtype;
            const SYMBOL: Option<&'static str> = $symbol;
        }
    )*};
}
elements! {
    f32, F32, Some("f32");
    f16, F16, Some("f16");
    bf16, BF16, Some("bf16");
    f64, F64, None;
    u32, U32, Some("u32");
    u8, U8, Some("u8");
    i32, I32, Some("i32");
    i8, I8, Some("i8");
}

macro_rules! floats {
    ($($t:ty, $acc:ty: $wide:expr, $narrow:expr, $to:expr, $from:expr;)*) => {$(
        impl Float for $t {
            type Acc = $acc;
            #[inline(always)]
            fn wide(self) -> f64 { $wide(self) }
            #[inline(always)]
            fn narrow(x: f64) -> Self { $narrow(x) }
            #[inline(always)]
            fn to_f32(self) -> f32 { $to(self) }
            #[inline(always)]
            fn from_f32(x: f32) -> Self { $from(x) }
        }
    )*};
}
floats! {
    f32, f32: f64::from, |x| x as f32, |x| x, |x| x;
    f64, f64: |x| x, |x| x, |x| x as f32, f64::from;
    f16, f32: f16::to_f64, |x| f16::from_f32(to_odd(x)), f16::to_f32, f16::from_f32;
    bf16, f32: bf16::to_f64, |x| bf16::from_f32(to_odd(x)), bf16::to_f32, bf16::from_f32;
}
