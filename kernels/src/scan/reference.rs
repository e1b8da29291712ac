use super::{Gradients, Inputs, OP, Plan};
use crate::conv1d::{sigmoid, silu_slope};
use crate::route::Sequence;
use crate::{Float, Result, math};
use alloc::{vec, vec::Vec};

type Slices<'a, T> = Inputs<&'a [T], &'a [<T as Float>::Acc], &'a [u32]>;

/// One channel of a sequence: its numbers by position.
struct Channel {
    u: Vec<f64>,
    delta: Vec<f64>,
    /// The derivative of `delta` by what it was made of.
    slope: Vec<f64>,
    a: Vec<f64>,
    /// States before each position, and after the last.
    h: Vec<Vec<f64>>,
}

/// `ln(1 + exp(x))`, without loss of digits for small ones; `x` above 20.
pub(crate) fn softplus(x: f64) -> f64 {
    if x > 20.0 {
        return x;
    }
    let e = math::exp(x);
    if e > 0.1 {
        return math::ln(1.0 + e);
    }
    let s = e / (2.0 + e); // ln(1 + e) = 2 artanh(s)
    2.0 * s * (0..12).rev().fold(0.0, |sum, n| sum * s * s + 1.0 / f64::from(2 * n + 1))
}

/// Row of position `i` of a sequence in the order of a channel.
fn row<T: Float>(p: &Plan, x: &Slices<'_, T>, s: &Sequence, channel: usize, i: usize) -> usize {
    p.route.row(x.tables, channel / p.width(), s.batch, s.begin + i)
}

fn input<T: Float>(p: &Plan, x: &Slices<'_, T>, s: &Sequence, channel: usize, i: usize) -> f64 {
    let raw = |i: usize| x.u[p.at(&p.layouts.u, row(p, x, s, channel, i)) + channel % p.columns()].wide();
    let Some(taps) = x.taps else { return raw(i) };
    let (count, stride) = (p.taps(), p.layouts.taps.map_or(0, |taps| taps.strides()[0]));
    let sum = (0..count).fold(x.taps_bias.map_or(0.0, |bias| bias[channel].wide()), |sum, w| {
        let from = match (i + w).checked_sub(count - 1) {
            Some(i) => raw(i),
            None => x.window.map_or(0.0, |w0| w0[(s.index * (count - 1) + i + w) * p.channels() + channel].wide()),
        };
        sum + taps[channel * stride + w].wide() * from
    });
    sum * sigmoid(sum)
}

/// Number `n` of `b` or `c` for a channel, at position `i` of a sequence.
fn shared<T: Float>(
    p: &Plan,
    x: &Slices<'_, T>,
    from: &[T],
    layout: &crate::Layout<3>,
    s: &Sequence,
    channel: usize,
    i: usize,
    n: usize,
) -> f64 {
    from[p.at(layout, row(p, x, s, channel, i)) + p.group(channel) * p.states() + n].wide()
}

/// Scan a channel of a sequence.
fn scan<T: Float>(p: &Plan, x: &Slices<'_, T>, s: &Sequence, channel: usize) -> Channel {
    let states = p.states();
    let raw = |i: usize| {
        x.delta[p.at(&p.layouts.delta, row(p, x, s, channel, i)) + channel].wide()
            + x.bias.map_or(0.0, |bias| bias[channel].wide())
    };
    let soft = p.layouts.softplus;
    let slope = |raw: f64| if soft && raw <= 20.0 { sigmoid(raw) } else { 1.0 };
    let u: Vec<f64> = (0..s.len()).map(|i| input(p, x, s, channel, i)).collect();
    let delta: Vec<f64> = (0..s.len()).map(|i| if soft { softplus(raw(i)) } else { raw(i) }).collect();
    let a: Vec<f64> = (0..states).map(|n| x.a[channel * p.layouts.a.strides()[0] + n].wide()).collect();
    let at = (s.index * p.channels() + channel) * states;
    let mut h = vec![(0..states).map(|n| x.initial.map_or(0.0, |h| h[at + n].wide())).collect::<Vec<_>>()];
    for i in 0..s.len() {
        let b = |n| shared(p, x, x.b, &p.layouts.b, s, channel, i, n);
        h.push((0..states).map(|n| math::exp(delta[i] * a[n]) * h[i][n] + delta[i] * b(n) * u[i]).collect());
    }
    Channel { u, delta, slope: (0..s.len()).map(|i| slope(raw(i))).collect(), a, h }
}

/// Sums over orders before the gate, by row and column, each order's `add(channel, sequence, scanned)` in turn.
fn channels<T: Float>(p: &Plan, x: &Slices<'_, T>, mut each: impl FnMut(usize, &Sequence, &Channel)) -> Vec<f64> {
    let mut out = vec![0.0; p.route.rows() * p.width()];
    for s in (0..p.route.sequences()).map(|s| p.route.sequence(x.tables, s)) {
        for channel in 0..p.channels() {
            let scanned = scan(p, x, &s, channel);
            for i in 0..s.len() {
                let c = |n| shared(p, x, x.c, &p.layouts.c, &s, channel, i, n);
                let read: f64 = (0..p.states()).map(|n| c(n) * scanned.h[i + 1][n]).sum();
                let skip = x.skip.map_or(0.0, |skip| skip[channel].wide() * scanned.u[i]);
                out[row(p, x, &s, channel, i) * p.width() + channel % p.width()] += read + skip;
            }
            each(channel, &s, &scanned);
        }
    }
    out
}

/// The gate of a row and column.
fn gate<T: Float>(p: &Plan, x: &Slices<'_, T>, row: usize, column: usize) -> Option<f64> {
    let (gate, layout) = (x.gate?, p.layouts.gate?);
    Some(gate[p.at(&layout, row) + column].wide())
}

/// The definition, channel by channel.
///
/// # Errors
/// `Value` for bad tables; nothing is written then.
pub fn forward<T: Float>(p: &Plan, x: Slices<'_, T>, y: &mut [T], mut last: Option<&mut [T::Acc]>) -> Result<()> {
    p.route.check(OP, x.tables)?;
    let out = channels(p, &x, |channel, s, scanned| {
        if let Some(last) = &mut last {
            let at = (s.index * p.channels() + channel) * p.states();
            for (n, h) in scanned.h[s.len()].iter().enumerate() {
                last[at + n] = T::Acc::narrow(*h);
            }
        }
    });
    for (i, (y, out)) in y.iter_mut().zip(out).enumerate() {
        let gate = gate(p, &x, i / p.width(), i % p.width());
        *y = T::narrow(gate.map_or(out, |z| out * z * sigmoid(z)));
    }
    Ok(())
}

/// Wide sums of all gradients.
struct Sums {
    u: Vec<f64>,
    delta: Vec<f64>,
    a: Vec<f64>,
    b: Vec<f64>,
    c: Vec<f64>,
    skip: Vec<f64>,
    bias: Vec<f64>,
    initial: Vec<f64>,
}

/// Add the gradients of one channel of a sequence; `g(row)` is that of its output before the gate.
fn add<T: Float>(
    p: &Plan,
    x: &Slices<'_, T>,
    s: &Sequence,
    channel: usize,
    scanned: &Channel,
    g: impl Fn(usize) -> f64,
    dlast: Option<&[T::Acc]>,
    to: &mut Sums,
) {
    let (states, at) = (p.states(), (s.index * p.channels() + channel) * p.states());
    // What later rows and the last state want of a state.
    let mut later: Vec<f64> = (0..states).map(|n| dlast.map_or(0.0, |dlast| dlast[at + n].wide())).collect();
    for i in (0..s.len()).rev() {
        let row = row(p, x, s, channel, i);
        let (g, u, delta) = (g(row), scanned.u[i], scanned.delta[i]);
        let (mut du, mut ddelta) = (x.skip.map_or(0.0, |skip| skip[channel].wide() * g), 0.0);
        for (n, later) in later.iter_mut().enumerate() {
            let b = shared(p, x, x.b, &p.layouts.b, s, channel, i, n);
            let c = shared(p, x, x.c, &p.layouts.c, s, channel, i, n);
            let (decay, before) = (math::exp(delta * scanned.a[n]), scanned.h[i][n]);
            let dh = c * g + *later;
            let decayed = decay * before * dh;
            du += delta * b * dh;
            ddelta += b * u * dh + scanned.a[n] * decayed;
            to.a[channel * states + n] += delta * decayed;
            let of = (row * p.groups + p.group(channel)) * states + n;
            to.b[of] += delta * u * dh;
            to.c[of] += g * scanned.h[i + 1][n];
            *later = decay * dh;
        }
        to.skip[channel] += g * u;
        to.u[row * p.columns() + channel % p.columns()] += du;
        to.delta[row * p.channels() + channel] = ddelta * scanned.slope[i];
        to.bias[channel] += ddelta * scanned.slope[i];
    }
    to.initial[at..at + states].copy_from_slice(&later);
}

/// The gradients, channel by channel; one without an output is not written.
///
/// # Errors
/// As [`forward`].
pub fn backward<T: Float>(
    p: &Plan,
    x: Slices<'_, T>,
    dy: &[T],
    dlast: Option<&[T::Acc]>,
    to: Gradients<&mut [T], &mut [T::Acc]>,
) -> Result<()> {
    p.route.check(OP, x.tables)?;
    let (rows, states) = (p.route.rows(), p.states());
    let zeros = |count: usize| vec![0.0; count];
    let mut sums = Sums {
        u: zeros(rows * p.columns()),
        delta: zeros(rows * p.channels()),
        a: zeros(p.channels() * states),
        b: zeros(rows * p.groups * states),
        c: zeros(rows * p.groups * states),
        skip: zeros(p.channels()),
        bias: zeros(p.channels()),
        initial: zeros(p.state().iter().product()),
    };
    let dy = |row: usize, column: usize| dy[p.at(&p.dy, row) + column].wide();
    let out = channels(p, &x, |channel, s, scanned| {
        let column = channel % p.width();
        let g = |row: usize| dy(row, column) * gate(p, &x, row, column).map_or(1.0, |z| z * sigmoid(z));
        add(p, &x, s, channel, scanned, g, dlast, &mut sums);
    });
    let slope = |i: usize| {
        let (row, column) = (i / p.width(), i % p.width());
        gate(p, &x, row, column).map_or(0.0, |z| dy(row, column) * out[i] * silu_slope(z))
    };
    narrow(to.dgate, &(0..out.len()).map(slope).collect::<Vec<_>>());
    narrow(to.du, &sums.u);
    narrow(to.ddelta, &sums.delta);
    narrow(to.db, &sums.b);
    narrow(to.dc, &sums.c);
    narrow(to.da, &sums.a);
    narrow(to.dskip, &sums.skip);
    narrow(to.dbias, &sums.bias);
    narrow(to.dinitial, &sums.initial);
    Ok(())
}

fn narrow<F: Float>(to: Option<&mut [F]>, from: &[f64]) {
    to.into_iter().flatten().zip(from).for_each(|(to, &from)| *to = F::narrow(from));
}
