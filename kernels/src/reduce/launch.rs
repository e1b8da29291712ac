use super::{IMAGE, Plan, Reduce};
use crate::{Chip, Float, Launch, Result, Span, SpanMut};

/// Threads of a row.
const BLOCK: u32 = 256;
/// Columns of a block, and threads of a column.
const TILE: usize = 32;

/// The launch of one call.
///
/// # Errors
/// `Size` if a span is shorter than the plan needs, `Device` if they are of different devices.
pub fn launch<'a, T: Float>(p: &Plan, chip: &Chip, x: Span<'a, T>, y: SpanMut<'a, T::Acc>) -> Result<[Launch<'a>; 1]> {
    let ([rows, n], stride) = (p.x.dims(), p.x.strides()[0]);
    let x = x.holds(p.x.span(), "reduce", "x")?;
    let y = y.holds(p.out()[0], "reduce", "y")?;
    // The numbers are those of `reduce.cu`; a maximum has kernels of its own.
    let (how, [by_row, by_column]) = match p.reduce {
        Reduce::Sum => (0, ["reduce_rows", "reduce_columns"]),
        Reduce::Mean => (1, ["reduce_rows", "reduce_columns"]),
        Reduce::SumSquares => (2, ["reduce_rows", "reduce_columns"]),
        Reduce::Max => (0, ["reduce_rows_max", "reduce_columns_max"]),
    };
    let kernel = Launch::new::<T>(&IMAGE, if p.axis == 1 { by_row } else { by_column }).read(x).write(&y);
    Ok([match p.axis {
        1 => kernel.u32(n).u64(stride).u32(how).over([rows, 1, 1], BLOCK, 0, chip)?,
        _ => kernel.u64(rows).u32(n).u64(stride).u32(how).over(
            [n.div_ceil(TILE), 1, 1],
            (TILE * TILE) as u32,
            4 * TILE * TILE,
            chip,
        )?,
    }])
}
