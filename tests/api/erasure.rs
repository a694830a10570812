//! Personal data: sealed in the log from the first event on, and gone from everywhere once it is erased.

use std::fs;
use std::net::IpAddr;
use std::path::Path;

use serde_json::{Value, json};

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

/// Every form in which something of it could stand in a file.
fn traces() -> Vec<Vec<u8>> {
    let ip: IpAddr = ADDRESS.parse().unwrap();
    let IpAddr::V6(ip) = ip else { panic!() };
    let mut traces: Vec<Vec<u8>> =
        [METADATA, COMMENT, RESOURCE, EXTERNAL, ADDRESS].map(|text| text.as_bytes().to_vec()).to_vec();
    for name in [NAME, NEW_NAME] {
        traces.push(name.as_bytes().to_vec());
        traces.push(name.to_lowercase().into_bytes());
    }
    traces.push(ip.octets().to_vec());
    traces
}

/// The files under a directory in which a trace is found.
fn found_in(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        for trace in traces() {
            if bytes.windows(trace.len()).any(|window| window == trace) {
                found.push(format!("{}: {}", path.display(), String::from_utf8_lossy(&trace)));
            }
        }
    }
    found
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
        assert!(!traces().iter().any(|trace| bytes.windows(trace.len()).any(|part| part == trace)), "{file}");
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

#[test]
fn what_cannot_be_read_from_the_vault_is_neither_erased_nor_left_out_of_the_log() {
    let server = Server::fresh();
    let root = server.root();
    let key = root.create_key("Ada Lovelace").run().id();
    let other = root.create_key("untouched").run().id();
    let home = server.stop();
    let vault = home.data_dir().join("vault.db");
    let row = |sql: &str, wrapped: &[u8]| {
        let connection = rusqlite::Connection::open(&vault).unwrap();
        let id: keyledger_schema::KeyId = key.parse().unwrap();
        let subject = keyledger_schema::Subject::Key(id).to_bytes();
        let old: Vec<u8> = connection
            .query_row("SELECT wrapped FROM data_keys WHERE subject = ?1", [subject], |row| row.get(0))
            .unwrap();
        assert_eq!(connection.execute(sql, rusqlite::params![subject, wrapped]).unwrap(), 1);
        old
    };
    let write = "UPDATE data_keys SET wrapped = ?2 WHERE subject = ?1";
    let good = row(write, &[7; 80]);
    let server = Server::start(&home, &[]);
    let root = server.root();
    let refused =
        |result: Result<Value, crate::support::Failure>| result.unwrap_err().code().map(str::to_owned);
    let unavailable = Some("UNAVAILABLE".to_owned());
    assert_eq!(refused(root.disable_key(&key).map(|done| done.key)), unavailable);
    let trail = "events(first: 9) { nodes { data } }";
    assert_eq!(refused(root.key(&key, trail)), unavailable);
    let (status, feed) = root.get(&format!("/v1/events?fromStart=true&wait=0&keyId={key}")).unwrap();
    assert_eq!(status, 503, "{feed}");
    assert!(root.key(&other, trail).unwrap().to_string().contains("untouched"), "others can be read");
    assert!(root.disable_key(&other).is_ok(), "and written");
    let home = server.stop();
    row(write, &good);
    let server = Server::start(&home, &[]);
    let shown = server.root().key(&key, "name status events(first: 9) { nodes { type data } }").unwrap();
    assert_eq!((shown["name"].as_str(), shown["status"].as_str()), (Some("Ada Lovelace"), Some("ACTIVE")));
    assert!(shown.to_string().contains("Ada Lovelace") && !shown.to_string().contains("key.disabled"));
}
