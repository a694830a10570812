//! `keyledger key show`: everything about a key but its secret.

use keyledger_schema::{KeyId, Timestamp};
use serde_json::{Value, json};

use super::client::Client;
use super::table::{actor, fields, grants, line, list, moment, named, rate_limit, scopes, text, word};
use super::{Exit, Failure, Output, credits, queries};

/// Shows a key, as it is or as it was at a moment.
pub fn show(
    id: KeyId,
    as_of: Option<Timestamp>,
    client: &Client,
    out: &mut Output<'_>,
) -> Result<(), Failure> {
    let data = match as_of {
        None => client.call(&queries::key(), &json!({ "id": id }))?,
        Some(moment) => client.call(&queries::key_as_of(), &json!({ "id": id, "asOf": moment }))?,
    };
    if as_of.is_some() && data["key"].is_null() {
        return Err(Failure::new(
            Exit::NotFound,
            "NOT_FOUND",
            "there was no such key yet at that moment; name a later one",
        ));
    }
    if out.is_json() {
        return out.json(&data);
    }
    out.line(described(&data["key"]))
}

/// A role as it is called, with the name for people where it has one: `support "Customer Support" (role_…)`.
fn role(role: &Value) -> Option<String> {
    let name = text(&role["name"])?;
    let id = text(&role["id"]).unwrap_or_default();
    match text(&role["displayName"]).filter(|display| *display != name) {
        Some(display) => Some(format!("{name} \"{display}\" ({id})")),
        None => Some(format!("{name} ({id})")),
    }
}

/// A scope that counts, its name for people, and where it comes from.
fn effective(scope: &Value) -> Option<String> {
    let display = text(&scope["displayName"]).map(|name| format!(" \"{name}\"")).unwrap_or_default();
    let own = (scope["own"] == json!(true)).then(|| "own".to_owned());
    let roles = list(&scope["byRoles"], |role| Some(format!("by role {}", text(role)?)));
    let from: Vec<_> = own.into_iter().chain(roles).collect();
    Some(format!("{}{display} ({})", text(&scope["text"])?, from.join(", ")))
}

/// An identity as it is called: `customer-7 "Acme Ltd" (idn_…)`.
fn identity(identity: &Value) -> Vec<String> {
    let Some(external) = text(&identity["externalId"]) else { return vec![] };
    let name = text(&identity["name"]).map(|name| format!(" \"{name}\"")).unwrap_or_default();
    vec![format!("{external}{name} ({})", text(&identity["id"]).unwrap_or_default())]
}

/// Everything about a key, for people.
fn described(key: &Value) -> String {
    let at = |value: &Value| if value.is_null() { vec![] } else { vec![moment(value)] };
    let or =
        |values: Vec<String>, other: &str| if values.is_empty() { vec![other.to_owned()] } else { values };
    let imported = if key["imported"] == json!(true) { ", imported" } else { "" };
    let mut secret = line(&key["secretHint"]);
    if let Some(secret) = secret.first_mut() {
        *secret = format!("{secret}…, version {}{imported}", text(&key["secretVersion"]).unwrap_or_default());
    }
    let previous = &key["previousSecret"];
    let previous = text(&previous["hint"])
        .map(|hint| format!("{hint}…, valid until {}", moment(&previous["validUntil"])));
    let revocation = &key["revocation"];
    let revoked = text(&revocation["at"]).map(|_| {
        let comment = text(&revocation["comment"]).map(|text| format!(": {text}")).unwrap_or_default();
        format!("{}, {}{comment}", moment(&revocation["at"]), word(&revocation["reason"]))
    });
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
        ("as of", at(&key["asOf"])),
        ("name", line(&key["name"])),
        ("status", vec![word(&key["status"])]),
        ("environment", vec![word(&key["environment"])]),
        ("workspace", named(&key["workspace"])),
        ("organization", named(&key["organization"])),
        ("email", line(&key["email"])),
        ("permissions", list(&key["permissionSummary"], text)),
        ("scopes", or(scopes(&key["scopes"]), "none")),
        ("roles", list(&key["roles"], role)),
        ("effective", list(&key["effectiveScopes"], effective)),
        ("grants", grants(&key["grants"])),
        (
            "allowed from",
            or(
                list(&key["allowedCidrs"], text),
                if key["erasedAt"].is_null() { "everywhere" } else { "[erased]" },
            ),
        ),
        ("rate limits", list(&key["rateLimits"], rate_limit)),
        ("identity", identity(&key["identity"])),
        (
            "credits",
            text(&key["credits"]["remaining"])
                .map(|_| credits::described(&key["credits"]))
                .into_iter()
                .collect(),
        ),
        ("metadata", metadata.map(|_| key["metadata"].to_string()).into_iter().collect()),
        ("secret", secret),
        ("issued", at(&key["secretIssuedAt"])),
        ("acknowledged", or(at(&key["secretAcknowledgedAt"]), "no")),
        ("old secret", previous.into_iter().collect()),
        ("created", at(&key["createdAt"])),
        ("created by", actor(&key["createdBy"]).into_iter().collect()),
        ("updated", at(&key["updatedAt"])),
        ("cloned from", line(&key["clonedFrom"])),
        ("expires", or(at(&key["expiresAt"]), "never")),
        ("revoked", revoked.into_iter().collect()),
        ("leak reported", at(&key["leakReportedAt"])),
        ("deleted", at(&key["deletedAt"])),
        ("erased", at(&key["erasedAt"])),
        ("first used", at(&key["firstUsedAt"])),
        ("last used", used.into_iter().collect()),
        ("verifications", usage.into_iter().collect()),
        ("revision", line(&key["revision"])),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_described_without_empty_fields() {
        let shown = described(&json!({
            "id": "key_1", "name": "billing", "status": "ACTIVE", "environment": "PRODUCTION",
            "workspace": { "id": "ws_1", "name": "main" }, "scopes": [{ "text": "read:a" }], "grants": [],
            "roles": [], "rateLimits": [], "allowedCidrs": [], "metadata": {}, "secretHint": "kl_prod_abcd",
            "secretVersion": 1, "createdAt": "2026-11-21T09:14:14Z",
            "usage": { "valid": 3, "refused": 1, "lastCode": "VALID" },
        }));
        let expected = "\
id             key_1
name           billing
status         active
environment    production
workspace      main (ws_1)
scopes         read:a
allowed from   everywhere
secret         kl_prod_abcd…, version 1
acknowledged   no
created        2026-11-21 09:14:14Z
expires        never
verifications  3 valid, 1 refused";
        assert_eq!(shown, expected);
    }

    #[test]
    fn permissions_are_told_with_where_they_come_from() {
        let shown = described(&json!({
            "permissionSummary": ["Customer Read", "read:a"],
            "roles": [{ "id": "role_1", "name": "support", "displayName": "Customer Support" },
                { "id": "role_2", "name": "ops", "displayName": "ops" }],
            "effectiveScopes": [
                { "text": "read:a", "displayName": null, "own": true, "byRoles": ["ops"] },
                { "text": "read:customers/**", "displayName": "Customer Read", "own": false,
                    "byRoles": ["support"] },
            ],
            "rateLimits": [{ "name": "api", "limit": 600, "windowSeconds": 60 }],
            "identity": { "id": "idn_1", "externalId": "customer-7", "name": "Acme" },
            "credits": { "remaining": 5, "spent": 2 },
        }));
        for line in [
            "permissions   Customer Read\n              read:a\n",
            "roles         support \"Customer Support\" (role_1)\n              ops (role_2)\n",
            "effective     read:a (own, by role ops)\n",
            "              read:customers/** \"Customer Read\" (by role support)\n",
            "rate limits   api=600/1m\n",
            "identity      customer-7 \"Acme\" (idn_1)\n",
            "credits       5 left, 2 spent\n",
        ] {
            assert!(shown.contains(line), "{line} is missing in\n{shown}");
        }
    }
}
