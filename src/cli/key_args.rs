//! What can be typed behind `keyledger key`.

mod change;
mod end;
mod find;

use clap::{Args, Subcommand};
use keyledger_schema::{Environment, KeyId};

use super::Connection;
use super::consequences::ConsequencesArgs;
use super::value::Moment;

pub use change::{CloneArgs, CommentArgs, CreateArgs, ImportArgs, RotateArgs, UpdateArgs};
pub use end::{
    DeleteArgs, IdentifyArgs, ReasonArgument, RevokeArgs, RevokeManyArgs, SecretArgs, SelfRevokeArgs,
};
pub use find::{FilterArgs, ListArgs, SortArgument, StatusArgument, TrailArgs, UnusedArgs};

/// Arguments of `key`.
#[derive(Args, Debug)]
pub struct KeyArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: KeyCommand,
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would show it as help")]
    pub connection: Connection,
}

/// What to do with keys.
#[derive(Subcommand, Debug)]
pub enum KeyCommand {
    /// Create a key and show its secret once
    Create(Box<CreateArgs>),
    /// List keys; active ones unless --status says otherwise
    List(Box<ListArgs>),
    /// Show everything about a key except its secret, which nobody can show again
    #[command(after_help = "\
Examples:
  keyledger key show key_01h455vb4pex5vsknk084sn02q
  keyledger key show key_01h455vb4pex5vsknk084sn02q --as-of 7d")]
    Show {
        /// Id of the key
        #[arg(value_name = "KEY_ID")]
        id: KeyId,
        /// As it was then: 7d ago, or a moment (RFC 3339)
        #[arg(long, value_name = "WHEN")]
        as_of: Option<Moment>,
    },
    /// Give a key a new secret and show it once
    Rotate(RotateArgs),
    /// Stop a key for now; enable starts it again
    #[command(
        after_help = "Example:\n  keyledger key disable key_01h455vb4pex5vsknk084sn02q --comment \"holiday\""
    )]
    Disable(CommentArgs),
    /// Start a disabled key again
    #[command(after_help = "Example:\n  keyledger key enable key_01h455vb4pex5vsknk084sn02q")]
    Enable(CommentArgs),
    /// Cut a key off for ever; its trail stays
    Revoke(RevokeArgs),
    /// Make all tokens fail that a key was exchanged for so far; the key itself stays as it is
    #[command(
        after_help = "Example:\n  keyledger key revoke-tokens key_01h455vb4pex5vsknk084sn02q --comment \"laptop stolen\""
    )]
    RevokeTokens(CommentArgs),
    /// Remove a key from lists and make it unusable; its trail stays
    Delete(DeleteArgs),
    /// Create a key with the settings and the expiry of another, and show its secret once
    Clone(CloneArgs),
    /// Change a key's name, rights, addresses, limits or metadata, at once and with the same secret
    Update(Box<UpdateArgs>),
    /// Record that the secret was stored where it belongs
    #[command(after_help = "Example:\n  keyledger key acknowledge key_01h455vb4pex5vsknk084sn02q")]
    Acknowledge {
        /// Id of the key
        #[arg(value_name = "KEY_ID")]
        id: KeyId,
    },
    /// Show what was done to a key: when, by whom, from where, with which outcome
    Trail(TrailArgs),
    /// Show what a key did, what the keys did that it issued, and what that led to
    Consequences(ConsequencesArgs),
    /// Report the active keys that nobody has used for long
    Unused(UnusedArgs),
    /// Cut many keys off for ever, after a look at which ones
    RevokeMany(Box<RevokeManyArgs>),
    /// Bring keys that exist already, with their secrets or their hashes
    Import(ImportArgs),
    /// Tell which key a secret belongs to, record that it was found, and revoke the key if wanted
    Identify(IdentifyArgs),
    /// Cut a key off for ever with its own secret; no management key is needed
    SelfRevoke(SelfRevokeArgs),
}

impl KeyCommand {
    /// Whether the secret of a key is all that it needs.
    pub fn needs_no_key(&self) -> bool {
        matches!(self, Self::SelfRevoke(_))
    }
}

pub(super) fn environment(text: &str) -> Result<Environment, keyledger_schema::environment::Error> {
    text.parse()
}
