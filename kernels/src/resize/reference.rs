use super::{Plan, Table, Tables};
use crate::{Accumulate, Float, Layout};

/// Every entry of `to` as a sum over rows and columns of `from`.
fn apply<T: Float>(
    [down, across]: [&Table; 2],
    (layout, from): (Layout<4>, &[T]),
    [batch, rows, columns, channels]: [usize; 4],
    accumulate: Accumulate,
    to: &mut [T],
) {
    let [image, row, column, _] = layout.strides();
    for (at, to) in to[..batch * rows * columns * channels].iter_mut().enumerate() {
        let (c, pixel) = (at % channels, at / channels);
        let (b, (top, v), (left, h)) =
            (pixel / columns / rows, down.row(pixel / columns % rows), across.row(pixel % columns));
        let mut sum = 0.0;
        for (k, v) in v.iter().enumerate() {
            for (l, h) in h.iter().enumerate() {
                sum += v * h * from[b * image + (top + k) * row + (left + l) * column + c].wide();
            }
        }
        accumulate.put(to, sum);
    }
}

/// The definition.
pub fn forward<T: Float>(p: &Plan, tables: &Tables, x: &[T], y: &mut [T]) {
    apply([tables.forward(0), tables.forward(1)], (p.x, x), p.out(), Accumulate::Replace, y);
}

/// The gradient: the same weights, turned.
pub fn backward<T: Float>(p: &Plan, tables: &Tables, dy: &[T], dx: &mut [T]) {
    apply([tables.backward(0), tables.backward(1)], (p.dy, dy), p.x.dims(), p.accumulate, dx);
}
