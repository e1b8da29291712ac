use super::{IMAGE, OP, Plan};
use crate::route::{Marks, Tables};
use crate::{Chip, Error, Float, Launch, Result, Span, SpanMut};

const BLOCK: usize = 128;
/// Positions of a thread, and registers for taps: twins of `conv1d.cu`.
const RUN: usize = 64;
const TAPS: usize = 4;
const ALIGN: usize = 256;

/// The gradients that are asked for.
pub struct Gradients<'a, T: Float> {
    /// As `x`, packed.
    pub dx: Option<SpanMut<'a, T>>,
    /// As `weight`, packed.
    pub dweight: Option<SpanMut<'a, T::Acc>>,
    /// As `bias`.
    pub dbias: Option<SpanMut<'a, T::Acc>>,
    /// As `initial`.
    pub dinitial: Option<SpanMut<'a, T>>,
}

/// What every kernel is told.
#[derive(Clone, Copy)]
struct Call<'a, T: Float> {
    x: Span<'a, T>,
    weight: Span<'a, T::Acc>,
    bias: Option<Span<'a, T::Acc>>,
    initial: Option<Span<'a, T>>,
    tables: Tables<Span<'a, u32>>,
    bad: Option<Span<'a, u32>>,
}

impl<'a, T: Float> Call<'a, T> {
    fn named(&self, p: &Plan, kernel: &'static str) -> Launch<'a> {
        let [batch, row, _] = p.x.strides();
        let launch = Launch::new::<T>(&IMAGE, kernel).read(self.x).read(self.weight).read(self.bias).read(self.initial);
        p.route
            .name(launch, self.tables, self.bad)
            .u32(p.channels())
            .u32(p.columns())
            .u32(p.route.orders())
            .u32(p.width())
            .u32(usize::from(p.silu))
            .u64(batch)
            .u64(row)
            .u64(p.weight.strides()[0])
    }
}

/// Blocks for every channel of `count` things.
fn tiles(p: &Plan, count: usize) -> Result<[usize; 3]> {
    let blocks = p.channels().div_ceil(BLOCK).checked_mul(count).ok_or(Error::TooLarge)?;
    Ok([blocks, 1, 1])
}

fn runs(p: &Plan) -> usize {
    p.route.batch() * p.route.len().div_ceil(RUN)
}

/// Numbers of the sums of runs, and of the gradients that orders share.
fn scratch(p: &Plan) -> Result<[usize; 2]> {
    let records = runs(p).checked_mul((TAPS + 1) * p.channels()).ok_or(Error::TooLarge)?;
    let shared = p.columns() != p.channels();
    let parts = p.route.rows().checked_mul(if shared { p.channels() } else { 0 }).ok_or(Error::TooLarge)?;
    Ok([records, parts])
}

/// Bytes of scratch of [`launch`].
pub fn workspace(p: &Plan) -> Result<usize> {
    p.route.workspace()
}

/// Bytes of scratch of [`launch_backward`].
pub fn workspace_backward(p: &Plan) -> Result<usize> {
    let numbers = scratch(p)?.iter().try_fold(0_usize, |sum, &count| sum.checked_add(count));
    let bytes = numbers.and_then(|numbers| numbers.checked_mul(4)).ok_or(Error::TooLarge)?;
    bytes.checked_add(2 * ALIGN + p.route.workspace()?).ok_or(Error::TooLarge)
}

fn held<'a, T: Float>(
    p: &Plan,
    x: Span<'a, T>,
    weight: Span<'a, T::Acc>,
    bias: Option<Span<'a, T::Acc>>,
    tables: Tables<Span<'a, u32>>,
    initial: Option<Span<'a, T>>,
    marks: &Marks<'a>,
) -> Result<Call<'a, T>> {
    Ok(Call {
        x: x.holds(p.x.span(), OP, "x")?,
        weight: weight.holds(p.weight.span(), OP, "weight")?,
        bias: bias.map(|bias| bias.holds(p.channels(), OP, "bias")).transpose()?,
        initial: initial.map(|initial| initial.holds(p.state().iter().product(), OP, "initial")).transpose()?,
        tables,
        bad: marks.bad(),
    })
}

/// The launches of one call: the tables are checked, then `y`, then `last`, if it is asked for.
///
/// # Errors
/// `Size` if a span is shorter than the plan needs, `Device` if they are of different devices.
pub fn launch<'a, T: Float>(
    p: &Plan,
    chip: &Chip,
    x: Span<'a, T>,
    weight: Span<'a, T::Acc>,
    bias: Option<Span<'a, T::Acc>>,
    tables: Tables<Span<'a, u32>>,
    initial: Option<Span<'a, T>>,
    y: SpanMut<'a, T>,
    last: Option<SpanMut<'a, T>>,
    mut workspace: SpanMut<'a, u8>,
) -> Result<[Launch<'a>; 4]> {
    let marks = p.route.marks(OP, tables, &mut workspace)?;
    let call = held(p, x, weight, bias, tables, initial, &marks)?;
    let y = y.holds(p.dy.len(), OP, "y")?;
    let last = last.map(|last| last.holds(p.state().iter().product(), OP, "last")).transpose()?;
    let states = last.as_ref().map_or(0, |_| p.route.sequences());
    let [clear, check] = p.route.launch(&IMAGE, ["conv1d_route_clear", "conv1d_route_check"], chip, tables, &marks)?;
    let forward = call.named(p, "conv1d_forward").write(&y).over(tiles(p, runs(p))?, BLOCK as u32, 0, chip)?;
    let last = call.named(p, "conv1d_last").write(last.as_ref()).over(tiles(p, states)?, BLOCK as u32, 0, chip)?;
    Ok([clear, check, forward, last])
}

/// The launches of a backward call.
///
/// # Errors
/// As [`launch`].
pub fn launch_backward<'a, T: Float>(
    p: &Plan,
    chip: &Chip,
    x: Span<'a, T>,
    weight: Span<'a, T::Acc>,
    bias: Option<Span<'a, T::Acc>>,
    tables: Tables<Span<'a, u32>>,
    initial: Option<Span<'a, T>>,
    dy: Span<'a, T>,
    dlast: Option<Span<'a, T>>,
    to: Gradients<'a, T>,
    mut workspace: SpanMut<'a, u8>,
) -> Result<[Launch<'a>; 6]> {
    let marks = p.route.marks(OP, tables, &mut workspace)?;
    let call = held(p, x, weight, bias, tables, initial, &marks)?;
    let [records, parts] = scratch(p)?;
    let (records, parts) = (workspace.take::<f32>(records, OP)?, workspace.take::<f32>(parts, OP)?);
    let state = p.state().iter().product();
    let dy = dy.holds(p.dy.span(), OP, "dy")?;
    let dlast = dlast.map(|dlast| dlast.holds(state, OP, "dlast")).transpose()?;
    let dx = to.dx.map(|dx| dx.holds(p.x.len(), OP, "dx")).transpose()?;
    let dweight = to.dweight.map(|dweight| dweight.holds(p.weight.len(), OP, "dweight")).transpose()?;
    let dbias = to.dbias.map(|dbias| dbias.holds(p.channels(), OP, "dbias")).transpose()?;
    let dinitial = to.dinitial.map(|dinitial| dinitial.holds(state, OP, "dinitial")).transpose()?;

    let shared = p.columns() != p.channels();
    let (merge, sums) = (shared && dx.is_some(), dweight.is_some() || dbias.is_some());
    let gradient = |kernel| {
        let [batch, row, _] = p.dy.strides();
        call.named(p, kernel).read(dy).read(dlast).u64(batch).u64(row)
    };
    let [clear, check] = p.route.launch(&IMAGE, ["conv1d_route_clear", "conv1d_route_check"], chip, tables, &marks)?;
    let runs = runs(p);
    let backward = gradient("conv1d_backward")
        .write(dx.as_ref().filter(|_| !shared))
        .write(Some(&parts).filter(|_| merge))
        .write(Some(&records).filter(|_| sums))
        .over(tiles(p, if dx.is_some() || sums { runs } else { 0 })?, BLOCK as u32, 0, chip)?;
    let states = dinitial.as_ref().map_or(0, |_| p.route.sequences());
    let initial = gradient("conv1d_initial").write(dinitial.as_ref());
    let initial = initial.over(tiles(p, states)?, BLOCK as u32, 0, chip)?;
    let sum = Launch::new::<f32>(&IMAGE, "conv1d_sum")
        .read(records.shared())
        .u64(runs)
        .write(dweight.as_ref())
        .write(dbias.as_ref())
        .u32(p.channels())
        .u32(p.width())
        .over(tiles(p, if sums { TAPS + 1 } else { 0 })?, BLOCK as u32, 0, chip)?;
    let blocks = if merge { p.x.len().div_ceil(256) } else { 0 };
    let merge = Launch::new::<T>(&IMAGE, "conv1d_merge")
        .read(parts.shared())
        .write(dx.as_ref())
        .u64(p.x.len())
        .u32(p.columns())
        .u32(p.route.orders())
        .over([blocks, 1, 1], 256, 0, chip)?;
    Ok([clear, check, backward, initial, sum, merge])
}

/// The launch of a step.
///
/// # Errors
/// As [`launch`].
pub fn launch_step<'a, T: Float>(
    p: &Plan,
    chip: &Chip,
    x: Span<'a, T>,
    weight: Span<'a, T::Acc>,
    bias: Option<Span<'a, T::Acc>>,
    state: SpanMut<'a, T>,
    y: SpanMut<'a, T>,
) -> Result<[Launch<'a>; 1]> {
    let x = x.holds(p.x.span(), OP, "x")?;
    let weight = weight.holds(p.weight.span(), OP, "weight")?;
    let bias = bias.map(|bias| bias.holds(p.channels(), OP, "bias")).transpose()?;
    let state = state.holds(p.state().iter().product(), OP, "state")?;
    let y = y.holds(p.dy.len(), OP, "y")?;
    Ok([Launch::new::<T>(&IMAGE, "conv1d_step")
        .read(x)
        .read(weight)
        .read(bias)
        .write(&state)
        .u32(p.channels())
        .u32(p.width())
        .u32(usize::from(p.silu))
        .u64(p.x.strides()[0])
        .u64(p.weight.strides()[0])
        .write(&y)
        .over(tiles(p, p.route.batch())?, BLOCK as u32, 0, chip)?])
}
