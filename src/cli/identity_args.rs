//! What can be typed behind `keyledger identity` and `keyledger credits`.

use std::str::FromStr;
use std::time::Duration;

use clap::{ArgGroup, Args, Subcommand};
use keyledger_schema::{IdentityId, KeyId, OrganizationId};

use super::Connection;
use super::value::{self, RateLimitArgument};

/// An identity by its id or its external id.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum IdentityArgument {
    /// `idn_…`.
    Id(IdentityId),
    /// As it is.
    External(String),
}

impl FromStr for IdentityArgument {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse() {
            Ok(id) => Ok(Self::Id(id)),
            Err(_) if text.is_empty() => Err("an external id has at least one character"),
            Err(_) => Ok(Self::External(text.to_owned())),
        }
    }
}

/// Whose credits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum HolderArgument {
    /// `key_…`.
    Key(KeyId),
    /// Everything else.
    Identity(IdentityArgument),
}

impl FromStr for HolderArgument {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map_or_else(|_| text.parse().map(Self::Identity), |id| Ok(Self::Key(id)))
    }
}

/// A number of credits, or none for `unlimited`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Remaining(pub Option<u64>);

impl FromStr for Remaining {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "unlimited" {
            return Ok(Self(None));
        }
        text.parse().map(|number| Self(Some(number))).map_err(|_| "expected a whole number, or unlimited")
    }
}

/// Arguments of `identity`.
#[derive(Args, Debug)]
pub struct IdentityArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: IdentityCommand,
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would show it as help")]
    pub connection: Connection,
}

/// What to do with identities.
#[derive(Subcommand, Debug)]
pub enum IdentityCommand {
    /// List identities by their external ids
    #[command(
        after_help = "Examples:\n  keyledger identity list\n  keyledger identity list --search customer- --limit 0"
    )]
    List {
        /// Those of this organization [default: your own]
        #[arg(long, value_name = "ORG_ID")]
        organization: Option<OrganizationId>,
        /// Only those whose external id starts with this, or whose name does without regard to case
        #[arg(long, value_name = "TEXT")]
        search: Option<String>,
        /// Show at most so many; 0 is all
        #[arg(long, value_name = "N", default_value_t = 50)]
        limit: usize,
    },
    /// Show everything about an identity
    #[command(after_help = "Example:\n  keyledger identity show customer-7")]
    Show {
        #[command(flatten)]
        #[allow(missing_docs, reason = "clap would show it as help")]
        identity: WhichIdentity,
    },
    /// Make an identity: somebody of your own, whose keys share rate limits and credits
    Create(CreateIdentityArgs),
    /// Change an identity, at once for all its keys
    Update(UpdateIdentityArgs),
    /// Take an identity that no key holds from lists; its external id stays taken
    #[command(after_help = "Example:\n  keyledger identity delete customer-7 --comment \"left us\"")]
    Delete {
        #[command(flatten)]
        #[allow(missing_docs, reason = "clap would show it as help")]
        identity: WhichIdentity,
        /// Why, for the trail
        #[arg(long, value_name = "TEXT")]
        comment: Option<String>,
        /// Only if nobody changed the identity since this revision, which identity show tells
        #[arg(long, value_name = "N")]
        if_revision: Option<u64>,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
}

/// An identity that exists.
#[derive(Args, Debug)]
pub struct WhichIdentity {
    /// Id or external id of the identity
    #[arg(value_name = "IDENTITY")]
    pub identity: IdentityArgument,
    /// Organization in which the external id is looked up [default: your own]
    #[arg(long, value_name = "ORG_ID")]
    pub organization: Option<OrganizationId>,
}

/// Arguments of `identity create`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  keyledger identity create customer-7 --name \"Acme Ltd\" --rate-limit api=600/60s
  keyledger key create acme --environment production --identity customer-7
  keyledger credits set customer-7 10000 --reason \"plan: starter\"

Repeating it is harmless: what is there already is told and left as it is.")]
pub struct CreateIdentityArgs {
    /// What you call it: 1 to 255 characters, unique in the organization; cannot be changed later
    #[arg(value_name = "EXTERNAL_ID")]
    pub external_id: String,
    /// Name for people
    #[arg(long, value_parser = value::name)]
    pub name: Option<String>,
    /// How often its keys may be used, together: NAME=REQUESTS/TIME, such as api=600/60s; may be repeated
    #[arg(long = "rate-limit", value_name = "LIMIT")]
    pub rate_limits: Vec<RateLimitArgument>,
    /// Your own JSON object, at most 4 KiB; @FILE reads a file, @- standard input
    #[arg(long, value_name = "JSON")]
    pub metadata: Option<String>,
    /// Organization of the identity [default: your own]
    #[arg(long, value_name = "ORG_ID")]
    pub organization: Option<OrganizationId>,
}

/// Arguments of `identity update`.
#[derive(Args, Debug)]
#[command(group = ArgGroup::new("change").required(true).multiple(true))]
#[command(after_help = "\
Examples:
  keyledger identity update customer-7 --rate-limit api=1200/60s
  keyledger identity update customer-7 --no-rate-limits --if-revision 3

Rate limits are replaced, not added to. Name everything that shall hold afterwards.")]
pub struct UpdateIdentityArgs {
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would show it as help")]
    pub identity: WhichIdentity,
    /// New name for people
    #[arg(long, group = "change", value_parser = value::name)]
    pub name: Option<String>,
    /// New rate limits in place of all old ones: NAME=REQUESTS/TIME; may be repeated
    #[arg(long = "rate-limit", value_name = "LIMIT", group = "change")]
    pub rate_limits: Vec<RateLimitArgument>,
    /// Take every rate limit away
    #[arg(long, group = "change", conflicts_with = "rate_limits")]
    pub no_rate_limits: bool,
    /// New metadata in place of the old: a JSON object, @FILE, or @- for standard input
    #[arg(long, value_name = "JSON", group = "change")]
    pub metadata: Option<String>,
    /// Only if nobody changed the same fields since this revision, which identity show tells
    #[arg(long, value_name = "N")]
    pub if_revision: Option<u64>,
}

/// Arguments of `credits`.
#[derive(Args, Debug)]
pub struct CreditsArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: CreditsCommand,
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would show it as help")]
    pub connection: Connection,
}

/// What to do with credits.
#[derive(Subcommand, Debug)]
pub enum CreditsCommand {
    /// Show how many credits a key or an identity has left
    #[command(
        after_help = "Examples:\n  keyledger credits show key_01h455vb4pex5vsknk084sn02q\n  keyledger credits show customer-7"
    )]
    Show {
        #[command(flatten)]
        #[allow(missing_docs, reason = "clap would show it as help")]
        holder: WhichHolder,
    },
    /// Set how many credits a key or an identity has, and how they come back
    Set(SetCreditsArgs),
    /// Give a key or an identity more credits, or take some away
    Adjust(AdjustCreditsArgs),
}

/// A key or an identity.
#[derive(Args, Debug)]
pub struct WhichHolder {
    /// Id of a key, or id or external id of an identity
    #[arg(value_name = "KEY_ID|IDENTITY")]
    pub holder: HolderArgument,
    /// Organization in which the external id is looked up [default: your own]
    #[arg(long, value_name = "ORG_ID")]
    pub organization: Option<OrganizationId>,
}

/// How credits come back.
#[derive(Args, Debug)]
pub struct RefillArgs {
    /// To how many credits they are raised at the start of each interval [default: they do not come back]
    #[arg(long, value_name = "N", requires = "refill_interval")]
    pub refill_amount: Option<u64>,
    /// The interval: 1h, 30d; the first one starts now
    #[arg(long, value_name = "TIME", requires = "refill_amount", value_parser = value::duration)]
    pub refill_interval: Option<Duration>,
}

/// Arguments of `credits set`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  keyledger credits set customer-7 10000 --reason \"plan: starter\"
  keyledger credits set customer-7 1000 --refill-amount 1000 --refill-interval 30d --reason \"plan: monthly\"
  keyledger credits set key_01h455vb4pex5vsknk084sn02q unlimited --reason \"contract\"")]
pub struct SetCreditsArgs {
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would show it as help")]
    pub holder: WhichHolder,
    /// How many are left from now on, or unlimited
    #[arg(value_name = "N|unlimited")]
    pub remaining: Remaining,
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would show it as help")]
    pub refill: RefillArgs,
    /// Why, for the trail
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// Only if nobody set or adjusted the credits since this revision, which key show and identity show tell
    #[arg(long, value_name = "N")]
    pub if_revision: Option<u64>,
}

/// Arguments of `credits adjust`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  keyledger credits adjust customer-7 500 --reason \"refund for yesterday\"
  keyledger credits adjust customer-7 -200 --reason \"billed by hand\" --if-revision 4

A repetition adjusts again, unless --if-revision names what was seen.")]
pub struct AdjustCreditsArgs {
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would show it as help")]
    pub holder: WhichHolder,
    /// By how many: 500, or -500 to take them away
    #[arg(value_name = "N", allow_negative_numbers = true)]
    pub by: i64,
    /// Why, for the trail
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// Only if nobody set or adjusted the credits since this revision, which key show and identity show tell
    #[arg(long, value_name = "N")]
    pub if_revision: Option<u64>,
}
