//! Launches of [`rank`](crate::hyper::rank).
use super::{BLOCK, Rows};
use crate::hyper::{IMAGE, Shape, rank::Plan};
use crate::{Chip, Error, Float, Launch, Result, Span, SpanMut};
use alloc::{vec, vec::Vec};

const OP: &str = "hyper_rank";
/// Vertices of a part: twin of `rank.cuh`.
const PART: usize = 1024;

/// The hypergraph that is walked, on a device.
#[derive(Clone, Copy, Debug)]
pub struct Graph<'a, A> {
    /// The members of each edge.
    pub edges: Rows<'a>,
    /// The edges of each vertex.
    pub vertices: Rows<'a>,
    /// Of edges.
    pub weights: Option<Span<'a, A>>,
    /// Of entries.
    pub shares: Option<Span<'a, A>>,
}

fn parts(p: &Plan) -> usize {
    p.out()[0].div_ceil(PART)
}

/// Bytes of scratch: another rank, what edges hold, and sums.
pub fn workspace(p: &Plan) -> usize {
    let ([vertices, columns], edges) = (p.out(), p.shape().rows());
    let numbers = (vertices + edges + 2 * parts(p) + 2).saturating_mul(columns).saturating_add(vertices + edges);
    numbers.saturating_mul(4).saturating_add(8 * 256)
}

/// What all launches read and write.
struct Walking<'a, 'p> {
    p: &'p Plan,
    chip: &'p Chip,
    shape: Shape,
    turned: Shape,
    edges: Rows<'a>,
    vertices: Rows<'a>,
    of_edges: SpanMut<'a, f32>,
    inverse: SpanMut<'a, f32>,
    held: SpanMut<'a, f32>,
    sums: SpanMut<'a, f32>,
    lost: SpanMut<'a, f32>,
    done: SpanMut<'a, u32>,
}

impl<'a> Walking<'a, '_> {
    fn over(&self, launch: Launch<'a>, threads: usize) -> Result<Launch<'a>> {
        launch.over([threads.div_ceil(BLOCK), 1, 1], BLOCK as u32, 0, self.chip)
    }

    /// What changed between two ranks, and what the second holds where nothing leads out.
    fn close<A: Float>(
        &self,
        before: &SpanMut<'a, A>,
        now: &SpanMut<'a, A>,
        change: &SpanMut<'a, A>,
        first: bool,
    ) -> Result<[Launch<'a>; 2]> {
        let ([vertices, columns], count) = (self.p.out(), parts(self.p));
        let sums = Launch::new::<A>(&IMAGE, "hyper_rank_parts")
            .read(before.shared())
            .read(now.shared())
            .read(self.inverse.shared())
            .write(&self.sums)
            .u32(vertices)
            .u32(columns)
            .u32(count);
        let close = Launch::new::<A>(&IMAGE, "hyper_rank_close")
            .read(self.sums.shared())
            .write(change)
            .write(&self.lost)
            .write(&self.done)
            .u32(columns)
            .u32(count)
            .f32(self.p.walk().tolerance)
            .u32(usize::from(first));
        Ok([self.over(sums, count * columns)?, self.over(close, columns)?])
    }
}

/// The launches of a call: what edges and vertices weigh, then each step.
///
/// # Errors
/// `Size` if a span is shorter than the plan needs, `Device` if they are of different devices, `Type` for `f64`.
pub fn launch<'a, A: Float>(
    p: &Plan,
    chip: &Chip,
    graph: Graph<'a, A>,
    seeds: Span<'a, A>,
    rank: SpanMut<'a, A>,
    change: SpanMut<'a, A>,
    mut workspace: SpanMut<'a, u8>,
) -> Result<Vec<Launch<'a>>> {
    let ([vertices, columns], shape, turned) = (p.out(), p.shape(), p.shape().transposed());
    let numbers = vertices.checked_mul(columns).ok_or(Error::TooLarge)?;
    let held = shape.rows().checked_mul(columns).ok_or(Error::TooLarge)?;
    let seeds = seeds.holds(p.seeds().span(), OP, "seeds")?;
    let weights = graph.weights.map(|weights| weights.holds(shape.rows(), OP, "weights")).transpose()?;
    let shares = graph.shares.map(|shares| shares.holds(shape.entries(), OP, "shares")).transpose()?;
    let rank = rank.holds(numbers, OP, "rank")?;
    let change = change.holds(columns, OP, "change")?;
    let other = workspace.take::<A>(numbers, OP)?;
    let mut take = |count: usize| workspace.take::<f32>(count, OP);
    let (of_edges, inverse, of_held) = (take(shape.rows())?, take(vertices)?, take(held)?);
    let (sums, lost) = (take(2 * parts(p) * columns)?, take(columns)?);
    let done = workspace.take::<u32>(columns, OP)?;
    let (edges, of_vertices) = (graph.edges.checked(OP, &shape)?, graph.vertices.checked(OP, &turned)?);
    let of = Walking {
        p,
        chip,
        shape,
        turned,
        edges,
        vertices: of_vertices,
        of_edges,
        inverse,
        held: of_held,
        sums,
        lost,
        done,
    };

    // The last step writes `rank`.
    let mut ranks = if p.walk().steps.is_multiple_of(2) { [&rank, &other] } else { [&other, &rank] };
    let named = |name| Launch::new::<A>(&IMAGE, name);
    let by_edges = of.edges.read(named("hyper_rank_edges"), &shape).read(weights).read(shares).write(&of.of_edges);
    let by_vertices = of.vertices.read(named("hyper_rank_vertices"), &turned).read(weights);
    let by_vertices = by_vertices.read(of.of_edges.shared()).write(&of.inverse);
    let begin = named("hyper_rank_begin").read(seeds).write(ranks[0]).write(&of.done).u32(vertices).u32(columns);
    let mut all = vec![
        of.over(by_edges, shape.rows())?,
        of.over(by_vertices, vertices)?,
        of.over(begin.u64(p.seeds().strides()[0]), numbers.max(columns))?,
    ];
    all.extend(of.close(ranks[0], ranks[0], &change, true)?);
    for _ in 0..p.walk().steps {
        let [now, next] = ranks;
        let receive = of
            .edges
            .read(named("hyper_rank_held"), &of.shape)
            .read(of.of_edges.shared())
            .read(of.inverse.shared())
            .read(of.done.shared())
            .read(now.shared())
            .write(&of.held)
            .u32(columns);
        let step = of
            .vertices
            .read(named("hyper_rank_next"), &of.turned)
            .read(shares)
            .read(of.held.shared())
            .read(of.done.shared())
            .read(of.lost.shared())
            .read(seeds)
            .read(now.shared())
            .write(next)
            .u32(columns)
            .u64(p.seeds().strides()[0])
            .f32(p.walk().damping);
        all.extend([of.over(receive, held)?, of.over(step, numbers)?]);
        all.extend(of.close(now, next, &change, false)?);
        ranks.swap(0, 1);
    }
    Ok(all)
}
