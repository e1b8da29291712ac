//! Factors in few bits between ranks: the family `quant` over the numbers of a factor, which lie in one piece.
use crate::{
    Accumulate, QuantSettings, Quantised, QuantisedMut, Tensor, View, ViewMut, dequant_into, quant_into, scale_into,
};
use latens_kernels::{Error, Result};

/// Codes of a factor `[rows, rank]`, to be sent, and in its place the numbers of the codes, which is what others will have:
/// see [`latens_kernels::lowrank`].
pub fn lowrank_quantise(factor: ViewMut<'_, f32, 2>, settings: &QuantSettings) -> Result<Quantised> {
    let mut to = Quantised::empty(factor.layout().len(), settings, &factor.device())?;
    lowrank_quantise_into(factor, settings, to.view_mut())?;
    Ok(to)
}

/// [`lowrank_quantise`] into memory of the caller; `dropped` is added to. On a GPU it neither allocates nor waits.
pub fn lowrank_quantise_into(
    factor: ViewMut<'_, f32, 2>,
    settings: &QuantSettings,
    mut to: QuantisedMut<'_>,
) -> Result<()> {
    let len = factor.layout().len();
    let numbers = factor.shared().reshape([len])?;
    let QuantisedMut { codes, scales, dropped } = &mut to;
    let into = QuantisedMut { codes: codes.reborrow(), scales: scales.reborrow(), dropped: dropped.reborrow() };
    quant_into(numbers, settings, None, into)?;
    let (codes, scales) = (to.codes.shared(), to.scales.shared());
    dequant_into(codes, scales, settings, Accumulate::Replace, factor.reshape([len])?)
}

/// `scale` times the sum of a factor `[rows, rank]` over ranks, from the codes that each sent: see
/// [`lowrank_sum_into`].
pub fn lowrank_sum(
    codes: View<'_, u8, 2>,
    scales: View<'_, f32, 3>,
    scale: f32,
    settings: &QuantSettings,
    dims: [usize; 2],
) -> Result<Tensor<f32, 2>> {
    let mut factor = Tensor::empty(dims, &codes.device())?;
    lowrank_sum_into(codes, scales, scale, settings, factor.view_mut())?;
    Ok(factor)
}

/// `factor = scale * sum over ranks`, from `codes` `[ranks, bytes]` and `scales` `[ranks, blocks, 1 or 2]`, added in the
/// order of ranks: all who hold the codes get the same bits. On a GPU it neither allocates nor waits.
pub fn lowrank_sum_into(
    codes: View<'_, u8, 2>,
    scales: View<'_, f32, 3>,
    scale: f32,
    settings: &QuantSettings,
    factor: ViewMut<'_, f32, 2>,
) -> Result<()> {
    const OP: &str = "lowrank_sum";
    let ([ranks, bytes], [of_scales, blocks, width]) = (codes.dims(), scales.dims());
    if ranks == 0 {
        return Err(Error::Value { op: OP, arg: "codes", want: "those of a rank or more" });
    }
    if ranks != of_scales {
        return Err(Error::Size { op: OP, arg: "scales", want: ranks, got: of_scales });
    }
    let len = factor.layout().len();
    let mut factor = factor.reshape([len])?;
    for rank in 0..ranks {
        let codes = codes.narrow(0, rank, rank + 1)?.reshape([bytes])?;
        let scales = scales.narrow(0, rank, rank + 1)?.reshape([blocks, width])?;
        let accumulate = if rank == 0 { Accumulate::Replace } else { Accumulate::Add };
        dequant_into(codes, scales, settings, accumulate, factor.reborrow())?;
    }
    if scale == 1.0 { Ok(()) } else { scale_into(scale, factor.reshape([1, len])?) }
}
