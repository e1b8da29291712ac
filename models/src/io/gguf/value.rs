/// One entry of metadata. Numbers of all widths are kept in the widest type of their sort.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// u8, u16, u32, u64.
    Unsigned(u64),
    /// i8, i16, i32, i64.
    Signed(i64),
    /// f32, f64.
    Float(f64),
    /// A truth value.
    Bool(bool),
    /// UTF-8 text.
    Text(String),
    /// Many of one kind.
    List(List),
}

/// Metadata of many entries of one kind.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum List {
    Unsigned(Vec<u64>),
    Signed(Vec<i64>),
    Float(Vec<f64>),
    Bool(Vec<bool>),
    Text(Vec<String>),
    List(Vec<List>),
}

impl Value {
    /// A number that is not negative.
    pub fn unsigned(&self) -> Option<u64> {
        match *self {
            Value::Unsigned(number) => Some(number),
            Value::Signed(number) => number.try_into().ok(),
            _ => None,
        }
    }

    /// As [`Value::unsigned`], if it fits.
    pub fn size(&self) -> Option<usize> {
        self.unsigned()?.try_into().ok()
    }

    /// A number with a fraction.
    pub fn float(&self) -> Option<f64> {
        if let Value::Float(number) = *self { Some(number) } else { None }
    }

    /// A truth value.
    pub fn bool(&self) -> Option<bool> {
        if let Value::Bool(truth) = *self { Some(truth) } else { None }
    }

    /// A text.
    pub fn text(&self) -> Option<&str> {
        if let Value::Text(text) = self { Some(text) } else { None }
    }

    /// A list of texts.
    pub fn texts(&self) -> Option<&[String]> {
        if let Value::List(List::Text(texts)) = self { Some(texts) } else { None }
    }

    /// A list of integers.
    pub fn integers(&self) -> Option<Vec<i64>> {
        match self {
            Value::List(List::Signed(all)) => Some(all.clone()),
            Value::List(List::Unsigned(all)) => all.iter().map(|&number| number.try_into().ok()).collect(),
            _ => None,
        }
    }

    /// What it is, for messages.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Value::Unsigned(_) => "an unsigned number",
            Value::Signed(_) => "a signed number",
            Value::Float(_) => "a number with a fraction",
            Value::Bool(_) => "a truth value",
            Value::Text(_) => "a text",
            Value::List(_) => "a list",
        }
    }
}
