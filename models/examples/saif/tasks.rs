//! Instructions that can be seen to be followed, and what they are about.
use crate::shared::{Outcome, shuffle};
use latens::assets::{BROWN, COUNTRIES};
use latens::steer::sources::{countries, sentences};
use latens::steer::{Grader, Language};

/// An instruction in several wordings, the first of which is what a user would write; some are translations.
pub struct Instruction {
    pub name: &'static str,
    pub wordings: &'static [&'static str],
    pub grader: Grader,
}

/// All of them.
pub fn instructions() -> Vec<Instruction> {
    let of = |name, wordings, grader| Instruction { name, wordings, grader };
    vec![
        of(
            "upper",
            &[
                "Write your answer in capital letters only.",
                "Use ALL CAPS for the whole answer.",
                "Answer in uppercase.",
                "Every letter of the reply must be a capital.",
                "Réponds en lettres majuscules.",
                "Responde en mayúsculas.",
            ],
            Grader::Upper,
        ),
        of(
            "lower",
            &[
                "Write your answer in lowercase letters only.",
                "Do not use any capital letters.",
                "Answer without capitals, all in lower case.",
                "Every letter of the reply must be lowercase.",
                "Réponds en lettres minuscules.",
                "Responde en minúsculas.",
            ],
            Grader::Lower,
        ),
        of(
            "french",
            &[
                "Answer in French.",
                "Write your answer in the French language.",
                "Your reply must be in French.",
                "Use French, not English.",
                "Réponds en français.",
                "Antworte auf Französisch.",
            ],
            Grader::Language(Language::French),
        ),
        of(
            "spanish",
            &[
                "Answer in Spanish.",
                "Write your answer in the Spanish language.",
                "Your reply must be in Spanish.",
                "Use Spanish, not English.",
                "Responde en español.",
                "Réponds en espagnol.",
            ],
            Grader::Language(Language::Spanish),
        ),
        of(
            "bullets",
            &[
                "Answer with a list of bullet points.",
                "Write your answer as bullet points.",
                "Use a bulleted list, one point a line.",
                "Give the answer as a list with dashes.",
                "Réponds sous forme de liste à puces.",
                "Responde con una lista de puntos.",
            ],
            Grader::Bullets(2),
        ),
        of(
            "json",
            &[
                "Answer in JSON format.",
                "Write your answer as a JSON object.",
                "The output must be valid JSON.",
                "Give only JSON, nothing else.",
                "Réponds au format JSON.",
                "Responde en formato JSON.",
            ],
            Grader::Json,
        ),
        of(
            "short",
            &[
                "Answer in at most ten words.",
                "Use no more than ten words.",
                "Keep the answer under ten words.",
                "Be very brief: ten words at most.",
                "Réponds en dix mots au plus.",
                "Responde en diez palabras como máximo.",
            ],
            Grader::Words(1, 10),
        ),
        of(
            "sentence",
            &[
                "Answer in exactly one sentence.",
                "Write a single sentence.",
                "Use one sentence only.",
                "The whole answer must be one sentence.",
                "Réponds en une seule phrase.",
                "Responde en una sola frase.",
            ],
            Grader::Sentences(1, 1),
        ),
        of(
            "question",
            &[
                "Answer with a question.",
                "Your reply must be a question.",
                "End your answer with a question mark.",
                "Reply by asking a question.",
                "Réponds par une question.",
                "Responde con una pregunta.",
            ],
            Grader::Question,
        ),
        of(
            "quoted",
            &[
                "Put your whole answer in quotation marks.",
                "Wrap the answer in double quotes.",
                "Begin and end the reply with a quotation mark.",
                "The answer must be in quotes.",
                "Mets ta réponse entre guillemets.",
                "Pon tu respuesta entre comillas.",
            ],
            Grader::Quoted,
        ),
        of(
            "no-commas",
            &[
                "Do not use any commas.",
                "Write without commas.",
                "The answer must not contain a comma.",
                "Avoid commas entirely.",
                "N'utilise pas de virgules.",
                "No uses comas.",
            ],
            Grader::NoCommas,
        ),
        of(
            "keyword",
            &[
                "Include the word \"river\" in your answer.",
                "Use the word river somewhere.",
                "The reply must mention a river.",
                "Your answer has to contain the word river.",
                "Utilise le mot « river » dans ta réponse.",
                "Incluye la palabra river en tu respuesta.",
            ],
            Grader::Contains("river".into()),
        ),
    ]
}

/// What is asked without an instruction: about countries, and about words of real sentences. In random order, none twice.
pub fn contents(seed: u64) -> Outcome<Vec<String>> {
    let mut all = Vec::new();
    for country in countries(&COUNTRIES.locate(None)?)? {
        all.push(format!("Tell me about {}.", country.name));
        all.push(format!("What is {} known for?", country.capital));
    }
    let mut nouns: Vec<String> = Vec::new();
    for sentence in sentences(&BROWN.locate(None)?)?.into_iter().filter(|of| matches!(of.genre, 'a' | 'e' | 'f')) {
        let words = sentence.text.split_whitespace().filter(|word| word.len() > 5 && word.ends_with("ion"));
        nouns.extend(words.filter(|word| word.bytes().all(|byte| byte.is_ascii_lowercase())).map(str::to_owned));
    }
    nouns.sort();
    nouns.dedup();
    all.extend(nouns.iter().map(|noun| format!("Explain what {noun} means.")));
    shuffle(&mut all, seed);
    Ok(all)
}

/// A conversation's first turn, and the beginning of the answer. `after` says whether the instruction stands behind the content.
pub fn turn(content: &str, instruction: Option<&str>, after: bool) -> String {
    let asked = match (instruction, after) {
        (None, _) => content.to_owned(),
        (Some(instruction), true) => format!("{content} {instruction}"),
        (Some(instruction), false) => format!("{instruction} {content}"),
    };
    format!("<|im_start|>user\n{asked}<|im_end|>\n<|im_start|>assistant\n")
}
