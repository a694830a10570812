//! The file with the last signed checkpoint: what the log has said of itself and must stand by.
//!
//! It is written whole or not at all, and is on stable storage before anybody sees what it says.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::{CHECKPOINT_FILE_NAME, Signed};
use crate::audit::checkpoint::Checkpoint;
use crate::audit::note::{MAX_NOTE_BYTES, Note, VerifierKey};

/// Why the file cannot be believed. For people; the details are logged.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("the file with the last signed checkpoint cannot be read or written")]
    File(#[from] std::io::Error),
    #[error("the file with the last signed checkpoint holds something else")]
    Damaged,
    #[error("the last signed checkpoint was signed by another log")]
    Foreign,
}

/// The note in the file, if there is one.
pub(super) fn read(data_dir: &Path) -> Result<Option<Note>, Error> {
    let path = data_dir.join(CHECKPOINT_FILE_NAME);
    match fs::metadata(&path) {
        Ok(about) if about.len() > MAX_NOTE_BYTES as u64 => return Err(Error::Damaged),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        _ => {}
    }
    Note::parse(&fs::read(&path)?).map(Some).map_err(|_| Error::Damaged)
}

/// What a note says, if one of the log's keys signed it, one that is out of use included.
pub(super) fn open(note: &Note, origin: &str, keys: &[VerifierKey]) -> Result<Signed, Error> {
    note.verify(keys).map_err(|_| Error::Foreign)?;
    let checkpoint = Checkpoint::parse(note.text()).map_err(|_| Error::Damaged)?;
    if *checkpoint.origin != *origin {
        return Err(Error::Foreign);
    }
    Ok(Signed { checkpoint, note: note.to_string().into() })
}

/// Puts a note in the place of the one before.
pub(super) fn write(data_dir: &Path, note: &str) -> Result<(), Error> {
    let draft = data_dir.join("checkpoint.new");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(&draft)?;
    file.write_all(note.as_bytes())?;
    file.sync_all()?;
    fs::rename(&draft, data_dir.join(CHECKPOINT_FILE_NAME))?;
    fs::File::open(data_dir)?.sync_all()?;
    Ok(())
}
