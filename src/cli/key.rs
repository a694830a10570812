//! `keyledger key …`: from arguments to an input, and from the answer to lines for people.

use keyledger_schema::KeyId;
use serde_json::{Value, json};

use super::client::Client;
use super::key_args::{CloneArgs, CommentArgs, CreateArgs, KeyCommand, ReasonArgument, UpdateArgs};
use super::output::clean;
use super::queries::Mutation;
use super::role::{self, Place};
use super::table::{moment, text, word};
use super::value::{GrantArgument, Moment, RateLimitArgument, scope_input, set};
use super::{
    Failure, Output, confirm, consequences, credits, identity, import, key_list, key_show, leak, queries,
    revoke_many, told, trail, value,
};
use crate::edge::Edge;

/// Does it.
pub fn run(command: &KeyCommand, client: &Client, edge: &Edge, out: &mut Output<'_>) -> Result<(), Failure> {
    match command {
        KeyCommand::Create(args) => {
            let input = create_input(args, client, edge)?;
            change(client, out, queries::CREATE, &input, "created")
        }
        KeyCommand::List(args) => key_list::show(args, client, edge, out),
        KeyCommand::Show { id, as_of } => {
            key_show::show(*id, as_of.map(|at| at.before(edge.now())), client, out)
        }
        KeyCommand::Rotate(args) => {
            if args.overlap.is_zero() {
                confirmed(
                    client,
                    args.id,
                    args.yes,
                    "Rotating without --overlap stops the old secret at once",
                )?;
            }
            let input = json!({ "id": args.id, "overlapSeconds": args.overlap.as_secs() });
            change(client, out, queries::ROTATE, &input, "rotated")
        }
        KeyCommand::Disable(args) => change(client, out, queries::DISABLE, &comment_input(args), "disabled"),
        KeyCommand::Enable(args) => change(client, out, queries::ENABLE, &comment_input(args), "enabled"),
        KeyCommand::Revoke(args) => {
            confirmed(client, args.id, args.yes, "Revoking cannot be undone")?;
            let mut input = json!({ "id": args.id, "reason": reason(args.reason) });
            set(&mut input, "comment", args.comment.as_ref());
            change(client, out, queries::REVOKE, &input, "revoked")
        }
        KeyCommand::RevokeTokens(args) => {
            change(client, out, queries::REVOKE_TOKENS, &comment_input(args), "revoked the tokens of")
        }
        KeyCommand::Delete(args) => {
            confirmed(client, args.key.id, args.yes, "Deleting cannot be undone")?;
            change(client, out, queries::DELETE, &comment_input(&args.key), "deleted")
        }
        KeyCommand::Clone(args) => change(client, out, queries::CLONE, &clone_input(args), "created"),
        KeyCommand::Update(args) => {
            change(client, out, queries::UPDATE, &update_input(args, client)?, "updated")
        }
        KeyCommand::Acknowledge { id } => {
            change(client, out, queries::ACKNOWLEDGE, &json!({ "id": id }), "acknowledged")
        }
        KeyCommand::Trail(args) => trail::show(args, client, out),
        KeyCommand::Consequences(args) => consequences::show(args, client, out),
        KeyCommand::Unused(args) => key_list::unused(args, client, edge, out),
        KeyCommand::RevokeMany(args) => revoke_many::run(args, client, edge, out),
        KeyCommand::Import(args) => import::run(args, client, out),
        KeyCommand::Identify(args) => leak::identify(args, client, out),
        KeyCommand::SelfRevoke(args) => leak::self_revoke(args, client, out),
    }
}

/// As GraphQL writes it.
pub fn reason(reason: ReasonArgument) -> &'static str {
    match reason {
        ReasonArgument::Compromised => "COMPROMISED",
        ReasonArgument::Superseded => "SUPERSEDED",
        ReasonArgument::Unused => "UNUSED",
        ReasonArgument::Policy => "POLICY",
        ReasonArgument::Other => "OTHER",
    }
}

fn create_input(args: &CreateArgs, client: &Client, edge: &Edge) -> Result<Value, Failure> {
    let expires = args.expires.map(|when| when.ahead_of(edge.now()));
    if let (Some(Moment::Away(_)), Some(at), Some(_)) = (args.expires, expires, &args.idempotency_key) {
        return Err(Failure::usage(format!(
            "--expires counted from now is another moment at each repeat, and with --idempotency-key a repeat \
             has to be the same: name the moment, --expires {}",
            at.to_datetime().format("%Y-%m-%dT%H:%M:%SZ")
        )));
    }
    let mut input = json!({
        "name": args.name,
        "environment": args.environment.as_str().to_uppercase(),
        "scopes": args.scopes.iter().map(scope_input).collect::<Value>(),
    });
    set(&mut input, "workspaceId", args.workspace);
    if !args.roles.is_empty() {
        let place = args.workspace.map_or(Place::Organization(None), Place::OfWorkspace);
        input["roleIds"] = json!(role::ids(client, &args.roles, place)?);
    }
    if !args.grants.is_empty() {
        input["grants"] = grants_input(&args.grants, client)?;
    }
    if !args.cidrs.is_empty() {
        input["allowedCidrs"] = json!(args.cidrs);
    }
    if !args.rate_limits.is_empty() {
        input["rateLimits"] = args.rate_limits.iter().map(RateLimitArgument::to_input).collect();
    }
    if let Some(identity) = &args.identity {
        let place = args.workspace.map_or(Place::Organization(None), Place::OfWorkspace);
        input["identityId"] = json!(identity::id(client, identity, place)?);
    }
    if let Some(remaining) = args.credits {
        input["credits"] = json!({ "remaining": remaining });
        credits::refill(&mut input["credits"], &args.refill);
    } else if args.refill.refill_amount.is_some() {
        return Err(Failure::usage("--refill-amount needs --credits: how many there are to begin with"));
    }
    set(&mut input, "expiresAt", expires);
    set(&mut input, "metadata", args.metadata.as_deref().map(value::metadata).transpose()?);
    set(&mut input, "prefix", args.prefix.as_ref());
    set(&mut input, "idempotencyKey", args.idempotency_key.as_ref());
    Ok(input)
}

fn grants_input(grants: &[GrantArgument], client: &Client) -> Result<Value, Failure> {
    let own = if grants.iter().any(|grant| grant.needs_organization()) {
        client.call(queries::OWN_ORGANIZATION, &json!({}))?["viewer"]["organization"]["id"].take()
    } else {
        Value::Null
    };
    Ok(grants.iter().map(|grant| grant.to_input(&own)).collect())
}

fn comment_input(args: &CommentArgs) -> Value {
    let mut input = json!({ "id": args.id });
    set(&mut input, "comment", args.comment.as_ref());
    input
}

fn clone_input(args: &CloneArgs) -> Value {
    let mut input = json!({ "id": args.id });
    set(&mut input, "name", args.name.as_ref());
    set(&mut input, "idempotencyKey", args.idempotency_key.as_ref());
    input
}

fn update_input(args: &UpdateArgs, client: &Client) -> Result<Value, Failure> {
    let mut input = json!({ "id": args.id });
    set(&mut input, "name", args.name.as_ref());
    if args.no_scopes || !args.scopes.is_empty() {
        input["scopes"] = args.scopes.iter().map(scope_input).collect();
    }
    if args.no_roles || !args.roles.is_empty() {
        input["roleIds"] = json!(role::ids(client, &args.roles, Place::OfKey(args.id))?);
    }
    if args.no_grants || !args.grants.is_empty() {
        input["grants"] = grants_input(&args.grants, client)?;
    }
    if args.no_rate_limits || !args.rate_limits.is_empty() {
        input["rateLimits"] = args.rate_limits.iter().map(RateLimitArgument::to_input).collect();
    }
    if let Some(identity) = &args.identity {
        input["identityId"] = json!(identity::id(client, identity, Place::OfKey(args.id))?);
    } else if args.no_identity {
        input["identityId"] = Value::Null;
    }
    if args.no_cidrs || !args.cidrs.is_empty() {
        input["allowedCidrs"] = json!(args.cidrs);
    }
    set(&mut input, "metadata", args.metadata.as_deref().map(value::metadata).transpose()?);
    set(&mut input, "expectedRevision", args.if_revision);
    Ok(input)
}

/// Asks unless told not to, naming the key: an id says little to whoever is about to destroy it.
fn confirmed(client: &Client, id: KeyId, yes: bool, what: &str) -> Result<(), Failure> {
    confirm::require(yes, what)?;
    if yes {
        return Ok(());
    }
    let key = client.call(queries::KEY_TO_CONFIRM, &json!({ "id": id }))?["key"].take();
    let shown = format!(
        "{what}: {id} \"{}\", {}, {}. Go on?",
        text(&key["name"]).unwrap_or_default(),
        word(&key["environment"]),
        word(&key["status"]),
    );
    confirm::ask(&clean(&shown))
}

/// Sends a mutation, tells what it did, and shows the secret if it made one.
fn change(
    client: &Client,
    out: &mut Output<'_>,
    mutation: Mutation,
    input: &Value,
    done: &str,
) -> Result<(), Failure> {
    told::change_and(client, out, mutation, input, done, |payload, out| {
        if mutation.with_secret() { show_secret(&payload["key"], &payload["secret"], out) } else { Ok(()) }
    })
}

fn show_secret(key: &Value, secret: &Value, out: &mut Output<'_>) -> Result<(), Failure> {
    let id = text(&key["id"]).unwrap_or_default();
    let id = clean(&id);
    let Some(secret) = secret.as_str() else {
        out.note(format_args!(
            "\nThis key was created by an earlier command with the same idempotency key, and its secret was \
             shown then.\nIf that is lost, rotate the key: keyledger key rotate {id}"
        ));
        return Ok(());
    };
    out.line(format_args!("\n  {}\n", clean(secret)))?;
    if let Some(until) = key["previousSecret"]["validUntil"].as_str() {
        let until = moment(&until.into());
        out.note(format_args!("The old secret stays valid until {}.", clean(&until)));
    }
    out.note(format_args!(
        "This secret is shown once and cannot be shown again: store it now, in a secret manager.\nThen \
         record that it was stored: keyledger key acknowledge {id}"
    ));
    Ok(())
}

#[cfg(test)]
pub(super) mod tests;
