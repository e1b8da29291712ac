use super::{Language, languages};
use serde::{Deserialize, Serialize};

/// Something that can be seen of a text without a judge.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Grader {
    /// It is this text, but for space around it.
    Is(String),
    /// It contains this text, in capitals or not.
    Contains(String),
    /// It has this word, in capitals or not, and not as a part of another.
    Word(String),
    /// It begins with this text.
    StartsWith(String),
    /// It ends with this text.
    EndsWith(String),
    /// All letters are capitals.
    Upper,
    /// No letter is a capital.
    Lower,
    /// It is JSON, perhaps between marks of code.
    Json,
    /// It is a list of so many points or more, a line each, after at most one line that is none.
    Bullets(usize),
    /// It is of so many lines or more, as verses are: the first so many end after at most twelve words each.
    Lines(usize),
    /// It has as many sentences, from and to.
    Sentences(usize, usize),
    /// It has as many words, from and to.
    Words(usize, usize),
    /// It is in this language.
    Language(Language),
    /// It ends as a question.
    Question,
    /// It stands between quotation marks.
    Quoted,
    /// It has no comma.
    NoCommas,
}

/// How far a text is what was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Grade {
    /// Nothing of it.
    No,
    /// In part, or something near it: counts as loose.
    Partly,
    /// Fully: counts as strict.
    Fully,
}

impl Grade {
    /// Whether it counts as strict.
    pub fn strict(self) -> bool {
        self == Self::Fully
    }

    /// Whether it counts as loose, as what is strict does as well.
    pub fn loose(self) -> bool {
        self >= Self::Partly
    }
}

/// `Fully` where `all`, `Partly` where `some`.
fn grade(all: bool, some: bool) -> Grade {
    match (all, some) {
        (true, _) => Grade::Fully,
        (false, true) => Grade::Partly,
        (false, false) => Grade::No,
    }
}

impl Grader {
    /// Grade a text. Empty text is never anything.
    ///
    /// | grader | partly |
    /// |--------|--------|
    /// | `Is`, `Word`, `StartsWith`, `EndsWith` | the text is in it, in capitals or not |
    /// | `Contains` | half of the words of the text are |
    /// | `Upper`, `Lower` | four of five letters are |
    /// | `Json` | some part from a brace or bracket on is |
    /// | `Bullets` | there is a point |
    /// | `Lines` | there are two such lines at the beginning |
    /// | `Sentences`, `Words` | at most half as many again, or half as few |
    /// | `Language` | the likeliest, or a third of what speaks for any |
    /// | `Question` | there is a question mark |
    /// | `Quoted` | a part does |
    /// | `NoCommas` | at most one |
    pub fn grade(&self, text: &str) -> Grade {
        let text = text.trim();
        if text.is_empty() {
            return Grade::No;
        }
        let has = |part: &str| text.to_lowercase().contains(&part.trim().to_lowercase());
        let share = |of: fn(&char) -> bool| {
            let cased = text.chars().filter(|letter| letter.is_uppercase() || letter.is_lowercase());
            let (with, all) =
                cased.fold((0_usize, 0_usize), |(with, all), letter| (with + usize::from(of(&letter)), all + 1));
            with as f64 / all.max(1) as f64
        };
        let near = |count: usize, &from: &usize, &to: &usize| {
            grade((from..=to).contains(&count), 2 * count >= from && count <= to + to / 2)
        };
        match self {
            Grader::Is(want) => grade(text == want.trim(), has(want)),
            Grader::Contains(want) => {
                let words: Vec<&str> = want.split_whitespace().collect();
                grade(has(want), 2 * words.iter().filter(|word| has(word)).count() >= words.len().max(1))
            }
            Grader::Word(want) => {
                let is = |word: &str| word.to_lowercase() == want.trim().to_lowercase();
                grade(text.split(|letter: char| !letter.is_alphanumeric()).any(is), has(want))
            }
            Grader::StartsWith(want) => grade(text.starts_with(want.trim()), has(want)),
            Grader::EndsWith(want) => grade(text.ends_with(want.trim()), has(want)),
            Grader::Upper => grade(share(|c| c.is_uppercase()) == 1.0, share(|c| c.is_uppercase()) >= 0.8),
            Grader::Lower => grade(share(|c| c.is_lowercase()) == 1.0, share(|c| c.is_lowercase()) >= 0.8),
            Grader::Json => json(text),
            Grader::Bullets(least) => bullets(text, *least),
            Grader::Lines(least) => {
                let short = |line: &&str| line.split_whitespace().count() <= 12;
                let lines = text.lines().filter(|line| !line.trim().is_empty()).take_while(short).count();
                grade(lines >= *least, lines >= 2)
            }
            Grader::Sentences(from, to) => near(sentences(text), from, to),
            Grader::Words(from, to) => near(text.split_whitespace().count(), from, to),
            Grader::Language(want) => {
                let all = languages(text);
                let share = all.iter().find(|(language, _)| language == want).map_or(0.0, |(_, share)| *share);
                let first = all.first().is_some_and(|(language, _)| language == want);
                grade(first && share >= 0.6, first || share >= 1.0 / 3.0)
            }
            Grader::Question => grade(text.ends_with('?'), text.contains('?')),
            Grader::Quoted => quoted(text),
            Grader::NoCommas => grade(!text.contains(','), text.matches(',').count() <= 1),
        }
    }
}

fn json(text: &str) -> Grade {
    let inside = text.strip_prefix("```json").or_else(|| text.strip_prefix("```")).unwrap_or(text);
    let inside = inside.strip_suffix("```").unwrap_or(inside).trim();
    let whole = |text: &str| {
        matches!(serde_json::from_str(text), Ok(serde_json::Value::Object(_) | serde_json::Value::Array(_)))
    };
    // A value, and then anything.
    let begins = |text: &str| {
        matches!(
            serde_json::Deserializer::from_str(text).into_iter::<serde_json::Value>().next(),
            Some(Ok(serde_json::Value::Object(_) | serde_json::Value::Array(_)))
        )
    };
    const TRIED: usize = 16;
    let some = || text.match_indices(['{', '[']).take(TRIED).any(|(at, _)| begins(&text[at..]));
    grade(whole(inside), some())
}

fn bullets(text: &str, least: usize) -> Grade {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let point = |line: &&str| {
        let digits = line.trim_start_matches(|letter: char| letter.is_ascii_digit());
        let numbered = digits.len() < line.len() && (digits.starts_with(". ") || digits.starts_with(") "));
        numbered || ["- ", "* ", "• "].iter().any(|mark| line.starts_with(mark))
    };
    let points = lines.iter().filter(|line| point(line)).count();
    let others = lines.iter().skip(1).filter(|line| !point(line)).count();
    grade(points >= least.max(1) && others == 0, points > 0)
}

/// Ends of sentences: marks before a space or the end; what follows the last of them is one more.
fn sentences(text: &str) -> usize {
    let letters: Vec<char> = text.chars().collect();
    let end = |at: usize| matches!(letters[at], '.' | '!' | '?' | '。');
    let ends = (0..letters.len()).filter(|&at| {
        end(at) && letters.get(at + 1).is_none_or(|next| next.is_whitespace() || matches!(next, '"' | '\'' | ')'))
    });
    let ends: Vec<usize> = ends.collect();
    let rest = ends.last().map_or(&letters[..], |&last| &letters[last + 1..]);
    ends.len() + usize::from(rest.iter().any(|letter| letter.is_alphanumeric()))
}

fn quoted(text: &str) -> Grade {
    let marks = |letter: char| matches!(letter, '"' | '“' | '”' | '«' | '»');
    let whole = text.chars().count() > 2 && text.starts_with(marks) && text.ends_with(marks);
    grade(whole, text.chars().filter(|&letter| marks(letter)).count() >= 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        use Grade::{Fully, No, Partly};
        let text = |text: &str| text.to_owned();
        for (grader, said, want) in [
            (Grader::Is(text("Paris")), " Paris\n", Fully),
            (Grader::Is(text("Paris")), "It is paris.", Partly),
            (Grader::Is(text("Paris")), "Rome", No),
            (Grader::Contains(text("red apple")), "A Red Apple.", Fully),
            (Grader::Contains(text("red apple")), "An apple.", Partly),
            (Grader::Contains(text("red apple")), "A pear.", No),
            (Grader::Word(text("river")), "Rivers, and the River.", Fully),
            (Grader::Word(text("river")), "A driver.", Partly),
            (Grader::Word(text("river")), "A car.", No),
            (Grader::StartsWith(text("Yes")), "Yes, it is.", Fully),
            (Grader::StartsWith(text("Yes")), "Oh yes.", Partly),
            (Grader::EndsWith(text("over.")), "It is over. ", Fully),
            (Grader::EndsWith(text("over.")), "Over. And out.", Partly),
            (Grader::Upper, "ALL OF IT, 12!", Fully),
            (Grader::Upper, "NEARLY ALL OF It", Partly),
            (Grader::Upper, "Hardly", No),
            (Grader::Upper, "123", No),
            (Grader::Lower, "all of it: 12", Fully),
            (Grader::Lower, "The rest is lower", Partly),
            (Grader::Json, "{\"a\": [1, 2]}", Fully),
            (Grader::Json, "```json\n[1]\n```", Fully),
            (Grader::Json, "Here it is: {\"a\": 1} and more", Partly),
            (Grader::Json, "{a: 1}", No),
            (Grader::Json, "12", No),
            (Grader::Bullets(2), "The points:\n- one\n- two", Fully),
            (Grader::Bullets(2), "1. one\n\n2) two\n3. three", Fully),
            (Grader::Bullets(3), "- one\n- two", Partly),
            (Grader::Bullets(2), "- one\n- two\nAnd so on", Partly),
            (Grader::Bullets(1), "- none but a dash\nx\ny", Partly),
            (Grader::Bullets(1), "3 apples", No),
            (Grader::Lines(3), "Roses are red\nViolets are blue\n\nAnd so are you", Fully),
            (Grader::Lines(3), "Roses are red\nViolets are blue", Partly),
            (Grader::Lines(3), "Roses are red", No),
            (Grader::Lines(3), "One line of this text has more words than a verse would have in it\nb\nc\nd", No),
            (Grader::Sentences(1, 1), "It costs 3.50 dollars.", Fully),
            (Grader::Sentences(1, 1), "No end", Fully),
            (Grader::Sentences(2, 2), "One. Two! Three?", Partly),
            (Grader::Sentences(1, 1), "One. Two! Three?", No),
            (Grader::Words(2, 4), "one two three", Fully),
            (Grader::Words(2, 4), "one two three four five six", Partly),
            (Grader::Words(2, 4), "a b c d e f g", No),
            (Grader::Language(Language::French), "Les chats sont dans la maison et ils dorment.", Fully),
            (Grader::Language(Language::French), "Les chats and the dogs", Partly),
            (Grader::Language(Language::French), "The cats are in the house.", No),
            (Grader::Question, "Is it?", Fully),
            (Grader::Question, "Is it? Yes.", Partly),
            (Grader::Question, "It is.", No),
            (Grader::Quoted, "\"It is.\"", Fully),
            (Grader::Quoted, "He said \"no\" twice", Partly),
            (Grader::Quoted, "\"", No),
            (Grader::NoCommas, "It is", Fully),
            (Grader::NoCommas, "a, b, c", No),
            (Grader::NoCommas, "  ", No),
        ] {
            assert_eq!(grader.grade(said), want, "{grader:?}: {said}");
        }
        assert!(Partly.loose() && !Partly.strict() && Fully.loose() && Fully.strict() && !No.loose());
    }

    /// Settings are read back as they were written.
    #[test]
    fn as_json() {
        let all = [Grader::Words(1, 5), Grader::Upper, Grader::Language(Language::Dutch), Grader::Is("x".into())];
        let text = serde_json::to_string(&all).unwrap();
        assert_eq!(text, r#"[{"words":[1,5]},"upper",{"language":"dutch"},{"is":"x"}]"#);
        assert_eq!(serde_json::from_str::<Vec<Grader>>(&text).unwrap(), all);
    }

    /// Many braces are looked at for no longer than few.
    #[test]
    fn hostile_text_ends() {
        let deep = "[".repeat(100_000);
        assert_eq!(Grader::Json.grade(&deep), Grade::No);
        assert_eq!(sentences(&"? ".repeat(1000)), 1000);
    }
}
