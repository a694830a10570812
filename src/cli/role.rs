//! `keyledger role …`, and roles that are called by their names.

use std::fmt::Write as _;

use keyledger_schema::{KeyId, OrganizationId, RoleId, Scope, WorkspaceId};
use serde_json::{Value, json};

use super::client::Client;
use super::output::clean;
use super::role_args::{CreateRoleArgs, RoleCommand, UpdateRoleArgs, WhichRole};
use super::table::{fields, line, list, moment, named, table, text};
use super::value::{RoleArgument, ScopeNameArgument, scope_input, set};
use super::{Exit, Failure, Output, confirm, queries, told};

/// Where a name of a role is looked up.
#[derive(Clone, Copy, Debug)]
pub enum Place {
    /// In this organization, or the caller's.
    Organization(Option<OrganizationId>),
    /// In the organization of this workspace.
    OfWorkspace(WorkspaceId),
    /// In the organization of this key.
    OfKey(KeyId),
}

/// The ids of roles. Nothing is asked when only ids were typed.
pub fn ids(client: &Client, roles: &[RoleArgument], place: Place) -> Result<Vec<RoleId>, Failure> {
    let mut known = None;
    roles
        .iter()
        .map(|role| match role {
            RoleArgument::Id(id) => Ok(*id),
            RoleArgument::Name(name) => {
                if known.is_none() {
                    known = Some(known_roles(client, place)?);
                }
                find(known.as_ref().unwrap_or(&Value::Null), name)
            }
        })
        .collect()
}

/// The id of a role.
pub fn id(client: &Client, role: &RoleArgument, place: Place) -> Result<RoleId, Failure> {
    match role {
        RoleArgument::Id(id) => Ok(*id),
        RoleArgument::Name(name) => find(&known_roles(client, place)?, name),
    }
}

fn known_roles(client: &Client, place: Place) -> Result<Value, Failure> {
    let (document, id, pointer) = match place {
        Place::Organization(id) => (queries::ROLE_NAMES, json!(id), "/roles"),
        Place::OfWorkspace(id) => {
            (queries::ROLE_NAMES_OF_WORKSPACE, json!(id), "/workspace/organization/roles")
        }
        Place::OfKey(id) => (queries::ROLE_NAMES_OF_KEY, json!(id), "/key/organization/roles"),
    };
    let mut data = client.call(document, &json!({ "id": id }))?;
    Ok(data.pointer_mut(pointer).map(Value::take).unwrap_or_default())
}

/// A role of this name, without regard to case.
fn find(known: &Value, name: &str) -> Result<RoleId, Failure> {
    let folded = name.to_lowercase();
    let has_name = |role: &&Value| text(&role["name"]).is_some_and(|name| name.to_lowercase() == folded);
    let found = known.as_array().into_iter().flatten().find(has_name);
    found.and_then(|role| role["id"].as_str()?.parse().ok()).ok_or_else(|| {
        let message = format!(
            "there is no role called \"{name}\" in this organization; keyledger role list shows those that \
             there are, and an id works too"
        );
        Failure::new(Exit::NotFound, "NOT_FOUND", message)
    })
}

fn which(client: &Client, role: &WhichRole) -> Result<RoleId, Failure> {
    id(client, &role.role, Place::Organization(role.organization))
}

/// Does it.
pub fn run(command: &RoleCommand, client: &Client, out: &mut Output<'_>) -> Result<(), Failure> {
    match command {
        RoleCommand::List { organization } => show_list(*organization, client, out),
        RoleCommand::Show { role } => {
            let data = client.call(&queries::role(), &json!({ "id": which(client, role)? }))?;
            if out.is_json() { out.json(&data) } else { out.line(described(&data["role"])) }
        }
        RoleCommand::Create(args) => {
            told::change(client, out, queries::CREATE_ROLE, &create_input(args), "created")
        }
        RoleCommand::Update(args) => {
            let input = update_input(args, client)?;
            told::change(client, out, queries::UPDATE_ROLE, &input, "updated")
        }
        RoleCommand::Delete { role, if_revision, yes } => delete(role, *if_revision, *yes, client, out),
    }
}

fn show_list(
    organization: Option<OrganizationId>,
    client: &Client,
    out: &mut Output<'_>,
) -> Result<(), Failure> {
    let data = client.call(&queries::roles(), &json!({ "id": organization }))?;
    if out.is_json() {
        return out.json(&data);
    }
    let roles = data["roles"].as_array().map_or(&[][..], Vec::as_slice);
    if roles.is_empty() {
        out.note("this organization has no roles");
        return Ok(());
    }
    let row = |role: &Value| {
        vec![
            line(&role["id"]),
            line(&role["name"]),
            line(&role["displayName"]),
            list(&role["scopes"], scope),
            line(&role["description"]),
        ]
    };
    let headers = ["ID", "NAME", "DISPLAY NAME", "SCOPES", "DESCRIPTION"];
    out.line(table(&headers, roles.iter().map(row).collect(), &[0]))
}

/// A scope, and its name for people where it has one.
fn scope(scope: &Value) -> Option<String> {
    let name = text(&scope["displayName"]).map(|name| format!(" \"{name}\"")).unwrap_or_default();
    Some(format!("{}{name}", text(&scope["text"])?))
}

fn described(role: &Value) -> String {
    let scopes = list(&role["scopes"], scope);
    fields(&[
        ("id", line(&role["id"])),
        ("name", line(&role["name"])),
        ("display name", line(&role["displayName"])),
        ("description", line(&role["description"])),
        ("scopes", if scopes.is_empty() { vec!["none".into()] } else { scopes }),
        ("organization", named(&role["organization"])),
        ("created", vec![moment(&role["createdAt"])]),
        ("updated", vec![moment(&role["updatedAt"])]),
        ("revision", line(&role["revision"])),
    ])
}

fn create_input(args: &CreateRoleArgs) -> Value {
    let mut input =
        json!({ "name": args.name, "scopes": scopes_input(vec![], &args.scopes, &args.scope_names) });
    set(&mut input, "organizationId", args.organization);
    set(&mut input, "displayName", args.display_name.as_ref());
    set(&mut input, "description", args.description.as_ref());
    input
}

/// Scopes with their names: `kept` in front, then those that were typed and are not among them.
fn scopes_input(kept: Vec<Value>, typed: &[Scope], named: &[ScopeNameArgument]) -> Value {
    fn place(scopes: &mut Vec<Value>, scope: &Scope) -> usize {
        let input = scope_input(scope);
        let same = |one: &Value| (&one["action"], &one["resource"]) == (&input["action"], &input["resource"]);
        scopes.iter().position(same).unwrap_or_else(|| {
            scopes.push(input);
            scopes.len() - 1
        })
    }
    let mut scopes = kept;
    for scope in typed {
        place(&mut scopes, scope);
    }
    for ScopeNameArgument { scope, name } in named {
        let at = place(&mut scopes, scope);
        scopes[at]["displayName"] = json!(name);
    }
    scopes.into()
}

fn update_input(args: &UpdateRoleArgs, client: &Client) -> Result<Value, Failure> {
    let id = which(client, &args.role)?;
    let mut input = json!({ "id": id });
    set(&mut input, "name", args.name.as_ref());
    set(&mut input, "displayName", args.display_name.as_ref());
    set(&mut input, "description", args.description.as_ref());
    if args.no_display_name {
        input["displayName"] = Value::Null;
    }
    if args.no_description {
        input["description"] = Value::Null;
    }
    set(&mut input, "expectedRevision", args.if_revision);
    if args.no_scopes {
        input["scopes"] = json!([]);
    } else if !args.scopes.is_empty() || !args.scope_names.is_empty() {
        let role = client.call(&queries::role(), &json!({ "id": id }))?["role"].take();
        input["scopes"] = scopes_input(kept_scopes(&role, &args.scopes), &args.scopes, &args.scope_names);
        // The list was made from what was seen, so nobody's change in between may be lost.
        if args.if_revision.is_none() {
            input["expectedRevision"] = role["revision"].clone();
        }
    }
    Ok(input)
}

/// What stays of a role's scopes, with their names: those that were typed again, or all when none was.
fn kept_scopes(role: &Value, typed: &[Scope]) -> Vec<Value> {
    let typed: Vec<Value> = typed.iter().map(scope_input).collect();
    let stays = |scope: &&Value| {
        typed.is_empty()
            || typed
                .iter()
                .any(|one| one["action"] == scope["action"] && one["resource"] == scope["resource"])
    };
    let input = |scope: &Value| {
        json!({
            "action": scope["action"], "resource": scope["resource"], "displayName": scope["displayName"],
        })
    };
    role["scopes"].as_array().into_iter().flatten().filter(stays).map(input).collect()
}

fn delete(
    role: &WhichRole,
    if_revision: Option<u64>,
    yes: bool,
    client: &Client,
    out: &mut Output<'_>,
) -> Result<(), Failure> {
    const WHAT: &str = "Deleting a role cannot be undone";
    confirm::require(yes, WHAT)?;
    let id = which(client, role)?;
    if !yes {
        let found = client.call(queries::ROLE_TO_CONFIRM, &json!({ "id": id }))?["role"].take();
        let name = text(&found["name"]).unwrap_or_default();
        confirm::ask(&clean(&format!("{WHAT}: {id} \"{name}\". Go on?")))?;
    }
    let mut input = json!({ "id": id });
    set(&mut input, "expectedRevision", if_revision);
    let data = client
        .call(&queries::DELETE_ROLE.document(), &json!({ "input": input }))
        .map_err(|failure| if out.is_json() { failure } else { with_holders(failure) })?;
    if out.is_json() {
        return out.json(&data);
    }
    out.line(format_args!("deleted {id}"))?;
    told::warn(&data["deleteRole"], out);
    Ok(())
}

/// Names the keys that hold a role or an identity below the message of a refusal; JSON has them as they are.
pub fn with_holders(mut failure: Failure) -> Failure {
    let Some(details) = failure.details.as_deref() else { return failure };
    let holders = list(&details["holders"], |holder| named(holder).pop());
    let count = details["holderCount"].as_u64().unwrap_or_default();
    for holder in &holders {
        failure.message.push('\n');
        failure.message.push_str(&clean(holder));
    }
    let more = count.saturating_sub(holders.len() as u64);
    if more > 0 {
        // Writing to a string cannot fail.
        let _ = write!(failure.message, "\nand {more} more");
    }
    failure
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::key::tests::client;
    use crate::cli::{Cli, Command};
    use clap::Parser;

    const ROLE: &str = "role_01h455vb4pex5vsknk084sn02q";

    fn command(arguments: &[&str]) -> RoleCommand {
        let arguments = ["keyledger", "role"].iter().chain(arguments);
        match Cli::try_parse_from(arguments).unwrap_or_else(|error| panic!("{error}")).command {
            Command::Role(args) => args.command,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_new_role_has_what_was_typed() {
        let RoleCommand::Create(args) = command(&[
            "create",
            "support",
            "--scope",
            "read:customers/**",
            "--scope",
            "*:tickets",
            "--scope-name",
            "read:customers/**=Customer Read",
            "--scope-name",
            "read:a=A",
            "--description",
            "people",
        ]) else {
            panic!()
        };
        let expected = json!({
            "name": "support", "description": "people",
            "scopes": [
                { "action": "READ", "resource": "customers/**", "displayName": "Customer Read" },
                { "action": "ANY", "resource": "tickets" },
                { "action": "READ", "resource": "a", "displayName": "A" },
            ],
        });
        assert_eq!(create_input(&args), expected);
    }

    #[test]
    fn an_update_takes_away_only_what_was_named() {
        let update = |arguments: &[&str]| match command(&[&["update", ROLE], arguments].concat()) {
            RoleCommand::Update(args) => update_input(&args, &client()).unwrap(),
            other => panic!("{other:?}"),
        };
        assert_eq!(update(&["--name", "b"]), json!({ "id": ROLE, "name": "b" }));
        assert_eq!(
            update(&["--no-display-name", "--no-scopes", "--if-revision", "3"]),
            json!({ "id": ROLE, "displayName": null, "scopes": [], "expectedRevision": 3 })
        );
    }

    #[test]
    fn scopes_that_stay_keep_their_names() {
        let role = json!({ "scopes": [
            { "action": "READ", "resource": "a", "displayName": "A", "text": "read:a" },
            { "action": "READ", "resource": "b", "displayName": null, "text": "read:b" },
        ] });
        let scope = |text: &str| text.parse::<Scope>().unwrap();
        let named = |text: &str| text.parse::<ScopeNameArgument>().unwrap();
        let typed = [scope("read:c"), scope("read:a")];
        let replaced = scopes_input(kept_scopes(&role, &typed), &typed, &[]);
        assert_eq!(
            replaced,
            json!([{ "action": "READ", "resource": "a", "displayName": "A" }, { "action": "READ", "resource": "c" }])
        );
        let typed = [named("read:a="), named("read:b=B")];
        let renamed = scopes_input(kept_scopes(&role, &[]), &[], &typed);
        assert_eq!(
            renamed,
            json!([{ "action": "READ", "resource": "a", "displayName": null },
                { "action": "READ", "resource": "b", "displayName": "B" }])
        );
    }

    #[test]
    fn a_role_is_found_by_its_name() {
        let known = json!([{ "id": ROLE, "name": "Support" }]);
        assert_eq!(find(&known, "support").unwrap().to_string(), ROLE);
        let failure = find(&known, "ops").unwrap_err();
        assert_eq!((failure.exit, failure.code.as_str()), (Exit::NotFound, "NOT_FOUND"));
        let ids = ids(&client(), &[ROLE.parse().unwrap()], Place::Organization(None)).unwrap();
        assert_eq!(ids, [ROLE.parse().unwrap()], "nothing was asked");
    }

    #[test]
    fn the_holders_of_a_role_are_named() {
        let mut failure = Failure::from_server("ILLEGAL_TRANSITION", "22 keys hold this role", None);
        failure.details =
            Some(Box::new(json!({ "holderCount": 22, "holders": [{ "id": "key_1", "name": "a\nb" }] })));
        assert_eq!(with_holders(failure).message, "22 keys hold this role\na b (key_1)\nand 21 more");
    }
}
