//! Usage and the verification log: what is told is what was asked, over GraphQL, in every export and on the
//! command line; and only to those who may know.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::{Command, Output};

use keyledger::edge::Edge;
use serde_json::{Value, json};

use crate::ask::{Answer, World, ask, assert_presentable, data, eventually, manager, text, types, world};
use crate::support::{Client, Mutated, Server, tables};

const COUNTS: &str = "verifications valid refused credits";

/// From before the first verification to after the last one.
pub fn frame() -> (String, String) {
    let now = Edge::default().now();
    let day = std::time::Duration::from_hours(24);
    (now.minus(day).to_string(), now.plus(day).to_string())
}

pub fn usage(client: &Client, arguments: &str, fields: &str) -> Value {
    let (from, to) = frame();
    let query = format!("{{ usage(from: \"{from}\", to: \"{to}\" {arguments}) {{ {fields} }} }}");
    data(client, &query, &json!({}))["usage"].take()
}

fn verified(client: &Client) -> u64 {
    usage(client, "", "totals { verifications }")["totals"]["verifications"].as_u64().unwrap()
}

/// Waits until so many verifications are counted: they follow the log.
pub fn counted(client: &Client, verifications: u64) {
    eventually("all verifications are counted", || verified(client) == verifications);
}

/// A key, its verifications and those of another one, in the first tenant's workspace.
struct Traffic {
    world: World,
    a: Mutated,
    b: Mutated,
}

/// So many verifications of what [`traffic`] makes.
const MADE: u64 = 3 + 2 + 1 + 4 + 2;

fn traffic() -> Traffic {
    let world = world();
    let a = world.root.create_key("a, \"quoted\"").scope("read:customers/**").run();
    let b = world.root.create_key("b").with("environment", "STAGING").scope("*:*").run();
    let ask = |key: &Mutated, action: &str, ip: &str, times: usize| {
        for _ in 0..times {
            let question =
                json!({ "key": key.secret(), "action": action, "resource": "customers/42", "ip": ip });
            world.root.verify_with(&question).unwrap();
        }
    };
    ask(&a, "read", "203.0.113.7", 3);
    ask(&a, "write", "203.0.113.7", 2);
    ask(&a, "read", "2001:db8::7", 1);
    ask(&b, "admin", "203.0.113.7", 4);
    for _ in 0..2 {
        let unknown = "kl_prod_0000000000000000000000000000000000000000000";
        assert_eq!(world.root.verify(unknown).unwrap().code, "MALFORMED");
    }
    counted(&world.root, MADE);
    Traffic { world, a, b }
}

/// What each combination of values counts, as `values: verifications valid`.
pub fn groups(usage: &Value) -> BTreeMap<String, (u64, u64)> {
    let of = |group: &Value| {
        let values = group["values"].as_array().unwrap().iter().map(|value| {
            let known = value["id"].as_str().or(value["value"].as_str());
            known.unwrap_or("-").to_owned()
        });
        let totals = &group["totals"];
        let count = |name: &str| totals[name].as_u64().unwrap();
        (values.collect::<Vec<_>>().join(" "), (count("verifications"), count("valid")))
    };
    usage["groups"].as_array().unwrap().iter().map(of).collect()
}

pub const GROUPS: &str = "groups { values { dimension id name value } totals { verifications valid refused } } \
    otherGroups others { verifications }";

#[test]
fn figures_are_those_of_what_was_asked() {
    let Traffic { world, a, b } = traffic();
    let root = &world.root;
    let whole = usage(root, "", &format!("totals {{ {COUNTS} }} timeZone through incomplete {{ from to }}"));
    let totals = json!({ "verifications": MADE, "valid": 8, "refused": 4, "credits": 0 });
    assert_eq!((&whole["totals"], &whole["timeZone"]), (&totals, &json!("UTC")));
    assert!(whole["through"].is_string() && whole["incomplete"] == json!([]), "{whole}");

    let by_key = usage(root, ", groupBy: [KEY, OUTCOME]", GROUPS);
    let expected = BTreeMap::from([
        (format!("{} VALID", a.id()), (4, 4)),
        (format!("{} INSUFFICIENT_SCOPE", a.id()), (2, 0)),
        (format!("{} VALID", b.id()), (4, 4)),
        ("- MALFORMED".to_owned(), (2, 0)),
    ]);
    assert_eq!(groups(&by_key), expected);
    let names: Vec<&Value> =
        by_key["groups"].as_array().unwrap().iter().map(|g| &g["values"][0]["name"]).collect();
    assert!(names.contains(&&json!("a, \"quoted\"")) && names.contains(&&Value::Null));

    let by_environment = usage(root, ", groupBy: [ENVIRONMENT, ACTION]", GROUPS);
    let expected = BTreeMap::from([
        ("PRODUCTION READ".to_owned(), (4, 4)),
        ("PRODUCTION WRITE".to_owned(), (2, 0)),
        ("STAGING ADMIN".to_owned(), (4, 4)),
        ("- -".to_owned(), (2, 0)),
    ]);
    assert_eq!(groups(&by_environment), expected);
    let by_address = usage(root, ", groupBy: [ADDRESS]", GROUPS);
    let addresses = BTreeMap::from([
        ("203.0.113.7".to_owned(), (9, 7)),
        ("2001:db8::7".to_owned(), (1, 1)),
        ("-".to_owned(), (2, 0)),
    ]);
    assert_eq!(groups(&by_address), addresses);

    // The largest group, and the rest together.
    let top = usage(root, ", groupBy: [KEY], top: 1", GROUPS);
    assert_eq!(groups(&top), BTreeMap::from([(a.id(), (6, 4))]));
    assert_eq!((&top["otherGroups"], &top["others"]["verifications"]), (&json!(2), &json!(6)));

    // Conditions add up.
    let filtered = |filter: &str| {
        let usage = usage(root, &format!(", filter: {{ {filter} }}"), "totals { verifications }");
        usage["totals"]["verifications"].as_u64().unwrap()
    };
    assert_eq!(filtered(&format!("keyIds: [\"{}\"]", a.id())), 6);
    assert_eq!(filtered(&format!("keyIds: [\"{}\"], outcomes: [VALID]", a.id())), 4);
    assert_eq!(filtered("environment: STAGING"), 4);
    assert_eq!(filtered("action: READ, address: \"203.0.113.7\""), 3);
    assert_eq!(filtered("action: READ, address: \"::ffff:203.0.113.7\""), 3);
    assert_eq!(filtered(&format!("workspaceId: \"{}\"", world.workspace)), 10);

    // A series adds up to the whole, and only what is selected is computed.
    let series = usage(
        root,
        ", granularity: HOUR, groupBy: [OUTCOME], timeZone: \"Asia/Kathmandu\"",
        "buckets series { verifications } groups { series { verifications } }",
    );
    let sum = |list: &Value| -> u64 {
        list.as_array().unwrap().iter().map(|counts| counts["verifications"].as_u64().unwrap()).sum()
    };
    let buckets = series["buckets"].as_array().unwrap();
    assert!((48..=50).contains(&buckets.len()));
    assert!(buckets.iter().all(|bucket| text(bucket).contains(":15:00.")), "{buckets:?}");
    assert_eq!(series["series"].as_array().unwrap().len(), buckets.len());
    assert_eq!(sum(&series["series"]), MADE);
    let grouped: u64 = series["groups"].as_array().unwrap().iter().map(|group| sum(&group["series"])).sum();
    assert_eq!(grouped, MADE);

    let (from, to) = frame();
    let report = root.key(
        &a.id(),
        &format!("usageReport(from: \"{from}\", to: \"{to}\", groupBy: [ACTION]) {{ {GROUPS} }}"),
    );
    let expected = BTreeMap::from([("READ".to_owned(), (4, 4)), ("WRITE".to_owned(), (2, 0))]);
    assert_eq!(groups(&report.unwrap()["usageReport"]), expected);
}

const RECORD: &str = "nodes { eventId event { id type } place firstAt lastAt count keyId key { id name } secretVersion \
    workspaceId code action resource tags ip by cost credits } pageInfo { hasNextPage endCursor }";

fn records(client: &Client, arguments: &str) -> Vec<Value> {
    let query = format!("{{ verifications(first: 200 {arguments}) {{ {RECORD} }} }}");
    data(client, &query, &json!({}))["verifications"]["nodes"].as_array().unwrap().clone()
}

fn sum(records: &[Value]) -> u64 {
    records.iter().map(|record| record["count"].as_u64().unwrap()).sum()
}

#[test]
fn the_log_has_every_verification_with_what_was_asked() {
    let Traffic { world, a, b } = traffic();
    let root = &world.root;
    let verifier = text(&data(root, "{ viewer { keyId } }", &json!({}))["viewer"]["keyId"]);
    let all = records(root, "");
    assert_eq!(sum(&all), MADE);
    assert!(all.is_sorted_by(|one, next| one["lastAt"].as_str() >= next["lastAt"].as_str()));
    for record in &all {
        assert_eq!((&record["by"], &record["event"]["type"]), (&json!(verifier), &json!("usage.recorded")));
        assert_eq!(record["event"]["id"], record["eventId"]);
    }
    let of = |key: &Mutated, code: &str| {
        let mine = all.iter().filter(|one| one["keyId"] == json!(key.id()) && one["code"] == code);
        sum(&mine.cloned().collect::<Vec<_>>())
    };
    assert_eq!((of(&a, "VALID"), of(&a, "INSUFFICIENT_SCOPE"), of(&b, "VALID")), (4, 2, 4));
    let one = records(root, ", filter: { address: \"2001:db8::7\" }").remove(0);
    assert_eq!(
        (&one["key"]["name"], &one["action"], &one["ip"]),
        (&json!("a, \"quoted\""), &json!("READ"), &json!("2001:db8::7"))
    );
    assert_eq!((&one["secretVersion"], &one["workspaceId"]), (&json!(1), &json!(world.workspace)));

    let mut oldest_first = records(root, ", direction: ASC");
    oldest_first.reverse();
    assert_eq!(oldest_first, all);
    let of_key = root
        .key(&a.id(), &format!("verifications(filter: {{ outcomes: [INSUFFICIENT_SCOPE] }}) {{ {RECORD} }}"));
    let of_key = of_key.unwrap()["verifications"]["nodes"].as_array().unwrap().clone();
    assert_eq!((sum(&of_key), of_key.iter().all(|one| one["action"] == "WRITE")), (2, true));
    let elsewhere = format!(
        "{{ key(id: \"{}\") {{ verifications(filter: {{ keyId: \"{}\" }}) {{ nodes {{ place }} }} }} }}",
        a.id(),
        b.id()
    );
    assert_eq!(ask(root, &elsewhere, &json!({})).field(), "filter.keyId");
    assert_eq!(sum(&records(root, ", filter: { to: \"2020-01-01T00:00:00Z\" }")), 0);
    // Pages lead through all of it.
    let (mut paged, mut after) = (Vec::new(), String::new());
    loop {
        let query = format!("{{ verifications(first: 2 {after}) {{ {RECORD} }} }}");
        let page = data(root, &query, &json!({}))["verifications"].take();
        paged.extend(page["nodes"].as_array().unwrap().iter().cloned());
        if page["pageInfo"]["hasNextPage"] == json!(false) {
            break;
        }
        after = format!(", after: {}", page["pageInfo"]["endCursor"]);
    }
    assert_eq!(paged, all);
}

/// An export as it is: status, media type, file name and bytes.
fn export(server: &Server, secret: &str, path: &str) -> (u16, String, String, Vec<u8>) {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let request = agent.get(format!("{}/v1/exports/{path}", server.base()));
    let mut answer = request.header("Authorization", format!("Bearer {secret}")).call().unwrap();
    let header = |name: &str| {
        answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
    };
    let (kind, name) = (header("content-type"), header("content-disposition"));
    let bytes = answer.body_mut().with_config().limit(1 << 30).read_to_vec().unwrap();
    (answer.status().as_u16(), kind, name, bytes)
}

/// The same as an answer, for refusals.
pub fn refused(server: &Server, secret: &str, path: &str) -> Answer {
    let (status, _, _, bytes) = export(server, secret, path);
    let body = if status == 200 { Value::Null } else { serde_json::from_slice(&bytes).unwrap() };
    let answer = Answer { status, body };
    assert_presentable(&answer);
    answer
}

pub type Table = Vec<BTreeMap<String, String>>;

/// Records of CSV. No text here has a line end.
fn csv(bytes: &[u8]) -> Table {
    let cells = |line: &str| -> Vec<String> {
        let (mut cells, mut quoted) = (vec![String::new()], false);
        for sign in line.chars() {
            match sign {
                '"' => {
                    quoted = !quoted;
                    if quoted && cells.last().is_some_and(|cell| cell.ends_with('\u{0}')) {
                        cells.last_mut().unwrap().pop();
                        cells.last_mut().unwrap().push('"');
                    }
                    if !quoted {
                        cells.last_mut().unwrap().push('\u{0}');
                    }
                }
                ',' if !quoted => cells.push(String::new()),
                other => cells.last_mut().unwrap().push(other),
            }
        }
        cells.into_iter().map(|cell| cell.replace('\u{0}', "")).collect()
    };
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    assert!(text.ends_with("\r\n"));
    let mut lines = text.split_terminator("\r\n");
    let names = cells(lines.next().unwrap());
    let row = |line| names.iter().cloned().zip(cells(line)).filter(|(_, cell)| !cell.is_empty()).collect();
    lines.map(row).collect()
}

fn jsonl(bytes: &[u8]) -> Table {
    let lines = String::from_utf8(bytes.to_vec()).unwrap();
    let cell = |value: &Value| match value {
        Value::String(one) => one.clone(),
        Value::Array(list) => list.iter().map(text).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    };
    let row = |line: &str| {
        let object: serde_json::Map<String, Value> = serde_json::from_str(line).unwrap();
        let cells = object.iter().map(|(name, value)| (name.clone(), cell(value)));
        cells.filter(|(_, cell)| !cell.is_empty()).collect()
    };
    lines.lines().map(row).collect()
}

/// The same export in all formats, which hold the same.
pub fn in_every_format(server: &Server, secret: &str, path: &str) -> Table {
    let file = |format: &str, media_type: &str| {
        let (status, kind, name, bytes) = export(server, secret, &format!("{path}&format={format}"));
        assert_eq!((status, kind.as_str()), (200, media_type), "{}", String::from_utf8_lossy(&bytes));
        assert!(
            name.starts_with("attachment; filename=\"keyledger-") && name.ends_with(&format!(".{format}\""))
        );
        bytes
    };
    let table = csv(&file("csv", "text/csv; charset=utf-8"));
    assert_eq!(jsonl(&file("jsonl", "application/jsonl")), table);
    assert_eq!(tables::parquet(file("parquet", "application/vnd.apache.parquet")), table);
    table
}

fn number(row: &BTreeMap<String, String>, name: &str) -> u64 {
    row[name].parse().unwrap()
}

#[test]
fn exports_hold_what_the_queries_answer() {
    let Traffic { world, a, b } = traffic();
    let (server, secret) = (&world.server, &world.server.home().tenant().root_key);
    let (from, to) = frame();
    let whole = in_every_format(server, secret, &format!("usage?from={from}&to={to}&granularity=hour"));
    assert!((48..=50).contains(&whole.len()), "every bucket has a row");
    assert_eq!(whole.iter().map(|row| number(row, "verifications")).sum::<u64>(), MADE);
    assert_eq!(whole.iter().map(|row| number(row, "valid")).sum::<u64>(), 8);
    assert!(whole.iter().all(|row| row["incomplete"] == "false" && !row.contains_key("others")));

    let path =
        format!("usage?from={from}&to={to}&groupBy=key,outcome&granularity=minute&timeZone=Europe/Berlin");
    let mut found: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for row in in_every_format(server, secret, &path) {
        assert_eq!(row["others"], "false");
        let key = row.get("keyId").map_or("-", String::as_str);
        let sums = found.entry(format!("{key} {}", row["outcome"])).or_default();
        sums.0 += number(&row, "verifications");
        sums.1 += number(&row, "valid");
    }
    assert_eq!(found, groups(&usage(&world.root, ", groupBy: [KEY, OUTCOME]", GROUPS)));
    assert_eq!(found[&format!("{} VALID", b.id())], (4, 4));

    let log = in_every_format(server, secret, "verifications?");
    let mut expected = records(&world.root, ", direction: ASC");
    for (row, record) in log.iter().zip(&mut expected) {
        for field in ["eventId", "firstAt", "lastAt", "keyId", "code", "ip", "by", "workspaceId"] {
            assert_eq!(row.get(field).map(String::as_str), record[field].as_str(), "{field}");
        }
        assert_eq!(row.get("action").cloned(), record["action"].as_str().map(str::to_lowercase));
        for field in ["place", "count", "cost", "credits"] {
            assert_eq!(Some(number(row, field)), record[field].as_u64(), "{field}");
        }
    }
    assert_eq!(log.len(), expected.len());
    let of_a = in_every_format(server, secret, &format!("verifications?keyIds={}&outcomes=VALID", a.id()));
    assert_eq!(of_a.iter().map(|row| number(row, "count")).sum::<u64>(), 4);
}

/// A program run as a management key; its output.
pub fn keyledger(server: &Server, secret: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keyledger"));
    command.env_clear().args(arguments);
    command.env("KEYLEDGER_URL", server.base()).env("KEYLEDGER_KEY", secret).output().unwrap()
}

pub fn done(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn the_command_line_tells_the_same() {
    let Traffic { world, a, .. } = traffic();
    let (server, secret) = (&world.server, &world.server.home().tenant().root_key);
    let run = |arguments: &[&str]| keyledger(server, secret, arguments);
    let shown: Value =
        serde_json::from_str(&done(&run(&["usage", "show", "--by", "key", "--by", "outcome", "--json"])))
            .unwrap();
    assert_eq!(shown["usage"]["totals"]["verifications"], MADE);
    assert_eq!(groups(&shown["usage"]), groups(&usage(&world.root, ", groupBy: [KEY, OUTCOME]", GROUPS)));
    let text = done(&run(&[
        "usage",
        "show",
        "--by",
        "outcome",
        "--series",
        "--granularity",
        "hour",
        "--from",
        "2h",
    ]));
    for word in ["verifications  12", "insufficient-scope", "malformed", "OUTCOME", "FROM"] {
        assert!(text.contains(word), "{word:?} is missing in\n{text}");
    }
    let log: Value = serde_json::from_str(&done(&run(&["usage", "log", &a.id(), "--json"]))).unwrap();
    assert_eq!(sum(log["key"]["verifications"]["nodes"].as_array().unwrap()), 6);
    assert!(done(&run(&["usage", "log", &a.id()])).contains("insufficient-scope"));
    let log: Value = serde_json::from_str(&done(&run(&["usage", "log", "--json"]))).unwrap();
    assert_eq!(sum(log["verifications"]["nodes"].as_array().unwrap()), MADE);
    let shown = done(&run(&["usage", "log", "--outcome", "valid", "--outcome", "malformed"]));
    assert!(shown.contains(&a.id()) && shown.contains("malformed"), "{shown}");
    assert_eq!(
        run(&["usage", "log", &a.id(), "--organization", &world.other_tenant.organization]).status.code(),
        Some(2)
    );

    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("log.csv");
    let path = file.to_str().unwrap();
    done(&run(&["usage", "export", "--what", "verifications", "--format", "csv", "-o", path]));
    let whole = std::fs::read(&file).unwrap();
    assert_eq!(whole, export(server, secret, "verifications?format=csv").3);
    assert!(!directory.path().join("log.csv.part").exists());
    let piped = run(&["usage", "export", "--what", "verifications", "--format", "csv"]);
    assert_eq!(done(&piped).into_bytes(), whole);

    // What was cut off within a row goes on behind the last whole one.
    for cut in [0, 20, whole.len() / 2, whole.len() - 1] {
        std::fs::write(directory.path().join("log.csv.part"), &whole[..cut]).unwrap();
        std::fs::write(directory.path().join("log.csv.part.asked"), begun_with("csv")).unwrap();
        let csv = ["usage", "export", "--what", "verifications", "--format", "csv", "-o", path];
        let again = run(&csv);
        assert_eq!(again.status.code(), Some(2), "an earlier part is not overwritten");
        let again = run(&[&csv[..], &["--resume"]].concat());
        assert_eq!(again.status.code(), Some(2), "and neither is what is whole");
        let again = run(&[&csv[..], &["--resume", "--force"]].concat());
        done(&again);
        let told = String::from_utf8_lossy(&again.stderr).into_owned();
        assert!(told.contains(&format!("written, {} bytes", whole.len())), "{told}");
        assert_eq!(std::fs::read(&file).unwrap(), whole, "cut after {cut} bytes");
    }
    let lines = export(server, secret, "verifications?format=jsonl").3;
    let file = directory.path().join("log.jsonl");
    std::fs::write(directory.path().join("log.jsonl.part"), &lines[..lines.len() / 2]).unwrap();
    std::fs::write(directory.path().join("log.jsonl.part.asked"), begun_with("jsonl")).unwrap();
    let path = file.to_str().unwrap();
    done(&run(&["usage", "export", "--what", "verifications", "--format", "jsonl", "-o", path, "--resume"]));
    assert_eq!(std::fs::read(&file).unwrap(), lines);
    // What cannot be gone on with is not advised.
    std::fs::remove_file(&file).unwrap();
    std::fs::write(directory.path().join("log.jsonl.part"), "").unwrap();
    for export in [["usage", "csv"], ["verifications", "parquet"]] {
        let left = run(&["usage", "export", "--what", export[0], "--format", export[1], "-o", path]);
        let told = String::from_utf8_lossy(&left.stderr).into_owned();
        assert_eq!(left.status.code(), Some(2));
        assert!(told.contains("delete it") && !told.contains("--resume"), "{told}");
    }
    let wrong = run(&["usage", "export", "--what", "usage", "--format", "csv", "-o", path, "--resume"]);
    assert_eq!(wrong.status.code(), Some(2));
}

/// What is kept beside a part of the verification log.
fn begun_with(format: &str) -> String {
    let pairs = json!([["format", format]]);
    json!({ "said": pairs, "sent": pairs }).to_string()
}

#[test]
fn tags_and_resources_are_told() {
    let world = world();
    let key = world.root.create_key("a").scope("*:*").run();
    let question = |resource: &str, tags: &[&str]| {
        let question = json!({ "key": key.secret(), "action": "read", "resource": resource, "tags": tags });
        assert!(world.root.verify_with(&question).unwrap().valid, "{resource}");
    };
    question("customers/42", &["eu", "plan:pro"]);
    question("customers/43", &["eu"]);
    question("invoices/1", &[]);
    counted(&world.root, 3);
    let by_tag = groups(&usage(&world.root, ", groupBy: [TAG]", GROUPS));
    let expected =
        [("eu", 2), ("plan:pro", 1), ("-", 1)].map(|(tag, count)| (tag.to_owned(), (count, count)));
    assert_eq!(by_tag, BTreeMap::from(expected));
    let with = |filter: &str| sum(&records(&world.root, &format!(", filter: {{ {filter} }}")));
    assert_eq!(with("resourcePrefix: \"customers/\""), 2);
    assert_eq!(with("resourcePrefix: \"customers/42\""), 1);
    assert_eq!(with("tag: \"eu\", resourcePrefix: \"customers/43\""), 1);
    let secret = &world.server.home().tenant().root_key;
    let log = in_every_format(&world.server, secret, "verifications?resourcePrefix=customers/&tag=plan:pro");
    assert_eq!(
        (log.len(), log[0]["resource"].as_str(), log[0]["tags"].as_str()),
        (1, "customers/42", "eu plan:pro")
    );
}

#[test]
fn a_long_log_is_exported_page_by_page_and_gone_on_with_behind_a_cursor() {
    let server = Server::fresh();
    let root = server.root();
    let key = root.create_key("a").run();
    let mut sent = 0;
    for batch in 0..23_u32 {
        let questions: Vec<Value> =
            (0..100).map(|n| json!({ "key": key.secret(), "ip": format!("10.{batch}.0.{n}") })).collect();
        let (status, answer) = root.post("/v1/verify/batch", &json!({ "requests": questions })).unwrap();
        assert_eq!(status, 200, "{answer}");
        sent += 100;
    }
    counted(&root, sent);
    let secret = &server.home().tenant().root_key;
    let all = in_every_format(&server, secret, "verifications?");
    assert!(all.len() > 2_000, "{} records", all.len());
    assert_eq!(all.iter().map(|row| number(row, "count")).sum::<u64>(), sent);
    let mut places: Vec<_> = all.iter().map(|row| (row["eventId"].clone(), row["place"].clone())).collect();
    places.sort();
    places.dedup();
    assert_eq!(places.len(), all.len(), "no record is there twice");
    // More groups than a bucket shows: the largest, and the rest together.
    let (from, to) = frame();
    let path = format!("usage?from={from}&to={to}&granularity=hour&groupBy=address");
    let mut buckets: BTreeMap<String, (u64, u64, u64)> = BTreeMap::new();
    for row in in_every_format(&server, secret, &path) {
        let sums = buckets.entry(row["bucket"].clone()).or_default();
        if row["others"] == "true" {
            sums.1 += 1;
        } else {
            assert_eq!(number(&row, "verifications"), 1);
            sums.0 += 1;
        }
        sums.2 += number(&row, "verifications");
    }
    assert_eq!(buckets.values().map(|sums| sums.2).sum::<u64>(), sent, "{buckets:?}");
    assert!(buckets.values().any(|sums| (sums.0, sums.1) == (1_000, 1)), "{buckets:?}");
    assert!(buckets.values().all(|sums| sums.1 == 0 || sums.0 == 1_000), "{buckets:?}");
    let middle = &all[all.len() / 2]["cursor"];
    let rest = in_every_format(&server, secret, &format!("verifications?after={middle}"));
    assert_eq!(rest, all[all.len() / 2 + 1..]);
    let (_, _, _, bytes) =
        export(&server, secret, &format!("verifications?after={middle}&names=false&format=csv"));
    assert!(bytes.starts_with(rest[0]["cursor"].as_bytes()));
}

#[test]
fn slow_readers_hold_up_nobody_and_end_with_their_key() {
    let server = Server::fresh();
    let root = server.root();
    let key = root.create_key("a").run();
    let records = 12_000;
    for batch in 0..records / 100 {
        let questions: Vec<Value> =
            (0..100).map(|n| json!({ "key": key.secret(), "ip": format!("10.{batch}.0.{n}") })).collect();
        assert_eq!(root.post("/v1/verify/batch", &json!({ "requests": questions })).unwrap().0, 200);
    }
    counted(&root, records);
    let [first, auditor] = ["AUDITOR"; 2].map(|role| manager(&root, role, &server.home().tenant().workspace));
    let path = "/v1/exports/verifications?format=jsonl";
    let four = |key: &Mutated| (0..4).map(|_| server.begun(&key.secret(), path)).collect::<Vec<_>>();
    let mut readers = four(&first);
    let fifth = refused(&server, &first.secret(), "verifications?format=csv");
    assert_eq!((fifth.status, fifth.code()), (503, "UNAVAILABLE"));
    readers.extend(four(&auditor));
    let ninth = refused(&server, &server.home().tenant().root_key, "verifications?format=csv");
    assert_eq!((ninth.status, ninth.code()), (503, "UNAVAILABLE"));
    // Everything else goes on.
    for _ in 0..20 {
        assert!(root.verify(&key.secret()).unwrap().valid);
    }
    assert!(verified(&root) >= records);
    // Whoever reads on is handed all of it.
    let mut whole = Vec::new();
    readers.pop().unwrap().read_to_end(&mut whole).unwrap();
    assert!(whole.ends_with(b"0\r\n\r\n"), "the last chunk is there");
    // A revoked key is handed what was on its way, and the rest of it never.
    root.revoke_key(&auditor.id(), "COMPROMISED").unwrap();
    let mut part = Vec::new();
    // The connection may be reset instead of closed.
    let _ = readers.pop().unwrap().read_to_end(&mut part);
    assert!(!part.ends_with(b"0\r\n\r\n") && part.len() < whole.len());
    // Readers that hang up make room.
    drop(readers);
    let secret = &server.home().tenant().root_key;
    eventually("there is room", || {
        refused(&server, secret, "verifications?format=csv&action=write").status == 200
    });
    assert!(!server.log().contains("panicked"));
}

/// Answers one request with what is given and hangs up.
fn cut_off(answer: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = [0; 4_096];
        let _ = stream.read(&mut head).unwrap();
        stream.write_all(&answer).unwrap();
    });
    url
}

#[test]
fn an_export_that_was_cut_off_is_never_taken_for_a_whole_one() {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/jsonl\r\ntransfer-encoding: chunked\r\n\r\n";
    let row = "{\"cursor\":\"a\"}\n";
    let answer = format!("{head}{:x}\r\n{row}\r\n", row.len());
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("log.jsonl");
    let mut command = Command::new(env!("CARGO_BIN_EXE_keyledger"));
    command.env_clear().args([
        "usage",
        "export",
        "--what",
        "verifications",
        "--format",
        "jsonl",
        "--json",
        "-o",
    ]);
    command.arg(&file).env("KEYLEDGER_URL", cut_off(answer.into_bytes())).env("KEYLEDGER_KEY", "kl_prod_x");
    let output = command.output().unwrap();
    let told: Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!((output.status.code(), &told["error"]["code"]), (Some(3), &json!("INCOMPLETE")), "{told}");
    assert!(text(&told["error"]["message"]).contains("--resume"));
    assert!(!file.exists());
    assert_eq!(std::fs::read_to_string(directory.path().join("log.jsonl.part")).unwrap(), row);
}

#[test]
fn exports_are_for_those_who_may_read_what_is_in_them() {
    let world = world();
    let (from, to) = frame();
    let elsewhere = crate::ask::create_workspace(&world.root, "elsewhere");
    let numbers = format!("usage?format=csv&from={from}&to={to}");
    let addresses = format!("{numbers}&groupBy=address");
    let log = "verifications?format=csv".to_owned();
    for (role, expected) in [
        ("WORKSPACE_OWNER", [200, 200, 200]),
        ("WORKSPACE_MANAGER", [200, 403, 403]),
        ("AUDITOR", [200, 200, 200]),
        ("VIEWER", [200, 403, 403]),
        ("VERIFIER", [403, 403, 403]),
    ] {
        let secret = manager(&world.root, role, &world.workspace).secret();
        let status = |path: &String| refused(&world.server, &secret, path).status;
        assert_eq!([&numbers, &addresses, &log].map(status), expected, "{role}");
        // Its own workspace is all there is for it.
        let there = refused(&world.server, &secret, &format!("{log}&workspaceId={elsewhere}"));
        assert!([403, 404].contains(&there.status), "{role}");
    }
    let plain = world.root.create_key("plain").with("workspaceId", world.workspace.as_str()).run().secret();
    for stranger in [plain.as_str(), "nonsense"] {
        assert_eq!(refused(&world.server, stranger, &log).status, 401);
    }
    assert_eq!(world.server.anonymous().get("/v1/exports/verifications?format=csv").unwrap().0, 401);
    let secret = &world.server.home().tenant().root_key;
    for path in ["/v1/exports/usage", "/v1/exports/verifications"] {
        let (status, _) = world.root.post(path, &json!({})).unwrap();
        assert_eq!(status, 405);
    }
    assert_eq!(refused(&world.server, secret, &log).status, 200);
}

#[test]
fn who_sees_some_workspaces_sees_nothing_of_others_or_of_no_key() {
    let Traffic { world, a, .. } = traffic();
    let elsewhere = crate::ask::create_workspace(&world.root, "elsewhere");
    let there = world.root.create_key("there").with("workspaceId", elsewhere.as_str()).run();
    world.root.verify(&there.secret()).unwrap();
    counted(&world.root, MADE + 1);
    let secret = manager(&world.root, "AUDITOR", &elsewhere).secret();
    let auditor = world.server.client(&secret);
    assert_eq!(
        groups(&usage(&auditor, ", groupBy: [KEY, OUTCOME]", GROUPS)),
        BTreeMap::from([(format!("{} VALID", there.id()), (1, 1))])
    );
    let seen = records(&auditor, "");
    assert_eq!((seen.len(), &seen[0]["keyId"], &seen[0]["event"]), (1, &json!(there.id()), &Value::Null));
    assert_eq!(in_every_format(&world.server, &secret, "verifications?").len(), 1);
    let (from, to) = frame();
    for (arguments, code) in [
        (format!(", filter: {{ keyIds: [\"{}\"] }}", a.id()), "NOT_FOUND"),
        (format!(", filter: {{ workspaceId: \"{}\" }}", world.workspace), "NOT_FOUND"),
    ] {
        let query =
            format!("{{ usage(from: \"{from}\", to: \"{to}\" {arguments}) {{ totals {{ valid }} }} }}");
        assert_eq!(ask(&auditor, &query, &json!({})).code(), code, "{arguments}");
    }
    let viewer = world.server.client(&manager(&world.root, "VIEWER", &world.workspace).secret());
    for arguments in [", groupBy: [ADDRESS]", ", filter: { address: \"203.0.113.7\" }"] {
        let query =
            format!("{{ usage(from: \"{from}\", to: \"{to}\" {arguments}) {{ totals {{ valid }} }} }}");
        assert_eq!(ask(&viewer, &query, &json!({})).code(), "FORBIDDEN", "{arguments}");
    }
}

#[test]
fn an_export_is_in_the_trail_before_it_is_handed_out() {
    let world = world();
    let (server, secret) = (&world.server, &world.server.home().tenant().root_key);
    let (from, to) = frame();
    let key = world.root.create_key("a").run();
    let exported = |client: &Client| {
        let query = "{ events(filter: { types: [\"audit.exported\"] }, first: 50) { nodes {
            type stream outcome actor { id } source { ip } workspaceId data } } }";
        data(client, query, &json!({}))["events"]["nodes"].as_array().unwrap().clone()
    };
    assert_eq!(exported(&world.root), Vec::<Value>::new());
    let path = format!("usage?format=parquet&from={from}&to={to}&groupBy=key,tag&keyIds={}", key.id());
    assert_eq!(export(server, secret, &path).0, 200);
    let path = format!("verifications?format=jsonl&tag=plan%3Apro%26x&workspaceId={}", world.workspace);
    assert_eq!(export(server, secret, &path).0, 200);
    let found = exported(&world.root);
    assert_eq!(found.len(), 2);
    let viewer = data(&world.root, "{ viewer { keyId } }", &json!({}));
    for event in &found {
        assert_eq!(
            (&event["outcome"], &event["actor"]["id"]),
            (&json!("SUCCESS"), &viewer["viewer"]["keyId"])
        );
        assert_eq!(
            (&event["source"]["ip"], &event["stream"]),
            (&json!("127.0.0.1"), &json!(format!("audit-{}", server.home().tenant().organization)))
        );
    }
    assert_eq!(
        (&found[0]["data"]["what"], &found[0]["data"]["format"]),
        (&json!("usage"), &json!("parquet"))
    );
    let told = text(&found[0]["data"]["filter"]);
    let expected =
        format!("from={from}&to={to}&granularity=day&timeZone=UTC&groupBy=key,tag&keyIds={}", key.id());
    assert_eq!(told, expected);
    assert_eq!(
        (&found[1]["data"]["what"], &found[1]["data"]["format"]),
        (&json!("verifications"), &json!("jsonl"))
    );
    assert_eq!(found[1]["data"]["filter"], format!("workspaceId={}&tag=plan:pro%26x", world.workspace));
    assert_eq!(found[1]["workspaceId"], json!(world.workspace));

    // Who is refused is there, too, and nothing of it is in anybody else's trail.
    let viewer = manager(&world.root, "VIEWER", &world.workspace).secret();
    assert_eq!(refused(server, &viewer, "verifications?format=csv").code(), "FORBIDDEN");
    let query = "{ events(filter: { types: [\"command.refused\"] }) { nodes { data } } }";
    let refusals = data(&world.root, query, &json!({}))["events"]["nodes"].clone();
    assert_eq!(refusals[0]["data"], json!({ "command": "exportVerifications", "code": "FORBIDDEN" }));
    assert_eq!(exported(&world.root).len(), 2);
    assert_eq!(exported(&world.other), Vec::<Value>::new());
    assert_eq!(types(&world.root, &key.id()), ["key.issued"]);
}

#[test]
fn parameters_that_are_wrong_are_refused_by_their_names() {
    let world = world();
    let (server, secret) = (&world.server, &world.server.home().tenant().root_key);
    let (from, to) = frame();
    let ids = vec!["key_01h455vb4pex5vsknk084sn02q"; 101].join(",");
    let whole = format!("format=csv&from={from}&to={to}");
    for (rest, field) in [
        ("", "from"),
        (&*format!("from={from}&to={to}"), "format"),
        (&format!("format=xml&from={from}&to={to}"), "format"),
        ("format=csv", "from"),
        (&format!("format=csv&from={from}"), "to"),
        (&format!("format=csv&from={to}&to={from}"), "to"),
        (&format!("format=csv&from=yesterday&to={to}"), "from"),
        (&format!("{whole}&from={from}"), "from"),
        (&format!("{whole}&secret=kl_prod_1"), "query"),
        (&format!("{whole}&kl_prod_1=x"), "query"),
        (&format!("{whole}&top=5"), "query"),
        (&format!("{whole}&granularity=year"), "granularity"),
        ("format=csv&granularity=minute&from=1970-01-01T00:00:00Z&to=9999-01-01T00:00:00Z", "granularity"),
        (&format!("{whole}&timeZone=Mars/Olympus"), "timeZone"),
        (&format!("{whole}&groupBy=moon"), "groupBy"),
        (&format!("{whole}&groupBy=key,key"), "groupBy"),
        (&format!("{whole}&groupBy=key,role,tag"), "groupBy"),
        (&format!("{whole}&groupBy=tag,address"), "groupBy"),
        (&format!("{whole}&keyIds={ids}"), "keyIds"),
        (&format!("{whole}&keyIds="), "keyIds"),
        (&format!("{whole}&outcomes="), "outcomes"),
        (&format!("{whole}&tag=a&address=10.0.0.1"), "address"),
        (&format!("{whole}&keyIds=ws_01h455vb4pex5vsknk084sn02q"), "keyIds"),
        (&format!("{whole}&organizationId=x"), "organizationId"),
        (&format!("{whole}&workspaceId=x"), "workspaceId"),
        (&format!("{whole}&outcomes=FINE"), "outcomes"),
        (&format!("{whole}&action=fly"), "action"),
        (&format!("{whole}&address=10.0.0.0/8"), "address"),
        (&format!("{whole}&tag={}", "x".repeat(65)), "tag"),
        (&format!("{whole}&tag="), "tag"),
        (&format!("{whole}&includeBelow=yes"), "includeBelow"),
        (&format!("{whole}&names=1"), "names"),
        (&format!("{whole}&environment=PRODUCTION"), "environment"),
    ] {
        let answer = refused(server, secret, &format!("usage?{rest}"));
        assert_eq!((answer.code(), answer.field()), ("INVALID_INPUT", field), "{rest}: {}", answer.body);
        assert!(!answer.body.to_string().contains("kl_prod_1"));
    }
    for (rest, field) in [
        ("after=x", "after"),
        ("granularity=day", "query"),
        (&*format!("resourcePrefix={}", "x".repeat(513)), "resourcePrefix"),
        ("from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", "to"),
    ] {
        let answer = refused(server, secret, &format!("verifications?format=csv&{rest}"));
        assert_eq!((answer.code(), answer.field()), ("INVALID_INPUT", field), "{rest}: {}", answer.body);
    }
    // A secret in the wrong place does not get into the trail.
    let pasted = world.root.create_key("pasted").run().secret();
    for (path, field) in [
        (format!("usage?{whole}&tag="), "tag"),
        ("verifications?format=csv&resourcePrefix=".into(), "resourcePrefix"),
    ] {
        let answer = refused(server, secret, &format!("{path}{pasted}"));
        assert_eq!((answer.code(), answer.field()), ("INVALID_INPUT", field));
    }
    let asked = |arguments: &str| {
        let query =
            format!("{{ usage({arguments}) {{ series {{ valid }} groups {{ series {{ valid }} }} }} }}");
        let answer = ask(&world.root, &query, &json!({}));
        (answer.code().to_owned(), answer.field().to_owned())
    };
    let frame = format!("from: \"{from}\", to: \"{to}\"");
    for (arguments, field) in [
        (format!("{frame}, groupBy: [KEY, KEY]"), "groupBy"),
        (format!("{frame}, groupBy: [KEY, ROLE, TAG]"), "groupBy"),
        (format!("{frame}, groupBy: [TAG], filter: {{ address: \"10.0.0.1\" }}"), "groupBy"),
        (format!("{frame}, top: 0"), "top"),
        (format!("{frame}, top: -1"), "top"),
        (format!("{frame}, top: 1001"), "top"),
        (format!("{frame}, groupBy: [KEY], granularity: MINUTE, top: 100"), "top"),
        (format!("{frame}, timeZone: \"../etc/passwd\""), "timeZone"),
        (format!("{frame}, filter: {{ address: \"10.0.0.1:80\" }}"), "filter.address"),
        (format!("{frame}, filter: {{ tag: \"\" }}"), "filter.tag"),
        (format!("{frame}, filter: {{ keyIds: [\"x\"] }}"), "filter.keyIds"),
        (format!("{frame}, filter: {{ keyIds: [] }}"), "filter.keyIds"),
        (format!("{frame}, filter: {{ outcomes: [] }}"), "filter.outcomes"),
        (format!("{frame}, filter: {{ tag: \"a\", address: \"10.0.0.1\" }}"), "filter.address"),
        (format!("from: \"{to}\", to: \"{from}\""), "to"),
        (
            "from: \"1970-01-01T00:00:00Z\", to: \"9999-01-01T00:00:00Z\", granularity: HOUR".to_owned(),
            "granularity",
        ),
    ] {
        assert_eq!(asked(&arguments), ("INVALID_INPUT".to_owned(), field.to_owned()), "{arguments}");
    }
    // What costs too much is refused before anything is counted.
    let costly = format!(
        "usage({frame}, groupBy: [KEY], top: 1000) {{ groups {{ totals {{ valid refused }} values {{ name }} }} }}"
    );
    let fields: Vec<String> = (0..20).map(|n| format!("a{n}: {costly}")).collect();
    let query = format!("{{ {} }}", fields.join(" "));
    let answer = ask(&world.root, &query, &json!({}));
    assert_eq!(answer.field(), "query");
    assert!(answer.body.to_string().contains("fewer groups with top"), "{}", answer.body);
    crate::ask::assert_unharmed(&world.server, &world.root, &[secret]);
}

#[test]
fn a_refusal_says_what_to_do_instead() {
    let world = world();
    let (from, to) = frame();
    let frame = format!("from: \"{from}\", to: \"{to}\"");
    for query in [
        "verifications(filter: { outcomes: [] }) { nodes { place } }".to_owned(),
        format!("simulate({frame}, filter: {{ keyIds: [] }}, change: {{ allowedCidrs: [] }}) {{ calls }}"),
    ] {
        let answer = ask(&world.root, &format!("{{ {query} }}"), &json!({}));
        assert!(
            answer.body.to_string().contains("name at least one, or leave it out for all"),
            "{}",
            answer.body
        );
    }
    let long = "from: \"1970-01-01T00:00:00Z\", to: \"9999-01-01T00:00:00Z\", granularity: HOUR";
    for (arguments, part, absent) in [
        (long.to_owned(), "the series has about", "fewer groups"),
        (format!("{long}, groupBy: [KEY]"), "fewer groups with top", "-"),
        (format!("from: \"{to}\", to: \"{from}\""), "name a later one", "-"),
    ] {
        let query =
            format!("{{ usage({arguments}) {{ series {{ valid }} groups {{ series {{ valid }} }} }} }}");
        let said = ask(&world.root, &query, &json!({})).body["errors"][0]["message"].to_string();
        assert!(said.contains(part) && !said.contains(absent), "{said}");
    }
}

#[test]
fn what_belongs_to_another_tenant_is_answered_like_what_does_not_exist() {
    let world = world();
    let theirs = world.other.create_key("theirs").run();
    let secret = &world.server.home().tenant().root_key;
    let (from, to) = frame();
    let nobodys = |id: &str| format!("{}_01h455vb4pex5vsknk084sn02q", id.split_once('_').unwrap().0);
    let other = &world.other_tenant;
    for (name, id) in [
        ("keyIds", theirs.id()),
        ("workspaceId", other.workspace.clone()),
        ("organizationId", other.organization.clone()),
    ] {
        for path in [format!("usage?format=csv&from={from}&to={to}"), "verifications?format=csv".to_owned()] {
            let answer = |id: &str| {
                let answer = refused(&world.server, secret, &format!("{path}&{name}={id}"));
                assert_eq!(answer.code(), "NOT_FOUND", "{path} {name}");
                answer.body.to_string().replace(id, "ID")
            };
            assert_eq!(answer(&id), answer(&nobodys(&id)));
        }
    }
}
