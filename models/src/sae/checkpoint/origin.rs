use super::settings::{CONFIG, Settings};
use super::{Origin, saelens};
use crate::io::Result;
use serde_json::{Map, Value};
use std::path::Path;

impl Origin {
    /// What a checkpoint in SAELens' layout says of itself, of whatever version; nothing, of the others, which say nothing.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn of(folder: &Path) -> Result<Self> {
        if !folder.join(saelens::WEIGHTS).is_file() {
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

    /// As SAELens has it. What is not known is left out: its readers have defaults of their own.
    pub(super) fn metadata(&self) -> Value {
        let mut all = Map::new();
        all.insert("sae_lens_version".into(), "6.0.0".into());
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
