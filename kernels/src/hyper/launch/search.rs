//! Launches of [`search`](crate::hyper::search): scores or bounds of all rows, selection by [`topk`], and what is exact.
use super::{BLOCK, WARPS};
use crate::hyper::copy::{self, Copied};
use crate::hyper::{IMAGE, search::Plan};
use crate::{Chip, Error, Float, Launch, Layout, Result, Span, SpanMut, topk};

const OP: &str = "hyper_search";
/// Queries that read a row together: twin of `search.cuh`.
const TOGETHER: usize = 4;

/// The best `k` of each row of scores.
fn picked(p: &Plan, k: usize) -> Result<topk::Plan> {
    topk::plan(&Layout::packed([p.count(), p.n()])?, k)
}

fn scores(p: &Plan) -> Result<usize> {
    p.count().checked_mul(p.n()).ok_or(Error::TooLarge)
}

/// Bytes of scratch of [`launch`]: all scores, and what selects among them.
///
/// # Errors
/// `TooLarge`.
pub fn workspace(p: &Plan) -> Result<usize> {
    Ok(scores(p)?.saturating_mul(4).saturating_add(picked(p, p.k())?.workspace() + 512))
}

/// Bytes of scratch of [`launch_compressed`]: queries in integers, all bounds, and the candidates.
///
/// # Errors
/// `TooLarge`.
pub fn workspace_compressed(p: &Plan) -> Result<usize> {
    let found = p.count().saturating_mul(16 * p.candidates() + 2 * p.dim() + 12);
    let select = picked(p, p.candidates())?.workspace();
    Ok(scores(p)?.saturating_mul(4).saturating_add(found).saturating_add(select + 8 * 256))
}

/// The arguments of a kernel that begins with queries and corpus.
fn texts<'a, T: Float>(name: &'static str, p: &Plan, queries: Span<'a, T>, corpus: Span<'a, T>) -> Result<Launch<'a>> {
    Ok(Launch::new::<T>(&IMAGE, name)
        .read(queries.holds(p.queries().span(), OP, "queries")?)
        .read(corpus.holds(p.corpus().span(), OP, "corpus")?)
        .u32(p.count())
        .u32(p.n())
        .u32(p.dim())
        .u64(p.queries().strides()[0])
        .u64(p.corpus().strides()[0]))
}

/// The launches of a call.
///
/// # Errors
/// `Size` if a span is shorter than the plan needs, `Device` if they are of different devices.
pub fn launch<'a, T: Float>(
    p: &Plan,
    chip: &Chip,
    queries: Span<'a, T>,
    corpus: Span<'a, T>,
    values: SpanMut<'a, T::Acc>,
    ids: SpanMut<'a, u32>,
    mut workspace: SpanMut<'a, u8>,
) -> Result<[Launch<'a>; 3]> {
    let all = workspace.take::<T::Acc>(scores(p)?, OP)?;
    let [search, merge] = topk::launch(&picked(p, p.k())?, chip, all.shared(), values, ids, workspace)?;
    let grid = [if p.k() == 0 { 0 } else { p.n().div_ceil(WARPS) }, p.count().div_ceil(TOGETHER), 1];
    let score = texts("hyper_scores", p, queries, corpus)?.write(&all).over(grid, BLOCK as u32, 0, chip)?;
    Ok([score, search, merge])
}

/// The launch that copies a corpus.
///
/// # Errors
/// As [`launch`].
pub fn compress<'a, T: Float, C: Copied>(
    p: &Plan,
    chip: &Chip,
    corpus: Span<'a, T>,
    codes: SpanMut<'a, C>,
    bounds: SpanMut<'a, f32>,
) -> Result<[Launch<'a>; 1]> {
    Ok([Launch::new::<T>(&IMAGE, C::KERNEL)
        .read(corpus.holds(p.corpus().span(), OP, "corpus")?)
        .write(&codes.holds(p.n() * p.dim(), OP, "codes")?)
        .write(&bounds.holds(3 * p.n(), OP, "bounds")?)
        .u32(p.n())
        .u32(p.dim())
        .u64(p.corpus().strides()[0])
        .over([p.n().div_ceil(WARPS), 1, 1], BLOCK as u32, 0, chip)?])
}

/// The launches that write bounds of all scores: what they need of the queries, and the scan of the copy.
fn upper<'a, T: Float, C: Copied>(
    p: &Plan,
    chip: &Chip,
    queries: Span<'a, T>,
    (codes, bounds): (Span<'a, C>, Span<'a, f32>),
    workspace: &mut SpanMut<'a, u8>,
    all: &SpanMut<'a, f32>,
) -> Result<[Launch<'a>; 2]> {
    let (count, n, dim) = (p.count(), p.n(), p.dim());
    let queries = queries.holds(p.queries().span(), OP, "queries")?;
    let (codes, bounds) = (codes.holds(n * dim, OP, "codes")?, bounds.holds(3 * n, OP, "bounds")?);
    let numbers = workspace.take::<f32>(3 * count, OP)?;
    let mut part = || copy::integers::<C>().then(|| workspace.take::<i8>(count * dim, OP)).transpose();
    let (high, low) = (part()?, part()?);
    let query = Launch::new::<T>(&IMAGE, "hyper_query").read(queries);
    let query = query.write(high.as_ref()).write(low.as_ref()).write(&numbers);
    let query = query.u32(count).u32(dim).u64(p.queries().strides()[0]);
    let (scan, together) = match (&high, &low) {
        (Some(high), Some(low)) => {
            let scan = Launch::new::<f32>(&IMAGE, "hyper_bounds").read(codes).read(bounds);
            (scan.read(high.shared()).read(low.shared()).read(numbers.shared()).write(all).u32(n).u32(dim), 1)
        }
        _ => {
            let scan = Launch::new::<T>(&IMAGE, "hyper_near").read(queries).read(codes).u32(count).u32(n).u32(dim);
            let scan = scan.u64(p.queries().strides()[0]).u64(dim);
            (scan.read(bounds).read(numbers.shared()).write(all), TOGETHER)
        }
    };
    let some = if p.candidates() == 0 { 0 } else { count };
    Ok([
        query.over([some.div_ceil(WARPS), 1, 1], BLOCK as u32, 0, chip)?,
        scan.over([n.div_ceil(WARPS), some.div_ceil(together), 1], BLOCK as u32, 0, chip)?,
    ])
}

/// The launches of a call that scans the copy.
///
/// # Errors
/// As [`launch`].
pub fn launch_compressed<'a, T: Float, C: Copied>(
    p: &Plan,
    chip: &Chip,
    queries: Span<'a, T>,
    corpus: Span<'a, T>,
    codes: Span<'a, C>,
    bounds: Span<'a, f32>,
    values: SpanMut<'a, T::Acc>,
    ids: SpanMut<'a, u32>,
    complete: SpanMut<'a, u32>,
    mut workspace: SpanMut<'a, u8>,
) -> Result<[Launch<'a>; 6]> {
    let (count, k, candidates) = (p.count(), p.k(), p.candidates());
    let values = values.holds(count * k, OP, "values")?;
    let ids = ids.holds(count * k, OP, "ids")?;
    let complete = complete.holds(count, OP, "complete")?;
    let list = workspace.take::<u32>(2 * count * candidates, OP)?; // pairs of them, 8 bytes
    let (tops, named) =
        (workspace.take::<f32>(count * candidates, OP)?, workspace.take::<u32>(count * candidates, OP)?);
    let all = workspace.take::<f32>(scores(p)?, OP)?;
    let [query, scan] = upper(p, chip, queries, (codes, bounds), &mut workspace, &all)?;
    let rescore = texts("hyper_rescore", p, queries, corpus)?.read(named.shared()).write(&list).u32(candidates);
    let best = texts("hyper_best", p, queries, corpus)?.read(tops.shared()).write(&list).write(&values);
    let best = best.write(&ids).write(&complete).u32(k).u32(candidates);
    let some = if candidates == 0 { 0 } else { count };
    let rescore = rescore.over([candidates.div_ceil(WARPS), some, 1], BLOCK as u32, 0, chip)?;
    let best = best.over([count, 1, 1], BLOCK as u32, 0, chip)?;
    let [search, merge] = topk::launch(&picked(p, candidates)?, chip, all.shared(), tops, named, workspace)?;
    Ok([query, scan, search, merge, rescore, best])
}
