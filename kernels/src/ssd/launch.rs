use super::scratch::{BLOCK, CHUNK, KEPT, STAGE, Work, product, slots};
use super::{Gradients, IMAGE, Inputs, OP, Plan};
use crate::route::{Marks, Tables};
use crate::{Chip, Float, Launch, Layout, Result, Span, SpanMut};

type Spans<'a, T> = Inputs<Span<'a, T>, Span<'a, <T as Float>::Acc>, Span<'a, u32>>;
type To<'a, T> = Gradients<SpanMut<'a, T>, SpanMut<'a, <T as Float>::Acc>>;

/// What every kernel is told.
struct Call<'a, 'p, T: Float> {
    p: &'p Plan,
    chip: &'p Chip,
    x: Spans<'a, T>,
    bad: Option<Span<'a, u32>>,
}

impl<'a, 'p, T: Float> Call<'a, 'p, T> {
    fn new(p: &'p Plan, chip: &'p Chip, x: Spans<'a, T>, marks: &Marks<'a>) -> Result<Self> {
        let l = &p.layouts;
        for (span, layout, arg) in [(x.x, l.x, "x"), (x.delta, l.delta, "delta"), (x.b, l.b, "b"), (x.c, l.c, "c")] {
            span.holds(layout.span(), OP, arg)?;
        }
        x.a.holds(p.heads(), OP, "a")?;
        let state = p.state().iter().product();
        for (span, want, arg) in
            [(x.skip, p.heads(), "skip"), (x.bias, p.heads(), "bias"), (x.initial, state, "initial")]
        {
            span.map_or(Ok(()), |span| span.holds(want, OP, arg).map(drop))?;
        }
        let gate = l.gate.map_or(0, |gate| gate.span());
        x.gate.map_or(Ok(()), |span| span.holds(gate, OP, "gate").map(drop))?;
        Ok(Self { p, chip, x, bad: marks.bad() })
    }

    fn tables(&self) -> Tables<Span<'a, u32>> {
        Tables { bounds: self.x.bounds, orders: None }
    }

    /// The arguments that `CALL_ARGS` names.
    fn named(&self, kernel: &'static str) -> Launch<'a> {
        let (p, l, x) = (self.p, &self.p.layouts, &self.x);
        let launch = Launch::new::<T>(&IMAGE, kernel).read(x.x).read(x.delta).read(x.a).read(x.b).read(x.c);
        let launch = launch.read(x.skip).read(x.bias).read(x.gate).read(x.initial);
        let launch = p.route.name(launch, self.tables(), self.bad);
        let launch = launch.u32(p.heads()).u32(p.head_dim()).u32(p.states()).u32(p.per_group());
        let launch = launch.u32(usize::from(l.softplus)).u64(p.route.rows());
        let strides = |launch: Launch<'a>, layout: Option<&Layout<3>>| {
            let [batch, row, _] = layout.map_or([0; 3], |layout| layout.strides());
            launch.u64(batch).u64(row)
        };
        [Some(&l.x), Some(&l.delta), Some(&l.b), Some(&l.c), l.gate.as_ref()].into_iter().fold(launch, strides)
    }

    /// Those, and the arguments that `ROWS_ARGS` names.
    fn rows(&self, kernel: &'static str, work: &Work<'a>) -> Launch<'a> {
        work.rows.iter().fold(self.named(kernel), |launch, rows| launch.write(rows))
    }

    /// The sums of chunks, and the products of their `c` and `b`.
    fn prepare(&self, work: &Work<'a>) -> Result<[Launch<'a>; 2]> {
        let (p, slots) = (self.p, slots(self.p));
        let sums = self.rows("ssd_cumulate", work).u64(slots);
        let scores = self.named("ssd_scores").write(&work.scores);
        Ok([
            sums.over([product(&[slots, p.heads()])?.div_ceil(BLOCK), 1, 1], BLOCK as u32, 0, self.chip)?,
            scores.over([product(&[slots, p.groups()])?, 1, 1], BLOCK as u32, 4 * STAGE, self.chip)?,
        ])
    }

    /// A block for each slot, head, tile of entries and tile of states.
    fn over_states(&self, launch: Launch<'a>) -> Result<Launch<'a>> {
        let p = self.p;
        let blocks = product(&[slots(p), p.heads(), p.head_dim().div_ceil(CHUNK), p.states().div_ceil(CHUNK)])?;
        launch.over([blocks, 1, 1], BLOCK as u32, 4 * STAGE, self.chip)
    }

    /// A block for each slot, head and tile of entries.
    fn over_entries(&self, launch: Launch<'a>) -> Result<Launch<'a>> {
        let p = self.p;
        let blocks = product(&[slots(p), p.heads(), p.head_dim().div_ceil(CHUNK)])?;
        launch.over([blocks, 1, 1], BLOCK as u32, 4 * (STAGE + 3 * CHUNK), self.chip)
    }

    /// From what chunks leave to the states before them, or the other way round.
    fn pass(
        &self,
        all: &SpanMut<'a, f32>,
        work: &Work<'a>,
        first: Option<Span<'a, T::Acc>>,
        last: Option<&SpanMut<'a, T::Acc>>,
        back: bool,
    ) -> Result<Launch<'a>> {
        let (p, state) = (self.p, self.p.head_dim() * self.p.states());
        let launch = p.route.name(Launch::new::<f32>(&IMAGE, "ssd_pass"), self.tables(), self.bad);
        let launch = launch.write(all).read(work.rows[5].shared()).read(first).write(last);
        let launch = launch.u32(p.heads()).u64(state).u32(usize::from(back));
        let blocks = product(&[p.route.sequences(), (p.heads() * state).div_ceil(BLOCK)])?;
        launch.over([blocks, 1, 1], BLOCK as u32, 0, self.chip)
    }
}

const CHECK: [&str; 2] = ["ssd_route_clear", "ssd_route_check"];

/// The launches of one call.
///
/// # Errors
/// `Size` if a span is shorter than the plan needs, `Device` if they are of different devices.
pub fn launch<'a, T: Float>(
    p: &Plan,
    chip: &Chip,
    x: Spans<'a, T>,
    y: SpanMut<'a, T>,
    last: Option<SpanMut<'a, T::Acc>>,
    mut workspace: SpanMut<'a, u8>,
) -> Result<[Launch<'a>; 7]> {
    let tables = Tables { bounds: x.bounds, orders: None };
    let marks = p.route.marks(OP, tables, &mut workspace)?;
    let (call, work) = (Call::new(p, chip, x, &marks)?, Work::new(p, false, &mut workspace)?);
    let y = y.holds(p.dy.len(), OP, "y")?;
    let last = last.map(|last| last.holds(p.state().iter().product(), OP, "last")).transpose()?;
    let [clear, check] = p.route.launch(&IMAGE, CHECK, chip, tables, &marks)?;
    let [sums, scores] = call.prepare(&work)?;
    let output = call.rows("ssd_output", &work).read(work.scores.shared()).read(work.starts.shared()).write(&y);
    Ok([
        clear,
        check,
        sums,
        scores,
        call.over_states(call.rows("ssd_ends", &work).write(&work.starts))?,
        call.pass(&work.starts, &work, call.x.initial, last.as_ref(), false)?,
        call.over_entries(output)?,
    ])
}

/// One row of every sequence: a plan of one row, whose state moves on in place.
///
/// # Errors
/// As [`launch`].
pub fn launch_step<'a, T: Float>(
    p: &Plan,
    chip: &Chip,
    x: Spans<'a, T>,
    state: SpanMut<'a, T::Acc>,
    y: SpanMut<'a, T>,
) -> Result<[Launch<'a>; 1]> {
    let state = state.holds(p.state().iter().product(), OP, "state")?;
    let y = y.holds(p.dy.len(), OP, "y")?;
    let call = Call::new(p, chip, Inputs { bounds: None, initial: None, ..x }, &Marks::none())?;
    let count = p.dy.len();
    let launch = call.named("ssd_step").write(&state).write(&y).u64(count);
    Ok([launch.over([count.div_ceil(BLOCK / 32), 1, 1], BLOCK as u32, 0, chip)?])
}

/// The launches of a backward call.
///
/// # Errors
/// As [`launch`].
pub fn launch_backward<'a, T: Float>(
    p: &Plan,
    chip: &Chip,
    x: Spans<'a, T>,
    dy: Span<'a, T>,
    dlast: Option<Span<'a, T::Acc>>,
    to: To<'a, T>,
    mut workspace: SpanMut<'a, u8>,
) -> Result<[Launch<'a>; 14]> {
    let tables = Tables { bounds: x.bounds, orders: None };
    let marks = p.route.marks(OP, tables, &mut workspace)?;
    let (call, work) = (Call::new(p, chip, x, &marks)?, Work::new(p, true, &mut workspace)?);
    let (rows, state) = (p.route.rows(), p.state().iter().product());
    let elements =
        |span: Option<SpanMut<'a, T>>, want: usize, arg| span.map(|span| span.holds(want, OP, arg)).transpose();
    let numbers =
        |span: Option<SpanMut<'a, T::Acc>>, want: usize, arg| span.map(|span| span.holds(want, OP, arg)).transpose();
    let shared = rows * p.groups() * p.states();
    let (dx, ddelta) = (elements(to.dx, p.dy.len(), "dx")?, elements(to.ddelta, rows * p.heads(), "ddelta")?);
    let (db, dc) = (elements(to.db, shared, "db")?, elements(to.dc, shared, "dc")?);
    let dgate = elements(to.dgate, p.dy.len(), "dgate")?.filter(|_| call.x.gate.is_some());
    let (da, dinitial) = (numbers(to.da, p.heads(), "da")?, numbers(to.dinitial, state, "dinitial")?);
    let (dskip, dbias) = (numbers(to.dskip, p.heads(), "dskip")?, numbers(to.dbias, p.heads(), "dbias")?);
    let dy = dy.holds(p.dy.span(), OP, "dy")?;
    let dlast = dlast.map(|dlast| dlast.holds(state, OP, "dlast")).transpose()?;

    let [clear, check] = p.route.launch(&IMAGE, CHECK, chip, tables, &marks)?;
    let [sums, scores] = call.prepare(&work)?;
    let [batch, row, _] = p.dy.strides();
    let slope = |launch: Launch<'a>| launch.read(dy).u64(batch).u64(row);
    let (score, starts, ends) = (work.scores.shared(), work.starts.shared(), work.ends.shared());
    let gate = slope(call.rows("ssd_gate", &work).read(score).read(starts)).write(dgate.as_ref());
    let gate = match dgate {
        Some(_) => call.over_entries(gate)?,
        None => gate.over([0, 1, 1], BLOCK as u32, 0, chip)?,
    };
    let backward = slope(call.rows("ssd_backward", &work).read(score).read(starts).read(ends));
    let backward = backward.write(dx.as_ref()).write(ddelta.as_ref()).write(&work.pairs).write(&work.records);
    let slots = slots(p);
    let backward = backward.over([product(&[slots, p.heads()])?, 1, 1], BLOCK as u32, 4 * (STAGE + KEPT), chip)?;
    let count = product(&[slots, p.groups(), CHUNK * CHUNK])?;
    let pairs = p.route.name(Launch::new::<f32>(&IMAGE, "ssd_pair_sums"), tables, call.bad);
    let pairs = pairs.read(work.pairs.shared()).write(&work.pair_sums).u64(count).u32(p.groups()).u32(p.per_group());
    let of = |kernel, state, to: Option<&SpanMut<'a, T>>| {
        let launch = slope(call.rows(kernel, &work).read(work.pair_sums.shared()).read(state)).write(to);
        let blocks = if to.is_some() { product(&[slots, p.groups(), p.states().div_ceil(CHUNK)])? } else { 0 };
        launch.over([blocks, 1, 1], BLOCK as u32, 4 * STAGE, chip)
    };
    let records = Launch::new::<f32>(&IMAGE, "ssd_records").read(work.records.shared()).u64(slots).u32(p.heads());
    let records = records.write(da.as_ref()).write(dskip.as_ref()).write(dbias.as_ref());
    Ok([
        clear,
        check,
        sums,
        scores,
        call.over_states(call.rows("ssd_ends", &work).write(&work.starts))?,
        call.pass(&work.starts, &work, call.x.initial, None, false)?,
        gate,
        call.over_states(slope(call.rows("ssd_wants", &work)).write(&work.ends))?,
        call.pass(&work.ends, &work, dlast, dinitial.as_ref(), true)?,
        backward,
        pairs.over([count.div_ceil(256), 1, 1], 256, 0, chip)?,
        of("ssd_of_b", ends, db.as_ref())?,
        of("ssd_of_c", starts, dc.as_ref())?,
        records.over([3 * p.heads(), 1, 1], 256, 0, chip)?,
    ])
}
