//! What can be typed behind `keyledger organization`.

use clap::{ArgGroup, Args, Subcommand};
use keyledger_schema::OrganizationId;
use serde_json::Value;

use super::Connection;
use super::value;

/// Arguments of `organization`.
#[derive(Args, Debug)]
pub struct OrganizationArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: OrganizationCommand,
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would show it as help")]
    pub connection: Connection,
}

/// What to do with organizations.
#[derive(Subcommand, Debug)]
pub enum OrganizationCommand {
    /// List your organization and those below it
    #[command(after_help = "Example:\n  keyledger organization list --limit 0")]
    List {
        /// Show at most so many; 0 is all
        #[arg(long, value_name = "N", default_value_t = 50)]
        limit: usize,
    },
    /// Show everything about an organization
    #[command(after_help = "Example:\n  keyledger organization show")]
    Show {
        /// Id of the organization [default: your own]
        #[arg(value_name = "ORG_ID")]
        id: Option<OrganizationId>,
    },
    /// Create an organization below another one
    #[command(after_help = "Example:\n  keyledger organization create \"Acme Labs\" --bootstrap")]
    Create {
        /// Its name
        #[arg(value_parser = value::name)]
        name: String,
        /// The organization above it [default: your own]
        #[arg(long, value_name = "ORG_ID")]
        parent: Option<OrganizationId>,
        /// Create its signing key too, so that it can issue keys at once
        #[arg(long)]
        bootstrap: bool,
    },
    /// Create an organization's signing key, once; before that it issues no keys
    #[command(after_help = "Example:\n  keyledger organization bootstrap org_01h455vb4pex5vsknk084sn02q")]
    Bootstrap {
        /// Id of the organization
        #[arg(value_name = "ORG_ID")]
        id: OrganizationId,
    },
    /// Call an organization otherwise; its keys keep their addresses
    #[command(
        after_help = "Example:\n  keyledger organization rename org_01h455vb4pex5vsknk084sn02q \"Acme Research\""
    )]
    Rename {
        /// Id of the organization
        #[arg(value_name = "ORG_ID")]
        id: OrganizationId,
        /// Its new name
        #[arg(value_parser = value::name)]
        name: String,
        /// Only if nobody changed the name since this revision, which organization show tells
        #[arg(long, value_name = "N")]
        if_revision: Option<u64>,
    },
    /// Put an organization below another one, whose rules hold in it from then on
    #[command(after_help = "\
Example:
  keyledger organization move org_01h455vb4pex5vsknk084sn02q --parent org_01h455vb4pex5vsknk084sn02r")]
    Move {
        /// Id of the organization
        #[arg(value_name = "ORG_ID")]
        id: OrganizationId,
        /// The organization that is above it from then on
        #[arg(long, value_name = "ORG_ID")]
        parent: OrganizationId,
        /// Only if nobody moved it since this revision, which organization show tells
        #[arg(long, value_name = "N")]
        if_revision: Option<u64>,
    },
    /// List the keys that an organization signs tokens with
    #[command(after_help = "Example:\n  keyledger organization signing-keys")]
    SigningKeys {
        /// Id of the organization [default: your own]
        #[arg(value_name = "ORG_ID")]
        id: Option<OrganizationId>,
    },
    /// Add a key that signs an organization's tokens in ten minutes; tokens of the one before stay good
    #[command(after_help = "Example:\n  keyledger organization rotate-signing-key")]
    RotateSigningKey {
        /// Id of the organization [default: your own]
        #[arg(value_name = "ORG_ID")]
        id: Option<OrganizationId>,
        /// Only if nobody rotated or revoked one since this revision, which organization show tells
        #[arg(long, value_name = "N")]
        if_revision: Option<u64>,
    },
    /// Make all tokens fail that a key signed, at once and for good; if it signs, a new one does so at once
    RevokeSigningKey(RevokeSigningKeyArgs),
    /// Show or set what an organization demands of its keys
    #[command(subcommand)]
    Policy(PolicyCommand),
}

/// Arguments of `organization revoke-signing-key`.
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  keyledger organization revoke-signing-key --generation 1 --comment \"backup of the master key lost\"

For when somebody else may have the private key. Everybody who holds a token of it has to exchange their key again.")]
pub struct RevokeSigningKeyArgs {
    /// Id of the organization [default: your own]
    #[arg(value_name = "ORG_ID")]
    pub id: Option<OrganizationId>,
    /// Which one, as organization signing-keys shows it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub generation: u32,
    /// Why, for the trail
    #[arg(long, value_name = "TEXT")]
    pub comment: Option<String>,
    /// Only if nobody rotated or revoked one since this revision, which organization show tells
    #[arg(long, value_name = "N")]
    pub if_revision: Option<u64>,
    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,
}

/// What to do with a policy.
#[derive(Subcommand, Debug)]
pub enum PolicyCommand {
    /// Show an organization's own rules and those that hold in it
    #[command(after_help = "Example:\n  keyledger organization policy show")]
    Show {
        /// Id of the organization [default: your own]
        #[arg(value_name = "ORG_ID")]
        id: Option<OrganizationId>,
    },
    /// Set some rules; the others stay, and so do existing keys
    Set(Box<PolicyArgs>),
}

/// Arguments of `organization policy set`.
#[derive(Args, Debug)]
#[command(group = ArgGroup::new("rule").required(true).multiple(true))]
#[command(after_help = "\
Examples:
  keyledger organization policy set --max-ttl 90d --expiry-required yes --dry-run
  keyledger organization policy set org_01h455vb4pex5vsknk084sn02q --environments production,staging
  keyledger organization policy set --max-rate unset

unset takes a rule away, so that what holds above the organization holds in it. A sub-organization can
only be stricter. The keys that break the rules are shown; they stay as they are.")]
pub struct PolicyArgs {
    /// Id of the organization [default: your own]
    #[arg(value_name = "ORG_ID")]
    pub id: Option<OrganizationId>,
    /// Whether keys can be issued and used at all: on or off; off cuts off every key, below it too
    #[arg(long, value_name = "SWITCH", group = "rule", value_parser = value::switch_rule)]
    pub api_keys: Option<Value>,
    /// Whether a new key must have an expiry date: yes or no
    #[arg(long, value_name = "DEMAND", group = "rule", value_parser = value::demand_rule)]
    pub expiry_required: Option<Value>,
    /// How long a new key lives when its creator does not say: 30d
    #[arg(long, value_name = "TIME", group = "rule", value_parser = value::length_rule)]
    pub default_ttl: Option<Value>,
    /// How long a new key lives at most: 90d
    #[arg(long, value_name = "TIME", group = "rule", value_parser = value::length_rule)]
    pub max_ttl: Option<Value>,
    /// Whether a key must name the networks that it may be used from: yes or no
    #[arg(long, value_name = "DEMAND", group = "rule", value_parser = value::demand_rule)]
    pub require_cidrs: Option<Value>,
    /// The highest rate of a key: 1000/60s
    #[arg(long, value_name = "RATE", group = "rule", value_parser = value::rate_rule)]
    pub max_rate: Option<Value>,
    /// Within which time a new secret must be acknowledged, else its key is switched off: 30m
    #[arg(long, value_name = "TIME", group = "rule", value_parser = value::minutes_rule)]
    pub acknowledge_within: Option<Value>,
    /// The environments that keys may be created for, with commas between: production,staging
    #[arg(long, value_name = "LIST", group = "rule", value_parser = value::environments_rule)]
    pub environments: Option<Value>,
    /// How long a token lives that a key is exchanged for, 1m to 24h: 10m
    #[arg(long, value_name = "TIME", group = "rule", value_parser = value::length_rule)]
    pub token_lifetime: Option<Value>,
    /// Only show which keys would break the rules
    #[arg(long)]
    pub dry_run: bool,
    /// Only if nobody changed the policy since this revision, which organization show tells
    #[arg(long, value_name = "N")]
    pub if_revision: Option<u64>,
    /// Do not ask before keys are switched off
    #[arg(long, short)]
    pub yes: bool,
}
