use super::{Stored, Trainer};
use crate::lm::Values;
use std::fmt;

/// Something that takes memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Held {
    /// What it is.
    pub what: &'static str,
    /// Its bytes.
    pub bytes: usize,
    /// Why it is there.
    pub why: String,
}

/// What a trainer holds, the largest first. It prints as a table.
#[derive(Clone, Debug, PartialEq)]
pub struct Memory(pub Vec<Held>);

impl Memory {
    pub(super) fn of<T: Stored>(trainer: &Trainer<T>) -> Self {
        let bytes_of = |values: &Values<'_, T>| match values {
            Values::Elements(view) => size_of::<T>() * view.layout().len(),
            Values::Sums(view) => 4 * view.layout().len(),
        };
        let parameters = trainer.model.parameters();
        let weights = parameters.iter().map(|parameter| bytes_of(&parameter.values)).sum();
        let count: usize = parameters.iter().map(|parameter| parameter.dims.iter().product::<usize>()).sum();
        let ([moments, masters], [activations, gradients]) = (trainer.optimiser.bytes(), trainer.most);
        let (settings, rows) = (&trainer.settings, trainer.settings.batch / trainer.settings.passes);
        let kept = if settings.again { "the residuals between layers" } else { "all that the way back reads" };
        let of_rows = format!("{kept}, of {rows} contexts of {} tokens", settings.context);
        let held = |what, bytes, why: String| Held { what, bytes, why };
        let mut all = vec![
            held("weights", weights, format!("{count} numbers of {} bytes", size_of::<T>())),
            held("masters", masters, "the weights in f32, which steps are taken on".into()),
            held("moments", moments, settings.rule.remembers()),
            held("gradients", gradients, "an f32 for each weight that is trained".into()),
            held("activations", activations, of_rows),
            held("text", 4 * trainer.ids().len(), format!("{} ids", trainer.ids().len())),
        ];
        all.retain(|held| held.bytes > 0);
        all.sort_by_key(|held| std::cmp::Reverse(held.bytes));
        Self(all)
    }

    /// All bytes.
    pub fn bytes(&self) -> usize {
        self.0.iter().map(|held| held.bytes).sum()
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mega = |bytes: usize| bytes as f64 / 1e6;
        for Held { what, bytes, why } in &self.0 {
            writeln!(f, "{what:<12} {:>10.2} MB  {why}", mega(*bytes))?;
        }
        write!(f, "{:<12} {:>10.2} MB", "all", mega(self.bytes()))
    }
}

/// The most memory that this process has held at once, where the system tells (Linux).
pub fn peak() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse::<usize>().ok().map(|kilobytes| 1024 * kilobytes)
}
