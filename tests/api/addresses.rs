//! Addresses that keys are used from: a new one stands in the key's trail, once.

use serde_json::{Value, json};

use crate::ask::{eventually, types};
use crate::support::{Client, Server};

fn use_from(client: &Client, secret: &str, address: &str) -> String {
    client.verify_with(&json!({ "key": secret, "ip": address })).unwrap().code
}

/// The data of each event that tells of a new address.
fn told(client: &Client, key: &str) -> Vec<Value> {
    let key = client.key(key, "events(first: 50) { nodes { type actor { kind } data } }").unwrap();
    let events = key["events"]["nodes"].as_array().unwrap();
    let new = events.iter().filter(|event| event["type"] == "key.address_first_used");
    new.inspect(|event| assert_eq!(event["actor"]["kind"], "NODE"))
        .map(|event| event["data"].clone())
        .collect()
}

fn addresses(client: &Client, key: &str) -> Vec<String> {
    told(client, key).iter().map(|data| data["address"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_new_address_is_told_once_however_often_the_process_is_killed() {
    let server = Server::fresh();
    let root = server.root();
    let key = root.create_key("a").run();
    let other = root.create_key("b").run();
    assert_eq!(use_from(&root, &key.secret(), "203.0.113.1"), "VALID");
    assert_eq!(use_from(&root, &other.secret(), "203.0.113.9"), "VALID");
    eventually("the first use", || root.key(&key.id(), "lastUsedAt").unwrap()["lastUsedAt"].is_string());
    // The first address of a key is not news; what is no key's secret is nobody's.
    assert_eq!(use_from(&root, "kl_prod_nonsense", "203.0.113.3"), "MALFORMED");
    for _ in 0..3 {
        assert_eq!(use_from(&root, &key.secret(), "203.0.113.2"), "VALID");
        assert_eq!(use_from(&root, &key.secret(), "203.0.113.1"), "VALID");
    }
    eventually("the new address", || addresses(&root, &key.id()) == ["203.0.113.2"]);
    assert!(told(&root, &key.id())[0]["used_at"].is_string());
    assert!(told(&root, &key.id())[0].get("last").is_none());

    // Refusals count as well, as long as the secret is the key's.
    root.disable_key(&key.id()).unwrap();
    assert_eq!(use_from(&root, &key.secret(), "2001:db8::7"), "DISABLED");
    assert_eq!(use_from(&root, &key.secret(), "203.0.113.2"), "DISABLED");
    let home = server.home().clone();
    server.kill();
    drop(server);
    let server = Server::start(&home, &[]);
    let root = server.root();
    eventually("the address after the end", || addresses(&root, &key.id()) == ["203.0.113.2", "2001:db8::7"]);

    // Neither another start nor a rebuilt read model tells it again.
    server.kill();
    drop(server);
    for file in ["readmodel.db", "readmodel.db-wal", "readmodel.db-shm"] {
        let _ = std::fs::remove_file(home.data_dir().join(file));
    }
    let server = Server::start(&home, &[]);
    let root = server.root();
    assert_eq!(use_from(&root, &key.secret(), "203.0.113.4"), "DISABLED");
    eventually("one more address", || {
        addresses(&root, &key.id()) == ["203.0.113.2", "2001:db8::7", "203.0.113.4"]
    });
    assert_eq!(types(&root, &other.id()), ["key.issued"]);
}
