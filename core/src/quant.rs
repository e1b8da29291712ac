use crate::{Data, DataMut, Device, Tensor, View, ViewMut};
use alloc::vec::Vec;
pub use latens_kernels::quant::{Format, Rounding, Settings as QuantSettings, pack};
use latens_kernels::{Accumulate, Error, Float, Result, quant as family};

const OP: &str = "quant";

/// What [`quant()`] gives.
pub struct Quantised {
    /// Packed: see [`pack`].
    pub codes: Tensor<u8, 1>,
    /// `[blocks, 1]`, for `Affine` `[blocks, 2]`.
    pub scales: Tensor<f32, 2>,
    /// How many numbers were not finite.
    pub dropped: Tensor<u32, 1>,
}

/// Where codes are written to.
pub struct QuantisedMut<'a> {
    /// Packed: see [`pack`].
    pub codes: ViewMut<'a, u8, 1>,
    /// `[blocks, 1]`, for `Affine` `[blocks, 2]`.
    pub scales: ViewMut<'a, f32, 2>,
    /// `[1]`, added to.
    pub dropped: ViewMut<'a, u32, 1>,
}

impl Quantised {
    /// Memory for the codes of `n` numbers.
    ///
    /// # Errors
    /// For settings out of range, and what allocating may give.
    pub fn empty(n: usize, settings: &QuantSettings, device: &Device) -> Result<Self> {
        let p = family::plan(n, settings)?;
        Ok(Self {
            codes: Tensor::empty([p.bytes_of_codes()], device)?,
            scales: Tensor::empty(p.scales(), device)?,
            dropped: Tensor::zeros([1], device)?,
        })
    }

    /// Borrow for writing.
    pub fn view_mut(&mut self) -> QuantisedMut<'_> {
        QuantisedMut { codes: self.codes.view_mut(), scales: self.scales.view_mut(), dropped: self.dropped.view_mut() }
    }
}

/// The memory of [`QuantisedMut`], checked.
struct To<'a> {
    codes: DataMut<'a, u8>,
    scales: DataMut<'a, f32>,
    dropped: DataMut<'a, u32>,
}

impl<'a> To<'a> {
    fn new(p: &family::Plan, to: QuantisedMut<'a>) -> Result<Self> {
        Ok(Self {
            codes: to.codes.packed(OP, "codes", [p.bytes_of_codes()])?,
            scales: to.scales.packed(OP, "scales", p.scales())?,
            dropped: to.dropped.packed(OP, "dropped", [1])?,
        })
    }

    fn host(self) -> Result<(&'a mut [u8], &'a mut [f32], &'a mut [u32])> {
        Ok((self.codes.host(OP, "codes")?, self.scales.host(OP, "scales")?, self.dropped.host(OP, "dropped")?))
    }

    #[cfg(feature = "cuda")]
    fn cuda(self, device: &latens_cuda::Device) -> Result<family::Codes<'a>> {
        Ok(family::Codes {
            codes: self.codes.cuda(device, OP, "codes")?,
            scales: self.scales.cuda(device, OP, "scales")?,
            dropped: self.dropped.cuda(device, OP, "dropped")?,
        })
    }
}

/// Codes of the numbers `x`, to which `error` is added and in which the rest is left: see [`latens_kernels::quant`].
pub fn quant<T: Float>(
    x: View<'_, T, 1>,
    settings: &QuantSettings,
    error: Option<ViewMut<'_, f32, 1>>,
) -> Result<Quantised> {
    let mut to = Quantised::empty(x.dims()[0], settings, &x.device())?;
    quant_into(x, settings, error, to.view_mut())?;
    Ok(to)
}

/// [`quant()`] into memory of the caller. On a GPU it neither allocates nor waits.
pub fn quant_into<T: Float>(
    x: View<'_, T, 1>,
    settings: &QuantSettings,
    error: Option<ViewMut<'_, f32, 1>>,
    to: QuantisedMut<'_>,
) -> Result<()> {
    let p = family::plan_of(&x.layout(), error.as_ref().map(ViewMut::layout).as_ref(), settings)?;
    let (to, error) = (To::new(&p, to)?, error.map(|error| error.packed(OP, "error", [p.n()])).transpose()?);
    match x.data() {
        Data::Host(x) => {
            let (codes, scales, dropped) = to.host()?;
            let error = error.map(|error| error.host(OP, "error")).transpose()?;
            latens_cpu::quant::forward(&p, x, error, codes, scales, dropped);
        }
        #[cfg(feature = "cuda")]
        Data::Cuda(device, x) => {
            let error = error.map(|error| error.cuda(device, OP, "error")).transpose()?;
            device.run(&family::launch(&p, device.chip(), x, error, to.cuda(device)?)?)?;
        }
    }
    Ok(())
}

/// The `n` numbers of codes.
pub fn dequant<T: Float>(
    codes: View<'_, u8, 1>,
    scales: View<'_, f32, 2>,
    n: usize,
    settings: &QuantSettings,
) -> Result<Tensor<T, 1>> {
    let mut y = Tensor::empty([n], &codes.device())?;
    dequant_into(codes, scales, settings, Accumulate::Replace, y.view_mut())?;
    Ok(y)
}

/// [`dequant()`] into memory of the caller, in place of its contents or added to them.
pub fn dequant_into<T: Float>(
    codes: View<'_, u8, 1>,
    scales: View<'_, f32, 2>,
    settings: &QuantSettings,
    accumulate: Accumulate,
    y: ViewMut<'_, T, 1>,
) -> Result<()> {
    let p = family::plan(y.layout().len(), settings)?;
    same("codes", [p.bytes_of_codes()], codes)?;
    same("scales", p.scales(), scales)?;
    let y = y.packed(OP, "y", [p.n()])?;
    match codes.data() {
        Data::Host(codes) => {
            latens_cpu::quant::dequant(&p, codes, scales.host(OP, "scales")?, accumulate, y.host(OP, "y")?);
        }
        #[cfg(feature = "cuda")]
        Data::Cuda(device, codes) => {
            let (scales, y) = (scales.cuda(device, OP, "scales")?, y.cuda(device, OP, "y")?);
            device.run(&family::launch_dequant(&p, device.chip(), codes, scales, accumulate, y)?)?;
        }
    }
    Ok(())
}

/// Codes of `factor` times the sum of the `n` numbers of each rank: `codes` `[ranks, bytes]`, `scales` `[ranks, blocks, 1 or 2]`.
pub fn quant_sum(
    codes: View<'_, u8, 2>,
    scales: View<'_, f32, 3>,
    n: usize,
    factor: f32,
    settings: &QuantSettings,
    error: Option<ViewMut<'_, f32, 1>>,
) -> Result<Quantised> {
    let mut to = Quantised::empty(n, settings, &codes.device())?;
    quant_sum_into(codes, scales, n, factor, settings, error, to.view_mut())?;
    Ok(to)
}

/// [`quant_sum()`] into memory of the caller. On a GPU it neither allocates nor waits.
pub fn quant_sum_into(
    codes: View<'_, u8, 2>,
    scales: View<'_, f32, 3>,
    n: usize,
    factor: f32,
    settings: &QuantSettings,
    error: Option<ViewMut<'_, f32, 1>>,
    to: QuantisedMut<'_>,
) -> Result<()> {
    let p = family::plan(n, settings)?;
    let ([ranks, _], [blocks, width]) = (codes.dims(), p.scales());
    same("codes", [ranks, p.bytes_of_codes()], codes)?;
    same("scales", [ranks, blocks, width], scales)?;
    let (to, error) = (To::new(&p, to)?, error.map(|error| error.packed(OP, "error", [n])).transpose()?);
    match codes.data() {
        Data::Host(from) => {
            let from = (from, scales.host(OP, "scales")?);
            let (codes, scales, dropped) = to.host()?;
            let error = error.map(|error| error.host(OP, "error")).transpose()?;
            latens_cpu::quant::sum(&p, ranks, factor, from, error, codes, scales, dropped);
        }
        #[cfg(feature = "cuda")]
        Data::Cuda(device, from) => {
            let from = (from, scales.cuda(device, OP, "scales")?);
            let error = error.map(|error| error.cuda(device, OP, "error")).transpose()?;
            let to = to.cuda(device)?;
            device.run(&family::launch_sum(&p, device.chip(), ranks, factor, from, error, to)?)?;
        }
    }
    Ok(())
}

/// Bytes of the message that `n` numbers are sent in: see [`pack`].
pub fn quant_message(n: usize, settings: &QuantSettings) -> Result<usize> {
    Ok(pack::message(&family::plan(n, settings)?))
}

/// Codes and scales of `n` numbers as a message, the same bytes on any machine: see [`pack`]. All on the host.
pub fn quant_write(
    codes: View<'_, u8, 1>,
    scales: View<'_, f32, 2>,
    n: usize,
    settings: &QuantSettings,
) -> Result<Vec<u8>> {
    let mut message = Tensor::empty([quant_message(n, settings)?], &Device::Host)?;
    quant_write_into(codes, scales, n, settings, message.view_mut())?;
    message.to_vec()
}

/// [`quant_write`] into memory of the caller, `message` `[quant_message(n, settings)]`.
pub fn quant_write_into(
    codes: View<'_, u8, 1>,
    scales: View<'_, f32, 2>,
    n: usize,
    settings: &QuantSettings,
    message: ViewMut<'_, u8, 1>,
) -> Result<()> {
    let p = family::plan(n, settings)?;
    let (lens, bytes) = ([p.bytes_of_codes(), p.blocks() * p.scales()[1]], pack::message(&p));
    same("codes", [lens[0]], codes)?;
    same("scales", p.scales(), scales)?;
    let message = message.packed(OP, "message", [bytes])?.host(OP, "message")?;
    let (codes, scales) = (codes.host(OP, "codes")?, scales.host(OP, "scales")?);
    pack::write_into(&p, &codes[..lens[0]], &scales[..lens[1]], &mut message[..bytes])
}

/// How many numbers a message on the host is of, and their settings. It may come from a stranger: all but its codes and scales
/// is checked.
pub fn quant_head(message: View<'_, u8, 1>) -> Result<(usize, QuantSettings)> {
    let p = pack::head(bytes(message)?)?;
    Ok((p.n(), *p.settings()))
}

/// The codes and scales of a message, in the shapes that [`quant_head`] tells. All on the host.
pub fn quant_read_into(message: View<'_, u8, 1>, codes: ViewMut<'_, u8, 1>, scales: ViewMut<'_, f32, 2>) -> Result<()> {
    let message = bytes(message)?;
    let p = pack::head(message)?;
    let lens = [p.bytes_of_codes(), p.blocks() * p.scales()[1]];
    let codes = codes.packed(OP, "codes", [lens[0]])?.host(OP, "codes")?;
    let scales = scales.packed(OP, "scales", p.scales())?.host(OP, "scales")?;
    pack::read_into(message, &mut codes[..lens[0]], &mut scales[..lens[1]]).map(drop)
}

/// The bytes of a message.
fn bytes(message: View<'_, u8, 1>) -> Result<&[u8]> {
    let [len] = message.dims();
    same("message", [len], message)?;
    Ok(&message.host(OP, "message")?[..len])
}

/// An input of these sizes, without gaps.
fn same<T: latens_kernels::Element, const R: usize>(
    arg: &'static str,
    dims: [usize; R],
    view: View<'_, T, R>,
) -> Result<()> {
    let wrong = dims.into_iter().zip(view.dims()).find(|(want, got)| want != got);
    if let Some((want, got)) = wrong {
        return Err(Error::Size { op: OP, arg, want, got });
    }
    let (want, got) = (latens_kernels::Layout::packed(dims)?.strides()[0], view.layout().strides()[0]);
    if view.layout().is_packed() { Ok(()) } else { Err(Error::Stride { op: OP, arg, want, got }) }
}
