//! What can be typed behind `keyledger key`.

use std::time::Duration;

use clap::{ArgGroup, Args, Subcommand, ValueEnum};
use keyledger_schema::{Environment, KeyId, OrganizationId, Scope, WorkspaceId};

use super::Connection;
use super::consequences::ConsequencesArgs;
use super::identity_args::{IdentityArgument, RefillArgs};
use super::value::{self, GrantArgument, Moment, RateLimitArgument, RoleArgument};

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

/// Where a secret is read from. There is no argument for the secret itself.
#[derive(Args, Debug)]
pub struct SecretArgs {
    /// File that holds the secret; - is standard input [default: -]
    ///
    /// On a terminal it is asked for, and not shown while it is typed or pasted.
    #[arg(long, value_name = "FILE")]
    pub file: Option<String>,
}

pub(super) fn environment(text: &str) -> Result<Environment, keyledger_schema::environment::Error> {
    text.parse()
}

/// Arguments of `key create`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  keyledger key create billing --environment production --scope 'read:customers/**' --expires 90d
  keyledger key create gateway --environment production \\
      --grant verifier@workspace:ws_01h455vb4pex5vsknk084sn02q --cidr 10.0.0.0/8
  keyledger key create support --environment production --role support --rate-limit api=600/60s
  keyledger key create acme --environment production --identity customer-7 --credits 1000
  keyledger key create ci --environment staging --scope '*:*' --idempotency-key ci-2026 --json | jq -r .createKey.secret

The secret is shown this once. Store it, then record that with: keyledger key acknowledge KEY_ID")]
pub struct CreateArgs {
    /// Name of the key
    #[arg(value_parser = value::name)]
    pub name: String,
    /// Where the key may be used: production, staging or development; cannot be changed later
    #[arg(long, short, value_name = "ENVIRONMENT", value_parser = environment)]
    pub environment: Environment,
    /// Workspace of the key; may be left out when the organization has one only
    #[arg(long, short, value_name = "WS_ID")]
    pub workspace: Option<WorkspaceId>,
    /// What the holder may do in your API: ACTION:RESOURCE; may be repeated
    ///
    /// The action is read, write, admin or *, and none implies another. The resource is segments with / in
    /// between; * is one segment, ** at the end is any depth, * alone is everything.
    #[arg(long = "scope", short, value_name = "SCOPE")]
    pub scopes: Vec<Scope>,
    /// Role that the key holds, by id or name; may be repeated
    #[arg(long = "role", value_name = "ROLE")]
    pub roles: Vec<RoleArgument>,
    /// What the holder may do in Keyledger itself: ROLE@PLACE; may be repeated
    ///
    /// Roles: organization-administrator, workspace-owner, workspace-manager, auditor, viewer, verifier.
    /// Places: organization (your own), organization:org_…, workspace:ws_…. Never more than you hold.
    #[arg(long = "grant", short, value_name = "GRANT")]
    pub grants: Vec<GrantArgument>,
    /// Address or network that the key may be used from; may be repeated [default: everywhere]
    ///
    /// IPv4 and IPv6 are independent: with IPv4 networks only, no IPv6 address is allowed.
    #[arg(long = "cidr", value_name = "CIDR", value_parser = value::cidr)]
    pub cidrs: Vec<String>,
    /// How often the key may be used: NAME=REQUESTS/TIME, such as api=600/60s; may be repeated
    #[arg(long = "rate-limit", value_name = "LIMIT")]
    pub rate_limits: Vec<RateLimitArgument>,
    /// Identity whose rate limits and credits the key shares, by id or external id
    #[arg(long, value_name = "IDENTITY")]
    pub identity: Option<IdentityArgument>,
    /// How many uses the key has [default: unlimited]
    #[arg(long, value_name = "N")]
    pub credits: Option<u64>,
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would show it as help")]
    pub refill: RefillArgs,
    /// When the key stops: 12h, 90d, 52w from now, or a moment (RFC 3339) [default: never]
    ///
    /// Cannot be changed later. With --idempotency-key it is a moment, for a repeat has to be the same.
    #[arg(long, value_name = "WHEN")]
    pub expires: Option<Moment>,
    /// Your own JSON object, at most 4 KiB; @FILE reads a file, @- standard input
    #[arg(long, value_name = "JSON")]
    pub metadata: Option<String>,
    /// What the secret starts with: 1 to 16 of a-z and 0-9, a letter first [default: kl]
    #[arg(long, value_name = "PREFIX", value_parser = value::prefix)]
    pub prefix: Option<String>,
    /// Makes the command safe to repeat: the same word creates one key only
    ///
    /// The first answer shows the secret; a repeat answers the same key without it.
    #[arg(long, value_name = "WORD")]
    pub idempotency_key: Option<String>,
}

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

/// Arguments of `key rotate`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  keyledger key rotate key_01h455vb4pex5vsknk084sn02q --overlap 24h
  keyledger key rotate key_01h455vb4pex5vsknk084sn02q --yes --json | jq -r .rotateKey.secret

Without an overlap the old secret stops at once, and a confirmation is asked for.")]
pub struct RotateArgs {
    /// Id of the key
    #[arg(value_name = "KEY_ID")]
    pub id: KeyId,
    /// How long the old secret stays valid beside the new one: 30m, 24h, 7d
    #[arg(long, value_name = "TIME", default_value = "0", value_parser = value::duration)]
    pub overlap: Duration,
    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,
}

/// Arguments of commands that take a comment.
#[derive(Args, Debug)]
pub struct CommentArgs {
    /// Id of the key
    #[arg(value_name = "KEY_ID")]
    pub id: KeyId,
    /// Why, for the trail
    #[arg(long, value_name = "TEXT")]
    pub comment: Option<String>,
}

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

/// Arguments of `key clone`.
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  keyledger key clone key_01h455vb4pex5vsknk084sn02q --name \"billing, second region\""
)]
pub struct CloneArgs {
    /// Id of the key
    #[arg(value_name = "KEY_ID")]
    pub id: KeyId,
    /// Name of the new key [default: that of the first]
    #[arg(long, value_parser = value::name)]
    pub name: Option<String>,
    /// Makes the command safe to repeat: the same word creates one key only
    #[arg(long, value_name = "WORD")]
    pub idempotency_key: Option<String>,
}

/// Arguments of `key update`.
#[derive(Args, Debug)]
#[command(group = ArgGroup::new("change").required(true).multiple(true))]
#[command(after_help = "\
Examples:
  keyledger key update key_01h455vb4pex5vsknk084sn02q --name \"billing export\"
  keyledger key update key_01h455vb4pex5vsknk084sn02q --scope 'read:invoices/**' --scope 'read:customers/*'
  keyledger key update key_01h455vb4pex5vsknk084sn02q --role support --rate-limit api=600/60s
  keyledger key update key_01h455vb4pex5vsknk084sn02q --no-cidrs --if-revision 7

Lists are replaced, not added to. Name everything that shall hold afterwards.")]
#[allow(clippy::struct_excessive_bools, reason = "each is a flag")]
pub struct UpdateArgs {
    /// Id of the key
    #[arg(value_name = "KEY_ID")]
    pub id: KeyId,
    /// New name
    #[arg(long, group = "change", value_parser = value::name)]
    pub name: Option<String>,
    /// New scopes in place of all old ones; may be repeated
    #[arg(long = "scope", short, value_name = "SCOPE", group = "change")]
    pub scopes: Vec<Scope>,
    /// Take every scope away
    #[arg(long, group = "change", conflicts_with = "scopes")]
    pub no_scopes: bool,
    /// New roles in place of all old ones, by id or name; may be repeated
    #[arg(long = "role", value_name = "ROLE", group = "change")]
    pub roles: Vec<RoleArgument>,
    /// Take every role away
    #[arg(long, group = "change", conflicts_with = "roles")]
    pub no_roles: bool,
    /// New grants in place of all old ones: ROLE@PLACE; may be repeated
    #[arg(long = "grant", short, value_name = "GRANT", group = "change")]
    pub grants: Vec<GrantArgument>,
    /// Take every grant away
    #[arg(long, group = "change", conflicts_with = "grants")]
    pub no_grants: bool,
    /// New rate limits in place of all old ones: NAME=REQUESTS/TIME; may be repeated
    #[arg(long = "rate-limit", value_name = "LIMIT", group = "change")]
    pub rate_limits: Vec<RateLimitArgument>,
    /// Take every rate limit away
    #[arg(long, group = "change", conflicts_with = "rate_limits")]
    pub no_rate_limits: bool,
    /// New identity whose rate limits and credits the key shares, by id or external id
    #[arg(long, value_name = "IDENTITY", group = "change")]
    pub identity: Option<IdentityArgument>,
    /// Take the identity away
    #[arg(long, group = "change", conflicts_with = "identity")]
    pub no_identity: bool,
    /// New addresses or networks in place of all old ones; may be repeated
    #[arg(long = "cidr", value_name = "CIDR", group = "change", value_parser = value::cidr)]
    pub cidrs: Vec<String>,
    /// Allow every address
    #[arg(long, group = "change", conflicts_with = "cidrs")]
    pub no_cidrs: bool,
    /// New metadata in place of the old: a JSON object, @FILE, or @- for standard input
    #[arg(long, value_name = "JSON", group = "change")]
    pub metadata: Option<String>,
    /// Only if nobody changed the same fields since this revision, which key show tells
    #[arg(long, value_name = "N")]
    pub if_revision: Option<u64>,
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

/// Arguments of `key import`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  keyledger key import keys.jsonl --workspace ws_01h455vb4pex5vsknk084sn02q
  export-from-elsewhere | keyledger key import -

One JSON object on each line, as in the API:
  {\"name\": \"billing\", \"environment\": \"PRODUCTION\", \"secret\": \"sk_live_…\"}
  {\"name\": \"ci\", \"environment\": \"STAGING\", \"hash\": {\"algorithm\": \"SHA256_HEX\", \"value\": \"9f86…\"}}

Repeating it is harmless: what is there already is told and left as it is.")]
pub struct ImportArgs {
    /// File with one JSON object on each line; - is standard input
    #[arg(value_name = "FILE")]
    pub file: String,
    /// Workspace of the keys; may be left out when the organization has one only
    #[arg(long, short, value_name = "WS_ID")]
    pub workspace: Option<WorkspaceId>,
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
