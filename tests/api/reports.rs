//! Reports for auditors, against what the log itself says.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::TcpStream;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use keyledger_schema::Timestamp;
use serde_json::{Value, json};

use crate::ask::{World, create_workspace, data, eventually, in_millis, manager, text, types, world};
use crate::support::{Client, Server};

const HOSTILE: &str = "</td><script>alert('1')</script>=cmd \"&";

const ACTIVITY: &str = "
    query($filter: ReportFilter, $from: DateTime!, $to: DateTime, $actions: [KeyAction!], $first: Int, $after: String) {
    keyActivity(filter: $filter, from: $from, to: $to, actions: $actions, first: $first, after: $after) {
        totalCount pageInfo { hasNextPage endCursor } nodes {
            at action eventId eventType logIndex keyId keyName workspaceId environment actor { kind id email role }
            ip userAgent reason comment changed followedFrom followedFromAt followedFromEventId milliseconds: millisecondsToEffect
        } } }";

/// Every page of a list.
fn all(client: &Client, query: &str, list: &str, mut variables: Value, first: usize) -> Vec<Value> {
    let mut nodes = Vec::new();
    variables["first"] = first.into();
    loop {
        let mut answer = data(client, query, &variables)[list].take();
        nodes.append(answer["nodes"].as_array_mut().unwrap());
        if answer["pageInfo"]["hasNextPage"] == false {
            return nodes;
        }
        variables["after"] = answer["pageInfo"]["endCursor"].take();
    }
}

/// The events of keys as they are stored, but for the personal data in them, which is read.
fn stored(client: &Client) -> Vec<Value> {
    let query = "query($first: Int, $after: String) { events(first: $first, after: $after) {
        pageInfo { hasNextPage endCursor } nodes { rawBytes id type at actor { kind id email role } source { ip userAgent } } } }";
    all(client, query, "events", json!({}), 200)
        .into_iter()
        .map(|mut event| {
            let raw: Value =
                serde_json::from_slice(&STANDARD.decode(text(&event["rawBytes"])).unwrap()).unwrap();
            event["raw"] = raw;
            event
        })
        .filter(|event| event["raw"]["stream"].as_str().unwrap().starts_with("key-"))
        .filter(|event| event["type"] != "key.address_first_used")
        .collect()
}

fn micros(value: &Value) -> i64 {
    value.as_str().unwrap().parse::<Timestamp>().unwrap().micros()
}

/// A key of every fate. Answers the moment before it all.
fn lives(root: &Client) -> String {
    let from = in_millis(0);
    let mutate = |name: &str, input: Value| root.mutate(name, &input).unwrap();
    let one = root.create_key(HOSTILE).scope("read:a").with("expiresAt", in_millis(8_000)).run();
    mutate("updateKey", json!({ "id": one.id(), "scopes": [], "metadata": { "a": 1 } }));
    mutate("disableKey", json!({ "id": one.id(), "comment": HOSTILE }));
    mutate("enableKey", json!({ "id": one.id() }));
    mutate("rotateKey", json!({ "id": one.id(), "overlapSeconds": 1 }));
    let leaked = root.create_key("leaked").run();
    let body = json!({ "key": leaked.secret(), "comment": "in a log",
        "revoke": { "reason": "COMPROMISED", "comment": "found" } });
    assert_eq!(root.post("/v1/identify", &body).unwrap().0, 200);
    mutate("deleteKey", json!({ "id": leaked.id() }));
    for name in ["bulk 1", "bulk 2"] {
        root.create_key(name).run();
    }
    let query = "mutation($input: RevokeKeysInput!) { revokeKeys(input: $input) { revoked } }";
    let input = json!({ "filter": { "nameContains": "bulk" }, "reason": "UNUSED", "dryRun": false });
    assert_eq!(data(root, query, &json!({ "input": input }))["revokeKeys"]["revoked"], 2);
    let credits =
        json!({ "input": { "id": root.create_key("counted").run().id(), "remaining": 5, "reason": "sold" } });
    data(
        root,
        "mutation($input: SetCreditsInput!) { setCredits(input: $input) { events { id } } }",
        &credits,
    );
    eventually("the expiry", || types(root, &one.id()).iter().any(|name| name == "key.expired"));
    eventually("the end of the overlap", || {
        types(root, &one.id()).iter().any(|name| name == "key.secret_overlap_ended")
    });
    from
}

#[test]
fn key_activity_is_what_the_log_says() {
    let world = world();
    let root = &world.root;
    let from = lives(root);
    let to = in_millis(0);
    root.create_key("too late").run();
    let rows = all(root, ACTIVITY, "keyActivity", json!({ "from": from, "to": to }), 7);
    let expected: Vec<Value> = stored(root)
        .into_iter()
        .filter(|event| (micros(&json!(from))..micros(&json!(to))).contains(&micros(&event["at"])))
        .collect();
    let ids = |list: &[Value], name: &str| list.iter().map(|one| text(&one[name])).collect::<Vec<_>>();
    assert_eq!(ids(&rows, "eventId"), ids(&expected, "id"));
    assert_eq!(rows.len(), 17);
    let by_id: BTreeMap<String, &Value> = expected.iter().map(|event| (text(&event["id"]), event)).collect();
    let (mut causes, mut actions) = (BTreeSet::new(), BTreeMap::<String, u64>::new());
    for row in &rows {
        let event = by_id[&text(&row["eventId"])];
        let raw = &event["raw"];
        assert_eq!((&row["at"], &row["eventType"]), (&event["at"], &event["type"]));
        assert_eq!(row["actor"], event["actor"]);
        assert_eq!((&row["ip"], &row["userAgent"]), (&event["source"]["ip"], &event["source"]["userAgent"]));
        assert_eq!(format!("key-{}", text(&row["keyId"])), raw["stream"]);
        assert_eq!(row["workspaceId"], raw["workspace"]);
        if row["eventType"] == "key.revoked" {
            assert_eq!(row["reason"], raw["data"]["reason"]);
        }
        let began = match row["followedFrom"].as_str() {
            None => {
                assert!(row["milliseconds"].is_null() && row["followedFromAt"].is_null());
                assert!(row["eventType"] != "key.expired" && raw.get("cause").is_none());
                None
            }
            Some("EXPIRY_DATE") => Some(raw["data"]["expired_at"].clone()),
            Some("OVERLAP_END") => Some(raw["data"]["ended_at"].clone()),
            Some("LEAK_REPORT") => {
                assert_eq!(by_id[&text(&row["followedFromEventId"])]["type"], "key.leak_reported");
                Some(by_id[&text(&row["followedFromEventId"])]["at"].clone())
            }
            Some("BULK_REVOCATION") => {
                assert_eq!(row["followedFromEventId"], raw["cause"]);
                let query = "query($id: ID!) { event(id: $id) { at type } }";
                let cause = data(root, query, &json!({ "id": raw["cause"] }))["event"].clone();
                assert_eq!(cause["type"], "organization.revocation_started");
                Some(cause["at"].clone())
            }
            other => panic!("{other:?}"),
        };
        if let Some(began) = began {
            assert_eq!(row["followedFromAt"], began);
            assert_eq!(row["milliseconds"], (micros(&row["at"]) - micros(&began)) / 1_000);
            causes.insert(text(&row["followedFrom"]));
        }
        *actions.entry(text(&row["action"])).or_default() += 1;
    }
    assert_eq!(causes.len(), 4, "{causes:?}");
    let row_of = |action: &str| rows.iter().find(|row| row["action"] == action).unwrap();
    assert_eq!(row_of("DISABLED")["comment"], HOSTILE);
    assert_eq!(row_of("CHANGED")["changed"], json!(["scopes", "metadata"]));
    assert!(rows.iter().any(|row| row["changed"] == json!(["credits"]) && row["comment"] == "sold"));
    assert_eq!(actions["REVOKED"], 3);
    // Only some actions, and their number.
    let some = json!({ "from": from, "to": to, "actions": ["REVOKED", "ISSUED"] });
    let answer = data(root, ACTIVITY, &some)["keyActivity"].clone();
    assert_eq!(answer["totalCount"], actions["REVOKED"] + actions["ISSUED"]);
    whole_files_say_the_same(&world, &rows, &actions, (&from, &to));
}

/// A GET with the head of its answer.
fn get(server: &Server, secret: &str, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(server.base().strip_prefix("http://").unwrap()).unwrap();
    let request = format!(
        "GET {path} HTTP/1.0\r\nHost: x\r\nAuthorization: Bearer {secret}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_lowercase(), body.to_owned())
}

fn whole_files_say_the_same(
    world: &World,
    rows: &[Value],
    actions: &BTreeMap<String, u64>,
    (from, to): (&str, &str),
) {
    let path = |form: &str| format!("/v1/reports/key-activity?format={form}&from={from}&to={to}");
    let (status, jsonl) = world.root.get(&path("jsonl")).unwrap();
    assert_eq!(status, 200, "{jsonl}");
    let lines: Vec<Value> = jsonl.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), rows.len());
    for (line, row) in lines.iter().zip(rows) {
        for (one, other) in [
            ("eventId", "eventId"),
            ("action", "action"),
            ("comment", "comment"),
            ("keyName", "keyName"),
            ("followedFromAt", "followedFromAt"),
            ("millisecondsToEffect", "milliseconds"),
            ("changed", "changed"),
        ] {
            assert_eq!(line.get(one).unwrap_or(&Value::Null), &row[other], "{one}");
        }
        assert_eq!(line["actorEmail"], row["actor"]["email"]);
        assert_eq!(line["actorRole"], row["actor"]["role"]);
    }
    let (_, csv) = world.root.get(&path("csv")).unwrap();
    assert!(csv.starts_with("at,action,keyId,"), "{csv}");
    assert_eq!(csv.matches("\r\n").count(), rows.len() + 1);
    let secret = &world.server.home().tenant().root_key;
    let (head, _) = get(&world.server, secret, &path("html"));
    let (_, html) = world.root.get(&path("html")).unwrap();
    assert!(head.contains("content-type: text/html; charset=utf-8"), "{head}");
    assert!(head.contains("content-security-policy: default-src 'none'; style-src 'sha256-"), "{head}");
    assert!(head.contains("x-content-type-options: nosniff") && head.contains("cache-control: no-store"));
    assert!(html.starts_with("<!DOCTYPE html>") && html.ends_with("</html>\n"));
    assert!(!html.contains("<script"), "{html}");
    assert!(html.contains("&lt;/td&gt;&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;=cmd &quot;&amp;"));
    assert!(html.contains("Acme") && html.contains(&format!("from {from} until before {to}")));
    let table = html.split("<tbody>").nth(1).unwrap().split("</tbody>").next().unwrap();
    assert_eq!(table.matches("<tr>").count(), rows.len());
    for (action, count) in actions {
        let spoken = action.to_lowercase().replace('_', " ");
        assert!(html.contains(&format!("<tr><td>{spoken}</td><td>{count}</td></tr>")), "{action}");
    }
    let query = "{ events(filter: { types: [\"audit.exported\"] }) { nodes { data } } }";
    let told = data(&world.root, query, &json!({}))["events"]["nodes"].clone();
    let told: Vec<(String, String)> = told
        .as_array()
        .unwrap()
        .iter()
        .map(|event| (text(&event["data"]["what"]), text(&event["data"]["format"])))
        .collect();
    let expected = ["jsonl", "csv", "html", "html"].map(|form| ("key_activity".to_owned(), form.to_owned()));
    assert_eq!(told, expected);
}

const REVIEW: &str = "query($filter: ReportFilter, $unusedDays: Int, $first: Int, $after: String) {
    accessReview(filter: $filter, unusedDays: $unusedDays, first: $first, after: $after) {
        totalCount pageInfo { hasNextPage endCursor } nodes {
            keyId keyName email workspaceId environment status grants { role workspaceId organizationId } roles
            scopes { text own byRoles } identityId identity createdAt createdBy { email } ageDays expiresAt lastUsedAt
            idleDays neverUsed unused } } }";

#[test]
fn an_access_review_is_what_the_keys_are() {
    let world = world();
    let root = &world.root;
    let create_role = "mutation { createRole(input: { name: \"reader\",
        scopes: [{ action: READ, resource: \"a\" }, { action: WRITE, resource: \"b\" }] }) { role { id } } }";
    let role = data(root, create_role, &json!({}))["createRole"]["role"]["id"].clone();
    let create_identity =
        "mutation { createIdentity(input: { externalId: \"customer-7\" }) { identity { id } } }";
    let identity = data(root, create_identity, &json!({}))["createIdentity"]["identity"]["id"].clone();
    let rich = root
        .create_key(HOSTILE)
        .scope("read:a")
        .with("roleIds", json!([role]))
        .with("identityId", identity)
        .with("expiresAt", in_millis(86_400_000))
        .run();
    let idle = root.create_key("idle").run();
    let off = root.create_key("off").run();
    root.disable_key(&off.id()).unwrap();
    let gone = root.create_key("gone").run();
    root.revoke_key(&gone.id(), "UNUSED").unwrap();
    for _ in 0..3 {
        root.verify(&rich.secret()).unwrap();
    }
    let used = || root.key(&rich.id(), "lastUsedAt").unwrap()["lastUsedAt"].clone();
    eventually("the use is counted", || !used().is_null());
    let rows = all(root, REVIEW, "accessReview", json!({ "unusedDays": 1 }), 2);
    let keys = "query($first: Int, $after: String) {
        keys(filter: { statuses: [ACTIVE, INACTIVE] }, orderBy: { field: CREATED_AT, direction: ASC }, first: $first, after: $after) {
            pageInfo { hasNextPage endCursor } nodes { id name email status environment createdAt expiresAt lastUsedAt
            grants { role workspaceId organizationId } effectiveScopes { text own byRoles } } } }";
    let keys = all(root, keys, "keys", json!({}), 100);
    assert_eq!(rows.len(), keys.len());
    for (row, key) in rows.iter().zip(&keys) {
        assert_eq!((&row["keyId"], &row["keyName"]), (&key["id"], &key["name"]));
        for field in ["email", "status", "environment", "createdAt", "expiresAt", "lastUsedAt", "grants"] {
            assert_eq!(row[field], key[field], "{field}");
        }
        assert_eq!(row["scopes"], key["effectiveScopes"]);
        assert_eq!(
            (&row["ageDays"], &row["idleDays"], &row["unused"]),
            (&json!(0), &json!(0), &json!(false))
        );
        assert_eq!(row["neverUsed"], key["lastUsedAt"].is_null());
    }
    let row = |id: &str| rows.iter().find(|row| row["keyId"] == id);
    let found = row(&rich.id()).unwrap();
    assert_eq!((&found["identity"], &found["roles"]), (&json!("customer-7"), &json!(["reader"])));
    assert_eq!(found["scopes"].as_array().unwrap().len(), 2);
    assert_eq!(row(&idle.id()).unwrap()["neverUsed"], true);
    assert_eq!(row(&off.id()).unwrap()["status"], "INACTIVE");
    assert!(row(&gone.id()).is_none(), "a revoked key gives no access");
    assert_eq!(data(root, REVIEW, &json!({}))["accessReview"]["totalCount"], rows.len());
    let (status, csv) = root.get("/v1/reports/access-review?format=csv&unusedDays=30").unwrap();
    assert_eq!((status, csv.matches("\r\n").count()), (200, rows.len() + 1), "{csv}");
    let secret = &world.server.home().tenant().root_key;
    let (_, html) = get(&world.server, secret, "/v1/reports/access-review?format=html");
    assert!(
        html.contains("<span class=\"flag\">never used</span>")
            && html.contains("read:a (own, and by reader)")
    );
    let never = rows.iter().filter(|row| row["neverUsed"] == true).count();
    assert!(html.contains(&format!("<tr><td>never used</td><td>{never}</td></tr>")), "{html}");
    let query = "{ events(filter: { types: [\"audit.exported\"] }) { nodes { data } } }";
    let told = data(root, query, &json!({}))["events"]["nodes"].clone();
    assert_eq!(told[0]["data"]["filter"], "unusedDays=30");
}

#[test]
fn keys_that_break_the_policy_are_those_that_a_change_of_it_tells() {
    let world = world();
    let root = &world.root;
    let organization = &world.server.home().tenant().organization;
    root.create_key("fine")
        .with("expiresAt", in_millis(3_600_000))
        .with("allowedCidrs", json!(["10.0.0.0/8"]))
        .run();
    let two = root.create_key(HOSTILE).run();
    let one = root.create_key("no networks").with("expiresAt", in_millis(3_600_000)).run();
    let gone = root.create_key("gone").run();
    root.revoke_key(&gone.id(), "UNUSED").unwrap();
    let rules = "expiryRequired: true, requireAllowedCidrs: true";
    let change = format!(
        "mutation {{ setOrganizationPolicy(input: {{ id: \"{organization}\", {rules} }}) {{
            violations {{ count keys {{ key {{ id }} violations {{ rule bound value }} }} }} }} }}"
    );
    let told = data(root, &change, &json!({}))["setOrganizationPolicy"]["violations"].clone();
    let query = "query($first: Int, $after: String) { policyViolations(first: $first, after: $after) {
        pageInfo { hasNextPage endCursor } nodes { keyId keyName broken { rule bound value } } } }";
    let rows = all(root, query, "policyViolations", json!({}), 1);
    assert_eq!(told["count"], rows.len());
    for (row, key) in rows.iter().zip(told["keys"].as_array().unwrap()) {
        assert_eq!((&row["keyId"], &row["broken"]), (&key["key"]["id"], &key["violations"]));
    }
    let row =
        |id: String| rows.iter().find(|row| row["keyId"] == id).unwrap()["broken"].as_array().unwrap().len();
    assert_eq!((row(two.id()), row(one.id())), (2, 1));
    let (_, jsonl) = root.get("/v1/reports/policy-violations?format=jsonl").unwrap();
    assert_eq!(jsonl.lines().count(), rows.len());
    let secret = &world.server.home().tenant().root_key;
    let (_, html) = get(&world.server, secret, "/v1/reports/policy-violations?format=html");
    assert!(html.contains(&format!("<tr><td>rows</td><td>{}</td></tr>", rows.len())), "{html}");
    assert!(!html.contains("<script"));
}

#[test]
fn reports_are_for_those_who_may_read_trails_and_show_what_they_may_see() {
    let world = world();
    let root = &world.root;
    let elsewhere = create_workspace(root, "elsewhere");
    let inside = root.create_key("inside").with("workspaceId", world.workspace.as_str()).run().id();
    root.create_key("outside").with("workspaceId", elsewhere.as_str()).run();
    world.other.create_key("foreign").run();
    let auditor = world.server.client(&manager(root, "AUDITOR", &world.workspace).secret());
    let viewer = world.server.client(&manager(root, "VIEWER", &world.workspace).secret());
    let organization = &world.server.home().tenant().organization;
    let from = "2026-01-01T00:00:00Z";
    let paths = ["key-activity", "access-review", "policy-violations"].map(|name| {
        let period = if name == "key-activity" { format!("&from={from}") } else { String::new() };
        format!("/v1/reports/{name}?format=jsonl{period}")
    });
    for path in &paths {
        let (status, body) = auditor.get(path).unwrap();
        assert_eq!(status, 200, "{body}");
        for line in body.lines() {
            let row: Value = serde_json::from_str(line).unwrap();
            assert_eq!(row["workspaceId"], world.workspace.as_str(), "{path}");
        }
        assert!(path.contains("violations") || body.contains(&inside), "{path}");
        for (client, query, status) in [
            (&viewer, String::new(), 403),
            (&auditor, format!("&workspaceId={elsewhere}"), 404),
            (&world.other, format!("&organizationId={organization}"), 404),
            (&world.other, format!("&workspaceId={}", world.workspace), 404),
            (&world.server.anonymous(), String::new(), 401),
            (&auditor, "&format=csv".to_owned(), 400),
            (&auditor, "&secret=1".to_owned(), 400),
            (&auditor, "&workspaceId=ws_1".to_owned(), 400),
            (&auditor, "&unusedDays=0".to_owned(), 400),
            (&auditor, "&unusedDays=9999".to_owned(), 400),
            (&auditor, "&to=2025-01-01T00:00:00Z".to_owned(), 400),
            (&auditor, "&actions=SOMETHING".to_owned(), 400),
        ] {
            let (got, body) = client.get(&format!("{path}{query}")).unwrap();
            assert_eq!(got, status, "{path}{query}: {body}");
        }
        let (_, body) = world.other.get(path).unwrap();
        assert!(!body.contains(&inside) && !body.contains(organization.as_str()), "{path}");
    }
    assert_eq!(auditor.get("/v1/reports/key-activity?format=csv").unwrap().0, 400, "it needs a period");
    assert_eq!(auditor.get("/v1/reports/key-activity?from=2026-01-01T00:00:00Z").unwrap().0, 400);
    // What was refused is in the trail, and nothing that was refused was told as handed out.
    let count = |filter: Value| {
        let query = "query($filter: EventFilter) { events(filter: $filter) { totalCount } }";
        data(root, query, &json!({ "filter": filter }))["events"]["totalCount"].clone()
    };
    assert_eq!(count(json!({ "types": ["audit.exported"] })), 3);
    assert!(count(json!({ "types": ["command.refused"] })).as_u64().unwrap() >= 9);
}
