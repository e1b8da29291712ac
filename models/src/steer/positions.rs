use crate::lm::Span;
use crate::sae::Contexts;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Where in a context something is done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Positions {
    /// Everywhere.
    #[default]
    All,
    /// At the tokens that are given.
    Prompt,
    /// At the tokens that the model adds.
    Generated,
    /// At the last token that there is when the model chooses the next: the last given, and then each that it adds.
    Last,
    /// At these, counted from 0.
    Chosen(Vec<usize>),
}

/// Finds the rows of [`Positions`] as a model goes on. What it is shown of a context first, or from position 0 on, counts as given.
#[derive(Clone, Debug, Default)]
pub struct Places {
    positions: Positions,
    skip: usize,
    /// Tokens given of each context.
    given: BTreeMap<usize, usize>,
}

/// A row at which something is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Which row.
    pub row: usize,
    /// Of which context.
    pub context: usize,
    /// Which token after those given: 0 for these, 1 for the first that the model added.
    pub age: usize,
}

impl Places {
    /// All of `positions` but the first [`Contexts::SKIPPED`], on whose activations no autoencoder is trained and attention rests.
    pub fn new(positions: Positions) -> Self {
        Self { positions, skip: Contexts::SKIPPED, given: BTreeMap::new() }
    }

    /// Leave out the first `skip` positions instead.
    #[must_use]
    pub fn skipping(self, skip: usize) -> Self {
        Self { skip, ..self }
    }

    /// Those among the rows of these spans, in rising order.
    pub fn among(&mut self, spans: &[Span]) -> Vec<Place> {
        let mut all = Vec::new();
        for span in spans {
            if span.from == 0 {
                self.given.remove(&span.context);
            }
            let given = *self.given.entry(span.context).or_insert(span.end());
            for (row, position) in span.rows.clone().zip(span.from..) {
                let wanted = match &self.positions {
                    Positions::All => true,
                    Positions::Prompt => position < given,
                    Positions::Generated => position >= given,
                    Positions::Last => position + 1 == span.end(),
                    Positions::Chosen(chosen) => chosen.contains(&position),
                };
                if wanted && position >= self.skip {
                    all.push(Place { row, context: span.context, age: (position + 1).saturating_sub(given) });
                }
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two contexts of 4 and 6 tokens are given; then each gets one more, twice.
    #[test]
    fn rows_of_positions() {
        let shown = [
            vec![Span { context: 0, rows: 0..4, from: 0 }, Span { context: 1, rows: 4..10, from: 0 }],
            vec![Span { context: 0, rows: 0..1, from: 4 }, Span { context: 1, rows: 1..2, from: 6 }],
            vec![Span { context: 1, rows: 0..1, from: 7 }],
        ];
        let rows = |positions: Positions, skip| {
            let mut places = Places::new(positions).skipping(skip);
            shown.each_ref().map(|spans| places.among(spans).iter().map(|at| (at.row, at.age)).collect::<Vec<_>>())
        };
        let given = |of: &[usize]| of.iter().map(|&row| (row, 0)).collect::<Vec<_>>();
        let added = [vec![(0, 1), (1, 1)], vec![(0, 2)]];
        let [first, second] = added.clone();
        assert_eq!(rows(Positions::All, 2), [given(&[2, 3, 6, 7, 8, 9]), first.clone(), second.clone()]);
        assert_eq!(rows(Positions::Prompt, 3), [given(&[3, 7, 8, 9]), vec![], vec![]]);
        assert_eq!(rows(Positions::Generated, 0), [vec![], first.clone(), second.clone()]);
        assert_eq!(rows(Positions::Last, 0), [given(&[3, 9]), first, second]);
        assert_eq!(rows(Positions::Chosen(vec![0, 3, 6]), 2), [given(&[3, 7]), vec![(1, 1)], vec![]]);
        // The last given tokens of prompts that were begun before, and what is added.
        let mut places = Places::new(Positions::Last);
        let ages = [5..6, 6..7, 7..8].map(|at| places.among(&[Span { context: 3, rows: 0..1, from: at.start }])[0].age);
        assert_eq!(ages, [0, 1, 2]);
    }
}
