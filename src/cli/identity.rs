//! `keyledger identity …`, and identities that are called by their external ids.

use keyledger_schema::{IdentityId, OrganizationId};
use serde_json::{Value, json};

use super::client::Client;
use super::identity_args::{
    CreateIdentityArgs, IdentityArgument, IdentityCommand, UpdateIdentityArgs, WhichIdentity,
};
use super::output::clean;
use super::role::{Place, with_holders};
use super::table::{fields, line, list, moment, named, rate_limit, table, text};
use super::value::{self, RateLimitArgument, set};
use super::{Exit, Failure, Output, confirm, credits, pages, queries, told};

/// The id of an identity. Nothing is asked when an id was typed.
pub fn id(client: &Client, identity: &IdentityArgument, place: Place) -> Result<IdentityId, Failure> {
    let external = match identity {
        IdentityArgument::Id(id) => return Ok(*id),
        IdentityArgument::External(external) => external,
    };
    let organization = match place {
        Place::Organization(id) => json!(id),
        Place::OfWorkspace(id) => {
            let found = client.call(queries::ORGANIZATION_OF_WORKSPACE, &json!({ "id": id }))?;
            found["workspace"]["organization"]["id"].clone()
        }
        Place::OfKey(id) => {
            let found = client.call(queries::ORGANIZATION_OF_KEY, &json!({ "id": id }))?;
            found["key"]["organization"]["id"].clone()
        }
    };
    let found = client.call(
        queries::IDENTITY_BY_EXTERNAL_ID,
        &json!({ "externalId": external, "organizationId": organization }),
    )?;
    found["identity"]["id"].as_str().and_then(|id| id.parse().ok()).ok_or_else(|| {
        Failure::new(Exit::Failed, "UNEXPECTED_ANSWER", "the server's answer names no identity; is it newer?")
    })
}

fn which(client: &Client, identity: &WhichIdentity) -> Result<IdentityId, Failure> {
    id(client, &identity.identity, Place::Organization(identity.organization))
}

/// Does it.
pub fn run(command: &IdentityCommand, client: &Client, out: &mut Output<'_>) -> Result<(), Failure> {
    match command {
        IdentityCommand::List { organization, search, limit } => {
            show_list(*organization, search.as_deref(), *limit, client, out)
        }
        IdentityCommand::Show { identity } => {
            let data = client.call(&queries::identity(), &json!({ "id": which(client, identity)? }))?;
            if out.is_json() { out.json(&data) } else { out.line(described(&data["identity"])) }
        }
        IdentityCommand::Create(args) => {
            told::change(client, out, queries::CREATE_IDENTITY, &create_input(args)?, "created")
        }
        IdentityCommand::Update(args) => {
            let id = which(client, &args.identity)?;
            told::change(client, out, queries::UPDATE_IDENTITY, &update_input(args, id)?, "updated")
        }
        IdentityCommand::Delete { identity, comment, if_revision, yes } => {
            delete(identity, comment.as_deref(), *if_revision, *yes, client, out)
        }
    }
}

fn show_list(
    organization: Option<OrganizationId>,
    search: Option<&str>,
    limit: usize,
    client: &Client,
    out: &mut Output<'_>,
) -> Result<(), Failure> {
    let variables = json!({ "organizationId": organization, "search": search });
    let ask = |page: &Value| client.call(&queries::identities(), page);
    let data = pages::collect(ask, variables, "/identities", limit)?;
    if out.is_json() {
        return out.json(&data);
    }
    let found = data["identities"]["nodes"].as_array().map_or(&[][..], Vec::as_slice);
    if found.is_empty() {
        out.note("there are no such identities");
        return Ok(());
    }
    let row = |it: &Value| {
        vec![
            line(&it["id"]),
            line(&it["externalId"]),
            line(&it["name"]),
            list(&it["rateLimits"], rate_limit),
            vec![text(&it["credits"]["remaining"]).unwrap_or_else(|| "unlimited".into())],
            vec![moment(&it["createdAt"])],
        ]
    };
    let headers = ["ID", "EXTERNAL ID", "NAME", "RATE LIMITS", "CREDITS", "CREATED"];
    out.line(table(&headers, found.iter().map(row).collect(), &[0]))?;
    if data["identities"]["pageInfo"]["hasNextPage"] == json!(true) {
        out.note(format_args!("{} shown, there are more; --limit 0 shows all", found.len()));
    }
    Ok(())
}

fn described(identity: &Value) -> String {
    let at = |value: &Value| if value.is_null() { vec![] } else { vec![moment(value)] };
    let limits = list(&identity["rateLimits"], rate_limit);
    let metadata = identity["metadata"].as_object().filter(|object| !object.is_empty());
    fields(&[
        ("id", line(&identity["id"])),
        ("external id", line(&identity["externalId"])),
        ("name", line(&identity["name"])),
        ("organization", named(&identity["organization"])),
        ("rate limits", if limits.is_empty() { vec!["none".into()] } else { limits }),
        ("credits", vec![credits::described(&identity["credits"])]),
        ("metadata", metadata.map(|_| identity["metadata"].to_string()).into_iter().collect()),
        ("created", at(&identity["createdAt"])),
        ("updated", at(&identity["updatedAt"])),
        ("deleted", at(&identity["deletedAt"])),
        ("revision", line(&identity["revision"])),
    ])
}

fn create_input(args: &CreateIdentityArgs) -> Result<Value, Failure> {
    let mut input = json!({ "externalId": args.external_id });
    set(&mut input, "organizationId", args.organization);
    set(&mut input, "name", args.name.as_ref());
    if !args.rate_limits.is_empty() {
        input["rateLimits"] = args.rate_limits.iter().map(RateLimitArgument::to_input).collect();
    }
    set(&mut input, "metadata", args.metadata.as_deref().map(value::metadata).transpose()?);
    Ok(input)
}

fn update_input(args: &UpdateIdentityArgs, id: IdentityId) -> Result<Value, Failure> {
    let mut input = json!({ "id": id });
    set(&mut input, "name", args.name.as_ref());
    if args.no_rate_limits || !args.rate_limits.is_empty() {
        input["rateLimits"] = args.rate_limits.iter().map(RateLimitArgument::to_input).collect();
    }
    set(&mut input, "metadata", args.metadata.as_deref().map(value::metadata).transpose()?);
    set(&mut input, "expectedRevision", args.if_revision);
    Ok(input)
}

fn delete(
    identity: &WhichIdentity,
    comment: Option<&str>,
    if_revision: Option<u64>,
    yes: bool,
    client: &Client,
    out: &mut Output<'_>,
) -> Result<(), Failure> {
    const WHAT: &str = "Deleting an identity cannot be undone";
    confirm::require(yes, WHAT)?;
    let id = which(client, identity)?;
    if !yes {
        let found = client.call(queries::IDENTITY_TO_CONFIRM, &json!({ "id": id }))?["identity"].take();
        let external = text(&found["externalId"]).unwrap_or_default();
        confirm::ask(&clean(&format!("{WHAT}: {id} \"{external}\". Go on?")))?;
    }
    let mut input = json!({ "id": id });
    set(&mut input, "comment", comment);
    set(&mut input, "expectedRevision", if_revision);
    told::change(client, out, queries::DELETE_IDENTITY, &input, "deleted")
        .map_err(|failure| if out.is_json() { failure } else { with_holders(failure) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::key::tests::client;
    use crate::cli::{Cli, Command};
    use clap::Parser;

    const ID: &str = "idn_01h455vb4pex5vsknk084sn02q";

    fn command(arguments: &[&str]) -> IdentityCommand {
        let arguments = ["keyledger", "identity"].iter().chain(arguments);
        match Cli::try_parse_from(arguments).unwrap_or_else(|error| panic!("{error}")).command {
            Command::Identity(args) => args.command,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn only_what_was_typed_is_sent() {
        let create = |arguments: &[&str]| match command(&[&["create"], arguments].concat()) {
            IdentityCommand::Create(args) => create_input(&args).unwrap(),
            other => panic!("{other:?}"),
        };
        assert_eq!(create(&["customer-7"]), json!({ "externalId": "customer-7" }));
        assert_eq!(
            create(&[
                "customer-7",
                "--name",
                "Seven",
                "--rate-limit",
                "api=600/60s",
                "--metadata",
                "{\"a\":1}"
            ]),
            json!({
                "externalId": "customer-7", "name": "Seven", "metadata": { "a": 1 },
                "rateLimits": [{ "name": "api", "limit": 600, "windowSeconds": 60 }],
            })
        );
        let update = |arguments: &[&str]| match command(&[&["update", ID], arguments].concat()) {
            IdentityCommand::Update(args) => update_input(&args, ID.parse().unwrap()).unwrap(),
            other => panic!("{other:?}"),
        };
        assert_eq!(update(&["--name", "b"]), json!({ "id": ID, "name": "b" }));
        assert_eq!(
            update(&["--no-rate-limits", "--if-revision", "3"]),
            json!({ "id": ID, "rateLimits": [], "expectedRevision": 3 })
        );
    }

    #[test]
    fn an_id_is_not_looked_up() {
        let typed = |text: &str| text.parse::<IdentityArgument>().unwrap();
        let found = id(&client(), &typed(ID), Place::Organization(None)).unwrap();
        assert_eq!(found, ID.parse().unwrap(), "nothing was asked");
        assert_eq!(typed("idn_7"), IdentityArgument::External("idn_7".into()));
        assert!("".parse::<IdentityArgument>().is_err());
    }

    #[test]
    fn an_identity_is_described() {
        let shown = described(&json!({
            "id": ID, "externalId": "customer-7", "rateLimits": [{ "name": "api", "limit": 600, "windowSeconds": 60 }],
            "credits": { "remaining": 5, "spent": 2 }, "metadata": {}, "revision": 3,
        }));
        let expected = format!(
            "id           {ID}\nexternal id  customer-7\nrate limits  api=600/1m\ncredits      5 left, 2 spent\nrevision     3"
        );
        assert_eq!(shown, expected);
    }
}
