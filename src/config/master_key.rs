//! Where the master key comes from.
//!
//! Invariants: a file that exists is never overwritten, and one that is made is readable by its owner
//! only and durable before it is used. Losing the master key makes every issued secret unusable.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::error::Error;
use crate::secret::{MasterKey, parse_master_key};

/// Where the master key comes from.
#[derive(Clone, Debug)]
pub enum MasterKeySource {
    /// `KEYLEDGER_MASTER_KEY`.
    Environment(MasterKey),
    /// A file of 64 hexadecimal digits.
    File(PathBuf),
}

impl MasterKeySource {
    /// The master key; nothing when its file does not exist yet.
    pub fn read(&self) -> Result<Option<MasterKey>, Error> {
        let path = match self {
            Self::Environment(key) => return Ok(Some(key.clone())),
            Self::File(path) => path,
        };
        let text = match fs::read_to_string(path) {
            Ok(text) => Zeroizing::new(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            // Not UTF-8: certainly not 64 hexadecimal digits.
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return Err(Error::MasterKeyFile { file: path.clone() });
            }
            Err(reason) => {
                return Err(Error::MasterKeyAccess { file: path.clone(), action: "read", reason });
            }
        };
        warn_if_others_may_read(path);
        parse_master_key(&text).map(Some).ok_or_else(|| Error::MasterKeyFile { file: path.clone() })
    }

    /// Writes a new master key to its file, which must not exist yet. One from the environment is kept
    /// as it is. Whether a new one is right is the caller's to know: a log that exists needs its own.
    pub fn create(&self, bits: &[u8; 32]) -> Result<MasterKey, Error> {
        match self {
            Self::Environment(key) => Ok(key.clone()),
            Self::File(path) => {
                write_new(path, bits).map_err(|reason| Error::MasterKeyAccess {
                    file: path.clone(),
                    action: "written",
                    reason,
                })?;
                Ok(MasterKey::new(*bits))
            }
        }
    }
}

fn write_new(path: &Path, bits: &[u8; 32]) -> io::Result<()> {
    let mut text = Zeroizing::new(String::with_capacity(65));
    text.push_str(&blake3::Hash::from_bytes(*bits).to_hex());
    text.push('\n');
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    let mut file = options.open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    // The directory entry has to be durable too.
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

#[cfg(unix)]
fn warn_if_others_may_read(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    if let Ok(metadata) = fs::metadata(path)
        && metadata.permissions().mode() & 0o007 != 0
    {
        tracing::warn!(file = %path.display(), "every user of this machine may read the master key: chmod 600");
    }
}

#[cfg(not(unix))]
fn warn_if_others_may_read(_path: &Path) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_was_made_is_read_again_and_never_overwritten() {
        let directory = tempfile::tempdir().unwrap();
        let source = MasterKeySource::File(directory.path().join("master.key"));
        assert!(source.read().unwrap().is_none());
        source.create(&[7; 32]).unwrap();
        assert!(source.read().unwrap().is_some());
        assert!(source.create(&[8; 32]).is_err());
        let text = fs::read_to_string(directory.path().join("master.key")).unwrap();
        assert_eq!(text, format!("{}\n", "07".repeat(32)));
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_may_read_a_key_that_was_made() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("master.key");
        MasterKeySource::File(path.clone()).create(&[7; 32]).unwrap();
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_file_of_something_else_is_refused_and_not_shown() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("master.key");
        for bytes in [&b"hunter2"[..], b"", &[0xff, 0xfe]] {
            fs::write(&path, bytes).unwrap();
            let shown = MasterKeySource::File(path.clone()).read().unwrap_err();
            assert!(!format!("{shown} {shown:?}").contains("hunter2"), "{shown}");
        }
    }
}
