use super::{Error, Result};
use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

/// Put `contents` where `path` says, whole or not at all: they are written aside, brought to the disk, and renamed.
/// Whoever looks at `path`, at any moment and after any crash, finds the old file or the new one.
///
/// # Errors
/// [`Error::System`], a full disk among the reasons; what was written aside is then removed and `path` is as it was.
pub fn replace(path: &Path, contents: &[u8]) -> Result<()> {
    let aside = aside(path)?;
    let written = File::create(&aside).and_then(|mut file| {
        file.write_all(contents)?;
        file.sync_all()
    });
    if let Err(source) = written.and_then(|()| fs::rename(&aside, path)) {
        let _ = fs::remove_file(&aside); // the first error is the one to tell
        return Err(Error::System { path: path.to_owned(), doing: "write", source });
    }
    settle(path).map_err(Error::system(path, "write"))
}

/// The name beside `path` under which its next contents are gathered. It begins with a dot, so that no reader of the
/// folder takes it for a finished file.
fn aside(path: &Path) -> Result<PathBuf> {
    let name = path.file_name().ok_or_else(|| Error::content(path, "is not the name of a file"))?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(".part");
    Ok(path.with_file_name(hidden))
}

/// Bring the rename to the disk too. Only Unix opens folders.
fn settle(path: &Path) -> io::Result<()> {
    if cfg!(unix) {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_and_leaves_nothing_beside() {
        let folder = std::env::temp_dir().join(format!("latens-write-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("a.bin");
        replace(&path, b"old").unwrap();
        replace(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        let error = replace(&folder.join("missing/a.bin"), b"x").unwrap_err();
        assert!(error.to_string().starts_with("cannot write "), "{error}");
        fs::remove_dir_all(folder).unwrap();
    }
}
