use super::rows::each;
use crate::io::Result;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::fmt;
use std::marker::PhantomData;
use std::path::Path;

/// A country, and what is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Country {
    /// Its English name.
    pub name: String,
    /// Its capital, of several the first.
    pub capital: String,
    /// The part of the world that it is in.
    pub region: String,
    /// A smaller part.
    pub subregion: String,
    /// What its money is called.
    pub currency: String,
    /// Its languages, by their English names.
    pub languages: Vec<String>,
    /// What somebody from there is called.
    pub demonym: String,
}

/// The first values of a list, or of an object: a file may hold any number, but no country has as many.
struct Few<T>(Vec<T>);

impl<T> Few<T> {
    const MOST: usize = 64;
}

impl<T> Default for Few<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Few<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        from.deserialize_any(Taken(PhantomData))
    }
}

struct Taken<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Taken<T> {
    type Value = Few<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list or an object")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> std::result::Result<Few<T>, A::Error> {
        let mut few = Few::default();
        while few.0.len() < Few::<T>::MOST {
            let Some(value) = list.next_element()? else { return Ok(few) };
            few.0.push(value);
        }
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(few)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Few<T>, A::Error> {
        let mut few = Few::default();
        while map.next_key::<IgnoredAny>()?.is_some() {
            if few.0.len() < Few::<T>::MOST {
                few.0.push(map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(few)
    }
}

/// Read the countries of `world-countries`; those of which not all is known are passed over.
///
/// # Errors
/// A file that is missing or no such list.
pub fn countries(path: &Path) -> Result<Vec<Country>> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Row {
        name: Name,
        capital: Few<String>,
        region: String,
        subregion: String,
        currencies: Few<Money>,
        languages: Few<String>,
        demonyms: Demonyms,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Name {
        common: String,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Money {
        name: String,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Demonyms {
        eng: Demonym,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Demonym {
        m: String,
    }
    let mut all = Vec::new();
    each(path, |row: Row| {
        if row.name.common.is_empty() {
            return Err("has no name".into());
        }
        let country = Country {
            name: row.name.common,
            capital: row.capital.0.into_iter().next().unwrap_or_default(),
            region: row.region,
            subregion: row.subregion,
            currency: row.currencies.0.into_iter().next().unwrap_or_default().name,
            languages: row.languages.0,
            demonym: row.demonyms.eng.m,
        };
        let known = [&country.capital, &country.region, &country.subregion, &country.currency, &country.demonym];
        if known.iter().all(|text| !text.is_empty()) && !country.languages.is_empty() {
            all.push(country);
        }
        Ok(())
    })?;
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn countries_that_are_whole() {
        let folder = std::env::temp_dir().join(format!("latens-steer-countries-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("countries.json");
        let spain = r#"{"name": {"common": "Spain"}, "capital": ["Madrid"], "region": "Europe", "subregion": "Southern Europe",
            "currencies": {"EUR": {"name": "Euro"}}, "languages": {"spa": "Spanish"}, "demonyms": {"eng": {"m": "Spanish"}}}"#;
        fs::write(&path, format!("[{spain}, {{\"name\": {{\"common\": \"Nowhere\"}}}}]")).unwrap();
        let [found] = &countries(&path).unwrap()[..] else { panic!("one is whole") };
        assert_eq!((&*found.name, &*found.capital, &*found.currency), ("Spain", "Madrid", "Euro"));
        assert_eq!((&found.languages[..], &*found.demonym), (&["Spanish".to_owned()][..], "Spanish"));
        let many: Vec<String> = (0..200).map(|at| format!("\"{at}\": \"l{at}\"")).collect();
        let speaks = spain.replace("\"spa\": \"Spanish\"}", &format!("{}}}", many.join(",")));
        fs::write(&path, format!("[{speaks}]")).unwrap();
        assert_eq!(countries(&path).unwrap()[0].languages.len(), 64);
        fs::write(&path, "[{}]").unwrap();
        assert!(countries(&path).unwrap_err().to_string().contains("no name"));
        fs::remove_dir_all(&folder).unwrap();
    }
}
