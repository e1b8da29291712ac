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
            Grader::Word("river".into()),
        ),
        of(
            "german",
            &[
                "Answer in German.",
                "Write your answer in the German language.",
                "Your reply must be in German.",
                "Use German, not English.",
                "Antworte auf Deutsch.",
                "Réponds en allemand.",
            ],
            Grader::Language(Language::German),
        ),
        of(
            "italian",
            &[
                "Answer in Italian.",
                "Write your answer in the Italian language.",
                "Your reply must be in Italian.",
                "Use Italian, not English.",
                "Rispondi in italiano.",
                "Responde en italiano.",
            ],
            Grader::Language(Language::Italian),
        ),
        of(
            "tale",
            &[
                "Answer with a fairy tale that begins with \"Once upon a time\".",
                "Tell it as a story, beginning with \"Once upon a time\".",
                "Write a fairy tale: \"Once upon a time\" comes first.",
                "Make it a tale that starts with Once upon a time.",
                "Réponds par un conte qui commence par « Once upon a time ».",
                "Responde con un cuento que empiece por \"Once upon a time\".",
            ],
            Grader::Contains("once upon a time".into()),
        ),
        of(
            "letter",
            &[
                "Write your answer as a letter that begins with \"Dear\".",
                "Answer in the form of a letter to a friend.",
                "Reply with a letter, beginning with Dear.",
                "The answer must be a letter to somebody.",
                "Réponds sous forme de lettre, qui commence par « Dear ».",
                "Responde en forma de carta que empiece por \"Dear\".",
            ],
            Grader::StartsWith("Dear".into()),
        ),
        of(
            "email",
            &[
                "Write your answer as an email with a subject line.",
                "Answer in the form of an email.",
                "Reply with an email that begins with its subject.",
                "The answer must be an email, its subject first.",
                "Réponds sous forme de courriel, avec un objet.",
                "Responde en forma de correo con su asunto.",
            ],
            Grader::StartsWith("Subject:".into()),
        ),
        of(
            "code",
            &[
                "Answer with a Python program.",
                "Write Python code as your answer.",
                "The reply must be code in Python.",
                "Give only Python code.",
                "Réponds par un programme en Python.",
                "Responde con un programa en Python.",
            ],
            Grader::Contains("```python".into()),
        ),
        of(
            "html",
            &[
                "Write your answer in HTML.",
                "Answer with an HTML page.",
                "The output must be HTML.",
                "Use HTML tags for the whole answer.",
                "Réponds en HTML.",
                "Responde en HTML.",
            ],
            Grader::Contains("<html".into()),
        ),
        of(
            "steps",
            &[
                "Answer in numbered steps.",
                "Write a numbered list as your answer.",
                "Number the points of your answer: 1, 2, 3.",
                "The reply must be a numbered list.",
                "Réponds par une liste numérotée.",
                "Responde con una lista numerada.",
            ],
            Grader::Contains("1. ".into()),
        ),
        of(
            "sorry",
            &[
                "Begin your answer with \"I'm sorry\".",
                "Say that you are sorry first.",
                "Apologize at the beginning of the answer.",
                "The reply must begin with I'm sorry.",
                "Commence ta réponse par « I'm sorry ».",
                "Empieza tu respuesta con \"I'm sorry\".",
            ],
            Grader::Word("sorry".into()),
        ),
        of(
            "title",
            &[
                "Begin your answer with a title in bold.",
                "Put a bold title above the answer.",
                "The reply must begin with a title between two stars.",
                "Start with a headline in bold type.",
                "Commence par un titre en gras.",
                "Empieza con un título en negrita.",
            ],
            Grader::StartsWith("**".into()),
        ),
        of(
            "poem",
            &[
                "Answer with a short poem.",
                "Write your answer as a poem.",
                "The reply must be a poem, in verses.",
                "Put the answer into verse, with short lines.",
                "Réponds par un court poème.",
                "Responde con un poema corto.",
            ],
            Grader::Lines(3),
        ),
        of(
            "dialogue",
            &[
                "Answer with a dialogue between Alice and Bob.",
                "Write a conversation of Alice and Bob as your answer.",
                "Let Alice and Bob talk about it.",
                "The reply must be a dialogue: Alice speaks, then Bob.",
                "Réponds par un dialogue entre Alice et Bob.",
                "Responde con un diálogo entre Alice y Bob.",
            ],
            Grader::Word("Alice".into()),
        ),
        of(
            "ocean",
            &[
                "Include the word \"ocean\" in your answer.",
                "Use the word ocean somewhere.",
                "The reply must mention the ocean.",
                "Your answer has to contain the word ocean.",
                "Utilise le mot « ocean » dans ta réponse.",
                "Incluye la palabra ocean en tu respuesta.",
            ],
            Grader::Word("ocean".into()),
        ),
        of(
            "music",
            &[
                "Include the word \"music\" in your answer.",
                "Use the word music somewhere.",
                "The reply must mention music.",
                "Your answer has to contain the word music.",
                "Utilise le mot « music » dans ta réponse.",
                "Incluye la palabra music en tu respuesta.",
            ],
            Grader::Word("music".into()),
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
