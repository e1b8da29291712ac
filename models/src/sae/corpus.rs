use super::Kept;
use crate::Tensor;
use crate::io::{Error, Result};
use crate::lm::{Decoder, LanguageModel, Site};
use rayon::prelude::*;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Contexts of equal length, one after another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contexts {
    /// Their tokens.
    pub ids: Vec<u32>,
    /// Tokens of each.
    pub length: usize,
}

/// Text cut into contexts, some of it held out.
#[derive(Clone, Debug)]
pub struct Corpus {
    /// To train on, in random order.
    pub train: Contexts,
    /// To judge by: from every tenth document (of a single one: its last tenth).
    pub held: Contexts,
}

impl Corpus {
    /// Read `path`, a text file or a folder of `.txt` files, and draw as many contexts of `length` tokens as asked for.
    /// Contexts lie within one document; what is left at its end is not used. Each begins with the tokenizer's token for
    /// the beginning of a text, if it has one.
    ///
    /// # Errors
    /// A file that cannot be read or is not UTF-8, too little text, or contexts of no more than [`Contexts::SKIPPED`] tokens.
    pub fn read(lm: &LanguageModel, path: &Path, length: usize, [train, held]: [usize; 2], seed: u64) -> Result<Self> {
        Self::cut(lm, &documents(path)?, &path.display().to_string(), length, [train, held], seed)
    }

    /// [`read`](Self::read) of documents that are at hand.
    ///
    /// # Errors
    /// As there, but for files.
    pub fn of(lm: &LanguageModel, documents: &[String], length: usize, counts: [usize; 2], seed: u64) -> Result<Self> {
        Self::cut(lm, documents, "the text", length, counts, seed)
    }

    fn cut(
        lm: &LanguageModel,
        documents: &[String],
        name: &str,
        length: usize,
        [train, held]: [usize; 2],
        seed: u64,
    ) -> Result<Self> {
        if length <= Contexts::SKIPPED {
            return Err(Error::setting(
                "length",
                format!("{length} tokens, of which the first {} are left out", Contexts::SKIPPED),
            ));
        }
        let ids = documents.par_iter().map(|text| lm.tokenizer.encode(text)).collect::<Result<Vec<_>>>()?;
        let begin = lm.tokenizer.begin();
        let words = length.saturating_sub(usize::from(begin.is_some())).max(1);
        let whole = |ids: &[u32]| -> Vec<Vec<u32>> {
            let ids = if begin.is_some() && ids.first().copied() == begin { &ids[1..] } else { ids };
            ids.chunks_exact(words).map(|words| begin.iter().chain(words).copied().collect()).collect()
        };
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        if let [only] = &ids[..] {
            ours = whole(only);
            theirs = ours.split_off(ours.len() - ours.len() / 10);
        } else {
            for (at, document) in ids.iter().enumerate() {
                if at % 10 == 9 { &mut theirs } else { &mut ours }.extend(whole(document));
            }
        }
        let draw = |from: Vec<Vec<u32>>, of: &str, count: usize, turn| {
            if from.len() < count {
                let what = format!("{name} holds {} contexts {of} of the {count} asked for", from.len());
                return Err(Error::setting("tokens", what));
            }
            let order = super::buffer::shuffled(from.len(), seed, turn);
            let ids = order.into_iter().take(count).flat_map(|at| from[at as usize].iter().copied()).collect();
            Ok(Contexts { ids, length })
        };
        Ok(Self {
            train: draw(ours, "to train on", train, u64::MAX - 1)?,
            held: draw(theirs, "to hold out", held, u64::MAX - 2)?,
        })
    }
}

fn documents(path: &Path) -> Result<Vec<String>> {
    let mut files = vec![path.to_owned()];
    if path.is_dir() {
        let entries = fs::read_dir(path).map_err(Error::system(path, "read"))?;
        let entries = entries.map(|entry| entry.map(|entry| entry.path()));
        files = entries.collect::<std::io::Result<_>>().map_err(Error::system(path, "read"))?;
        files.retain(|path| text(path));
        files.sort();
    }
    if files.is_empty() {
        return Err(Error::content(path, "holds no .txt files"));
    }
    let read = |path: &PathBuf| {
        let bytes = fs::read(path).map_err(Error::system(path, "read"))?;
        String::from_utf8(bytes).map_err(|error| Error::content(path, format!("is not UTF-8: {error}")))
    };
    files.iter().map(read).collect()
}

fn text(path: &Path) -> bool {
    path.extension().is_some_and(|end| end == "txt")
}

impl Contexts {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.ids.len().checked_div(self.length).unwrap_or(0)
    }

    /// SHA-256 of their length and their tokens, in hexadecimal.
    pub fn sha256(&self) -> String {
        let numbers = [self.length as u64].into_iter().chain(self.ids.iter().map(|&id| id.into()));
        crate::io::sha256(&[&numbers.flat_map(u64::to_le_bytes).collect::<Vec<u8>>()])
    }

    /// Those that the rows from `start` on belong to.
    pub fn from_row(&self, start: usize) -> Self {
        let first = self.token(start).0 * self.length;
        Self { ids: self.ids[first.min(self.ids.len())..].to_vec(), length: self.length }
    }

    /// `count` of them, those of this turn: from the first on, and from there again where there are no more so many. Of fewer than `count` all.
    pub fn turn(&self, turn: usize, count: usize) -> Self {
        let count = count.min(self.len());
        let turns = self.len().checked_div(count).unwrap_or(0);
        let first = turn.checked_rem(turns).unwrap_or(0) * count * self.length;
        Self { ids: self.ids[first..first + count * self.length].to_vec(), length: self.length }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Tokens at the beginning of a context whose activations are left out. Attention rests on the first when it has
    /// nothing to look at, and on the second too where that is a rare word: such an activation is a hundred times as long
    /// as the others and says nothing, but one in a thousand is most of the variance. [`Exclude`](super::Exclude) leaves
    /// out others.
    pub const SKIPPED: usize = 2;

    /// Activations that they give: one for each token of a context but the first [`SKIPPED`](Self::SKIPPED).
    pub fn rows(&self) -> usize {
        self.len() * self.width()
    }

    /// Those of one context.
    pub(super) fn width(&self) -> usize {
        self.length.saturating_sub(Self::SKIPPED)
    }

    /// The token of row `row`, and its place in its context.
    pub fn token(&self, row: usize) -> (usize, usize) {
        (row / self.width(), row % self.width() + Self::SKIPPED)
    }

    /// Write the activations at `site` of rows `start..` to `rows`, as far as there are any, and `tell` how many at a
    /// time.
    ///
    /// # Errors
    /// Those of the model.
    pub fn activations(
        &self,
        model: &Decoder,
        site: Site,
        start: usize,
        rows: &mut Tensor<f32, 2>,
        tell: impl FnMut(usize),
    ) -> Result<()> {
        Kept::usual(self).activations(model, site, start, rows, tell)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Text that is none would be other text: it is refused, and the file is named.
    #[test]
    fn documents_are_utf8() {
        let folder = std::env::temp_dir().join(format!("latens-corpus-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("a.txt"), "plain, and ö").unwrap();
        fs::write(folder.join("b.txt"), [b'c', 0xff]).unwrap();
        assert_eq!(documents(&folder.join("a.txt")).unwrap(), ["plain, and ö"]);
        let said = documents(&folder).unwrap_err().to_string();
        fs::remove_dir_all(&folder).unwrap();
        assert!(said.contains("b.txt") && said.contains("not UTF-8"), "{said}");
    }
}
