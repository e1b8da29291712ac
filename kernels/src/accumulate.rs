use crate::Float;

/// What a result does to the contents of its output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accumulate {
    /// It takes their place; they are not read, and may be anything.
    Replace,
    /// It is added to them.
    Add,
}

impl Accumulate {
    /// `out` as it is after one more result.
    pub(crate) fn put<T: Float>(self, out: &mut T, result: f64) {
        *out = T::narrow(if self == Accumulate::Add { out.wide() + result } else { result });
    }
}
