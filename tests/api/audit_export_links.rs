//! Addresses that hand out exports of events without a key: they give what their key may read when they are used, and
//! nothing once they were changed, have ended, or their key has.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use crate::ask::{ask, attempt, data, eventually, manager, text, world};
use crate::audit_exports::{export, exports_told, filters, get, root_key, scene};
use crate::support::{Client, Mutated};

const URL: &str = "query($input: ExportUrlInput!) { exportUrl(input: $input) { url expiresAt } }";

fn url(client: &Client, input: &Value) -> String {
    text(&data(client, URL, &json!({ "input": input }))["exportUrl"]["url"])
}

#[test]
fn a_signed_address_hands_out_what_its_key_may_read_and_tells_in_whose_name() {
    let scene = scene();
    let world = &scene.world;
    let auditor = manager(&world.root, "AUDITOR", &scene.elsewhere);
    let clients = [
        (root_key(world).to_owned(), world.root.clone()),
        (auditor.secret(), world.server.client(&auditor.secret())),
    ];
    for (secret, client) in &clients {
        // The key that the auditor may not know of is refused, see the exports.
        let hidden = |query: &str| *secret == auditor.secret() && query.contains(&scene.key.id());
        for (filter, query) in filters(&scene).into_iter().filter(|(_, query)| !hidden(query)) {
            let address = url(
                client,
                &json!({ "format": "JSONL", "filter": filter, "raw": true, "outcome": "SUCCESS" }),
            );
            let query = format!("format=jsonl&raw=true&outcome=success{query}&types={}", "key.*");
            let query = if filter.get("types").is_some() { query.replace("&types=key.*", "") } else { query };
            let signed = get(&world.server, None, &address);
            assert_eq!(
                (signed.header("cache-control"), signed.header("referrer-policy")),
                ("no-store", "no-referrer")
            );
            let keys = |lines: Vec<Value>| -> Vec<Value> {
                let of_keys = |line: &Value| text(&line["event"]["type"]).starts_with("key.");
                lines.into_iter().filter(of_keys).collect()
            };
            assert_eq!(keys(signed.lines()), export(&world.server, secret, &query).lines(), "{query}");
        }
    }
    let input = json!({ "format": "CSV", "workspaceId": scene.elsewhere, "after": 2,
        "filter": { "types": ["key.*"] } });
    let address = url(&clients[1].1, &input);
    let before = exports_told(&world.root).len();
    assert_eq!(get(&world.server, None, &address).status, 200);
    let told = exports_told(&world.root);
    assert_eq!(told.len(), before + 1);
    let told = told.last().unwrap();
    assert_eq!((&told["actor"]["id"], &told["data"]["format"]), (&json!(auditor.id()), &json!("csv")));
    let filter = text(&told["data"]["filter"]);
    assert!(
        filter.contains(&format!("workspaceId={}", scene.elsewhere)) && filter.contains("&after=2"),
        "{filter}"
    );
    assert_eq!(told["source"]["ip"], "127.0.0.1");
    // It is usable again until it ends, and each time is told.
    assert_eq!(get(&world.server, None, &address).status, 200);
    assert_eq!(exports_told(&world.root).len(), before + 2);
    // The secret of an address is in no log and in no trail.
    let signature = address.split("&signature=").nth(1).unwrap();
    assert!(!world.server.log().contains(signature) && !world.server.stdout().contains(signature));
    let everything = export(&world.server, root_key(world), "format=jsonl&raw=true").bytes;
    assert!(!String::from_utf8(everything).unwrap().contains(signature));
}

#[test]
fn a_signed_address_that_was_changed_is_refused() {
    let scene = scene();
    let world = &scene.world;
    let input = json!({ "format": "JSONL", "raw": true, "outcome": "SUCCESS", "workspaceId": scene.elsewhere,
        "after": 1, "filter": { "keyId": scene.there.id(), "types": ["key.issued"], "actorId": scene.owner.id(),
        "from": "2026-01-01T00:00:00Z", "to": "2999-01-01T00:00:00Z" } });
    let address = url(&world.root, &input);
    assert_eq!(get(&world.server, None, &address).status, 200);
    let (path, query) = address.split_once('?').unwrap();
    let pairs: Vec<&str> = query.split('&').collect();
    let mut changed = BTreeSet::new();
    for at in 0..pairs.len() {
        let (name, value) = pairs[at].split_once('=').unwrap();
        let mut replace = |pair: Option<String>| {
            let mut pairs: Vec<String> = pairs.iter().map(ToString::to_string).collect();
            match pair {
                Some(pair) => pairs[at] = pair,
                None => drop(pairs.remove(at)),
            }
            changed.insert(format!("{path}?{}", pairs.join("&")));
        };
        // Without it, with another value, with one that means the same, and twice.
        replace(None);
        let last = value.chars().last().unwrap();
        let other = if last == '0' { '1' } else { '0' };
        replace(Some(format!("{name}={}{other}", &value[..value.len() - 1])));
        replace(Some(format!("{name}=%{:02X}{}", value.as_bytes()[0], &value[1..])));
        replace(Some(format!("{name}={value}&{name}={value}")));
    }
    changed.insert(format!("{address}&workspaceId={}", world.workspace));
    changed.insert(format!("{path}?names=false&{query}"));
    changed.insert(format!("{path}?{}&signature=", query.split("&signature=").next().unwrap()));
    changed.insert(format!("{path}?format=jsonl&signature=AAAA"));
    // In another order.
    let mut turned = pairs.clone();
    turned.swap(0, 1);
    changed.insert(format!("{path}?{}", turned.join("&")));
    assert!(changed.len() > 40);
    let before = exports_told(&world.root).len();
    for address in &changed {
        let answer = get(&world.server, None, address);
        let code = answer.refusal().code().to_owned();
        assert_eq!((answer.status, &*code), (401, "UNAUTHENTICATED"), "{address}");
        assert_eq!(answer.header("referrer-policy"), "no-referrer");
    }
    assert_eq!(exports_told(&world.root).len(), before);
    // A key beside it does not make it good.
    let changed = changed.first().unwrap();
    assert_eq!(get(&world.server, Some(root_key(world)), changed).status, 401);
    // Nor is it good for anything else.
    assert_eq!(
        get(&world.server, None, &address.replace("/v1/audit/export", "/v1/exports/usage")).status,
        401
    );
}

#[test]
fn a_signed_address_ends_with_its_key_its_secret_and_its_grant() {
    let world = world();
    let organization = world.server.home().tenant().organization.clone();
    let grants = json!([{ "role": "AUDITOR", "organizationId": organization }]);
    let auditor = || {
        let key = world.root.create_key("auditor").with("grants", grants.clone()).run();
        let address = url(&world.server.client(&key.secret()), &json!({ "format": "JSONL" }));
        assert_eq!(get(&world.server, None, &address).status, 200);
        (key, address)
    };
    let input = |key: &Mutated, more: Value| {
        let mut input = json!({ "id": key.id() });
        input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        input
    };
    for (mutation, more) in [
        ("revokeKey", json!({ "reason": "COMPROMISED" })),
        ("disableKey", json!({})),
        ("deleteKey", json!({})),
        ("rotateKey", json!({ "overlapSeconds": 0 })),
        ("updateKey", json!({ "grants": [] })),
        ("updateKey", json!({ "grants": [{ "role": "VIEWER", "organizationId": organization }] })),
        ("updateKey", json!({ "allowedCidrs": ["203.0.113.0/24"] })),
    ] {
        let (key, address) = auditor();
        if mutation == "deleteKey" {
            world.root.revoke_key(&key.id(), "UNUSED").unwrap();
        }
        assert_eq!(attempt(&world.root, mutation, &input(&key, more.clone())).code(), "", "{mutation}");
        let answer = get(&world.server, None, &address);
        let status = if more.get("grants").is_some() { 403 } else { 401 };
        assert_eq!(answer.status, status, "{mutation} {more}");
    }
    // While a rotation overlaps, the old secret is still good, and so is what was asked with it.
    let (key, address) = auditor();
    world.root.rotate_key(&key.id(), 600).unwrap();
    assert_eq!(get(&world.server, None, &address).status, 200);
    // With another grant that reads trails it goes on, for what that grant shows.
    let (key, address) = auditor();
    let less = json!([{ "role": "AUDITOR", "workspaceId": world.workspace }]);
    assert_eq!(attempt(&world.root, "updateKey", &input(&key, json!({ "grants": less }))).code(), "");
    let lines = get(&world.server, None, &address).lines();
    assert!(lines.iter().all(|line| line["event"]["workspace"] == json!(world.workspace)));
    // An expired key's ends.
    let soon = crate::ask::in_millis(8_000);
    let key = world.root.create_key("short").with("grants", grants.clone()).with("expiresAt", soon).run();
    let address = url(&world.server.client(&key.secret()), &json!({ "format": "JSONL" }));
    // An export that has begun is cut off then, too.
    let anonymous = world.server.anonymous();
    eventually("the key has expired", || anonymous.get(&address).is_ok_and(|(status, _)| status == 401));
}

#[test]
fn an_address_is_made_for_what_may_be_read_only_and_for_five_minutes() {
    let world = world();
    let answer = data(&world.root, URL, &json!({ "input": { "format": "CEF" } }));
    let expires: keyledger_schema::Timestamp = text(&answer["exportUrl"]["expiresAt"]).parse().unwrap();
    let left = expires.since(keyledger::edge::Edge::default().now());
    assert!(left <= Duration::from_mins(5) && left > Duration::from_mins(4), "{left:?}");
    let viewer = world.server.client(&manager(&world.root, "VIEWER", &world.workspace).secret());
    for (client, input, code) in [
        (&viewer, json!({ "format": "CEF" }), "FORBIDDEN"),
        (&world.other, json!({ "format": "CEF", "workspaceId": world.workspace }), "NOT_FOUND"),
        (&world.root, json!({ "format": "CEF", "filter": { "types": ["nonsense"] } }), "INVALID_INPUT"),
        (&world.root, json!({ "format": "CEF", "filter": { "actorId": "nonsense" } }), "INVALID_INPUT"),
    ] {
        assert_eq!(ask(client, URL, &json!({ "input": input })).code(), code, "{input}");
    }
}
