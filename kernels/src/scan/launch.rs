use super::scratch::{
    BACKWARD, BLOCK, FORWARD, STEPS, chunk, chunks, lanes, product, scratch, scratch_backward, tiles,
};
use super::{Gradients, IMAGE, Inputs, OP, Plan};
use crate::route::{Marks, Tables};
use crate::{Chip, Error, Float, Launch, Layout, Result, Span, SpanMut};

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
        for (span, layout, arg) in [(x.u, l.u, "u"), (x.delta, l.delta, "delta"), (x.b, l.b, "b"), (x.c, l.c, "c")] {
            span.holds(layout.span(), OP, arg)?;
        }
        x.a.holds(l.a.span(), OP, "a")?;
        for (span, want, arg) in [
            (x.skip, p.channels(), "skip"),
            (x.bias, p.channels(), "bias"),
            (x.taps, l.taps.map_or(0, |taps| taps.span()), "taps"),
            (x.taps_bias, p.channels(), "taps_bias"),
            (x.initial, p.state().iter().product(), "initial"),
        ] {
            span.map_or(Ok(()), |span| span.holds(want, OP, arg).map(drop))?;
        }
        for (span, layout, arg) in [(x.gate, l.gate, "gate"), (x.window, l.window, "window")] {
            let want = layout.map_or(0, |layout| layout.span());
            span.map_or(Ok(()), |span| span.holds(want, OP, arg).map(drop))?;
        }
        Ok(Self { p, chip, x, bad: marks.bad() })
    }

    /// The arguments that `CALL_ARGS` names, then the lanes.
    fn named(&self, kernel: &'static str, chunk: usize, lanes: usize) -> Launch<'a> {
        let (p, l, x) = (self.p, &self.p.layouts, &self.x);
        let launch = Launch::new::<T>(&IMAGE, kernel).read(x.u).read(x.delta).read(x.a).read(x.b).read(x.c);
        let launch = launch.read(x.skip).read(x.bias).read(x.gate).read(x.taps).read(x.taps_bias).read(x.window);
        let launch = p.route.name(launch.read(x.initial), x.tables, self.bad);
        let launch = launch.u32(p.channels()).u32(p.columns()).u32(p.states()).u32(p.unit());
        let launch = launch.u32(p.channels() / p.groups()).u32(p.route.orders()).u32(p.taps());
        let launch = launch.u32(usize::from(l.softplus)).u32(chunk);
        let strides = |launch: Launch<'a>, layout: Option<&Layout<3>>| {
            let [batch, row, _] = layout.map_or([0; 3], |layout| layout.strides());
            launch.u64(batch).u64(row)
        };
        let launch =
            [Some(&l.u), Some(&l.delta), Some(&l.b), Some(&l.c), l.gate.as_ref()].into_iter().fold(launch, strides);
        launch.u64(l.a.strides()[0]).u64(l.taps.map_or(0, |taps| taps.strides()[0])).u32(lanes)
    }

    /// A pass forward over chunks.
    fn forward(
        &self,
        chunk: usize,
        work: bool,
        starts: Option<&SpanMut<'a, f32>>,
        ends: Option<[&SpanMut<'a, f32>; 2]>,
        y: Option<&SpanMut<'a, T>>,
        parts: Option<&SpanMut<'a, f32>>,
        last: Option<&SpanMut<'a, T::Acc>>,
    ) -> Result<Launch<'a>> {
        let lanes = lanes(self.p, FORWARD);
        let kernel = match self.p.states() {
            16 => "scan_forward_16",
            32 => "scan_forward_32",
            64 => "scan_forward_64",
            _ => "scan_forward_any",
        };
        let launch = self.named(kernel, chunk, lanes).write(starts).write(ends.map(|ends| ends[0]));
        let launch = launch.write(ends.map(|ends| ends[1])).write(y).write(parts).write(last);
        let blocks = if work { product(&[tiles(self.p, lanes), chunks(self.p, chunk)])? } else { 0 };
        let staged = 4 * STEPS * 2 * (self.p.states() + BLOCK / lanes);
        launch.over([blocks, 1, 1], BLOCK as u32, staged, self.chip)
    }

    /// From the ends of chunks to the starts of the next, or the other way round.
    fn carry(
        &self,
        chunk: usize,
        work: bool,
        all: &SpanMut<'a, f32>,
        sums: &SpanMut<'a, f32>,
        back: bool,
    ) -> Result<Launch<'a>> {
        let p = self.p;
        let launch = p.route.name(Launch::new::<f32>(&IMAGE, "scan_carry"), self.x.tables, self.bad);
        let launch = launch.write(all).read(sums.shared()).read(self.x.a).u64(p.layouts.a.strides()[0]);
        let launch = launch.u32(p.channels()).u32(p.states()).u32(chunk).u32(usize::from(back));
        let blocks = if work { p.route.batch() * (p.channels() * p.states()).div_ceil(BLOCK) } else { 0 };
        launch.over([blocks, 1, 1], BLOCK as u32, 0, self.chip)
    }

    /// States of sequences without rows, where tables may make some.
    fn fill(&self, from: Option<Span<'a, T::Acc>>, to: Option<&SpanMut<'a, T::Acc>>) -> Result<Launch<'a>> {
        let (p, [sequences, channels, states]) = (self.p, self.p.state());
        let empty = self.bad.is_some() || p.route.is_empty();
        let count = if to.is_some() && empty { sequences * channels * states } else { 0 };
        let launch = p.route.name(Launch::new::<f32>(&IMAGE, "scan_fill"), self.x.tables, self.bad);
        let launch = launch.read(from).write(to).u64(count).u64((channels * states).max(1));
        launch.over([count.div_ceil(256), 1, 1], 256, 0, self.chip)
    }

    /// Sums over orders, gated where that is asked for.
    fn merge(
        &self,
        work: bool,
        parts: &SpanMut<'a, f32>,
        gated: bool,
        to: Option<&SpanMut<'a, T>>,
    ) -> Result<Launch<'a>> {
        let p = self.p;
        let count = if work { p.route.rows() * p.width() } else { 0 };
        let [batch, row, _] = p.layouts.gate.map_or([0; 3], |gate| gate.strides());
        let launch = Launch::new::<T>(&IMAGE, "scan_merge").read(parts.shared());
        let launch = launch.read(self.x.gate.filter(|_| gated)).write(to).u64(count).u32(p.width());
        let launch = launch.u32(p.route.orders()).u32(p.route.len()).u64(batch).u64(row);
        launch.over([count.div_ceil(256), 1, 1], 256, 0, self.chip)
    }
}

const CHECK: [&str; 2] = ["scan_route_clear", "scan_route_check"];

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
    let marks = p.route.marks(OP, x.tables, &mut workspace)?;
    let call = Call::new(p, chip, x, &marks)?;
    let [states, sums, parts] = scratch(p, chip)?;
    let (several, orders) = (states > 0, p.route.orders() > 1);
    let mut take = |count: usize| workspace.take::<f32>(count, OP);
    let (states, sums, parts) = (take(states)?, take(sums)?, take(parts)?);
    let y = y.holds(p.dy.len(), OP, "y")?;
    let last = last.map(|last| last.holds(p.state().iter().product(), OP, "last")).transpose()?;
    let chunk = chunk(p, chip);
    let [clear, check] = p.route.launch(&IMAGE, CHECK, chip, x.tables, &marks)?;
    let (to, by_order) = (Some(&y).filter(|_| !orders), Some(&parts).filter(|_| orders));
    Ok([
        clear,
        check,
        call.fill(x.initial, last.as_ref())?,
        call.forward(chunk, several, None, Some([&states, &sums]), None, None, None)?,
        call.carry(chunk, several, &states, &sums, false)?,
        call.forward(chunk, true, Some(&states).filter(|_| several), None, to, by_order, last.as_ref())?,
        call.merge(orders, &parts, true, Some(&y))?,
    ])
}

/// One row of every sequence: [`launch`] of a plan of one row, whose state moves on in place.
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
    let x = Inputs { initial: Some(state.shared()), tables: Tables { bounds: None, orders: None }, ..x };
    let call = Call::new(p, chip, x, &Marks::none())?;
    Ok([call.forward(STEPS, true, None, None, Some(&y), None, Some(&state))?])
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
) -> Result<[Launch<'a>; 13]> {
    let marks = p.route.marks(OP, x.tables, &mut workspace)?;
    let call = Call::new(p, chip, x, &marks)?;
    let (rows, state) = (p.route.rows(), p.state().iter().product());
    let elements =
        |span: Option<SpanMut<'a, T>>, want: usize, arg| span.map(|span| span.holds(want, OP, arg)).transpose();
    let numbers =
        |span: Option<SpanMut<'a, T::Acc>>, want: usize, arg| span.map(|span| span.holds(want, OP, arg)).transpose();
    let groups = p.groups() * p.states();
    let (du, ddelta) =
        (elements(to.du, rows * p.columns(), "du")?, elements(to.ddelta, rows * p.channels(), "ddelta")?);
    let (db, dc) = (elements(to.db, rows * groups, "db")?, elements(to.dc, rows * groups, "dc")?);
    let dgate = elements(to.dgate, rows * p.width(), "dgate")?.filter(|_| x.gate.is_some());
    let (da, dinitial) = (numbers(to.da, p.layouts.a.len(), "da")?, numbers(to.dinitial, state, "dinitial")?);
    let (dskip, dbias) = (numbers(to.dskip, p.channels(), "dskip")?, numbers(to.dbias, p.channels(), "dbias")?);
    let dy = dy.holds(p.dy.span(), OP, "dy")?;
    let dlast = dlast.map(|dlast| dlast.holds(state, OP, "dlast")).transpose()?;

    let mut pieces = scratch_backward(p)?.into_iter().map(|count| workspace.take::<f32>(count, OP));
    let mut take = || pieces.next().unwrap_or(Err(Error::TooLarge));
    let [starts, later, sums, outs, shares] = [take()?, take()?, take()?, take()?, take()?];
    let [tile_sums, records] = [take()?, take()?];
    let shared = p.columns() != p.channels();
    let (lanes, count) = (lanes(p, BACKWARD), chunks(p, STEPS));
    let tiles = tiles(p, lanes);
    let blocks = product(&[tiles, count])?;
    let (staged, kept) = (4 * STEPS * 2 * p.states(), 4 * STEPS * 4 * (BLOCK / lanes));
    let [clear, check] = p.route.launch(&IMAGE, CHECK, chip, x.tables, &marks)?;
    let [dy_batch, dy_row, _] = p.dy.strides();
    let back = |kernel| call.named(kernel, STEPS, lanes).read(dy).u64(dy_batch).u64(dy_row).read(dlast);
    let wants = back("scan_wants").write(&later).over([blocks, 1, 1], BLOCK as u32, staged + kept, chip)?;
    let backward = back("scan_backward")
        .read(starts.shared())
        .read(later.shared())
        .write(du.as_ref().filter(|_| !shared))
        .write(Some(&shares).filter(|_| shared))
        .write(ddelta.as_ref())
        .write(&tile_sums)
        .write(&records)
        .write(dinitial.as_ref())
        .u64(rows)
        .over([blocks, 1, 1], BLOCK as u32, staged * (1 + BLOCK / 32) + kept, chip)?;
    let gated = if dgate.is_some() { rows * p.width() } else { 0 };
    let [gate_batch, gate_row, _] = p.layouts.gate.map_or([0; 3], |gate| gate.strides());
    let gate = Launch::new::<T>(&IMAGE, "scan_gate").read(outs.shared()).read(x.gate).read(dy).write(dgate.as_ref());
    let gate = gate.u64(gated).u32(p.width()).u32(p.route.orders()).u32(p.route.len());
    let gate = gate.u64(gate_batch).u64(gate_row).u64(dy_batch).u64(dy_row);
    let merged = if db.is_some() || dc.is_some() { rows * groups } else { 0 };
    let tile_sum =
        Launch::new::<T>(&IMAGE, "scan_tiles").read(tile_sums.shared()).write(db.as_ref()).write(dc.as_ref());
    let tile_sum = tile_sum.u64(rows).u32(p.states()).u32(p.groups()).u32(tiles / p.groups());
    let record_sum = Launch::new::<f32>(&IMAGE, "scan_records").read(records.shared()).u64(count).write(da.as_ref());
    let record_sum = record_sum.write(dskip.as_ref()).write(dbias.as_ref()).u32(p.channels()).u32(p.states());
    let kinds = product(&[p.states() + 2, p.channels().div_ceil(32)])?;
    Ok([
        clear,
        check,
        call.forward(STEPS, true, None, Some([&starts, &sums]), None, None, None)?,
        call.carry(STEPS, true, &starts, &sums, false)?,
        call.forward(STEPS, gated > 0, Some(&starts), None, None, Some(&outs), None)?,
        gate.over([gated.div_ceil(256), 1, 1], 256, 0, chip)?,
        wants,
        call.carry(STEPS, true, &later, &sums, true)?,
        call.fill(dlast, dinitial.as_ref())?,
        backward,
        call.merge(shared && du.is_some(), &shares, false, du.as_ref())?,
        tile_sum.over([merged.div_ceil(256), 1, 1], 256, 0, chip)?,
        record_sum.over([kinds, 1, 1], 1024, 4096, chip)?,
    ])
}
