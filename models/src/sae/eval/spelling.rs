use super::{Absorption, Letters, Pooled, Words, absorption};
use crate::io::{Error, Result};
use crate::lm::{Hooks, LanguageModel, Site};
use crate::sae::{Contexts, Sae, buffer::shuffled};
use crate::{Philox, Tensor, copy_into};

/// A word that is one token, a space before it included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// Its token.
    pub id: u32,
    /// Its letters.
    pub text: String,
}

impl Word {
    /// Its first letter, in lower case.
    pub fn letter(&self) -> char {
        self.text.chars().next().map_or(' ', |letter| letter.to_ascii_lowercase())
    }
}

/// All tokens that are a space and then letters of English only, by rising id.
pub fn words(lm: &LanguageModel) -> Vec<Word> {
    let word = |id: u32| {
        let letters = lm.tokenizer.bytes(id).strip_prefix(b" ")?;
        let plain = !letters.is_empty() && letters.iter().all(u8::is_ascii_alphabetic);
        plain.then(|| Word { id, text: letters.iter().copied().map(char::from).collect() })
    };
    (0..lm.tokenizer.len() as u32).filter_map(word).collect()
}

/// How many words are read, and after which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spelling {
    /// Words to fit on, and to judge by.
    pub words: [usize; 2],
    /// Words spelled before each.
    pub examples: usize,
    /// Names the words, and the examples of each.
    pub seed: u64,
}

impl Default for Spelling {
    fn default() -> Self {
        Self { words: [4000, 1000], examples: 10, seed: 0 }
    }
}

/// First-letter absorption: read words at the end of prompts that ask for their first letters and show how, `" cat has the first letter: C"`
/// in lines, and judge every letter. The question behind the word itself is left out, for a causal model reads the word before it.
/// Examples are drawn from the words to fit on. `tell` hears how many words are read at a time.
///
/// # Errors
/// Fewer words in the vocabulary than asked for, a tokenizer that splits a letter, and errors of the model.
pub fn first_letters(
    lm: &LanguageModel,
    site: Site,
    sae: &Sae,
    spelling: Spelling,
    which: Letters,
    mut tell: impl FnMut(usize),
) -> Result<Absorption> {
    let (all, [fitted, judged]) = (words(lm), spelling.words);
    if fitted <= spelling.examples || fitted.saturating_add(judged) > all.len() {
        let what = format!(
            "{fitted} to fit on and {judged} to judge by: the vocabulary has {}, and examples are {} of those to fit on",
            all.len(),
            spelling.examples
        );
        return Err(Error::setting("words", what));
    }
    let order = shuffled(all.len(), spelling.seed, 0);
    let drawn: Vec<&Word> = order.iter().take(fitted + judged).map(|&at| &all[at as usize]).collect();
    let (train, test) = drawn.split_at(fitted);
    let prompts = Prompts::new(lm, train, spelling)?;
    let [first, second] = [train, test].map(|part| prompts.read(lm, site, sae, part, &mut tell));
    let (first, second) = (first?, second?);
    let [own, held] = [train, test].map(|part| part.iter().map(|word| word.letter()).collect::<Vec<_>>());
    let (train, test) = (Words { tokens: &first, letters: &own }, Words { tokens: &second, letters: &held });
    absorption(sae, train, test, which, |_| ())
}

/// What prompts are made of.
struct Prompts<'a> {
    begin: Vec<u32>,
    question: Vec<u32>,
    /// The answer and the end of the line, for each letter.
    answers: Vec<Vec<u32>>,
    words: &'a [&'a Word],
    spelling: Spelling,
}

impl<'a> Prompts<'a> {
    fn new(lm: &LanguageModel, words: &'a [&'a Word], spelling: Spelling) -> Result<Self> {
        let plain = |text: &str| -> Result<Vec<u32>> {
            let mut ids = lm.tokenizer.encode(text)?;
            if lm.tokenizer.begin().is_some() && ids.first().copied() == lm.tokenizer.begin() {
                ids.remove(0);
            }
            Ok(ids)
        };
        let answers = ('A'..='Z').map(|letter| plain(&format!(" {letter}\n"))).collect::<Result<Vec<_>>>()?;
        if let Some(other) = answers.iter().find(|ids| ids.len() != answers[0].len()) {
            let what =
                format!("answers of {} and of {} tokens: prompts are of one length", answers[0].len(), other.len());
            return Err(Error::setting("tokenizer", what));
        }
        let begin = lm.tokenizer.begin().into_iter().collect();
        Ok(Self { begin, question: plain(" has the first letter:")?, answers, words, spelling })
    }

    /// The prompt that ends with this word.
    fn prompt(&self, word: &Word) -> Vec<u32> {
        // Each word has its own examples, whatever is read before it.
        let mut draw = Philox::new(self.spelling.seed ^ (u64::from(word.id) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let (mut ids, mut shown) = (self.begin.clone(), Vec::new());
        while shown.len() < self.spelling.examples {
            let example = self.words[draw.below(self.words.len() as u32) as usize];
            if example.id == word.id || shown.contains(&example.id) {
                continue;
            }
            shown.push(example.id);
            let answer = &self.answers[example.letter() as usize - 'a' as usize];
            ids.extend([example.id].iter().chain(&self.question).chain(answer));
        }
        ids.push(word.id);
        ids
    }

    /// The activations at the last tokens of prompts.
    fn read(
        &self,
        lm: &LanguageModel,
        site: Site,
        sae: &Sae,
        words: &[&Word],
        tell: &mut impl FnMut(usize),
    ) -> Result<Pooled> {
        const BATCH: usize = 8;
        let (mut pooled, bias) = (Pooled::new(sae), sae.bias()?);
        for batch in words.chunks(BATCH) {
            let ids: Vec<u32> = batch.iter().flat_map(|word| self.prompt(word)).collect();
            let length = ids.len() / batch.len();
            if length <= Contexts::SKIPPED {
                let what =
                    format!("{}: the word is among the first {} tokens", self.spelling.examples, Contexts::SKIPPED);
                return Err(Error::setting("examples", what));
            }
            let x = lm.model.activations(&lm.model.ids(ids, batch.len())?, site, &mut Hooks::new())?;
            let mut rows = Tensor::empty([batch.len(), x.dims()[1]], &x.device())?;
            for at in 0..batch.len() {
                let from = (at + 1) * length - 1;
                copy_into(x.view().narrow(0, from, from + 1)?, rows.view_mut().narrow(0, at, at + 1)?)?;
            }
            pooled.push(sae, &bias, rows.view(), &vec![1; batch.len()])?;
            tell(batch.len());
        }
        Ok(pooled)
    }
}
