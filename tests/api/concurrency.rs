//! Many at the same key.

use std::sync::Mutex;
use std::thread;

use serde_json::json;

use crate::ask::text;
use crate::support::Server;

#[test]
fn updates_of_one_key_at_the_same_time_all_succeed_one_after_another() {
    let server = Server::fresh();
    let root = server.root();
    let id = root.create_key("a").run().id();
    let seen = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for number in 0..64 {
            let (root, id, seen) = (&root, &id, &seen);
            scope.spawn(move || {
                let updated = root.update_key(id, &format!("name {number}")).unwrap();
                seen.lock().unwrap().push(updated.key["revision"].as_u64().unwrap());
            });
        }
    });
    let mut seen = seen.into_inner().unwrap();
    seen.sort_unstable();
    assert_eq!(seen, (1..=64).collect::<Vec<u64>>());
    let key = root.key(&id, "revision events(first: 100) { nodes { revision hash previousHash } }").unwrap();
    let events = key["events"]["nodes"].as_array().unwrap();
    assert_eq!((events.len(), &key["revision"]), (65, &json!(64)));
    for (place, pair) in events.windows(2).enumerate() {
        assert_eq!(pair[1]["revision"], json!(place + 1));
        assert_eq!(text(&pair[1]["previousHash"]), text(&pair[0]["hash"]));
    }
}

#[test]
fn a_change_that_somebody_else_made_first_is_in_effect_when_it_is_answered() {
    let server = Server::fresh();
    let root = server.root();
    for _ in 0..20 {
        let issued = root.create_key("a").run();
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    root.disable_key(&issued.id()).unwrap();
                    assert_eq!(root.verify(&issued.secret()).unwrap().code, "DISABLED");
                    assert_eq!(root.key(&issued.id(), "status").unwrap()["status"], "INACTIVE");
                });
            }
        });
    }
}

#[test]
fn rotations_at_the_same_time_leave_exactly_the_secrets_of_the_last_ones() {
    let server = Server::fresh();
    let root = server.root();
    let id = root.create_key("a").run().id();
    let made = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                let rotated = root.rotate_key(&id, 3_600).unwrap();
                made.lock().unwrap().push((rotated.key["secretVersion"].as_u64().unwrap(), rotated.secret()));
            });
        }
    });
    let mut made = made.into_inner().unwrap();
    made.sort_unstable();
    let versions: Vec<u64> = made.iter().map(|(version, _)| *version).collect();
    assert_eq!(versions, (2..=17).collect::<Vec<u64>>());
    for (version, secret) in made {
        let answer = root.verify(&secret).unwrap();
        assert_eq!(answer.valid, version >= 16, "version {version}");
    }
}
