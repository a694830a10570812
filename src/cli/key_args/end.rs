//! What ends keys, by their ids, by conditions or by their own secrets.

use clap::{Args, ValueEnum};
use keyledger_schema::KeyId;

use super::{CommentArgs, FilterArgs};

/// Why a key is revoked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum ReasonArgument {
    /// Somebody else has, or may have, the secret
    Compromised,
    /// Another key took its place
    Superseded,
    /// Nobody uses it
    Unused,
    /// A rule demands it
    Policy,
    /// See --comment
    Other,
}

/// Arguments of `key revoke`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  keyledger key revoke key_01h455vb4pex5vsknk084sn02q --reason compromised --comment \"found in a public repository\"
  keyledger key revoke key_01h455vb4pex5vsknk084sn02q --reason superseded --yes")]
pub struct RevokeArgs {
    /// Id of the key
    #[arg(value_name = "KEY_ID")]
    pub id: KeyId,
    /// Why
    #[arg(long, value_name = "REASON")]
    pub reason: ReasonArgument,
    /// More about why, for the trail
    #[arg(long, value_name = "TEXT")]
    pub comment: Option<String>,
    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,
}

/// Arguments of `key delete`.
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  keyledger key delete key_01h455vb4pex5vsknk084sn02q --comment \"made by mistake\""
)]
pub struct DeleteArgs {
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would show it as help")]
    pub key: CommentArgs,
    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,
}

/// Arguments of `key revoke-many`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  keyledger key revoke-many --unused-since 90d --reason unused --dry-run
  keyledger key revoke-many --created-by key_01h455vb4pex5vsknk084sn02q --reason compromised --yes

The keys that match are shown first. Then a confirmation is asked for, and they are revoked. Without any
condition nothing is done, unless --all says that every key is meant.")]
pub struct RevokeManyArgs {
    /// This key; may be repeated
    #[arg(long = "id", value_name = "KEY_ID")]
    pub ids: Vec<KeyId>,
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would show it as help")]
    pub filter: FilterArgs,
    /// Every key of the organization: your own, or that of --organization
    #[arg(long)]
    pub all: bool,
    /// Why
    #[arg(long, value_name = "REASON")]
    pub reason: ReasonArgument,
    /// More about why, for the trail
    #[arg(long, value_name = "TEXT")]
    pub comment: Option<String>,
    /// Only show what would be revoked
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,
}

/// Where a secret is read from. There is no argument for the secret itself.
#[derive(Args, Debug)]
pub struct SecretArgs {
    /// File that holds the secret; - is standard input [default: -]
    ///
    /// On a terminal it is asked for, and not shown while it is typed or pasted.
    #[arg(long, value_name = "FILE")]
    pub file: Option<String>,
}

/// Arguments of `key identify`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  keyledger key identify < found.txt
  keyledger key identify --file found.txt --revoke compromised --comment \"in a public repository\" --yes

The secret is printed nowhere. That it was found is recorded in the key's trail.")]
pub struct IdentifyArgs {
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would show it as help")]
    pub secret: SecretArgs,
    /// Revoke the key for this reason
    #[arg(long, value_name = "REASON")]
    pub revoke: Option<ReasonArgument>,
    /// Where it was found, for the trail
    #[arg(long, value_name = "TEXT")]
    pub comment: Option<String>,
    /// Do not ask before the key is revoked
    #[arg(long, short)]
    pub yes: bool,
}

/// Arguments of `key self-revoke`.
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  keyledger key self-revoke --file old.key --reason superseded --yes

The secret is what allows it: no management key is needed, and none is sent.")]
pub struct SelfRevokeArgs {
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would show it as help")]
    pub secret: SecretArgs,
    /// Why
    #[arg(long, value_name = "REASON")]
    pub reason: Option<ReasonArgument>,
    /// More about why, for the trail
    #[arg(long, value_name = "TEXT")]
    pub comment: Option<String>,
    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,
}
