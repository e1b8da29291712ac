use crate::{Error, Result};

/// Sizes and strides, in elements, of a row-major tensor whose innermost stride is 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout<const R: usize> {
    dims: [usize; R],
    strides: [usize; R],
}

impl<const R: usize> Layout<R> {
    /// A layout without gaps.
    pub fn packed(dims: [usize; R]) -> Result<Self> {
        let mut strides = [1; R];
        for d in (1..R).rev() {
            strides[d - 1] = dims[d].max(1).checked_mul(strides[d]).ok_or(Error::TooLarge)?;
        }
        Self::strided(dims, strides)
    }

    /// A layout with gaps between rows. Strides that are never used are ignored, for DLPack lets them be anything: that
    /// of a dimension of one entry becomes the packed one, and those of an empty tensor become 0.
    pub fn strided(dims: [usize; R], mut strides: [usize; R]) -> Result<Self> {
        if dims.contains(&0) {
            return Ok(Self { dims, strides: [0; R] });
        }
        let mut inner = 1;
        for d in (0..R).rev() {
            if dims[d] == 1 {
                strides[d] = inner;
            }
            if strides[d] < inner || (d + 1 == R && strides[d] != 1) {
                return Err(Error::Stride { op: "layout", arg: "strides", want: inner, got: strides[d] });
            }
            inner = dims[d].checked_mul(strides[d]).ok_or(Error::TooLarge)?;
        }
        Ok(Self { dims, strides })
    }

    /// Sizes, outermost first.
    #[inline]
    pub fn dims(&self) -> [usize; R] {
        self.dims
    }

    /// Strides in elements.
    #[inline]
    pub fn strides(&self) -> [usize; R] {
        self.strides
    }

    /// Whether there are no gaps.
    pub fn is_packed(&self) -> bool {
        Self::packed(self.dims).is_ok_and(|packed| packed == *self)
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.dims.iter().product()
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.dims.contains(&0)
    }

    /// The part `start..end` of dimension `d`: its layout, and the offset of its first element.
    ///
    /// # Errors
    /// [`Error::Range`] if the part is not inside.
    pub fn narrow(&self, d: usize, start: usize, end: usize) -> Result<(Self, usize)> {
        let range = |arg, got, max| if got > max { Err(Error::Range { op: "narrow", arg, max, got }) } else { Ok(()) };
        range("end", end, self.dims[d])?;
        range("start", start, end)?;
        let mut dims = self.dims;
        dims[d] = end - start;
        let offset = if dims.contains(&0) { 0 } else { start * self.strides[d] };
        Ok((Self::strided(dims, self.strides)?, offset))
    }

    /// The same elements in other dimensions.
    ///
    /// # Errors
    /// [`Error::Size`] if the number of elements differs, [`Error::Stride`] if there are gaps.
    pub fn reshape<const Q: usize>(&self, dims: [usize; Q]) -> Result<Layout<Q>> {
        let (want, got) = (self.len(), dims.iter().product());
        if want != got {
            return Err(Error::Size { op: "reshape", arg: "dims", want, got });
        }
        if !self.is_packed() {
            return Err(Error::Stride { op: "reshape", arg: "self", want: 0, got: self.strides[0] });
        }
        Layout::packed(dims)
    }

    /// Elements from the first to one past the last.
    pub fn span(&self) -> usize {
        if self.dims.contains(&0) {
            return 0;
        }
        (0..R).map(|d| (self.dims[d] - 1) * self.strides[d]).sum::<usize>() + 1
    }
}
