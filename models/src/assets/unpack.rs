//! What is taken out of an archive: the pinned path and nothing else, whatever its other names are.
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

/// Where in a folder the entry `name` of an archive goes, if it is the file `path` or lies directly in the folder `path`. A name that
/// leads out of the archive is neither.
fn place(name: &Path, path: &str) -> Option<PathBuf> {
    let root = Path::new(path);
    let plain = name.components().all(|part| matches!(part, Component::Normal(_)));
    let wanted = plain && (name == root || name.parent() == Some(root));
    let parent = root.parent().unwrap_or(Path::new(""));
    name.strip_prefix(parent).ok().filter(|_| wanted).map(Path::to_path_buf)
}

/// Copy the file `path` of a zip archive, or the files directly in the folder `path`, into `to`.
pub(super) fn zip(archive: &Path, path: &str, to: &Path) -> io::Result<()> {
    let mut archive = ::zip::ZipArchive::new(io::BufReader::new(File::open(archive)?))?;
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index)?;
        // `enclosed_name` refuses names that lead out of the folder.
        let Some(inside) = entry.enclosed_name().and_then(|name| place(&name, path)) else { continue };
        if entry.is_file() {
            let target = to.join(inside);
            target.parent().map_or(Ok(()), fs::create_dir_all)?;
            let mut target = File::create(target)?;
            io::copy(&mut entry, &mut target)?;
            target.sync_all()?;
        }
    }
    Ok(())
}

/// The same of a compressed tar archive. Links and devices are passed over, and no more than `most` bytes are written: what is
/// pinned has no more.
pub(super) fn tar(archive: &Path, path: &str, most: u64, to: &Path) -> io::Result<()> {
    let packed = flate2::read::GzDecoder::new(io::BufReader::new(File::open(archive)?));
    let (mut archive, mut left) = (::tar::Archive::new(packed), most);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let Some(inside) = place(&entry.path()?, path).filter(|_| entry.header().entry_type().is_file()) else {
            continue;
        };
        let target = to.join(inside);
        target.parent().map_or(Ok(()), fs::create_dir_all)?;
        // Thousands of files are not synced one by one: what a failing machine loses, the check of the next use finds.
        let written = io::copy(&mut (&mut entry).take(left + 1), &mut File::create(target)?)?;
        left = left.checked_sub(written).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("{path} unpacks to more than the {most} bytes of its pin"),
            )
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write;

    /// A compressed archive with these names and contents, written as given, which the writer of `tar` would refuse.
    fn packed(entries: &[(&str, ::tar::EntryType, &[u8])]) -> Vec<u8> {
        let mut all = GzEncoder::new(Vec::new(), Compression::fast());
        for &(name, kind, content) in entries {
            let mut header = ::tar::Header::new_ustar();
            header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_entry_type(kind);
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            header.set_cksum();
            all.write_all(header.as_bytes()).unwrap();
            all.write_all(content).unwrap();
            all.write_all(&vec![0; content.len().next_multiple_of(512) - content.len()]).unwrap();
        }
        all.write_all(&[0; 1024]).unwrap();
        all.finish().unwrap()
    }

    fn unpacked(archive: &[u8], path: &str, most: u64, name: &str) -> (io::Result<()>, Vec<String>) {
        let folder = std::env::temp_dir().join(format!("latens-unpack-{name}-{}", std::process::id()));
        let to = folder.join("to");
        fs::create_dir_all(&to).unwrap();
        let file = folder.join("archive.tgz");
        fs::write(&file, archive).unwrap();
        let done = tar(&file, path, most, &to);
        let mut found = Vec::new();
        let mut folders = vec![folder.clone()];
        while let Some(next) = folders.pop() {
            for entry in fs::read_dir(next).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path)
                } else if path != file {
                    found.push(path)
                }
            }
        }
        let mut found: Vec<String> =
            found.iter().map(|path| path.strip_prefix(&folder).unwrap().to_string_lossy().replace('\\', "/")).collect();
        found.sort();
        fs::remove_dir_all(&folder).unwrap();
        (done, found)
    }

    /// Only files directly in the folder come out, wherever the names of others point, and no links.
    #[test]
    fn hostile_archives() {
        use ::tar::EntryType::{Regular, Symlink};
        let archive = packed(&[
            ("package/a/one", Regular, b"one"),
            ("package/a/../../../out", Regular, b"out"),
            ("../package/a/out", Regular, b"out"),
            ("/package/a/root", Regular, b"out"),
            ("package/a/link", Symlink, b""),
            ("package/a/deep/two", Regular, b"two"),
            ("package/b", Regular, b"b"),
        ]);
        let (done, found) = unpacked(&archive, "package/a", 3, "hostile");
        done.unwrap();
        assert_eq!(found, ["to/a/one"]);
        let (done, found) = unpacked(&archive, "package/b", 1, "file");
        done.unwrap();
        assert_eq!(found, ["to/b"]);
        let said = unpacked(&archive, "package/a", 2, "large").0.unwrap_err().to_string();
        assert!(said.contains("more than the 2 bytes"), "{said}");
        assert!(unpacked(b"no archive", "package/a", 3, "none").0.is_err());
    }
}
