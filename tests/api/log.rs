//! The log as outsiders see it: what is fetched over HTTP is taken apart here by hand and checked with ct-merkle and
//! ed25519-dalek, not with our own code.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ct_merkle::mem_backed_tree::MemoryBackedTree;
use ct_merkle::{ConsistencyProof, InclusionProof, RootHash};
use ed25519_dalek::{Signature, VerifyingKey};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::ask::{ask, data, eventually, manager, text, world};
use crate::support::{Client, Home, Server};

type Tree = MemoryBackedTree<Sha256, Vec<u8>>;

/// What came back.
struct Answer {
    status: u16,
    headers: ureq::http::HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
    fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }
}

fn get(server: &Server, secret: Option<&str>, path: &str) -> Answer {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let mut request = agent.get(format!("{}{path}", server.base()));
    if let Some(secret) = secret {
        request = request.header("Authorization", format!("Bearer {secret}"));
    }
    let mut answer = request.call().unwrap();
    let body = answer.body_mut().with_config().limit(32 << 20).read_to_vec().unwrap();
    Answer { status: answer.status().as_u16(), headers: answer.headers().clone(), body }
}

fn root(server: &Server) -> String {
    server.home().tenant().root_key.clone()
}

fn base64(text: &str) -> Vec<u8> {
    STANDARD.decode(text).unwrap()
}

fn hash(text: &str) -> [u8; 32] {
    base64(text).try_into().unwrap()
}

/// A checkpoint whose signatures fit, taken apart.
#[derive(Clone, Debug)]
struct Checkpoint {
    origin: String,
    size: u64,
    root: [u8; 32],
    /// The keys whose signatures it carries.
    signers: Vec<String>,
}

impl Checkpoint {
    /// Every signature must be by one of these verifier keys, and fit.
    fn open(note: &str, keys: &[String]) -> Self {
        let (body, lines) = note.split_once("\n\n").unwrap();
        let signed = format!("{body}\n");
        let mut signers = Vec::new();
        for line in lines.lines() {
            let (name, bytes) = line.strip_prefix("\u{2014} ").unwrap().split_once(' ').unwrap();
            let bytes = base64(bytes);
            let key = keys.iter().find(|key| {
                let mut parts = key.splitn(3, '+');
                parts.next() == Some(name)
                    && parts.next().map(|id| u32::from_str_radix(id, 16).unwrap().to_be_bytes())
                        == Some(bytes[..4].try_into().unwrap())
            });
            let key = key.unwrap_or_else(|| panic!("{line} is by none of {keys:?}"));
            let public = base64(key.splitn(3, '+').nth(2).unwrap());
            assert_eq!((public[0], public.len()), (1, 33));
            let id = Sha256::new().chain_update(name).chain_update([b'\n']).chain_update(&public).finalize();
            assert_eq!(id[..4], bytes[..4]);
            let public = VerifyingKey::from_bytes(&public[1..].try_into().unwrap()).unwrap();
            let signature = Signature::from_slice(&bytes[4..]).unwrap();
            public.verify_strict(signed.as_bytes(), &signature).unwrap();
            signers.push(key.clone());
        }
        let lines: Vec<&str> = body.lines().collect();
        let [origin, size, root] = lines[..] else { panic!("{note}") };
        Self { origin: origin.into(), size: size.parse().unwrap(), root: hash(root), signers }
    }

    fn root_hash(&self) -> RootHash<Sha256> {
        RootHash::new(self.root.into(), self.size)
    }
}

fn keys(client: &Client) -> Vec<String> {
    let data = data(client, "{ logKeys { verifierKey } }", &json!({}));
    data["logKeys"].as_array().unwrap().iter().map(|key| text(&key["verifierKey"])).collect()
}

/// The newest checkpoint, over everything that is in the log.
fn current(server: &Server) -> Checkpoint {
    let client = server.root();
    let data = data(&client, "{ checkpoint { origin size root note keys { verifierKey } } }", &json!({}));
    let shown = &data["checkpoint"];
    let opened = Checkpoint::open(shown["note"].as_str().unwrap(), &keys(&client));
    assert_eq!(shown["origin"], opened.origin.as_str());
    assert_eq!(shown["size"], opened.size);
    assert_eq!(hash(shown["root"].as_str().unwrap()), opened.root);
    // What is current over GraphQL is the newest over HTTP, or older than that.
    let published = get(server, Some(&root(server)), "/log/checkpoint");
    assert_eq!(published.status, 200);
    assert_eq!(published.header("content-type"), "text/plain; charset=utf-8");
    assert!(Checkpoint::open(&published.text(), &keys(&client)).size >= opened.size);
    opened
}

fn place(index: u64, width: u64) -> String {
    let mut groups = format!("{:03}", index % 1000);
    let mut rest = index / 1000;
    while rest > 0 {
        groups = format!("x{:03}/{groups}", rest % 1000);
        rest /= 1000;
    }
    if width < 256 { format!("{groups}.p/{width}") } else { groups }
}

/// Fetches all entries below a size, under the path of the specification.
fn entries(server: &Server, size: u64) -> Vec<Vec<u8>> {
    let mut entries = Vec::new();
    for index in 0..size.div_ceil(256) {
        let width = (size - index * 256).min(256);
        let answer = get(server, Some(&root(server)), &format!("/log/tile/entries/{}", place(index, width)));
        assert_eq!((answer.status, answer.header("content-type")), (200, "application/octet-stream"));
        assert_eq!(answer.header("cache-control"), "no-store");
        let other = get(server, Some(&root(server)), &format!("/log/entries/{}", place(index, width)));
        assert!(other.body == answer.body);
        let mut bytes = &answer.body[..];
        while let Some((length, rest)) = bytes.split_first_chunk::<2>() {
            let (entry, rest) = rest.split_at(usize::from(u16::from_be_bytes(*length)));
            entries.push(entry.to_vec());
            bytes = rest;
        }
    }
    assert_eq!(entries.len() as u64, size);
    entries
}

fn tree_of(entries: &[Vec<u8>]) -> Tree {
    let mut tree = Tree::new();
    for entry in entries {
        tree.push(entry.clone());
    }
    tree
}

fn concat(hashes: &Value) -> Vec<u8> {
    hashes.as_array().unwrap().iter().flat_map(|hash| base64(hash.as_str().unwrap())).collect()
}

/// Both are what they say, and the log of the one is the start of that of the other.
fn consistent(client: &Client, old: &Checkpoint, new: &Checkpoint) {
    let query = "query($from: Long!, $to: Long!) {
        consistencyProof(from: $from, to: $to) { hashes fromRoot toRoot } }";
    let proof = data(client, query, &json!({ "from": old.size, "to": new.size }))["consistencyProof"].take();
    assert_eq!(hash(proof["fromRoot"].as_str().unwrap()), old.root, "{old:?} {new:?}");
    assert_eq!(hash(proof["toRoot"].as_str().unwrap()), new.root);
    let hashes = ConsistencyProof::try_from_bytes(concat(&proof["hashes"])).unwrap();
    new.root_hash().verify_consistency(&old.root_hash(), &hashes).unwrap();
}

/// The proof file of an event, checked against its bytes by hand.
fn proved(server: &Server, event: &str, entry: &[u8], keys: &[String]) -> u64 {
    let answer = get(server, Some(&root(server)), &format!("/log/proof/{event}"));
    assert_eq!((answer.status, answer.header("content-type")), (200, "text/plain; charset=utf-8"));
    assert_eq!(answer.header("content-disposition"), format!("attachment; filename=\"{event}.tlog-proof\""));
    let file = answer.text();
    let (head, note) = file.split_once("\n\n").unwrap();
    let mut lines = head.lines();
    assert_eq!(lines.next(), Some("c2sp.org/tlog-proof@v1"));
    let index: u64 = lines.next().unwrap().strip_prefix("index ").unwrap().parse().unwrap();
    let path: Vec<u8> = lines.flat_map(base64).collect();
    let checkpoint = Checkpoint::open(note, keys);
    let proof = InclusionProof::try_from_bytes(path).unwrap();
    checkpoint.root_hash().verify_inclusion(&entry, index, &proof).unwrap();
    index
}

#[test]
fn the_whole_log_can_be_rebuilt_and_checked_by_somebody_else() {
    let server = Server::start(&Home::initialized(), &["--log-origin", "log.example/keys"]);
    let client = server.root();
    for n in 0..265 {
        client.create_key(&format!("key {n}")).run();
    }
    let checkpoint = current(&server);
    assert_eq!(checkpoint.origin, "log.example/keys");
    assert!(checkpoint.size > 265);
    let entries = entries(&server, checkpoint.size);
    let tree = tree_of(&entries);
    assert_eq!(checkpoint.root[..], tree.root().as_bytes()[..]);
    // The tiles of hashes, of all widths at which there may have been a checkpoint.
    let leaf = |entry: &Vec<u8>| Sha256::new().chain_update([0]).chain_update(entry).finalize().to_vec();
    let leaves: Vec<Vec<u8>> = entries.iter().map(leaf).collect();
    for width in [1, 2, 255, 256] {
        let answer = get(&server, Some(&root(&server)), &format!("/log/tile/0/{}", place(0, width)));
        assert_eq!((answer.status, answer.header("content-type")), (200, "application/octet-stream"));
        assert_eq!(answer.header("cache-control"), "private, max-age=31536000, immutable");
        assert!(answer.body == leaves[..usize::try_from(width).unwrap()].concat());
    }
    let rest =
        get(&server, Some(&root(&server)), &format!("/log/tile/0/{}", place(1, checkpoint.size - 256)));
    assert!(rest.body == leaves[256..].concat());
    let above = get(&server, Some(&root(&server)), "/log/tile/1/000.p/1");
    assert_eq!(above.body, tree_of(&entries[..256]).root().as_bytes()[..]);
    for (path, status) in [
        ("/log/tile/0/002", 404),
        ("/log/tile/1/000.p/2", 404),
        ("/log/tile/2/000.p/1", 404),
        ("/log/tile/entries/009", 404),
        ("/log/entries/009", 404),
        ("/log/tile/0/0", 400),
        ("/log/tile/0/000.p/256", 400),
        ("/log/tile/64/000", 400),
        ("/log/tile/data/000", 400),
        ("/log/entries/0", 400),
        ("/log/tile/0/x000/000", 400),
        ("/log/proof/evt_01h455vb4pex5vsknk084sn02q", 404),
        ("/log/proof/evt_", 400),
    ] {
        assert_eq!(get(&server, Some(&root(&server)), path).status, status, "{path}");
    }
    // A proof of an event, in all its forms.
    let issued = client.create_key("proved").run();
    let event = issued.event_ids().next().unwrap();
    let query = "query($id: ID!) { event(id: $id) { logIndex rawBytes inclusionProof { logIndex tlogProof } }
        inclusionProof(eventId: $id) { logIndex treeSize leafHash hashes root entry tlogProof checkpoint { note } } }";
    let shown = data(&client, query, &json!({ "id": event }));
    let (proof, entry) = (&shown["inclusionProof"], base64(shown["event"]["rawBytes"].as_str().unwrap()));
    assert_eq!(proof["entry"], shown["event"]["rawBytes"]);
    assert_eq!(proof["logIndex"], shown["event"]["logIndex"]);
    assert_eq!(shown["event"]["inclusionProof"]["logIndex"], shown["event"]["logIndex"]);
    assert_eq!(base64(proof["leafHash"].as_str().unwrap()), leaf(&entry));
    let checkpoint = Checkpoint::open(proof["checkpoint"]["note"].as_str().unwrap(), &keys(&client));
    assert_eq!(proof["treeSize"], checkpoint.size);
    let index = shown["event"]["logIndex"].as_u64().unwrap();
    let path = InclusionProof::try_from_bytes(concat(&proof["hashes"])).unwrap();
    checkpoint.root_hash().verify_inclusion(&entry, index, &path).unwrap();
    assert_eq!(proved(&server, event, &entry, &keys(&client)), index);
    // In the tree of exactly the events up to it, when there is a larger one.
    client.create_key("later").run();
    assert!(current(&server).size > index + 1);
    let query = "query($id: ID!, $size: Long!) {
        inclusionProof(eventId: $id, treeSize: $size) { root hashes tlogProof checkpoint { size } } }";
    let earlier = data(&client, query, &json!({ "id": event, "size": index + 1 }))["inclusionProof"].take();
    let older = RootHash::<Sha256>::new(hash(earlier["root"].as_str().unwrap()).into(), index + 1);
    let path = InclusionProof::try_from_bytes(concat(&earlier["hashes"])).unwrap();
    older.verify_inclusion(&entry, index, &path).unwrap();
    assert!(earlier["checkpoint"].is_null() && earlier["tlogProof"].is_null());
    for size in [index, checkpoint.size + 1_000_000] {
        assert_eq!(ask(&client, query, &json!({ "id": event, "size": size })).code(), "INVALID_INPUT");
    }
}

/// Runs a command on a data directory that no server uses; what it prints.
fn command(home: &Home, arguments: &[&str]) -> Result<Value, String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keyledger"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("KEYLEDGER_"))
    {
        command.env_remove(name);
    }
    let output = command.args(arguments).arg("--data-dir").arg(home.data_dir()).output().unwrap();
    if output.status.success() {
        Ok(serde_json::from_slice(&output.stdout).unwrap())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

#[test]
fn every_checkpoint_ever_seen_is_consistent_with_all_later_ones() {
    let home = Home::initialized();
    let mut seen: Vec<Checkpoint> = Vec::new();
    let check = |server: &Server, seen: &mut Vec<Checkpoint>| {
        let now = current(server);
        for earlier in &*seen {
            consistent(&server.root(), earlier, &now);
        }
        seen.push(now);
    };
    let mut server = Server::start(&home, &[]);
    for round in 0..4 {
        for n in 0..5 {
            server.root().create_key(&format!("{round} {n}")).run();
            check(&server, &mut seen);
        }
        // What was not asked for is signed all the same, and what was signed is on the disk.
        server.root().create_key("unasked").run();
        let size = seen.last().unwrap().size;
        eventually("a checkpoint of its own accord", || {
            let note = get(&server, Some(&root(&server)), "/log/checkpoint").text();
            Checkpoint::open(&note, &keys(&server.root())).size > size
        });
        let home: Arc<Home> = if round % 2 == 0 {
            server.kill();
            Arc::clone(server.home())
        } else {
            server.stop()
        };
        if round == 2 {
            remove(&home.data_dir(), "tree.db");
        }
        server = Server::start(&home, &[]);
        check(&server, &mut seen);
    }
    // Two keys sign for a while, then the second one alone.
    let first = seen.last().unwrap().signers.clone();
    assert_eq!(first.len(), 1);
    let home = server.stop();
    assert!(command(&home, &["audit", "retire-log-key", "--generation", "1", "--json"]).is_err());
    let rotated = command(&home, &["audit", "rotate-log-key", "--json"]).unwrap();
    let both: Vec<String> =
        rotated["logKeys"].as_array().unwrap().iter().map(|key| text(&key["verifierKey"])).collect();
    assert_eq!((both.len(), &both[0]), (2, &first[0]));
    let server = Server::start(&home, &[]);
    check(&server, &mut seen);
    assert_eq!(seen.last().unwrap().signers, both);
    let home = server.stop();
    for _ in 0..2 {
        let retired = command(&home, &["audit", "retire-log-key", "--generation", "1", "--json"]).unwrap();
        assert!(
            retired["logKeys"][0]["retiredAt"].is_string() && retired["logKeys"][1]["retiredAt"].is_null()
        );
    }
    assert!(command(&home, &["audit", "retire-log-key", "--generation", "7", "--json"]).is_err());
    let server = Server::start(&home, &[]);
    check(&server, &mut seen);
    assert_eq!(seen.last().unwrap().signers, both[1..]);
}

fn remove(directory: &Path, start: &str) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_string_lossy().starts_with(start) {
            fs::remove_file(path).unwrap();
        }
    }
}

#[test]
fn the_log_is_shown_to_those_who_may_see_it() {
    let world = world();
    let own = world.root.create_key("a").with("workspaceId", world.workspace.as_str()).run();
    let event = own.event_ids().next().unwrap().to_owned();
    let auditor = manager(&world.root, "AUDITOR", &world.workspace).secret();
    let viewer = manager(&world.root, "VIEWER", &world.workspace).secret();
    let other = world.other_tenant.root_key.clone();
    let root = world.server.home().tenant().root_key.clone();
    let proof = format!("/log/proof/{event}");
    let status = |secret: Option<&str>, path: &str| get(&world.server, secret, path).status;
    // The size is above zero, so there is a tile.
    eventually("a checkpoint", || status(Some(&root), "/log/tile/0/000.p/1") == 200);
    for (secret, expected) in [
        (None, [401, 401, 401, 401, 401]),
        (Some(&viewer), [403, 403, 403, 403, 404]),
        (Some(&auditor), [200, 200, 403, 403, 200]),
        // There are two tenants, so nobody may read the trails of all.
        (Some(&root), [200, 200, 403, 403, 200]),
        (Some(&other), [200, 200, 403, 403, 404]),
    ] {
        let paths = [
            "/log/checkpoint",
            "/log/tile/0/000.p/1",
            "/log/tile/entries/000.p/1",
            "/log/entries/000.p/1",
            proof.as_str(),
        ];
        let got = paths.map(|path| status(secret.map(String::as_str), path));
        assert_eq!(got, expected);
    }
    // Public, that is: checkpoints and hashes, and nothing else.
    let home = world.server.stop();
    let server = Server::start(&home, &["--public-log", "true"]);
    let paths = [
        "/log/checkpoint",
        "/log/tile/0/000.p/1",
        "/log/tile/entries/000.p/1",
        "/log/entries/000.p/1",
        proof.as_str(),
    ];
    assert_eq!(paths.map(|path| get(&server, None, path).status), [200, 200, 401, 401, 401]);
    assert_eq!(get(&server, None, "/log/checkpoint").header("cache-control"), "public, max-age=1");
    let tile = get(&server, None, "/log/tile/0/000.p/1");
    assert_eq!(tile.header("cache-control"), "public, max-age=31536000, immutable");
}

#[test]
fn the_name_of_the_log_is_fixed_at_the_first_start() {
    let home = Home::initialized();
    let server = Server::start(&home, &["--log-origin", "log.example/keys"]);
    let home = server.stop();
    let said = home.launch(&["--log-origin", "log.example/other"]).listening().err().unwrap();
    assert!(said.contains("log.example/keys") && said.contains("log_origin"), "{said}");
    let server = Server::start(&home, &[]);
    assert_eq!(current(&server).origin, "log.example/keys");
    for bad in ["", "a b", "a+b", "a\u{e9}"] {
        let said = home.launch(&["--log-origin", bad]).listening().err().unwrap();
        assert!(said.contains("--log-origin"), "{said}");
    }
}

#[test]
fn a_log_that_was_put_back_signs_nothing_and_goes_on_working() {
    let server = Server::fresh();
    let issued = server.root().create_key("kept").run();
    current(&server);
    let home = server.stop();
    let log = home.data_dir().join("events.db");
    let backup = fs::read(&log).unwrap();
    let server = Server::start(&home, &[]);
    for _ in 0..20 {
        server.root().create_key("lost").run();
    }
    let before = current(&server);
    let home = server.stop();
    fs::write(&log, backup).unwrap();
    for file in ["events.db-", "readmodel.db", "tree.db"] {
        remove(&home.data_dir(), file);
    }
    let server = Server::start(&home, &[]);
    let client = server.root();
    eventually("the tree's refusal", || {
        let (status, body) = client.get("/readyz").unwrap();
        status == 503 && body.contains("\"tree\"")
    });
    assert!(server.log().contains(&format!("a checkpoint over {}", before.size)), "{}", server.log());
    for query in ["{ checkpoint { size } }", "{ consistencyProof(from: 1) { hashes } }"] {
        let answer = ask(&client, query, &json!({}));
        assert_eq!(answer.code(), "UNAVAILABLE", "{}", answer.body);
    }
    let event = issued.event_ids().next().unwrap();
    let query = "query($id: ID!) { inclusionProof(eventId: $id) { hashes } }";
    assert_eq!(ask(&client, query, &json!({ "id": event })).code(), "UNAVAILABLE");
    for path in ["/log/checkpoint", "/log/tile/0/000.p/1", "/log/entries/000.p/1"] {
        assert_eq!(get(&server, Some(&root(&server)), path).status, 503, "{path}");
    }
    assert!(client.verify(&issued.secret()).unwrap().valid);
    assert!(client.create_key("goes on").try_run().is_ok());
}
