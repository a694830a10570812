//! That an exported trail is whole: proofs checked with the program's verifier, and with a second one that is
//! written from `docs/completeness.md` alone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use keyledger::audit::heads::{Absence, Head, Inclusion};
use keyledger::store::sqlite::{Options, SqliteStore};
use keyledger::store::{EventStore, Filter};
use keyledger_schema::{ChainHash, Hex32};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::ask::{attempt, data, eventually, text};
use crate::support::{Client, Home, Server};

type Hash = [u8; 32];

const PROOF: &str = "stream revision hash path steps { bit sibling } otherPath otherValue
    commitment { eventId at logIndex treeSize streams root rawBytes }";

fn hash(hex: &Value) -> Hash {
    serde_json::from_value::<Hex32>(hex.clone()).unwrap().0
}

fn sha(parts: &[&[u8]]) -> Hash {
    Sha256::digest(parts.concat()).into()
}

fn chain(bytes: &[u8]) -> Hash {
    *blake3::Hasher::new_derive_key("keyledger 2026-11 stream chain v1").update(bytes).finalize().as_bytes()
}

fn bit(path: &Hash, bit: usize) -> bool {
    path[bit / 8] & (0x80 >> (bit % 8)) != 0
}

/// What the documentation says, once more: whether a stream ends with these bytes under the root of a proof.
fn documented(proof: &Value, last: Option<&[u8]>) -> bool {
    let path = sha(&[text(&proof["stream"]).as_bytes()]);
    let mut above = match last {
        Some(bytes) => {
            let revision = serde_json::from_slice::<Value>(bytes).unwrap()["revision"].as_u64().unwrap();
            let value = sha(&[&[0x12], &revision.to_be_bytes(), &chain(bytes)]);
            sha(&[&[0x10], &path, &value])
        }
        None if proof["otherPath"].is_null() => return false,
        None => sha(&[&[0x10], &hash(&proof["otherPath"]), &hash(&proof["otherValue"])]),
    };
    let mut before = 256;
    for step in proof["steps"].as_array().unwrap() {
        let at = usize::try_from(step["bit"].as_u64().unwrap()).unwrap();
        if at >= before {
            return false;
        }
        if last.is_none() && bit(&path, at) != bit(&hash(&proof["otherPath"]), at) {
            return false;
        }
        before = at;
        let (number, sibling) = ([u8::try_from(at).unwrap()], hash(&step["sibling"]));
        above = if bit(&path, at) {
            sha(&[&[0x11], &number, &sibling, &above])
        } else {
            sha(&[&[0x11], &number, &above, &sibling])
        };
    }
    let moved = last.is_none() && hash(&proof["otherPath"]) == path;
    // The root that counts stands in the event's bytes.
    let event = STANDARD.decode(text(&proof["commitment"]["rawBytes"])).unwrap();
    let event: Value = serde_json::from_slice(&event).unwrap();
    !moved && event["type"] == "log.heads_committed" && hash(&event["data"]["root"]) == above
}

/// What the program's own verifier says.
fn verified(proof: &Value, head: Option<Head>) -> bool {
    let root = hash(&proof["commitment"]["root"]);
    let stream = text(&proof["stream"]);
    let steps = &proof["steps"];
    if let Some(head) = head {
        let proof: Inclusion = serde_json::from_value(json!({ "steps": steps })).unwrap();
        return proof.verify(&root, &stream, &head).is_ok();
    }
    let other =
        json!({ "end": "other", "path": proof["otherPath"], "value": proof["otherValue"], "steps": steps });
    serde_json::from_value::<Absence>(other).unwrap().verify(&root, &stream).is_ok()
}

/// A key's own stream as it is exported.
fn exported(client: &Client, key: &str) -> Vec<Vec<u8>> {
    let trail = client.key(key, "events(first: 200) { nodes { stream rawBytes } }").unwrap();
    let own = trail["events"]["nodes"].as_array().unwrap().clone().into_iter();
    own.filter(|event| event["stream"] == format!("key-{key}"))
        .map(|event| STANDARD.decode(text(&event["rawBytes"])).unwrap())
        .collect()
}

fn proof_of(client: &Client, key: &str) -> Value {
    client.key(key, &format!("completeness {{ {PROOF} }}")).unwrap()["completeness"].clone()
}

/// Whether an exported stream is whole: chained, and ending as committed.
fn is_whole(events: &[Vec<u8>], proof: &Value) -> bool {
    let mut before = Value::Null;
    for (revision, bytes) in events.iter().enumerate() {
        let event: Value = serde_json::from_slice(bytes).unwrap();
        if event["revision"] != revision || event.get("prev").cloned().unwrap_or_default() != before {
            return false;
        }
        before = json!(ChainHash(chain(bytes)).to_string());
    }
    let Some(last) = events.last() else { return false };
    let told = documented(proof, Some(last));
    let head = Head::of(events.len() as u64 - 1, last);
    assert_eq!(verified(proof, Some(head)), told, "the two verifiers differ");
    assert_eq!(told, proof["revision"] == events.len() - 1 && proof["hash"] == before);
    told
}

#[test]
fn an_exported_trail_is_whole_or_it_is_found_out() {
    let server = Server::fresh();
    let root = server.root();
    let key = root.create_key("a").run().id();
    for name in ["b", "c", "d"] {
        root.update_key(&key, name).unwrap();
        root.create_key(name).run();
    }
    let (events, proof) = (exported(&root, &key), proof_of(&root, &key));
    assert_eq!(events.len(), 4);
    assert!(is_whole(&events, &proof));
    assert!(!is_whole(&events[..3], &proof), "the last event is missing");
    assert!(!is_whole(&events[1..], &proof), "the first event is missing");
    let mut gap = events.clone();
    gap.remove(2);
    assert!(!is_whole(&gap, &proof), "an event in between is missing");
    // A proof of now does not serve for later.
    root.update_key(&key, "e").unwrap();
    let later = exported(&root, &key);
    assert!(!is_whole(&later, &proof));
    assert!(is_whole(&later, &proof_of(&root, &key)));
    // Anything else in it that is changed is found, too.
    for (pointer, wrong) in [
        ("/steps/0/sibling", json!("00".repeat(32))),
        ("/steps/0/bit", json!(200)),
        ("/commitment/root", json!("11".repeat(32))),
        ("/stream", json!(format!("key-{}", root.create_key("z").run().id()))),
    ] {
        let mut changed = proof.clone();
        *changed.pointer_mut(pointer).unwrap() = wrong;
        let head = Head::of(3, &events[3]);
        assert!(!verified(&changed, Some(head)), "{pointer}");
        assert!(pointer == "/commitment/root" || !documented(&changed, Some(&events[3])), "{pointer}");
    }
    // The same over REST.
    let (status, body) = root.get(&format!("/v1/audit/completeness?keyId={key}")).unwrap();
    assert_eq!(status, 200, "{body}");
    let rest: Value = serde_json::from_str(&body).unwrap();
    assert!(is_whole(&later, &rest));
    assert_eq!(rest["stream"], format!("key-{key}"));
    assert_eq!(rest["revision"], 4);
}

#[test]
fn a_stream_that_does_not_exist_is_proved_not_to() {
    let server = Server::fresh();
    let root = server.root();
    root.create_key("a").run();
    let organization = &server.home().tenant().organization;
    let query = format!("query($stream: String) {{ completenessProof(stream: $stream) {{ {PROOF} }} }}");
    let ask = |stream: String| data(&root, &query, &json!({ "stream": stream }))["completenessProof"].clone();
    let absent = ask(format!("audit-{organization}"));
    assert!(absent["revision"].is_null() && absent["hash"].is_null());
    assert!(documented(&absent, None) && verified(&absent, None));
    let mut other = absent.clone();
    other["stream"] = json!(format!("organization-{organization}"));
    assert!(!documented(&other, None) && !verified(&other, None), "this one exists");
    // A refusal brings the stream into being.
    attempt(&root, "rotateKey", &json!({ "id": "key_01h455vb4pex5vsknk084sn02q" }));
    let there = ask(format!("audit-{organization}"));
    assert_eq!(there["revision"], 0);
    assert!(ask(format!("organization-{organization}"))["revision"].is_number());
    // The streams of nodes are nobody's, and what is no name of a stream is none.
    let log = home_log(server.home());
    let node = log.iter().map(|(stream, _)| stream).find(|stream| stream.starts_with("node-")).unwrap();
    for (stream, code) in [(node.as_str(), "NOT_FOUND"), ("key-a", "INVALID_INPUT")] {
        let refused = root.graphql(&query, &json!({ "stream": stream })).unwrap_err();
        assert_eq!(refused.code(), Some(code), "{stream}");
        let (status, body) = root.get(&format!("/v1/audit/completeness?stream={stream}")).unwrap();
        assert!(body.contains(code) && status >= 400, "{status} {body}");
    }
    for query in ["", "?keyId=key_x", "?keyId=a&keyId=b", "?secret=x"] {
        let (status, body) = root.get(&format!("/v1/audit/completeness{query}")).unwrap();
        assert!(status == 400 && body.contains("INVALID_INPUT"), "{query}: {status} {body}");
    }
}

/// Streams and stored bytes in the order of the log.
fn home_log(home: &Arc<Home>) -> Vec<(String, Vec<u8>)> {
    // A copy: the directory may belong to a server.
    let copy = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(home.data_dir()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if name.starts_with("events.db") {
            std::fs::copy(&path, copy.path().join(name)).unwrap();
        }
    }
    let store = SqliteStore::open(copy.path(), Options::default()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let events = runtime.block_on(store.read_all(None, Filter::All, usize::MAX)).unwrap();
    events.iter().map(|event| (event.stream.to_string(), event.bytes.to_vec())).collect()
}

/// The root of some events as the documentation defines it, by sorting and splitting.
fn root_of(events: &[(String, Vec<u8>)]) -> (usize, Hash) {
    let mut last: BTreeMap<&str, (u64, &[u8])> = BTreeMap::new();
    for (stream, bytes) in events {
        last.entry(stream).and_modify(|head| *head = (head.0 + 1, bytes)).or_insert((0, bytes));
    }
    let leaves: Vec<(Hash, Hash)> = last
        .iter()
        .map(|(stream, (revision, bytes))| {
            let path = sha(&[stream.as_bytes()]);
            let value = sha(&[&[0x12], &revision.to_be_bytes(), &chain(bytes)]);
            (path, sha(&[&[0x10], &path, &value]))
        })
        .collect();
    (leaves.len(), split(&leaves))
}

fn split(leaves: &[(Hash, Hash)]) -> Hash {
    if let [(_, leaf)] = leaves {
        return *leaf;
    }
    let parted = |at: &usize| leaves.iter().any(|(path, _)| bit(path, *at) != bit(&leaves[0].0, *at));
    let Some(at) = (0..256).find(parted) else { return sha(&[&[0x13]]) };
    let (right, left): (Vec<_>, Vec<_>) = leaves.iter().partition(|(path, _)| bit(path, at));
    sha(&[&[0x11, u8::try_from(at).unwrap()], &split(&left), &split(&right)])
}

/// Every commitment of a log against the events that it covers. Answers how many there are.
fn check_commitments(log: &[(String, Vec<u8>)]) -> usize {
    let (mut covered, mut found) = (0, 0);
    for (index, (_, bytes)) in log.iter().enumerate() {
        let event: Value = serde_json::from_slice(bytes).unwrap();
        if event["type"] != "log.heads_committed" {
            continue;
        }
        let size = usize::try_from(event["data"]["tree_size"].as_u64().unwrap()).unwrap();
        assert!(size <= index, "it covers itself");
        let news = log[covered..size]
            .iter()
            .any(|(_, bytes)| !String::from_utf8_lossy(bytes).contains("\"type\":\"log.heads_committed\""));
        assert!(news, "commitment {found} came of commitments alone");
        let (streams, root) = root_of(&log[..size]);
        assert_eq!(event["data"]["streams"], streams, "commitment {found}");
        assert_eq!(event["data"]["root"], ChainHash(root).to_string(), "commitment {found}");
        (covered, found) = (size, found + 1);
    }
    found
}

#[test]
fn every_commitment_is_what_the_log_says_across_kills_and_restarts() {
    let home = Home::initialized();
    let mut keys = Vec::new();
    for round in 0..3 {
        let server = Server::start(&home, &[]);
        let root = server.root();
        for at in 0..5 {
            keys.push(root.create_key(&format!("{round} {at}")).run().id());
            root.update_key(&keys[at], &format!("in round {round}")).unwrap();
            if at % 2 == 0 {
                proof_of(&root, &keys[at]);
            }
        }
        // Kill in the middle of a question, or just after one.
        if round == 1 {
            let asker = root.clone();
            let key = keys[0].clone();
            let question = std::thread::spawn(move || drop(asker.key(&key, "completeness { revision }")));
            server.kill();
            question.join().unwrap();
        } else {
            server.kill();
        }
    }
    let server = Server::start(&home, &[]);
    let root = server.root();
    let (events, proof) = (exported(&root, &keys[0]), proof_of(&root, &keys[0]));
    assert!(is_whole(&events, &proof));
    let before = check_commitments(&home_log(&home));
    assert!(before >= 9, "{before}");
    // Asking again when nothing happened gives the same commitment; time alone makes none.
    assert_eq!(proof_of(&root, &keys[0])["commitment"], proof["commitment"]);
    sleep(Duration::from_secs(11));
    assert_eq!(check_commitments(&home_log(&home)), before);
    // What happens is committed without anybody asking.
    root.create_key("later").run();
    eventually("a commitment", || check_commitments(&home_log(&home)) > before);
    sleep(Duration::from_secs(2));
    assert_eq!(check_commitments(&home_log(&home)), before + 1);
}
