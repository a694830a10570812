//! A node that verifies: real listeners on real sockets, keys in the directory, a log in memory.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use actix_web::web::Data;
use keyledger::edge::Edge;
use keyledger::http::{Kind, State, server};
use keyledger::secret::{Foreign, MasterKey, Secret, SecretHasher};
use keyledger::store::{Direction, EventStore, memory::MemoryStore};
use keyledger::stream_head::StreamHead;
use keyledger::token::Keyring;
use keyledger::verify::Verifier;
use keyledger::verify::directory::Directory;
use keyledger::verify::recorder::Recorder;
use keyledger_projections::KeyState;
use keyledger_schema::event::{KeyIssued, UsageMode};
use keyledger_schema::usage::UsageRecord;
use keyledger_schema::{
    Envelope, Environment, Event, Grant, GrantRole, GrantTarget, KeyId, NodeId, OrganizationId, SecretRecord,
    SecretScheme, Stream, Timestamp, WorkspaceId,
};
use serde_json::Value;
use tokio::sync::oneshot;
use uuid::Uuid;

#[path = "../../schema/tests/keys/mod.rs"]
mod keys;
use keys::Keys;

/// A secret nobody can guess wrong: minted from its number.
pub(crate) fn secret(n: u8) -> Secret {
    Secret::mint("kl", Environment::Production, &[n; 32])
}

pub(crate) fn hasher() -> SecretHasher {
    MasterKey::new([1; 32]).secret_hasher()
}

pub(crate) fn organization(n: u128) -> OrganizationId {
    OrganizationId::from_uuid(Uuid::from_u128(n))
}

pub(crate) fn workspace(n: u128) -> WorkspaceId {
    WorkspaceId::from_uuid(Uuid::from_u128(n))
}

pub(crate) fn verifier_grant(of: u128) -> Vec<Grant> {
    vec![Grant { role: GrantRole::Verifier, on: GrantTarget::Organization(organization(of)) }]
}

pub(crate) fn record(n: u8, version: u32) -> SecretRecord {
    SecretRecord { version, hash: hasher().hash_minted(&secret(n)), hint: "kl_prod_0000".into() }
}

/// An active key of organization and workspace 1, whose secret is of the same number.
pub(crate) fn key(n: u8) -> KeyState {
    let at = Timestamp::from_micros(1_800_000_000_000_000);
    let issued = KeyIssued {
        scopes: vec!["read:customers/**".parse().unwrap()],
        ..KeyIssued::bare("billing", Environment::Production, record(n, 1))
    };
    let id = KeyId::from_uuid(Uuid::from_u128(n.into()));
    KeyState::of_issued(id, organization(1), workspace(1), at, &issued)
}

/// Key `n` as if it was imported with this text, of which so much was brought.
pub(crate) fn imported(n: u8, scheme: SecretScheme, text: &str) -> KeyState {
    let mut key = key(n);
    let hash = hasher().hash_foreign(scheme, Foreign::parse(text).unwrap());
    key.secret.record = SecretRecord { version: 1, hash, hint: "".into() };
    key.imported = Some(scheme);
    key
}

/// An answer of the node.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("{self:?}"))
    }

    pub(crate) fn field(&self) -> Option<String> {
        self.json()["error"]["field"].as_str().map(ToOwned::to_owned)
    }
}

pub(crate) struct World {
    pub(crate) management: SocketAddr,
    pub(crate) open: SocketAddr,
    pub(crate) directory: Arc<Directory>,
    pub(crate) keyring: Arc<Keyring>,
    pub(crate) verifier: Arc<Verifier>,
    store: Arc<dyn EventStore>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// The node's public URL.
pub(crate) const URL: &str = "https://keys.example";

/// The number of the key that verifies in organization 1.
pub(crate) const VERIFIER: u8 = 200;

impl World {
    /// A node with these keys and a verifier, that trusts the proxies of these networks.
    pub(crate) fn with(keys: &[KeyState], trusted: &[&str]) -> Self {
        let directory = Arc::new(Directory::default());
        let keyring = Arc::new(Keyring::new(URL));
        let verifier = KeyState { grants: verifier_grant(1), ..key(VERIFIER) };
        keys.iter().chain([&verifier]).for_each(|key| directory.apply(None, key));
        let store: Arc<dyn EventStore> = Arc::new(MemoryStore::new());
        let node = NodeId::from_uuid(Uuid::from_u128(1));
        let head = StreamHead::default();
        let recorder = Recorder::start(
            Arc::clone(&store),
            Edge::default(),
            node,
            head,
            0,
            UsageMode::Strict,
            Arc::new(|_, _| {}),
            Arc::new(Keys::default()),
        )
        .unwrap();
        let verifier = Arc::new(Verifier::new(
            hasher(),
            Arc::clone(&directory),
            Arc::clone(&keyring),
            recorder,
            Edge::default(),
        ));
        let state = Data::new(State {
            verifier: Arc::clone(&verifier),
            trusted_proxies: trusted.iter().map(|network| network.parse().unwrap()).collect(),
            not_ready: Arc::new(Vec::new),
        });
        let (stop, stopped) = oneshot::channel::<()>();
        let (bound, addresses) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            actix_web::rt::System::new().block_on(async move {
                let any = "127.0.0.1:0".parse().unwrap();
                let listeners = [Kind::Management, Kind::Open]
                    .map(|kind| server::bind(kind, any, &state, |_| {}).unwrap());
                bound.send([listeners[0].addresses[0], listeners[1].addresses[0]]).unwrap();
                let stop = async { drop(stopped.await) };
                server::run(listeners.into(), &state, stop).await.unwrap();
            });
        });
        let [management, open] = addresses.recv().unwrap();
        Self { management, open, directory, keyring, verifier, store, stop: Some(stop), thread: Some(thread) }
    }

    /// Sends bytes and reads one answer.
    pub(crate) fn send(address: SocketAddr, bytes: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
        // A node that refuses early may close while the rest is sent.
        let _ = stream.write_all(bytes);
        let mut read = Vec::new();
        let mut chunk = [0; 4096];
        loop {
            if let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") {
                let head = String::from_utf8(read[..end].to_vec()).unwrap();
                let mut answer = Answer { status: head[9..12].parse().unwrap(), head, body: String::new() };
                let length = answer.header("content-length").map_or(0, |length| length.parse().unwrap());
                if read.len() >= end + 4 + length {
                    answer.body = String::from_utf8(read[end + 4..].to_vec()).unwrap();
                    return answer;
                }
            }
            let got = stream.read(&mut chunk).unwrap();
            assert!(got > 0, "the node closed without an answer: {:?}", String::from_utf8_lossy(&read));
            read.extend_from_slice(&chunk[..got]);
        }
    }

    pub(crate) fn request(address: SocketAddr, line: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut bytes = format!("{line} HTTP/1.1\r\nHost: keyledger\r\n").into_bytes();
        for (name, value) in headers {
            bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        if !body.is_empty() {
            bytes.extend_from_slice(format!("Content-Length: {}\r\n", body.len()).as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(body);
        Self::send(address, &bytes)
    }

    /// Asks as a verifier, or on the open listener where there is none.
    pub(crate) fn verify_as(&self, verifier: Option<u8>, body: &[u8]) -> Answer {
        let mut headers = vec![("Content-Type", "application/json")];
        let authorization = verifier.map(|n| format!("Bearer {}", secret(n).expose()));
        headers.extend(authorization.as_deref().map(|value| ("Authorization", value)));
        let address = if verifier.is_some() { self.management } else { self.open };
        Self::request(address, "POST /v1/verify", &headers, body)
    }

    /// Asks about key `n` with more fields, as the verifier of organization 1.
    pub(crate) fn verify(&self, n: u8, more: &str) -> Answer {
        self.verify_as(Some(VERIFIER), body(n, more).as_bytes())
    }

    /// Asks as a gateway whose client sent these headers.
    pub(crate) fn authorize(&self, query: &str, headers: &[(&str, &str)]) -> Answer {
        let verifier = secret(VERIFIER);
        let mut all = vec![("Keyledger-Verifier", verifier.expose())];
        all.extend_from_slice(headers);
        Self::request(self.management, &format!("GET /v1/authorize{query}"), &all, b"")
    }

    /// What was recorded so far: whose, by whom, and the record.
    pub(crate) fn recorded(&self) -> Vec<(Option<OrganizationId>, Option<KeyId>, UsageRecord)> {
        let stream = Stream::Usage(NodeId::from_uuid(Uuid::from_u128(1))).to_string();
        let read = self.store.read_stream(&stream, None, Direction::Forward, 100_000);
        let events = actix_web::rt::System::new().block_on(read).unwrap();
        let mut records = Vec::new();
        for event in events {
            let envelope = Envelope::open_with(&event.bytes, &Keys::default()).unwrap();
            let Event::UsageRecorded(data) = envelope.event else { panic!() };
            for group in data.groups {
                records.extend(
                    group.records.into_iter().map(|record| (envelope.organization, group.by, record)),
                );
            }
        }
        records
    }

    /// Stops the node as a signal would.
    pub(crate) fn stop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop();
    }
}

pub(crate) fn body(n: u8, more: &str) -> String {
    format!(r#"{{"key":"{}"{more}}}"#, secret(n).expose())
}
