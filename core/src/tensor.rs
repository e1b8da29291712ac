use crate::memory::Memory;
use crate::{Data, DataMut, View, ViewMut};
use alloc::vec::Vec;
use latens_kernels::{Element, Error, Layout, Result};

/// Where a tensor lives.
#[derive(Clone)]
pub enum Device {
    /// Host memory.
    Host,
    /// One GPU and one stream.
    #[cfg(feature = "cuda")]
    Cuda(latens_cuda::Device),
}

enum Storage<T> {
    Host(Memory<T>),
    #[cfg(feature = "cuda")]
    Cuda(latens_cuda::Buffer<T>),
}

/// A tensor that owns its memory.
pub struct Tensor<T, const R: usize> {
    storage: Storage<T>,
    layout: Layout<R>,
}

impl Device {
    /// GPU `ordinal` if this machine has one.
    #[cfg(feature = "cuda")]
    pub fn cuda(ordinal: usize) -> Result<Self> {
        latens_cuda::Device::open(ordinal).map(Device::Cuda)
    }

    /// Whether its memory is the host's.
    pub fn is_host(&self) -> bool {
        matches!(self, Device::Host)
    }
}

impl<T: Element, const R: usize> Tensor<T, R> {
    /// A packed tensor of elements of any value. For outputs.
    pub fn empty(dims: [usize; R], device: &Device) -> Result<Self> {
        Self::alloc(Layout::packed(dims)?, device)
    }

    /// A packed tensor of zeros.
    pub fn zeros(dims: [usize; R], device: &Device) -> Result<Self> {
        let layout = Layout::packed(dims)?;
        match device {
            Device::Host => Ok(Self { storage: Storage::Host(Memory::zeros(layout.span())?), layout }),
            #[cfg(feature = "cuda")]
            Device::Cuda(device) => {
                let mut memory = device.alloc(layout.span())?;
                memory.zero()?;
                Ok(Self { storage: Storage::Cuda(memory), layout })
            }
        }
    }

    /// A packed tensor of these elements. On the host the memory is taken over, not copied.
    pub fn from_vec(from: Vec<T>, dims: [usize; R], device: &Device) -> Result<Self> {
        let layout = Layout::packed(dims)?;
        match device {
            Device::Host if from.len() == layout.span() => Ok(Self { storage: Storage::Host(from.into()), layout }),
            _ => Self::from_slice(&from, layout, device),
        }
    }

    /// Copy the span of `layout` from a slice.
    pub fn from_slice(from: &[T], layout: Layout<R>, device: &Device) -> Result<Self> {
        let mut tensor = Self::alloc(layout, device)?;
        tensor.write(from)?;
        Ok(tensor)
    }

    /// Overwrite all of it from the host.
    pub fn write(&mut self, from: &[T]) -> Result<()> {
        if from.len() != self.layout.span() {
            return Err(Error::Size { op: "write", arg: "from", want: self.layout.span(), got: from.len() });
        }
        match &mut self.storage {
            Storage::Host(memory) => memory.copy_from_slice(from),
            #[cfg(feature = "cuda")]
            Storage::Cuda(memory) => memory.write(from)?,
        }
        Ok(())
    }

    /// Copy to the host: the span of its layout. On a GPU this is where the host waits.
    pub fn to_vec(&self) -> Result<Vec<T>> {
        match &self.storage {
            Storage::Host(memory) => Ok(memory.to_vec()),
            #[cfg(feature = "cuda")]
            Storage::Cuda(memory) => {
                let mut to = alloc::vec![T::default(); self.layout.span()];
                memory.read(&mut to)?;
                Ok(to)
            }
        }
    }

    /// The elements, if they are in host memory.
    pub fn host(&self) -> Option<&[T]> {
        match &self.storage {
            Storage::Host(memory) => Some(memory),
            #[cfg(feature = "cuda")]
            _ => None,
        }
    }

    /// The elements, for writing, if they are in host memory.
    pub fn host_mut(&mut self) -> Option<&mut [T]> {
        match &mut self.storage {
            Storage::Host(memory) => Some(memory),
            #[cfg(feature = "cuda")]
            _ => None,
        }
    }

    /// A copy on `device`.
    pub fn to(&self, device: &Device) -> Result<Self> {
        match self.host() {
            Some(host) => Self::from_slice(host, self.layout, device),
            None => Self::from_slice(&self.to_vec()?, self.layout, device),
        }
    }

    /// The same elements in other dimensions, without a copy.
    ///
    /// # Errors
    /// As [`Layout::reshape`].
    pub fn reshape<const Q: usize>(self, dims: [usize; Q]) -> Result<Tensor<T, Q>> {
        Ok(Tensor { layout: self.layout.reshape(dims)?, storage: self.storage })
    }

    /// Where it lives.
    pub fn device(&self) -> Device {
        match &self.storage {
            Storage::Host(_) => Device::Host,
            #[cfg(feature = "cuda")]
            Storage::Cuda(memory) => Device::Cuda(memory.device().clone()),
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

    /// Borrow.
    pub fn view(&self) -> View<'_, T, R> {
        let data = match &self.storage {
            Storage::Host(memory) => Data::Host(memory),
            #[cfg(feature = "cuda")]
            Storage::Cuda(memory) => Data::Cuda(memory.device(), memory.span()),
        };
        View { data, layout: self.layout }
    }

    /// Borrow for writing.
    pub fn view_mut(&mut self) -> ViewMut<'_, T, R> {
        let data = match &mut self.storage {
            Storage::Host(memory) => DataMut::Host(memory),
            #[cfg(feature = "cuda")]
            Storage::Cuda(memory) => {
                let (device, span) = memory.parts_mut();
                DataMut::Cuda(device, span)
            }
        };
        ViewMut { data, layout: self.layout }
    }

    fn alloc(layout: Layout<R>, device: &Device) -> Result<Self> {
        let storage = match device {
            Device::Host => Storage::Host(Memory::any(layout.span())?),
            #[cfg(feature = "cuda")]
            Device::Cuda(device) => Storage::Cuda(device.alloc(layout.span())?),
        };
        Ok(Self { storage, layout })
    }
}
