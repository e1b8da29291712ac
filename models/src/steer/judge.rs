//! Questions to somebody who judges texts: any [`Chat`].
use crate::io::Result;
use crate::lm::{Chat, Message};

/// Ask whether `text` shows a concept that `description` puts in words; `None` where the answer is neither yes nor no.
///
/// # Errors
/// Those of the judge.
pub fn shows(judge: &mut impl Chat, description: &str, text: &str) -> Result<Option<bool>> {
    let task = "You judge texts. Answer with one word, yes or no.";
    let question = format!("Does this text show the following: {description}?\n\nText: {text}");
    let said = judge.answer(&[Message::system(task), Message::user(question)], 4)?;
    let word: String = said.trim().chars().take_while(|letter| letter.is_alphabetic()).collect();
    Ok(match word.to_lowercase().as_str() {
        "yes" => Some(true),
        "no" => Some(false),
        _ => None,
    })
}

/// Ask how well `answer` keeps to what `prompt` is about, from 1, not at all, to 5, fully; `None` where the answer begins with no such number.
///
/// # Errors
/// Those of the judge.
pub fn relevance(judge: &mut impl Chat, prompt: &str, answer: &str) -> Result<Option<u8>> {
    let task = "You judge answers. Answer with one number from 1 to 5.";
    let question = format!(
        "How well does the answer keep to the topic of the prompt? 1 is not at all, 5 is fully.\n\nPrompt: {prompt}\n\nAnswer: {answer}"
    );
    let said = judge.answer(&[Message::system(task), Message::user(question)], 4)?;
    let number = said.trim().chars().next().and_then(|letter| letter.to_digit(10)).map(|digit| digit as u8);
    let more = said.trim().chars().nth(1).is_some_and(|letter| letter.is_ascii_digit());
    Ok(number.filter(|number| (1..=5).contains(number) && !more))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Says the same always, and remembers what it was asked.
    struct Says(&'static str, String);

    impl Chat for Says {
        fn answer(&mut self, messages: &[Message], _: usize) -> Result<String> {
            self.1 = messages.iter().map(|message| message.text.clone()).collect();
            Ok(self.0.to_owned())
        }
    }

    #[test]
    fn answers_are_read() {
        for (said, want) in
            [("Yes.", Some(true)), (" no", Some(false)), ("NO, never", Some(false)), ("Perhaps", None), ("", None)]
        {
            let mut judge = Says(said, String::new());
            assert_eq!(shows(&mut judge, "joy", "I am glad").unwrap(), want, "{said}");
            assert!(judge.1.contains("joy") && judge.1.contains("I am glad"));
        }
        for (said, want) in [("4", Some(4)), ("5/5", Some(5)), ("0", None), ("12", None), ("good", None), ("6", None)] {
            assert_eq!(relevance(&mut Says(said, String::new()), "a", "b").unwrap(), want, "{said}");
        }
    }
}
