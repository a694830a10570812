//! The parts of a node, opened and tied together.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use keyledger_projections::{IdentityState, KeyState, OrganizationState, PoolId, Tally, WorkspaceState};
use keyledger_schema::event::UsageMode;
use keyledger_schema::{LogId, NodeId, Sealer, Subject, Timestamp};

use super::{Error, greeting, identity, progress, system};
use crate::config::Config;
use crate::decisions::credits::Balance;
use crate::edge::Edge;
use crate::readmodel::{Observer, Progress, ReadModel, Settings};
use crate::secret::MasterKey;
use crate::sequencer::TreeLog;
use crate::service::node::Recording;
use crate::service::{Balances, KeyOf, Service};
use crate::store::EventStore;
use crate::store::sqlite::{DataDirectory, Options, SqliteStore};
use crate::tenants::Tenants;
use crate::token::Keyring;
use crate::vault::{self, Vault};
use crate::verify::Verifier;
use crate::verify::directory::Directory;
use crate::verify::mint::Mint;
use crate::verify::recorder::{GiveBack, Recorder};

/// Keeps what is in memory up to date.
struct Memory {
    directory: Arc<Directory>,
    tenants: Arc<Tenants>,
    keyring: Arc<Keyring>,
    vault: Arc<Vault>,
}

impl Memory {
    /// Deletes the data key of somebody whose personal data was erased, if it is there still.
    fn forget(&self, subject: Subject) {
        let erased = self.vault.is_erased(subject);
        if let Err(error) = erased.and_then(|erased| if erased { Ok(()) } else { self.vault.erase(subject) })
        {
            tracing::error!(%error, %subject, "the data key of an erased subject cannot be deleted");
        }
    }
}

/// Credits as whoever spends them knows them.
struct Spender(Arc<Directory>);

impl Balances for Spender {
    fn balance(&self, pool: PoolId, now: Timestamp) -> Option<Balance> {
        self.0.credits(pool, |pool| {
            let left = pool.remaining(now);
            let (next, spent) = pool.next();
            Balance { next, spent, left, refill: pool.rule().copied() }
        })
    }
}

impl Observer for Memory {
    fn key(&self, before: Option<&KeyState>, after: &KeyState) {
        self.directory.apply(before, after);
        self.tenants.key_changed(before, after);
        if after.erased_at.is_some() {
            self.forget(Subject::Key(after.id));
        }
    }

    fn organization(&self, state: &OrganizationState) {
        self.keyring.organization_changed(state);
        for tenant in self.tenants.organization_changed(state) {
            self.directory.organization_changed(&tenant.state, &tenant.above, &tenant.policy);
        }
    }

    fn workspace(&self, state: &WorkspaceState) {
        self.tenants.workspace_changed(state);
    }

    fn identity(&self, _: Option<&IdentityState>, after: &IdentityState) {
        self.directory.identity_changed(after);
        if after.erased_at.is_some() {
            self.forget(Subject::Identity(after.id));
        }
    }

    fn spent(&self, pool: PoolId, tally: &Tally) {
        self.directory.spent(pool, tally);
    }

    fn stopped(&self) {
        self.directory.abandon();
    }
}

/// Below which URL clients reach a server that listens on an address.
fn public_url(config: &Config, listen: SocketAddr) -> String {
    config.public_url.clone().unwrap_or_else(|| greeting::url(listen))
}

/// Why clients likely reach the server below another URL than that of the address it listens on, where nobody said
/// which. Tokens would name an issuer that nobody finds there.
fn unsaid_public_url(config: &Config, listen: SocketAddr) -> Option<&'static str> {
    if config.public_url.is_some() {
        return None;
    }
    if !config.trusted_proxies.is_empty() {
        return Some("there are proxies in front");
    }
    let loopback = listen.ip().to_canonical().is_loopback();
    (!loopback).then_some("other machines reach this listener")
}

/// A node with everything open. It serves nothing by itself.
pub(super) struct Node {
    pub(super) service: Arc<Service>,
    directory: Arc<Directory>,
    keyring: Arc<Keyring>,
    master: MasterKey,
    edge: Edge,
    id: NodeId,
}

impl Node {
    /// Opens a data directory: takes it for this process, checks the log, brings the read model up to
    /// date and fills the directory.
    pub(super) fn open(config: &Config, edge: Edge) -> Result<Self, Error> {
        let data_dir = DataDirectory::lock(&config.data_dir)?;
        let log_exists = data_dir.has_log();
        if !log_exists {
            identity::refuse_leftovers(&config.data_dir)?;
        }
        let master = identity::master_key(config, log_exists, &edge)?;
        if log_exists && !config.data_dir.join(vault::FILE_NAME).exists() {
            return Err(Error::VaultMissing { directory: config.data_dir.display().to_string() });
        }
        let vault = Arc::new(Vault::open_in(&config.data_dir, &master, edge.clone())?);
        let options = Options { progress: Some(progress::of_check()), ..Options::default() };
        let store: Arc<dyn EventStore> = Arc::new(SqliteStore::open_in(data_dir, options)?);
        let id = identity::node_id(&config.data_dir, &edge)?;
        let memory = Memory {
            directory: Arc::default(),
            tenants: Arc::default(),
            keyring: Arc::new(Keyring::new(&public_url(config, config.listen))),
            vault: Arc::clone(&vault),
        };
        let (directory, tenants) = (Arc::clone(&memory.directory), Arc::clone(&memory.tenants));
        let keyring = Arc::clone(&memory.keyring);
        let balances: Arc<dyn Balances> = Arc::new(Spender(Arc::clone(&directory)));
        let days = u64::from(config.verification_log_days);
        let read_model = ReadModel::open(
            &config.data_dir,
            Arc::clone(&store),
            Arc::new(memory),
            Progress::detect(),
            Settings {
                verification_log: Duration::from_hours(24 * days),
                clock: Some(edge.clone()),
                data_keys: Arc::clone(&vault) as _,
                ..Settings::default()
            },
        )?;
        for organization in tenants.organizations() {
            for known in &organization.signing_keys {
                let derived = master.signing_key(organization.id, known.generation).verifying_key();
                if derived.to_bytes() != known.public_key.0 {
                    return Err(Error::MasterKeyWrong { directory: config.data_dir.display().to_string() });
                }
            }
        }
        let known = Arc::clone(&directory);
        let key_of: KeyOf = Arc::new(move |hash| known.find(hash).map(|entry| entry.key));
        let (log, private) = (LogId::from_uuid(store.log_id()), master.clone());
        let private_keys = Arc::new(move |generation| private.log_key(log, generation));
        let tree = TreeLog::open(&config.data_dir, Arc::clone(&store), private_keys)?;
        let parts = (edge.clone(), vault, master.clone());
        let service = Service::new(store, read_model, tenants, key_of, balances, parts, id);
        let service = Arc::new(service.with_tree(tree));
        Ok(Self { service, directory, keyring, master, edge, id })
    }

    /// Starts recording, and with it verification.
    pub(super) async fn verifier(&self, mode: UsageMode) -> Result<Verifier, Error> {
        let recording = self.service.node_started(mode).await?;
        let store = Arc::clone(self.service.store());
        let vault = Arc::clone(self.service.vault()) as Arc<dyn Sealer>;
        let directory = Arc::clone(&self.directory);
        let spender = Arc::clone(&directory);
        let give_back: GiveBack = Arc::new(move |pool, credits| spender.give_back(pool, credits));
        let (edge, Recording { head, next_seq }) = (self.edge.clone(), recording);
        let recorder = Recorder::start(store, edge, self.id, head, next_seq, mode, give_back, vault)
            .map_err(system("cannot start the recorder"))?;
        let (hasher, keyring) = (self.master.secret_hasher(), Arc::clone(&self.keyring));
        Ok(Verifier::new(hasher, directory, keyring, recorder, self.edge.clone()))
    }

    /// What signs tokens.
    pub(super) fn mint(&self) -> Mint {
        Mint::new(self.master.clone(), Arc::clone(&self.keyring))
    }

    /// Takes over the address that the server listens on: with port 0 it was not known before.
    pub(super) fn listens(&self, config: &Config, at: SocketAddr) {
        let url = public_url(config, at);
        if let Some(reason) = unsaid_public_url(config, at) {
            tracing::warn!(
                issuer = url,
                reason,
                "public_url is not set, so tokens name the address of the listener as their issuer; set --public-url to \
                 the URL below which clients reach this server, before the first token is exchanged"
            );
        }
        self.keyring.issuers.set_base(&url);
    }

    /// Stops the threads that follow the log.
    pub(super) fn close(self) {
        if let Ok(tree) = self.service.tree() {
            tree.close();
        }
        self.service.stop_committing();
        self.service.read_model().close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_url_has_to_be_said_where_it_cannot_be_the_listener() {
        let unsaid = |listen: &str, proxies: &[&str], url: Option<&str>| {
            let mut config = Config::in_directory("data");
            config.trusted_proxies = proxies.iter().map(|network| network.parse().unwrap()).collect();
            config.public_url = url.map(str::to_owned);
            unsaid_public_url(&config, listen.parse().unwrap()).is_some()
        };
        for listen in ["127.0.0.1:8080", "127.3.2.1:1", "[::1]:8080", "[::ffff:127.0.0.1]:8080"] {
            assert!(!unsaid(listen, &[], None), "{listen}");
            assert!(unsaid(listen, &["10.0.0.0/8"], None), "{listen}");
        }
        for listen in ["0.0.0.0:8080", "[::]:8080", "10.0.0.7:8080", "[2001:db8::1]:80"] {
            assert!(unsaid(listen, &[], None), "{listen}");
            assert!(!unsaid(listen, &["10.0.0.0/8"], Some("https://keys.example")), "{listen}");
        }
    }
}
