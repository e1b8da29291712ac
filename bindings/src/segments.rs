use crate::call::Entry;
use crate::handle::Table;
use crate::{Failure, LatensDevice, LatensStatus, guard};
use latens_core::{Error, Segment, SegmentTable, Segments};
use std::sync::Arc;

/// Many tensors that lie in one buffer, in order and apart, for operations that treat all of them in one launch.
pub struct LatensSegments {
    _never: (),
}

static TABLES: Table<SegmentTable> = Table::new();

/// The table of a handle.
pub(crate) fn segments(handle: *const LatensSegments, op: &'static str) -> Result<Arc<SegmentTable>, Failure> {
    TABLES.get(handle, op, "segments")
}

/// A table of `count` segments, kept on `device`. Segment i begins at element `starts[i]` of the buffer and has `rows[i]`
/// rows of `columns[i]` elements without gaps; `rows` may be null for vectors. Each begins at the end of the one before it
/// or later. The three arrays are on the host. On failure `*segments` is null.
///
/// # Safety
/// Arrays are null or hold `count` numbers; `segments` is null or can be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_segments_new(
    device: *const LatensDevice,
    starts: *const u64,
    rows: *const u64,
    columns: *const u64,
    count: usize,
    segments: *mut *mut LatensSegments,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("segments_new", device) };
    entry.make("segments", segments, |call| {
        let numbers = |arg, from: *const u64| {
            let wide = call.numbers(arg, from, count)?;
            let narrow = wide.into_iter().map(|number| usize::try_from(number).map_err(|_| Error::TooLarge));
            Ok::<Vec<usize>, Failure>(narrow.collect::<Result<_, _>>()?)
        };
        let (starts, columns) = (numbers("starts", starts)?, numbers("columns", columns)?);
        let rows = if rows.is_null() { vec![1; count] } else { numbers("rows", rows)? };
        let parts = starts.into_iter().zip(rows).zip(columns);
        let all = parts.map(|((start, rows), columns)| Segment { start, rows, columns }).collect();
        Ok(TABLES.put(SegmentTable::new(Segments::new(all)?, call.device())?))
    })
}

/// Free the table. Null is allowed.
///
/// # Safety
/// None: a wrong handle is an error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_segments_free(segments: *mut LatensSegments) -> LatensStatus {
    guard(|| TABLES.take(segments, "segments_free", "segments"))
}
