//! Floods of texts that are nobody's key, against the real server: they cost a bounded part of the log,
//! everything answered is counted in it, and whoever has a key does not wait.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod support;

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use keyledger::edge::{Edge, Stopwatch};
use keyledger::secret::Secret;
use keyledger::store::sqlite::{Options, SqliteStore};
use keyledger::store::{EventStore, Filter};
use keyledger::verify::recorder::UNKNOWN_INTERVAL;
use keyledger_schema::usage::UsageRecord;
use keyledger_schema::{Envelope, Environment, Event};
use serde_json::{Value, json};

use support::{Client, Home, Server};

const CONNECTIONS: usize = 8;
/// Texts in a call, each from another address: more than the addresses that are kept at a time for one verifier.
const AT_ONCE: usize = 100;
/// Between two calls of a connection, so that the flood does not take the machine from those who are not to wait.
const PAUSE: Duration = Duration::from_millis(40);
const FLOOD: Duration = Duration::from_millis(2_500);
/// As documented for each verifier.
const MAX_BYTES_PER_SECOND: f64 = 200_000.0;
/// As documented for each verifier and write.
const MAX_ADDRESSES: usize = 64;

/// Asks about texts that are nobody's key until told to stop; how many were answered as unknown and as
/// malformed.
fn flood(client: &Client, over: &AtomicBool) -> [u64; 2] {
    let edge = Edge::default();
    let mut answered = [0, 0];
    while !over.load(Ordering::Relaxed) {
        let (mut asked, mut expected) = (Vec::with_capacity(AT_ONCE), Vec::with_capacity(AT_ONCE));
        for _ in 0..AT_ONCE {
            let random = edge.random();
            let (question, malformed) = question(&random);
            asked.push(question);
            expected.push(if malformed { "MALFORMED" } else { "NOT_FOUND" });
            answered[usize::from(malformed)] += 1;
        }
        let (status, answer) = client.post("/v1/verify/batch", &json!({ "requests": asked })).unwrap();
        assert_eq!(status, 200, "{answer}");
        let codes: Vec<&str> =
            answer["results"].as_array().unwrap().iter().map(|one| one["code"].as_str().unwrap()).collect();
        assert_eq!(codes, expected);
        thread::sleep(PAUSE);
    }
    answered
}

/// A text that is nobody's key, and whether it is not even like one.
fn question(random: &[u8; 32]) -> (Value, bool) {
    let unknown = Secret::mint("kl", Environment::Production, random).expose().to_owned();
    let malformed = random[0].is_multiple_of(4);
    let key = if malformed { unknown[..unknown.len() - 1].to_owned() } else { unknown };
    let [a, b, c, d, ..] = *random;
    let ip = if random[1].is_multiple_of(4) {
        Ipv4Addr::from([a, b, c, d]).to_string()
    } else {
        // Written as long as can be.
        Ipv6Addr::from(u128::from_le_bytes(random.map(|byte| byte | 0x11)[..16].try_into().unwrap()))
            .to_string()
    };
    let action = if random[2].is_multiple_of(2) { "read" } else { "write" };
    (json!({ "key": key, "ip": ip, "action": action, "resource": "customers/42" }), malformed)
}

/// Asks about a valid key until told to stop; how long each answer took.
fn work(client: &Client, secret: &str, over: &AtomicBool) -> Vec<Duration> {
    let mut took = Vec::new();
    while !over.load(Ordering::Relaxed) {
        let watch = Stopwatch::start();
        assert!(client.verify(secret).unwrap().valid);
        took.push(watch.elapsed());
        thread::sleep(Duration::from_millis(5));
    }
    took.sort_unstable();
    took
}

/// The events of recorded verifications: how many bytes each has, and its records.
fn recorded(home: &Home) -> Vec<(usize, Vec<UsageRecord>)> {
    let store = SqliteStore::open(&home.data_dir(), Options::default()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let events = runtime.block_on(store.read_all(None, Filter::All, usize::MAX)).unwrap();
    let usage = events.iter().filter(|event| &*event.event_type == "usage.recorded");
    usage
        .map(|event| {
            let Event::UsageRecorded(data) = Envelope::open(&event.bytes).unwrap().event else { panic!() };
            let records = data.groups.into_iter().flat_map(|group| group.records).collect();
            (event.bytes.len(), records)
        })
        .collect()
}

#[test]
fn a_flood_of_unknown_keys_is_counted_whole_costs_a_bounded_log_and_delays_nobody() {
    let server = Server::start(&Home::initialized(), &["--usage", "strict"]);
    let secret = server.root().create_key("billing").scope("read:customers/**").run().secret();
    // Each has a pool of connections of its own.
    let clients: Vec<Client> = (0..CONNECTIONS).map(|_| server.root()).collect();
    let worker = server.root();
    let over = AtomicBool::new(false);
    let watch = Stopwatch::start();
    let (answered, took) = thread::scope(|scope| {
        let floods: Vec<_> = clients.iter().map(|client| scope.spawn(|| flood(client, &over))).collect();
        let work = scope.spawn(|| work(&worker, &secret, &over));
        thread::sleep(FLOOD);
        over.store(true, Ordering::Relaxed);
        let answered: Vec<_> = floods.into_iter().map(|thread| thread.join().unwrap()).collect();
        (answered, work.join().unwrap())
    });
    let seconds = watch.elapsed().as_secs_f64();
    let [unknown, malformed] = answered.iter().fold([0, 0], |sum, one| [sum[0] + one[0], sum[1] + one[1]]);

    let events = recorded(&server.stop());
    let (flooded, valid): (Vec<_>, Vec<_>) =
        events.into_iter().partition(|(_, records)| records.iter().all(|record| record.key.is_none()));
    let counts = |code: &str| -> u64 {
        let records = flooded.iter().flat_map(|(_, records)| records);
        records.filter(|record| record.code.as_str() == code).map(|record| record.count).sum()
    };
    assert_eq!((counts("NOT_FOUND"), counts("MALFORMED")), (unknown, malformed));
    assert!(unknown > 0 && malformed > 0, "{unknown} {malformed}");
    let uses = valid.iter().flat_map(|(_, records)| records);
    let uses: Vec<_> =
        uses.map(|record| (record.key.is_some(), record.code.as_str(), record.count)).collect();
    assert!(uses.iter().all(|(key, code, _)| *key && *code == "VALID"), "{uses:?}");
    assert_eq!(uses.iter().map(|(_, _, count)| count).sum::<u64>(), took.len() as u64);

    for (_, records) in &flooded {
        assert!(records.iter().filter(|record| record.ip.is_some()).count() <= MAX_ADDRESSES);
        for record in records.iter().filter(|record| record.merged.is_some()) {
            assert_eq!((record.ip.as_ref(), record.merged), (None, Some(record.count)));
        }
    }
    let merged = flooded.iter().flat_map(|(_, records)| records).filter_map(|record| record.merged);
    let (bytes, merged) = (flooded.iter().map(|(bytes, _)| bytes).sum::<usize>(), merged.sum::<u64>());
    let median = took[took.len() / 2];
    println!(
        "{} answers and {} of a key in {seconds:.2} s; {bytes} bytes in {} events, {merged} merged; \
         median {median:?}, worst {:?}",
        unknown + malformed,
        took.len(),
        flooded.len(),
        took[took.len() - 1],
    );
    assert!(merged > 0, "nothing had to be merged: that was no flood");
    // One more write than the time has intervals.
    let seconds = seconds + UNKNOWN_INTERVAL.as_secs_f64();
    #[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
    let rate = bytes as f64 / seconds;
    assert!(rate < MAX_BYTES_PER_SECOND, "{rate} bytes a second");
    // Not behind the flood, all of which is answered when its next write is due. How long the others take is up to
    // the machine.
    let quick = took[took.len() / 10];
    assert!(quick < UNKNOWN_INTERVAL / 2, "{quick:?}");
}

#[test]
fn gateways_that_do_not_say_who_they_are_fill_no_log() {
    let server = Server::fresh();
    let said = || server.log().lines().filter(|line| line.contains("Keyledger-Verifier")).count();
    assert_eq!(said(), 0);
    for _ in 0..20 {
        let (status, body) = server.anonymous().get("/v1/authorize").unwrap();
        assert_eq!(status, 401, "{body}");
    }
    assert_eq!(said(), 1, "{}", server.log());
}
