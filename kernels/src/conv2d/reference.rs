use super::Plan;
use crate::{Float, Layout};
use alloc::vec;

/// Where an entry lies.
fn place(layout: &Layout<4>, at: [usize; 4]) -> usize {
    at.into_iter().zip(layout.strides()).map(|(at, stride)| at * stride).sum()
}

/// Every index into these sizes, in order.
fn indices<const R: usize>(dims: [usize; R]) -> impl Iterator<Item = [usize; R]> {
    (0..dims.iter().product()).map(move |mut at: usize| {
        let mut index = [0; R];
        for d in (0..R).rev() {
            (index[d], at) = (at % dims[d], at / dims[d]);
        }
        index
    })
}

/// The definition, an entry at a time.
pub fn forward<T: Float>(p: &Plan, x: &[T], w: &[T], bias: Option<&[T::Acc]>, y: &mut [T]) {
    let ([channels, n], [_, taps_y, taps_x, _]) = (p.group(), p.w.dims());
    for (y, [b, i, j, o]) in y.iter_mut().zip(indices(p.out())) {
        let mut sum = bias.map_or(0.0, |bias| bias[o].wide());
        for [u, v, c] in indices([taps_y, taps_x, channels]) {
            let x = match (p.pixel(0, i, u), p.pixel(1, j, v)) {
                (Some(row), Some(column)) => x[place(&p.x, [b, row, column, o / n * channels + c])].wide(),
                _ => 0.0,
            };
            sum += x * w[place(&p.w, [o, u, v, c])].wide();
        }
        *y = T::narrow(sum);
    }
}

/// The gradients, a product at a time; each only if it is asked for.
pub fn backward<T: Float>(
    p: &Plan,
    x: &[T],
    w: &[T],
    dy: &[T],
    dx: Option<&mut [T]>,
    dw: Option<&mut [T::Acc]>,
    db: Option<&mut [T::Acc]>,
) {
    let ([channels, n], [_, taps_y, taps_x, _]) = (p.group(), p.w.dims());
    let [packed_x, packed_w] = [p.x, p.w].map(|layout| Layout::packed(layout.dims()).expect("as large as the input"));
    let [mut of_x, mut of_w, mut of_b] = [p.x.len(), p.w.len(), p.w.dims()[0]].map(|count| vec![0.0; count]);
    for at @ [b, i, j, o] in indices(p.out()) {
        let dy = dy[place(&p.dy, at)].wide();
        of_b[o] += dy;
        for [u, v, c] in indices([taps_y, taps_x, channels]) {
            let (tap, mut read) = ([o, u, v, c], 0.0);
            if let (Some(row), Some(column)) = (p.pixel(0, i, u), p.pixel(1, j, v)) {
                let pixel = [b, row, column, o / n * channels + c];
                of_x[place(&packed_x, pixel)] += dy * w[place(&p.w, tap)].wide();
                read = x[place(&p.x, pixel)].wide();
            }
            of_w[place(&packed_w, tap)] += dy * read;
        }
    }
    for (dx, sum) in dx.into_iter().flatten().zip(of_x) {
        p.accumulate.put(dx, sum);
    }
    for (out, sums) in [dw, db].into_iter().zip([of_w, of_b]) {
        out.into_iter().flatten().zip(sums).for_each(|(out, sum)| p.accumulate.put(out, sum));
    }
}
