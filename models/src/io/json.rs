//! JSON of strangers: paid for by its values before it is read, and no name twice where that would hide one.
use super::budget::Budget;
use super::{Error, Result};
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use std::collections::HashSet;
use std::fmt;
use std::path::Path;

/// Memory of an entry of a list: with room for as many again, as growing lists have.
const ENTRY: usize = 2 * size_of::<Value>();
/// Memory of a name and its value in a map, beside its letters.
const PAIR: usize = 128;
/// Memory of a map with anything in it: a node of a tree has room for eleven names and values.
const NODE: usize = 5 * PAIR;

/// The value in the file at `path`.
///
/// # Errors
/// [`Error::System`]; [`Error::Content`] if it is no JSON, or has far more values than bytes can justify.
pub(crate) fn read(path: &Path) -> Result<Value> {
    let text = std::fs::read(path).map_err(Error::system(path, "read"))?;
    let wrong = |e: serde_json::Error| Error::content(path, format!("this is no JSON that is read: {e}"));
    count(&text, &mut Budget::of(text.len() as u64), false).map_err(wrong)?;
    serde_json::from_slice(&text).map_err(wrong)
}

/// Pay for all values of a text. If it is `named`, it must be an object none of whose names occurs twice: of two, a map would
/// silently keep the last.
pub(crate) fn count(text: &[u8], budget: &mut Budget, named: bool) -> serde_json::Result<()> {
    let mut input = serde_json::Deserializer::from_slice(text);
    match named {
        true => input.deserialize_map(Names(budget))?,
        false => Count(budget).deserialize(&mut input)?,
    }
    input.end()
}

/// Any value.
struct Count<'a>(&'a mut Budget);

impl<'de> DeserializeSeed<'de> for Count<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> std::result::Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Count<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, _: bool) -> std::result::Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> std::result::Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> std::result::Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> std::result::Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> std::result::Result<(), E> {
        Ok(())
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> std::result::Result<(), E> {
        self.0.pay(text.len()).map_err(E::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> std::result::Result<(), A::Error> {
        while list.next_element_seed(Count(self.0))?.is_some() {
            self.0.pay(ENTRY).map_err(A::Error::custom)?;
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<(), A::Error> {
        let mut pairs = 0;
        while map.next_key_seed(Count(self.0))?.is_some() {
            // The first pays for as many as fit in a node that is half full.
            let cost = match pairs {
                0 => NODE,
                1..5 => 0,
                _ => PAIR,
            };
            self.0.pay(cost).map_err(A::Error::custom)?;
            map.next_value_seed(Count(self.0))?;
            pairs += 1;
        }
        Ok(())
    }
}

/// An object whose names are all different.
struct Names<'a>(&'a mut Budget);

impl<'de> Visitor<'de> for Names<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<(), A::Error> {
        let mut seen = HashSet::<String>::new();
        while let Some(name) = map.next_key::<String>()? {
            self.0.pay(PAIR + name.len()).map_err(A::Error::custom)?;
            map.next_value_seed(Count(self.0))?;
            if seen.contains(&name) {
                return Err(A::Error::custom(format!("tensor {name} occurs twice")));
            }
            seen.insert(name);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_paid_for() {
        let count = |text: &str| count(text.as_bytes(), &mut Budget::of(text.len() as u64), false);
        count(r#"{"a": [1, -2, 2.5, null, true, "b"], "c": {}}"#).unwrap();
        // A settings file of thousands of entries is read, one of nothing but short entries is not.
        let pairs: Vec<_> =
            (0..20_000).map(|i| format!(r#""model.layers.{i}.weight": "model-00001-of-00002""#)).collect();
        count(&format!("{{{}}}", pairs.join(","))).unwrap();
        for dense in ["0", "[]", "\"\"", "{}", "{\"\":0}"] {
            let error = count(&format!("[{}]", vec![dense; 100_000].join(","))).unwrap_err().to_string();
            assert!(error.contains("bytes of memory"), "{dense}: {error}");
        }
        assert!(count("[1").is_err() && count("1 2").is_err());
    }

    #[test]
    fn names_once() {
        let count = |text: &str| count(text.as_bytes(), &mut Budget::of(1000), true).map_err(|e| e.to_string());
        assert_eq!(count(r#"{"a": {"x": 1, "x": 2}, "b": 1}"#), Ok(()));
        assert!(count(r#"{"a": 1, "a": 2}"#).unwrap_err().contains("tensor a occurs twice"));
        assert!(count("[]").is_err());
    }
}
