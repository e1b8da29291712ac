use std::collections::BTreeMap;
use std::io::Write;

/// Say, once per line, that something was not tested and why. CI counts these lines.
pub fn skipped(reason: &str) {
    say(&format!("skipped: {reason}"));
}

/// How many cases each implementation of a family went through; printed when dropped, as `cases: topk cpu 32 host 32`.
pub struct Cases {
    family: &'static str,
    ran: BTreeMap<&'static str, usize>,
}

impl Cases {
    /// None yet.
    pub fn of(family: &'static str) -> Self {
        Self { family, ran: BTreeMap::new() }
    }

    /// One case went through `implementation`: `reference`, `cpu`, or the [`place`](crate::place) of a device.
    pub fn ran(&mut self, implementation: &'static str) {
        *self.ran.entry(implementation).or_default() += 1;
    }
}

impl Drop for Cases {
    fn drop(&mut self) {
        let ran: String = self.ran.iter().map(|(what, count)| format!(" {what} {count}")).collect();
        say(&format!("cases: {}{ran}", self.family));
    }
}

/// One whole line to stderr, past the capture of the test harness, which keeps what `eprintln!` says of passing tests.
fn say(line: &str) {
    // A closed stderr is no reason to fail.
    let _ = std::io::stderr().lock().write_all(format!("{line}\n").as_bytes());
}
