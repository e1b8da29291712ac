use super::{Place, Places, Positions};
use crate::io::{Error, Result};
use crate::lm::{Hooks, Site, Span};
use crate::sae::Sae;
use crate::{Code, Tensor, View, copy_into, gather_rows};
use std::collections::BTreeMap;

/// What becomes of the part of a row that an autoencoder does not reconstruct.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keep {
    /// It is lost: the reconstruction takes the row's place, as in the released code of GradSAE, whose paper does not say.
    #[default]
    Reconstruction,
    /// It stays: only what is changed in the code changes the row, by `(h' - h) W_dec`.
    Error,
}

/// A change of a row's code `h`.
#[derive(Clone, Debug, PartialEq)]
pub enum Edit {
    /// These latents become 0.
    Zero(Vec<u32>),
    /// These latents, active or not, have these values.
    Set(Vec<(u32, f32)>),
    /// These latents are multiplied.
    Scale(Vec<u32>, f32),
    /// So much is added to these latents, active or not.
    Add(Vec<(u32, f32)>),
}

/// A sparse autoencoder in a language model: rows on their way are encoded, their codes are changed, and what these decode to takes the
/// rows' place.
///
/// ```no_run
/// use latens::lm::{LanguageModel, Sampling, Site};
/// use latens::sae::Sae;
/// use latens::steer::{Edit, Insert, Keep, Positions};
/// # fn all(lm: &LanguageModel, sae: &Sae) -> latens::io::Result<()> {
/// // The model without two latents, wherever they are active.
/// let insert = Insert::new(sae, Keep::Error)?.edit(Edit::Zero(vec![17, 1200]))?;
/// let mut hooks = insert.hooks(Site::residual(15), Positions::All);
/// let said = lm.generate("The capital of France is", &Sampling::default(), &mut hooks, |_| ())?;
/// # Ok(())
/// # }
/// ```
pub struct Insert<'a> {
    sae: &'a Sae,
    bias: Tensor<f32, 1>,
    keep: Keep,
    /// For one context, or for all.
    edits: Vec<(Option<usize>, Edit)>,
}

impl<'a> Insert<'a> {
    /// `sae` as it is.
    ///
    /// # Errors
    /// [`Error::Setting`] for a transcoder, whose output stands for other rows than those it reads.
    pub fn new(sae: &'a Sae, keep: Keep) -> Result<Self> {
        if sae.predicts {
            return Err(Error::setting("sae", "is a transcoder, which does not make the rows that it reads"));
        }
        Ok(Self { sae, bias: sae.bias()?, keep, edits: Vec::new() })
    }

    /// And then `edit`.
    ///
    /// # Errors
    /// [`Error::Setting`] for a latent that there is not, or a value that is not finite.
    pub fn edit(self, edit: Edit) -> Result<Self> {
        self.and(None, edit)
    }

    /// And then `edit`, in one context of a batch.
    ///
    /// # Errors
    /// As [`edit`](Self::edit).
    pub fn edit_in(self, context: usize, edit: Edit) -> Result<Self> {
        self.and(Some(context), edit)
    }

    fn and(mut self, context: Option<usize>, mut edit: Edit) -> Result<Self> {
        let n = self.sae.latents();
        let (latents, values): (Vec<u32>, Vec<f32>) = match &edit {
            Edit::Zero(latents) => (latents.clone(), vec![]),
            Edit::Scale(latents, by) => (latents.clone(), vec![*by]),
            Edit::Set(all) | Edit::Add(all) => all.iter().copied().unzip(),
        };
        if let Some(none) = latents.iter().find(|&&latent| latent as usize >= n) {
            return Err(Error::setting("edit", format!("latent {none} is not one of the {n} latents")));
        }
        if let Some(value) = values.iter().find(|value| !value.is_finite()) {
            return Err(Error::setting("edit", format!("the value {value} is not finite")));
        }
        if let Edit::Zero(latents) | Edit::Scale(latents, _) = &mut edit {
            latents.sort_unstable();
            latents.dedup();
        }
        self.edits.push((context, edit));
        Ok(self)
    }

    /// What takes the place of `rows`, of which each is of one of `contexts`.
    ///
    /// # Errors
    /// Rows of another width, on another device, or not as many as contexts.
    pub fn apply(&self, rows: View<'_, f32, 2>, contexts: &[usize]) -> Result<Tensor<f32, 2>> {
        if contexts.len() != rows.dims()[0] {
            return Err(Error::setting("contexts", format!("{} of them, for {} rows", contexts.len(), rows.dims()[0])));
        }
        self.decode(rows, &self.sae.encode_with(rows, &self.bias)?, contexts)
    }

    /// [`apply`](Self::apply), with the rows' code at hand.
    pub(super) fn decode(
        &self,
        rows: View<'_, f32, 2>,
        code: &Code<f32>,
        contexts: &[usize],
    ) -> Result<Tensor<f32, 2>> {
        let edited = self.edited(code, contexts)?;
        if self.keep == Keep::Reconstruction {
            return self.sae.reconstruct_with(rows, edited.as_ref().unwrap_or(code));
        }
        let mut x = Tensor::empty(rows.dims(), &rows.device())?;
        copy_into(rows, x.view_mut())?;
        if let Some(edited) = edited {
            let (mut less, more) = (self.sae.reconstruct_with(rows, code)?, self.sae.reconstruct_with(rows, &edited)?);
            crate::scale_into(-1.0, less.view_mut())?;
            crate::add_into(more.view(), x.view_mut())?;
            crate::add_into(less.view(), x.view_mut())?;
        }
        Ok(x)
    }

    /// The code after all edits; `None` without any.
    fn edited(&self, code: &Code<f32>, contexts: &[usize]) -> Result<Option<Code<f32>>> {
        let rows = contexts.len();
        if self.edits.is_empty() || rows == 0 {
            return Ok(None);
        }
        let (values, latents, n) = (code.values.to_vec()?, code.latents.to_vec()?, self.sae.latents() as u32);
        let slots = values.len() / rows;
        let entries = |row: usize| {
            let part = row * slots..(row + 1) * slots;
            let mut all: BTreeMap<u32, f32> =
                latents[part.clone()].iter().copied().zip(values[part].iter().copied()).filter(|e| e.0 < n).collect();
            let own = self.edits.iter().filter(|(of, _)| of.is_none_or(|of| of == contexts[row]));
            own.for_each(|(_, edit)| edit.change(&mut all));
            all
        };
        let all: Vec<BTreeMap<u32, f32>> = (0..rows).map(entries).collect();
        let width = all.iter().map(BTreeMap::len).max().unwrap_or(0);
        let (mut values, mut latents) = (vec![0.0; rows * width], vec![n; rows * width]);
        for (row, entries) in all.iter().enumerate() {
            for (slot, (&latent, &value)) in (row * width..).zip(entries) {
                (values[slot], latents[slot]) = (value, latent);
            }
        }
        let device = self.sae.device();
        let values = Tensor::from_vec(values, [rows, width], &device)?;
        Ok(Some(Code::fixed(values, Tensor::from_vec(latents, [rows, width], &device)?)?))
    }

    /// Put it at `positions` of the activations at `site`, but for the first two of each context (see [`Places`]).
    pub fn hooks<'h>(&'h self, site: Site, positions: Positions) -> Hooks<'h> {
        self.hooks_at(site, Places::new(positions))
    }

    /// The same at `places`.
    pub fn hooks_at<'h>(&'h self, site: Site, mut places: Places) -> Hooks<'h> {
        Hooks::new().at_spans(site, move |x: &mut Tensor<f32, 2>, spans: &[Span]| self.put(x, &places.among(spans)))
    }

    /// The same, for good.
    pub fn into_hooks(self, site: Site, mut places: Places) -> Hooks<'a> {
        Hooks::new().at_spans(site, move |x: &mut Tensor<f32, 2>, spans: &[Span]| self.put(x, &places.among(spans)))
    }

    fn put(&self, x: &mut Tensor<f32, 2>, places: &[Place]) -> Result<()> {
        let (rows, contexts): (Vec<usize>, Vec<usize>) = places.iter().map(|place| (place.row, place.context)).unzip();
        replace(x, &rows, |rows| self.apply(rows, &contexts))
    }
}

impl Edit {
    fn change(&self, entries: &mut BTreeMap<u32, f32>) {
        match self {
            Edit::Zero(latents) => entries.retain(|latent, _| latents.binary_search(latent).is_err()),
            Edit::Set(all) => entries.extend(all.iter().copied()),
            Edit::Scale(latents, by) => entries
                .iter_mut()
                .filter(|(latent, _)| latents.binary_search(latent).is_ok())
                .for_each(|(_, value)| *value *= by),
            Edit::Add(all) => all.iter().for_each(|&(latent, by)| *entries.entry(latent).or_default() += by),
        }
    }
}

/// Put what `by` makes of `rows`, in rising order, in their place.
pub(super) fn replace(
    x: &mut Tensor<f32, 2>,
    rows: &[usize],
    by: impl FnOnce(View<'_, f32, 2>) -> Result<Tensor<f32, 2>>,
) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    if rows.len() == x.dims()[0] {
        let new = by(x.view())?;
        return Ok(copy_into(new.view(), x.view_mut())?);
    }
    let indices = Tensor::from_vec(rows.iter().map(|&row| row as u32).collect(), [rows.len()], &x.device())?;
    let new = by(gather_rows(x.view(), indices.view())?.view())?;
    let mut at = 0;
    for run in rows.chunk_by(|a, b| a + 1 == *b) {
        let part = new.view().narrow(0, at, at + run.len())?;
        copy_into(part, x.view_mut().narrow(0, run[0], run[0] + run.len())?)?;
        at += run.len();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Device;
    use crate::sae::{Gate, Rows};

    /// Directions along three axes of width 4, the strongest two of them, and a centre.
    fn axes(rows: Rows) -> Sae {
        let eye = vec![1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0];
        Sae { rows, ..Sae::tied(eye, vec![0.0, 0.0, 0.0, 0.5], Gate::Strongest(2), &Device::Host).unwrap() }
    }

    fn applied(sae: &Sae, keep: Keep, edits: &[Edit], x: &[f32]) -> Vec<f32> {
        let insert = edits.iter().fold(Insert::new(sae, keep).unwrap(), |all, edit| all.edit(edit.clone()).unwrap());
        let x = Tensor::<f32, 2>::from_vec(x.to_vec(), [x.len() / 4, 4], &Device::Host).unwrap();
        insert.apply(x.view(), &vec![0; x.dims()[0]]).unwrap().to_vec().unwrap()
    }

    #[test]
    fn edits_by_hand() {
        let (sae, x) = (axes(Rows::AsTheyAre), [3.0, 2.0, 1.0, 7.0]);
        let apply = |keep, edits: &[Edit]| applied(&sae, keep, edits, &x);
        assert_eq!(apply(Keep::Reconstruction, &[]), [3.0, 2.0, 0.0, 0.5]);
        assert_eq!(apply(Keep::Error, &[]), x);
        // The third is not active: to make it 0 is to do nothing.
        assert_eq!(apply(Keep::Reconstruction, &[Edit::Zero(vec![2, 0, 0])]), [0.0, 2.0, 0.0, 0.5]);
        assert_eq!(apply(Keep::Error, &[Edit::Zero(vec![0, 2])]), [0.0, 2.0, 1.0, 7.0]);
        assert_eq!(apply(Keep::Reconstruction, &[Edit::Set(vec![(2, 5.0), (0, 1.0)])]), [1.0, 2.0, 5.0, 0.5]);
        assert_eq!(apply(Keep::Error, &[Edit::Set(vec![(2, 5.0)])]), [3.0, 2.0, 6.0, 7.0]);
        assert_eq!(apply(Keep::Error, &[Edit::Scale(vec![1, 2], 3.0)]), [3.0, 6.0, 1.0, 7.0]);
        assert_eq!(apply(Keep::Error, &[Edit::Add(vec![(1, 1.0), (2, -1.0)])]), [3.0, 3.0, 0.0, 7.0]);
        // In order: what was zeroed is then added to.
        let edits = [Edit::Zero(vec![0]), Edit::Add(vec![(0, 0.25)])];
        assert_eq!(apply(Keep::Reconstruction, &edits), [0.25, 2.0, 0.0, 0.5]);
    }

    /// Each context has its own edits, and those of all.
    #[test]
    fn contexts_by_hand() {
        let sae = axes(Rows::AsTheyAre);
        let insert = Insert::new(&sae, Keep::Error).unwrap().edit(Edit::Scale(vec![1], 2.0)).unwrap();
        let insert = insert.edit_in(1, Edit::Zero(vec![0])).unwrap().edit_in(7, Edit::Zero(vec![1])).unwrap();
        let x = Tensor::<f32, 2>::from_vec([3.0, 2.0, 1.0, 7.0].repeat(3), [3, 4], &Device::Host).unwrap();
        let got = insert.apply(x.view(), &[1, 0, 7]).unwrap().to_vec().unwrap();
        assert_eq!(got, [0.0, 4.0, 1.0, 7.0, 3.0, 4.0, 1.0, 7.0, 3.0, 0.0, 1.0, 7.0]);
    }

    /// Values of scaled rows are in the units of these: to add 1 adds as much as the row's scale.
    #[test]
    fn scaled_rows() {
        let (sae, x) =
            (Sae { b_dec: Tensor::zeros([4], &Device::Host).unwrap(), ..axes(Rows::Length) }, [6.0, 0.0, 0.0, 0.0]);
        assert_eq!(applied(&sae, Keep::Error, &[Edit::Add(vec![(1, 1.0)])], &x), [6.0, 3.0, 0.0, 0.0]);
        assert_eq!(applied(&sae, Keep::Reconstruction, &[Edit::Zero(vec![0])], &x), [0.0; 4]);
    }

    #[test]
    fn only_the_rows_that_are_meant() {
        let mut x = Tensor::<f32, 2>::from_vec((0..10).map(|x| x as f32).collect(), [5, 2], &Device::Host).unwrap();
        replace(&mut x, &[0, 2, 3], |rows| {
            assert_eq!(rows.dims(), [3, 2]);
            let more = crate::sae::on_host(rows)?.iter().map(|x| 10.0 * x).collect();
            Ok(Tensor::from_vec(more, [3, 2], &Device::Host)?)
        })
        .unwrap();
        assert_eq!(x.to_vec().unwrap(), [0.0, 10.0, 2.0, 3.0, 40.0, 50.0, 60.0, 70.0, 8.0, 9.0]);
        replace(&mut x, &[], |_| panic!("there are none")).unwrap();
    }

    #[test]
    fn wrong_edits_are_errors() {
        let sae = axes(Rows::AsTheyAre);
        let said = |edit| Insert::new(&sae, Keep::Error).unwrap().edit(edit).err().unwrap().to_string();
        assert!(said(Edit::Zero(vec![3])).contains("latent 3 is not one of the 3"));
        assert!(said(Edit::Set(vec![(1, f32::NAN)])).contains("not finite"));
        assert!(said(Edit::Scale(vec![1], f32::INFINITY)).contains("not finite"));
        assert!(Insert::new(&Sae { predicts: true, ..axes(Rows::AsTheyAre) }, Keep::Error).is_err());
        let narrow = Tensor::<f32, 2>::zeros([1, 3], &Device::Host).unwrap();
        let insert = Insert::new(&sae, Keep::Error).unwrap();
        assert!(insert.apply(narrow.view(), &[0]).is_err() && insert.apply(narrow.view(), &[]).is_err());
    }
}
