//! What makes and changes keys.

use std::time::Duration;

use clap::{ArgGroup, Args};
use keyledger_schema::{Environment, KeyId, Scope, WorkspaceId};

use super::environment;
use crate::cli::identity_args::{IdentityArgument, RefillArgs};
use crate::cli::value::{self, GrantArgument, Moment, RateLimitArgument, RoleArgument};

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
