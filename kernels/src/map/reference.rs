use super::Plan;
use crate::{Element, Float};

/// `y = x`.
pub fn copy<T: Element>(p: &Plan, x: &[T], y: &mut [T]) {
    each(p, |x_at, y_at| y[y_at] = x[x_at]);
}

/// `y = x`, rounded.
pub fn cast<T: Float, U: Float>(p: &Plan, x: &[T], y: &mut [U]) {
    each(p, |x_at, y_at| y[y_at] = U::narrow(x[x_at].wide()));
}

/// `y += x`.
pub fn add<T: Float>(p: &Plan, x: &[T], y: &mut [T]) {
    each(p, |x_at, y_at| y[y_at] = T::narrow(T::Acc::narrow(y[y_at].wide() + x[x_at].wide()).wide()));
}

/// `y *= factor`.
pub fn scale<T: Float>(p: &Plan, factor: f32, y: &mut [T]) {
    each(p, |_, at| y[at] = T::narrow(T::Acc::narrow(y[at].wide() * f64::from(factor)).wide()));
}

fn each(p: &Plan, mut work: impl FnMut(usize, usize)) {
    for r in 0..p.rows() {
        let [x, y] = p.row(r);
        (0..p.n()).for_each(|i| work(x + i, y + i));
    }
}
