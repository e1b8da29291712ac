//! Activations put together and taken apart.
use super::{Step, Tape, Var};
use crate::io::{Error, Result};
use crate::{Float, Tensor, copy_into};

impl<'m, T: Float> Tape<'m, T> {
    /// Context by context, of `batch`, the rows of `a` and then those of `b`.
    ///
    /// # Errors
    /// Rows that do not divide into contexts, or two widths.
    ///
    /// # Panics
    /// As [`Tape::value`].
    pub fn join(&mut self, a: Var, b: Var, batch: usize) -> Result<Var> {
        let ([rows, n], [more, width]) = (self.nodes[a.0].dims, self.nodes[b.0].dims);
        if batch == 0 || !rows.is_multiple_of(batch) || !more.is_multiple_of(batch) {
            let what = format!("{rows} and {more} rows do not divide into {batch} contexts");
            return Err(Error::setting("batch", what));
        }
        if n != width {
            return Err(latens_core::Error::Size { op: "join", arg: "b", want: n, got: width }.into());
        }
        let mut y = self.empty([rows + more, n])?;
        let (first, second) = (rows / batch, more / batch);
        let split = y.view_mut().reshape([batch, first + second, n])?;
        copy_into(self.value(a).view().reshape([batch, first, n])?, split.narrow(1, 0, first)?)?;
        let split = y.view_mut().reshape([batch, first + second, n])?;
        copy_into(self.value(b).view().reshape([batch, second, n])?, split.narrow(1, first, first + second)?)?;
        let needed = self.needs(a) || self.needs(b);
        Ok(self.made(y, needed, Step::Join { a, b, batch }))
    }

    /// Columns `from` to `to` of an activation, apart.
    ///
    /// # Errors
    /// Columns that there are not.
    ///
    /// # Panics
    /// As [`Tape::value`].
    pub fn columns(&mut self, x: Var, from: usize, to: usize) -> Result<Var> {
        let part = self.value(x).view().narrow(1, from, to)?;
        let mut y = self.empty(part.dims())?;
        copy_into(part, y.view_mut())?;
        let needed = self.needs(x);
        Ok(self.made(y, needed, Step::Columns { x, from }))
    }

    pub(super) fn back_join(&mut self, a: Var, b: Var, batch: usize, dy: &Tensor<T, 2>) -> Result<()> {
        let [rows, n] = dy.dims();
        let (both, first) = (rows / batch, self.nodes[a.0].dims[0] / batch);
        for (of, from, to) in [(a, 0, first), (b, first, both)] {
            let Some(mut part) = self.room(of)? else { continue };
            let from = dy.view().reshape([batch, both, n])?.narrow(1, from, to)?;
            let dims = from.dims();
            copy_into(from, part.view_mut().reshape(dims)?)?;
            self.reach(of, part)?;
        }
        Ok(())
    }

    pub(super) fn back_columns(&mut self, x: Var, from: usize, dy: &Tensor<T, 2>) -> Result<()> {
        if !self.needs(x) {
            return Ok(());
        }
        let mut dx = Tensor::zeros(self.dims(x), &self.device)?;
        copy_into(dy.view(), dx.view_mut().narrow(1, from, from + dy.dims()[1])?)?;
        self.reach(x, dx)
    }
}
