use crate::io::{Error, Result};
use crate::{Device, Tensor, View, copy_into};

/// Rows of several places as one, beside each other in the order of `parts`: what a crosscoder reads.
///
/// # Errors
/// [`Error::Setting`] for no parts, or not as many rows of one as of the others; those of the device.
pub fn side_by_side(parts: &[View<'_, f32, 2>]) -> Result<Tensor<f32, 2>> {
    let [first, rest @ ..] = parts else { return Err(Error::setting("parts", "there must be one")) };
    let rows = first.dims()[0];
    if let Some(other) = rest.iter().find(|part| part.dims()[0] != rows) {
        return Err(Error::setting("parts", format!("{} rows of one, for {rows} of another", other.dims()[0])));
    }
    let mut all = Tensor::empty([rows, parts.iter().map(|part| part.dims()[1]).sum()], &first.device())?;
    let mut at = 0;
    for &part in parts {
        let end = at + part.dims()[1];
        copy_into(part, all.view_mut().narrow(1, at, end)?)?;
        at = end;
    }
    Ok(all)
}

/// What is done to rows before the encoder, and undone behind the decoder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rows {
    /// Nothing.
    #[default]
    AsTheyAre,
    /// `(x - mean) / (deviation + 1e-5)`, both of the row, the deviation with `d - 1` below, undone without the `1e-5`: OpenAI's,
    /// and SAELens' `layer_norm`.
    Standard,
    /// `x √d / |x|`: SAELens' `constant_norm_rescale`. A row of zeros stays.
    Length,
}

/// Scaled rows, and how to undo it.
pub(super) struct Scaled {
    rows: Tensor<f32, 2>,
    /// Of each row, what was taken away, and what the rest is multiplied by to undo its scaling.
    undo: Vec<(f32, f32)>,
}

impl Rows {
    /// Scaled rows, if anything is done. They pass through host memory.
    pub(super) fn scale(self, x: View<'_, f32, 2>) -> Result<Option<Scaled>> {
        if self == Rows::AsTheyAre {
            return Ok(None);
        }
        let (dims @ [_, d], device) = (x.dims(), x.device());
        let mut all = on_host(x)?;
        let mut undo = Vec::with_capacity(dims[0]);
        for row in all.chunks_exact_mut(d.max(1)) {
            let (mean, by, back) = self.of(row);
            row.iter_mut().for_each(|x| *x = (*x - mean) / by);
            undo.push((mean, back));
        }
        Ok(Some(Scaled { rows: Tensor::from_vec(all, dims, &device)?, undo }))
    }

    /// What is taken away of a row, what the rest is divided by, and what undoes that.
    fn of(self, row: &[f32]) -> (f32, f32, f32) {
        let (d, wide) = (row.len() as f64, || row.iter().map(|&x| f64::from(x)));
        match self {
            Rows::AsTheyAre => (0.0, 1.0, 1.0),
            Rows::Standard => {
                let mean = wide().sum::<f64>() / d;
                let squares = wide().map(|x| (x - mean) * (x - mean)).sum::<f64>();
                let deviation = (squares / (d - 1.0)).sqrt() as f32;
                (mean as f32, deviation + 1e-5, deviation)
            }
            Rows::Length => match (wide().map(|x| x * x).sum::<f64>() / d).sqrt() as f32 {
                0.0 => (0.0, 1.0, 1.0),
                by => (0.0, by, by),
            },
        }
    }
}

impl Scaled {
    pub fn view(&self) -> View<'_, f32, 2> {
        self.rows.view()
    }

    /// They, on the host.
    pub fn rows(&self) -> Result<Vec<f32>> {
        Ok(self.rows.to_vec()?)
    }

    /// What undoing multiplies each row by.
    #[cfg(feature = "lm")]
    pub fn factors(&self) -> impl Iterator<Item = f32> + '_ {
        self.undo.iter().map(|&(_, back)| back)
    }

    /// The same of what stands for these rows.
    pub fn undo(&self, recon: &Tensor<f32, 2>) -> Result<Tensor<f32, 2>> {
        let (dims @ [_, d], device): (_, Device) = (recon.dims(), recon.device());
        let mut all = recon.to_vec()?;
        for (row, &(mean, back)) in all.chunks_exact_mut(d.max(1)).zip(&self.undo) {
            row.iter_mut().for_each(|x| *x = *x * back + mean);
        }
        Ok(Tensor::from_vec(all, dims, &device)?)
    }
}

/// A copy of these rows in host memory.
///
/// # Errors
/// If the device fails.
pub fn on_host(x: View<'_, f32, 2>) -> Result<Vec<f32>> {
    let mut copy = Tensor::empty(x.dims(), &x.device())?;
    copy_into(x, copy.view_mut())?;
    Ok(copy.to_vec()?)
}
