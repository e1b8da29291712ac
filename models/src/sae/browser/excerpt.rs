use super::firing::Firing;
use crate::sae::Contexts;

/// A part of a context, around a token on which a latent fires.
#[derive(Clone, Debug, PartialEq)]
pub struct Excerpt {
    /// Which context.
    pub context: usize,
    /// The place in it that the excerpt begins at.
    pub start: usize,
    /// Its tokens.
    pub tokens: Vec<u32>,
    /// The latent's value on each of them; 0 on the first [`Contexts::SKIPPED`] of a context.
    pub values: Vec<f32>,
    /// Which of them it is about, counted from the first of the excerpt.
    pub at: usize,
}

impl Excerpt {
    /// Tokens before the one it is about, and behind it, where the context has as many.
    pub const AROUND: [usize; 2] = [12, 8];

    /// The excerpt around `row`. `firings` are those of one latent, by row, and hold all that lie within the excerpt.
    pub(in crate::sae) fn new(contexts: &Contexts, row: u32, firings: &[Firing]) -> Self {
        let [before, behind] = Self::AROUND;
        let (context, place) = contexts.token(row as usize);
        let (start, end) = (place.saturating_sub(before), contexts.length.min(place + behind + 1));
        let value = |at: usize| {
            // Rows of a context follow one another; its first tokens have none.
            let row = (at >= Contexts::SKIPPED).then(|| (row as usize + at - place) as u32)?;
            firings.binary_search_by_key(&row, |firing| firing.row).ok().map(|found| firings[found].value)
        };
        Self {
            context,
            start,
            tokens: contexts.ids[context * contexts.length..][start..end].to_vec(),
            values: (start..end).map(|at| value(at).unwrap_or(0.0)).collect(),
            at: place - start,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cut_at_the_ends_of_a_context() {
        // Three contexts of 30 tokens, of which 28 have rows.
        let contexts = Contexts { ids: (0..90).collect(), length: 30 };
        let fires = |row, value| Firing { latent: 0, row, value };
        let all = [fires(27, 9.0), fires(28, 1.0), fires(29, 2.0), fires(37, 3.0), fires(38, 4.0), fires(56, 8.0)];
        // Row 29 is token 3 of context 1.
        let first = Excerpt::new(&contexts, 29, &all);
        assert_eq!((first.context, first.start, first.at), (1, 0, 3));
        assert_eq!(first.tokens, (30..42).collect::<Vec<_>>());
        assert_eq!(first.values, [0.0, 0.0, 1.0, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 3.0]);
        // Row 55 is the last token of context 1.
        let last = Excerpt::new(&contexts, 55, &all);
        assert_eq!((last.context, last.start, last.at), (1, 17, 12));
        assert_eq!(last.tokens, (47..60).collect::<Vec<_>>());
        assert_eq!(last.values, [0.0; 13]);
        let middle = Excerpt::new(&contexts, 42, &all);
        assert_eq!((middle.start, middle.at, middle.tokens.len()), (4, 12, 21));
        assert_eq!(middle.values[7..9], [3.0, 4.0]);
    }
}
