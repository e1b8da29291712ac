//! Launches of [`gate`](crate::sae::gate) and [`slopes`](mod@crate::sae::slopes): a slot for each thread, or each warp; sums over slots after a sort by latent.
use super::Coded;
use crate::sae::gate::{Penalty, Plan};
use crate::sae::{IMAGE, slopes};
use crate::sort::{self, SORT, Sort};
use crate::{Chip, Float, Launch, Result, Span, SpanMut};

const OP: &str = "sae_gate";

/// What a gate is made of, on a device.
#[derive(Clone, Copy, Debug)]
pub struct Parts<'a, A> {
    /// Factors.
    pub scale: Option<Span<'a, A>>,
    /// What is added.
    pub shift: Option<Span<'a, A>>,
    /// What a value weighs in the penalty.
    pub weight: Option<Span<'a, A>>,
}

impl<'a, A: Float> Parts<'a, A> {
    fn checked(self, n: usize) -> Result<Self> {
        let holds = |part: Option<Span<'a, A>>, arg| part.map(|part| part.holds(n, OP, arg)).transpose();
        Ok(Self {
            scale: holds(self.scale, "scale")?,
            shift: holds(self.shift, "shift")?,
            weight: holds(self.weight, "weight")?,
        })
    }
}

/// The launch of [`gate::forward`](crate::sae::gate::forward).
///
/// # Errors
/// `Size` if a span is shorter than the plan needs, `Device` if they are of different devices, `Type` for `f64`.
pub fn forward<'a, A: Float>(
    p: &Plan,
    chip: &Chip,
    codes: Coded<'a, A>,
    parts: Parts<'a, A>,
    y: SpanMut<'a, A>,
) -> Result<[Launch<'a>; 1]> {
    let (slots, codes, parts) = (p.shape().slots(), codes.checked(OP, &p.shape())?, parts.checked(p.n())?);
    Ok([Launch::new::<A>(&IMAGE, "sae_gate")
        .read(codes.values)
        .read(codes.latents)
        .read(parts.scale)
        .read(parts.shift)
        .write(&y.holds(slots, OP, "y")?)
        .u32(slots)
        .u32(p.n())
        .f32(p.floor())
        .over([slots.div_ceil(256), 1, 1], 256, 0, chip)?])
}

/// Bytes of scratch of [`backward`]: the sort.
pub fn workspace(p: &Plan) -> usize {
    let slots = p.shape().slots();
    sort::workspace(slots).saturating_add(4 * (slots + p.n() + 1) + 2 * 256)
}

/// The launches of [`gate::backward`](crate::sae::gate::backward).
///
/// # Errors
/// As [`forward`].
pub fn backward<'a, A: Float>(
    p: &Plan,
    chip: &Chip,
    codes: Coded<'a, A>,
    parts: Parts<'a, A>,
    slopes: SpanMut<'a, A>,
    sums: SpanMut<'a, A>,
    mut workspace: SpanMut<'a, u8>,
) -> Result<[Launch<'a>; 3 + SORT]> {
    let (n, slots, push) = (p.n(), p.shape().slots(), p.push());
    let (codes, parts) = (codes.checked(OP, &p.shape())?, parts.checked(n)?);
    let slopes = slopes.holds(slots, OP, "slopes")?;
    let mut sort = Sort::take(&super::backward::KERNELS, &mut workspace, slots, OP)?;
    let (rows, starts) = (workspace.take::<u32>(slots, OP)?, workspace.take::<u32>(n + 1, OP)?);
    let begin = codes
        .read(Launch::new::<f32>(&IMAGE, "sae_order_keys"))
        .write(&sort.keys[0])
        .write(&sort.items[0])
        .write(&rows)
        .write(&slopes)
        .u32(p.shape().rows())
        .u32(n)
        .over([slots.div_ceil(256), 1, 1], 256, 0, chip)?;
    let mut all = [begin; 3 + SORT];
    all[1..=SORT].copy_from_slice(&sort.launches(n, chip)?);
    all[1 + SORT] = sort.starts(sort.keys[0].shared(), &starts, n, chip)?;
    let (tanh, of) = match push.penalty {
        Penalty::Power(p) => (0, p),
        Penalty::Tanh(c) => (1, c),
    };
    all[2 + SORT] = Launch::new::<A>(&IMAGE, "sae_gate_backward")
        .read(codes.values)
        .read(sort.sorted())
        .read(starts.shared())
        .read(parts.scale)
        .read(parts.shift)
        .read(parts.weight)
        .f32(p.floor())
        .f32(push.by)
        .u32(tanh)
        .f32(of)
        .f32(push.step)
        .write(&slopes)
        .write(&sums.holds(4 * n, OP, "sums")?)
        .u32(n)
        .over([n.div_ceil(8), 1, 1], 256, 0, chip)?;
    Ok(all)
}

/// The launch of [`slopes::forward`].
///
/// # Errors
/// As [`forward`].
pub fn slopes<'a, T: Float>(
    p: &slopes::Plan,
    chip: &Chip,
    codes: Coded<'a, T::Acc>,
    g: Span<'a, T>,
    w_dec: Span<'a, T>,
    to: SpanMut<'a, T::Acc>,
) -> Result<[Launch<'a>; 1]> {
    const OP: &str = "sae_slopes";
    let slots = p.shape().slots();
    Ok([codes
        .checked(OP, &p.shape())?
        .read(Launch::new::<T>(&IMAGE, "sae_slopes"))
        .read(g.holds(p.g().span(), OP, "g")?)
        .read(w_dec.holds(p.w().span(), OP, "w_dec")?)
        .write(&to.holds(slots, OP, "slopes")?)
        .u32(p.shape().rows())
        .u32(p.dim())
        .u32(p.n())
        .u64(p.g().strides()[0])
        .u64(p.w().strides()[0])
        .over([slots.div_ceil(8), 1, 1], 256, 0, chip)?])
}
