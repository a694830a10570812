//! `keyledger organization …`.

use keyledger_schema::OrganizationId;
use serde_json::{Value, json};

use super::client::Client;
use super::organization_args::{OrganizationCommand, PolicyCommand};
use super::output::clean;
use super::table::{fields, line, list, moment, named, table, text};
use super::value::set;
use super::{Failure, Output, pages, policy, queries, signing_keys, told};

/// Does it.
pub fn run(command: &OrganizationCommand, client: &Client, out: &mut Output<'_>) -> Result<(), Failure> {
    match command {
        OrganizationCommand::List { limit } => show_list(*limit, client, out),
        OrganizationCommand::Show { id } => show(*id, client, out),
        OrganizationCommand::Create { name, parent, bootstrap } => {
            let mut input = json!({ "name": name });
            set(&mut input, "parentId", *parent);
            if *bootstrap {
                return create_and_bootstrap(&input, client, out);
            }
            told::change(client, out, queries::CREATE_ORGANIZATION, &input, "created")
        }
        OrganizationCommand::Bootstrap { id } => {
            told::change(client, out, queries::BOOTSTRAP, &json!({ "id": id }), "bootstrapped")
        }
        OrganizationCommand::Rename { id, name, if_revision } => {
            let mut input = json!({ "id": id, "name": name });
            set(&mut input, "expectedRevision", *if_revision);
            told::change(client, out, queries::RENAME_ORGANIZATION, &input, "renamed")
        }
        OrganizationCommand::Move { id, parent, if_revision } => {
            let mut input = json!({ "id": id, "parentId": parent });
            set(&mut input, "expectedRevision", *if_revision);
            told::change(client, out, queries::MOVE, &input, "moved")
        }
        OrganizationCommand::SigningKeys { id } => signing_keys::show(*id, client, out),
        OrganizationCommand::RotateSigningKey { id, if_revision } => {
            signing_keys::rotate(*id, *if_revision, client, out)
        }
        OrganizationCommand::RevokeSigningKey(args) => signing_keys::revoke(args, client, out),
        OrganizationCommand::Policy(PolicyCommand::Show { id }) => policy::show(*id, client, out),
        OrganizationCommand::Policy(PolicyCommand::Set(args)) => policy::set(args, client, out),
    }
}

fn show_list(limit: usize, client: &Client, out: &mut Output<'_>) -> Result<(), Failure> {
    let ask = |page: &Value| client.call(&queries::organizations(), page);
    let data = pages::collect(ask, json!({}), "/organizations", limit)?;
    if out.is_json() {
        return out.json(&data);
    }
    let found = data["organizations"]["nodes"].as_array().map_or(&[][..], Vec::as_slice);
    let row = |it: &Value| {
        vec![
            line(&it["id"]),
            line(&it["name"]),
            named(&it["parent"]),
            vec![yes(&it["bootstrapped"]).into()],
            vec![policy::switch(&it["apiKeysEnabled"])],
            vec![moment(&it["createdAt"])],
        ]
    };
    let headers = ["ID", "NAME", "PARENT", "BOOTSTRAPPED", "KEYS", "CREATED"];
    out.line(table(&headers, found.iter().map(row).collect(), &[0]))?;
    if data["organizations"]["pageInfo"]["hasNextPage"] == json!(true) {
        out.note(format_args!("{} shown, there are more; --limit 0 shows all", found.len()));
    }
    Ok(())
}

fn yes(value: &Value) -> &'static str {
    if *value == json!(true) { "yes" } else { "no" }
}

fn show(id: Option<OrganizationId>, client: &Client, out: &mut Output<'_>) -> Result<(), Failure> {
    let data = client.call(&queries::organization(), &json!({ "id": id }))?;
    if out.is_json() {
        return out.json(&data);
    }
    let found = &data["organization"];
    out.line(fields(&[
        ("id", line(&found["id"])),
        ("name", line(&found["name"])),
        ("slug", line(&found["slug"])),
        ("parent", named(&found["parent"])),
        ("bootstrapped", vec![yes(&found["bootstrapped"]).into()]),
        ("signing key", line(&found["signingPublicKey"])),
        ("keys", vec![policy::switch(&found["apiKeysEnabled"])]),
        ("roles", list(&found["roles"], |role| named(role).pop())),
        ("created", vec![moment(&found["createdAt"])]),
        ("revision", line(&found["revision"])),
    ]))?;
    out.line("")?;
    out.line(policy::rules(found))
}

/// Two changes: what became of the first is told before the second is tried.
fn create_and_bootstrap(input: &Value, client: &Client, out: &mut Output<'_>) -> Result<(), Failure> {
    let mut data = client.call(&queries::CREATE_ORGANIZATION.document(), &json!({ "input": input }))?;
    let payload = &data["createOrganization"];
    let id = payload["organization"]["id"].clone();
    if !out.is_json() {
        out.line(told::told(&payload["organization"], payload, "created"))?;
        told::warn(payload, out);
        return told::change(client, out, queries::BOOTSTRAP, &json!({ "id": id }), "bootstrapped")
            .map_err(|failure| unfinished(failure, &id));
    }
    match client.call(&queries::BOOTSTRAP.document(), &json!({ "input": { "id": id } })) {
        Ok(mut second) => {
            data["bootstrapOrganization"] = second["bootstrapOrganization"].take();
            out.json(&data)
        }
        Err(failure) => {
            out.json(&data)?;
            Err(unfinished(failure, &id))
        }
    }
}

fn unfinished(mut failure: Failure, id: &Value) -> Failure {
    let id = text(id).unwrap_or_default();
    failure.message = format!(
        "{}\nThe organization is created and not bootstrapped: keyledger organization bootstrap {}",
        failure.message,
        clean(&id)
    );
    failure
}
