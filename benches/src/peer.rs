//! Other libraries as child processes that answer one JSON line to another.
use crate::{Result, median, time};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// Rounds of A B A B.
const ROUNDS: usize = 7;
/// A round lasts at least this many milliseconds, so that the clock and a warm cache do not decide it.
const ROUND: f64 = 60.0;

/// A running peer.
pub struct Peer {
    /// What it calls itself, with its version.
    pub name: String,
    child: Child,
    ask: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Peer {
    /// PyTorch, from the shell file that puts it on the path.
    pub fn torch(env: &Path) -> Result<Self> {
        Self::python(env, "torch_peer.py")
    }

    /// numpy and scipy, from the same file.
    pub fn numpy(env: &Path) -> Result<Self> {
        Self::python(env, "numpy_peer.py")
    }

    fn python(env: &Path, script: &str) -> Result<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers").join(script);
        let mut shell = Command::new("bash");
        shell.args(["-c", "source \"$0\" && exec python \"$1\""]).arg(env).arg(script);
        Self::start(shell)
    }

    /// candle, built on first use.
    pub fn candle() -> Result<Self> {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/candle/Cargo.toml");
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
        cargo.args(["run", "--release", "--quiet", "--manifest-path"]).arg(manifest);
        // Its vector code is chosen when it is compiled.
        cargo.env("RUSTFLAGS", "-C target-cpu=native");
        Self::start(cargo)
    }

    fn start(mut command: Command) -> Result<Self> {
        // What a peer's libraries print about missing drivers is not news.
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let ask = child.stdin.take().ok_or("no pipe to the peer")?;
        let answers = BufReader::new(child.stdout.take().ok_or("no pipe from the peer")?);
        let mut peer = Self { name: String::new(), child, ask, answers };
        let hello = peer.answer().map_err(|error| format!("{command:?} did not start: {error}"))?;
        peer.name = hello["peer"].as_str().unwrap_or("?").into();
        Ok(peer)
    }

    /// Load the inputs in `dir` for `case` and run it once; its outputs are then in `dir`.
    pub fn setup(&mut self, case: &str, dir: &Path, dims: &Value, dtype: &str) -> Result<()> {
        self.call(&json!({"setup": case, "dir": dir, "dims": dims, "dtype": dtype})).map(drop)
    }

    fn time(&mut self, repeats: usize) -> Result<f64> {
        let answer = self.call(&json!({"time": repeats}))?;
        answer["ms"].as_f64().ok_or_else(|| format!("{}: no time in {answer}", self.name).into())
    }

    /// Ours and the peer's in turn; the medians of both, in milliseconds.
    pub fn race(&mut self, mut ours: impl FnMut() -> Result<()>) -> Result<(f64, f64)> {
        self.rounds(|repeats| time(repeats, &mut ours))
    }

    /// [`Peer::race`] of calls that write over what they read: `renew` makes it again before each, and is not timed.
    pub fn race_renewed<S>(
        &mut self,
        state: &mut S,
        mut renew: impl FnMut(&mut S) -> Result<()>,
        mut ours: impl FnMut(&mut S) -> Result<()>,
    ) -> Result<(f64, f64)> {
        self.rounds(|repeats| {
            let mut total = 0.0;
            for _ in 0..repeats {
                renew(state)?;
                total += time(1, || ours(state))?;
            }
            Ok(total / repeats as f64)
        })
    }

    fn rounds(&mut self, mut ours: impl FnMut(usize) -> Result<f64>) -> Result<(f64, f64)> {
        let mut repeats = [1, 1];
        for r in &mut repeats {
            *r = (ROUND / ours(1)?.max(0.01)).ceil() as usize;
        }
        self.time(1)?;
        repeats[1] = (ROUND / self.time(1)?.max(0.01)).ceil() as usize;
        let (mut a, mut b) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            // Its threads go on spinning when its work is done, on cores that ours need.
            self.signal("-STOP")?;
            a.push(ours(repeats[0])?);
            self.signal("-CONT")?;
            b.push(self.time(repeats[1])?);
        }
        Ok((median(a), median(b)))
    }

    #[cfg(unix)]
    fn signal(&self, which: &str) -> Result<()> {
        let done = Command::new("kill").args([which, &self.child.id().to_string()]).status()?;
        if done.success() { Ok(()) } else { Err(format!("kill {which} of {}: {done}", self.name).into()) }
    }

    #[cfg(not(unix))]
    fn signal(&self, _: &str) -> Result<()> {
        Ok(())
    }

    fn call(&mut self, ask: &Value) -> Result<Value> {
        writeln!(self.ask, "{ask}")?;
        self.answer().map_err(|error| format!("{} on {ask}: {error}", self.name).into())
    }

    fn answer(&mut self) -> Result<Value> {
        let mut line = String::new();
        if self.answers.read_line(&mut line)? == 0 {
            return Err("it ended".into());
        }
        Ok(serde_json::from_str(&line)?)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A folder for inputs and outputs of one case, removed at the end.
pub struct Exchange(PathBuf);

impl Exchange {
    /// A new folder.
    pub fn new() -> Result<Self> {
        let dir = std::env::temp_dir().join(format!("latens-compare-{}", std::process::id()));
        std::fs::create_dir_all(&dir)?;
        Ok(Self(dir))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Write `NAME.bin`.
    pub fn put(&self, name: &str, data: &[f32]) -> Result<()> {
        self.put_bytes(name, data.iter().flat_map(|x| x.to_le_bytes()).collect())
    }

    /// Write `NAME.bin`.
    pub fn put_ids(&self, name: &str, data: &[u32]) -> Result<()> {
        self.put_bytes(name, data.iter().flat_map(|x| x.to_le_bytes()).collect())
    }

    fn put_bytes(&self, name: &str, bytes: Vec<u8>) -> Result<()> {
        Ok(std::fs::write(self.0.join(format!("{name}.bin")), bytes)?)
    }

    /// Read `NAME.PEER.bin`.
    pub fn get(&self, name: &str, peer: &str) -> Result<Vec<f32>> {
        let bytes = std::fs::read(self.0.join(format!("{name}.{peer}.bin")))?;
        Ok(bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
