use std::ops::Range;

/// Rows of one context in a batch: new tokens, one after another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Which context.
    pub context: usize,
    /// Its rows among all.
    pub rows: Range<usize>,
    /// The position of the first of them: how many tokens of the context came before.
    pub from: usize,
}

impl Span {
    /// `batch` contexts with `t` new tokens each, after `from` others.
    pub(super) fn even([batch, t]: [usize; 2], from: usize) -> Vec<Self> {
        (0..batch).map(|context| Self { context, rows: context * t..(context + 1) * t, from }).collect()
    }

    /// Contexts with so many new tokens each, after those that `from` tells; without those that have none.
    pub(super) fn each(counts: impl IntoIterator<Item = usize>, from: impl Fn(usize) -> usize) -> Vec<Self> {
        let mut start = 0;
        let spans = counts.into_iter().enumerate().map(|(context, count)| {
            start += count;
            Self { context, rows: start - count..start, from: from(context) }
        });
        spans.filter(|span| !span.rows.is_empty()).collect()
    }

    /// Tokens of the context up to the end of these.
    pub fn end(&self) -> usize {
        self.from + self.rows.len()
    }
}

/// Contexts side by side that are as long, and new from the same position on: what attention takes at once.
pub(super) struct Group {
    pub contexts: Range<usize>,
    pub rows: Range<usize>,
    /// New tokens of each.
    pub t: usize,
    /// The position of the first.
    pub from: usize,
}

impl Group {
    /// These spans, as few groups as there can be.
    pub fn all(spans: &[Span]) -> Vec<Self> {
        let mut groups: Vec<Self> = Vec::new();
        for Span { context, rows, from } in spans {
            match groups.last_mut() {
                Some(last) if (last.t, last.from, last.contexts.end) == (rows.len(), *from, *context) => {
                    (last.contexts.end, last.rows.end) = (context + 1, rows.end);
                }
                _ => groups.push(Self {
                    contexts: *context..context + 1,
                    rows: rows.clone(),
                    t: rows.len(),
                    from: *from,
                }),
            }
        }
        groups
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_that_are_alike_are_a_group() {
        let spans = Span::each([2, 0, 3, 3, 1], |context| if context == 3 { 0 } else { context });
        let all: Vec<_> = spans.iter().map(|span| (span.context, span.rows.clone(), span.from)).collect();
        assert_eq!(all, [(0, 0..2, 0), (2, 2..5, 2), (3, 5..8, 0), (4, 8..9, 4)]);
        assert_eq!(Group::all(&spans).len(), 4);
        let [group] = &Group::all(&Span::even([3, 2], 5))[..] else { panic!("one group") };
        assert_eq!((group.contexts.clone(), group.rows.clone(), group.t, group.from), (0..3, 0..6, 2, 5));
        // One that is missing parts its neighbours, for its keys lie between theirs.
        assert_eq!(Group::all(&Span::each([1, 0, 1], |_| 4)).len(), 2);
        assert_eq!(Group::all(&Span::even([0, 3], 0)).len(), 0);
    }
}
