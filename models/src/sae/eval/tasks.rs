//! Tasks on real texts: tell the texts of several classes apart, on documents that were not seen.
use super::sources::{Essay, Sentence, Sources, Speech, brown, mails, sentences, speeches};
use crate::io::{Error, Result};
use crate::sae::buffer::shuffled;
use std::collections::BTreeMap;

/// A text and its class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Example {
    /// What is read.
    pub text: String,
    /// Which of the classes it is of.
    pub class: usize,
}

/// Texts of several classes. Those to judge by come from other documents than those to fit on, and every class has as many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// What is asked.
    pub name: String,
    /// The classes.
    pub classes: Vec<String>,
    /// Texts to fit on.
    pub train: Vec<Example>,
    /// Texts to judge by.
    pub test: Vec<Example>,
}

impl Task {
    /// How many texts there are.
    pub fn len(&self) -> usize {
        self.train.len() + self.test.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// How many texts are drawn, and how long they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draw {
    /// Words of a text. A document is cut into pieces of so many; the last is left out if it is less than half as long.
    pub words: usize,
    /// Texts of each class, to fit on and to judge by.
    pub texts: [usize; 2],
    /// Names the choice.
    pub seed: u64,
}

impl Default for Draw {
    fn default() -> Self {
        Self { words: 48, texts: [200, 100], seed: 0 }
    }
}

impl Draw {
    /// A task whose classes are these documents. Of each class, three documents in ten (at least one) are judged by; from these and from
    /// the others, texts are drawn evenly among all pieces.
    ///
    /// # Errors
    /// Fewer than two classes, texts of no words, and classes that have too few documents or pieces.
    pub fn task(&self, name: &str, classes: &[(&str, Vec<&str>)]) -> Result<Task> {
        if self.words == 0 || classes.len() < 2 {
            let what = format!(
                "texts of {} words in {} classes: there must be words, and two classes",
                self.words,
                classes.len()
            );
            return Err(Error::setting("draw", what));
        }
        let (mut train, mut test) = (Vec::new(), Vec::new());
        for (class, (of, documents)) in classes.iter().enumerate() {
            let turn = 4 * class as u64;
            let order: Vec<&str> =
                shuffled(documents.len(), self.seed, turn).into_iter().map(|at| documents[at as usize]).collect();
            let (held, ours) = order.split_at((order.len() * 3 / 10).max(1).min(order.len()));
            for (part, from, turn, to) in [(0, ours, turn + 1, &mut train), (1, held, turn + 2, &mut test)] {
                let pieces: Vec<String> = from.iter().flat_map(|document| self.pieces(document)).collect();
                let want = self.texts[part];
                if pieces.len() < want {
                    let what = format!("{name}: {of} has {} of the {want} texts asked for", pieces.len());
                    return Err(Error::setting("texts", what));
                }
                let chosen = shuffled(pieces.len(), self.seed, turn).into_iter().take(want);
                to.extend(chosen.map(|at| Example { text: pieces[at as usize].clone(), class }));
            }
        }
        let classes = classes.iter().map(|(of, _)| (*of).to_owned()).collect();
        Ok(Task { name: name.into(), classes, train, test })
    }

    fn pieces(&self, document: &str) -> Vec<String> {
        let words: Vec<&str> = document.split_whitespace().collect();
        words.chunks(self.words).filter(|piece| 2 * piece.len() >= self.words).map(|piece| piece.join(" ")).collect()
    }

    /// The same with only the first piece of a document: for mails, whose ends are signatures and copies of each other.
    fn starts(&self, documents: &[String]) -> Vec<String> {
        documents.iter().filter_map(|document| self.pieces(document).into_iter().next()).collect()
    }
}

/// The first year that both parties of today gave speeches in.
const BOTH: u32 = 1861;

const DEMOCRATIC: &str = "Democratic";
const REPUBLICAN: &str = "Republican";

/// Speeches of Democratic and of Republican presidents, from 1861 on.
///
/// # Errors
/// As [`Draw::task`].
pub fn party(speeches: &[Speech], draw: &Draw) -> Result<Task> {
    let of = |party: &str| of(speeches, |speech| speech.year >= BOTH && speech.party == party);
    draw.task("party", &[(DEMOCRATIC, of(DEMOCRATIC)), (REPUBLICAN, of(REPUBLICAN))])
}

/// Speeches before `year`, and from it on.
///
/// # Errors
/// As [`Draw::task`].
pub fn era(speeches: &[Speech], year: u32, draw: &Draw) -> Result<Task> {
    let [early, late] = [true, false].map(|early| of(speeches, |speech| (speech.year < year) == early));
    draw.task(&format!("era {year}"), &[("before", early), ("after", late)])
}

/// Speeches from 1861 on by two concepts, for [`scr`](super::scr): whether the president was Republican, and whether it was in `year` or
/// later. The class is twice the first and once the second; [`labels`] tells them apart.
///
/// # Errors
/// As [`Draw::task`].
pub fn party_by_era(speeches: &[Speech], year: u32, draw: &Draw) -> Result<Task> {
    let cell = |party: &str, late: bool| {
        of(speeches, |speech| speech.year >= BOTH && speech.party == party && (speech.year >= year) == late)
    };
    let cells = [
        ("Democratic before", cell(DEMOCRATIC, false)),
        ("Democratic after", cell(DEMOCRATIC, true)),
        ("Republican before", cell(REPUBLICAN, false)),
        ("Republican after", cell(REPUBLICAN, true)),
    ];
    draw.task(&format!("party by era {year}"), &cells)
}

/// The two labels of examples whose class is twice the first and once the second.
pub fn labels(examples: &[Example]) -> [Vec<bool>; 2] {
    [1, 0].map(|bit| examples.iter().map(|example| example.class >> bit & 1 == 1).collect())
}

fn of(speeches: &[Speech], which: impl Fn(&Speech) -> bool) -> Vec<&str> {
    speeches.iter().filter(|speech| which(speech)).map(|speech| &*speech.text).collect()
}

/// Documents of the Brown corpus by genre, each named and given as its letter.
///
/// # Errors
/// As [`Draw::task`].
pub fn genres(essays: &[Essay], genres: &[(&str, char)], draw: &Draw) -> Result<Task> {
    let of = |genre| essays.iter().filter(|essay| essay.genre == genre).map(|essay| &*essay.text).collect();
    let classes: Vec<(&str, Vec<&str>)> = genres.iter().map(|&(name, genre)| (name, of(genre))).collect();
    let names: Vec<&str> = genres.iter().map(|&(name, _)| name).collect();
    draw.task(&names.join(" or "), &classes)
}

/// Two tasks by the tags of words: sentences in the past tense or in the present, and with a `not` or without. A document's sentences of a class are
/// one text, in their order, of which pieces are drawn as of others.
///
/// # Errors
/// As [`Draw::task`].
pub fn tags(sentences: &[Sentence], draw: &Draw) -> Result<Vec<Task>> {
    let of = |which: &dyn Fn(&Sentence) -> bool| -> Vec<String> {
        let mut texts = BTreeMap::<usize, Vec<&str>>::new();
        for sentence in sentences.iter().filter(|of| which(of)) {
            texts.entry(sentence.document).or_default().push(&sentence.text);
        }
        texts.into_values().map(|text| text.join(" ")).collect()
    };
    let task = |name: &str, [yes, no]: [(&str, Vec<String>); 2]| {
        let [a, b] = [&yes.1, &no.1].map(|texts| texts.iter().map(String::as_str).collect());
        draw.task(name, &[(yes.0, a), (no.0, b)])
    };
    let tense = [("past", of(&|of| of.past() == Some(true))), ("present", of(&|of| of.past() == Some(false)))];
    let negation = [("negated", of(&Sentence::negated)), ("not negated", of(&|of| !of.negated()))];
    Ok(vec![task("tense", tense)?, task("negation", negation)?])
}

/// The beginnings of mails that are wanted, and of those that are not.
///
/// # Errors
/// As [`Draw::task`].
pub fn spam(ham: &[String], spam: &[String], draw: &Draw) -> Result<Task> {
    let [ham, spam] = [ham, spam].map(|mails| draw.starts(mails));
    let [ham, spam] = [&ham, &spam].map(|mails| mails.iter().map(String::as_str).collect());
    draw.task("spam", &[("ham", ham), ("spam", spam)])
}

/// Genres of the Brown corpus, each pair of which is a task of two classes.
const GENRES: [(&str, char); 8] = [
    ("news", 'a'),
    ("fiction", 'k'),
    ("learned", 'j'),
    ("romance", 'p'),
    ("government", 'h'),
    ("hobbies", 'e'),
    ("religion", 'd'),
    ("mystery", 'l'),
];

/// Nine tasks of two classes: party and era of speeches, four pairs of genres, spam, and tense and negation by tags.
///
/// # Errors
/// Those of the readers of [`Sources`], and of [`Draw::task`].
pub fn binary(sources: &Sources, draw: &Draw) -> Result<Vec<Task>> {
    let speeches = speeches(&sources.speeches, &sources.metadata)?;
    let essays = brown(&sources.brown)?;
    let mut all = vec![party(&speeches, draw)?, era(&speeches, 1900, draw)?];
    for pair in GENRES.chunks(2) {
        all.push(genres(&essays, pair, draw)?);
    }
    all.push(spam(&mails(&sources.ham)?, &mails(&sources.spam)?, draw)?);
    all.extend(tags(&sentences(&sources.brown)?, draw)?);
    Ok(all)
}

/// Two tasks of two concepts, for [`scr_task`](super::scr_task): party by era of speeches, before and after 1900 and 1933.
///
/// # Errors
/// Those of the readers of [`Sources`], and of [`Draw::task`].
pub fn crossed(sources: &Sources, draw: &Draw) -> Result<Vec<Task>> {
    let speeches = speeches(&sources.speeches, &sources.metadata)?;
    [1900, 1933].iter().map(|&year| party_by_era(&speeches, year, draw)).collect()
}

/// Two tasks of several classes, for [`tpp_task`](super::tpp_task): eight genres, and party by era of speeches.
///
/// # Errors
/// Those of the readers of [`Sources`], and of [`Draw::task`].
pub fn classed(sources: &Sources, draw: &Draw) -> Result<Vec<Task>> {
    let speeches = speeches(&sources.speeches, &sources.metadata)?;
    let genres = genres(&brown(&sources.brown)?, &GENRES, draw)?;
    Ok(vec![Task { name: "genres".into(), ..genres }, party_by_era(&speeches, 1933, draw)?])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Documents of words that name them, so that a text tells where it is from.
    fn documents(name: &str, count: usize, words: usize) -> Vec<String> {
        (0..count).map(|at| vec![format!("{name}{at}"); words].join(" ")).collect()
    }

    fn origin(example: &Example) -> &str {
        example.text.split(' ').next().unwrap_or_default()
    }

    #[test]
    fn no_document_is_on_both_sides() {
        let (a, b) = (documents("a", 20, 57), documents("b", 7, 200));
        let classes: [(&str, Vec<&str>); 2] =
            [("a", a.iter().map(String::as_str).collect()), ("b", b.iter().map(String::as_str).collect())];
        let draw = Draw { words: 10, texts: [50, 20], seed: 3 };
        let task = draw.task("names", &classes).unwrap();
        let count = |of: &[Example], class| of.iter().filter(|example| example.class == class).count();
        for class in [0, 1] {
            assert_eq!((count(&task.train, class), count(&task.test, class)), (50, 20));
        }
        let [train, test] = [&task.train, &task.test].map(|of| of.iter().map(origin).collect::<BTreeSet<_>>());
        assert!(train.is_disjoint(&test));
        assert!(task.train.iter().all(|example| origin(example).starts_with(["a", "b"][example.class])));
        // 57 words are five pieces and a rest of seven, which is kept; three documents in ten are held out.
        assert!(test.iter().filter(|name| name.starts_with('a')).count() <= 6 && task.len() == 140);
        assert_eq!(draw.task("names", &classes).unwrap(), task);
        assert_ne!(Draw { seed: 4, ..draw }.task("names", &classes).unwrap(), task);
        let said = Draw { texts: [50, 1000], ..draw }.task("names", &classes).unwrap_err().to_string();
        assert!(said.contains("a has 36 of the 1000"), "{said}");
        assert!(Draw { words: 0, ..draw }.task("names", &classes).is_err());
        assert!(draw.task("names", &classes[..1]).is_err());
        assert!(draw.task("names", &[("a", vec![]), ("b", vec![])]).is_err());
    }

    #[test]
    fn speeches_by_party_and_era() {
        let speech = |year, party: &str| Speech { year, party: party.into(), text: format!("{party}{year}") };
        let all: Vec<Speech> = [DEMOCRATIC, REPUBLICAN]
            .iter()
            .flat_map(|party| [1850, 1870, 1890, 1910, 1930].map(|year| speech(year, party)))
            .collect();
        let draw = Draw { words: 1, texts: [1, 1], seed: 0 };
        let task = party_by_era(&all, 1900, &draw).unwrap();
        for (examples, [republican, late]) in [(&task.train, labels(&task.train)), (&task.test, labels(&task.test))] {
            for (at, example) in examples.iter().enumerate() {
                assert_eq!(example.text.starts_with(REPUBLICAN), republican[at]);
                assert_eq!(example.text[10..] >= *"1900", late[at]);
            }
        }
        let task = party(&all, &draw).unwrap();
        assert!(task.train.iter().chain(&task.test).all(|example| !example.text.ends_with("1850")));
        let task = era(&all, 1900, &Draw { texts: [3, 1], ..draw }).unwrap();
        assert!(task.train.iter().all(|example| (example.text[10..] < *"1900") == (example.class == 0)));
    }

    /// Of a mail only the beginning is read.
    #[test]
    fn mails_by_their_beginnings() {
        let [ham, spam_] =
            ["ham", "spam"].map(|kind| (0..9).map(|at| format!("{kind} {at} tail tail")).collect::<Vec<_>>());
        let task = spam(&ham, &spam_, &Draw { words: 2, texts: [5, 2], seed: 1 }).unwrap();
        assert!(task.train.iter().chain(&task.test).all(|example| !example.text.contains("tail")));
    }
}
