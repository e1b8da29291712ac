use super::{Gradients, Inputs, OP, Plan};
use crate::conv1d::{sigmoid, silu_slope};
use crate::route::{Sequence, Tables};
use crate::scan::softplus;
use crate::{Float, Layout, Result, math};
use alloc::{vec, vec::Vec};

type Slices<'a, T> = Inputs<&'a [T], &'a [<T as Float>::Acc], &'a [u32]>;

/// A head of a sequence.
struct Head {
    delta: Vec<f64>,
    /// The derivative of `delta` by what it was made of.
    slope: Vec<f64>,
    a: f64,
    skip: f64,
    /// States before each row, and after the last: entry by entry, each state.
    h: Vec<Vec<f64>>,
}

/// Where a sequence and head begin among states.
fn state_of(p: &Plan, s: &Sequence, head: usize) -> usize {
    (s.index * p.heads() + head) * p.head_dim() * p.states()
}

/// Row `i` of a sequence, among all rows.
fn row(p: &Plan, s: &Sequence, i: usize) -> usize {
    s.batch * p.route.len() + s.begin + i
}

/// The columns of a head at a row.
fn columns<T: Float>(p: &Plan, of: &[T], layout: &Layout<3>, row: usize, head: usize) -> Vec<f64> {
    of[p.at(layout, row) + head * p.head_dim()..][..p.head_dim()].iter().map(|x| x.wide()).collect()
}

/// The numbers of a head's group in `b` or `c` at a row.
fn shared<T: Float>(p: &Plan, of: &[T], layout: &Layout<3>, row: usize, head: usize) -> Vec<f64> {
    let group = head / p.per_group();
    of[p.at(layout, row) + group * p.states()..][..p.states()].iter().map(|x| x.wide()).collect()
}

/// The recurrence of a head.
fn recur<T: Float>(p: &Plan, x: &Slices<'_, T>, s: &Sequence, head: usize) -> Head {
    let (l, states, at) = (&p.layouts, p.states(), state_of(p, s, head));
    let of = |vector: Option<&[T::Acc]>| vector.map_or(0.0, |vector| vector[head].wide());
    let raw = |i: usize| x.delta[p.at(&l.delta, row(p, s, i)) + head].wide() + of(x.bias);
    let slope = |raw: f64| if l.softplus && raw <= 20.0 { sigmoid(raw) } else { 1.0 };
    let delta: Vec<f64> = (0..s.len()).map(|i| if l.softplus { softplus(raw(i)) } else { raw(i) }).collect();
    let a = x.a[head].wide();
    let first = (0..p.head_dim() * states).map(|i| x.initial.map_or(0.0, |h| h[at + i].wide()));
    let mut h = vec![first.collect::<Vec<_>>()];
    for (i, &delta) in delta.iter().enumerate() {
        let (input, b) = (columns(p, x.x, &l.x, row(p, s, i), head), shared(p, x.b, &l.b, row(p, s, i), head));
        let decay = math::exp(delta * a);
        let next = |(k, h): (usize, &f64)| decay * h + delta * input[k / states] * b[k % states];
        let next = h[i].iter().enumerate().map(next).collect();
        h.push(next);
    }
    Head { slope: (0..s.len()).map(|i| slope(raw(i))).collect(), delta, a, skip: of(x.skip), h }
}

/// What each head puts out before the gate, by row and column; `each(sequence, head, recurrence)` in turn.
fn heads<T: Float>(p: &Plan, x: &Slices<'_, T>, mut each: impl FnMut(&Sequence, usize, &Head)) -> Vec<f64> {
    let mut out = vec![0.0; p.route.rows() * p.width()];
    let tables = Tables { bounds: x.bounds, orders: None };
    for s in (0..p.route.sequences()).map(|s| p.route.sequence(tables, s)) {
        for head in 0..p.heads() {
            let done = recur(p, x, &s, head);
            for i in 0..s.len() {
                let row = row(p, &s, i);
                let (input, c) = (columns(p, x.x, &p.layouts.x, row, head), shared(p, x.c, &p.layouts.c, row, head));
                for (k, (h, x)) in done.h[i + 1].chunks(p.states()).zip(input).enumerate() {
                    let read: f64 = h.iter().zip(&c).map(|(h, c)| h * c).sum();
                    out[row * p.width() + head * p.head_dim() + k] = read + done.skip * x;
                }
            }
            each(&s, head, &done);
        }
    }
    out
}

/// The gate of a row and column.
fn gate<T: Float>(p: &Plan, x: &Slices<'_, T>, row: usize, column: usize) -> Option<f64> {
    let (gate, layout) = (x.gate?, p.layouts.gate?);
    Some(gate[p.at(&layout, row) + column].wide())
}

/// The definition, head by head.
///
/// # Errors
/// `Value` for bad bounds; nothing is written then.
pub fn forward<T: Float>(p: &Plan, x: Slices<'_, T>, y: &mut [T], mut last: Option<&mut [T::Acc]>) -> Result<()> {
    p.route.check(OP, Tables { bounds: x.bounds, orders: None })?;
    let out = heads(p, &x, |s, head, done| {
        if let Some(last) = &mut last {
            narrow(Some(&mut last[state_of(p, s, head)..]), &done.h[s.len()]);
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
    x: Vec<f64>,
    delta: Vec<f64>,
    a: Vec<f64>,
    b: Vec<f64>,
    c: Vec<f64>,
    skip: Vec<f64>,
    bias: Vec<f64>,
    initial: Vec<f64>,
}

/// Add the gradients of one head of a sequence; `g(row, column)` is that of its output before the gate.
fn add<T: Float>(
    p: &Plan,
    x: &Slices<'_, T>,
    s: &Sequence,
    head: usize,
    done: &Head,
    g: impl Fn(usize, usize) -> f64,
    dlast: Option<&[T::Acc]>,
    to: &mut Sums,
) {
    let (l, states, at) = (&p.layouts, p.states(), state_of(p, s, head));
    // What later rows and the last state want of a state.
    let mut later: Vec<f64> = (0..p.head_dim() * states).map(|k| dlast.map_or(0.0, |d| d[at + k].wide())).collect();
    for i in (0..s.len()).rev() {
        let (row, delta) = (row(p, s, i), done.delta[i]);
        let (input, b) = (columns(p, x.x, &l.x, row, head), shared(p, x.b, &l.b, row, head));
        let c = shared(p, x.c, &l.c, row, head);
        let decay = math::exp(delta * done.a);
        let (mut by_entry, mut by_decay) = (0.0, 0.0);
        let first = row * p.width() + head * p.head_dim();
        let group = (row * p.groups() + head / p.per_group()) * states;
        for (k, later) in later.iter_mut().enumerate() {
            let (column, n) = (k / states, k % states);
            let g = g(row, head * p.head_dim() + column);
            let dh = c[n] * g + *later;
            by_entry += input[column] * b[n] * dh;
            by_decay += decay * done.h[i][k] * dh;
            to.x[first + column] += delta * b[n] * dh;
            to.b[group + n] += delta * input[column] * dh;
            to.c[group + n] += g * done.h[i + 1][k];
            *later = decay * dh;
        }
        for (column, input) in input.iter().enumerate() {
            let g = g(row, head * p.head_dim() + column);
            to.x[first + column] += done.skip * g;
            to.skip[head] += g * input;
        }
        let slope = (by_entry + done.a * by_decay) * done.slope[i];
        to.a[head] += delta * by_decay;
        to.delta[row * p.heads() + head] = slope;
        to.bias[head] += slope;
    }
    to.initial[at..at + later.len()].copy_from_slice(&later);
}

/// The gradients, head by head; one without an output is not written.
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
    p.route.check(OP, Tables { bounds: x.bounds, orders: None })?;
    let (rows, zeros) = (p.route.rows(), |count: usize| vec![0.0; count]);
    let mut sums = Sums {
        x: zeros(rows * p.width()),
        delta: zeros(rows * p.heads()),
        a: zeros(p.heads()),
        b: zeros(rows * p.groups() * p.states()),
        c: zeros(rows * p.groups() * p.states()),
        skip: zeros(p.heads()),
        bias: zeros(p.heads()),
        initial: zeros(p.state().iter().product()),
    };
    let dy = |row: usize, column: usize| dy[p.at(&p.dy, row) + column].wide();
    let out = heads(p, &x, |s, head, done| {
        let g = |row, column| dy(row, column) * gate(p, &x, row, column).map_or(1.0, |z| z * sigmoid(z));
        add(p, &x, s, head, done, g, dlast, &mut sums);
    });
    let slope = |i: usize| {
        let (row, column) = (i / p.width(), i % p.width());
        gate(p, &x, row, column).map_or(0.0, |z| dy(row, column) * out[i] * silu_slope(z))
    };
    narrow(to.dgate, &(0..out.len()).map(slope).collect::<Vec<_>>());
    narrow(to.dx, &sums.x);
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
