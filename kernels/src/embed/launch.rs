use super::{IMAGE, Plan};
use crate::{Chip, Float, Launch, Result, Span, SpanMut};

const BLOCK: u32 = 128;

/// The launch of one call.
///
/// # Errors
/// `Size` if a span is shorter than the plan needs, `Device` if they are of different devices.
pub fn launch<'a, T: Float>(
    p: &Plan,
    chip: &Chip,
    table: Span<'a, T>,
    ids: Span<'a, u32>,
    y: SpanMut<'a, T>,
) -> Result<[Launch<'a>; 1]> {
    let [n, dim] = p.out();
    let table = table.holds(p.table.span(), "embed", "table")?;
    let ids = ids.holds(n, "embed", "ids")?;
    let y = y.holds(n * dim, "embed", "y")?;
    Ok([Launch::new::<T>(&IMAGE, "embed_rows")
        .read(table)
        .read(ids)
        .write(&y)
        .u64(p.table.dims()[0])
        .u32(dim)
        .u64(p.table.strides()[0])
        .over([if dim == 0 { 0 } else { n }, 1, 1], BLOCK, 0, chip)?])
}
