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
    let missing = || Error::content(path, "is not the name of a file");
    let (folder, name) = path.parent().zip(path.file_name()).ok_or_else(missing)?;
    replace_all(folder, &[(Path::new(name), contents)])
}

/// Put files of these names and contents into `folder`. All are written aside and brought to the disk before the first
/// is renamed, so whoever looks at one name, at any moment and after any crash, finds its old file or its new one; and a
/// disk that fills up on the way leaves every old file.
///
/// Each rename is whole, but two are two: between them, and for good after a crash there, the first names have new files
/// and the rest old ones. Files that must belong together have to say so (as checkpoints of `sae` do). On
/// Unix, writers of the same folder wait for each other, threads and processes alike, so that files of two never mix;
/// elsewhere, or where the folder cannot be locked, one of two writers at once may get an error.
///
/// # Errors
/// [`Error::System`]; what was written aside is then removed.
pub fn replace_all(folder: &Path, files: &[(&Path, &[u8])]) -> Result<()> {
    let contents: Vec<_> = files.iter().map(|(_, contents)| move |to: &mut dyn Write| to.write_all(contents)).collect();
    let files: Vec<_> = files.iter().zip(&contents).map(|((name, _), write)| (*name, write as &Contents<'_>)).collect();
    replace_all_with(folder, &files)
}

/// What writes the contents of a file.
pub type Contents<'a> = dyn Fn(&mut dyn Write) -> io::Result<()> + 'a;

/// [`replace_all`] of contents that are made while they are written.
///
/// # Errors
/// As [`replace_all`].
pub fn replace_all_with(folder: &Path, files: &[(&Path, &Contents<'_>)]) -> Result<()> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let paths: Vec<[PathBuf; 2]> =
        files.iter().map(|(name, _)| [folder.join(aside(name)), folder.join(name)]).collect();
    let turn = turn(folder).map_err(Error::system(paths.first().map_or(folder, |[_, path]| path), "write"))?;
    let written = files
        .iter()
        .zip(&paths)
        .try_for_each(|((_, contents), [aside, path])| write(aside, contents).map_err(Error::system(path, "write")));
    let renamed = written.and_then(|()| {
        paths.iter().try_for_each(|[aside, path]| {
            fs::rename(aside, path).and_then(|()| settle(turn.as_ref())).map_err(Error::system(path, "write"))
        })
    });
    if renamed.is_err() {
        paths.iter().for_each(|[aside, _]| drop(fs::remove_file(aside))); // the first error is the one to tell
    }
    renamed
}

/// Wait until no one else writes to `folder`: the open folder, locked until it is dropped or this process ends. Names
/// aside can be the same every time then, and what a crash left of them is written over. Only Unix opens folders.
fn turn(folder: &Path) -> io::Result<Option<File>> {
    if !cfg!(unix) {
        return Ok(None);
    }
    let open = File::open(folder)?;
    match open.lock() {
        Err(error) if error.kind() != io::ErrorKind::Unsupported => Err(error),
        _ => Ok(Some(open)),
    }
}

fn write(path: &Path, contents: &Contents<'_>) -> io::Result<()> {
    let mut file = io::BufWriter::new(File::create(path)?);
    contents(&mut file)?;
    file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
}

/// The name beside `name` under which its next contents are gathered. It begins with a dot, so that no reader of the
/// folder takes it for a finished file.
fn aside(name: &Path) -> PathBuf {
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name.file_name().unwrap_or_default());
    hidden.push(".part");
    name.with_file_name(hidden)
}

/// Bring a rename in this folder to the disk too.
fn settle(folder: Option<&File>) -> io::Result<()> {
    folder.map_or(Ok(()), File::sync_all)
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
        let two = [(Path::new("a.bin"), &b"newer"[..]), (Path::new("missing/b.bin"), b"x")];
        let error = replace_all(&folder, &two).unwrap_err();
        assert!(error.to_string().starts_with("cannot write ") && error.to_string().contains("b.bin"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        fs::remove_dir_all(folder).unwrap();
    }
    /// Two writers at once: every write succeeds, nothing is left beside, and the files are of the same write.
    #[cfg(unix)]
    #[test]
    fn writers_take_turns() {
        let folder = std::env::temp_dir().join(format!("latens-turns-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        std::thread::scope(|scope| {
            for writer in 0..4_u8 {
                let folder = &folder;
                scope.spawn(move || {
                    for count in 0..25 {
                        let contents = vec![writer * 25 + count; 10_000];
                        let both = [(Path::new("a"), &contents[..]), (Path::new("b"), &contents)];
                        replace_all(folder, &both).unwrap();
                    }
                });
            }
        });
        let [a, b] = ["a", "b"].map(|name| fs::read(folder.join(name)).unwrap());
        assert!(a == b && a.len() == 10_000);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 2);
        fs::remove_dir_all(folder).unwrap();
    }
}
