//! Somebody who answers: a language model here, one elsewhere, or a file of what was answered before.
use super::{Hooks, LanguageModel, Sampling};
use crate::io::{self, Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Who sets the task.
    System,
    /// Who asks.
    User,
    /// Who answers.
    Assistant,
}

/// A part of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Whose.
    pub role: Role,
    /// Its text.
    pub text: String,
}

impl Message {
    /// What is asked.
    pub fn user(text: impl Into<String>) -> Self {
        Self { role: Role::User, text: text.into() }
    }

    /// What the task is.
    pub fn system(text: impl Into<String>) -> Self {
        Self { role: Role::System, text: text.into() }
    }
}

/// Somebody who answers.
pub trait Chat {
    /// The answer to a conversation, of at most about `tokens` tokens.
    ///
    /// # Errors
    /// Whatever kept them from answering.
    fn answer(&mut self, messages: &[Message], tokens: usize) -> Result<String>;
}

impl<C: Chat + ?Sized> Chat for Box<C> {
    fn answer(&mut self, messages: &[Message], tokens: usize) -> Result<String> {
        (**self).answer(messages, tokens)
    }
}

/// A language model of this library that was trained to converse in ChatML, as SmolLM2-Instruct and Qwen were. It takes the likeliest
/// token always, so equal questions have equal answers.
pub struct Local<'a> {
    lm: &'a LanguageModel,
}

impl<'a> Local<'a> {
    /// # Errors
    /// [`Error::Setting`] if the tokenizer has no tokens for the turns of a conversation.
    pub fn new(lm: &'a LanguageModel) -> Result<Self> {
        match ["<|im_start|>", "<|im_end|>"].iter().find(|token| lm.tokenizer.id(token).is_none()) {
            None => Ok(Self { lm }),
            Some(token) => {
                Err(Error::setting("lm", format!("has no token {token}: it is no model that converses in ChatML")))
            }
        }
    }
}

impl Chat for Local<'_> {
    fn answer(&mut self, messages: &[Message], tokens: usize) -> Result<String> {
        let mut prompt = String::new();
        for Message { role, text } in messages {
            let role = match role {
                Role::System => "system",
                Role::User => "user",
                Role::Assistant => "assistant",
            };
            // What looks like the end of a turn in a text is none.
            let text = text.replace("<|im_start|>", "").replace("<|im_end|>", "");
            prompt.push_str(&format!("<|im_start|>{role}\n{text}<|im_end|>\n"));
        }
        prompt.push_str("<|im_start|>assistant\n");
        let sampling = Sampling { tokens, ..Sampling::default() };
        let text = self.lm.generate(&prompt, &sampling, &mut Hooks::new(), |_| ())?.text;
        Ok(text.split("<|im_end|>").next().unwrap_or_default().trim().to_owned())
    }
}

/// Answers from a file, one JSON object a line: a question that is there is answered as it was; another is put to whoever stands behind it,
/// and kept. So work with a model that costs money or time can be repeated exactly, and tested without it.
pub struct Replay<C> {
    path: PathBuf,
    kept: BTreeMap<String, String>,
    behind: Option<C>,
}

#[derive(Serialize, Deserialize)]
struct Kept {
    question: String,
    answer: String,
}

impl<C: Chat> Replay<C> {
    /// The file at `path`, if there is one, and who is asked what is not in it.
    ///
    /// # Errors
    /// [`Error::System`] or [`Error::Content`] for a file that cannot be read, or is not such a file.
    pub fn open(path: &Path, behind: Option<C>) -> Result<Self> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(Error::system(path, "read")(error)),
        };
        let mut kept = BTreeMap::new();
        for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let wrong = |error| Error::content(path, format!("line {}: {error}", at + 1));
            let Kept { question, answer } = serde_json::from_str(line).map_err(wrong)?;
            kept.insert(question, answer);
        }
        Ok(Self { path: path.to_owned(), kept, behind })
    }

    /// Answers in the file.
    pub fn len(&self) -> usize {
        self.kept.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }
}

impl<C: Chat> Chat for Replay<C> {
    fn answer(&mut self, messages: &[Message], tokens: usize) -> Result<String> {
        let text = serde_json::to_string(&(messages, tokens))
            .map_err(|error| Error::setting("messages", error.to_string()))?;
        let question = io::sha256(&[text.as_bytes()]);
        if let Some(answer) = self.kept.get(&question) {
            return Ok(answer.clone());
        }
        let Some(behind) = &mut self.behind else {
            let what = format!("has no answer to question {}, and nobody stands behind it", &question[..16]);
            return Err(Error::content(&self.path, what));
        };
        let answer = behind.answer(messages, tokens)?;
        self.kept.insert(question, answer.clone());
        let mut lines = String::new();
        for (question, answer) in &self.kept {
            let kept = Kept { question: question.clone(), answer: answer.clone() };
            lines += &serde_json::to_string(&kept).map_err(|error| Error::content(&self.path, error.to_string()))?;
            lines.push('\n');
        }
        io::replace(&self.path, lines.as_bytes())?;
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Counts(usize);

    impl Chat for Counts {
        fn answer(&mut self, messages: &[Message], _: usize) -> Result<String> {
            self.0 += 1;
            Ok(format!("{} {}", self.0, messages[0].text))
        }
    }

    #[test]
    fn answers_are_kept() {
        let path = std::env::temp_dir().join(format!("latens-replay-{}", std::process::id()));
        let _ = fs::remove_file(&path);
        let ask = |chat: &mut Replay<Counts>, text: &str| chat.answer(&[Message::user(text)], 5);
        let mut chat = Replay::open(&path, Some(Counts(0))).unwrap();
        let said: Vec<String> = ["a", "b\n\"", "a"].iter().map(|text| ask(&mut chat, text).unwrap()).collect();
        assert_eq!(said, ["1 a", "2 b\n\"", "1 a"]);
        let mut alone = Replay::<Counts>::open(&path, None).unwrap();
        assert_eq!((alone.len(), ask(&mut alone, "b\n\"").unwrap()), (2, said[1].clone()));
        assert!(ask(&mut alone, "c").unwrap_err().to_string().contains("nobody stands behind it"));
        fs::write(&path, "{\"question\": 3}\n").unwrap();
        assert!(Replay::<Counts>::open(&path, None).err().unwrap().to_string().contains("line 1"));
        fs::remove_file(&path).unwrap();
    }
}
