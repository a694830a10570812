//! What finds keys and shows what became of them.

use clap::{Args, ValueEnum};
use keyledger_schema::{Environment, KeyId, OrganizationId, WorkspaceId};

use super::environment;
use crate::cli::identity_args::IdentityArgument;
use crate::cli::value::{Moment, RoleArgument};

/// A status to filter by.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
#[allow(missing_docs, reason = "clap would show it as help")]
pub enum StatusArgument {
    Active,
    Inactive,
    Expired,
    Revoked,
    Deleted,
    All,
}

/// A field to sort by.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
#[allow(missing_docs, reason = "clap would show it as help")]
pub enum SortArgument {
    Created,
    Name,
    Expires,
    #[value(alias = "used")]
    LastUsed,
}

/// Which keys. Conditions add up.
#[derive(Args, Debug, Default)]
pub struct FilterArgs {
    /// Only keys of this organization [default: your own]
    #[arg(long, value_name = "ORG_ID")]
    pub organization: Option<OrganizationId>,
    /// Only keys of this workspace
    #[arg(long, short, value_name = "WS_ID")]
    pub workspace: Option<WorkspaceId>,
    /// Only keys of this environment: production, staging or development
    #[arg(long, short, value_name = "ENVIRONMENT", value_parser = environment)]
    pub environment: Option<Environment>,
    /// Only keys whose name, id or shown start of the secret matches
    #[arg(long, value_name = "TEXT")]
    pub search: Option<String>,
    /// Only keys whose name contains this
    #[arg(long, value_name = "TEXT")]
    pub name_contains: Option<String>,
    /// Only keys that this key created
    #[arg(long, value_name = "KEY_ID")]
    pub created_by: Option<KeyId>,
    /// Only keys that hold this role, by id or name
    #[arg(long, value_name = "ROLE")]
    pub role: Option<RoleArgument>,
    /// Only keys created then or later: 30d ago, or a moment (RFC 3339)
    #[arg(long, value_name = "WHEN")]
    pub created_after: Option<Moment>,
    /// Only keys created before: 90d ago, or a moment (RFC 3339)
    #[arg(long, value_name = "WHEN")]
    pub created_before: Option<Moment>,
    /// Only keys that expire before: 14d from now, or a moment (RFC 3339)
    #[arg(long, value_name = "WHEN")]
    pub expires_before: Option<Moment>,
    /// Only keys not used since, and created before: 90d ago, or a moment (RFC 3339)
    #[arg(long, value_name = "WHEN")]
    pub unused_since: Option<Moment>,
}

/// Arguments of `key list`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  keyledger key list
  keyledger key list --status all --limit 0 --json
  keyledger key list --environment production --unused-since 90d
  keyledger key list --expires-before 14d --sort expires
  keyledger key list --role support --sort last-used
  keyledger key list --identity customer-7")]
pub struct ListArgs {
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would show it as help")]
    pub filter: FilterArgs,
    /// Only keys with this status; may be repeated [default: active]
    #[arg(long = "status", value_name = "STATUS", hide_default_value = true)]
    pub statuses: Vec<StatusArgument>,
    /// Only keys whose secret nobody has acknowledged
    #[arg(long)]
    pub unacknowledged: bool,
    /// Only keys that hold this identity, by id or external id
    #[arg(long, value_name = "IDENTITY")]
    pub identity: Option<IdentityArgument>,
    /// Order of the list: newest first, by name, what expires first, or what was used least recently
    #[arg(long, value_name = "FIELD", default_value = "created")]
    pub sort: SortArgument,
    /// The other way round
    #[arg(long)]
    pub reverse: bool,
    /// Show at most so many; 0 is all
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub limit: usize,
}

/// Arguments of `key trail`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  keyledger key trail key_01h455vb4pex5vsknk084sn02q
  keyledger key trail key_01h455vb4pex5vsknk084sn02q --newest-first --limit 5
  keyledger key trail key_01h455vb4pex5vsknk084sn02q --limit 0 --json > trail.json

--json holds every event whole, with its stored bytes and its hashes.")]
pub struct TrailArgs {
    /// Id of the key
    #[arg(value_name = "KEY_ID")]
    pub id: KeyId,
    /// Newest event first
    #[arg(long)]
    pub newest_first: bool,
    /// Show at most so many; 0 is all
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub limit: usize,
}

/// Arguments of `key unused`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  keyledger key unused
  keyledger key unused --days 180 --limit 0 --json

Keys that are younger than that are left out: nobody could have used them for so long.")]
pub struct UnusedArgs {
    /// Not used for so many days
    #[arg(long, value_name = "N", default_value_t = 90, value_parser = clap::value_parser!(u32).range(1..=36_500))]
    pub days: u32,
    /// Only keys of this organization [default: your own]
    #[arg(long, value_name = "ORG_ID")]
    pub organization: Option<OrganizationId>,
    /// Only keys of this workspace
    #[arg(long, short, value_name = "WS_ID")]
    pub workspace: Option<WorkspaceId>,
    /// Show at most so many; 0 is all
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub limit: usize,
}
