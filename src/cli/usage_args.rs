//! Arguments of `keyledger usage`.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use keyledger_schema::{Environment, IdentityId, KeyId, OrganizationId, VerificationCode, WorkspaceId};

use super::simulate_args::SimulateArgs;
use super::value::{Moment, RoleArgument};
use super::{ActionArgument, Connection, key_args};

/// Arguments of `usage`.
#[derive(Args, Debug)]
pub struct UsageArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: UsageCommand,
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would show it as help")]
    pub connection: Connection,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub enum UsageCommand {
    /// Show how often keys were verified
    Show(ShowArgs),
    /// Show verifications one by one
    Log(LogArgs),
    /// Write figures or verifications to a file
    Export(ExportArgs),
    /// Show which calls a change would have refused, without making it
    Simulate(Box<SimulateArgs>),
}

/// Which verifications. Conditions add up.
#[derive(Args, Debug, Default)]
pub struct ConditionArgs {
    /// Only verifications of this organization's keys [default: your own]
    #[arg(long, value_name = "ORG_ID")]
    pub organization: Option<OrganizationId>,
    /// Only those of keys in this workspace
    #[arg(long, short, value_name = "WS_ID")]
    pub workspace: Option<WorkspaceId>,
    /// Only those of keys for this environment: production, staging or development
    #[arg(long, short, value_name = "ENVIRONMENT", value_parser = key_args::environment)]
    pub environment: Option<Environment>,
    /// Only those of keys that have this identity now
    #[arg(long, value_name = "IDN_ID")]
    pub identity: Option<IdentityId>,
    /// Only those of keys that hold this role now, by id or name
    #[arg(long, value_name = "ROLE")]
    pub role: Option<RoleArgument>,
    /// Only those that were answered so, such as VALID or rate-limited; may be repeated
    #[arg(long = "outcome", value_name = "CODE", value_parser = code)]
    pub outcomes: Vec<VerificationCode>,
    /// Only those about this action: read, write or admin
    #[arg(long, value_name = "ACTION")]
    pub action: Option<ActionArgument>,
    /// Only uses by this means and not by the secret; introspection is in the verification log only
    #[arg(long, value_name = "MEANS")]
    pub means: Option<MeansArgument>,
    /// Only those with this tag
    #[arg(long, value_name = "TAG")]
    pub tag: Option<String>,
    /// Only those from this address; not together with a tag in figures
    #[arg(long, value_name = "IP")]
    pub address: Option<IpAddr>,
}

/// An answer to a verification, in any case and with dashes or underscores.
fn code(text: &str) -> Result<VerificationCode, String> {
    let wanted = text.to_uppercase().replace('-', "_");
    let found = VerificationCode::ALL.into_iter().find(|code| code.as_str() == wanted);
    found.ok_or_else(|| {
        let codes: Vec<&str> = VerificationCode::ALL.iter().map(|code| code.as_str()).collect();
        format!("expected one of {}", codes.join(", "))
    })
}

/// How long a bucket is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
#[allow(missing_docs, reason = "clap would show it as help")]
pub enum GranularityArgument {
    Minute,
    Hour,
    Day,
    Month,
}

/// What verifications are told apart by.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
#[allow(missing_docs, reason = "clap would show it as help")]
pub enum DimensionArgument {
    Organization,
    Workspace,
    Environment,
    Key,
    Identity,
    Role,
    Outcome,
    Action,
    Means,
    Tag,
    Address,
}

/// How a key was used other than by presenting its secret.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum MeansArgument {
    /// Its secret was exchanged for a token, or should have been
    Exchange,
    /// A token of it was presented
    Token,
    /// Somebody asked whether a token of it is good
    Introspection,
}

/// How figures are cut.
#[derive(Args, Debug)]
pub struct FrameArgs {
    /// How long a bucket is
    #[arg(long, value_name = "LENGTH", default_value = "day")]
    pub granularity: GranularityArgument,
    /// Whose days and months, such as Europe/Berlin
    #[arg(long, value_name = "ZONE", default_value = "UTC")]
    pub time_zone: String,
    /// Tell apart by this; may be given twice
    #[arg(long = "by", value_name = "DIMENSION")]
    pub by: Vec<DimensionArgument>,
    /// Include the organizations below
    #[arg(long)]
    pub include_below: bool,
    /// Only verifications of this key; may be repeated
    #[arg(long = "key", value_name = "KEY_ID")]
    pub keys: Vec<KeyId>,
}

/// Arguments of `usage show`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  keyledger usage show
  keyledger usage show --from 24h --granularity hour --series
  keyledger usage show --from 90d --by key --top 20 --outcome valid
  keyledger usage show --key key_01h455vb4pex5vsknk084sn02q --by means --by outcome
  keyledger usage show --from 2026-11-01T00:00:00Z --to 2026-12-01T00:00:00Z --by outcome --by environment --json")]
pub struct ShowArgs {
    /// From then on: 30d ago, or a moment (RFC 3339)
    #[arg(long, value_name = "WHEN", default_value = "30d")]
    pub from: Moment,
    /// Until then: 1d ago, or a moment (RFC 3339) [default: now]
    #[arg(long, value_name = "WHEN")]
    pub to: Option<Moment>,
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would show it as help")]
    pub frame: FrameArgs,
    /// Show so many groups, largest first: 1 to 1000
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub top: u16,
    /// Show each bucket, too; those of groups with --json
    #[arg(long)]
    pub series: bool,
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would show it as help")]
    pub conditions: ConditionArgs,
}

/// Arguments of `usage log`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  keyledger usage log --from 1h --outcome not-found
  keyledger usage log key_01h455vb4pex5vsknk084sn02q
  keyledger usage log key_01h455vb4pex5vsknk084sn02q --outcome rate-limited --from 24h --limit 0 --json")]
pub struct LogArgs {
    /// Id of the key; without it, the verifications of all keys and of unknown ones
    #[arg(value_name = "KEY_ID", conflicts_with = "organization")]
    pub id: Option<KeyId>,
    /// From then on: 24h ago, or a moment (RFC 3339)
    #[arg(long, value_name = "WHEN")]
    pub from: Option<Moment>,
    /// Until then: 1d ago, or a moment (RFC 3339)
    #[arg(long, value_name = "WHEN")]
    pub to: Option<Moment>,
    /// Only those about a resource that begins with this
    #[arg(long, value_name = "TEXT")]
    pub resource_prefix: Option<String>,
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would show it as help")]
    pub conditions: ConditionArgs,
    /// Oldest first
    #[arg(long)]
    pub oldest_first: bool,
    /// Show at most so many; 0 is all
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub limit: usize,
}

/// What to export.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum WhatArgument {
    /// How often keys were verified, by bucket and group
    Usage,
    /// Verifications one by one, oldest first
    Verifications,
}

/// The form of an export.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum FormatArgument {
    /// Comma-separated values, for spreadsheets
    Csv,
    /// A JSON object a line
    Jsonl,
    /// Apache Parquet, for analytics
    Parquet,
}

/// Arguments of `usage export`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  keyledger usage export --format csv --from 90d --by key -o usage.csv
  keyledger usage export --what verifications --format jsonl --from 24h | jq -c 'select(.code != \"VALID\")'
  keyledger usage export --what verifications --format csv -o log.csv --resume

While it runs the file is called FILE.part. Exports are in the trail.")]
pub struct ExportArgs {
    /// What to export
    #[arg(long, value_name = "WHAT", default_value = "usage")]
    pub what: WhatArgument,
    /// In which form
    #[arg(long, value_name = "FORMAT")]
    pub format: FormatArgument,
    /// File to write [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Go on where an earlier export of verifications to the same file was cut off
    #[arg(long, requires = "output")]
    pub resume: bool,
    /// Overwrite FILE if it is there
    #[arg(long, requires = "output")]
    pub force: bool,
    /// Only verifications after this cursor of an earlier export
    #[arg(long, value_name = "CURSOR", conflicts_with = "resume")]
    pub after: Option<String>,
    /// From then on: 30d ago, or a moment (RFC 3339) [default: 30d for usage, the first for verifications]
    #[arg(long, value_name = "WHEN")]
    pub from: Option<Moment>,
    /// Until then: 1d ago, or a moment (RFC 3339) [default: now]
    #[arg(long, value_name = "WHEN")]
    pub to: Option<Moment>,
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would show it as help")]
    pub frame: FrameArgs,
    /// Only verifications about a resource that begins with this
    #[arg(long, value_name = "TEXT")]
    pub resource_prefix: Option<String>,
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would show it as help")]
    pub conditions: ConditionArgs,
}
