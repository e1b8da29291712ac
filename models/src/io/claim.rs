use super::{Error, Result};
use std::fs::{self, File, TryLockError};
use std::path::Path;

/// A folder for one writer: while this lives, no other process gets one for the same folder, and neither does this one. The system ends it
/// with the process, however that ends.
#[derive(Debug)]
pub struct Claim {
    file: File,
}

impl Drop for Claim {
    /// Closing is not enough: a child that another thread is just starting has the same open file until it becomes its program, and a lock
    /// goes with the last of them.
    fn drop(&mut self) {
        // What is left if this fails goes with the process.
        let _ = self.file.unlock();
    }
}

impl Claim {
    /// Make the folder if it is not there, and claim it.
    ///
    /// # Errors
    /// [`Error::Content`] if another writer has it; [`Error::System`] if it cannot be made or written to. Where a file system has no locks,
    /// nobody is kept out.
    pub fn of(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder).map_err(Error::system(folder, "make folder"))?;
        let path = folder.join(".latens.lock");
        let file = File::options().create(true).append(true).open(&path).map_err(Error::system(&path, "open"))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { file }),
            Err(TryLockError::WouldBlock) => Err(Error::content(folder, "another run writes to this folder")),
            Err(TryLockError::Error(error)) if error.kind() == std::io::ErrorKind::Unsupported => Ok(Self { file }),
            Err(TryLockError::Error(error)) => Err(Error::system(&path, "lock")(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_ends_though_the_file_is_open_elsewhere() {
        let folder = std::env::temp_dir().join(format!("latens-claim-twice-{}", std::process::id()));
        let claim = Claim::of(&folder).unwrap();
        let child = claim.file.try_clone().unwrap();
        drop(claim);
        assert!(Claim::of(&folder).is_ok());
        drop(child);
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_folder_has_one_writer() {
        let folder = std::env::temp_dir().join(format!("latens-claim-{}", std::process::id()));
        let claim = Claim::of(&folder.join("deep")).unwrap();
        let said = Claim::of(&folder.join("deep")).unwrap_err().to_string();
        assert!(said.contains("another run writes"), "{said}");
        assert!(Claim::of(&folder.join("other")).is_ok());
        drop(claim);
        assert!(Claim::of(&folder.join("deep")).is_ok());
        fs::remove_dir_all(&folder).unwrap();
    }
}
