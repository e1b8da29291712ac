//! [`latens_kernels::hyper::degree`] on the host.
use super::by_row;
use crate::once::once;
use latens_kernels::hyper::degree::{self, Plan};
use latens_kernels::{DType, Float, hyper::Incidence};

once! {
    /// See [`degree::forward`].
    pub fn forward<A>(
        p: &Plan,
        of: Incidence,
        values: Option<&[A]>,
        columns: Option<&[A]>,
        out: &mut [A],
    ) = forward_impl;
}

fn forward_impl<A: Float>(p: &Plan, of: Incidence, values: Option<&[A]>, columns: Option<&[A]>, out: &mut [A]) {
    if A::DTYPE == DType::F64 {
        return degree::forward(p, of, values, columns, out);
    }
    by_row::<A, ()>(of, &p.shape(), (out, 1), (&mut [], 0), |rows, out, _| {
        for (r, out) in rows.zip(out) {
            let degree = match (values, columns) {
                (None, None) => of.row(r).len() as f32,
                _ => of.row(r).fold(0.0, |sum, i| {
                    let value = values.map_or(1.0, |values| values[of.number(i)].to_f32());
                    sum + value * columns.map_or(1.0, |columns| columns[of.members[i] as usize].to_f32())
                }),
            };
            *out = A::narrow(p.of(f64::from(degree) + 0.0));
        }
    });
}
