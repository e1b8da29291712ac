//! Judges that never saw the texts that vectors are made of.
use crate::concepts::Concept;
use crate::shared::{Outcome, ones};
use latens::assets::MINILM;
use latens::lm::bert::{Pooling, TextEncoder};
use latens::sae::eval::{Fit, Inputs, Probe, SparseRows};
use latens::steer::Grader;
use latens::steer::statistics::{Interval, bootstrap};
use latens::{Device, Tensor};

/// Says whether a text shows a concept.
pub enum Judge {
    /// By a rule.
    Rule(Grader),
    /// By its words and pairs of words.
    Words(Probe),
    /// By its embedding.
    Meaning(Probe),
}

/// What embeds texts, for judges and for what texts are about.
pub struct Meanings(TextEncoder);

/// Places that words are counted at.
const PLACES: u32 = 1 << 14;

impl Meanings {
    pub fn open(device: &Device) -> Outcome<Self> {
        Ok(Self(TextEncoder::open(&MINILM.locate(None)?, device)?))
    }

    /// A row for each, of length 1.
    pub fn of(&self, texts: &[String]) -> Outcome<Vec<Vec<f32>>> {
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let rows: Tensor<f32, 2> = self.0.embed(&texts, Pooling::Mean)?;
        let width = rows.dims()[1].max(1);
        let unit = |row: &[f32]| {
            let length = row.iter().map(|x| x * x).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
            row.iter().map(|x| x / length).collect()
        };
        Ok(rows.to_vec()?.chunks_exact(width).map(unit).collect())
    }
}

/// What two texts have in common, by the angle of their embeddings.
pub fn cosine(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

/// Texts by how often they have which words and pairs of words, as shares.
fn words(texts: &[String]) -> SparseRows {
    let mut rows = SparseRows::new(PLACES as usize);
    for text in texts {
        let words: Vec<String> =
            text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_lowercase).collect();
        let pairs = words.windows(2).map(|pair| pair.join(" "));
        let entries: Vec<(u32, f32)> = words.iter().cloned().chain(pairs).map(|word| (place(&word), 1.0)).collect();
        rows.push(entries, (words.len().max(1) as f64).sqrt());
    }
    rows
}

/// The first sentence, and all where none ends.
fn sentence(text: &str) -> &str {
    text.split_inclusive(['.', '!', '?']).next().unwrap_or(text)
}

/// FNV-1a.
fn place(word: &str) -> u32 {
    let hash = word.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    hash % PLACES
}

impl Judge {
    /// The concept's own rule, or whichever of the two classifiers tells more of some texts right; with the share of others that it tells right.
    /// `texts` are the concept's that are for this, with whether they show it.
    pub fn of(
        concept: &Concept,
        texts: &[(String, bool)],
        meanings: &Meanings,
        seed: u64,
    ) -> Outcome<(Self, Interval)> {
        let (fit, rest) = texts.split_at(texts.len() * 6 / 10);
        let (choose, test) = rest.split_at(rest.len() / 2);
        let judge = match &concept.grader {
            Some(rule) => Judge::Rule(rule.clone()),
            None => {
                let (all, labels): (Vec<String>, Vec<bool>) = fit.iter().cloned().unzip();
                let by_words = Judge::Words(Probe::fit(
                    Inputs::Sparse(&words(&all)),
                    &labels,
                    Fit { l2: 10.0, ..Fit::default() },
                )?);
                let values = meanings.of(&all)?;
                let width = values.first().map_or(0, Vec::len);
                let values = values.concat();
                let inputs = Inputs::Dense { values: &values, width };
                let by_meaning = Judge::Meaning(Probe::fit(inputs, &labels, Fit { l2: 10.0, ..Fit::default() })?);
                let count = |judge: &Judge| -> Outcome<f64> { Ok(judge.right(choose, meanings)?.iter().sum()) };
                match count(&by_words)? > count(&by_meaning)? {
                    true => by_words,
                    false => by_meaning,
                }
            }
        };
        let right = bootstrap(&judge.right(test, meanings)?, seed)?;
        Ok((judge, right))
    }

    pub fn name(&self) -> &'static str {
        match self {
            Judge::Rule(_) => "a rule",
            Judge::Words(_) => "words",
            Judge::Meaning(_) => "embeddings",
        }
    }

    /// 1 for each that it tells right.
    fn right(&self, texts: &[(String, bool)], meanings: &Meanings) -> Outcome<Vec<f64>> {
        let (all, labels): (Vec<String>, Vec<bool>) = texts.iter().cloned().unzip();
        let said = self.show(&all, meanings)?;
        Ok(ones(said.iter().zip(&labels).map(|(a, b)| a == b)))
    }

    /// Which of these texts show the concept.
    pub fn show(&self, texts: &[String], meanings: &Meanings) -> Outcome<Vec<bool>> {
        let logits = match self {
            Judge::Rule(rule) => {
                let seen = |text: &String| match rule {
                    // Where what is said was cut off, its end tells nothing.
                    Grader::Question => rule.grade(sentence(text)),
                    rule => rule.grade(text),
                };
                return Ok(texts.iter().map(|text| seen(text).strict()).collect());
            }
            Judge::Words(probe) => probe.logits(Inputs::Sparse(&words(texts)))?,
            Judge::Meaning(probe) => {
                let values = meanings.of(texts)?.concat();
                probe.logits(Inputs::Dense { values: &values, width: probe.weights.len() })?
            }
        };
        Ok(logits.into_iter().map(|logit| logit > 0.0).collect())
    }
}
