//! How a node begins and ends.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use keyledger::app;
use keyledger::config::Config;
use keyledger::edge::{Clock, Edge, SystemClock, SystemEntropy};
use keyledger::store::sqlite::{Options, SqliteStore};
use keyledger::store::{EventStore, Filter};
use keyledger_schema::Timestamp;
use serde_json::json;

use crate::ask::{data, eventually, text};
use crate::oauth::exchange;
use crate::support::{Home, Launched, Server};

/// Types of all events in the order of the log.
fn log(home: &Arc<Home>) -> Vec<String> {
    let store = SqliteStore::open(&home.data_dir(), Options::default()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let events = runtime.block_on(store.read_all(None, Filter::All, usize::MAX)).unwrap();
    events.iter().map(|event| event.event_type.to_string()).collect()
}

/// The root key among what was printed.
fn root_key(printed: &str) -> Option<String> {
    let line = printed.lines().find_map(|line| line.trim_start().strip_prefix("root key"))?;
    Some(line.trim().to_owned())
}

/// All that a server prints when it is ready.
fn greeting(server: &Server) -> String {
    eventually("the greeting", || {
        ["Stop with Ctrl-C", "createKey"].iter().any(|end| server.stdout().contains(end))
    });
    server.stdout()
}

fn assert_works(server: &Server, root_key: &str) {
    let root = server.client(root_key);
    let organization = data(&root, "{ organization { bootstrapped workspaces { totalCount } } }", &json!({}));
    assert_eq!(
        organization["organization"],
        json!({ "bootstrapped": true, "workspaces": { "totalCount": 1 } })
    );
    let issued = root.create_key("first").run();
    assert!(root.verify(&issued.secret()).unwrap().valid);
}

#[test]
fn the_first_start_prints_a_root_key_and_the_second_does_not() {
    let home = Home::empty();
    let server = Server::start(&home, &[]);
    let key = root_key(&greeting(&server)).expect("a root key is printed");
    assert_works(&server, &key);
    let home = server.stop();
    let server = Server::start(&home, &[]);
    let printed = greeting(&server);
    assert!(!printed.contains("root key") && !printed.contains(&key));
    assert_works(&server, &key);
    let home = server.stop();
    let server = Server::start(&home, &[]);
    assert_works(&server, &key);
}

#[test]
fn a_node_says_when_it_starts_and_when_it_stops() {
    let server = Server::fresh();
    let issued = server.root().create_key("a").run();
    server.root().verify(&issued.secret()).unwrap();
    let home = server.stop();
    let types = log(&home);
    assert_eq!(types.last().map(String::as_str), Some("node.stopped"));
    assert_eq!(types.iter().filter(|name| *name == "node.started").count(), 1);
    let recorded = types.iter().position(|name| name == "usage.recorded").unwrap();
    assert!(recorded < types.len() - 1);
    Server::start(&home, &[]).kill();
    let types = log(&home);
    assert_eq!(types.last().map(String::as_str), Some("node.started"), "a killed node has no last words");
}

#[test]
fn a_founding_that_is_killed_at_any_moment_can_be_repeated() {
    // A debug build takes some hundred milliseconds to its first words.
    for round in 0..24_u64 {
        let home = Home::empty();
        let launched: Launched = home.launch(&[]);
        thread::sleep(Duration::from_millis(round * 97 % 220));
        let (home, printed) = launched.kill_and_read();
        let seen = root_key(&printed);
        let server = Server::start(&home, &[]);
        let shown = root_key(&greeting(&server));
        match (&shown, &seen) {
            (Some(key), _) | (None, Some(key)) => assert_works(&server, key),
            (None, None) => panic!("round {round}: nobody has the root key"),
        }
        let home = server.stop();
        let types = log(&home);
        let founded = types.iter().filter(|name| *name == "organization.created").count();
        assert_eq!(founded, 1, "round {round}: {types:?}");
        let server = Server::start(&home, &[]);
        assert_eq!(root_key(&greeting(&server)), None, "round {round}");
    }
}

#[test]
fn a_second_organization_is_founded_beside_the_first() {
    let home = Home::initialized();
    let other = home.init("Other Ltd.");
    assert_ne!(
        (&other.organization, &other.workspace),
        (&home.tenant().organization, &home.tenant().workspace)
    );
    let server = Server::start(&home, &[]);
    for (key, slug) in [(&home.tenant().root_key, "acme"), (&other.root_key, "other-ltd")] {
        let viewer = data(
            &server.client(key),
            "{ viewer { email organization { slug } key { secretAcknowledgedAt } } }",
            &json!({}),
        );
        assert_eq!(viewer["viewer"]["organization"]["slug"], slug);
        assert!(text(&viewer["viewer"]["email"]).ends_with(&format!("@keys.{slug}")));
        assert!(viewer["viewer"]["key"]["secretAcknowledgedAt"].is_string(), "it was shown");
    }
}

/// A clock that is a day slow.
struct Slow;

impl Clock for Slow {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(SystemClock.now().micros() - 86_400_000_000)
    }
}

#[test]
fn a_clock_that_was_set_back_makes_no_other_organization_the_first_issuer() {
    let home = Home::initialized();
    let mut later = None;
    let config = Config::in_directory(home.data_dir());
    let yesterday = Edge::new(Slow, SystemEntropy);
    let founded = app::init(&config, yesterday, "Later", |founded| {
        later = Some(founded.organization.to_string());
        Ok(())
    });
    founded.unwrap();
    let later = later.unwrap();
    let url = "https://keys.example";
    let issuers = |home: Arc<Home>| {
        let server = Server::start(&home, &["--public-url", url]);
        let metadata = "/.well-known/oauth-authorization-server";
        let issuer = |path: String| {
            let (status, body) = server.anonymous().get(&path).unwrap();
            assert_eq!(status, 200, "{path} {body}");
            text(&serde_json::from_str::<serde_json::Value>(&body).unwrap()["issuer"])
        };
        let key = server.root().create_key("a").run();
        let token = exchange(&server, &key, &[]).token();
        assert!(server.root().verify(&token).unwrap().valid);
        let found = [
            issuer(metadata.to_owned()),
            issuer(format!("{metadata}/{}", home.tenant().organization)),
            issuer(format!("{metadata}/{later}")),
        ];
        (server.stop(), found)
    };
    let expected = [url.to_owned(), url.to_owned(), format!("{url}/{later}")];
    let (home, found) = issuers(home);
    assert_eq!(found, expected);
    // The same from the log alone.
    std::fs::remove_file(home.data_dir().join("readmodel.db")).unwrap();
    let (home, found) = issuers(home);
    assert_eq!(found, expected);
    assert_eq!(issuers(home).1, expected);
}
