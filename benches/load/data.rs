//! Data directories with many keys whose secrets are known here.
//!
//! `init` makes the organization; the keys are then appended to the log through the library, as events
//! like those that `createKey` writes, with many appends in flight. A directory is made once, kept under
//! `target/tmp` and copied for each run: it holds the log only, so that the first start of each run
//! builds the read model.

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::future::BoxFuture;
use keyledger::decisions::organization::FIRST_GENERATION;
use keyledger::edge::Edge;
use keyledger::secret::{DEFAULT_PREFIX, Secret, SecretHasher, parse_master_key};
use keyledger::store::sqlite::{Options, SqliteStore};
use keyledger::store::{AppendError, Appended, EventStore, Expected, NewEvent};
use keyledger::token::Claims;
use keyledger::token::claims::Audience;
use keyledger::token::jwt::Minter;
use keyledger::vault::Vault;
use keyledger_schema::codec::Outcome;
use keyledger_schema::event::{CreditsChanged, KeyIssued};
use keyledger_schema::{
    Actor, ChainHash, Envelope, Environment, Event, EventId, KeyId, OrganizationId, RateLimit, Sealer,
    SecretRecord, Source, Stream, Subject, Timestamp, TokenId, WorkspaceId,
};
use serde::{Deserialize, Serialize};
use uuid::{Builder, Uuid};

use crate::client::Column;
use crate::keys::Keys;
use crate::server;

/// 2026-11-01T00:00:00Z.
const FIRST_MILLIS: u64 = 1_793_491_200_000;
const IN_FLIGHT: usize = 16 * 1024;
const ABOUT: &str = "about.json";
/// Of each key.
const SCOPES: [&str; 2] = ["read:customers/**", "write:customers/42/invoices/*"];
/// So many keys have a token: as many as are in use at once, and not more than a server remembers.
const TOKENS: usize = 20_000;

/// What `init` printed.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Tenant {
    organization_id: OrganizationId,
    workspace_id: WorkspaceId,
    pub(crate) root_key: String,
}

/// What each key spends when it is verified.
#[derive(Default)]
pub(crate) struct Spending {
    pub(crate) limits: Vec<RateLimit>,
    pub(crate) credits: Option<i64>,
}

/// A data directory that is deleted when dropped, and what a client has to know of it.
pub(crate) struct Data {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) tenant: Tenant,
    pub(crate) secrets: Column,
    pub(crate) ids: Column,
}

impl Data {
    /// A copy of the kept directory with so many keys that spend this, which is made if there is none.
    pub(crate) fn with_keys(keys: usize, spending: &Spending) -> Self {
        let kept = kept(keys, spending);
        if !kept.join(ABOUT).is_file() {
            make(&kept, keys, spending);
        }
        let about = fs::read(kept.join(ABOUT)).expect("it has just been looked at");
        let directory = temporary();
        for entry in fs::read_dir(&kept).expect("the kept directory can be listed") {
            let from = entry.expect("its entries can be read").path();
            fs::copy(&from, directory.path().join(from.file_name().unwrap_or_default()))
                .expect("there is room");
        }
        let (mut secrets, mut ids) =
            (Column::new(secret(0).expose().len()), Column::new(key_id(0).to_string().len()));
        for number in 0..keys as u64 {
            secrets.push(secret(number).expose());
            ids.push(&key_id(number).to_string());
        }
        let tenant = serde_json::from_slice(&about).expect("it was written by this program");
        Self { directory, tenant, secrets, ids }
    }

    /// A token of each of the first keys, as a server with this URL signs them.
    pub(crate) fn tokens(&self, url: &str) -> Column {
        let master = fs::read_to_string(self.directory.path().join("master.key")).expect("there is one");
        let master = parse_master_key(&master).expect("a master key is hexadecimal");
        let organization = self.tenant.organization_id;
        let minter = Minter::new(master.signing_key(organization, FIRST_GENERATION));
        let edge = Edge::default();
        let now = edge.now().micros() / 1_000_000;
        let token = |number: u64| {
            let key = key_id(number);
            let claims = Claims {
                iss: url.into(),
                sub: key,
                aud: Audience::One(url.into()),
                exp: now + 3_600,
                nbf: now,
                iat: now,
                jti: TokenId::from_uuid(edge.uuid()),
                client_id: key,
                scope: SCOPES.join(" ").into(),
                org: organization,
                workspace: self.tenant.workspace_id,
                env: Environment::Production,
                secret: 1,
                epoch: 0,
                grants: true,
            };
            minter.mint(&claims).expect("claims can be written")
        };
        let mut tokens = Column::new(token(0).len());
        for number in 0..self.ids.rows().min(TOKENS) as u64 {
            tokens.push(&token(number));
        }
        tokens
    }

    /// Ids and secrets of the first keys, as they stand in a form behind `client_id=`.
    pub(crate) fn clients(&self) -> Column {
        let client = |number: u64| format!("{}&client_secret={}", key_id(number), secret(number).expose());
        let mut clients = Column::new(client(0).len());
        for number in 0..self.ids.rows().min(TOKENS) as u64 {
            clients.push(&client(number));
        }
        clients
    }

    /// Size of the files whose names start with this, in bytes.
    pub(crate) fn file_bytes(&self, start: &str) -> u64 {
        let entries = fs::read_dir(self.directory.path()).into_iter().flatten().flatten();
        entries
            .filter(|entry| entry.file_name().to_string_lossy().starts_with(start))
            .filter_map(|entry| entry.metadata().ok())
            .map(|metadata| metadata.len())
            .sum()
    }
}

fn temporary() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the target directory can be written")
}

/// The name holds a fingerprint of the first event, so that a directory made by a program that wrote
/// other events is not used again.
fn kept(keys: usize, spending: &Spending) -> PathBuf {
    let nobody = OrganizationId::from_uuid(Uuid::nil());
    let workspace = WorkspaceId::from_uuid(Uuid::nil());
    let record = secret_record(&secret(0), None);
    let mut print = blake3::Hasher::new();
    for event in events(0, record, spending, (nobody, workspace), &Keys::default()) {
        print.update(&event.bytes);
    }
    let print = print.finalize().to_hex();
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("load-{keys}-keys-{}", &print[..8]))
}

fn make(kept: &Path, keys: usize, spending: &Spending) {
    eprintln!("making a data directory with {keys} keys in {}", kept.display());
    let _ = fs::remove_dir_all(kept);
    let tenant: Tenant =
        serde_json::from_value(server::init(kept)).expect("init prints ids and the root key");
    let master = fs::read_to_string(kept.join("master.key")).expect("init makes a master key");
    let master = parse_master_key(&master).expect("a master key is hexadecimal");
    let hasher = master.secret_hasher();
    let vault = Vault::open_in(kept, &master, Edge::default()).expect("the vault opens");
    let place = (tenant.organization_id, tenant.workspace_id);
    let store = SqliteStore::open(kept, Options::default()).expect("the log opens");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime starts");
    runtime.block_on(async {
        let subjects = (0..keys as u64).map(|number| Subject::Key(key_id(number)));
        vault.prepare(subjects).await.expect("data keys are made");
        let mut waiting: VecDeque<BoxFuture<'static, Result<Appended, AppendError>>> =
            VecDeque::with_capacity(IN_FLIGHT);
        for number in 0..keys as u64 {
            let record = secret_record(&secret(number), Some(&hasher));
            let events = events(number, record, spending, place, &vault);
            if waiting.len() == IN_FLIGHT
                && let Some(first) = waiting.pop_front()
            {
                first.await.expect("the append is durable");
            }
            let stream = Stream::Key(key_id(number)).to_string();
            waiting.push_back(store.append(&stream, Expected::NoStream, events));
        }
        for last in waiting {
            last.await.expect("the append is durable");
        }
    });
    drop(store);
    for entry in fs::read_dir(kept).expect("the directory can be listed").flatten() {
        // The read model of the organization alone would be brought up to date instead of built.
        if entry.file_name().to_string_lossy().starts_with("readmodel") {
            fs::remove_file(entry.path()).expect("the file is ours");
        }
    }
    let about = serde_json::to_vec(&tenant).expect("ids and a text");
    fs::write(kept.join(ABOUT), about).expect("the directory can be written");
}

fn bits(what: &str, number: u64) -> [u8; 32] {
    *blake3::Hasher::new_derive_key(what).update(&number.to_le_bytes()).finalize().as_bytes()
}

fn secret(number: u64) -> Secret {
    Secret::mint(DEFAULT_PREFIX, Environment::Production, &bits("keyledger load secret", number))
}

fn id(what: &str, number: u64) -> Uuid {
    let bits = bits(what, number);
    let random = bits.first_chunk().expect("32 bytes are more than 10");
    Builder::from_unix_timestamp_millis(FIRST_MILLIS + number, random).into_uuid()
}

fn key_id(number: u64) -> KeyId {
    KeyId::from_uuid(id("keyledger load key", number))
}

fn secret_record(secret: &Secret, hasher: Option<&SecretHasher>) -> SecretRecord {
    let hash = hasher.map_or(keyledger_schema::SecretHash([0; 32]), |hasher| hasher.hash_minted(secret));
    SecretRecord { version: 1, hash, hint: secret.hint().into() }
}

/// The events of a key, as `createKey` would write them.
fn events(
    number: u64,
    secret: SecretRecord,
    spending: &Spending,
    (organization, workspace): (OrganizationId, WorkspaceId),
    sealer: &dyn Sealer,
) -> Vec<NewEvent> {
    let new = |envelope: &Envelope| NewEvent {
        id: envelope.id.uuid(),
        event_type: envelope.event.type_name().into(),
        bytes: envelope.seal(sealer).expect("the event is small").bytes.into(),
    };
    let issued = issued(number, secret, &spending.limits, organization, workspace);
    let mut events = vec![new(&issued)];
    if let Some(remaining) = spending.credits {
        let credits = CreditsChanged {
            n: 1,
            counted: 0,
            remaining: Some(remaining),
            refill: None,
            adjusted_by: None,
            reason: None,
        };
        events.push(new(&Envelope {
            id: EventId::from_uuid(id("keyledger load credits", number)),
            revision: 1,
            prev: Some(ChainHash::of(&events[0].bytes)),
            event: Event::KeyCreditsChanged(credits),
            ..issued
        }));
    }
    events
}

/// The event of a key with two scopes, a name and an address.
fn issued(
    number: u64,
    secret: SecretRecord,
    limits: &[RateLimit],
    organization: OrganizationId,
    workspace: WorkspaceId,
) -> Envelope {
    let key = key_id(number);
    let at = Timestamp::default().plus(Duration::from_millis(FIRST_MILLIS + number));
    Envelope {
        id: EventId::from_uuid(id("keyledger load event", number)),
        stream: Stream::Key(key),
        revision: 0,
        at,
        organization: Some(organization),
        workspace: Some(workspace),
        actor: Actor::operator(),
        source: Source::default(),
        request: None,
        cause: None,
        outcome: Outcome::Success,
        prev: None,
        event: Event::KeyIssued(KeyIssued {
            name: Box::<str>::from(format!("Customer {number:07}")).into(),
            email: Box::<str>::from(format!("customer-{number:07}@keys.load")).into(),
            environment: Environment::Production,
            prefix: DEFAULT_PREFIX.into(),
            secret,
            scopes: SCOPES.iter().filter_map(|scope| scope.parse().ok()).collect(),
            grants: Vec::new(),
            allowed_cidrs: Vec::new().into(),
            expires_at: None,
            metadata: keyledger_schema::Metadata::default().into(),
            cloned_from: None,
            request_fingerprint: None,
            roles: Vec::new(),
            rate_limits: limits.to_vec(),
            imported: None,
            identity: None,
        }),
    }
}
