//! The application: opens what is in a data directory, ties the parts together, serves, stops.

pub mod audit;
mod greeting;
mod identity;
mod node;
mod progress;
pub mod whole_log;

use std::sync::Arc;
use std::time::Duration;

use actix_web::rt::System;
use actix_web::web::Data;
use keyledger_projections::LogState;
use tokio::signal::unix::{SignalKind, signal};

use crate::config::Config;
use crate::decisions::limits;
use crate::edge::Edge;
use crate::error;
use crate::feed::Feeds;
use crate::graphql::Api;
use crate::http::{self, Kind, State};
use crate::service::{Service, completeness};
use crate::store::sqlite::OpenError;

pub use crate::service::founding::Founded;
use node::Node;

/// What a new data directory's organization is called unless told otherwise.
pub const DEFAULT_ORGANIZATION: &str = "default";
/// How often the passing of time is looked at.
const TICK: Duration = Duration::from_secs(1);

/// Why the application does not start, or stopped. For the operator's terminal: it may name files.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The data directory or the log in it.
    #[error(transparent)]
    Log(#[from] OpenError),
    /// The read model.
    #[error("the read model cannot be opened: {0}")]
    ReadModel(#[from] crate::readmodel::OpenError),
    /// The vault.
    #[error("the vault cannot be opened: {0}")]
    Vault(#[from] crate::vault::OpenError),
    /// There is a log, and the vault that belongs to it is missing.
    #[error(
        "{directory} holds a log, but its vault (vault.db) is missing: without it nobody can read the names, addresses \
         and metadata in the log. Restore it from its backup. If it is lost for good, make an empty file of that \
         name: a new vault begins in it, and that data stays unreadable"
    )]
    VaultMissing {
        /// The data directory.
        directory: String,
    },
    /// The tree over the log.
    #[error("the tree over the log cannot be opened: {0}")]
    Tree(#[from] crate::sequencer::OpenError),
    /// The settings or the master key's file.
    #[error(transparent)]
    Config(#[from] crate::config::Error),
    /// There is a log, and the master key that belongs to it is missing.
    #[error(
        "{directory} holds a log, but its master key is missing at {source_name}: without it no secret can be \
         verified. Restore it from your backup, or name its place with --master-key-file or KEYLEDGER_MASTER_KEY"
    )]
    MasterKeyMissing {
        /// The data directory.
        directory: String,
        /// Where the key was looked for.
        source_name: String,
    },
    /// There was a log, and it is gone.
    #[error(
        "{directory} holds {leftover}, but no log (events.db): restore it from your backup. To begin anew, take \
         another data directory"
    )]
    LogMissing {
        /// The data directory.
        directory: String,
        /// What is left of it.
        leftover: &'static str,
    },
    /// The master key is not the one that the log was made with.
    #[error(
        "the master key is not the one that the log in {directory} was made with: every secret would be \
         refused. Use the right one, from your backup"
    )]
    MasterKeyWrong {
        /// The data directory.
        directory: String,
    },
    /// The operating system refuses.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: String,
        /// What it says.
        source: std::io::Error,
    },
    /// A command was refused.
    #[error("{0}")]
    Refused(#[from] error::Error),
}

fn system(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Error {
    let what = what.into();
    move |source| Error::System { what, source }
}

/// Creates an organization with a workspace and a root key, in a data directory that no server uses.
/// `show` shows the root key: until it has, the same can be asked for again.
pub fn init(
    config: &Config,
    edge: Edge,
    organization: &str,
    show: impl FnOnce(&Founded) -> std::io::Result<()>,
) -> Result<(), Error> {
    let name = limits::name("organization", organization)?;
    let node = Node::open(config, edge)?;
    let result = System::new().block_on(async {
        let founded = node.service.found(name).await?;
        show(&founded).map_err(system("cannot print the root key; run this again for a new one"))?;
        Ok(node.service.root_key_shown(&founded).await?)
    });
    node.close();
    result
}

/// Gives an organization a new administrator's key, in a data directory that no server uses. `show` shows it.
pub fn recover(
    config: &Config,
    organization: &str,
    show: impl FnOnce(&Founded) -> std::io::Result<()>,
) -> Result<(), Error> {
    let node = Node::open(config, Edge::default())?;
    let result = System::new().block_on(async {
        let recovered = node.service.recover(organization).await?;
        show(&recovered).map_err(system("cannot print the key; run this again for another one"))?;
        Ok(node.service.root_key_shown(&recovered).await?)
    });
    node.close();
    result
}

/// Gives the log another signing key, or takes one out of use, in a data directory that no server uses. Answers with
/// the log's keys after that.
pub fn change_log_keys(config: &Config, change: LogKeyChange) -> Result<LogState, Error> {
    let node = Node::open(config, Edge::default())?;
    let result = System::new().block_on(async {
        match change {
            LogKeyChange::Rotate => node.service.rotate_log_key().await,
            LogKeyChange::Retire(generation) => node.service.retire_log_key(generation).await,
        }
    });
    node.close();
    Ok(result?)
}

/// What is done to the keys of the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogKeyChange {
    /// Another one.
    Rotate,
    /// One less, by its generation.
    Retire(u32),
}

/// Serves until it is told to stop by SIGTERM or SIGINT.
pub fn serve(config: &Config) -> Result<(), Error> {
    let node = Node::open(config, Edge::default())?;
    let result = System::new().block_on(run(config, &node));
    node.close();
    result
}

async fn run(config: &Config, node: &Node) -> Result<(), Error> {
    node.service.first_log_key(config.log_origin.as_deref()).await?;
    let founded = if node.service.is_founded().await? {
        None
    } else {
        Some(node.service.found(DEFAULT_ORGANIZATION.into()).await?)
    };
    let verifier = Arc::new(node.verifier(config.usage).await?);
    node.service
        .start_committing(completeness::EVERY)
        .map_err(system("cannot start the thread that commits the ends of streams"))?;
    let (store, read_model) = (Arc::clone(node.service.store()), Arc::clone(node.service.read_model()));
    let tree = Arc::clone(node.service.tree()?);
    let state = Data::new(State {
        verifier,
        trusted_proxies: config.trusted_proxies.clone(),
        not_ready: Arc::new(move || {
            let log = store.stopped().map(|_| "log");
            let tables = read_model.stopped().map(|_| "read model");
            let tree = tree.stopped().map(|_| "tree");
            log.into_iter().chain(tables).chain(tree).collect()
        }),
    });
    let feeds = Feeds::new(Arc::clone(&node.service), Arc::clone(&state.verifier));
    let api = Api::new(Arc::clone(&node.service), Arc::clone(&state.verifier), feeds.clone());
    let (api, followed) = (Data::new(api), Data::new(feeds.clone()));
    let service = Data::from(Arc::clone(&node.service));
    let mint = Data::new(node.mint());
    let public_log = config.public_log;
    let main = http::server::bind(Kind::Management, config.listen, &state, move |routes| {
        http::graphql::configure(routes, &api);
        http::configure_holders(routes, &service);
        http::oauth::configure(routes, &service, &mint);
        http::configure_exports(routes, &service);
        http::configure_log(routes, &service, public_log);
        http::configure_proofs(routes, &service);
        http::configure_reports(routes, &service);
        http::configure_feeds(routes, &followed);
    })
    .map_err(system(format!("cannot listen on {}; choose another address with --listen", config.listen)))?;
    let bound = main.addresses.first().copied().unwrap_or(config.listen);
    node.listens(config, bound);
    let url = greeting::url(bound);
    let mut listeners = vec![main];
    if let Some(address) = config.open_listen {
        let open = http::server::bind(Kind::Open, address, &state, |_| {}).map_err(system(format!(
            "cannot listen on {address}; choose another address with --open-listen"
        )))?;
        let url = greeting::url(open.addresses.first().copied().unwrap_or(address));
        tracing::info!(%url, "verification is open to everybody on this host");
        listeners.push(open);
    }
    let mut terminate = signal(SignalKind::terminate()).map_err(system("cannot listen for SIGTERM"))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(system("cannot listen for SIGINT"))?;
    let timer = actix_web::rt::spawn(tick(Arc::clone(&node.service)));
    let printed = greeting::print(&url, &config.data_dir, founded.as_ref());
    // Whoever closed standard output does not want to read it, unless the root key is in it.
    if let Some(founded) = &founded {
        printed.map_err(system("cannot print the root key; start again for a new one"))?;
        node.service.root_key_shown(founded).await?;
    }
    let directory = state.verifier.directory();
    tracing::info!(
        %url,
        keys = directory.len(),
        directory_bytes = directory.bytes(),
        catalog_bytes = node.service.read_model().catalog_bytes(),
        usage = ?config.usage,
        "serving"
    );
    let stop = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping: requests that have begun are answered first");
        feeds.stop();
    };
    let served = http::server::run(listeners, &state, stop).await;
    timer.abort();
    done("repeated refusals", node.service.record_repetitions(true).await);
    node.service.stop_committing();
    served.map_err(system("the server ended"))?;
    node.service.node_stopped().await?;
    tracing::info!("stopped");
    Ok(())
}

/// Does what time asks for as it comes: expiries, ends of overlaps, secrets that nobody acknowledged, addresses
/// that keys were used from for the first time, bulk revocations that an earlier run left half done, and signing keys
/// that have no tokens left.
async fn tick(service: Arc<Service>) {
    let mut interval = tokio::time::interval(TICK);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        done("what time did", service.record_passed_time().await);
        done("secrets that nobody acknowledged", service.switch_off_unacknowledged().await);
        done("repeated refusals", service.record_repetitions(false).await);
        done("new addresses", service.record_new_addresses().await);
        done("bulk revocations", service.resume_revocations().await);
        done("signing keys", service.retire_signing_keys().await);
    }
}

fn done(what: &'static str, result: error::Result<usize>) {
    match result {
        Ok(0) => {}
        Ok(count) => tracing::debug!(count, what, "done"),
        Err(error) => tracing::error!(%error, what, "this cannot be done now; trying again"),
    }
}
