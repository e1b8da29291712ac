use std::fmt;

/// An asset that could not be had.
#[derive(Debug)]
pub struct Error {
    /// Its name.
    pub asset: &'static str,
    /// What was wanted.
    pub wanted: String,
    /// What came instead.
    pub got: String,
    /// What to do.
    pub advice: String,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "asset {}: wanted {}, got {}; {}", self.asset, self.wanted, self.got, self.advice)
    }
}

impl std::error::Error for Error {}
