//! A judge behind an address.
use super::chat::{Chat, Message};
use crate::io::{Error, Result};
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;
use ureq::Agent;

/// A model that a server has, spoken to as OpenAI's chat completions are: llama.cpp, vLLM, Ollama and most providers understand that. The
/// likeliest token is asked for, which makes answers the same more often, but not always: keep them with [`Replay`](super::Replay).
///
/// ```no_run
/// use latens::lm::{Chat, Message, Remote, Replay};
/// let server = Remote::new("http://localhost:8080/v1", "qwen2.5-7b-instruct", None)?;
/// let mut chat = Replay::open("answers.jsonl".as_ref(), Some(server))?;
/// println!("{}", chat.answer(&[Message::user("What is a sparse autoencoder?")], 60)?);
/// # Ok::<(), latens::io::Error>(())
/// ```
pub struct Remote {
    agent: Agent,
    url: String,
    model: String,
    key: Option<String>,
    pause: Duration,
}

/// Bytes of an answer that are read, at most.
const MOST: u64 = 1 << 20;
/// How often a server that is busy is asked again.
const TRIES: u32 = 4;
/// Of what a server says that refuses, so much is told.
const TOLD: usize = 300;

impl Remote {
    /// The server whose addresses begin with `url`, a model of it by its name, and what it wants to see before it answers.
    ///
    /// # Errors
    /// [`Error::Setting`] for what is no address of the web, or one of https without the feature of that name; for a name that is empty,
    /// and a key with marks that no header may have.
    pub fn new(url: &str, model: &str, key: Option<&str>) -> Result<Self> {
        let secure = url.starts_with("https://");
        if !(secure || url.starts_with("http://")) || url.contains(char::is_whitespace) {
            return Err(Error::setting("url", format!("{url:?} is no address that begins with http:// or https://")));
        }
        if url.contains('@') {
            return Err(Error::setting(
                "url",
                "holds a name or a password, which would be told in errors: there is the key",
            ));
        }
        if secure && !cfg!(feature = "https") {
            return Err(Error::setting("url", format!("{url}: https needs the feature `https`")));
        }
        if model.is_empty() {
            return Err(Error::setting("model", "a name is needed"));
        }
        if key.is_some_and(|key| !key.bytes().all(|byte| (0x21..0x7f).contains(&byte))) {
            return Err(Error::setting("key", "has marks that no header may have"));
        }
        let minutes = Duration::from_secs(300);
        let config = Agent::config_builder().timeout_global(Some(minutes)).http_status_as_error(false).max_redirects(0);
        Ok(Self {
            agent: config.build().into(),
            url: format!("{}/chat/completions", url.trim_end_matches('/')),
            model: model.into(),
            key: key.map(str::to_owned),
            pause: Duration::from_secs(1),
        })
    }

    fn wrong(&self, what: impl Into<String>) -> Error {
        Error::content(Path::new(&self.url), what)
    }

    /// What the server says, and whether it is to be asked again.
    fn ask(&self, asked: &str) -> Result<(u16, Vec<u8>)> {
        let mut post = self.agent.post(&self.url).header("content-type", "application/json");
        if let Some(key) = &self.key {
            post = post.header("authorization", format!("Bearer {key}"));
        }
        let mut said = post.send(asked).map_err(|error| self.wrong(error.to_string()))?;
        let text = said.body_mut().with_config().limit(MOST).read_to_vec();
        Ok((said.status().as_u16(), text.map_err(|error| self.wrong(error.to_string()))?))
    }
}

impl Chat for Remote {
    fn answer(&mut self, messages: &[Message], tokens: usize) -> Result<String> {
        let turns: Vec<Value> =
            messages.iter().map(|message| json!({"role": message.role, "content": message.text})).collect();
        let asked = json!({
            "model": self.model, "messages": turns, "max_tokens": tokens, "temperature": 0, "seed": 0,
        });
        let asked = asked.to_string();
        let mut pause = self.pause;
        for again in 1.. {
            let (status, text) = self.ask(&asked)?;
            if status == 200 {
                let said: Value = serde_json::from_slice(&text).map_err(|error| self.wrong(error.to_string()))?;
                return match said["choices"][0]["message"]["content"].as_str() {
                    Some(answer) => Ok(answer.trim().to_owned()),
                    None => Err(self.wrong("choices[0].message.content is missing, or no text")),
                };
            }
            if !matches!(status, 429 | 500 | 502 | 503 | 504) || again == TRIES {
                let text: String = String::from_utf8_lossy(&text).chars().take(TOLD).collect();
                return Err(self.wrong(format!("answers with status {status}: {text}")));
            }
            std::thread::sleep(pause);
            pause *= 4;
        }
        Err(self.wrong("was asked no more"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;

    /// A server that gives these answers, one after another, and what it was asked.
    fn serve(answers: Vec<(u16, String)>) -> (String, std::thread::JoinHandle<Vec<String>>) {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/v1/", server.local_addr().unwrap());
        let asked = std::thread::spawn(move || {
            let mut asked = Vec::new();
            for (status, answer) in answers {
                let (mut stream, _) = server.accept().unwrap();
                let (mut text, mut part) = (Vec::new(), [0; 4096]);
                loop {
                    let got = stream.read(&mut part).unwrap();
                    text.extend_from_slice(&part[..got]);
                    let all = String::from_utf8_lossy(&text).into_owned();
                    let Some((head, body)) = all.split_once("\r\n\r\n") else { continue };
                    let length = head.lines().find_map(|line| {
                        line.to_lowercase().strip_prefix("content-length: ").and_then(|length| length.parse().ok())
                    });
                    if body.len() >= length.unwrap_or(0) {
                        asked.push(all);
                        break;
                    }
                }
                let length = answer.len();
                let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
                let _ = stream.write_all(&[head.as_bytes(), answer.as_bytes()].concat()); // it may have hung up
            }
            asked
        });
        (url, asked)
    }

    fn ask(answers: Vec<(u16, &str)>) -> (Result<String>, Vec<String>) {
        let (url, asked) = serve(answers.into_iter().map(|(status, text)| (status, text.to_owned())).collect());
        let mut remote = Remote::new(&url, "a model", Some("secret")).unwrap();
        remote.pause = Duration::from_millis(1);
        let said = remote.answer(&[Message::system("task"), Message::user("why?\n\"")], 7);
        (said, asked.join().unwrap())
    }

    const FINE: &str = r#"{"choices": [{"message": {"role": "assistant", "content": " because \n"}}]}"#;

    #[test]
    fn a_server_answers() {
        let (said, asked) = ask(vec![(200, FINE)]);
        assert_eq!(said.unwrap(), "because");
        let (head, body) = asked[0].split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("POST /v1/chat/completions ") && head.contains("Bearer secret"), "{head}");
        let body: Value = serde_json::from_str(body).unwrap();
        assert_eq!(body["messages"][1], json!({"role": "user", "content": "why?\n\""}));
        assert_eq!((&body["messages"][0]["role"], &body["max_tokens"]), (&json!("system"), &json!(7)));
    }

    #[test]
    fn a_busy_one_is_asked_again() {
        let (said, asked) = ask(vec![(429, ""), (503, ""), (200, FINE)]);
        assert_eq!((said.unwrap().as_str(), asked.len()), ("because", 3));
        let (said, asked) = ask(vec![(503, "full"); TRIES as usize]);
        assert!(said.unwrap_err().to_string().contains("status 503: full") && asked.len() == TRIES as usize);
    }

    #[test]
    fn what_is_no_answer_is_told() {
        for (status, text, want) in [
            (401, "who are you?", "status 401: who are you?"),
            (302, "", "status 302"),
            (200, "<html>", "expected value"),
            (200, r#"{"choices": []}"#, "choices[0]"),
            (200, r#"{"choices": [{"message": {"content": 3}}]}"#, "choices[0]"),
        ] {
            let said = ask(vec![(status, text)]).0.unwrap_err().to_string();
            assert!(said.contains(want) && said.contains("/v1/chat/completions") && !said.contains("secret"), "{said}");
        }
        let long = format!("\"{}\"", "x".repeat(MOST as usize));
        assert!(ask(vec![(200, &long)]).0.unwrap_err().to_string().contains("limit"));
        let nobody = Remote::new("http://127.0.0.1:1", "m", None).unwrap().answer(&[Message::user("?")], 1);
        assert!(nobody.unwrap_err().to_string().contains("127.0.0.1:1"));
    }

    #[test]
    fn wrong_addresses_are_refused() {
        let said = |url: &str, model: &str, key| match Remote::new(url, model, key) {
            Err(error) => error.to_string(),
            Ok(_) => String::new(),
        };
        assert!(said("ftp://x", "m", None).contains("begins with http"));
        assert!(said("http://a b", "m", None).contains("no address"));
        let with_password = said("http://me:secret@a", "m", None);
        assert!(with_password.contains("password") && !with_password.contains("secret"));
        assert!(said("http://a", "", None).contains("name"));
        assert!(said("http://a", "m", Some("a\r\nb")).contains("header"));
        assert_eq!(said("https://a", "m", None).contains("feature"), !cfg!(feature = "https"));
    }
}
