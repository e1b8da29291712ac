//! Settings as text.
use super::{Config, Decoder, Rule};
use crate::io::{Error, Result};
use serde_json::{Map, Value};

/// Settings that have no usual value.
const NEEDED: [&str; 3] = ["d", "latents", "steps"];
/// `k` where nothing is said: for variants that have no use for it, too.
const K: usize = 32;

impl Config {
    /// Settings from JSON: an object of [`Config`]'s fields. `d`, `latents` and `steps` must be there; what else is not, is as
    /// [`Config::new`] has it, with `k` 32 or all latents, if they are fewer, and the rate that suits the [`Rule`]; a transcoder has a
    /// free decoder and an encoder that is not centred, and dead latents are revived of TopK, BatchTopK and GroupMax only. Variants are `"topk"`, `"batchtopk"`, `"groupmax"`, or an
    /// object: `{"relu": {"weight": 5, "cost": {"power": 1}}}`.
    ///
    /// # Errors
    /// [`Error::Setting`] for what is no such object, a name that is none of a setting, or settings that have no meaning.
    pub fn from_json(text: &str) -> Result<Self> {
        let wrong = |what: String| Error::setting("config", what);
        let given: Value = serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?;
        let Value::Object(given) = given else { return Err(wrong("is no object".into())) };
        let [d, latents, steps] = NEEDED.map(|name| size(&given, name));
        let (d, latents, steps) = (d?, latents?, steps?);
        let k = if given.contains_key("k") { size(&given, "k")? } else { K.min(latents) };
        let mut usual = Self::new(d, latents, k, steps);
        if let Some(rule) = given.get("rule") {
            let rule: Rule = serde_json::from_value(rule.clone()).map_err(|error| wrong(format!("rule: {error}")))?;
            usual.rate = rule.rate(latents);
        }
        // What the others of these settings ask for.
        if given.get("transcode").is_some_and(|transcode| !transcode.is_null()) {
            (usual.centred, usual.decoder) = (false, Decoder::Free);
        }
        if given.get("ranked_by_length") == Some(&Value::Bool(true)) {
            usual.decoder = Decoder::Free;
        }
        if given.get("variant").is_some_and(Value::is_object) {
            usual.revive = None; // penalties keep latents alive, or kill them, by themselves; experts are not revived
        }
        let usual = serde_json::to_value(usual).map_err(|error| wrong(error.to_string()))?;
        let Value::Object(mut all) = usual else { return Err(wrong("is no object".into())) };
        for (name, value) in given {
            match all.get_mut(&name) {
                Some(to) => *to = value,
                None => {
                    return Err(wrong(format!("{name} is no setting; there are {:?}", all.keys().collect::<Vec<_>>())));
                }
            }
        }
        let config: Self = serde_json::from_value(Value::Object(all)).map_err(|error| wrong(error.to_string()))?;
        config.check()?;
        Ok(config)
    }

    /// All settings as JSON, which [`from_json`](Self::from_json) reads.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default() // no map in it has keys that are not text
    }
}

fn size(given: &Map<String, Value>, name: &'static str) -> Result<usize> {
    match given.get(name).map(|size| size.as_u64().map(usize::try_from)) {
        Some(Some(Ok(size))) => Ok(size),
        Some(_) => Err(Error::setting(name, format!("is {}, expected a size", given[name]))),
        None => Err(Error::setting(name, "is missing")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sae::{Cost, Jump, Sparsity, Variant};

    #[test]
    fn text_and_back() {
        let jump = Jump { sparsity: Sparsity { cost: Cost::Target(20.0), ..Sparsity::default() }, ..Jump::default() };
        let config = Config { variant: Variant::JumpReLU(jump), prefixes: vec![4, 16], ..Config::new(8, 16, 2, 20) };
        assert_eq!(Config::from_json(&config.to_json()).unwrap(), config);
        let short = r#"{"d": 8, "latents": 16, "steps": 20, "variant": {"relu": {"weight": 3, "cost": {"power": 1}}}}"#;
        let sparsity = Sparsity { weight: 3.0, cost: Cost::Power(1.0), warm: 0, by_length: false, anneal: None };
        let want = Config { variant: Variant::ReLU(sparsity), revive: None, ..Config::new(8, 16, 16, 20) };
        assert_eq!(Config::from_json(short).unwrap(), want);
    }

    #[test]
    fn wrong_text_is_named() {
        let said = |text: &str| Config::from_json(text).unwrap_err().to_string();
        for (text, what) in [
            ("[]", "no object"),
            ("{", "EOF"),
            (r#"{"d": 8, "latents": 16}"#, "steps"),
            (r#"{"d": -8, "latents": 16, "steps": 1}"#, "d"),
            (r#"{"d": 8, "latents": 16, "steps": 1, "kay": 3}"#, "kay is no setting"),
            (r#"{"d": 8, "latents": 16, "steps": 1, "k": 17}"#, "17 is more"),
            (r#"{"d": 8, "latents": 16, "steps": 1, "variant": {"relu": {"weight": 3}}}"#, "cost"),
            (r#"{"d": 8, "latents": 16, "steps": 1, "variant": {"relu": {"weight": 3, "cost": "count"}}}"#, "jumprelu"),
            (r#"{"d": 8, "latents": 16, "steps": 1, "rate": 1e400}"#, "number out of range"),
        ] {
            assert!(said(text).contains(what), "{text}: {}", said(text));
        }
    }
}
