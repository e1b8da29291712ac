use super::{Error, Result};
use sha2::{Digest, Sha256};
use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

/// SHA-256 of these bytes, one part after another, in hexadecimal.
pub fn sha256(parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    parts.iter().for_each(|part| hash.update(part));
    hexadecimal(&hash.finalize())
}

/// SHA-256 of the file at `path`; of a folder, of the names and hashes of the files directly in it, in order of name.
///
/// # Errors
/// [`Error::System`] if something there cannot be read.
pub fn sha256_of(path: &Path) -> Result<String> {
    if !path.is_dir() {
        return of_file(path).map_err(Error::system(path, "read"));
    }
    let entries = fs::read_dir(path).and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect());
    let mut files: Vec<PathBuf> = entries.map_err(Error::system(path, "read"))?;
    files.retain(|file| file.is_file());
    files.sort();
    let mut hash = Sha256::new();
    for file in files {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        hash.update(format!("{}  {name}\n", of_file(&file).map_err(Error::system(&file, "read"))?));
    }
    Ok(hexadecimal(&hash.finalize()))
}

fn of_file(path: &Path) -> io::Result<String> {
    let (mut file, mut hash, mut piece) = (File::open(path)?, Sha256::new(), vec![0; 1 << 16]);
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(hexadecimal(&hash.finalize())),
            read => hash.update(&piece[..read]),
        }
    }
}

fn hexadecimal(hash: &[u8]) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_folders_are_told_apart_by_content() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(sha256(&[]), empty);
        assert_eq!(sha256(&[b"a", b"bc"]), sha256(&[b"abc"]));
        let folder = std::env::temp_dir().join(format!("latens-digest-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let put = |name: &str, bytes: &[u8]| fs::write(folder.join(name), bytes).unwrap();
        put("a", b"");
        assert_eq!(sha256_of(&folder.join("a")).unwrap(), empty);
        let before = sha256_of(&folder).unwrap();
        put("a", b"x");
        let changed = sha256_of(&folder).unwrap();
        fs::rename(folder.join("a"), folder.join("b")).unwrap();
        let renamed = sha256_of(&folder).unwrap();
        assert!(before != changed && changed != renamed);
        assert!(sha256_of(&folder.join("none")).is_err());
        fs::remove_dir_all(folder).unwrap();
    }
}
