//! Who this node is, and the key that opens its log.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use keyledger_schema::NodeId;

use super::{Error, system};
use crate::config::{Config, MasterKeySource};
use crate::edge::Edge;
use crate::readmodel;
use crate::secret::MasterKey;
use crate::sequencer::{self, CHECKPOINT_FILE_NAME};

/// Name of the file that holds the node's id.
const NODE_FILE: &str = "node";

/// The node's id: made at the first start, then kept.
pub(super) fn node_id(data_dir: &Path, edge: &Edge) -> Result<NodeId, Error> {
    let path = data_dir.join(NODE_FILE);
    match fs::read_to_string(&path) {
        Ok(text) => text.trim().parse().map_err(|error| Error::System {
            what: format!(
                "{} does not hold this node's id; restore it, or delete it to go on as a new node",
                path.display()
            ),
            source: std::io::Error::new(ErrorKind::InvalidData, error),
        }),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let id = NodeId::from_uuid(edge.uuid());
            // Written whole or not at all.
            let draft = data_dir.join("node.new");
            let write = || {
                let mut options = OpenOptions::new();
                options.write(true).create(true).truncate(true).mode(0o600);
                let mut file = options.open(&draft)?;
                writeln!(file, "{id}")?;
                file.sync_all()?;
                fs::rename(&draft, &path)?;
                fs::File::open(data_dir)?.sync_all()
            };
            write().map_err(system(format!("cannot write {}", path.display())))?;
            Ok(id)
        }
        Err(error) => Err(system(format!("cannot read {}", path.display()))(error)),
    }
}

/// A log is made only where there was none: what is made after it must not be there yet.
pub(super) fn refuse_leftovers(data_dir: &Path) -> Result<(), Error> {
    for leftover in [NODE_FILE, CHECKPOINT_FILE_NAME, readmodel::FILE_NAME, sequencer::FILE_NAME] {
        if data_dir.join(leftover).exists() {
            return Err(Error::LogMissing { directory: data_dir.display().to_string(), leftover });
        }
    }
    Ok(())
}

/// The master key. A new one is made for a new log only: a log that exists needs its own.
pub(super) fn master_key(config: &Config, log_exists: bool, edge: &Edge) -> Result<MasterKey, Error> {
    match config.master_key.read()? {
        Some(key) => Ok(key),
        None if log_exists => Err(Error::MasterKeyMissing {
            directory: config.data_dir.display().to_string(),
            source_name: match &config.master_key {
                MasterKeySource::Environment(_) => "KEYLEDGER_MASTER_KEY".to_owned(),
                MasterKeySource::File(path) => path.display().to_string(),
            },
        }),
        None => Ok(config.master_key.create(&edge.random())?),
    }
}
