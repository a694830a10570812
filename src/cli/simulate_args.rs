//! Arguments of `keyledger usage simulate`.

use std::net::IpAddr;

use clap::{ArgGroup, Args};
use keyledger_schema::{Environment, IdentityId, KeyId, OrganizationId, Scope, WorkspaceId};
use serde_json::Value;

use super::value::{self, Moment, RateLimitArgument, RoleArgument};
use super::{ActionArgument, key_args};

/// Whose calls. Conditions add up.
#[derive(Args, Debug, Default)]
pub struct CallerArgs {
    /// Only calls of this organization's keys [default: your own]
    #[arg(long, value_name = "ORG_ID")]
    pub organization: Option<OrganizationId>,
    /// Only those of keys in this workspace
    #[arg(long, short, value_name = "WS_ID")]
    pub workspace: Option<WorkspaceId>,
    /// Only those of keys for this environment: production, staging or development
    #[arg(long, short, value_name = "ENVIRONMENT", value_parser = key_args::environment)]
    pub environment: Option<Environment>,
    /// Only those of this key; may be repeated
    #[arg(long = "key", value_name = "KEY_ID")]
    pub keys: Vec<KeyId>,
    /// Only those of keys that have this identity now
    #[arg(long, value_name = "IDN_ID")]
    pub identity: Option<IdentityId>,
    /// Only those about this action: read, write or admin
    #[arg(long, value_name = "ACTION")]
    pub action: Option<ActionArgument>,
    /// Only those with this tag
    #[arg(long, value_name = "TAG")]
    pub tag: Option<String>,
    /// Only those from this address
    #[arg(long, value_name = "IP")]
    pub address: Option<IpAddr>,
}

/// What would be another one. What is not named stays as it is now.
#[derive(Args, Debug, Default)]
#[allow(clippy::struct_excessive_bools, reason = "each is a flag")]
pub struct ProposalArgs {
    /// Each key would have this rate limit and no others: NAME=REQUESTS/TIME; may be repeated
    #[arg(long = "rate-limit", value_name = "LIMIT", group = "change")]
    pub rate_limits: Vec<RateLimitArgument>,
    /// Each key would have this scope and no others, besides those of its roles; may be repeated
    #[arg(long = "scope", short, value_name = "SCOPE", group = "change", group = "scoped")]
    pub scopes: Vec<Scope>,
    /// Each key would have no scopes but those of its roles
    #[arg(long, group = "change", group = "scoped", conflicts_with = "scopes")]
    pub no_scopes: bool,
    /// The scopes would be those of this role, by id or name, and not those of the keys
    #[arg(long, value_name = "ROLE", requires = "scoped")]
    pub role: Option<RoleArgument>,
    /// Each key could be used from this address or network, and no others; may be repeated
    #[arg(long = "cidr", value_name = "CIDR", group = "change", value_parser = value::cidr)]
    pub cidrs: Vec<String>,
    /// Keys would be switched on or off: on or off
    #[arg(long, value_name = "SWITCH", group = "change", value_parser = value::switch_rule)]
    pub api_keys: Option<Value>,
    /// Keys would have to have an expiry date: yes or no
    #[arg(long, value_name = "DEMAND", group = "change", value_parser = value::demand_rule)]
    pub expiry_required: Option<Value>,
    /// Keys would live so long at most: 90d
    #[arg(long, value_name = "TIME", group = "change", value_parser = value::length_rule)]
    pub max_ttl: Option<Value>,
    /// Keys would have to name the networks that they may be used from: yes or no
    #[arg(long, value_name = "DEMAND", group = "change", value_parser = value::demand_rule)]
    pub require_cidrs: Option<Value>,
    /// No key could be used at a higher rate: 1000/60s
    #[arg(long, value_name = "RATE", group = "change", value_parser = value::rate_rule)]
    pub max_rate: Option<Value>,
    /// The environments that keys could be for, with commas between: production,staging
    #[arg(long, value_name = "LIST", group = "change", value_parser = value::environments_rule)]
    pub environments: Option<Value>,
}

/// Arguments of `usage simulate`.
#[derive(Args, Debug)]
#[command(group = ArgGroup::new("change").required(true).multiple(true))]
#[command(group = ArgGroup::new("scoped").multiple(true))]
#[command(after_help = "\
Examples:
  keyledger usage simulate --rate-limit api=600/60s
  keyledger usage simulate --role support --scope 'read:customers/**' --from 7d
  keyledger usage simulate --max-ttl 90d --require-cidrs yes --environment production --json

Nothing is changed. Rules of the policy are those that the organization itself would set; unset takes one away.")]
pub struct SimulateArgs {
    /// Calls from then on: 30d ago, or a moment (RFC 3339)
    #[arg(long, value_name = "WHEN", default_value = "30d")]
    pub from: Moment,
    /// Calls until then: 1d ago, or a moment (RFC 3339) [default: now]
    #[arg(long, value_name = "WHEN")]
    pub to: Option<Moment>,
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would show it as help")]
    pub change: ProposalArgs,
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would show it as help")]
    pub callers: CallerArgs,
    /// Show so many keys, those with the most refused calls first: at most 100
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub top: usize,
}
