//! `keyledger organization signing-keys`, `rotate-signing-key` and `revoke-signing-key`.

use keyledger_schema::OrganizationId;
use serde_json::{Value, json};

use super::client::Client;
use super::organization_args::RevokeSigningKeyArgs;
use super::output::clean;
use super::table::{line, moment, named, table, word};
use super::value::set;
use super::{Failure, Output, confirm, queries, told};

/// Lists them.
pub fn show(id: Option<OrganizationId>, client: &Client, out: &mut Output<'_>) -> Result<(), Failure> {
    let data = client.call(queries::SIGNING_KEYS_OF_ORGANIZATION, &json!({ "id": id }))?;
    if out.is_json() {
        return out.json(&data);
    }
    out.line(shown(&data["organization"]))
}

/// Adds one.
pub fn rotate(
    id: Option<OrganizationId>,
    if_revision: Option<u64>,
    client: &Client,
    out: &mut Output<'_>,
) -> Result<(), Failure> {
    let mut input = json!({});
    set(&mut input, "organizationId", id);
    set(&mut input, "expectedRevision", if_revision);
    change(client, out, queries::ROTATE_SIGNING_KEY, &input, "added a signing key to")
}

/// Makes the tokens of one fail.
pub fn revoke(args: &RevokeSigningKeyArgs, client: &Client, out: &mut Output<'_>) -> Result<(), Failure> {
    const WHAT: &str = "Revoking a signing key fails every token that it signed, and cannot be undone";
    confirm::require(args.yes, WHAT)?;
    if !args.yes {
        let found = client.call(queries::ORGANIZATION_TO_CONFIRM, &json!({ "id": args.id }))?;
        let organization = named(&found["organization"]).concat();
        let generation = args.generation;
        confirm::ask(&clean(&format!("{WHAT}: generation {generation} of {organization}. Go on?")))?;
    }
    let mut input = json!({ "generation": args.generation });
    set(&mut input, "organizationId", args.id);
    set(&mut input, "comment", args.comment.as_ref());
    set(&mut input, "expectedRevision", args.if_revision);
    change(client, out, queries::REVOKE_SIGNING_KEY, &input, "revoked a signing key of")
}

fn change(
    client: &Client,
    out: &mut Output<'_>,
    mutation: queries::Mutation,
    input: &Value,
    done: &str,
) -> Result<(), Failure> {
    told::change_and(client, out, mutation, input, done, |payload, out| {
        out.line("")?;
        out.line(shown(&payload["organization"]))
    })
}

fn shown(organization: &Value) -> String {
    let keys = organization["signingKeys"].as_array().map_or(&[][..], Vec::as_slice);
    let row = |key: &Value| {
        let ended = if key["revokedAt"].is_null() { &key["retiredAt"] } else { &key["revokedAt"] };
        vec![
            line(&key["generation"]),
            vec![word(&key["status"])],
            vec![moment(&key["signsFrom"])],
            vec![moment(ended)],
            line(&key["kid"]),
        ]
    };
    let headers = ["GENERATION", "STATUS", "SIGNS FROM", "ENDED", "KID"];
    table(&headers, keys.iter().map(row).collect(), &[0, 4])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_shown_with_what_they_are_good_for() {
        let key = |generation: u32, status: &str, revoked: Option<&str>| {
            json!({
                "generation": generation, "status": status, "kid": "kPrK", "signsFrom": "2026-11-21T09:14:14.252913Z",
                "retiredAt": null, "revokedAt": revoked,
            })
        };
        let revoked = key(1, "REVOKED", Some("2026-11-22T09:14:14.252913Z"));
        let shown = shown(&json!({ "signingKeys": [revoked, key(2, "SIGNING", None)] }));
        let expected = "\
GENERATION  STATUS   SIGNS FROM            ENDED                 KID
1           revoked  2026-11-21 09:14:14Z  2026-11-22 09:14:14Z  kPrK
2           signing  2026-11-21 09:14:14Z  -                     kPrK";
        assert_eq!(shown, expected);
    }
}
