//! Arguments of `keyledger audit bundle` and `verify`.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand};
use keyledger_schema::{KeyId, OrganizationId, WorkspaceId};

use super::Connection;
use super::value::Moment;

/// What auditors are given, and what they do with it.
#[derive(Subcommand, Debug)]
pub enum AuditorCommand {
    /// Write an archive with which somebody else can check the trail offline
    Bundle(BundleArgs),
    /// Check such an archive, or a data directory, without a server
    Verify(VerifyBundleArgs),
}

/// Arguments of `audit bundle`.
#[derive(Args, Debug)]
#[command(group(ArgGroup::new("of").required(true).args(["key", "workspace", "organization", "data_dir"])))]
#[command(after_help = "\
Examples:
  keyledger audit bundle --key key_01h455vb4pex5vsknk084sn02q --output acme.tar
  keyledger audit bundle --organization org_01h455vb4pex5vsknk084sn02q --output acme.tar
  keyledger audit bundle --data-dir ./keyledger-data --output log.tar

Needs a grant that allows reading trails; the export is in the trail before the first byte leaves.
With --data-dir it is the whole log, read from the disk, whether a server runs or not. That one
discloses no data keys: names, addresses and comments in it read as [unreadable].
The bundle of an organization holds its verifications (usage.recorded); of a key or workspace not.
How an auditor checks it: docs/auditors-guide.md")]
pub struct BundleArgs {
    /// The trail of this key
    #[arg(long, value_name = "KEY_ID")]
    pub key: Option<KeyId>,
    /// What happened in this workspace
    #[arg(long, short, value_name = "WS_ID")]
    pub workspace: Option<WorkspaceId>,
    /// What happened in this organization
    #[arg(long, value_name = "ORG_ID")]
    pub organization: Option<OrganizationId>,
    /// The whole log in this data directory
    #[arg(long, value_name = "DIRECTORY")]
    pub data_dir: Option<PathBuf>,
    /// Only what was recorded from this moment on, such as 2026-01-01T00:00:00Z or 30d
    #[arg(long, value_name = "TIME", conflicts_with = "data_dir")]
    pub from: Option<Moment>,
    /// Only what was recorded before this moment, such as 2026-01-01T00:00:00Z or 30d
    #[arg(long, value_name = "TIME", conflicts_with = "data_dir")]
    pub to: Option<Moment>,
    /// Size of the tree of an earlier checkpoint, whose consistency the bundle shall show
    #[arg(long, value_name = "TREE_SIZE")]
    pub since: Option<u64>,
    /// Leave out the keys that names, addresses and comments can be read with
    #[arg(long, conflicts_with = "data_dir")]
    pub without_personal_data: bool,
    /// File with the master key of the data directory [default: as of serve]
    #[arg(long, value_name = "FILE", requires = "data_dir")]
    pub master_key_file: Option<PathBuf>,
    /// File to write to
    #[arg(long, short, value_name = "FILE")]
    pub output: PathBuf,
    /// Overwrite FILE if it is there
    #[arg(long)]
    pub force: bool,
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would show it as help")]
    pub connection: Connection,
}

const VERDICTS: &str = "\
Examples:
  keyledger audit verify acme.tar --key 'keyledger.example/log+1a2b3c4d+AQ…'
  keyledger audit verify acme.tar --key \"$LOG_KEY\" --since last-year.checkpoint --json
  keyledger audit verify --data-dir ./keyledger-data

Exit codes beside those of every command, by the first thing that does not hold:
  10  the archive: changed, cut off, or not one of these
  11  the manifest: a file is not what it names
  12  a signature: not signed with a key that was given
  13  the tree: an entry is not in the log that the checkpoint states
  14  consistency: the log does not go on where the earlier checkpoint ended
  15  a chain: an event is missing, moved or repeated
  16  completeness: a stream does not end where the log committed to
  17  a view: a table or a key does not say what the entries say
  18  an event: it cannot be read, or does not belong here
  19  the log's keys: other ones than the log introduced
  20  comparison: nothing is known to be wrong, but the bundle has not what comparing it with the
      earlier checkpoint needs; ask for one that is made with --since
  21  the vault: the log is as it should be, but some data keys in its data directory are lost

What is proved and what is not: docs/auditors-guide.md";

/// Arguments of `audit verify`.
#[derive(Args, Debug)]
#[command(after_help = VERDICTS)]
#[command(group(ArgGroup::new("what").required(true).args(["bundle", "data_dir"])))]
pub struct VerifyBundleArgs {
    /// The archive
    #[arg(value_name = "BUNDLE")]
    pub bundle: Option<PathBuf>,
    /// The log in this data directory instead, whether a server runs or not
    #[arg(long, value_name = "DIRECTORY")]
    pub data_dir: Option<PathBuf>,
    /// Verifier key of the log, from elsewhere than the archive; may be repeated
    #[arg(long = "key", value_name = "VERIFIER_KEY")]
    pub keys: Vec<String>,
    /// File with an earlier checkpoint that the log has to go on from
    #[arg(long, value_name = "CHECKPOINT_FILE")]
    pub since: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}
