//! Personal data: sealed in the log from the first event on, and gone from everywhere once it is erased.

use std::fs;
use std::io::ErrorKind;
use std::net::Ipv6Addr;
use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use memchr::memmem;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::ask::{data, eventually};
use crate::support::{Client, Home, Server};

const NAME: &str = "Zuleika-Dobson";
const NEW_NAME: &str = "Zuleika-Oxford";
const METADATA: &str = "undergraduate-of-judas-college";
const COMMENT: &str = "left-by-the-early-train";
const RESOURCE: &str = "letters/noaks";
const EXTERNAL: &str = "customer-1911-beerbohm";
const ADDRESS: &str = "2001:db8:beeb:b0b:1911:dead:c0de:77";
const NETWORK: &str = "2001:db8:beeb:b0b::/64";

/// A text in base64 wherever it begins in what is encoded, without the digits that its neighbours are part of.
fn in_base64(text: &[u8]) -> impl Iterator<Item = Vec<u8>> + '_ {
    [STANDARD_NO_PAD, URL_SAFE_NO_PAD].into_iter().flat_map(move |engine| {
        (0..3).map(move |before| {
            let whole = engine.encode([&vec![0; before], text].concat());
            let end = whole.len() - usize::from(!(before + text.len()).is_multiple_of(3));
            whole.as_bytes()[[0, 2, 3][before]..end].to_vec()
        })
    })
}

/// A text, and what it may have become on its way into a file.
fn forms(text: &str) -> Vec<Vec<u8>> {
    let mut forms = Vec::new();
    for text in [text.to_owned(), text.to_lowercase(), text.to_uppercase(), text.chars().rev().collect()] {
        let bytes = text.as_bytes();
        forms.push(text.encode_utf16().flat_map(u16::to_le_bytes).collect());
        forms.push(text.encode_utf16().flat_map(u16::to_be_bytes).collect());
        forms.push(bytes.iter().flat_map(|byte| format!("{byte:02x}").into_bytes()).collect());
        forms.push(bytes.iter().flat_map(|byte| format!("{byte:02X}").into_bytes()).collect());
        forms.extend(in_base64(bytes));
        forms.push(bytes.to_vec());
    }
    forms
}

/// Every form in which something of it could stand in a file, with a name for each.
fn traces() -> Vec<(String, Vec<u8>)> {
    let ip: Ipv6Addr = ADDRESS.parse().unwrap();
    let whole = ip.segments().map(|part| format!("{part:04x}")).join(":");
    let mut traces: Vec<(String, Vec<u8>)> =
        [NAME, NEW_NAME, METADATA, COMMENT, RESOURCE, EXTERNAL, ADDRESS, &whole]
            .into_iter()
            .flat_map(|text| forms(text).into_iter().map(move |form| (text.to_owned(), form)))
            .collect();
    let octets = ip.octets();
    traces.push(("octets".into(), octets.to_vec()));
    traces.push(("octets, least significant first".into(), octets.into_iter().rev().collect()));
    traces.extend(in_base64(&octets).map(|form| ("octets in base64".into(), form)));
    // Hashes without a key, by which a guess could be confirmed.
    for text in [NAME, NEW_NAME, EXTERNAL, ADDRESS] {
        traces.push((format!("SHA-256 of {text}"), Sha256::digest(text).to_vec()));
        traces.push((format!("BLAKE3 of {text}"), blake3::hash(text.as_bytes()).as_bytes().to_vec()));
    }
    traces.sort_unstable_by(|a, b| a.1.cmp(&b.1));
    traces.dedup_by(|a, b| a.1 == b.1);
    traces
}

/// The files under a directory, however deep, in which a trace is found.
fn found_in(directory: &Path) -> Vec<String> {
    let (traces, mut found) = (traces(), Vec::new());
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
                continue;
            }
            let bytes = match fs::read(&path) {
                // A draft that was renamed meanwhile.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                read => read.unwrap(),
            };
            for (name, trace) in &traces {
                if memmem::find(&bytes, trace).is_some() {
                    found.push(format!("{}: {name} as {}", path.display(), String::from_utf8_lossy(trace)));
                }
            }
        }
    }
    found
}

#[test]
fn a_trace_is_found_in_whatever_form_it_is_left() {
    let directory = tempfile::tempdir().unwrap();
    let deep = directory.path().join("a/b");
    fs::create_dir_all(&deep).unwrap();
    let other = |text: &str| STANDARD.encode(format!("{{\"x\":\"{text}\"}}"));
    let ip: Ipv6Addr = ADDRESS.parse().unwrap();
    for left in [
        format!("..{NAME}..").into_bytes(),
        format!("..{}..", NAME.to_uppercase()).into_bytes(),
        format!("..{EXTERNAL}..").encode_utf16().flat_map(u16::to_le_bytes).collect(),
        other(COMMENT).into_bytes(),
        other(&format!("1{COMMENT}")).into_bytes(),
        other(&format!("12{COMMENT}")).into_bytes(),
        ip.octets().to_vec(),
    ] {
        fs::write(deep.join("file"), &left).unwrap();
        assert!(!found_in(directory.path()).is_empty(), "{}", String::from_utf8_lossy(&left));
    }
    fs::write(deep.join("file"), "nothing of it").unwrap();
    assert_eq!(found_in(directory.path()), [""; 0]);
}

fn erase(client: &Client, id: &str) -> Result<Value, String> {
    let mutation = "mutation($id: ID!) { eraseSubject(input: { id: $id, reason: REQUEST }) {
        complete keys { id name erasedAt } identity { id externalId erasedAt } events { type } warnings { code } } }";
    match client.graphql(mutation, &json!({ "id": id })) {
        Ok(answer) => Ok(answer["eraseSubject"].clone()),
        Err(failure) => Err(failure.code().unwrap_or("none").to_owned()),
    }
}

/// A person: an identity with a key that was used, changed and revoked. Answers both ids.
fn a_life(root: &Client) -> (String, String) {
    let identity = data(
        root,
        "mutation($input: CreateIdentityInput!) { createIdentity(input: $input) { identity { id } } }",
        &json!({ "input": { "externalId": EXTERNAL, "name": NAME, "metadata": { "is": METADATA } } }),
    );
    let identity = identity["createIdentity"]["identity"]["id"].as_str().unwrap().to_owned();
    let key = root
        .create_key(NAME)
        .scope("read:letters/**")
        .with("identityId", identity.as_str())
        .with("metadata", json!({ "is": METADATA }))
        .with("allowedCidrs", json!([NETWORK]))
        .run();
    let used = root
        .verify_with(&json!({ "key": key.secret(), "ip": ADDRESS, "action": "read", "resource": RESOURCE }))
        .unwrap();
    assert_eq!(used.code, "VALID");
    root.update_key(&key.id(), NEW_NAME).unwrap();
    root.mutate("disableKey", &json!({ "id": key.id(), "comment": COMMENT })).unwrap();
    root.mutate("revokeKey", &json!({ "id": key.id(), "reason": "OTHER", "comment": COMMENT })).unwrap();
    let last = || root.key(&key.id(), "lastUsedIp").unwrap()["lastUsedIp"].clone();
    eventually("the use is counted", || last() == ADDRESS);
    (identity, key.id())
}

fn shown(root: &Client, key: &str) -> String {
    let fields =
        "name email metadata allowedCidrs lastUsedIp lastUsedAt revocation { comment } createdBy { email }
        events(first: 50, filter: { types: [\"key.issued\", \"key.updated\", \"key.disabled\", \"key.revoked\",
            \"key.erased\"] }) { nodes { type data source { ip } changes { field before after } } }
        verifications(first: 50) { nodes { ip resource code } }";
    let key = root.key(key, fields).unwrap();
    let usage = data(
        root,
        "{ usage(from: \"2020-01-01T00:00:00Z\", to: \"2099-01-01T00:00:00Z\", groupBy: [ADDRESS], granularity: MONTH)
           { totals { verifications } groups { values { value } totals { verifications } } } }",
        &json!({}),
    );
    format!("{key}{usage}")
}

#[test]
fn what_is_erased_is_in_no_file_and_no_answer_and_the_log_still_verifies() {
    let server = Server::fresh();
    let root = server.root();
    let (identity, key) = a_life(&root);
    let while_it_was_used = root.key(&key, "createdAt").unwrap()["createdAt"].clone();
    let other = root.create_key("other").scope("read:letters/**").run();
    root.verify_with(&json!({ "key": other.secret(), "ip": "2001:db8::1" })).unwrap();
    let log = |home: &Home| fs::read(home.data_dir().join("events.db")).unwrap().len();
    assert!(log(server.home()) > 0);
    // In the log nothing of it was ever readable.
    for file in ["events.db", "events.db-wal"] {
        let bytes = fs::read(server.home().data_dir().join(file)).unwrap_or_default();
        for (name, trace) in traces() {
            assert!(memmem::find(&bytes, &trace).is_none(), "{file}: {name}");
        }
    }
    assert!(shown(&root, &key).contains(METADATA) && shown(&root, &key).contains(ADDRESS));

    let copies = found_in(&server.home().data_dir());
    assert!(copies.iter().all(|copy| copy.contains("readmodel.db")) && copies.len() > 5, "{copies:?}");

    // A person whose key may still be used is not erased.
    assert_eq!(erase(&root, &other.id()).unwrap_err(), "ILLEGAL_TRANSITION");
    assert_eq!(erase(&root, &identity).unwrap_err(), "ILLEGAL_TRANSITION");
    let delete = "mutation($id: ID!) { deleteIdentity(input: { id: $id }) { identity { id } } }";
    data(&root, delete, &json!({ "id": identity }));
    let erased = erase(&root, &identity).unwrap();
    assert_eq!(erased["complete"], true, "{erased}");
    assert_eq!(erased["keys"][0]["id"], key.as_str());
    assert_eq!(erased["keys"][0]["name"], "[erased]");
    assert_eq!(erased["identity"]["externalId"], "[erased]");
    let types: Vec<&str> =
        erased["events"].as_array().unwrap().iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["key.erased", "identity.erased"]);

    assert_eq!(found_in(&server.home().data_dir()), [""; 0]);
    let after = shown(&root, &key);
    for trace in [NAME, NEW_NAME, METADATA, COMMENT, RESOURCE, ADDRESS, NETWORK, EXTERNAL] {
        assert!(!after.to_lowercase().contains(&trace.to_lowercase()), "{trace} in {after}");
    }
    assert!(after.contains("2001:db8::1"), "what others used is still told: {after}");
    assert!(after.contains("VALID"), "what was counted stays: {after}");
    // Nothing leads from what somebody was called to what is left of them, and what was erased is not taken for what
    // never was.
    let query = "query($id: String!) { identity(externalId: $id) { id } }";
    assert_eq!(root.graphql(query, &json!({ "id": EXTERNAL })).unwrap_err().code(), Some("NOT_FOUND"));
    let create = "mutation($id: String!) { createIdentity(input: { externalId: $id }) { identity { id } } }";
    let again = format!("{:?}", root.graphql(create, &json!({ "id": EXTERNAL })).unwrap_err());
    assert!(again.contains("CONFLICT") && !again.contains(&identity), "{again}");
    let then = "query($id: ID!, $at: DateTime!) { key(id: $id, asOf: $at) { name erasedAt wouldAnswer(action: READ, ip: \"192.0.2.1\") } }";
    let then = root.graphql(then, &json!({ "id": key, "at": while_it_was_used }));
    assert_eq!(then.unwrap_err().code(), Some("ILLEGAL_TRANSITION"));
    // Again is no event.
    let again = erase(&root, &identity).unwrap();
    assert_eq!((&again["events"], &again["complete"]), (&json!([]), &json!(true)));
    // Its secret still tells nothing but that it is revoked, and its use leaves no address.
    let usage = root.graphql("{ __typename }", &json!({})).unwrap();
    assert_eq!(usage["__typename"], "Query");

    // After a crash, and from the log alone, it is the same.
    let home = server.home().clone();
    server.kill();
    drop(server);
    assert_eq!(found_in(&home.data_dir()), [""; 0]);
    for file in ["readmodel.db", "readmodel.db-wal", "readmodel.db-shm"] {
        let _ = fs::remove_file(home.data_dir().join(file));
    }
    let server = Server::start(&home, &[]);
    let root = server.root();
    eventually("what was counted is counted again", || shown(&root, &key).contains("2001:db8::1"));
    let rebuilt = shown(&root, &key);
    assert_eq!(rebuilt, after);
    assert_eq!(found_in(&home.data_dir()), [""; 0]);
}

#[test]
fn a_backup_of_the_vault_does_not_bring_anything_back() {
    let server = Server::fresh();
    let (_, key) = a_life(&server.root());
    let home = server.stop();
    let vault = home.data_dir().join("vault.db");
    let kept = fs::read(&vault).unwrap();
    let server = Server::start(&home, &[]);
    assert_eq!(erase(&server.root(), &key).unwrap()["complete"], true);
    let home = server.stop();
    fs::write(&vault, kept).unwrap();
    let _ = fs::remove_file(home.data_dir().join("readmodel.db"));
    let server = Server::start(&home, &[]);
    let shown = shown(&server.root(), &key);
    assert!(!shown.contains(METADATA) && !shown.contains(NEW_NAME), "{shown}");
}

#[test]
fn without_its_vault_a_log_is_not_served_unless_that_is_wanted() {
    let server = Server::fresh();
    let (_, key) = a_life(&server.root());
    let home = server.stop();
    let vault = home.data_dir().join("vault.db");
    fs::remove_file(&vault).unwrap();
    let Err(error) = home.launch(&[]).listening() else { panic!("it serves") };
    assert!(error.contains("vault.db") && error.contains("backup"), "{error}");
    fs::write(&vault, b"").unwrap();
    let server = Server::start(&home, &[]);
    let _ = fs::remove_file(home.data_dir().join("readmodel.db"));
    let trail = server.root().key(&key, "events(first: 9) { nodes { data } }").unwrap().to_string();
    assert!(!trail.contains(METADATA), "{trail}");
    // New data is sealed and read as ever.
    let new = server.root().create_key("after the loss").run();
    assert_eq!(server.root().key(&new.id(), "name").unwrap()["name"], "after the loss");
}

#[test]
fn only_administrators_of_the_organization_erase() {
    let server = Server::fresh();
    let root = server.root();
    let (_, key) = a_life(&root);
    let workspace = root.key(&key, "workspace { id }").unwrap()["workspace"]["id"].clone();
    for (role, target) in [("WORKSPACE_OWNER", "workspaceId"), ("WORKSPACE_MANAGER", "workspaceId")] {
        let manager =
            root.create_key("manager").with("grants", json!([{ "role": role, target: workspace }])).run();
        let manager = server.client(&manager.secret());
        assert_eq!(erase(&manager, &key).unwrap_err(), "FORBIDDEN");
    }
    for id in ["", "key_nonsense", "org_01h455vb4pex5vsknk084sn02q"] {
        assert_eq!(erase(&root, id).unwrap_err(), "INVALID_INPUT");
    }
    assert_eq!(erase(&root, "key_01h455vb4pex5vsknk084sn02q").unwrap_err(), "NOT_FOUND");
    assert_eq!(erase(&root, "idn_01h455vb4pex5vsknk084sn02q").unwrap_err(), "NOT_FOUND");
}

/// Writes into the row of a key in the vault, and answers what stood there.
fn write_row(home: &Home, key: &str, wrapped: &[u8]) -> Vec<u8> {
    let connection = rusqlite::Connection::open(home.data_dir().join("vault.db")).unwrap();
    let id: keyledger_schema::KeyId = key.parse().unwrap();
    let subject = keyledger_schema::Subject::Key(id).to_bytes();
    let select = "SELECT wrapped FROM data_keys WHERE subject = ?1";
    let old: Vec<u8> = connection.query_row(select, [subject], |row| row.get(0)).unwrap();
    let write = "UPDATE data_keys SET wrapped = ?2 WHERE subject = ?1";
    assert_eq!(connection.execute(write, rusqlite::params![subject, wrapped]).unwrap(), 1);
    old
}

fn without_read_model(home: &Home) {
    for file in ["readmodel.db", "readmodel.db-wal", "readmodel.db-shm"] {
        let _ = fs::remove_file(home.data_dir().join(file));
    }
}

const TRAIL: &str =
    "name erasedAt status events(first: 20) { nodes { type data actor { email } source { ip } } }";

#[test]
fn a_damaged_row_of_the_vault_loses_what_it_sealed_and_nothing_else() {
    let server = Server::fresh();
    let root = server.root();
    let tied = root.create_key(NAME).with("allowedCidrs", json!([NETWORK])).scope("read:**").run();
    let free = root.create_key(NAME).scope("read:**").run();
    let other = root.create_key("untouched").run().id();
    let home = server.stop();
    let kept = [tied.id(), free.id()].map(|id| (write_row(&home, &id, &[7; 72]), id));
    without_read_model(&home);

    // The server starts, and rebuilds its read model.
    let server = Server::start(&home, &[]);
    let root = server.root();
    for id in [tied.id(), free.id()] {
        let shown = root.key(&id, TRAIL).unwrap();
        assert_eq!((&shown["name"], &shown["erasedAt"]), (&json!("[unreadable]"), &Value::Null), "{shown}");
        let issued = &shown["events"]["nodes"][0]["data"];
        assert_eq!(issued["name"], "[unreadable]", "{issued}");
        assert!(!shown.to_string().contains("[erased]"), "{shown}");
        let (status, feed) = root.get(&format!("/v1/events?fromStart=true&wait=0&keyId={id}")).unwrap();
        assert!(status == 200 && feed.contains("[unreadable]"), "{feed}");
    }
    assert!(root.key(&other, TRAIL).unwrap().to_string().contains("untouched"));

    // What it was tied to cannot be read, so it is good from nowhere; the other one is as good as before.
    let used = |secret: &str| {
        root.verify_with(&json!({ "key": secret, "ip": ADDRESS, "action": "read", "resource": "a" })).unwrap()
    };
    assert_eq!(used(&tied.secret()).code, "IP_NOT_ALLOWED");
    assert_eq!(used(&free.secret()).code, "VALID");
    // What comes now is sealed with another data key, and can be read.
    root.update_key(&free.id(), NEW_NAME).unwrap();
    root.mutate("revokeKey", &json!({ "id": free.id(), "reason": "OTHER", "comment": COMMENT })).unwrap();
    let shown = root.key(&free.id(), TRAIL).unwrap();
    assert_eq!((shown["name"].as_str(), shown["status"].as_str()), (Some(NEW_NAME), Some("REVOKED")));
    assert!(shown.to_string().contains(COMMENT), "{shown}");
    let seen = || root.key(&free.id(), "lastUsedIp").unwrap()["lastUsedIp"].clone();
    eventually("the use is counted", || seen() == ADDRESS);

    // The log is as it should be; that a data key is lost has a code of its own.
    let home = server.stop();
    let mut verify = Command::new(env!("CARGO_BIN_EXE_keyledger"));
    let verified = verify.args(["audit", "verify", "--data-dir"]).arg(home.data_dir()).output().unwrap();
    let told = String::from_utf8(verified.stdout).unwrap();
    assert_eq!(verified.status.code(), Some(21), "{told}");
    assert!(told.contains("DOES NOT HOLD: VAULT: 2 of the data keys") && told.contains(&tied.id()), "{told}");
    assert!(told.contains("entries make the root"), "{told}");

    // With what was there before, it can be read again, and is still not erased.
    let [(good, tied_id), _] = kept;
    write_row(&home, &tied_id, &good);
    without_read_model(&home);
    let server = Server::start(&home, &[]);
    let shown = server.root().key(&tied_id, "name allowedCidrs").unwrap();
    assert_eq!((shown["name"].as_str(), &shown["allowedCidrs"][0]), (Some(NAME), &json!(NETWORK)));
}

#[test]
fn what_is_unreadable_can_be_erased_and_is_told_apart_from_it() {
    let server = Server::fresh();
    let (_, key) = a_life(&server.root());
    let home = server.stop();
    write_row(&home, &key, &[7; 72]);
    without_read_model(&home);
    let server = Server::start(&home, &[]);
    let root = server.root();
    assert_eq!(root.key(&key, "name").unwrap()["name"], "[unreadable]");
    let erased = erase(&root, &key).unwrap();
    assert_eq!((&erased["complete"], &erased["keys"][0]["name"]), (&json!(true), &json!("[erased]")));
    let trail = root.key(&key, TRAIL).unwrap().to_string();
    assert!(!trail.contains("[unreadable]"), "{trail}");
}

#[test]
fn a_request_with_an_idempotency_key_can_be_tried_no_more_once_it_is_erased() {
    let server = Server::fresh();
    let root = server.root();
    let create = || root.create_key(NAME).with("idempotencyKey", "order-1911").try_run();
    let made = create().unwrap();
    let raw = |root: &Client| {
        let nodes = root.key(&made.id(), "events(first: 9) { nodes { type data rawBytes } }").unwrap();
        nodes["events"]["nodes"].clone()
    };
    let issued = raw(&root)[0].clone();
    // Whoever may see the event sees it; the log has it sealed, beside the name.
    let fingerprint = issued["data"]["request_fingerprint"].as_str().unwrap().to_owned();
    assert_eq!(fingerprint.len(), 64);
    assert_eq!(create().unwrap().id(), made.id(), "the same request again is no other key");
    root.revoke_key(&made.id(), "UNUSED").unwrap();
    assert_eq!(erase(&root, &made.id()).unwrap()["complete"], true);
    assert_eq!(raw(&root)[0]["data"]["request_fingerprint"], Value::Null);
    // Whether it is the same one is not told any more.
    assert_eq!(create().unwrap_err().code(), Some("CONFLICT"));
    let home = server.stop();
    let digits: Vec<u8> =
        (0..32).map(|at| u8::from_str_radix(&fingerprint[2 * at..2 * at + 2], 16).unwrap()).collect();
    for entry in fs::read_dir(home.data_dir()).unwrap() {
        let path = entry.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        for trace in [digits.as_slice(), fingerprint.as_bytes()] {
            assert!(memmem::find(&bytes, trace).is_none(), "{}", path.display());
        }
    }
}
