//! Listeners: how they are set up, bound, run and stopped.
//!
//! Invariant: a stop loses nothing. No connection is accepted any more, requests that have begun are
//! answered, and only then does the recorder write what waits and end.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::thread::available_parallelism;
use std::time::Duration;

use actix_web::dev::Server;
use actix_web::web::{Data, ServiceConfig};
use actix_web::{App, HttpServer};
use futures_util::future::{Either, join, join_all, select, try_join_all};

use super::{Kind, State, configure};

/// An idle connection is kept this long. Longer than proxies usually keep theirs (60 s), so that it is
/// the proxy who closes and no request is lost on a connection that is just closing.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// A client sends the head of its first request within this time.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// Requests that have begun get this long when the node stops.
const SHUTDOWN_SECONDS: u64 = 20;
/// Connections of one worker.
const MAX_CONNECTIONS: usize = 20_000;
/// Connections that the kernel holds until they are accepted.
const BACKLOG: u32 = 4_096;

/// A listener that is bound and not yet served.
pub struct Bound {
    /// Where it listens.
    pub addresses: Vec<SocketAddr>,
    server: Server,
}

/// Binds routes to an address. All settings are here, so that every listener, and every server that one
/// is compared with, has the same.
pub fn bind_routes(
    address: SocketAddr,
    routes: impl Fn(&mut ServiceConfig) + Send + Clone + 'static,
) -> io::Result<Bound> {
    let server = HttpServer::new(move || App::new().configure(&routes))
        .workers(available_parallelism().map_or(1, usize::from))
        .keep_alive(KEEP_ALIVE)
        .client_request_timeout(REQUEST_TIMEOUT)
        .max_connections(MAX_CONNECTIONS)
        .backlog(BACKLOG)
        .tcp_nodelay(true)
        .shutdown_timeout(SHUTDOWN_SECONDS)
        .disable_signals()
        .bind(address)?;
    Ok(Bound { addresses: server.addrs(), server: server.run() })
}

/// Binds a listener. `more` adds routes to it. An open listener is bound to a loopback address or not at
/// all: everybody who reaches it may ask about every key.
pub fn bind(
    kind: Kind,
    address: SocketAddr,
    state: &Data<State>,
    more: impl Fn(&mut ServiceConfig) + Send + Clone + 'static,
) -> io::Result<Bound> {
    if kind == Kind::Open && !address.ip().to_canonical().is_loopback() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "an open listener needs a loopback address such as 127.0.0.1 or ::1; use a management listener for others",
        ));
    }
    let state = Data::clone(state);
    bind_routes(address, move |config| {
        configure(config, kind, &state);
        more(config);
    })
}

/// Serves until `stop` is ready, then stops as the head of this module says. Ends early when a listener
/// fails, and takes the others with it.
pub async fn run(
    listeners: Vec<Bound>,
    state: &Data<State>,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let handles: Vec<_> = listeners.iter().map(|listener| listener.server.handle()).collect();
    let mut serving = Box::pin(try_join_all(listeners.into_iter().map(|listener| listener.server)));
    let served = match select(&mut serving, pin!(stop)).await {
        Either::Left((served, _)) => served,
        Either::Right(((), _)) => {
            let stopping = join_all(handles.iter().map(|handle| handle.stop(true)));
            join(serving, stopping).await.0
        }
    };
    let recorded = state.verifier.recorder().shutdown().await;
    served?;
    recorded.map_err(|error| io::Error::other(error.message.into_owned()))
}
