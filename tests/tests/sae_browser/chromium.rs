//! Pages in a headless Chromium, without a driver: a script at the end of the page acts, and writes down what it sees.
use latens_tests::{files, skipped};
use serde_json::Value;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Open `page` at `address`, run `script` behind its own, and return what it passed to `report`. `None` where there is no
/// Chromium, which `LATENS_REQUIRE_CHROMIUM=1` makes a failure.
pub fn visit(page: &str, script: &str, address: &str) -> Option<Value> {
    let Some(program) = program() else {
        let required = std::env::var_os("LATENS_REQUIRE_CHROMIUM").is_some_and(|value| value == "1");
        assert!(!required, "LATENS_REQUIRE_CHROMIUM: no Chromium on this machine");
        skipped("no Chromium on this machine");
        return None;
    };
    // Errors are listened for before any script of the page runs.
    const LISTEN: &str = "<script>const errors = [];\
        addEventListener('error', (event) => errors.push(String(event.message)));\
        addEventListener('unhandledrejection', (event) => errors.push(String(event.reason)));\
        const report = (seen) => { const e = document.createElement('pre'); e.id = 'report';\
        e.textContent = encodeURIComponent(JSON.stringify(seen)); document.body.append(e); };</script><style>";
    let page = page.replacen("<style>", LISTEN, 1).replace("</html>", &format!("<script>{script}</script></html>"));
    let folder = files::folder(env!("CARGO_TARGET_TMPDIR"), "sae-browser");
    let path = folder.join("page.html");
    fs::write(&path, page).unwrap();
    let seen = dumped(&program, &folder, &format!("file://{}{address}", path.display()));
    let (_, rest) = seen.split_once("<pre id=\"report\">").unwrap_or_else(|| panic!("nothing reported:\n{seen}"));
    let report = rest.split_once("</pre>").unwrap().0;
    fs::remove_dir_all(&folder).unwrap();
    Some(serde_json::from_slice(&decoded(report)).unwrap())
}

/// `LATENS_CHROMIUM`, or the first of the usual names on the path.
fn program() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("LATENS_CHROMIUM") {
        return Some(named.into());
    }
    let folders: Vec<PathBuf> = std::env::split_paths(&std::env::var_os("PATH")?).collect();
    let names = ["chromium", "chromium-browser", "google-chrome"];
    names.into_iter().find_map(|name| folders.iter().map(|folder| folder.join(name)).find(|path| path.is_file()))
}

/// The page as it stands when all its timers have run.
fn dumped(program: &Path, folder: &Path, url: &str) -> String {
    const PATIENCE: Duration = Duration::from_secs(120);
    let (out, log) = (folder.join("dom.html"), folder.join("log.txt"));
    let mut child = Command::new(program)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"])
        .args(["--window-size=1400,1000", "--virtual-time-budget=20000", "--dump-dom"])
        .arg(format!("--user-data-dir={}", folder.join("profile").display()))
        .arg(url)
        .stdin(Stdio::null())
        .stdout(File::create(&out).unwrap())
        .stderr(File::create(&log).unwrap())
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break Some(status);
        }
        if begun.elapsed() > PATIENCE {
            child.kill().unwrap();
            child.wait().unwrap();
            break None;
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    let said = fs::read_to_string(&log).unwrap_or_default();
    assert!(status.is_some_and(|status| status.success()), "{} {status:?}:\n{said}", program.display());
    fs::read_to_string(&out).unwrap()
}

/// What `encodeURIComponent` made, undone.
fn decoded(text: &str) -> Vec<u8> {
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(&part[..2], 16).unwrap());
        bytes.extend(part[2..].bytes());
    }
    bytes
}
