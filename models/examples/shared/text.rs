//! The text that autoencoders are trained on: of every kind that they are to be used on, conversations among it.
use super::Outcome;
use latens::assets::{BROWN, DECLARATIONS, HAM, REVIEWS, SPAM, SPEECHES};
use latens::sae::eval::{brown, mails};
use latens::steer::sources::{declaration, reviews};
use std::fs;

/// Parts of the letters that are taken of speeches, of essays, and of conversations each; mails get half as many.
const PARTS: usize = 4;
/// Languages of the declaration.
const LANGUAGES: [&str; 6] = ["eng", "fra", "spa", "deu_1996", "ita", "por_PT"];

/// Documents of about so many letters at most, and the few that are short.
pub fn documents(letters: usize) -> Outcome<Vec<String>> {
    let part = letters / PARTS;
    let essays: Vec<String> = brown(&BROWN.locate(None)?)?.into_iter().map(|essay| essay.text).collect();
    let mut all = chats(&essays, part);
    all.extend(some(essays, part));
    all.extend(some(speeches()?, part));
    for folder in [&HAM, &SPAM] {
        all.extend(some(mails(&folder.locate(None)?)?, part / 4));
    }
    let sentences: Vec<String> = reviews(&REVIEWS.locate(None)?)?.into_iter().map(|review| review.text).collect();
    all.extend(sentences.chunks(40).map(|part| part.join("\n")));
    let folder = DECLARATIONS.locate(None)?;
    for language in LANGUAGES {
        all.push(declaration(&folder, language)?.join("\n"));
    }
    Ok(all)
}

/// From evenly among all, until there are so many letters.
fn some(all: Vec<String>, letters: usize) -> Vec<String> {
    let total: usize = all.iter().map(String::len).sum();
    let step = total.div_ceil(letters.max(1)).max(1);
    all.into_iter().step_by(step).collect()
}

fn speeches() -> Outcome<Vec<String>> {
    let folder = SPEECHES.locate(None)?;
    let mut paths = fs::read_dir(&folder)?.map(|entry| Ok(entry?.path())).collect::<Outcome<Vec<_>>>()?;
    paths.sort();
    Ok(paths.iter().map(fs::read_to_string).collect::<Result<_, _>>()?)
}

/// Essays as conversations: somebody asks for what follows a sentence, and gets the next few.
fn chats(essays: &[String], most: usize) -> Vec<String> {
    const ASKED: [&str; 6] = [
        "Go on with this text.",
        "What comes next?",
        "Write the next sentences.",
        "Please continue:",
        "Answer in a few sentences.",
        "Tell me more about this.",
    ];
    let mut all = Vec::new();
    let mut letters = 0;
    for (at, essay) in essays.iter().enumerate() {
        let sentences: Vec<&str> = essay.split_inclusive(". ").collect();
        let mut chat = String::new();
        for (turn, part) in sentences.chunks(4).enumerate().filter(|(_, part)| part.len() == 4) {
            let asked = ASKED[(at + turn) % ASKED.len()];
            // The request before what it is of, and behind it.
            let question = match (at + turn) % 2 {
                0 => format!("{asked} {}", part[0].trim()),
                _ => format!("{} {asked}", part[0].trim()),
            };
            let answer = part[1..].concat();
            chat += &format!(
                "<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n{}<|im_end|>\n",
                answer.trim()
            );
        }
        letters += chat.len();
        all.push(chat);
        if letters > most {
            break;
        }
    }
    all
}
