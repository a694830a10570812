//! Moves the write-ahead log into the file, off the path that answers wait on.
//!
//! A checkpoint syncs two files and copies pages. Done by the writer it would delay whatever commits
//! then; done here, with a connection of its own and in passive mode, it delays nobody.

use std::time::Duration;

use super::{Shared, feed, schema};

/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(1);
/// With fewer new events than this, and no usage to be counted, the write-ahead log is left as it is.
const WORTH_IT: u64 = 256;

/// Runs until the read model stops. A failure is only logged: the writer has a bound of its own at which
/// it does the same.
pub(super) fn run(shared: &Shared) {
    let Ok(runtime) = feed::runtime() else { return };
    let connection = match schema::writing(&shared.path) {
        Ok(connection) => connection,
        Err(error) => return tracing::warn!(%error, "the read model has no connection for checkpoints"),
    };
    let mut stop = shared.stop.subscribe();
    let mut done = 0;
    loop {
        let rest = async { tokio::time::timeout(INTERVAL, stop.wait_for(|stop| *stop)).await.is_err() };
        if !runtime.block_on(rest) {
            return;
        }
        let (now, usage) = {
            let standing = shared.standing.borrow();
            (standing.entries, standing.usage_events)
        };
        // A lag of usage is worked off without new events, and writes far more than these.
        if now.saturating_sub(done) >= WORTH_IT || usage > shared.usage.borrow().events {
            done = now;
            let moved = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
            if let Err(error) = moved {
                tracing::warn!(%error, "the write-ahead log of the read model cannot be moved");
            }
        }
    }
}
