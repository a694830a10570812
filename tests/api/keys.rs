//! What can be done with a key.

use serde_json::{Value, json};

use crate::ask::{attempt, data, text, types, world};
use crate::support::{Client, Server};

const ALL: &str = "name status environment prefix scopes { text } effectiveScopes { action resource } grants { role } \
    allowedCidrs metadata email secretHint secretVersion expiresAt clonedFrom revision workspace { id } \
    organization { slug } createdBy { kind id role } secretAcknowledgedAt";

fn ids(client: &Client, filter: &Value) -> Vec<String> {
    let found = data(
        client,
        "query($filter: KeyFilter) { keys(filter: $filter, first: 200) { nodes { id } } }",
        &json!({ "filter": filter }),
    );
    found["keys"]["nodes"].as_array().unwrap().iter().map(|key| text(&key["id"])).collect()
}

fn codes(warnings: &[Value]) -> Vec<String> {
    warnings.iter().map(|warning| text(&warning["code"])).collect()
}

fn verdict(client: &Client, request: &Value) -> String {
    client.verify_with(request).unwrap().code
}

#[test]
fn a_key_is_created_with_everything_that_was_asked_for() {
    let world = world();
    let issued = world
        .root
        .create_key("  Billing (EU) — v2 ")
        .scope("read:customers/42/**")
        .scope("*:/invoices/")
        .scope("read:customers/42/**")
        .with("environment", "STAGING")
        .with("workspaceId", world.workspace.as_str())
        .with("expiresAt", "2999-01-01T01:00:00+01:00")
        .with("allowedCidrs", json!(["203.0.113.9/24", "2001:db8::1", "203.0.113.0/24"]))
        .with("metadata", json!({ "team": "billing", "n": [1.5, null, 0.1] }))
        .with("prefix", "acme")
        .with("grants", json!([{ "role": "VIEWER", "workspaceId": world.workspace }]))
        .run();
    assert!(issued.secret().starts_with("acme_stag_"));
    assert_eq!(issued.events.len(), 1);
    let key = world.root.key(&issued.id(), ALL).unwrap();
    let root = data(&world.root, "{ viewer { keyId } }", &json!({}));
    let email = text(&key["email"]);
    let short = &issued.id()[issued.id().len() - 10..];
    assert_eq!(email, format!("billing-eu-v2.{short}@keys.acme"));
    assert!(issued.secret().starts_with(key["secretHint"].as_str().unwrap()));
    let expected = json!({
        "name": "Billing (EU) — v2", "status": "ACTIVE", "environment": "STAGING", "prefix": "acme",
        "scopes": [{ "text": "read:customers/42/**" }, { "text": "*:invoices" }],
        "effectiveScopes": [
            { "action": "READ", "resource": "customers/42/**" }, { "action": "ANY", "resource": "invoices" }],
        "grants": [{ "role": "VIEWER" }],
        "allowedCidrs": ["203.0.113.0/24", "2001:db8::1/128"],
        "metadata": { "n": [1.5, null, 0.1], "team": "billing" },
        "email": email, "secretHint": key["secretHint"], "secretVersion": 1,
        "expiresAt": "2999-01-01T00:00:00.000000Z", "clonedFrom": null, "revision": 0,
        "workspace": { "id": world.workspace }, "organization": { "slug": "acme" },
        "createdBy": { "kind": "KEY", "id": root["viewer"]["keyId"], "role": "ORGANIZATION_ADMINISTRATOR" },
        "secretAcknowledgedAt": null,
    });
    assert_eq!(key, expected);
}

#[test]
fn a_key_needs_a_name_and_an_environment_only() {
    let server = Server::fresh();
    let created = data(
        &server.root(),
        "mutation { createKey(input: { name: \"a\", environment: DEVELOPMENT }) { key { id } secret } }",
        &json!({}),
    );
    let created = &created["createKey"];
    assert!(text(&created["secret"]).starts_with("kl_dev_"));
    let key = server.root().key(&text(&created["key"]["id"]), ALL).unwrap();
    assert_eq!(key["scopes"], json!([]));
    assert_eq!(key["grants"], json!([]));
    assert_eq!(key["allowedCidrs"], json!([]));
    assert_eq!(key["metadata"], json!({}));
    assert_eq!(key["expiresAt"], json!(null));
    let verified = server.root().verify(&text(&created["secret"])).unwrap();
    assert!(verified.valid);
    assert_eq!(verified.body["environment"], "development");
}

#[test]
fn acknowledged_secrets_can_be_told_from_others() {
    let server = Server::fresh();
    let root = server.root();
    let (one, two) = (root.create_key("one").run().id(), root.create_key("two").run().id());
    let done = root.mutate("acknowledgeKeySecret", &json!({ "id": one })).unwrap();
    assert_eq!(done.events[0]["type"], "key.secret_acknowledged");
    assert!(root.mutate("acknowledgeKeySecret", &json!({ "id": one })).unwrap().events.is_empty());
    let acknowledged = ids(&root, &json!({ "secretAcknowledged": true }));
    let open = ids(&root, &json!({ "secretAcknowledged": false }));
    assert!(acknowledged.contains(&one) && !acknowledged.contains(&two));
    assert!(open.contains(&two) && !open.contains(&one));
    root.rotate_key(&one, 0).unwrap();
    assert!(
        ids(&root, &json!({ "secretAcknowledged": false })).contains(&one),
        "the new secret is not copied"
    );
}

#[test]
fn an_update_takes_effect_at_once_and_warns_of_what_it_takes_away() {
    let server = Server::fresh();
    let root = server.root();
    let issued = root.create_key("a").scope("read:a").scope("write:a").run();
    let (id, secret) = (issued.id(), issued.secret());
    let may = |action: &str, ip: Option<&str>| {
        verdict(&root, &json!({ "key": secret, "action": action, "resource": "a", "ip": ip }))
    };
    assert_eq!(may("write", None), "VALID");
    let scopes = json!([{ "action": "READ", "resource": "a" }]);
    let updated = root.mutate("updateKey", &json!({ "id": id, "scopes": scopes })).unwrap();
    assert_eq!(codes(&updated.warnings), ["SCOPE_REMOVED"]);
    assert_eq!((may("write", None), may("read", None)), ("INSUFFICIENT_SCOPE".into(), "VALID".into()));

    let cidrs = json!(["203.0.113.0/24"]);
    let updated = root.mutate("updateKey", &json!({ "id": id, "allowedCidrs": cidrs })).unwrap();
    assert_eq!(codes(&updated.warnings), ["ADDRESS_REMOVED"]);
    assert_eq!(may("read", Some("203.0.113.7")), "VALID");
    assert_eq!(may("read", Some("198.51.100.7")), "IP_NOT_ALLOWED");
    let updated =
        root.mutate("updateKey", &json!({ "id": id, "allowedCidrs": ["0.0.0.0/0", "::/0"] })).unwrap();
    assert_eq!(codes(&updated.warnings), ["OPEN_NETWORK", "OPEN_NETWORK"]);
    assert_eq!(may("read", Some("198.51.100.7")), "VALID");

    let input = json!({ "id": id, "name": "b", "metadata": { "x": 1 } });
    assert_eq!(root.mutate("updateKey", &input).unwrap().events.len(), 1);
    let key = root.key(&id, "name metadata revision email").unwrap();
    assert_eq!(
        (&key["name"], &key["metadata"], &key["revision"]),
        (&json!("b"), &json!({ "x": 1 }), &json!(4))
    );
    assert!(text(&key["email"]).starts_with("a."), "the address in trails stays: {key}");
}

#[test]
fn an_update_that_changes_nothing_writes_nothing() {
    let server = Server::fresh();
    let root = server.root();
    let metadata = json!({ "n": [0.1, 1e300, 5e-324, 123_456_789.123_456_79, 1.797_693_134_862_315_7e308] });
    let issued = root
        .create_key("a")
        .scope("read:b")
        .scope("read:a")
        .with("allowedCidrs", json!(["10.0.0.0/8", "9.0.0.0/8"]))
        .with("metadata", metadata.clone())
        .run();
    let same = json!({
        "id": issued.id(), "name": " a ", "metadata": metadata,
        "scopes": [{ "action": "READ", "resource": "/a/" }, { "action": "READ", "resource": "b" },
                   { "action": "READ", "resource": "b" }],
        "allowedCidrs": ["9.1.2.3/8", "10.0.0.0/8"],
    });
    for input in [same, json!({ "id": issued.id() })] {
        let updated = root.mutate("updateKey", &input).unwrap();
        assert_eq!((updated.events, &updated.key["revision"]), (vec![], &json!(0)));
    }
    assert_eq!(types(&root, &issued.id()), ["key.issued"]);
}

#[test]
fn an_expiry_date_is_fixed_and_a_clone_keeps_it() {
    let server = Server::fresh();
    let root = server.root();
    let issued = root
        .create_key("a")
        .scope("read:a")
        .with("expiresAt", "2999-01-01T00:00:00Z")
        .with("metadata", json!({ "a": 1 }))
        .with("allowedCidrs", json!(["10.0.0.0/8"]))
        .run();
    for field in ["expiresAt", "environment", "prefix"] {
        let refused = attempt(&root, "updateKey", &json!({ "id": issued.id(), field: null }));
        assert_eq!(refused.code(), "INVALID_INPUT", "{field}");
    }
    let clone = root.mutate("cloneKey", &json!({ "id": issued.id(), "name": "b" })).unwrap();
    assert_ne!(clone.secret(), issued.secret());
    let fields = "environment prefix scopes { text } grants { role } allowedCidrs metadata expiresAt";
    assert_eq!(root.key(&clone.id(), fields).unwrap(), root.key(&issued.id(), fields).unwrap());
    let key = root.key(&clone.id(), "name clonedFrom secretVersion").unwrap();
    assert_eq!(key, json!({ "name": "b", "clonedFrom": issued.id(), "secretVersion": 1 }));
    let same_name = root.mutate("cloneKey", &json!({ "id": issued.id() })).unwrap();
    assert_eq!(same_name.key["name"], "a");
}

#[test]
fn a_key_is_switched_off_and_on_at_once() {
    let server = Server::fresh();
    let root = server.root();
    let issued = root.create_key("a").run();
    assert_eq!(root.disable_key(&issued.id()).unwrap().key["status"], "INACTIVE");
    assert_eq!(root.verify(&issued.secret()).unwrap().code, "DISABLED");
    assert!(root.disable_key(&issued.id()).unwrap().events.is_empty());
    assert_eq!(root.enable_key(&issued.id()).unwrap().key["status"], "ACTIVE");
    assert!(root.verify(&issued.secret()).unwrap().valid);
    assert!(root.enable_key(&issued.id()).unwrap().events.is_empty());
    assert_eq!(types(&root, &issued.id()), ["key.issued", "key.disabled", "key.enabled"]);
}

#[test]
fn a_key_is_revoked_once_and_the_first_reason_stands() {
    let server = Server::fresh();
    let root = server.root();
    for reason in ["COMPROMISED", "SUPERSEDED", "UNUSED", "POLICY", "OTHER"] {
        let issued = root.create_key(reason).run();
        let input = json!({ "id": issued.id(), "reason": reason, "comment": " why\nnot " });
        assert_eq!(root.mutate("revokeKey", &input).unwrap().key["status"], "REVOKED");
        assert_eq!(root.verify(&issued.secret()).unwrap().code, "REVOKED");
        let again = root.revoke_key(&issued.id(), "UNUSED").unwrap();
        assert_eq!((again.events.len(), codes(&again.warnings)), (0, vec!["ALREADY_REVOKED".to_owned()]));
        let key = root.key(&issued.id(), "revocation { reason comment }").unwrap();
        assert_eq!(key["revocation"], json!({ "reason": reason, "comment": "why\nnot" }));
    }
    let issued = root.create_key("a").run();
    let refused =
        attempt(&root, "revokeKey", &json!({ "id": issued.id(), "reason": "OTHER", "comment": "  " }));
    assert_eq!((refused.code(), refused.field()), ("INVALID_INPUT", "input.comment"));
}

#[test]
fn a_deleted_key_is_gone_from_lists_and_its_trail_is_not() {
    let server = Server::fresh();
    let root = server.root();
    let issued = root.create_key("a").run();
    assert_eq!(root.delete_key(&issued.id()).unwrap().key["status"], "DELETED");
    assert!(root.delete_key(&issued.id()).unwrap().events.is_empty());
    assert!(!ids(&root, &json!({})).contains(&issued.id()));
    assert!(ids(&root, &json!({ "statuses": ["DELETED"] })).contains(&issued.id()));
    assert_eq!(root.verify(&issued.secret()).unwrap().code, "NOT_FOUND");
    assert_eq!(types(&root, &issued.id()), ["key.issued", "key.deleted"]);
}

#[test]
fn lists_show_active_keys_unless_another_status_is_asked_for() {
    let server = Server::fresh();
    let root = server.root();
    let keys: Vec<String> = ["a", "b", "c", "d"].map(|name| root.create_key(name).run().id()).into();
    root.disable_key(&keys[1]).unwrap();
    root.revoke_key(&keys[2], "UNUSED").unwrap();
    root.delete_key(&keys[3]).unwrap();
    for (statuses, shown) in [
        (json!(null), vec![0]),
        (json!(["ACTIVE"]), vec![0]),
        (json!(["INACTIVE"]), vec![1]),
        (json!(["REVOKED"]), vec![2]),
        (json!(["DELETED"]), vec![3]),
        (json!(["EXPIRED"]), vec![]),
        (json!(["ACTIVE", "INACTIVE", "EXPIRED", "REVOKED", "DELETED"]), vec![0, 1, 2, 3]),
    ] {
        let found = ids(&root, &json!({ "statuses": statuses }));
        let seen: Vec<usize> = (0..4).filter(|&at| found.contains(&keys[at])).collect();
        assert_eq!(seen, shown, "{statuses}");
    }
}

#[test]
fn what_cannot_follow_is_refused() {
    let server = Server::fresh();
    let root = server.root();
    let (revoked, deleted) = (root.create_key("a").run().id(), root.create_key("b").run().id());
    root.revoke_key(&revoked, "UNUSED").unwrap();
    root.delete_key(&deleted).unwrap();
    for id in [&revoked, &deleted] {
        for mutation in
            ["acknowledgeKeySecret", "updateKey", "rotateKey", "disableKey", "enableKey", "cloneKey"]
        {
            let refused = attempt(&root, mutation, &json!({ "id": id }));
            assert_eq!(refused.code(), "ILLEGAL_TRANSITION", "{mutation}: {}", refused.body);
        }
    }
    let refused = attempt(&root, "revokeKey", &json!({ "id": deleted, "reason": "UNUSED" }));
    assert_eq!(refused.code(), "ILLEGAL_TRANSITION");
    assert_eq!(root.delete_key(&revoked).unwrap().key["status"], "DELETED");
}

#[test]
fn a_key_works_in_its_own_environment_only() {
    let server = Server::fresh();
    let root = server.root();
    for (own, name) in [("PRODUCTION", "production"), ("STAGING", "staging"), ("DEVELOPMENT", "development")]
    {
        let secret = root.create_key("a").with("environment", own).run().secret();
        for used in ["production", "staging", "development"] {
            let expected = if used == name { "VALID" } else { "WRONG_ENVIRONMENT" };
            assert_eq!(
                verdict(&root, &json!({ "key": secret, "environment": used })),
                expected,
                "{own} in {used}"
            );
        }
        assert_eq!(verdict(&root, &json!({ "key": secret })), "VALID");
    }
}

#[test]
fn scopes_cover_what_the_grammar_says_and_no_action_implies_another() {
    let server = Server::fresh();
    let root = server.root();
    for (scope, action, resource, covered) in [
        ("read:customers/42", "read", "customers/42", true),
        ("read:customers/42", "read", "/customers/42/", true),
        ("read:customers/42", "write", "customers/42", false),
        ("read:customers/42", "read", "customers/421", false),
        ("read:customers/42", "read", "customers/42/a", false),
        ("read:customers/*", "read", "customers/7", true),
        ("read:customers/*", "read", "customers", false),
        ("read:customers/*/orders", "read", "customers/7/orders", true),
        ("read:customers/**", "read", "customers", true),
        ("read:customers/**", "read", "customers/7/orders/9", true),
        ("read:customers/**", "read", "customersx", false),
        ("admin:*", "read", "a", false),
        ("admin:*", "admin", "a/b", true),
        ("*:a", "write", "a", true),
        ("*:a", "write", "b", false),
        ("read:", "read", "anything/at/all", true),
        ("read:a", "read", "A", false),
    ] {
        let secret = root.create_key("a").scope(scope).run().secret();
        let expected = if covered { "VALID" } else { "INSUFFICIENT_SCOPE" };
        let asked = json!({ "key": secret, "action": action, "resource": resource });
        assert_eq!(verdict(&root, &asked), expected, "{scope} for {action} {resource}");
    }
}

#[test]
fn networks_of_one_family_say_nothing_of_the_other() {
    let server = Server::fresh();
    let root = server.root();
    for (networks, allowed, refused) in [
        (json!([]), vec!["203.0.113.7", "2001:db8::7"], vec![]),
        (
            json!(["203.0.113.0/24"]),
            vec!["203.0.113.7", "::ffff:203.0.113.7"],
            vec!["2001:db8::7", "203.0.114.7"],
        ),
        (json!(["0.0.0.0/0"]), vec!["198.51.100.1"], vec!["2001:db8::7", "::1"]),
        (json!(["::/0"]), vec!["2001:db8::7"], vec!["198.51.100.1", "::ffff:198.51.100.1"]),
        (json!(["203.0.113.0/24", "::/0"]), vec!["203.0.113.7", "2001:db8::7"], vec!["198.51.100.1"]),
        (json!(["203.0.113.7"]), vec!["203.0.113.7"], vec!["203.0.113.8"]),
    ] {
        let secret = root.create_key("a").with("allowedCidrs", networks.clone()).run().secret();
        for ip in allowed {
            assert_eq!(verdict(&root, &json!({ "key": secret, "ip": ip })), "VALID", "{networks} {ip}");
        }
        for ip in refused {
            assert_eq!(
                verdict(&root, &json!({ "key": secret, "ip": ip })),
                "IP_NOT_ALLOWED",
                "{networks} {ip}"
            );
        }
        if networks != json!([]) {
            assert_eq!(verdict(&root, &json!({ "key": secret })), "IP_NOT_ALLOWED", "no address is known");
        }
    }
    let open = root.create_key("a").with("allowedCidrs", json!(["0.0.0.0/0", "::/0"])).run();
    assert_eq!(codes(&open.warnings), ["OPEN_NETWORK", "OPEN_NETWORK"]);
}

#[test]
fn keys_are_found_by_name_id_hint_creator_and_environment() {
    let world = world();
    let root = &world.root;
    let wanted = root.create_key("Münster 100%_x").with("environment", "STAGING").run();
    let (id, hint) = (wanted.id(), text(&root.key(&wanted.id(), "secretHint").unwrap()["secretHint"]));
    for _ in 0..3 {
        root.create_key("another").run();
    }
    let viewer = data(root, "{ viewer { keyId } }", &json!({}));
    for filter in [
        json!({ "search": id }),
        json!({ "search": hint }),
        json!({ "search": "münster" }),
        json!({ "nameContains": "100%_" }),
        json!({ "environment": "STAGING" }),
        json!({ "workspaceId": world.workspace, "environment": "STAGING", "createdBy": viewer["viewer"]["keyId"] }),
    ] {
        assert_eq!(ids(root, &filter), std::slice::from_ref(&id), "{filter}");
    }
    for filter in [json!({ "search": "%" }), json!({ "nameContains": "_x%" }), json!({ "createdBy": id })] {
        let expected: Vec<String> = if filter["search"] == "%" { vec![id.clone()] } else { vec![] };
        assert_eq!(ids(root, &filter), expected, "{filter}");
    }
}
