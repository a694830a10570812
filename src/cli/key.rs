//! `keyledger key …`: from arguments to an input, and from the answer to lines for people.

use keyledger_schema::{KeyId, Scope};
use serde_json::{Map, Value, json};

use super::client::Client;
use super::key_args::{
    CloneArgs, CommentArgs, CreateArgs, KeyCommand, ListArgs, ReasonArgument, SortArgument, StatusArgument,
    UpdateArgs,
};
use super::output::clean;
use super::queries::Mutation;
use super::table::{fields, grants, line, list, moment, named, scopes, table, text, word};
use super::{Exit, Failure, Output, confirm, pages, queries, trail, value};
use crate::edge::Edge;

/// Does it.
pub fn run(command: &KeyCommand, client: &Client, edge: &Edge, out: &mut Output<'_>) -> Result<(), Failure> {
    match command {
        KeyCommand::Create(args) => {
            let input = create_input(args, client, edge)?;
            change(client, out, queries::CREATE, &input, "created")
        }
        KeyCommand::List(args) => show_list(args, client, edge, out),
        KeyCommand::Show { id } => show(*id, client, out),
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
        KeyCommand::Delete(args) => {
            confirmed(client, args.key.id, args.yes, "Deleting cannot be undone")?;
            change(client, out, queries::DELETE, &comment_input(&args.key), "deleted")
        }
        KeyCommand::Clone(args) => change(client, out, queries::CLONE, &clone_input(args), "created"),
        KeyCommand::Update(args) => change(client, out, queries::UPDATE, &update_input(args)?, "updated"),
        KeyCommand::Acknowledge { id } => {
            change(client, out, queries::ACKNOWLEDGE, &json!({ "id": id }), "acknowledged")
        }
        KeyCommand::Trail(args) => trail::show(args, client, out),
    }
}

/// Sets a field of an input if there is a value. What is left out is not sent: null could mean "none".
fn set(input: &mut Value, field: &str, value: Option<impl serde::Serialize>) {
    if let Some(value) = value {
        input[field] = json!(value);
    }
}

fn scopes_input(scopes: &[Scope]) -> Value {
    let one = |scope: &Scope| {
        let action = match scope.action.as_str() {
            "*" => "ANY".into(),
            action => action.to_uppercase(),
        };
        json!({ "action": action, "resource": scope.resource.as_str() })
    };
    scopes.iter().map(one).collect()
}

fn reason(reason: ReasonArgument) -> &'static str {
    match reason {
        ReasonArgument::Compromised => "COMPROMISED",
        ReasonArgument::Superseded => "SUPERSEDED",
        ReasonArgument::Unused => "UNUSED",
        ReasonArgument::Policy => "POLICY",
        ReasonArgument::Other => "OTHER",
    }
}

fn create_input(args: &CreateArgs, client: &Client, edge: &Edge) -> Result<Value, Failure> {
    let own = if args.grants.iter().any(|grant| grant.needs_organization()) {
        client.call(queries::OWN_ORGANIZATION, &json!({}))?["viewer"]["organization"]["id"].take()
    } else {
        Value::Null
    };
    let mut input = json!({
        "name": args.name,
        "environment": args.environment.as_str().to_uppercase(),
        "scopes": scopes_input(&args.scopes),
    });
    set(&mut input, "workspaceId", args.workspace);
    if !args.grants.is_empty() {
        input["grants"] = args.grants.iter().map(|grant| grant.to_input(&own)).collect();
    }
    if !args.cidrs.is_empty() {
        input["allowedCidrs"] = json!(args.cidrs);
    }
    set(&mut input, "expiresAt", args.expires.map(|when| when.ahead_of(edge.now())));
    set(&mut input, "metadata", args.metadata.as_deref().map(value::metadata).transpose()?);
    set(&mut input, "prefix", args.prefix.as_ref());
    set(&mut input, "idempotencyKey", args.idempotency_key.as_ref());
    Ok(input)
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

fn update_input(args: &UpdateArgs) -> Result<Value, Failure> {
    let mut input = json!({ "id": args.id });
    set(&mut input, "name", args.name.as_ref());
    if args.no_scopes || !args.scopes.is_empty() {
        input["scopes"] = scopes_input(&args.scopes);
    }
    if args.no_cidrs || !args.cidrs.is_empty() {
        input["allowedCidrs"] = json!(args.cidrs);
    }
    set(&mut input, "metadata", args.metadata.as_deref().map(value::metadata).transpose()?);
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

/// Sends a mutation and tells what it did.
fn change(
    client: &Client,
    out: &mut Output<'_>,
    mutation: Mutation,
    input: &Value,
    done: &str,
) -> Result<(), Failure> {
    let data = client.call(&mutation.document(), &json!({ "input": input }))?;
    if out.is_json() {
        return out.json(&data);
    }
    let payload = &data[mutation.field];
    let key = &payload["key"];
    if key["id"].is_null() {
        return Err(Failure::new(Exit::Failed, "UNEXPECTED_ANSWER", "the server's answer names no key"));
    }
    out.line(told(key, payload, done))?;
    if mutation.with_secret {
        show_secret(key, &payload["secret"], out)?;
    }
    warn(payload, out);
    Ok(())
}

/// One line: what was done, to which key, and whether there was anything to do.
fn told(key: &Value, payload: &Value, done: &str) -> String {
    let nothing = payload["events"].as_array().is_some_and(Vec::is_empty);
    let id = text(&key["id"]).unwrap_or_default();
    let name = text(&key["name"]).unwrap_or_default();
    let rest = format!("{}, {}", word(&key["environment"]), word(&key["status"]));
    let line = if nothing {
        format!("unchanged {id} \"{name}\" ({rest}): nothing was left to do")
    } else {
        format!("{done} {id} \"{name}\" ({rest})")
    };
    clean(&line).into_owned()
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

/// Tells an answer's warnings.
pub fn warn(payload: &Value, out: &Output<'_>) {
    for warning in payload["warnings"].as_array().into_iter().flatten() {
        let message = text(&warning["message"]).unwrap_or_default();
        let code = text(&warning["code"]).unwrap_or_default();
        out.note(clean(&format!("warning: {message} ({code})")));
    }
}

fn list_variables(args: &ListArgs, edge: &Edge) -> Value {
    let mut filter = Value::Object(Map::new());
    set(&mut filter, "workspaceId", args.workspace);
    let every = [
        StatusArgument::Active,
        StatusArgument::Inactive,
        StatusArgument::Expired,
        StatusArgument::Revoked,
        StatusArgument::Deleted,
    ];
    let statuses = match args.statuses.as_slice() {
        [] => &[StatusArgument::Active],
        some if some.contains(&StatusArgument::All) => every.as_slice(),
        some => some,
    };
    filter["statuses"] = statuses.iter().map(|status| format!("{status:?}").to_uppercase()).collect();
    set(&mut filter, "environment", args.environment.map(|it| it.as_str().to_uppercase()));
    set(&mut filter, "search", args.search.as_ref());
    set(&mut filter, "nameContains", args.name_contains.as_ref());
    set(&mut filter, "createdBy", args.created_by);
    set(&mut filter, "expiresBefore", args.expires_before.map(|when| when.ahead_of(edge.now())));
    set(&mut filter, "unusedSince", args.unused_since.map(|when| when.before(edge.now())));
    set(&mut filter, "secretAcknowledged", args.unacknowledged.then_some(false));
    let (field, descending) = match args.sort {
        SortArgument::Created => ("CREATED_AT", true),
        SortArgument::Name => ("NAME", false),
        SortArgument::Expires => ("EXPIRES_AT", false),
        SortArgument::Used => ("LAST_USED_AT", false),
    };
    let direction = if descending == args.reverse { "ASC" } else { "DESC" };
    json!({ "filter": filter, "orderBy": { "field": field, "direction": direction } })
}

fn show_list(args: &ListArgs, client: &Client, edge: &Edge, out: &mut Output<'_>) -> Result<(), Failure> {
    let variables = list_variables(args, edge);
    let data = pages::collect(|page| client.call(&queries::keys(), page), variables, "/keys", args.limit)?;
    if out.is_json() {
        return out.json(&data);
    }
    let keys = data["keys"]["nodes"].as_array().map_or(&[][..], Vec::as_slice);
    if keys.is_empty() {
        out.note("no keys match");
        return Ok(());
    }
    let row = |key: &Value| {
        let granted = list(&key["grants"], |grant| Some(word(&grant["role"])));
        vec![
            line(&key["id"]),
            line(&key["name"]),
            vec![word(&key["status"])],
            vec![word(&key["environment"])],
            [scopes(&key["scopes"]), granted].concat(),
            vec![moment(&key["expiresAt"])],
            vec![moment(&key["lastUsedAt"])],
            line(&key["secretHint"]),
        ]
    };
    let headers = ["ID", "NAME", "STATUS", "ENVIRONMENT", "SCOPES, GRANTS", "EXPIRES", "LAST USED", "SECRET"];
    out.line(table(&headers, keys.iter().map(row).collect(), &[0]))?;
    if data["keys"]["pageInfo"]["hasNextPage"] == json!(true) {
        let total = text(&data["keys"]["totalCount"]).unwrap_or_else(|| "more".into());
        out.note(clean(&format!("{} of {total} shown; --limit 0 shows all", keys.len())));
    }
    Ok(())
}

fn show(id: KeyId, client: &Client, out: &mut Output<'_>) -> Result<(), Failure> {
    let data = client.call(&queries::key(), &json!({ "id": id }))?;
    if out.is_json() {
        return out.json(&data);
    }
    out.line(described(&data["key"]))
}

/// Everything about a key, for people.
fn described(key: &Value) -> String {
    let at = |value: &Value| if value.is_null() { vec![] } else { vec![moment(value)] };
    let or =
        |values: Vec<String>, other: &str| if values.is_empty() { vec![other.to_owned()] } else { values };
    let mut secret = line(&key["secretHint"]);
    if let Some(secret) = secret.first_mut() {
        *secret = format!("{secret}…, version {}", text(&key["secretVersion"]).unwrap_or_default());
    }
    let previous = &key["previousSecret"];
    let previous = text(&previous["hint"])
        .map(|hint| format!("{hint}…, valid until {}", moment(&previous["validUntil"])));
    let revocation = &key["revocation"];
    let revoked = text(&revocation["at"]).map(|_| {
        let comment = text(&revocation["comment"]).map(|text| format!(": {text}")).unwrap_or_default();
        format!("{}, {}{comment}", moment(&revocation["at"]), word(&revocation["reason"]))
    });
    let creator = &key["createdBy"];
    let used = key["lastUsedAt"].as_str().map(|_| {
        let ip = text(&key["lastUsedIp"]).map(|ip| format!(" from {ip}")).unwrap_or_default();
        format!("{}{ip}", moment(&key["lastUsedAt"]))
    });
    let usage = key["usage"].as_object().map(|usage| {
        let count = |name: &str| usage.get(name).and_then(text).unwrap_or_else(|| "0".into());
        format!("{} valid, {} refused", count("valid"), count("refused"))
    });
    let metadata = key["metadata"].as_object().filter(|object| !object.is_empty());
    fields(&[
        ("id", line(&key["id"])),
        ("name", line(&key["name"])),
        ("status", vec![word(&key["status"])]),
        ("environment", vec![word(&key["environment"])]),
        ("workspace", named(&key["workspace"])),
        ("organization", named(&key["organization"])),
        ("email", line(&key["email"])),
        ("scopes", or(scopes(&key["scopes"]), "none")),
        ("grants", grants(&key["grants"])),
        ("allowed from", or(list(&key["allowedCidrs"], text), "everywhere")),
        ("metadata", metadata.map(|_| key["metadata"].to_string()).into_iter().collect()),
        ("secret", secret),
        ("issued", at(&key["secretIssuedAt"])),
        ("acknowledged", or(at(&key["secretAcknowledgedAt"]), "no")),
        ("old secret", previous.into_iter().collect()),
        ("created", at(&key["createdAt"])),
        (
            "created by",
            text(&creator["email"])
                .or_else(|| text(&creator["id"]))
                .or_else(|| text(&creator["kind"]))
                .into_iter()
                .collect(),
        ),
        ("updated", at(&key["updatedAt"])),
        ("cloned from", line(&key["clonedFrom"])),
        ("expires", or(at(&key["expiresAt"]), "never")),
        ("revoked", revoked.into_iter().collect()),
        ("deleted", at(&key["deletedAt"])),
        ("last used", used.into_iter().collect()),
        ("verifications", usage.into_iter().collect()),
        ("revision", line(&key["revision"])),
    ])
}

#[cfg(test)]
mod tests;
