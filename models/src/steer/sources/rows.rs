//! Lists in JSON, an entry at a time.
use crate::io::{Error, Result};
use serde::de::{DeserializeOwned, Deserializer, Error as _, SeqAccess, Visitor};
use std::marker::PhantomData;
use std::path::Path;
use std::{fmt, fs};

/// Call `then` with every row of the list in a file of JSON, of which only what `Row` names is kept.
pub(super) fn each<Row: DeserializeOwned>(
    path: &Path,
    then: impl FnMut(Row) -> std::result::Result<(), String>,
) -> Result<()> {
    let text = fs::read(path).map_err(Error::system(path, "read"))?;
    let wrong = |error: serde_json::Error| Error::content(path, format!("is no list that is read: {error}"));
    let mut input = serde_json::Deserializer::from_slice(&text);
    input.deserialize_seq(Rows { then, row: PhantomData }).and_then(|()| input.end()).map_err(wrong)
}

struct Rows<Row, F> {
    then: F,
    row: PhantomData<Row>,
}

impl<'de, Row: DeserializeOwned, F: FnMut(Row) -> std::result::Result<(), String>> Visitor<'de> for Rows<Row, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> std::result::Result<(), A::Error> {
        let mut at = 0;
        while let Some(row) = list.next_element()? {
            (self.then)(row).map_err(|what| A::Error::custom(format!("entry {at} {what}")))?;
            at += 1;
        }
        Ok(())
    }
}
