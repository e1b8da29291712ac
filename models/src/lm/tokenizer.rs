mod patterns;

use crate::io::gguf::{Gguf, Value};
use crate::io::{Error, Result, short};
use serde::Serialize;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use tokenizers::DecoderWrapper;

/// Text to ids and back.
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    /// The bytes that each token stands for.
    bytes: Vec<Vec<u8>>,
    /// Whether joining those bytes gives the text: not where a decoder adds or strips spaces.
    joined: bool,
    begin: Option<u32>,
    begins: bool,
    end: Option<u32>,
}

/// A kind of token in GGUF metadata that is matched before text is split.
const CONTROL: i64 = 3;
const USER: i64 = 4;

impl Tokenizer {
    /// The tokenizer in the metadata of a GGUF file: byte-level BPE, split as GPT-2 or SmolLM do.
    ///
    /// # Errors
    /// [`Error::Content`] for another model, another split, or a vocabulary that contradicts itself.
    pub fn from_gguf(file: &Gguf) -> Result<Self> {
        let wrong = |what: String| Error::content(file.path(), what);
        let model = file.get("tokenizer.ggml.model", Value::text)?;
        if model != "gpt2" {
            return Err(wrong(format!(
                "its tokenizer is of kind {model}, expected gpt2; give a tokenizer.json instead"
            )));
        }
        let tokens = file.get("tokenizer.ggml.tokens", Value::texts)?;
        let kinds = file.find("tokenizer.ggml.token_type", Value::integers)?.unwrap_or_else(|| vec![1; tokens.len()]);
        if kinds.len() != tokens.len() {
            return Err(wrong(format!("its tokenizer has {} tokens, but {} kinds", tokens.len(), kinds.len())));
        }
        let split = match file.find("tokenizer.ggml.pre", Value::text)?.unwrap_or("gpt-2") {
            "gpt-2" | "default" => byte_level(),
            "smollm" => {
                let digits = json!({"type": "Digits", "individual_digits": true});
                json!({"type": "Sequence", "pretokenizers": [digits, byte_level()]})
            }
            other => {
                return Err(wrong(format!(
                    "its tokenizer splits text as {other}, expected gpt-2 or smollm; give a tokenizer.json instead"
                )));
            }
        };
        let pairs = file.get("tokenizer.ggml.merges", Value::texts)?.iter().map(|pair| {
            pair.split_once(' ')
                .map(|(a, b)| [a, b])
                .ok_or_else(|| wrong(format!("the merge \"{}\" is no pair of tokens", short(pair))))
        });
        let text = describe(tokens, &kinds, &pairs.collect::<Result<Vec<_>>>()?, &split);
        let text = text.map_err(|e| wrong(e.to_string()))?;
        let token =
            |key| file.find(key, |value| value.unsigned().map(|id| u32::try_from(id).ok())).map(Option::flatten);
        let end = token("tokenizer.ggml.eos_token_id")?;
        let begins = file.find("tokenizer.ggml.add_bos_token", Value::bool)?.unwrap_or(false);
        let begin = token("tokenizer.ggml.bos_token_id")?;
        let mut tokenizer = Self::new(&text, file.path())?;
        (tokenizer.begin, tokenizer.begins, tokenizer.end) = (begin, begins, end);
        Ok(tokenizer)
    }

    /// The tokenizer in a `tokenizer.json`. The tokens that begin and end a text are not in it; common names are
    /// tried.
    ///
    /// # Errors
    /// [`Error::Content`] if it is not sound.
    pub fn from_json(path: &Path) -> Result<Self> {
        let mut tokenizer = Self::new(&std::fs::read(path).map_err(Error::system(path, "read"))?, path)?;
        let ends = ["<|im_end|>", "<|eot_id|>", "<|end_of_text|>", "<|endoftext|>", "</s>"];
        let begins = ["<|im_start|>", "<|begin_of_text|>", "<|endoftext|>", "<s>"];
        tokenizer.begin = begins.into_iter().find_map(|begin| tokenizer.inner.token_to_id(begin));
        tokenizer.end = ends.into_iter().find_map(|end| tokenizer.inner.token_to_id(end));
        Ok(tokenizer)
    }

    fn new(json: &[u8], path: &Path) -> Result<Self> {
        let wrong = |what: String| Error::content(path, format!("its tokenizer: {what}"));
        patterns::check(json).map_err(wrong)?;
        let mut inner = contained(|| tokenizers::Tokenizer::from_bytes(json)).map_err(wrong)?;
        // A text has the tokens it has: some files cut every text to one length, or fill it up.
        inner.with_padding(None).with_truncation(None).map_err(|e| wrong(e.to_string()))?;
        let joined = matches!(inner.get_decoder(), Some(DecoderWrapper::ByteLevel(_)));
        let (alphabet, added) = (alphabet(), inner.get_added_tokens_decoder());
        let vocabulary = inner.get_vocab(true);
        let count = vocabulary.values().max().map_or(0, |&id| id as usize + 1);
        if count > 2 * vocabulary.len() + 1024 {
            return Err(wrong(format!("{} tokens with ids up to {}", vocabulary.len(), count - 1)));
        }
        let mut bytes = vec![Vec::new(); count];
        for (token, id) in vocabulary {
            bytes[id as usize] = match added.contains_key(&id) {
                true => token.into_bytes(),
                false if joined => from_alphabet(&alphabet, &token),
                false => from_pieces(&token),
            };
        }
        Ok(Self { inner, bytes, joined, begin: None, begins: false, end: None })
    }

    /// So many words, `w0` and so on, parted by spaces.
    #[cfg(test)]
    pub(crate) fn of_words(count: usize) -> Self {
        let words: serde_json::Map<String, serde_json::Value> =
            (0..count).map(|id| (format!("w{id}"), id.into())).collect();
        let model = json!({"type": "WordLevel", "vocab": words, "unk_token": "w0"});
        let json = json!({"version": "1.0", "model": model, "pre_tokenizer": {"type": "WhitespaceSplit"}});
        Self::new(json.to_string().as_bytes(), Path::new("words")).unwrap()
    }

    /// Ids up to here, exclusive.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there are no tokens.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The token that begins a text, if there is one. [`encode`](Self::encode) puts it there only if the file asks for it.
    pub fn begin(&self) -> Option<u32> {
        self.begin
    }

    /// The token that ends a text, if there is one.
    pub fn end(&self) -> Option<u32> {
        self.end
    }

    /// The ids of the tokens that stand for no text: those that its file calls special, and those that begin and end a text.
    pub fn special(&self) -> Vec<u32> {
        let added = self.inner.get_added_tokens_decoder();
        let special = added.iter().filter(|(_, token)| token.special).map(|(&id, _)| id);
        let all: BTreeSet<u32> = special.chain(self.begin).chain(self.end).collect();
        all.into_iter().collect()
    }

    /// The id of a token by its name, as in `<|im_start|>`.
    pub fn id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// The ids of a text. Names of special tokens in it become those tokens.
    ///
    /// # Errors
    /// [`Error::Setting`] if the tokenizer cannot take the text.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let encoded = contained(|| self.inner.encode_fast(text, true)).map_err(|what| Error::setting("text", what))?;
        Ok(self.begin.filter(|_| self.begins).into_iter().chain(encoded.get_ids().iter().copied()).collect())
    }

    /// The text of ids. Bytes that are no UTF-8 become U+FFFD; ids that are no tokens, nothing.
    pub fn decode(&self, ids: &[u32]) -> String {
        if !self.joined {
            return contained(|| self.inner.decode(ids, false)).unwrap_or_default();
        }
        let bytes: Vec<u8> = ids.iter().flat_map(|&id| self.bytes(id)).copied().collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The bytes that a token stands for; a character may be spread over several tokens.
    pub fn bytes(&self, id: u32) -> &[u8] {
        self.bytes.get(id as usize).map_or(&[], Vec::as_slice)
    }

    /// One token for display: always valid, bytes that are no whole character written as `<0xE2>`.
    pub fn text(&self, id: u32) -> String {
        let mut text = String::new();
        for chunk in self.bytes(id).utf8_chunks() {
            text.push_str(chunk.valid());
            text.extend(chunk.invalid().iter().map(|byte| format!("<0x{byte:02X}>")));
        }
        text
    }

    /// A decoder for ids that come one by one.
    pub fn pieces(&self) -> Pieces<'_> {
        Pieces { tokenizer: self, waiting: Vec::new() }
    }
}

/// What the tokenizers crate says. It believes its files, and panics on some that make no sense (a decoder that strips more
/// letters than a token has, say): here that is an error like others.
fn contained<R>(
    say: impl FnOnce() -> std::result::Result<R, Box<dyn std::error::Error + Send + Sync>>,
) -> std::result::Result<R, String> {
    match catch_unwind(AssertUnwindSafe(say)) {
        Ok(said) => said.map_err(|e| e.to_string()),
        Err(_) => Err("its parts contradict each other".into()),
    }
}

/// How GPT-2 splits text, and how it joins it.
fn byte_level() -> serde_json::Value {
    json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true})
}

/// A token that is matched before text is split, as a tokenizer.json has it.
#[derive(Serialize)]
struct Added<'a> {
    id: usize,
    content: &'a str,
    single_word: bool,
    lstrip: bool,
    rstrip: bool,
    normalized: bool,
    special: bool,
}

/// The description that a tokenizer.json holds, so that there is one way in. What is long is written as it is, not gathered
/// before.
fn describe(
    tokens: &[String],
    kinds: &[i64],
    merges: &[[&str; 2]],
    split: &serde_json::Value,
) -> serde_json::Result<Vec<u8>> {
    #[derive(Serialize)]
    struct Whole<'a> {
        version: &'static str,
        added_tokens: Vec<Added<'a>>,
        pre_tokenizer: &'a serde_json::Value,
        decoder: serde_json::Value,
        model: Model<'a>,
    }
    #[derive(Serialize)]
    struct Model<'a> {
        r#type: &'static str,
        fuse_unk: bool,
        byte_fallback: bool,
        vocab: BTreeMap<&'a str, usize>,
        merges: &'a [[&'a str; 2]],
    }
    let special = tokens.iter().zip(kinds).enumerate().filter(|(_, (_, kind))| [CONTROL, USER].contains(kind));
    let added = special.map(|(id, (content, &kind))| {
        let special = kind == CONTROL;
        Added { id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special }
    });
    let vocab = tokens.iter().enumerate().rev().map(|(id, token)| (&**token, id)).collect();
    serde_json::to_vec(&Whole {
        version: "1.0",
        added_tokens: added.collect(),
        pre_tokenizer: split,
        decoder: byte_level(),
        model: Model { r#type: "BPE", fuse_unk: false, byte_fallback: false, vocab, merges },
    })
}

/// Turns ids that come one by one into text, each character as soon as it is whole.
pub struct Pieces<'a> {
    tokenizer: &'a Tokenizer,
    waiting: Vec<u8>,
}

impl Pieces<'_> {
    /// The text that is whole with this token. Bytes that can be no character become U+FFFD.
    pub fn push(&mut self, id: u32) -> String {
        self.waiting.extend_from_slice(self.tokenizer.bytes(id));
        let (mut text, mut used) = (String::new(), 0);
        while let Err(error) = std::str::from_utf8(&self.waiting[used..]) {
            let valid = used + error.valid_up_to();
            let Some(bad) = error.error_len() else {
                text.push_str(&String::from_utf8_lossy(&self.waiting[used..valid]));
                self.waiting.drain(..valid); // the rest may still become a character
                return text;
            };
            text.push_str(&String::from_utf8_lossy(&self.waiting[used..valid + bad]));
            used = valid + bad;
        }
        text.push_str(&String::from_utf8_lossy(&self.waiting[used..]));
        self.waiting.clear();
        text
    }

    /// What is left at the end: U+FFFD for a character that was never finished.
    pub fn finish(self) -> String {
        String::from_utf8_lossy(&self.waiting).into_owned()
    }
}

/// The printable character that stands for each byte in byte-level BPE: itself if it is one, else the next from U+0100 on.
fn alphabet() -> BTreeMap<char, u8> {
    let mut spare = 0x100..;
    let mut stands_for = |byte: u8| match byte {
        b'!'..=b'~' | 0xa1..=0xac | 0xae.. => char::from(byte),
        _ => spare.next().and_then(char::from_u32).unwrap_or_default(),
    };
    (0..=255).map(|byte| (stands_for(byte), byte)).collect()
}

fn from_alphabet(alphabet: &BTreeMap<char, u8>, token: &str) -> Vec<u8> {
    let bytes: Option<_> = token.chars().map(|letter| alphabet.get(&letter).copied()).collect();
    bytes.unwrap_or_else(|| token.as_bytes().to_vec())
}

/// The bytes of a token of the other sort: `<0x0A>` is a byte, `▁` a space.
fn from_pieces(token: &str) -> Vec<u8> {
    let byte = token.strip_prefix("<0x").and_then(|rest| rest.strip_suffix('>'));
    match byte.and_then(|byte| u8::from_str_radix(byte, 16).ok()) {
        Some(byte) => vec![byte],
        None => token.replace('▁', " ").into_bytes(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A decoder that strips more letters than a token has: the crate panics, and here there is no text.
    #[test]
    fn what_makes_no_sense_is_contained() {
        let of = |stop: usize| {
            let json = json!({
                "version": "1.0", "added_tokens": [],
                "decoder": {"type": "Strip", "content": "a", "start": 0, "stop": stop},
                "model": {"type": "WordLevel", "unk_token": "b", "vocab": {"a": 0, "b": 1}},
            });
            Tokenizer::new(json.to_string().as_bytes(), Path::new("tokenizer.json")).unwrap()
        };
        assert_eq!((of(1).decode(&[0, 1]), of(3).decode(&[0, 1])), ("b".into(), String::new()));
        assert_eq!(of(3).encode("a").unwrap(), [0]);
        let said = Tokenizer::new(b"{}", Path::new("tokenizer.json")).err().unwrap().to_string();
        assert!(said.contains("its tokenizer: "), "{said}");
    }
    #[test]
    fn special_tokens_stand_for_no_text() {
        let added = |id: u32, content: &str, special: bool| {
            json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": special})
        };
        let json = json!({
            "version": "1.0", "added_tokens": [added(2, "<s>", true), added(3, "<user>", false)],
            "model": {"type": "WordLevel", "unk_token": "b", "vocab": {"a": 0, "b": 1}},
        });
        let mut tokenizer = Tokenizer::new(json.to_string().as_bytes(), Path::new("tokenizer.json")).unwrap();
        assert_eq!(tokenizer.special(), [2]);
        tokenizer.end = Some(1);
        assert_eq!(tokenizer.special(), [1, 2]);
    }
}
