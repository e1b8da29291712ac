use super::insert::replace;
use super::{Place, Places, Positions};
use crate::io::{Error, Result};
use crate::lm::{Hooks, Site, Span};
use crate::{Accumulate, Device, Float, Layout, Tensor, View, ViewMut, copy_into, linear_into};

/// How a direction is put into a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// `h + s v`.
    #[default]
    Add,
    /// `(1 - s) h + s v mean|h| / mean|v|`, means over the entries: the row keeps about its size. GCS's.
    Blend,
}

/// A direction that is put into activations on their way.
///
/// ```no_run
/// use latens::lm::{LanguageModel, Sampling};
/// use latens::steer::{Positions, Push, Vector};
/// # fn all(lm: &LanguageModel) -> latens::io::Result<()> {
/// let vector = Vector::load("vectors/formal".as_ref())?;
/// vector.check(&lm.model)?;
/// let push = Push::new(&vector.values, 4.0, lm.model.device())?;
/// let mut hooks = push.hooks(vector.site, Positions::All);
/// let said = lm.generate("Dear all,", &Sampling::default(), &mut hooks, |_| ())?;
/// # Ok(())
/// # }
/// ```
pub struct Push {
    /// `[d, 1]`.
    values: Tensor<f32, 2>,
    /// One for all contexts, or one for each.
    strengths: Vec<f32>,
    form: Form,
    decay: f32,
}

impl Push {
    /// `strength` times `values`.
    ///
    /// # Errors
    /// [`Error::Setting`] for numbers that are not finite.
    pub fn new(values: &[f32], strength: f32, device: &Device) -> Result<Self> {
        Self::each(values, vec![strength], device)
    }

    /// Another strength in each context of a batch, in their order; contexts beyond the last have the last.
    ///
    /// # Errors
    /// As [`new`](Self::new), and without any.
    pub fn each(values: &[f32], strengths: Vec<f32>, device: &Device) -> Result<Self> {
        let wrong = |name, of: &[f32]| match of.iter().find(|x| !x.is_finite()) {
            Some(x) => Err(Error::setting(name, format!("{x} is not finite"))),
            None if of.is_empty() => Err(Error::setting(name, "there are none")),
            None => Ok(()),
        };
        wrong("strength", &strengths)?;
        wrong("values", values)?;
        let values = Tensor::from_vec(values.to_vec(), [values.len(), 1], device)?;
        Ok(Self { values, strengths, form: Form::Add, decay: 1.0 })
    }

    /// In this form.
    #[must_use]
    pub fn form(self, form: Form) -> Self {
        Self { form, ..self }
    }

    /// With `decay`ᵗ times the strength at the `t`-th token after those given: at the last of these as it is, at the first that the model
    /// adds `decay` times as strong.
    ///
    /// # Errors
    /// [`Error::Setting`] if it is not in `[0, 1]`.
    pub fn decaying(self, decay: f32) -> Result<Self> {
        if !(0.0..=1.0).contains(&decay) {
            return Err(Error::setting("decay", format!("{decay}, expected from 0 to 1")));
        }
        Ok(Self { decay, ..self })
    }

    /// Put it into these rows of `x`.
    ///
    /// # Errors
    /// Rows of another width or on another device, and places among them that there are not.
    pub fn apply(&self, x: &mut Tensor<f32, 2>, places: &[Place]) -> Result<()> {
        let ([rows, d], [want, _]) = (x.dims(), self.values.dims());
        if d != want {
            return Err(crate::Error::Size { op: "push", arg: "x", want, got: d }.into());
        }
        if let Some(place) = places.iter().find(|place| place.row >= rows) {
            return Err(Error::setting("places", format!("row {} of {rows}", place.row)));
        }
        let of = |place: &Place| {
            let last = self.strengths.len() - 1;
            self.strengths[place.context.min(last)] * self.decay.powi(place.age as i32)
        };
        if self.form == Form::Blend {
            let at: Vec<usize> = places.iter().map(|place| place.row).collect();
            let shares: Vec<f32> = places.iter().map(of).collect();
            return replace(x, &at, |rows| self.blended(crate::sae::on_host(rows)?, &shares, &rows.device()));
        }
        if places.is_empty() {
            return Ok(());
        }
        let mut strengths = vec![0.0; rows];
        places.iter().for_each(|place| strengths[place.row] += of(place));
        let strengths = Tensor::<f32, 2>::from_vec(strengths, [rows, 1], &x.device())?;
        multiples(strengths.view(), self.values.view(), x.view_mut())
    }

    fn blended(&self, mut rows: Vec<f32>, shares: &[f32], device: &Device) -> Result<Tensor<f32, 2>> {
        let values = self.values.to_vec()?;
        let size = |of: &[f32]| of.iter().map(|x| f64::from(x.abs())).sum::<f64>();
        let own = size(&values);
        for (row, &share) in rows.chunks_exact_mut(values.len()).zip(shares) {
            let by = if own > 0.0 { (size(row) / own) as f32 } else { 0.0 };
            row.iter_mut().zip(&values).for_each(|(x, v)| *x = (1.0 - share) * *x + share * by * v);
        }
        Ok(Tensor::from_vec(rows, [shares.len(), values.len()], device)?)
    }

    /// Put it at `positions` of the activations at `site`, but for the first two of each context (see [`Places`]).
    pub fn hooks(&self, site: Site, positions: Positions) -> Hooks<'_> {
        self.hooks_at(site, Places::new(positions))
    }

    /// The same at `places`.
    pub fn hooks_at(&self, site: Site, mut places: Places) -> Hooks<'_> {
        Hooks::new().at_spans(site, move |x: &mut Tensor<f32, 2>, spans: &[Span]| self.apply(x, &places.among(spans)))
    }

    /// The same, for good.
    pub fn into_hooks(self, site: Site, mut places: Places) -> Hooks<'static> {
        Hooks::new().at_spans(site, move |x: &mut Tensor<f32, 2>, spans: &[Span]| self.apply(x, &places.among(spans)))
    }
}

/// `x[r] += strengths[r] v`, `[rows, d]` of any float, which may have gaps between rows, rounded once: a [`Push`] for whoever has the rows in his own memory.
///
/// # Errors
/// [`Error::Operation`] for other sizes than `d` and as many strengths as rows.
pub fn add_direction<T: Float>(v: &[f32], strengths: &[f32], x: ViewMut<'_, T, 2>) -> Result<()> {
    let device = x.device();
    let column = |of: &[f32]| {
        Tensor::<T, 2>::from_vec(of.iter().map(|&x| T::narrow(x.into())).collect(), [of.len(), 1], &device)
    };
    multiples(column(strengths)?.view(), column(v)?.view(), x)
}

/// A product with one column: a multiple of the direction `[d, 1]` in every row.
fn multiples<T: Float>(strengths: View<'_, T, 2>, v: View<'_, T, 2>, mut x: ViewMut<'_, T, 2>) -> Result<()> {
    if x.layout() == Layout::packed(x.dims())? {
        return Ok(linear_into(strengths, v, None, Accumulate::Add, x)?);
    }
    // A product is written without gaps.
    let mut copy = Tensor::empty(x.dims(), &x.device())?;
    copy_into(x.shared(), copy.view_mut())?;
    linear_into(strengths, v, None, Accumulate::Add, copy.view_mut())?;
    Ok(copy_into(copy.view(), x.reborrow())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(row: usize, context: usize, age: usize) -> Place {
        Place { row, context, age }
    }

    fn pushed(push: &Push, places: &[Place]) -> Vec<f32> {
        let mut x = Tensor::<f32, 2>::from_vec(vec![1.0, 2.0, 3.0, -4.0, 5.0, 6.0], [3, 2], &Device::Host).unwrap();
        push.apply(&mut x, places).unwrap();
        x.to_vec().unwrap()
    }

    #[test]
    fn rows_by_hand() {
        let push = |strengths: &[f32]| Push::each(&[1.0, -3.0], strengths.to_vec(), &Device::Host).unwrap();
        assert_eq!(pushed(&push(&[2.0]), &[place(0, 0, 0), place(2, 9, 3)]), [3.0, -4.0, 3.0, -4.0, 7.0, 0.0]);
        assert_eq!(pushed(&push(&[2.0]), &[]), [1.0, 2.0, 3.0, -4.0, 5.0, 6.0]);
        let own = pushed(&push(&[0.0, 1.0, 10.0]), &[place(0, 0, 0), place(1, 1, 0), place(2, 2, 0)]);
        assert_eq!(own, [1.0, 2.0, 4.0, -7.0, 15.0, -24.0]);
        let fading = push(&[4.0]).decaying(0.5).unwrap();
        assert_eq!(
            pushed(&fading, &[place(0, 0, 0), place(1, 0, 1), place(2, 0, 2)]),
            [5.0, -10.0, 5.0, -10.0, 6.0, 3.0]
        );
        // mean|v| is 2, those of the rows are 1.5 and 3.5.
        let blend = push(&[0.5]).form(Form::Blend);
        assert_eq!(pushed(&blend, &[place(0, 0, 0), place(1, 0, 0)]), [0.875, -0.125, 2.375, -4.625, 5.0, 6.0]);
    }

    #[test]
    fn wrong_calls_are_errors() {
        let said = |push: Result<Push>| push.err().unwrap().to_string();
        assert!(said(Push::new(&[1.0], f32::NAN, &Device::Host)).starts_with("strength: "));
        assert!(said(Push::new(&[f32::INFINITY], 1.0, &Device::Host)).starts_with("values: "));
        assert!(said(Push::each(&[1.0], vec![], &Device::Host)).starts_with("strength: "));
        assert!(said(Push::new(&[1.0], 1.0, &Device::Host).unwrap().decaying(1.5)).starts_with("decay: "));
        let mut x = Tensor::<f32, 2>::zeros([1, 3], &Device::Host).unwrap();
        let push = Push::new(&[1.0, 2.0], 1.0, &Device::Host).unwrap();
        assert!(push.apply(&mut x, &[]).unwrap_err().to_string().contains("push"));
        let mut x = Tensor::<f32, 2>::zeros([1, 2], &Device::Host).unwrap();
        assert!(push.apply(&mut x, &[place(1, 0, 0)]).unwrap_err().to_string().contains("row 1 of 1"));
    }
}
