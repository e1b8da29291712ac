//! The figures as a table.
use serde_json::Value;
use std::collections::BTreeMap;

/// The figures of all runs, a line each.
pub fn print(all: &BTreeMap<String, Value>) {
    println!(
        "{:<28}{:>8}{:>8}{:>8}{:>11}{:>9}{:>9}{:>9}",
        "run", "L0", "FVU", "dead", "recovered", "steps/s", "s", "MB"
    );
    for (key, run) in all {
        let number = |name: &str, digits: usize| match run[name].as_f64() {
            Some(number) => format!("{number:.digits$}"),
            None => "-".into(),
        };
        println!(
            "{key:<28}{:>8}{:>8}{:>8}{:>11}{:>9}{:>9}{:>9}",
            number("l0", 1),
            number("fvu", 3),
            number("dead", 3),
            number("ce_recovered", 4),
            number("steps_per_s", 2),
            number("seconds", 0),
            number("peak_rss_mb", 0)
        );
    }
}
