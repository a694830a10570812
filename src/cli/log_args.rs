//! What can be typed behind `keyledger audit` about checkpoints, proofs and the keys of the log.

use clap::{Args, Subcommand};
use keyledger_schema::EventId;

use super::Connection;
use crate::config::CommonFlags;

/// What to do.
#[derive(Subcommand, Debug)]
pub enum LogCommand {
    /// Print the newest signed checkpoint of the log
    Checkpoint(CheckpointArgs),
    /// Print the proof that an event is in the log, as a .tlog-proof file
    Proof(ProofArgs),
    /// List the keys that sign checkpoints
    LogKeys(LogKeysArgs),
    /// Give the log another signing key, in a data directory that no server uses
    RotateLogKey(RotateLogKeyArgs),
    /// Take a signing key of the log out of use, in a data directory that no server uses
    RetireLogKey(RetireLogKeyArgs),
}

/// Arguments of `checkpoint`.
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  keyledger audit checkpoint > checkpoint-$(date +%F)

Keep it: whoever holds a checkpoint notices when what was logged before it is changed.")]
pub struct CheckpointArgs {
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would show it as help")]
    pub connection: Connection,
}

/// Arguments of `proof`.
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  keyledger audit proof evt_01jd8x0000e008000000000000 > evt.tlog-proof

The file names the place of the event in the log and the checkpoint that covers it (C2SP tlog-proof).")]
pub struct ProofArgs {
    /// The event
    pub event: EventId,
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would show it as help")]
    pub connection: Connection,
}

/// Arguments of `log-keys`.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  keyledger audit log-keys")]
pub struct LogKeysArgs {
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would show it as help")]
    pub connection: Connection,
}

/// Arguments of `rotate-log-key`.
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  keyledger audit rotate-log-key --data-dir ./keyledger-data

The server must not be running on the data directory. From then on checkpoints carry the signatures of all keys
until the older ones are retired.")]
pub struct RotateLogKeyArgs {
    /// Print the keys as JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would show it as help")]
    pub settings: CommonFlags,
}

/// Arguments of `retire-log-key`.
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  keyledger audit retire-log-key --generation 1 --data-dir ./keyledger-data

The server must not be running on the data directory. Retire a key when everybody who checks the log knows a newer
one: what it signed stays signed.")]
pub struct RetireLogKeyArgs {
    /// Which one, as audit log-keys shows it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub generation: u32,
    /// Print the keys as JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would show it as help")]
    pub settings: CommonFlags,
}
