use super::{Error, Result};
use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

/// Put `contents` where `path` says, whole or not at all: see [`replace_all`].
///
/// # Errors
/// As [`replace_all`].
pub fn replace(path: &Path, contents: &[u8]) -> Result<()> {
    replace_all(&[(path, contents)])
}

/// Put contents where their paths say. All are written aside and brought to the disk before the first is renamed, so
/// whoever looks at a path, at any moment and after any crash, finds its old file or its new one; and a disk that fills
/// up on the way leaves every old file. (A crash between two renames leaves one new and one old.)
///
/// # Errors
/// [`Error::System`]; what was written aside is then removed.
pub fn replace_all(files: &[(&Path, &[u8])]) -> Result<()> {
    let aside = files.iter().map(|(path, _)| aside(path)).collect::<Result<Vec<_>>>()?;
    let written = files
        .iter()
        .zip(&aside)
        .try_for_each(|((path, contents), aside)| write(aside, contents).map_err(Error::system(path, "write")));
    let renamed = written.and_then(|()| {
        files.iter().zip(&aside).try_for_each(|((path, _), aside)| {
            fs::rename(aside, path).and_then(|()| settle(path)).map_err(Error::system(path, "write"))
        })
    });
    if renamed.is_err() {
        aside.iter().for_each(|aside| drop(fs::remove_file(aside))); // the first error is the one to tell
    }
    renamed
}

fn write(path: &Path, contents: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(contents)?;
    file.sync_all()
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
        // The second of two cannot be written: the first stays as it was.
        let error = replace_all(&[(&path, b"newer"), (&folder.join("missing/b.bin"), b"x")]).unwrap_err();
        assert!(error.to_string().starts_with("cannot write ") && error.to_string().contains("b.bin"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        fs::remove_dir_all(folder).unwrap();
    }
}
