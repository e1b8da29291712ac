//! Rows of `compare`.
use serde_json::{Value, json};

/// One comparison. `ratio` is peer time over our time: above 1 we are faster.
pub struct Row {
    /// What is measured, as in `sae_encode`.
    pub name: &'static str,
    /// Its sizes.
    pub shape: String,
    /// Storage type.
    pub dtype: &'static str,
    /// Where ours ran.
    pub device: String,
    /// Median of ours.
    pub ours_ms: f64,
    /// Who it was measured against.
    pub peer: String,
    /// Median of the peer's.
    pub peer_ms: f64,
    /// The ratio aimed at, if there is one.
    pub bar: Option<f64>,
    /// Rate of ours: what is counted, and how many per second.
    pub rate: Option<(&'static str, f64)>,
}

impl Row {
    /// Peer time over our time.
    pub fn ratio(&self) -> f64 {
        self.peer_ms / self.ours_ms
    }

    /// Whether the bar is met; a row without one is.
    pub fn ok(&self) -> bool {
        self.bar.is_none_or(|bar| self.ratio() >= bar)
    }

    /// As a line of the JSON report.
    pub fn json(&self) -> Value {
        let mut row = json!({
            "name": self.name, "shape": self.shape, "dtype": self.dtype, "device": self.device, "ours_ms": self.ours_ms,
            "peer": self.peer, "peer_ms": self.peer_ms, "ratio": self.ratio(), "bar": self.bar, "ok": self.ok(),
        });
        if let Some((unit, rate)) = self.rate {
            row[unit] = rate.into();
        }
        row
    }

    /// Heading of the table that [`Row`]'s `Display` fills.
    pub const HEADING: &'static str =
        "name                 shape                  dtype   ours ms    peer ms  ratio    bar        peer";
}

impl std::fmt::Display for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let bar = self.bar.map_or("      ".into(), |bar| format!("{bar:6.2}"));
        let ok = if self.bar.is_none() {
            "  "
        } else if self.ok() {
            "ok"
        } else {
            "NO"
        };
        write!(
            f,
            "{:20} {:22} {:5} {:9.3}  {:9.3} {:6.2} {bar} {ok}  {}",
            self.name,
            self.shape,
            self.dtype,
            self.ours_ms,
            self.peer_ms,
            self.ratio(),
            self.peer
        )?;
        self.rate.map_or(Ok(()), |(unit, rate)| write!(f, "  {rate:.0$} {unit}", if rate < 100.0 { 2 } else { 0 }))
    }
}
