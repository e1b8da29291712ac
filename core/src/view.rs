use crate::Device;
use latens_kernels::{Element, Error, Layout, Result};
#[cfg(feature = "cuda")]
use latens_kernels::{Span, SpanMut};

/// Borrowed elements.
#[derive(Clone, Copy)]
pub enum Data<'a, T> {
    /// On the host.
    Host(&'a [T]),
    /// On a GPU.
    #[cfg(feature = "cuda")]
    Cuda(&'a latens_cuda::Device, Span<'a, T>),
}

/// Borrowed elements, for writing.
pub enum DataMut<'a, T> {
    /// On the host.
    Host(&'a mut [T]),
    /// On a GPU.
    #[cfg(feature = "cuda")]
    Cuda(&'a latens_cuda::Device, SpanMut<'a, T>),
}

/// A borrowed tensor.
#[derive(Clone, Copy)]
pub struct View<'a, T, const R: usize> {
    pub(crate) data: Data<'a, T>,
    pub(crate) layout: Layout<R>,
}

/// A borrowed tensor, for writing.
pub struct ViewMut<'a, T, const R: usize> {
    pub(crate) data: DataMut<'a, T>,
    pub(crate) layout: Layout<R>,
}

impl<'a, T: Element, const R: usize> View<'a, T, R> {
    /// Lay `layout` over `data`. Device memory that is too short is refused by the operation.
    pub fn new(data: Data<'a, T>, layout: Layout<R>) -> Result<Self> {
        match data {
            Data::Host(d) if d.len() < layout.span() => Err(short(layout.span(), d.len())),
            _ => Ok(Self { data, layout }),
        }
    }

    /// Its sizes.
    pub fn dims(&self) -> [usize; R] {
        self.layout.dims()
    }

    /// Its sizes and strides.
    pub fn layout(&self) -> Layout<R> {
        self.layout
    }

    /// The part `start..end` of dimension `d`.
    ///
    /// # Errors
    /// As [`Layout::narrow`].
    pub fn narrow(self, d: usize, start: usize, end: usize) -> Result<Self> {
        let (layout, offset) = self.layout.narrow(d, start, end)?;
        let data = match self.data {
            Data::Host(data) => Data::Host(&data[offset..]),
            #[cfg(feature = "cuda")]
            Data::Cuda(device, span) => Data::Cuda(device, span.from(offset)),
        };
        Ok(Self { data, layout })
    }

    /// The same elements in other dimensions.
    ///
    /// # Errors
    /// As [`Layout::reshape`].
    pub fn reshape<const Q: usize>(self, dims: [usize; Q]) -> Result<View<'a, T, Q>> {
        Ok(View { data: self.data, layout: self.layout.reshape(dims)? })
    }

    /// Where it lives.
    pub fn device(&self) -> Device {
        match &self.data {
            Data::Host(_) => Device::Host,
            #[cfg(feature = "cuda")]
            Data::Cuda(device, _) => Device::Cuda((*device).clone()),
        }
    }

    /// Where it lives, and its elements.
    pub(crate) fn data(self) -> Data<'a, T> {
        self.data
    }

    /// The host slice, or [`Error::Device`].
    pub(crate) fn host(self, _op: &'static str, _arg: &'static str) -> Result<&'a [T]> {
        match self.data {
            Data::Host(data) => Ok(data),
            #[cfg(feature = "cuda")]
            _ => Err(Error::Device { op: _op, arg: _arg }),
        }
    }

    /// The span, if it is on `device`, or [`Error::Device`].
    #[cfg(feature = "cuda")]
    pub(crate) fn cuda(self, device: &latens_cuda::Device, op: &'static str, arg: &'static str) -> Result<Span<'a, T>> {
        match self.data {
            Data::Cuda(_, span) if span.device() == device.id() => Ok(span),
            _ => Err(Error::Device { op, arg }),
        }
    }
}

impl<'a, T: Element, const R: usize> ViewMut<'a, T, R> {
    /// Lay `layout` over `data`. Device memory that is too short is refused by the operation.
    pub fn new(data: DataMut<'a, T>, layout: Layout<R>) -> Result<Self> {
        match &data {
            DataMut::Host(d) if d.len() < layout.span() => Err(short(layout.span(), d.len())),
            _ => Ok(Self { data, layout }),
        }
    }

    /// Its sizes.
    pub fn dims(&self) -> [usize; R] {
        self.layout.dims()
    }

    /// Its sizes and strides.
    pub fn layout(&self) -> Layout<R> {
        self.layout
    }

    /// The same view, for a shorter time.
    pub fn reborrow(&mut self) -> ViewMut<'_, T, R> {
        let data = match &mut self.data {
            DataMut::Host(data) => DataMut::Host(data),
            #[cfg(feature = "cuda")]
            DataMut::Cuda(device, span) => DataMut::Cuda(device, span.reborrow()),
        };
        ViewMut { data, layout: self.layout }
    }

    /// The same view, for reading.
    pub fn shared(&self) -> View<'_, T, R> {
        let data = match &self.data {
            DataMut::Host(data) => Data::Host(data),
            #[cfg(feature = "cuda")]
            DataMut::Cuda(device, span) => Data::Cuda(device, span.read()),
        };
        View { data, layout: self.layout }
    }

    /// Where it lives.
    pub fn device(&self) -> Device {
        self.shared().device()
    }

    /// The part `start..end` of dimension `d`.
    ///
    /// # Errors
    /// As [`Layout::narrow`].
    pub fn narrow(self, d: usize, start: usize, end: usize) -> Result<Self> {
        let (layout, offset) = self.layout.narrow(d, start, end)?;
        let data = match self.data {
            DataMut::Host(data) => DataMut::Host(&mut data[offset..]),
            #[cfg(feature = "cuda")]
            DataMut::Cuda(device, span) => DataMut::Cuda(device, span.from(offset)),
        };
        Ok(Self { data, layout })
    }

    /// The same elements in other dimensions.
    ///
    /// # Errors
    /// As [`Layout::reshape`].
    pub fn reshape<const Q: usize>(self, dims: [usize; Q]) -> Result<ViewMut<'a, T, Q>> {
        Ok(ViewMut { layout: self.layout.reshape(dims)?, data: self.data })
    }

    /// The elements, if the tensor has these sizes and no gaps: what an operation asks of an output.
    pub(crate) fn packed(self, op: &'static str, arg: &'static str, dims: [usize; R]) -> Result<DataMut<'a, T>> {
        let wrong = dims.into_iter().zip(self.layout.dims()).find(|(want, got)| want != got);
        if let Some((want, got)) = wrong {
            return Err(Error::Size { op, arg, want, got });
        }
        if !self.layout.is_packed() {
            let want = Layout::packed(dims)?.strides()[0];
            return Err(Error::Stride { op, arg, want, got: self.layout.strides()[0] });
        }
        Ok(self.data)
    }

    /// The elements, whatever the layout.
    pub(crate) fn data(self) -> DataMut<'a, T> {
        self.data
    }
}

impl<'a, T: Element> DataMut<'a, T> {
    /// The host slice, or [`Error::Device`].
    pub(crate) fn host(self, _op: &'static str, _arg: &'static str) -> Result<&'a mut [T]> {
        match self {
            DataMut::Host(data) => Ok(data),
            #[cfg(feature = "cuda")]
            _ => Err(Error::Device { op: _op, arg: _arg }),
        }
    }

    /// The span, if it is on `device`, or [`Error::Device`].
    #[cfg(feature = "cuda")]
    pub(crate) fn cuda(
        self,
        device: &latens_cuda::Device,
        op: &'static str,
        arg: &'static str,
    ) -> Result<SpanMut<'a, T>> {
        match self {
            DataMut::Cuda(_, span) if span.device() == device.id() => Ok(span),
            _ => Err(Error::Device { op, arg }),
        }
    }
}

fn short(want: usize, got: usize) -> Error {
    Error::Size { op: "view", arg: "data", want, got }
}
