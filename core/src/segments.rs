use crate::{Device, Tensor, View};
use latens_kernels::{Result, Segments};

/// A table of [`Segments`] and its copy where kernels read it. Made once; operations only borrow it.
pub struct SegmentTable {
    segments: Segments,
    words: Tensor<u32, 2>,
}

impl SegmentTable {
    /// Bring a table to `device`.
    ///
    /// # Errors
    /// What allocating and writing may give.
    pub fn new(segments: Segments, device: &Device) -> Result<Self> {
        let words = Tensor::from_vec(segments.words(), [segments.count(), Segments::WORDS], device)?;
        Ok(Self { segments, words })
    }

    /// The table.
    pub fn segments(&self) -> &Segments {
        &self.segments
    }

    /// Its copy on the device.
    pub fn words(&self) -> View<'_, u32, 2> {
        self.words.view()
    }
}
