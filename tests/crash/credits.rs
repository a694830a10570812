//! Credits are exact: however often the server is killed while many clients spend them, exactly as many
//! verifications are answered `VALID` as there were credits.
//!
//! A client whose request was cut off does not know what was answered. The log does: it is the story that
//! has to come out even.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use keyledger_schema::KeyId;
use serde_json::{Value, json};

use crate::log::Log;
use crate::random::Random;
use crate::support::{Client, Failure, Home, Server};
use crate::{delete_read_model, kill_while_starting};

const CREDITS: u64 = 1_000;
const CLIENTS: usize = 64;
/// Of both pools together, so many answers of a run are waited for before the kill.
const ANSWERS: u64 = 330;

/// A key with credits of its own, and two that share those of an identity.
struct Keys {
    own: (KeyId, String),
    shared: [(KeyId, String); 2],
}

impl Keys {
    fn create(root: &Client) -> Self {
        let created = |name: &str, field: &str, value: Value| {
            let key = root.create_key(name).with(field, value).run();
            (key.id().parse().unwrap(), key.secret())
        };
        let query =
            "mutation($input: CreateIdentityInput!) { createIdentity(input: $input) { identity { id } } }";
        let made = root.graphql(query, &json!({ "input": { "externalId": "customer 42" } })).unwrap();
        let identity = &made["createIdentity"]["identity"]["id"];
        let query = "mutation($input: SetCreditsInput!) { setCredits(input: $input) { events { id } } }";
        let input = json!({ "id": identity, "remaining": CREDITS, "reason": "bought" });
        root.graphql(query, &json!({ "input": input })).unwrap();
        Self {
            own: created("own", "credits", json!({ "remaining": CREDITS })),
            shared: ["first", "second"].map(|name| created(name, "identityId", identity.clone())),
        }
    }

    fn secrets(&self) -> [&str; 4] {
        // As many calls of the one pool as of the other.
        [&self.own.1, &self.shared[0].1, &self.own.1, &self.shared[1].1]
    }
}

/// What clients were told of both pools.
#[derive(Default)]
struct Told {
    valid: [AtomicU64; 2],
    unanswered: [AtomicU64; 2],
    exhausted: AtomicU64,
}

impl Told {
    fn all_valid(&self) -> u64 {
        self.valid.iter().map(|count| count.load(Ordering::SeqCst)).sum()
    }
}

/// Verifies in turn until the server is gone or `done` says so.
fn spend(client: &Client, keys: &Keys, first: usize, told: &Told, done: impl Fn() -> bool) {
    for turn in first.. {
        if done() {
            return;
        }
        let pool = turn % 2;
        match client.verify(keys.secrets()[turn % 4]) {
            Ok(answer) if answer.code == "VALID" => {
                told.valid[pool].fetch_add(1, Ordering::SeqCst);
            }
            Ok(answer) => {
                assert_eq!(answer.code, "CREDITS_EXHAUSTED");
                told.exhausted.fetch_add(1, Ordering::SeqCst);
            }
            Err(Failure::Unanswered(_)) => {
                told.unanswered[pool].fetch_add(1, Ordering::SeqCst);
                return;
            }
            Err(refused) => panic!("{refused:?}"),
        }
    }
}

fn valid(log: &Log, key: &(KeyId, String)) -> u64 {
    log.usage.get(&(Some(key.0), "VALID".to_owned())).copied().unwrap_or(0)
}

#[test]
fn credits_are_spent_exactly_however_often_the_server_is_killed() {
    let mut random = Random::seeded();
    let home = Home::initialized();
    let server = Server::start(&home, &[]);
    let keys = Keys::create(&server.root());
    server.stop();
    let told = Told::default();
    for run in 0..5 {
        let server = Server::start(&home, &[]);
        let enough = told.all_valid() + ANSWERS;
        let (killed, client) = (AtomicBool::new(false), server.root());
        thread::scope(|scope| {
            for number in 0..CLIENTS {
                let (keys, told, killed, client) = (&keys, &told, &killed, client.clone());
                scope.spawn(move || spend(&client, keys, number, told, || killed.load(Ordering::SeqCst)));
            }
            while told.all_valid() < enough && told.exhausted.load(Ordering::SeqCst) < 200 {
                thread::sleep(Duration::from_millis(1));
            }
            server.kill();
            killed.store(true, Ordering::SeqCst);
        });
        if run % 2 == 1 {
            delete_read_model(&home);
        }
        if random.below(2) == 0 {
            kill_while_starting(&home, &[], random.millis(0, 60));
        }
    }
    // Until both pools are empty.
    let server = Server::start(&home, &[]);
    let empty = told.exhausted.load(Ordering::SeqCst) + 500;
    thread::scope(|scope| {
        for number in 0..CLIENTS {
            let (keys, told, client) = (&keys, &told, server.root());
            scope.spawn(move || {
                spend(&client, keys, number, told, || told.exhausted.load(Ordering::SeqCst) >= empty);
            });
        }
    });
    let left = server.root().key(&keys.own.0.to_string(), "credits { remaining spent }").unwrap();
    assert_eq!(left["credits"], json!({ "remaining": 0, "spent": CREDITS }));
    // What is set and adjusted after so much was spent outlives kills, too.
    let own = keys.own.0.to_string();
    let set = "mutation($input: SetCreditsInput!) { setCredits(input: $input) { events { id } } }";
    let input = json!({ "id": own, "remaining": 5, "reason": "bought" });
    server.root().graphql(set, &json!({ "input": input })).unwrap();
    server.kill();
    let server = Server::start(&home, &[]);
    let remaining = |server: &Server| {
        server.root().key(&own, "credits { remaining }").unwrap()["credits"]["remaining"].as_u64().unwrap()
    };
    assert_eq!(remaining(&server), 5);
    let adjust = "mutation($input: AdjustCreditsInput!) { adjustCredits(input: $input) { events { id } } }";
    let input = json!({ "id": own, "by": 2, "reason": "gift" });
    server.root().graphql(adjust, &json!({ "input": input })).unwrap();
    assert!(server.root().verify(&keys.own.1).unwrap().valid);
    server.kill();
    delete_read_model(&home);
    let server = Server::start(&home, &[]);
    assert_eq!(remaining(&server), 6);
    server.stop();

    let log = Log::read(&home);
    let recorded = [valid(&log, &keys.own), keys.shared.iter().map(|key| valid(&log, key)).sum()];
    assert_eq!(recorded, [CREDITS + 1, CREDITS], "answers VALID in the log");
    for pool in 0..2 {
        let (valid, cut) = (&told.valid[pool], &told.unanswered[pool]);
        let (valid, cut) = (valid.load(Ordering::SeqCst), cut.load(Ordering::SeqCst));
        println!("pool {pool}: {valid} answers VALID, {cut} requests cut off");
        assert!(valid <= CREDITS && valid + cut >= CREDITS, "{valid} answers VALID, {cut} cut off");
    }
    assert_eq!(spent(&log), HashMap::from([(true, CREDITS + 1), (false, CREDITS)]));
}

/// Credits that the records tell of: those of keys, and those of identities.
fn spent(log: &Log) -> HashMap<bool, u64> {
    let mut spent = HashMap::new();
    for (pool, tally) in &log.spent {
        let own = matches!(pool, keyledger_projections::PoolId::Key(_));
        *spent.entry(own).or_insert(0) += tally.spent;
    }
    spent
}
