#![allow(unsafe_code)]
#![allow(clippy::needless_range_loop)] // rows of several arrays at once
use super::chunk::{Decays, Rows, Shared, widen};
use super::forward::{Room, turned, turned_back};
use super::product::{Matrix, Start, Terms, product};
use super::{CHUNK, Call, HEADS, Part};
use crate::level::Fused;
use crate::sheet::Sheet;
use crate::{math, rows};
use alloc::{vec, vec::Vec};
use latens_kernels::{Float, ssd::Gradients};

/// Where tasks write: columns and states of their own heads.
struct To<T: Float> {
    dx: Option<Sheet<T>>,
    ddelta: Option<Sheet<T>>,
    dgate: Option<Sheet<T>>,
    dinitial: Option<Sheet<T::Acc>>,
}

/// What a task sums over its heads, by row of its sequence; and over rows, by head: of `a`, `skip`, `bias`.
struct Sums {
    b: Vec<f32>,
    c: Vec<f32>,
    heads: Vec<[f64; 3]>,
}

/// The gradients: tasks, then their sums in order.
pub(super) fn backward<T: Float>(
    call: &Call<'_, T>,
    dy: &[T],
    dlast: Option<&[T::Acc]>,
    to: Gradients<&mut [T], &mut [T::Acc]>,
) {
    let (p, parts) = (call.p, call.parts(HEADS));
    let places = To {
        dx: to.dx.map(Sheet::new),
        ddelta: to.ddelta.map(Sheet::new),
        dgate: to.dgate.filter(|_| call.x.gate.is_some()).map(Sheet::new),
        dinitial: to.dinitial.map(Sheet::new),
    };
    let sums = rows::collect(parts.len(), |task| Work::new(call, parts[task], dy, dlast, &places).run());
    let all = p.groups() * p.states();
    for (to, of) in [(to.db, 0), (to.dc, 1)] {
        let Some(to) = to else { continue };
        // Rows of a sequence are neighbours; the parts of a group follow one another.
        rows::each_one(all, &mut to[..p.route().rows() * all], |row, to| {
            let mut wide = vec![0.0_f32; all];
            for (part, sum) in parts.iter().zip(&sums) {
                let first = call.row(&part.sequence, 0);
                if row < first || row >= first + part.sequence.len() {
                    continue;
                }
                let from = if of == 0 { &sum.b } else { &sum.c };
                let group = part.head / p.per_group() * p.states();
                let from = &from[(row - first) * p.states()..][..p.states()];
                wide[group..][..p.states()].iter_mut().zip(from).for_each(|(to, from)| *to += from);
            }
            to.iter_mut().zip(wide).for_each(|(to, sum)| *to = T::from_f32(sum));
        });
    }
    let mut by_head = vec![[0.0_f64; 3]; p.heads()];
    for (part, sum) in parts.iter().zip(&sums) {
        for (to, from) in by_head[part.head..].iter_mut().zip(&sum.heads) {
            to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
        }
    }
    for (to, kind) in [(to.da, 0), (to.dskip, 1), (to.dbias, 2)] {
        to.into_iter().flatten().zip(&by_head).for_each(|(to, from)| *to = T::Acc::narrow(from[kind]));
    }
}

/// A task: some heads of a sequence, and the matrices that it goes through.
struct Work<'a, T: Float> {
    call: &'a Call<'a, T>,
    part: Part,
    dy: &'a [T],
    dlast: Option<&'a [T::Acc]>,
    to: &'a To<T>,
    shared: Shared,
    room: Room,
    /// The gradient of the output before the gate, by row; times the decay from before the chunk.
    g: Matrix,
    g_from: Matrix,
    /// `x` and that gradient turned over, and with factors by row.
    x_turned: Matrix,
    g_turned: Matrix,
    scaled: Matrix,
    b: Matrix,
    /// Pairs of rows: the later's gradient times the earlier's `x`, then with decays; the sum of that over heads.
    dots: Matrix,
    pairs: Matrix,
    pair_sums: Matrix,
    turned: Matrix,
    /// What later and earlier chunks give to the gradients of `b` and `c` of a chunk, turned over.
    db: Matrix,
    dc: Matrix,
    /// One of them by row.
    share: Matrix,
}

/// Sums by row of a chunk and head, over its entries: by the gradient of `x` but for `delta` and skip, by the part of that
/// from later chunks, of the output's gradient by the part of earlier chunks, by `x`.
struct ByRow {
    entry: [f32; CHUNK],
    ahead: [f32; CHUNK],
    behind: [f32; CHUNK],
    skip: [f32; CHUNK],
}

impl<'a, T: Float> Work<'a, T> {
    fn new(call: &'a Call<'a, T>, part: Part, dy: &'a [T], dlast: Option<&'a [T::Acc]>, to: &'a To<T>) -> Self {
        let (head_dim, states) = (call.p.head_dim(), call.p.states());
        let (by_row, turned) = (Matrix::new(CHUNK, head_dim), Matrix::new(head_dim, CHUNK));
        let (square, by_state) = (Matrix::new(CHUNK, CHUNK), Matrix::new(states, CHUNK));
        Work {
            call,
            part,
            dy,
            dlast,
            to,
            shared: Shared::new(states),
            room: Room::new(head_dim, states),
            g: by_row.clone(),
            g_from: by_row,
            x_turned: turned.clone(),
            g_turned: turned.clone(),
            scaled: turned,
            b: Matrix::new(CHUNK, states),
            dots: square.clone(),
            pairs: square.clone(),
            pair_sums: square.clone(),
            turned: square,
            db: by_state.clone(),
            dc: by_state,
            share: Matrix::new(CHUNK, states),
        }
    }

    fn run(mut self) -> Sums {
        let (call, part, p) = (self.call, self.part, self.call.p);
        let (s, states) = (part.sequence, p.states());
        let starts = self.starts();
        let mut ends: Vec<Matrix> = (0..part.count).map(|k| self.state(self.dlast, part.head + k)).collect();
        let sheet = || vec![0.0; s.len() * states];
        let mut sums = Sums { b: sheet(), c: sheet(), heads: vec![[0.0; 3]; part.count] };
        for (chunk, rows) in Rows::of(s).enumerate().rev() {
            self.shared.load(call, &rows, part.head / p.per_group());
            for of in [&mut self.pair_sums, &mut self.db, &mut self.dc] {
                of.data.fill(0.0);
            }
            for k in 0..part.count {
                let decays = Decays::new(call, &rows, part.head + k);
                self.head(&rows, part.head + k, &decays, &starts[k][chunk], &mut ends[k], &mut sums.heads[k]);
            }
            self.shares(&rows, &mut sums);
        }
        let Some(to) = &self.to.dinitial else { return sums };
        for (k, end) in ends.iter().enumerate() {
            let (at, count) = call.state(s.index, part.head + k);
            // SAFETY: `dinitial` is borrowed by the call, and the state of a head is one task's.
            turned_back(end, states, unsafe { to.part(at, count) });
        }
        sums
    }

    /// The state of a head in a tensor of them.
    fn state(&self, from: Option<&[T::Acc]>, head: usize) -> Matrix {
        let (at, count) = self.call.state(self.part.sequence.index, head);
        let mut to = Matrix::new(self.call.p.states(), self.call.p.head_dim());
        turned(from.map(|from| &from[at..][..count]), self.call.p.states(), &mut to);
        to
    }

    /// The states before every chunk, by head.
    fn starts(&mut self) -> Vec<Vec<Matrix>> {
        let (call, part) = (self.call, self.part);
        let mut starts: Vec<Vec<Matrix>> =
            (0..part.count).map(|k| vec![self.state(call.x.initial, part.head + k)]).collect();
        let chunks = Rows::of(part.sequence);
        let count = chunks.len();
        for rows in chunks.take(count.saturating_sub(1)) {
            self.shared.load(call, &rows, part.head / call.p.per_group());
            for (k, starts) in starts.iter_mut().enumerate() {
                let decays = Decays::new(call, &rows, part.head + k);
                self.room.load(call, &rows, part.head + k, &decays);
                let mut state = starts[starts.len() - 1].clone();
                self.room.pass(call, &rows, &self.shared, &decays, &mut state);
                starts.push(state);
            }
        }
        starts
    }

    /// A chunk of a head; `end` goes from what is wanted of the state after it to that of the state before it.
    fn head(
        &mut self,
        rows: &Rows,
        head: usize,
        decays: &Decays,
        start: &Matrix,
        end: &mut Matrix,
        sums: &mut [f64; 3],
    ) {
        let (call, count) = (self.call, rows.count);
        let (head_dim, states) = (call.p.head_dim(), call.p.states());
        self.load(rows, head, decays);
        let (level, zero, once) = (call.level, Start::Zero, Start::Times(1.0));
        product(level, &mut self.dots, zero, [count, head_dim], &self.g, &self.x_turned, Terms::All);
        let parted = level.run(
            #[inline(always)]
            |fused| self.pair(fused, decays, count),
        );
        let mut by = ByRow { entry: [0.0; CHUNK], ahead: [0.0; CHUNK], behind: [0.0; CHUNK], skip: [0.0; CHUNK] };
        // Earlier chunks: what they put out.
        self.room.c.scale_rows(&self.shared.c, &decays.from[..count]);
        product(level, &mut self.room.out, zero, [count, states], &self.room.c, start, Terms::All);
        dots(call, &self.g, &self.room.out, count, &mut by.behind);
        if self.to.dgate.is_some() {
            let (out, pairs) = (&mut self.room.out, &self.room.pairs);
            product(level, out, once, [count, count], pairs, &self.room.entry, Terms::UpToRow);
            self.gate(rows, head);
        }
        // Later chunks: what they want of the rows, then the rows of this one.
        self.b.scale_rows(&self.shared.b, &decays.upto[..count]);
        product(level, &mut self.room.out, zero, [count, states], &self.b, end, Terms::All);
        dots(call, &self.room.x, &self.room.out, count, &mut by.ahead);
        self.turned.turn(&self.room.pairs, CHUNK, CHUNK);
        product(level, &mut self.room.out, once, [count, count], &self.turned, &self.g, Terms::FromRow);
        dots(call, &self.room.x, &self.room.out, count, &mut by.entry);
        dots(call, &self.room.x, &self.g, count, &mut by.skip);
        self.inputs(rows, head, decays);
        let factors: [f32; CHUNK] = core::array::from_fn(|i| decays.delta[i] * decays.upto[i]);
        self.scaled.scale_columns(&self.x_turned, head_dim, &factors);
        product(level, &mut self.db, once, [states, head_dim], end, &self.scaled, Terms::All);
        self.scaled.scale_columns(&self.g_turned, head_dim, &decays.from);
        product(level, &mut self.dc, once, [states, head_dim], start, &self.scaled, Terms::All);
        let through = (0..states).map(|n| dot(&start.row(n)[..head_dim], &end.row(n)[..head_dim])).sum::<f32>();
        self.steps(rows, head, decays, &by, &parted, through * decays.whole, sums);
        let passed = Start::Times(decays.whole);
        product(level, end, passed, [states, count], &self.shared.c_turned, &self.g_from, Terms::All);
    }

    /// `x` and the gradient of the output of a head, as products want them.
    fn load(&mut self, rows: &Rows, head: usize, decays: &Decays) {
        let (call, l, head_dim) = (self.call, self.call.p.layouts(), self.call.p.head_dim());
        self.room.load(call, rows, head, decays);
        widen(call, rows, self.dy, &call.p.dy(), head * head_dim, head_dim, &mut self.g);
        if let (Some(gate), Some(layout)) = (call.x.gate, l.gate) {
            call.level.run(
                #[inline(always)]
                |fused| {
                    for i in 0..rows.count {
                        let at = call.p.at(&layout, call.row(&rows.sequence, rows.first + i)) + head * head_dim;
                        let gate = &gate[at..][..head_dim];
                        self.g.row_mut(i).iter_mut().zip(gate).for_each(|(g, z)| *g *= math::silu(fused, z.to_f32()));
                    }
                },
            );
        }
        self.g_from.scale_rows(&self.g, &decays.from[..rows.count]);
        self.x_turned.turn(&self.room.x, head_dim, rows.count);
        self.g_turned.turn(&self.g, head_dim, rows.count);
    }

    /// Pairs with decays, added to those of other heads; what the decay before each row is worth to the pairs that it parts.
    /// Sums of those themselves: differences of larger sums lose their digits where decays are strong.
    #[inline(always)]
    fn pair(&mut self, fused: Fused, decays: &Decays, count: usize) -> [f32; CHUNK] {
        let mut parted = [0.0; CHUNK];
        decays.weigh(fused, &self.dots, count, &mut self.pairs);
        decays.weigh(fused, &self.shared.scores, count, &mut self.room.pairs);
        for i in 0..count {
            let (sums, scores) = (self.pair_sums.row_mut(i), self.shared.scores.row(i));
            let mut before = 0.0;
            for (j, &pair) in self.pairs.row(i)[..=i].iter().enumerate() {
                let pair = pair * decays.delta[j];
                sums[j] += pair;
                parted[j] += before;
                before += pair * scores[j];
            }
        }
        parted
    }

    /// The gradient of the gate, from the output before skip.
    fn gate(&self, rows: &Rows, head: usize) {
        let (call, p, head_dim) = (self.call, self.call.p, self.call.p.head_dim());
        let (Some(gate), Some(layout), Some(to)) = (call.x.gate, p.layouts().gate, &self.to.dgate) else { return };
        let skip = call.skip(head);
        call.level.run(
            #[inline(always)]
            |fused| {
                for i in 0..rows.count {
                    let row = call.row(&rows.sequence, rows.first + i);
                    let gate = &gate[p.at(&layout, row) + head * head_dim..][..head_dim];
                    let dy = &self.dy[p.at(&p.dy(), row) + head * head_dim..][..head_dim];
                    // SAFETY: the tensor is borrowed by the call, and a head's columns of a row are one task's.
                    let to = unsafe { to.part(row * p.width() + head * head_dim, head_dim) };
                    let from = self.room.out.row(i).iter().zip(self.room.x.row(i));
                    for (((to, (y, x)), z), dy) in to.iter_mut().zip(from).zip(gate).zip(dy) {
                        let (y, z) = (fused.mul_add(skip, *x, *y), z.to_f32());
                        let s = 1.0 / (1.0 + math::exp(fused, -z));
                        *to = T::from_f32(dy.to_f32() * y * s * fused.mul_add(z, 1.0 - s, 1.0));
                    }
                }
            },
        );
    }

    /// The gradient of `x`, from that but for `delta` and skip.
    fn inputs(&self, rows: &Rows, head: usize, decays: &Decays) {
        let (call, p, head_dim, skip) = (self.call, self.call.p, self.call.p.head_dim(), self.call.skip(head));
        let Some(to) = &self.to.dx else { return };
        call.level.run(
            #[inline(always)]
            |fused| {
                for i in 0..rows.count {
                    let at = call.row(&rows.sequence, rows.first + i) * p.width() + head * head_dim;
                    // SAFETY: the tensor is borrowed by the call, and a head's columns of a row are one task's.
                    let to = unsafe { to.part(at, head_dim) };
                    for ((to, by), g) in to.iter_mut().zip(self.room.out.row(i)).zip(self.g.row(i)) {
                        *to = T::from_f32(fused.mul_add(decays.delta[i], *by, skip * g));
                    }
                }
            },
        );
    }

    /// The gradients of `delta`, and what the rows of a chunk add to the sums of a head.
    fn steps(
        &self,
        rows: &Rows,
        head: usize,
        decays: &Decays,
        by: &ByRow,
        parted: &[f32; CHUNK],
        through: f32,
        sums: &mut [f64; 3],
    ) {
        let (call, p, a) = (self.call, self.call.p, self.call.x.a[head].to_f32());
        let mut behind = [0.0; CHUNK];
        (0..rows.count).rev().fold(0.0, |sum, i| {
            behind[i] = sum + by.behind[i];
            behind[i]
        });
        let mut ahead = 0.0;
        for i in 0..rows.count {
            let by_decay = parted[i] + ahead + behind[i] + through;
            ahead += by.ahead[i] * decays.delta[i];
            let mut slope = a * by_decay + by.entry[i];
            if p.layouts().softplus && decays.raw[i] <= 20.0 {
                slope *= 1.0 / (1.0 + math::exp(Fused(false), -decays.raw[i]));
            }
            let at = call.row(&rows.sequence, rows.first + i) * p.heads() + head;
            if let Some(to) = &self.to.ddelta {
                // SAFETY: the tensor is borrowed by the call, and a head's column of a row is one task's.
                let to = unsafe { to.part(at, 1) };
                to[0] = T::from_f32(slope);
            }
            sums[0] += f64::from(decays.delta[i] * by_decay);
            sums[1] += f64::from(by.skip[i]);
            sums[2] += f64::from(slope);
        }
    }

    /// The gradients of `b` and `c` of a chunk, with the pairs of all heads. By row, so that a row meets only those that it
    /// makes a pair with: what is no number elsewhere stays there.
    fn shares(&mut self, rows: &Rows, sums: &mut Sums) {
        let (level, states, count) = (self.call.level, self.call.p.states(), rows.count);
        self.turned.turn(&self.pair_sums, CHUNK, CHUNK);
        for (to, from, pairs, other, terms) in [
            (&mut sums.b, &self.db, &self.turned, &self.shared.c, Terms::FromRow),
            (&mut sums.c, &self.dc, &self.pair_sums, &self.shared.b, Terms::UpToRow),
        ] {
            self.share.turn(from, count, states);
            product(level, &mut self.share, Start::Times(1.0), [count, count], pairs, other, terms);
            let to = &mut to[rows.first * states..][..count * states];
            for (i, to) in to.chunks_mut(states).enumerate() {
                to.copy_from_slice(&self.share.row(i)[..states]);
            }
        }
    }
}

/// `to[i]` is the product of row `i` of both.
fn dots<T: Float>(call: &Call<'_, T>, a: &Matrix, b: &Matrix, rows: usize, to: &mut [f32; CHUNK]) {
    let columns = call.p.head_dim();
    call.level.run(
        #[inline(always)]
        |_| {
            for (i, to) in to[..rows].iter_mut().enumerate() {
                *to = dot(&a.row(i)[..columns], &b.row(i)[..columns]);
            }
        },
    );
}

#[inline(always)]
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0; 16];
    for (a, b) in a.chunks(16).zip(b.chunks(16)) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    sums.iter().sum()
}
