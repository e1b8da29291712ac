use latens_core::{DType, Float};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::sync::{Mutex, PoisonError};

/// Say that something was not tested and why, once for each reason in a test program. CI counts these lines.
pub fn skipped(reason: &str) {
    static SAID: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    if SAID.lock().unwrap_or_else(PoisonError::into_inner).insert(reason.into()) {
        say(&format!("skipped: {reason}"));
    }
}

/// How many cases each implementation of a family went through; printed when dropped, a line for each:
/// `cases: topk cpu 32`. CI adds them up.
pub struct Cases {
    family: &'static str,
    host_is_reference: bool,
    ran: BTreeMap<&'static str, usize>,
}

impl Cases {
    /// None yet.
    pub fn of(family: &'static str) -> Self {
        Self { family, host_is_reference: false, ran: BTreeMap::new() }
    }

    /// Of a family that computes `f64` on the host by its reference: such cases run, but nothing has been compared.
    pub fn in_type<T: Float>(mut self) -> Self {
        self.host_is_reference = T::DTYPE == DType::F64;
        self
    }

    /// One case went through `implementation`: `reference`, `cpu`, or the [`place`](crate::place) of a device.
    pub fn ran(&mut self, implementation: &'static str) {
        if !(self.host_is_reference && matches!(implementation, "cpu" | "host")) {
            *self.ran.entry(implementation).or_default() += 1;
        }
    }
}

impl Drop for Cases {
    fn drop(&mut self) {
        let words = self.family.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty());
        let family = words.collect::<Vec<_>>().join("_");
        self.ran.iter().for_each(|(what, count)| say(&format!("cases: {family} {what} {count}")));
    }
}

/// One whole line to stderr, past the capture of the test harness, which keeps what `eprintln!` says of passing tests.
fn say(line: &str) {
    // A closed stderr is no reason to fail.
    let _ = std::io::stderr().lock().write_all(format!("{line}\n").as_bytes());
}
