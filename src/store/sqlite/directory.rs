//! The data directory and its lock: one process at a time.
//!
//! Invariant: whoever holds a [`DataDirectory`] is the only one who does, on this machine, until it is
//! dropped. The lock is the operating system's, so it ends with the process however that ends; the pid
//! in the file is only for the message.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::OpenError;

/// A data directory that this process alone uses.
#[derive(Debug)]
pub struct DataDirectory {
    path: PathBuf,
    lock: File,
}

/// Whether a process has a data directory. Where that cannot be told, nobody has.
pub(super) fn is_in_use(path: &Path) -> bool {
    let lock = File::open(path.join("lock"));
    lock.is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

impl DataDirectory {
    /// Takes the directory; creates it, readable by its owner only, when it is absent.
    pub fn lock(path: &Path) -> Result<Self, OpenError> {
        let unreadable = |error| OpenError::io(path, error);
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(unreadable)?;
        let file = path.join("lock");
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&file)
            .map_err(|error| OpenError::io(&file, error))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                let pid = lock.read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok());
                return Err(OpenError::InUse { directory: path.to_owned(), pid });
            }
            Err(TryLockError::Error(error)) => return Err(OpenError::io(&file, error)),
        }
        lock.set_len(0)
            .and_then(|()| lock.rewind())
            .and_then(|()| writeln!(lock, "{}", std::process::id()))
            .map_err(|error| OpenError::io(&file, error))?;
        Ok(Self { path: path.to_owned(), lock })
    }

    /// Whether there is a log in it already.
    pub fn has_log(&self) -> bool {
        super::schema::log_file(&self.path).exists()
    }

    /// The directory, as it was given.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for DataDirectory {
    /// Gives the lock back by name. Closing the file alone would leave it with a child process that was
    /// forked meanwhile, until that child runs its own program and so closes what it inherited.
    fn drop(&mut self) {
        let _ = self.lock.unlock();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_free_once_it_is_given_back_though_a_fork_still_has_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let held = DataDirectory::lock(directory.path()).unwrap();
        // Like the descriptor that a forked child has, this one shares the lock.
        let inherited = held.lock.try_clone().unwrap();
        drop(held);
        DataDirectory::lock(directory.path()).unwrap();
        drop(inherited);
    }
}
