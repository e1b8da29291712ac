//! The language of a text, by its script and its commonest words.
use serde::{Deserialize, Serialize};

/// Languages that are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// English.
    English,
    /// French.
    French,
    /// Spanish.
    Spanish,
    /// German.
    German,
    /// Italian.
    Italian,
    /// Portuguese.
    Portuguese,
    /// Dutch.
    Dutch,
    /// Russian, by its letters.
    Russian,
    /// Greek, by its letters.
    Greek,
    /// Arabic, by its letters.
    Arabic,
    /// Hindi, by its letters.
    Hindi,
    /// Chinese, by its characters.
    Chinese,
    /// Japanese, by its kana.
    Japanese,
    /// Korean, by its letters.
    Korean,
}

/// Words that hardly a sentence is without; of a word in two lists each language has half.
const WORDS: [(Language, &[&str]); 7] = [
    (
        Language::English,
        &[
            "the", "and", "of", "to", "is", "that", "it", "was", "for", "with", "are", "this", "be", "have", "from",
            "they", "you", "his", "her", "which", "would", "their", "has", "been", "were", "can", "there", "what",
            "your", "not", "we", "i", "my", "our", "will",
        ],
    ),
    (
        Language::French,
        &[
            "le", "les", "et", "est", "une", "dans", "qui", "pour", "pas", "sur", "au", "avec", "sont", "vous", "nous",
            "cette", "mais", "être", "aux", "ils", "elle", "du", "des", "je", "ont", "leur", "était", "comme", "il",
            "ce",
        ],
    ),
    (
        Language::Spanish,
        &[
            "el", "los", "las", "y", "una", "por", "es", "está", "pero", "más", "muy", "también", "fue", "ser", "hay",
            "su", "sus", "cuando", "donde", "ella", "yo", "este", "esta", "según", "entre", "tiene", "lo", "del", "al",
        ],
    ),
    (
        Language::German,
        &[
            "der", "das", "und", "ist", "nicht", "ein", "eine", "zu", "mit", "sich", "auf", "für", "dem", "den", "sie",
            "ich", "auch", "wir", "wird", "sind", "von", "bei", "oder", "nach", "aus", "wie", "haben", "werden",
            "einen",
        ],
    ),
    (
        Language::Italian,
        &[
            "il", "gli", "della", "che", "di", "è", "sono", "nel", "alla", "anche", "più", "questo", "questa", "dei",
            "delle", "dal", "essere", "ha", "hanno", "io", "noi", "ogni", "perché", "degli", "nella", "sulla", "lui",
            "loro",
        ],
    ),
    (
        Language::Portuguese,
        &[
            "os", "é", "não", "uma", "um", "com", "para", "dos", "das", "mais", "ao", "são", "foi", "pelo", "pela",
            "você", "isso", "muito", "também", "seu", "sua", "nos", "ou", "quando", "ele", "eu", "têm", "na", "no",
            "em",
        ],
    ),
    (
        Language::Dutch,
        &[
            "het", "een", "van", "niet", "zijn", "dat", "op", "voor", "ook", "maar", "aan", "hij", "naar", "wordt",
            "bij", "heeft", "uit", "ik", "je", "wij", "deze", "dit", "nog", "kan", "hun", "worden", "geen", "ze",
        ],
    ),
];

/// The script of a letter that stands for one language here.
fn of_letter(letter: char) -> Option<Language> {
    Some(match letter as u32 {
        0x370..=0x3ff | 0x1f00..=0x1fff => Language::Greek,
        0x400..=0x4ff => Language::Russian,
        0x600..=0x6ff => Language::Arabic,
        0x900..=0x97f => Language::Hindi,
        0x3040..=0x30ff => Language::Japanese,
        0xac00..=0xd7af => Language::Korean,
        0x4e00..=0x9fff => Language::Chinese,
        _ => return None,
    })
}

/// The languages that speak from a text, the likeliest first, each with the share of what speaks for any that speaks for it. Letters of a
/// script that one language has speak for that one (kana for Japanese, whatever else there is), in Latin letters common words do.
pub fn languages(text: &str) -> Vec<(Language, f64)> {
    let mut votes: Vec<(Language, f64)> = Vec::new();
    let mut vote = |language: Language, by: f64| match votes.iter_mut().find(|(other, _)| *other == language) {
        Some((_, sum)) => *sum += by,
        None => votes.push((language, by)),
    };
    let kana = text.chars().any(|letter| of_letter(letter) == Some(Language::Japanese));
    for letter in text.chars().filter_map(of_letter) {
        // A word of Latin letters has about five.
        vote(if kana && letter == Language::Chinese { Language::Japanese } else { letter }, 0.2);
    }
    for word in text.split(|letter: char| !letter.is_alphabetic()).filter(|word| !word.is_empty()) {
        let word = word.to_lowercase();
        let owners: Vec<Language> = WORDS.iter().filter(|(_, of)| of.contains(&&*word)).map(|(of, _)| *of).collect();
        owners.iter().for_each(|&language| vote(language, 1.0 / owners.len() as f64));
    }
    let all: f64 = votes.iter().map(|(_, votes)| votes).sum();
    votes.iter_mut().for_each(|(_, votes)| *votes /= all);
    votes.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    votes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences() {
        for (language, text) in [
            (Language::English, "All human beings are born free, and they have to act in the spirit of brotherhood."),
            (
                Language::French,
                "Tous les êtres humains naissent libres et égaux; ils sont doués de raison dans leur vie.",
            ),
            (
                Language::Spanish,
                "Todos los seres humanos nacen libres y, como está escrito, fue por el bien de las gentes.",
            ),
            (
                Language::German,
                "Alle Menschen sind frei und gleich geboren. Sie sollen sich mit Geist begegnen, nicht ohne.",
            ),
            (
                Language::Italian,
                "Tutti gli esseri umani nascono liberi. È anche scritto che sono dotati di ragione nel mondo.",
            ),
            (
                Language::Portuguese,
                "Todos os seres humanos nascem livres; são dotados de razão e não devem, com uma só voz, calar.",
            ),
            (
                Language::Dutch,
                "Alle mensen worden vrij geboren. Het is niet zo dat zij geen rede hebben; een mens heeft het ook.",
            ),
            (Language::Russian, "Все люди рождаются свободными и равными."),
            (Language::Japanese, "すべての人間は、生まれながらにして自由であり。"),
            (Language::Chinese, "人人生而自由，在尊严和权利上一律平等。"),
        ] {
            let found = languages(text);
            assert!(found[0].0 == language && found[0].1 > 0.6, "{text}: {found:?}");
        }
        assert_eq!(languages("12 34 !"), []);
        // Half and half.
        let both = languages("the dog and его собака");
        assert!(both.len() == 2 && both.iter().all(|(_, share)| *share > 0.4), "{both:?}");
    }
}
