use super::{Contexts, Exclude};
use crate::io::{Error, Result};
use crate::lm::{Decoder, Hooks, Site};
use crate::{Tensor, gather_rows_into};
use std::cell::RefCell;
use std::ops::Range;

/// Contexts that the model reads at once.
const BATCH: usize = 8;

/// Contexts, and which of their tokens have a row: those that are not [left out](Exclude), in their order.
#[derive(Clone, Debug)]
pub struct Kept<'a> {
    contexts: &'a Contexts,
    exclude: Exclude,
    /// Rows before each context, and at last all.
    before: Vec<usize>,
}

impl<'a> Kept<'a> {
    /// Those of `contexts`, whose tokens are numbers below `vocabulary`.
    ///
    /// # Errors
    /// [`Error::Setting`] for an exclusion that has no meaning here, or leaves nothing.
    pub fn new(contexts: &'a Contexts, exclude: &Exclude, vocabulary: usize) -> Result<Self> {
        exclude.check(contexts.length, vocabulary)?;
        let kept = Self::of(contexts, exclude.clone().sorted());
        if kept.rows() == 0 {
            let what = format!("{exclude} of {} contexts, which leaves nothing", contexts.len());
            return Err(Error::setting("exclude", what));
        }
        Ok(kept)
    }

    /// What is kept where nothing else is said.
    pub(super) fn usual(contexts: &'a Contexts) -> Self {
        Self::of(contexts, Exclude::default())
    }

    fn of(contexts: &'a Contexts, exclude: Exclude) -> Self {
        let mut kept = Self { contexts, exclude, before: vec![0] };
        let mut rows = 0;
        for context in 0..contexts.len() {
            rows += kept.places(context).count();
            kept.before.push(rows);
        }
        kept
    }

    /// What the tokens are of.
    pub fn contexts(&self) -> &'a Contexts {
        self.contexts
    }

    /// What is left out. Numbers of tokens rise.
    pub fn exclude(&self) -> &Exclude {
        &self.exclude
    }

    /// Rows that are left without a look at [lengths](Exclude::longest).
    pub fn rows(&self) -> usize {
        self.before[self.contexts.len()]
    }

    /// The context of row `row`, and the token's place in it.
    pub fn token(&self, row: usize) -> Option<(usize, usize)> {
        let context = self.before.partition_point(|&before| before <= row) - 1;
        (context < self.contexts.len())
            .then(|| self.places(context).nth(row - self.before[context]))
            .flatten()
            .map(|place| (context, place))
    }

    /// What the rows are of, for [`Config::data`](super::Config::data).
    pub fn data(&self) -> String {
        let all = format!("contexts {}", self.contexts.sha256());
        match self.is_usual() {
            true => all,
            false => format!("{all} without {}", self.exclude),
        }
    }

    /// Whether only the first [`Contexts::SKIPPED`] tokens of contexts are left out.
    pub(super) fn is_usual(&self) -> bool {
        self.exclude == Exclude::default()
    }

    /// That rows are known before the model runs.
    ///
    /// # Errors
    /// [`Error::Setting`] if their lengths decide.
    pub(super) fn known(&self) -> Result<()> {
        match self.exclude.longest {
            None => Ok(()),
            Some(longest) => {
                let what = format!(
                    "{longest} medians, but lengths are known only once the model has run: write the activations to a \
                     folder first, with Shards::write_kept or the program's --activations"
                );
                Err(Error::setting("exclude.longest", what))
            }
        }
    }

    /// Rows of these contexts.
    pub(super) fn of_contexts(&self, contexts: Range<usize>) -> Range<usize> {
        self.before[contexts.start]..self.before[contexts.end]
    }

    /// The contexts of these rows.
    pub(super) fn contexts_of(&self, rows: Range<usize>) -> Range<usize> {
        let of = |row: usize| self.before.partition_point(|&before| before <= row) - 1;
        if rows.is_empty() { 0..0 } else { of(rows.start)..of(rows.end - 1) + 1 }
    }

    /// Places of a context that are kept.
    fn places(&self, context: usize) -> impl Iterator<Item = usize> + '_ {
        let ids = &self.contexts.ids[context * self.contexts.length..][..self.contexts.length];
        ids.iter().enumerate().filter(|&(place, &id)| !self.exclude.has(place, id)).map(|(place, _)| place)
    }

    /// What the model reads at once, for rows of `contexts`: some contexts, and those of them whose rows are wanted. The last bits of a row
    /// may depend on how many are read with it. So where it is chosen what is kept, these are the same for a file as for a filling,
    /// wherever they begin.
    fn batches(&self, contexts: Range<usize>) -> impl Iterator<Item = [Range<usize>; 2]> {
        let all = match self.is_usual() {
            true => contexts.clone(),
            false => contexts.start / BATCH * BATCH..self.contexts.len().min(contexts.end.next_multiple_of(BATCH)),
        };
        all.clone().step_by(BATCH).map(move |first| {
            let read = first..all.end.min(first + BATCH);
            let wanted = first.max(contexts.start)..read.end.min(contexts.end);
            [read, wanted]
        })
    }

    /// Where the rows of `wanted` contexts lie among all tokens from the context `first` on.
    fn rows_of(&self, first: usize, wanted: Range<usize>) -> Vec<usize> {
        let length = self.contexts.length;
        wanted.flat_map(|context| self.places(context).map(move |place| (context - first) * length + place)).collect()
    }

    /// Contexts as the model takes them.
    fn ids(&self, model: &Decoder, contexts: Range<usize>) -> Result<Tensor<u32, 2>> {
        let length = self.contexts.length;
        model.ids(self.contexts.ids[contexts.start * length..contexts.end * length].to_vec(), contexts.len())
    }

    /// Write the activations at `site` of rows `start..` to `rows`, as far as there are any, and `tell` how many at a time.
    ///
    /// # Errors
    /// Those of the model; [`Error::Setting`] if [lengths](Exclude::longest) decide.
    pub fn activations(
        &self,
        model: &Decoder,
        site: Site,
        start: usize,
        rows: &mut Tensor<f32, 2>,
        mut tell: impl FnMut(usize),
    ) -> Result<()> {
        self.known()?;
        let end = self.rows().min(start.saturating_add(rows.dims()[0]));
        for [read, some] in self.batches(self.contexts_of(start..end)) {
            let there = self.of_contexts(some.clone());
            let wanted = there.start.max(start)..there.end.min(end);
            if wanted.is_empty() {
                continue;
            }
            let order = self.rows_of(read.start, some)[wanted.start - there.start..wanted.end - there.start].to_vec();
            let order = order.into_iter().map(|row| row as u32).collect();
            let x = model.activations(&self.ids(model, read)?, site, &mut Hooks::new())?;
            let order = Tensor::from_vec(order, [wanted.len()], &x.device())?;
            let to = rows.view_mut().narrow(0, wanted.start - start, wanted.end - start)?;
            gather_rows_into(x.view(), order.view(), to)?;
            tell(wanted.len());
        }
        Ok(())
    }

    /// The rows of `contexts` at several places in one pass, on the host; `tell` how many at a time. No look at lengths.
    pub(super) fn all_sites(
        &self,
        model: &Decoder,
        contexts: Range<usize>,
        sites: &[Site],
        tell: &mut impl FnMut(usize),
    ) -> Result<Vec<Vec<f32>>> {
        let Some(&last) = sites.iter().max() else { return Ok(Vec::new()) };
        let d = model.config().dim;
        let all: Vec<RefCell<Vec<f32>>> = sites.iter().map(|_| RefCell::default()).collect();
        for [read, some] in self.batches(contexts) {
            let rows = self.rows_of(read.start, some);
            if rows.is_empty() {
                continue;
            }
            let mut hooks = Hooks::new();
            for (&site, to) in sites.iter().zip(&all) {
                let rows = &rows;
                hooks = hooks.at(site, move |x| {
                    let (x, mut to) = (x.to_vec()?, to.borrow_mut());
                    rows.iter().for_each(|row| to.extend_from_slice(&x[row * d..][..d]));
                    Ok(())
                });
            }
            model.activations(&self.ids(model, read)?, last, &mut hooks)?;
            drop(hooks);
            tell(rows.len());
        }
        Ok(all.into_iter().map(RefCell::into_inner).collect())
    }
}
