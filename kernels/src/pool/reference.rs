use super::{Plan, Pooling};
use crate::{Float, Layout, order};

/// Where an entry lies.
fn place(layout: &Layout<4>, at: [usize; 4]) -> usize {
    at.into_iter().zip(layout.strides()).map(|(at, stride)| at * stride).sum()
}

/// Every index into these sizes, in order.
fn indices_of([batch, rows, columns, channels]: [usize; 4]) -> impl Iterator<Item = [usize; 4]> {
    (0..batch * rows * columns * channels).map(move |at| {
        let [pixel, row] = [at / channels, at / channels / columns];
        [row / rows, row % rows, pixel % columns, at % channels]
    })
}

/// The definition, a window at a time; `indices` only of the largest.
pub fn forward<T: Float>(p: &Plan, x: &[T], y: &mut [T], mut indices: Option<&mut [u32]>) {
    let width = p.x.dims()[2];
    for (to, [b, i, j, c]) in indices_of(p.out()).enumerate() {
        let (rows, columns) = (p.pixels(0, i), p.pixels(1, j));
        let pixels = rows.clone().flat_map(|row| columns.clone().map(move |column| [row, column]));
        let at = |[row, column]: [usize; 2]| x[place(&p.x, [b, row, column, c])];
        if p.pooling == Pooling::Max {
            // Of equals, min_by_key gives the first.
            let Some(largest) = pixels.min_by_key(|&pixel| !order(at(pixel))) else { continue };
            y[to] = at(largest);
            if let Some(indices) = &mut indices {
                indices[to] = (largest[0] * width + largest[1]) as u32;
            }
        } else {
            let sum: f64 = pixels.map(|pixel| at(pixel).wide()).sum();
            y[to] = T::narrow(sum / p.divisor(rows.len(), columns.len()) as f64);
        }
    }
}

/// The gradient, an entry of `x` at a time; `indices` only of the largest.
pub fn backward<T: Float>(p: &Plan, dy: &[T], indices: &[u32], dx: &mut [T]) {
    let width = p.x.dims()[2];
    for (to, [b, row, column, c]) in indices_of(p.x.dims()).enumerate() {
        let mut sum = 0.0;
        for (i, j) in p.windows(0, row).flat_map(|i| p.windows(1, column).map(move |j| (i, j))) {
            let slope = dy[place(&p.dy, [b, i, j, c])].wide();
            if p.pooling != Pooling::Max {
                sum += slope / p.divisor(p.pixels(0, i).len(), p.pixels(1, j).len()) as f64;
            } else if indices[place(&p.indices, [b, i, j, c])] as usize == row * width + column {
                sum += slope;
            }
        }
        p.accumulate.put(&mut dx[to], sum);
    }
}
