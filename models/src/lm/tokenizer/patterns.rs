//! Regular expressions in a `tokenizer.json`. Compiled, one of a few letters can take ten megabytes (`\w{1,999}`), so that what they
//! weigh together is limited before any is.
use serde::de::{Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// What all expressions of a file may weigh: some times those of the files that there are.
const MOST: usize = 1 << 12;

/// Refuse a file whose expressions are too heavy. Whether it is sound otherwise is for its reader to tell.
pub(super) fn check(json: &[u8]) -> Result<(), String> {
    let mut weight = 0;
    let _ = Walk { weight: &mut weight, pattern: false }.deserialize(&mut serde_json::Deserializer::from_slice(json));
    match weight <= MOST {
        true => Ok(()),
        false => Err(format!("its regular expressions would repeat to {weight} parts, at most {MOST} are read")),
    }
}

/// Letters, times all counts in braces: `{n}`, `{m,}` or `{m,n}`.
fn weight(pattern: &str) -> usize {
    let counts = pattern.split('{').skip(1).filter_map(|rest| {
        let (inside, _) = rest.split_once('}')?;
        let numbers: Option<Vec<usize>> =
            inside.split(',').filter(|number| !number.trim().is_empty()).map(count).collect();
        numbers?.into_iter().max()
    });
    counts.fold(pattern.len(), |weight, count| weight.saturating_mul(count.max(1)))
}

/// A count; one of too many digits is the greatest.
fn count(number: &str) -> Option<usize> {
    let number = number.trim();
    let digits = number.bytes().all(|digit| digit.is_ascii_digit());
    digits.then(|| number.parse().unwrap_or(usize::MAX))
}

/// Through all values; those under the name `Regex` are patterns.
struct Walk<'a> {
    weight: &'a mut usize,
    pattern: bool,
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        if self.pattern {
            *self.weight = self.weight.saturating_add(weight(text));
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element_seed(Walk { weight: &mut *self.weight, pattern: false })?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(Name(pattern)) = map.next_key()? {
            map.next_value_seed(Walk { weight: &mut *self.weight, pattern })?;
        }
        Ok(())
    }
}

/// Whether a name is that of patterns.
struct Name(bool);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Is;
        impl Visitor<'_> for Is {
            type Value = Name;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_str<E>(self, name: &str) -> Result<Name, E> {
                Ok(Name(name == "Regex"))
            }
        }
        from.deserialize_str(Is)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_are_weighed() {
        for (pattern, heavy) in
            [("a", 1), ("a{3}", 12), ("[{|}]", 5), ("(a{2,}b{1, 5}){10}", 1800), (r"\p{L}{1,3}", 30)]
        {
            assert_eq!(weight(pattern), heavy, "{pattern}");
        }
        assert_eq!(weight("a{99999999999999999999999}"), usize::MAX);
        let split = |pattern: &str| format!(r#"{{"a": [1, null, {{"pattern": {{"\u0052egex": "{pattern}"}}}}]}}"#);
        // Llama 3 has this one.
        let real = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+";
        assert_eq!(check(split(real).as_bytes()), Ok(()));
        assert!(check(split(r"\\w{1,999}").as_bytes()).unwrap_err().contains("repeat to 8991 parts"));
        assert_eq!(check(br#"{"content": "\\w{1,999}"}"#), Ok(()));
    }
}
