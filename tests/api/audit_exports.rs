//! Exports of events: what is handed out is what the trail shows to the same caller, in every format, over every way,
//! gone on with wherever it was cut off; and only to those who may read it.

use std::io::Read as _;
use std::process::{Command, Output};
use std::time::Duration;

use parquet::file::reader::{FileReader, SerializedFileReader};
use serde_json::{Value, json};

use crate::ask::{
    Answer, World, ask, assert_presentable, attempt, create_workspace, data, eventually, manager, text, world,
};
use crate::support::{Client, Mutated, Server};

pub struct Exported {
    pub status: u16,
    headers: ureq::http::HeaderMap,
    pub bytes: Vec<u8>,
}

impl Exported {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn refusal(&self) -> Answer {
        let body = serde_json::from_slice(&self.bytes).unwrap_or(Value::Null);
        let answer = Answer { status: self.status, body };
        assert_presentable(&answer);
        answer
    }

    pub fn lines(&self) -> Vec<Value> {
        assert_eq!(self.status, 200, "{}", String::from_utf8_lossy(&self.bytes));
        lines(&self.bytes)
    }
}

fn lines(bytes: &[u8]) -> Vec<Value> {
    std::str::from_utf8(bytes).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

pub fn get(server: &Server, secret: Option<&str>, path: &str) -> Exported {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let mut request = agent.get(format!("{}{path}", server.base()));
    if let Some(secret) = secret {
        request = request.header("Authorization", format!("Bearer {secret}"));
    }
    let mut answer = request.call().unwrap();
    let headers = answer.headers().clone();
    let bytes = answer.body_mut().with_config().limit(1 << 30).read_to_vec().unwrap();
    Exported { status: answer.status().as_u16(), headers, bytes }
}

pub fn export(server: &Server, secret: &str, query: &str) -> Exported {
    get(server, Some(secret), &format!("/v1/audit/export?{query}"))
}

pub fn root_key(world: &World) -> &str {
    &world.server.home().tenant().root_key
}

/// The ids of events in their order.
fn ids(lines: &[Value]) -> Vec<String> {
    lines.iter().map(|line| text(&line["event"]["id"])).collect()
}

/// What `events` shows, in log order, without what was recorded of exports meanwhile.
fn shown(client: &Client, filter: &Value) -> Vec<Value> {
    let query = "query($filter: EventFilter) {
        events(filter: $filter, direction: ASC, first: 200) {
            pageInfo { hasNextPage }
            nodes { id type logIndex position hash rawBytes workspaceId outcome } } }";
    let events = data(client, query, &json!({ "filter": filter }))["events"].take();
    assert_eq!(events["pageInfo"]["hasNextPage"], json!(false));
    let own = |event: &&Value| !is_own(&event["type"]);
    events["nodes"].as_array().unwrap().iter().filter(own).cloned().collect()
}

/// Whether an event was made by looking at the trail.
fn is_own(event_type: &Value) -> bool {
    event_type == "audit.read" || event_type == "audit.exported"
}

/// The lines of an export, without what was recorded of looking at the trail.
fn others(mut lines: Vec<Value>) -> Vec<Value> {
    lines.retain(|line| !is_own(&line["event"]["type"]));
    lines
}

/// Some of everything, in two workspaces and two tenants.
pub struct Scene {
    pub world: World,
    pub key: Mutated,
    pub there: Mutated,
    pub elsewhere: String,
    pub identity: String,
    pub owner: Mutated,
    pub organization: String,
}

pub fn scene() -> Scene {
    let world = world();
    let elsewhere = create_workspace(&world.root, "elsewhere");
    let made = data(
        &world.root,
        "mutation { createIdentity(input: { externalId: \"ada\" }) { identity { id } } }",
        &json!({}),
    );
    let identity = text(&made["createIdentity"]["identity"]["id"]);
    let here = world.workspace.as_str();
    let key = world.root.create_key("=1+1, \"a\"").with("identityId", identity.as_str());
    let key = key.with("workspaceId", here).run();
    let there = world.root.create_key("there").with("workspaceId", elsewhere.as_str()).run();
    let owner = manager(&world.root, "WORKSPACE_OWNER", &elsewhere);
    let owning = world.server.client(&owner.secret());
    owning.disable_key(&there.id()).unwrap();
    world.root.rotate_key(&key.id(), 0).unwrap();
    world.root.revoke_key(&key.id(), "COMPROMISED").unwrap();
    assert_eq!(attempt(&world.root, "enableKey", &json!({ "id": key.id() })).code(), "ILLEGAL_TRANSITION");
    assert_eq!(attempt(&owning, "disableKey", &json!({ "id": key.id() })).code(), "NOT_FOUND");
    world.other.create_key("other").run();
    world.root.verify(&there.secret()).unwrap();
    let organization = world.server.home().tenant().organization.clone();
    Scene { world, key, there, elsewhere, identity, owner, organization }
}

/// Conditions as the API and as the query of a URL have them.
pub fn filters(scene: &Scene) -> Vec<(Value, String)> {
    let at = text(
        &data(
            &scene.world.root,
            "query($id: ID!) { key(id: $id) { createdAt } }",
            &json!({ "id": scene.there.id() }),
        )["key"]["createdAt"],
    );
    vec![
        (json!({}), String::new()),
        (json!({ "organizationId": scene.organization }), format!("&organizationId={}", scene.organization)),
        (json!({ "keyId": scene.key.id() }), format!("&keyId={}", scene.key.id())),
        (json!({ "identityId": scene.identity }), format!("&identityId={}", scene.identity)),
        (json!({ "types": ["key.revoked", "key.issued"] }), "&types=key.issued,key.revoked".to_owned()),
        (json!({ "actorId": scene.owner.id() }), format!("&actorId={}", scene.owner.id())),
        (json!({ "from": at }), format!("&from={at}")),
        (json!({ "to": at }), format!("&to={at}")),
        (
            json!({ "keyId": scene.there.id(), "types": ["key.issued"], "from": at, "to": at }),
            format!("&keyId={}&types=key.issued&from={at}&to={at}", scene.there.id()),
        ),
    ]
}

#[test]
fn an_export_is_what_the_trail_shows_to_the_same_caller() {
    let scene = scene();
    let world = &scene.world;
    let auditor = manager(&world.root, "AUDITOR", &scene.elsewhere).secret();
    for (secret, whole) in [(root_key(world), true), (&auditor, false)] {
        let client = world.server.client(secret);
        for (filter, query) in filters(&scene) {
            let expected = shown(&client, &filter);
            if !whole && query.contains(&scene.key.id()) {
                // A list is empty; what would be a file is refused, so that nobody takes it for the whole of something.
                let answer = export(&world.server, secret, &format!("format=jsonl{query}"));
                assert_eq!((answer.status, answer.refusal().field(), expected.len()), (404, "keyId", 0));
                continue;
            }
            let lines = export(&world.server, secret, &format!("format=jsonl&raw=true{query}")).lines();
            let lines = others(lines);
            assert_eq!(
                ids(&lines),
                expected.iter().map(|event| text(&event["id"])).collect::<Vec<_>>(),
                "{query}"
            );
            for (line, event) in lines.iter().zip(&expected) {
                for name in ["logIndex", "position", "hash"] {
                    assert_eq!(line[name], event[name], "{query}: {name}");
                }
                assert_eq!(line["raw"], event["rawBytes"]);
                assert_eq!(line["event"]["org"], json!(scene.organization));
            }
            // Whoever sees one workspace sees nothing of the other's key, and of no identity.
            let invisible = query.contains("&identityId") || query.contains(&scene.key.id());
            let empty = (invisible && !whole) || (query.contains("&to=") && query.contains("&from="));
            assert_eq!(expected.is_empty(), empty, "{query}");
        }
    }
}

#[test]
fn what_the_trail_cannot_be_asked_for_is_filtered_likewise() {
    let scene = scene();
    let world = &scene.world;
    let all = shown(&world.root, &json!({}));
    let with = |keep: &dyn Fn(&Value) -> bool| -> Vec<String> {
        all.iter().filter(|event| keep(event)).map(|event| text(&event["id"])).collect()
    };
    let of = |secret: &str, query: &str| {
        ids(&others(export(&world.server, secret, &format!("format=jsonl{query}")).lines()))
    };
    let root = root_key(world);
    for (outcome, name) in [("REFUSED", "refused"), ("SUCCESS", "success")] {
        // What exports add themselves is left out by the end of the log as it was.
        let mut found = of(root, &format!("&outcome={name}"));
        let expected = with(&|event| event["outcome"] == outcome);
        found.truncate(expected.len());
        assert_eq!(found, expected, "{name}");
    }
    let here = with(&|event| event["workspaceId"] == json!(scene.elsewhere));
    assert!(here.len() >= 3);
    assert_eq!(of(root, &format!("&workspaceId={}", scene.elsewhere)), here);
    assert_eq!(
        of(
            &manager(&world.root, "AUDITOR", &scene.elsewhere).secret(),
            &format!("&workspaceId={}&types=key.issued", scene.elsewhere)
        )
        .len(),
        3
    );
    let keys = with(&|event| text(&event["type"]).starts_with("key."));
    let mut found = of(root, "&types=key.*");
    found.truncate(keys.len());
    assert_eq!(found, keys);
}

#[test]
fn no_filter_leads_to_another_tenant_or_to_a_workspace_that_is_not_ones_own() {
    let scene = scene();
    let world = &scene.world;
    let other = world.other_tenant.root_key.as_str();
    let organization = json!(world.other_tenant.organization);
    let here = manager(&world.root, "AUDITOR", &world.workspace).secret();
    for (_, query) in filters(&scene) {
        for format in ["jsonl", "csv", "parquet", "ocsf", "cef", "cloudevents"] {
            let answer = export(&world.server, other, &format!("format={format}{query}"));
            let named =
                ["organizationId", "keyId", "identityId"].into_iter().find(|name| query.contains(name));
            if let Some(name) = named {
                let refusal = answer.refusal();
                assert_eq!((answer.status, refusal.code(), refusal.field()), (404, "NOT_FOUND", name));
                continue;
            }
            assert_eq!(answer.status, 200);
            // What was asked for is in the trail of whoever asked. Parquet is compressed.
            let text = String::from_utf8_lossy(&answer.bytes);
            let of_others = |line: &&str| {
                format != "parquet" && !line.contains("audit.exported") && !line.contains("command.refused")
            };
            for line in text.lines().filter(of_others) {
                for id in [&scene.organization, &scene.key.id(), &scene.there.id()] {
                    assert!(!line.contains(id.as_str()), "{format}{query}");
                }
            }
            if format == "jsonl" {
                assert!(answer.lines().iter().all(|line| line["event"]["org"] == organization));
            }
        }
        let answer = export(&world.server, &here, &format!("format=jsonl{query}"));
        if query.contains(&scene.there.id()) {
            assert_eq!((answer.status, answer.refusal().field()), (404, "keyId"));
            continue;
        }
        for line in answer.lines() {
            assert_eq!(line["event"]["workspace"], json!(world.workspace), "{query}");
        }
    }
    for (secret, workspace, status) in [
        (other, &scene.elsewhere, 404),
        (here.as_str(), &scene.elsewhere, 404),
        (other, &world.other_tenant.workspace, 200),
    ] {
        let answer = export(&world.server, secret, &format!("format=csv&workspaceId={workspace}"));
        assert_eq!(answer.status, status);
    }
}

#[test]
fn what_is_not_there_and_what_is_not_ones_own_are_refused_alike_in_exports_links_and_feeds() {
    let scene = scene();
    let world = &scene.world;
    let (root, other) = (&world.root, &world.other);
    let foreign = other.create_key("theirs").run().id();
    let made = "mutation { createIdentity(input: { externalId: \"theirs\" }) { identity { id } } }";
    let identity = text(&data(other, made, &json!({}))["createIdentity"]["identity"]["id"]);
    let (nobody, no_one) = ("key_01h455vb4pex5vsknk084sn02q", "idn_01h455vb4pex5vsknk084sn02q");
    let link = "query($filter: EventFilter) { exportUrl(input: { format: JSONL, filter: $filter }) { url } }";
    for (name, theirs, none) in
        [("keyId", foreign.as_str(), nobody), ("identityId", identity.as_str(), no_one)]
    {
        for path in ["/v1/audit/export?format=jsonl&", "/v1/events?wait=0&fromStart=true&"] {
            let [theirs, none] = [theirs, none].map(|id| {
                let (status, body) = root.get(&format!("{path}{name}={id}")).unwrap();
                assert!(!body.contains(id), "{body}");
                (status, body)
            });
            assert_eq!((theirs.0, &theirs), (404, &none), "{path}{name}");
            assert!(theirs.1.contains(name) && theirs.1.contains("NOT_FOUND"), "{}", theirs.1);
        }
        let [theirs, none] = [theirs, none].map(|id| ask(root, link, &json!({ "filter": { name: id } })));
        assert_eq!((theirs.code(), theirs.field()), ("NOT_FOUND", &*format!("input.filter.{name}")));
        assert_eq!(theirs, none);
    }
    // A key that is deleted still has its trail.
    root.delete_key(&scene.key.id()).unwrap();
    assert!(
        export(&world.server, root_key(world), &format!("format=jsonl&keyId={}", scene.key.id()))
            .lines()
            .len()
            > 3
    );
}

#[test]
fn exports_are_for_those_who_may_read_trails() {
    let world = world();
    for (role, status) in [
        ("WORKSPACE_OWNER", 200),
        ("WORKSPACE_MANAGER", 403),
        ("AUDITOR", 200),
        ("VIEWER", 403),
        ("VERIFIER", 403),
    ] {
        let secret = manager(&world.root, role, &world.workspace).secret();
        assert_eq!(export(&world.server, &secret, "format=csv").status, status, "{role}");
    }
    let plain = world.root.create_key("plain").run().secret();
    for stranger in [plain.as_str(), "nonsense"] {
        assert_eq!(export(&world.server, stranger, "format=csv").status, 401);
    }
    assert_eq!(get(&world.server, None, "/v1/audit/export?format=csv").status, 401);
    assert_eq!(world.root.post("/v1/audit/export", &json!({})).unwrap().0, 405);
}

/// The log indexes of an export in any format.
fn places(format: &str, bytes: &[u8]) -> Vec<u64> {
    let number = |text: &str| text.parse::<u64>().unwrap_or_else(|_| panic!("{text}"));
    if format == "parquet" {
        let reader = SerializedFileReader::new(actix_web::web::Bytes::from(bytes.to_vec())).unwrap();
        let place = |row: parquet::record::Row| number(&row.get_column_iter().next().unwrap().1.to_string());
        return reader.get_row_iter(None).unwrap().map(|row| place(row.unwrap())).collect();
    }
    let text = std::str::from_utf8(bytes).unwrap();
    match format {
        // No text of these events has a line end.
        "csv" => text.lines().skip(1).map(|line| number(line.split(',').next().unwrap())).collect(),
        "cef" => {
            let place =
                |line: &str| line.split(" cn1=").nth(1).and_then(|rest| rest.split(' ').next()).map(number);
            text.lines().map(|line| place(line).unwrap()).collect()
        }
        _ => lines(bytes)
            .iter()
            .map(|line| match format {
                "jsonl" => line["logIndex"].as_u64().unwrap(),
                "ocsf" => line["metadata"]["sequence"].as_u64().unwrap(),
                _ => number(line["logindex"].as_str().unwrap()),
            })
            .collect(),
    }
}

#[test]
fn every_format_has_the_same_events_and_its_own_name() {
    let scene = scene();
    let (server, secret) = (&scene.world.server, root_key(&scene.world));
    let query = format!("organizationId={}&types=key.*,organization.*,command.refused", scene.organization);
    let expected = places("jsonl", &export(server, secret, &format!("format=jsonl&{query}")).bytes);
    assert!(expected.len() > 10);
    for (format, kind, suffix) in [
        ("jsonl", "application/jsonl", "jsonl"),
        ("csv", "text/csv; charset=utf-8", "csv"),
        ("parquet", "application/vnd.apache.parquet", "parquet"),
        ("ocsf", "application/jsonl", "ocsf.jsonl"),
        ("cef", "text/plain; charset=utf-8", "cef"),
        ("cloudevents", "application/jsonl", "cloudevents.jsonl"),
    ] {
        let answer = export(server, secret, &format!("format={format}&{query}"));
        assert_eq!(places(format, &answer.bytes), expected, "{format}");
        assert_eq!((answer.status, answer.header("content-type")), (200, kind));
        let name = format!("attachment; filename=\"keyledger-events.{suffix}\"");
        assert_eq!(answer.header("content-disposition"), name);
        assert_eq!(answer.header("cache-control"), "no-store");
        assert_eq!(answer.header("referrer-policy"), "no-referrer");
        // It goes on behind any of its events.
        for (at, after) in expected.iter().enumerate().step_by(7) {
            let rest = export(server, secret, &format!("format={format}&{query}&after={after}"));
            assert_eq!(places(format, &rest.bytes), expected[at + 1..], "{format} after {after}");
        }
        let none = export(server, secret, &format!("format={format}&{query}&after={}", u64::MAX));
        assert_eq!((none.status, places(format, &none.bytes).len()), (200, 0), "{format}");
    }
    let names = export(server, secret, &format!("format=csv&{query}&names=false"));
    assert!(names.bytes.starts_with(expected[0].to_string().as_bytes()));
}

/// So many keys, each with an event of its own.
fn import(client: &Client, from: usize, count: usize) {
    let key = |n: usize| {
        let name = format!("imported {n}");
        json!({ "name": name, "environment": "PRODUCTION", "secret": format!("a-secret-that-was-made-elsewhere-{n}"),
            "metadata": { "text": "x".repeat(3_500) } })
    };
    for first in (from..from + count).step_by(200) {
        let keys: Vec<Value> = (first..(from + count).min(first + 200)).map(key).collect();
        assert_eq!(attempt(client, "importKeys", &json!({ "keys": keys })).code(), "");
    }
}

/// The body of what came of an answer in chunks (RFC 9112 §7.1), and whether the last one is there.
fn unchunked(bytes: &[u8]) -> (Vec<u8>, bool) {
    let find = |bytes: &[u8], what: &[u8]| bytes.windows(what.len()).position(|window| window == what);
    let mut rest = &bytes[find(bytes, b"\r\n\r\n").unwrap() + 4..];
    let mut body = Vec::new();
    while let Some(end) = find(rest, b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..end]).unwrap(), 16).unwrap();
        if size == 0 {
            return (body, true);
        }
        rest = &rest[end + 2..];
        body.extend_from_slice(&rest[..size.min(rest.len())]);
        if rest.len() < size + 2 {
            break;
        }
        rest = &rest[size + 2..];
    }
    (body, false)
}

#[test]
fn what_was_cut_off_goes_on_without_gap_or_duplicate() {
    let server = Server::fresh();
    let root = server.root();
    let secret = server.home().tenant().root_key.clone();
    import(&root, 0, 1_200);
    let mut stream = server.begun(&secret, "/v1/audit/export?format=jsonl&raw=true");
    let mut part = vec![0; 5_000_000];
    stream.read_exact(&mut part).unwrap();
    drop(stream);
    let (body, whole) = unchunked(&part);
    assert!(!whole);
    let complete = body.iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
    let mut together = lines(&body[..complete]);
    assert!(together.len() > 100 && together.len() < 1_000, "{}", together.len());
    // More happens meanwhile, and it is in the rest, too.
    import(&root, 1_200, 100);
    let after = together.last().unwrap()["logIndex"].clone();
    together.extend(export(&server, &secret, &format!("format=jsonl&raw=true&after={after}")).lines());
    let places: Vec<u64> = together.iter().map(|line| line["logIndex"].as_u64().unwrap()).collect();
    assert!(places.windows(2).all(|pair| pair[0] < pair[1]), "in order, each once");
    let again = export(&server, &secret, "format=jsonl&raw=true").lines();
    let last = *places.last().unwrap();
    let again: Vec<&Value> = again.iter().filter(|line| line["logIndex"].as_u64().unwrap() <= last).collect();
    assert_eq!(together.iter().collect::<Vec<_>>(), again);
    let issued = together.iter().filter(|line| line["event"]["type"] == "key.issued").count();
    assert_eq!(issued, 1_301);
    // A sparse export reads what lies far apart.
    let few = export(&server, &secret, "format=jsonl&types=workspace.created,audit.exported").lines();
    assert_eq!(few.len(), 1 + 3);
}

#[test]
fn slow_readers_hold_up_nobody_and_end_with_their_key() {
    let server = Server::fresh();
    let root = server.root();
    import(&root, 0, 2_000);
    let workspace = &server.home().tenant().workspace;
    let [first, auditor] = ["AUDITOR"; 2].map(|role| manager(&root, role, workspace));
    let path = "/v1/audit/export?format=jsonl&raw=true";
    let four = |key: &Mutated| (0..4).map(|_| server.begun(&key.secret(), path)).collect::<Vec<_>>();
    let mut readers = four(&first);
    let fifth = export(&server, &first.secret(), "format=csv");
    assert_eq!((fifth.status, fifth.refusal().code()), (503, "UNAVAILABLE"));
    for report in ["key-activity?format=csv&from=2026-01-01T00:00:00Z", "access-review?format=html"] {
        let sixth = get(&server, Some(&first.secret()), &format!("/v1/reports/{report}"));
        assert_eq!((sixth.status, sixth.refusal().code()), (503, "UNAVAILABLE"), "{report}");
    }
    readers.extend(four(&auditor));
    let ninth = export(&server, &server.home().tenant().root_key, "format=csv");
    assert_eq!((ninth.status, ninth.refusal().code()), (503, "UNAVAILABLE"));
    // Everything else goes on.
    root.create_key("b").run();
    // Whoever reads on is handed all of it.
    let mut whole = Vec::new();
    readers.remove(0).read_to_end(&mut whole).unwrap();
    assert!(whole.ends_with(b"0\r\n\r\n"), "the last chunk is there");
    // A revoked key is handed what was on its way, and the rest of it never.
    root.revoke_key(&auditor.id(), "COMPROMISED").unwrap();
    let mut part = Vec::new();
    // The connection may be reset instead of closed.
    let _ = readers.pop().unwrap().read_to_end(&mut part);
    assert!(!part.ends_with(b"0\r\n\r\n") && part.len() < whole.len());
    drop(readers);
    let secret = &server.home().tenant().root_key;
    eventually("there is room", || export(&server, secret, "format=csv&types=key.deleted").status == 200);
    assert!(!server.log().contains("panicked"));
}

#[test]
fn parameters_that_are_wrong_are_refused_by_their_names() {
    let world = world();
    let secret = root_key(&world);
    let key = "key_01h455vb4pex5vsknk084sn02q";
    let identity = "idn_01h455vb4pex5vsknk084sn02q";
    for (query, field) in [
        ("", "format"),
        ("format=xml", "format"),
        ("format=csv&types=", "types"),
        ("format=csv&types=key.issued,nonsense", "types"),
        ("format=csv&types=*", "types"),
        ("format=csv&actorId=somebody", "actorId"),
        ("format=csv&keyId=1", "keyId"),
        ("format=csv&identityId=1", "identityId"),
        ("format=csv&organizationId=1", "organizationId"),
        ("format=csv&workspaceId=1", "workspaceId"),
        ("format=csv&outcome=maybe", "outcome"),
        ("format=csv&from=yesterday", "from"),
        ("format=csv&to=tomorrow", "to"),
        ("format=csv&after=-1", "after"),
        ("format=csv&raw=perhaps", "raw"),
        ("format=csv&raw=true&raw=true", "raw"),
        ("format=csv&follow=true", "query"),
        ("format=csv&key=key_01h455vb4pex5vsknk084sn02q", "query"),
        (&*format!("format=csv&keyId={key}&identityId={identity}"), "identityId"),
    ] {
        let answer = export(&world.server, secret, query).refusal();
        assert_eq!((answer.status, answer.code(), answer.field()), (400, "INVALID_INPUT", field), "{query}");
    }
}

/// The exports in an organization's trail: what, format, filter, who, from where.
pub fn exports_told(client: &Client) -> Vec<Value> {
    let query = "{ events(filter: { types: [\"audit.exported\"] }, direction: ASC, first: 100) { nodes {
        outcome actor { id } source { ip userAgent } workspaceId data } } }";
    data(client, query, &json!({}))["events"]["nodes"].as_array().unwrap().clone()
}

#[test]
fn an_export_is_in_the_trail_before_it_is_handed_out_and_not_in_itself() {
    let scene = scene();
    let world = &scene.world;
    let (server, secret) = (&world.server, root_key(world));
    let query = format!(
        "format=cloudevents&raw=true&workspaceId={}&types=key.revoked,key.issued&after=3",
        scene.elsewhere
    );
    let exported = export(server, secret, &query);
    assert!(!String::from_utf8(exported.bytes).unwrap().contains("audit.exported"));
    let told = exports_told(&world.root);
    assert_eq!(told.len(), 1);
    let expected = json!({ "what": "events", "format": "cloudevents",
        "filter": format!("workspaceId={}&types=key.issued,key.revoked&after=3&raw=true", scene.elsewhere) });
    assert_eq!(told[0]["data"], expected);
    assert_eq!(told[0]["workspaceId"], json!(scene.elsewhere));
    let viewer = data(&world.root, "{ viewer { keyId } }", &json!({}));
    assert_eq!(told[0]["actor"]["id"], viewer["viewer"]["keyId"]);
    // Who is refused is there, too.
    let reader = manager(&world.root, "VIEWER", &world.workspace).secret();
    assert_eq!(export(server, &reader, "format=csv").refusal().code(), "FORBIDDEN");
    let refused = export(server, secret, "format=ocsf&types=command.refused").lines();
    let last = refused.last().unwrap();
    assert_eq!(
        (&last["api"]["operation"], &last["status_code"]),
        (&json!("exportEvents"), &json!("FORBIDDEN"))
    );
    assert_eq!(exports_told(&world.other), Vec::<Value>::new());
    assert_eq!(exports_told(&world.root).len(), 2);
}

/// Runs the program with a management key.
fn keyledger(server: &Server, secret: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keyledger"));
    command.env_clear().env("KEYLEDGER_URL", server.base()).env("KEYLEDGER_KEY", secret);
    command.args(["audit", "export"]).args(arguments).output().unwrap()
}

fn goes_on_only_as_it_was_begun(server: &Server, secret: &str, key: &str, directory: &std::path::Path) {
    let (file, part) = (directory.join("again.jsonl"), directory.join("again.jsonl.part"));
    let asked = directory.join("again.jsonl.part.asked");
    let begun = ["--format", "jsonl", "--type", "key.*", "--from", "1h", "-o", file.to_str().unwrap()];
    // A moment is kept as it was, so that what a part was begun with a while ago has no gap.
    let begun_at = json!([["format", "jsonl"], ["types", "key.*"], ["from", "2026-01-01T00:00:00Z"]]);
    let said = |from: &str| json!([["format", "jsonl"], ["types", "key.*"], ["from", from]]);
    let anytime = keyledger::cli::begun::Asked::ANY_TIME.minus(Duration::from_hours(1)).to_string();
    let whole = export(server, secret, "format=jsonl&types=key.*").bytes;
    let first = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let cut_off = || {
        std::fs::write(&part, &whole[..first]).unwrap();
        let kept = json!({ "said": said(&anytime), "sent": begun_at }).to_string();
        std::fs::write(&asked, kept).unwrap();
    };
    for (other, named) in [
        (&["--type", "key.revoked"][..], "types"),
        (&["--key", key], "keyId"),
        (&["--outcome", "success"], "outcome"),
        (&["--raw"], "raw"),
    ] {
        cut_off();
        let refused = keyledger(server, secret, &[&begun[..], &["--resume"], other].concat());
        let told = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(2), "{named}: {told}");
        assert!(told.contains(&format!(" {named}")) && told.contains("delete it"), "{told}");
        assert_eq!(std::fs::read(&part).unwrap(), whole[..first], "nothing of it is lost");
    }
    for (name, value) in [("--format", "cloudevents"), ("--from", "2h")] {
        cut_off();
        let other: Vec<&str> = begun
            .iter()
            .enumerate()
            .map(|(at, text)| if at > 0 && begun[at - 1] == name { value } else { text })
            .collect();
        let refused = keyledger(server, secret, &[&other[..], &["--resume"]].concat());
        assert_eq!(refused.status.code(), Some(2), "{name}");
    }
    cut_off();
    std::fs::remove_file(&asked).unwrap();
    let unknown = keyledger(server, secret, &[&begun[..], &["--resume"]].concat());
    assert!(String::from_utf8_lossy(&unknown.stderr).contains(".asked"), "{unknown:?}");
    cut_off();
    let done = keyledger(server, secret, &[&begun[..], &["--resume"]].concat());
    assert_eq!(done.status.code(), Some(0), "{}", String::from_utf8_lossy(&done.stderr));
    assert_eq!(std::fs::read(&file).unwrap(), whole);
    assert!(!part.exists() && !asked.exists());
    // What is refused leaves nothing behind.
    let nowhere = directory.join("none.csv");
    let refused =
        ["--format", "csv", "--key", "key_01h455vb4pex5vsknk084sn02q", "-o", nowhere.to_str().unwrap()];
    assert_eq!(keyledger(server, secret, &refused).status.code(), Some(5));
    assert!(!nowhere.exists() && !directory.join("none.csv.part").exists());
    assert!(!directory.join("none.csv.part.asked").exists());
}

#[test]
fn the_command_line_writes_the_same_and_goes_on_with_what_was_cut_off() {
    let scene = scene();
    let (server, secret) = (&scene.world.server, root_key(&scene.world));
    let directory = tempfile::tempdir().unwrap();
    let conditions = ["--type", "key.*", "--type", "organization.created", "--raw"];
    for format in ["jsonl", "csv", "ocsf", "cef", "cloudevents"] {
        let query = format!("format={format}&raw=true&types=key.*,organization.created");
        let whole = export(server, secret, &query).bytes;
        let file = directory.path().join(format!("trail.{format}"));
        let part = directory.path().join(format!("trail.{format}.part"));
        let to_file = ["--format", format, "-o", file.to_str().unwrap()];
        let run = |more: &[&str]| keyledger(server, secret, &[&conditions[..], &to_file[..], more].concat());
        let written = run(&[]);
        assert_eq!(written.status.code(), Some(0), "{}", String::from_utf8_lossy(&written.stderr));
        assert_eq!(std::fs::read(&file).unwrap(), whole, "{format}");
        let asked = directory.path().join(format!("trail.{format}.part.asked"));
        assert!(!part.exists() && !asked.exists());
        assert_eq!(run(&[]).status.code(), Some(2), "what is whole is not overwritten");
        assert_eq!(run(&["--force"]).status.code(), Some(0));
        for cut in [0, 40, whole.len() / 3, whole.len() - 1, whole.len()] {
            std::fs::remove_file(&file).unwrap();
            std::fs::write(&part, &whole[..cut]).unwrap();
            let pairs = json!([["format", format], ["types", "key.*,organization.created"], ["raw", "true"]]);
            std::fs::write(&asked, json!({ "said": pairs, "sent": pairs }).to_string()).unwrap();
            assert_eq!(run(&[]).status.code(), Some(2), "an earlier part is not overwritten");
            let again = run(&["--resume", "--json"]);
            let told: Value = serde_json::from_slice(&again.stdout).unwrap();
            assert_eq!(told["bytes"], json!(whole.len()), "{format} cut after {cut} bytes");
            assert_eq!(std::fs::read(&file).unwrap(), whole, "{format} cut after {cut} bytes");
        }
        let piped = keyledger(server, secret, &[&conditions[..], &["--format", format]].concat());
        assert_eq!(piped.stdout, whole, "{format}");
    }
    let key = scene.key.id();
    goes_on_only_as_it_was_begun(server, secret, &key, directory.path());
    let narrow = keyledger(
        server,
        secret,
        &["--format", "jsonl", "--key", &key, "--outcome", "success", "--from", "1h", "--after", "1"],
    );
    let found = lines(&narrow.stdout);
    assert_eq!(found.len(), 3);
    assert!(found.iter().all(|line| line["event"]["stream"] == json!(format!("key-{key}"))));
    let file = directory.path().join("trail.parquet");
    let parquet = ["--format", "parquet", "-o", file.to_str().unwrap()];
    assert_eq!(keyledger(server, secret, &parquet).status.code(), Some(0));
    assert!(std::fs::read(&file).unwrap().ends_with(b"PAR1"));
    for wrong in
        [&[&parquet[..], &["--resume"]].concat()[..], &["--format", "xml"], &["--format", "csv", "--resume"]]
    {
        assert_eq!(keyledger(server, secret, wrong).status.code(), Some(2), "{wrong:?}");
    }
    let viewer = manager(&scene.world.root, "VIEWER", &scene.world.workspace).secret();
    assert_eq!(keyledger(server, &viewer, &["--format", "csv"]).status.code(), Some(4));
}
