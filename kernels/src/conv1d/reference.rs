use super::{OP, Plan};
use crate::math;
use crate::route::{Sequence, Tables};
use crate::{Float, Result};

/// What all functions below read.
struct Call<'a, T: Float> {
    p: &'a Plan,
    x: &'a [T],
    weight: &'a [T::Acc],
    bias: Option<&'a [T::Acc]>,
    tables: Tables<&'a [u32]>,
    initial: Option<&'a [T]>,
}

impl<T: Float> Call<'_, T> {
    /// Row `i` of a sequence, or before it, in a channel.
    fn input(&self, s: &Sequence, channel: usize, i: isize) -> f64 {
        let [order, column] = self.p.source(channel);
        match usize::try_from(i) {
            Ok(i) => {
                let row = self.p.route().row(self.tables, order, s.batch, s.begin + i);
                self.x[self.p.x_row(row) + column].wide()
            }
            Err(_) => {
                let [_, before, channels] = self.p.state();
                let row = s.index * before + before.wrapping_add_signed(i);
                self.initial.map_or(0.0, |initial| initial[row * channels + channel].wide())
            }
        }
    }

    fn tap(&self, channel: usize, w: usize) -> f64 {
        self.weight[channel * self.p.weight().strides()[0] + w].wide()
    }

    fn pre(&self, s: &Sequence, channel: usize, i: isize) -> f64 {
        let width = self.p.width();
        let bias = self.bias.map_or(0.0, |bias| bias[channel].wide());
        let reach = |w: usize| i - (width - 1) as isize + w as isize;
        (0..width).fold(bias, |sum, w| sum + self.tap(channel, w) * self.input(s, channel, reach(w)))
    }
}

/// The definition, channel by channel.
///
/// # Errors
/// `Value` for bad tables; nothing is written then.
pub fn forward<T: Float>(
    p: &Plan,
    x: &[T],
    weight: &[T::Acc],
    bias: Option<&[T::Acc]>,
    tables: Tables<&[u32]>,
    initial: Option<&[T]>,
    y: &mut [T],
    mut last: Option<&mut [T]>,
) -> Result<()> {
    p.route.check(OP, tables)?;
    let call = Call { p, x, weight, bias, tables, initial };
    let [sequences, before, channels] = p.state();
    for s in (0..sequences).map(|s| p.route.sequence(tables, s)) {
        for channel in 0..channels {
            for i in 0..s.len() {
                let pre = call.pre(&s, channel, i as isize);
                let row = p.route.row(tables, p.source(channel)[0], s.batch, s.begin + i);
                y[row * channels + channel] = T::narrow(if p.silu { pre * sigmoid(pre) } else { pre });
            }
            if let Some(last) = &mut last {
                for j in 0..before {
                    let i = (s.len() + j) as isize - before as isize;
                    last[(s.index * before + j) * channels + channel] = T::narrow(call.input(&s, channel, i));
                }
            }
        }
    }
    Ok(())
}

/// The gradients, channel by channel; one without an output is not computed.
///
/// # Errors
/// As [`forward`].
pub fn backward<T: Float>(
    p: &Plan,
    x: &[T],
    weight: &[T::Acc],
    bias: Option<&[T::Acc]>,
    tables: Tables<&[u32]>,
    initial: Option<&[T]>,
    dy: &[T],
    dlast: Option<&[T]>,
    dx: Option<&mut [T]>,
    mut dweight: Option<&mut [T::Acc]>,
    mut dbias: Option<&mut [T::Acc]>,
    mut dinitial: Option<&mut [T]>,
) -> Result<()> {
    p.route.check(OP, tables)?;
    let call = Call { p, x, weight, bias, tables, initial };
    let [sequences, before, channels] = p.state();
    let mut all = alloc::vec![0.0; p.route.rows() * p.columns()];
    for channel in 0..channels {
        let ([order, column], mut taps, mut sum) = (p.source(channel), [0.0; 4], 0.0);
        for s in (0..sequences).map(|s| p.route.sequence(tables, s)) {
            let row = |i: usize| p.route.row(tables, order, s.batch, s.begin + i);
            // Of the inputs, those before the sequence first.
            let mut into = alloc::vec![0.0; before + s.len()];
            for i in 0..s.len() {
                let slope = if p.silu { silu_slope(call.pre(&s, channel, i as isize)) } else { 1.0 };
                let d = dy[p.dy_row(row(i)) + channel].wide() * slope;
                sum += d;
                for w in 0..p.width() {
                    taps[w] += d * call.input(&s, channel, (i + w) as isize - before as isize);
                    into[i + w] += d * call.tap(channel, w);
                }
            }
            for j in 0..before {
                let at = (s.index * before + j) * channels + channel;
                into[s.len() + j] += dlast.map_or(0.0, |dlast| dlast[at].wide());
            }
            for j in 0..before {
                if let Some(dinitial) = &mut dinitial {
                    dinitial[(s.index * before + j) * channels + channel] = T::narrow(into[j]);
                }
            }
            for i in 0..s.len() {
                all[row(i) * p.columns() + column] += into[before + i];
            }
        }
        for (w, tap) in taps.into_iter().enumerate().take(p.width()) {
            if let Some(dweight) = &mut dweight {
                dweight[channel * p.width() + w] = T::Acc::narrow(tap);
            }
        }
        if let Some(dbias) = &mut dbias {
            dbias[channel] = T::Acc::narrow(sum);
        }
    }
    if let Some(dx) = dx {
        dx.iter_mut().zip(all).for_each(|(dx, all)| *dx = T::narrow(all));
    }
    Ok(())
}

/// One row of every sequence.
pub fn step<T: Float>(
    p: &Plan,
    x: &[T],
    weight: &[T::Acc],
    bias: Option<&[T::Acc]>,
    state: &mut [T],
    y: &mut [T],
) -> Result<()> {
    let mut last = state.to_vec();
    forward(p, x, weight, bias, Tables::default(), Some(state), y, Some(&mut last))?;
    state.copy_from_slice(&last);
    Ok(())
}

/// `1 / (1 + exp(-x))`.
pub(crate) fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + math::exp(-x))
}

/// The derivative of SiLU.
pub(crate) fn silu_slope(x: f64) -> f64 {
    let s = sigmoid(x);
    s * (1.0 + x * (1.0 - s))
}
