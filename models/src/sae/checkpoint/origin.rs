use super::settings::{CONFIG, Settings};
use super::{Origin, saelens, sparsify};
use crate::io::{Error, Result};
use serde_json::{Map, Value};
use std::path::Path;

impl Origin {
    /// What a checkpoint in SAELens' layout says of itself, of whatever version, one of Llama Scope, and one in sparsify's that was written here;
    /// nothing, of the others, which say nothing.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn of(folder: &Path) -> Result<Self> {
        let llama = folder.join(super::llama::CONFIG);
        if llama.is_file() {
            let config = Settings::open(&llama)?.value;
            let text = |name: &str| config[name].as_str().unwrap_or_default().to_owned();
            let (hook, predicted) = (text("hook_point_in"), text("hook_point_out"));
            let predicted = if predicted == hook { String::new() } else { predicted };
            return Ok(Self { hook, predicted, ..Self::default() });
        }
        if ![saelens::WEIGHTS, sparsify::WEIGHTS].iter().any(|name| folder.join(name).is_file()) {
            return Ok(Self::default());
        }
        let config = Settings::open(&folder.join(CONFIG))?.value;
        // Before version 6 it stood among the settings.
        let said = |name: &str| match &config["metadata"][name] {
            Value::Null => config[name].clone(),
            said => said.clone(),
        };
        let text = |name: &str| said(name).as_str().unwrap_or_default().to_owned();
        let begin = said("prepend_bos").as_bool();
        let context = said("context_size").as_u64().and_then(|size| usize::try_from(size).ok()).unwrap_or(0);
        Ok(Self {
            model: text("model_name"),
            hook: text("hook_name"),
            predicted: text("hook_name_out"),
            context: if begin.is_some() { context } else { 0 },
            begin: begin.unwrap_or(false),
        })
    }

    /// From JSON: an object of [`Origin`]'s fields. What is not there is not known; `context` and `begin` are known together.
    ///
    /// # Errors
    /// [`Error::Setting`] for what is no such object, or a name that is none of a field.
    pub fn from_json(text: &str) -> Result<Self> {
        let wrong = |what: String| Error::setting("origin", what);
        let given: Value = serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?;
        if !given.is_object() {
            return Err(wrong("is no object".into()));
        }
        if given.get("context").is_some() != given.get("begin").is_some() {
            return Err(wrong("has one of context and begin, expected both or none".into()));
        }
        serde_json::from_value(given).map_err(|error| wrong(error.to_string()))
    }

    /// Under SAELens' names. What is not known is left out: its readers have defaults of their own.
    pub(super) fn metadata(&self) -> Value {
        let mut all = Map::new();
        let texts = [("model_name", &self.model), ("hook_name", &self.hook), ("hook_name_out", &self.predicted)];
        for (name, text) in texts.into_iter().filter(|(_, text)| !text.is_empty()) {
            all.insert(name.into(), text.as_str().into());
        }
        if self.context > 0 {
            all.insert("context_size".into(), self.context.into());
            all.insert("prepend_bos".into(), self.begin.into());
        }
        Value::Object(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text() {
        let whole = r#"{"model": "gpt2", "hook": "blocks.3.hook_mlp_in", "predicted": "blocks.3.hook_mlp_out", "context": 128, "begin": true}"#;
        let [model, hook, predicted] = ["gpt2", "blocks.3.hook_mlp_in", "blocks.3.hook_mlp_out"].map(String::from);
        let want = Origin { model, hook, predicted, context: 128, begin: true };
        assert_eq!(Origin::from_json(whole).unwrap(), want);
        let model = Origin { model: want.model, ..Origin::default() };
        assert_eq!(Origin::from_json(r#"{"model": "gpt2"}"#).unwrap(), model);
        assert_eq!(Origin::from_json("{}").unwrap(), Origin::default());
    }

    #[test]
    fn wrong_text_is_named() {
        let said = |text: &str| Origin::from_json(text).unwrap_err().to_string();
        for (text, what) in [
            ("[]", "no object"),
            ("null", "no object"),
            ("{", "EOF"),
            (r#"{"modell": "gpt2"}"#, "unknown field `modell`, expected one of `model`"),
            (r#"{"model": 2}"#, "expected a string"),
            (r#"{"context": -1, "begin": true}"#, "expected usize"),
            (r#"{"context": 128, "begin": "yes"}"#, "expected a boolean"),
            (r#"{"context": 128}"#, "both or none"),
            (r#"{"begin": true}"#, "both or none"),
        ] {
            assert!(said(text).starts_with("origin: ") && said(text).contains(what), "{text}: {}", said(text));
        }
    }
}
