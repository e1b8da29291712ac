use std::{
    fmt, io,
    path::{Path, PathBuf},
};

/// `Result` with the [`Error`] of methods, which read and write files.
pub type Result<T> = std::result::Result<T, Error>;

/// What can go wrong in a method: with a file, or in an operation.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The system refused `doing` something with `path`.
    System {
        /// The file or folder.
        path: PathBuf,
        /// What was being done, as in "write".
        doing: &'static str,
        /// Its answer.
        source: io::Error,
    },
    /// The contents of `path` are not what they should be.
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what was expected.
        what: String,
    },
    /// A setting has no meaning.
    Setting {
        /// Its name.
        name: &'static str,
        /// What is asked for, and what came.
        what: String,
    },
    /// Numbers of a step of training are not finite.
    Number {
        /// The step, counted from 1.
        step: usize,
        /// Which numbers.
        what: String,
    },
    /// An operation refused its arguments.
    Operation(latens_core::Error),
}

impl Error {
    /// For `map_err` on a system call.
    pub fn system(path: &Path, doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Error::System { path, doing, source }
    }

    /// Contents that cannot be used.
    pub fn content(path: &Path, what: impl Into<String>) -> Self {
        Error::Content { path: path.to_owned(), what: what.into() }
    }

    /// A setting that cannot be used.
    pub fn setting(name: &'static str, what: impl Into<String>) -> Self {
        Error::Setting { name, what: what.into() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::System { path, doing, source } => write!(f, "cannot {doing} {}: {source}", path.display()),
            Error::Content { path, what } => write!(f, "{}: {what}", path.display()),
            Error::Setting { name, what } => write!(f, "{name}: {what}"),
            Error::Number { step, what } => write!(f, "step {step}: {what}"),
            Error::Operation(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::System { source, .. } => Some(source),
            Error::Operation(error) => Some(error),
            _ => None,
        }
    }
}

impl From<latens_core::Error> for Error {
    fn from(error: latens_core::Error) -> Self {
        Error::Operation(error)
    }
}

/// Where two objects differ, for an error: names, and what they were and are.
#[cfg(feature = "sae")]
pub(crate) fn differences(there: &serde_json::Value, now: &serde_json::Value) -> String {
    let names = there.as_object().into_iter().chain(now.as_object()).flat_map(|all| all.keys());
    let mut different: Vec<&String> = names.filter(|name| there[name.as_str()] != now[name.as_str()]).collect();
    different.sort();
    different.dedup();
    let told: Vec<String> = different
        .into_iter()
        .map(|name| format!("{name} {}, now {}", short(&there[name].to_string()), short(&now[name].to_string())))
        .map(|told| told.replace("\\\"", "\"")) // JSON's own quotes
        .collect();
    told.join("; ")
}

/// Words of a file, for an error: no more of them than one wants to read, and nothing that a terminal would obey.
#[cfg(any(feature = "lm", feature = "sae"))]
pub(crate) fn short(words: &str) -> String {
    words.chars().take(80).flat_map(char::escape_debug).collect()
}
