//! Bodies that are made as they are read, which may take hours.
//!
//! What makes a body holds places that others wait for, so it is given up when its reader does not read on for a
//! minute, and when the key that it is made for may not read any more. Then it ends without its last chunk, which
//! tells the reader that it is not whole.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use actix_web::rt::time::sleep;
use actix_web::web::{Bytes, Data};
use futures_util::Stream;
use futures_util::stream::try_unfold;

use super::State;
use crate::caller::Caller;
use crate::edge::Stopwatch;
use crate::error::Error;

/// How long a body waits for its reader.
const PATIENCE: Duration = Duration::from_mins(1);
/// How often it is looked after.
const LOOK_AFTER: Duration = Duration::from_secs(5);

/// What makes a body, piece by piece.
pub(super) trait Source: 'static {
    /// The next bytes, maybe none of them yet; `None` when there are no more.
    fn next(&mut self) -> impl Future<Output = Result<Option<Vec<u8>>, Error>>;
}

struct Flow<S> {
    source: S,
    state: Data<State>,
    caller: Caller,
}

/// How a body is with its reader.
enum Reading<S> {
    /// It was handed something a while ago, and has not come for more.
    Waits(Box<Flow<S>>, Stopwatch),
    /// What it came for is being made.
    Works,
    /// Nothing follows.
    Over,
}

type Shared<S> = Mutex<Reading<S>>;

/// A body for a caller.
pub(super) fn body<S: Source>(
    source: S,
    state: Data<State>,
    caller: Caller,
) -> impl Stream<Item = Result<Bytes, Error>> {
    let flow = Box::new(Flow { source, state, caller });
    let shared = Arc::new(Mutex::new(Reading::Waits(flow, Stopwatch::start())));
    actix_web::rt::spawn(give_up(Arc::downgrade(&shared)));
    try_unfold(shared, next_piece)
}

fn reading<S>(shared: &Shared<S>) -> MutexGuard<'_, Reading<S>> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ends a body whose reader does not read on, or whose key may no longer read.
async fn give_up<S: Source>(shared: Weak<Shared<S>>) {
    loop {
        sleep(LOOK_AFTER).await;
        let Some(shared) = shared.upgrade() else { return };
        let mut reading = reading(&shared);
        let over = match &*reading {
            Reading::Waits(flow, since) => {
                since.elapsed() >= PATIENCE || flow.state.verifier.still_stands(&flow.caller).is_err()
            }
            Reading::Works => false,
            Reading::Over => return,
        };
        if over {
            *reading = Reading::Over;
            tracing::info!("a file was given up: its reader did not read on, or may not any more");
            return;
        }
    }
}

/// The next bytes for a reader that came for more.
async fn next_piece<S: Source>(shared: Arc<Shared<S>>) -> Result<Option<(Bytes, Arc<Shared<S>>)>, Error> {
    let taken = std::mem::replace(&mut *reading(&shared), Reading::Works);
    let Reading::Waits(mut flow, _) = taken else {
        *reading(&shared) = Reading::Over;
        return Err(Error::unavailable(
            "the file was given up, since nobody read on for a minute or the key may not read any more; begin again",
        ));
    };
    let piece = piece(&mut flow).await;
    *reading(&shared) = match &piece {
        Ok(Some(_)) => Reading::Waits(flow, Stopwatch::start()),
        _ => Reading::Over,
    };
    Ok(piece?.map(|bytes| (bytes, shared)))
}

/// The next bytes of a body; never none of them, which would be taken for its end.
async fn piece<S: Source>(flow: &mut Flow<S>) -> Result<Option<Bytes>, Error> {
    loop {
        flow.state.verifier.still_stands(&flow.caller)?;
        let made = flow.source.next().await;
        match made.inspect_err(|error| tracing::warn!(%error, "a file was cut off"))? {
            Some(bytes) if bytes.is_empty() => {}
            made => return Ok(made.map(Bytes::from)),
        }
    }
}
