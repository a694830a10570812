//! Whether a file can be kept, and what is done when it cannot: it is deleted and made anew.
//!
//! A file is kept only if its layout is ours, its log is this log, and the last event it knows stands
//! in the log where it says. Anything else about it that looks wrong means the same: start over. Only
//! what the operating system refuses is an error.

use std::path::{Path, PathBuf};

use keyledger_schema::Timestamp;
use rusqlite::{Connection, ErrorCode, OptionalExtension};
use tokio::runtime::Runtime;

use super::{OpenError, Standing, UsageStanding, rows, schema};
use crate::store::{Direction, EventStore, Position};

/// A file that is open and fits the log.
pub(super) struct Open {
    pub(super) connection: Connection,
    pub(super) standing: Standing,
    pub(super) usage: UsageStanding,
    /// Why it was made anew, if it was.
    pub(super) fresh: Option<&'static str>,
}

/// Opens the file, or makes it anew.
pub(super) fn open(path: &Path, store: &dyn EventStore, runtime: &Runtime) -> Result<Open, OpenError> {
    if !path.exists() {
        return fresh(path, store, "there is none");
    }
    match inspect(path, store, runtime) {
        Ok(open) => Ok(open),
        Err(Refusal::Unfit(reason)) => fresh(path, store, reason),
        Err(Refusal::Failed(error)) => Err(error),
    }
}

/// Deletes the file and makes it anew.
pub(super) fn fresh(path: &Path, store: &dyn EventStore, reason: &'static str) -> Result<Open, OpenError> {
    tracing::info!(reason, "the read model is rebuilt from the log");
    for suffix in ["", "-wal", "-shm"] {
        let file = beside(path, suffix);
        match std::fs::remove_file(&file) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                return Err(OpenError::File { path: file, source });
            }
            _ => {}
        }
    }
    let engine = |source| OpenError::Engine { path: path.into(), source };
    let mut connection = schema::writing(path).map_err(engine)?;
    schema::create(&mut connection, store.log_id()).map_err(engine)?;
    Ok(Open {
        connection,
        standing: Standing::default(),
        usage: UsageStanding::default(),
        fresh: Some(reason),
    })
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

enum Refusal {
    Unfit(&'static str),
    Failed(OpenError),
}

/// Whether an error says that the file is not what it should be, rather than that it cannot be reached.
pub(super) fn is_damage(error: &rusqlite::Error) -> bool {
    !matches!(
        error.sqlite_error_code(),
        Some(
            ErrorCode::CannotOpen
                | ErrorCode::PermissionDenied
                | ErrorCode::ReadOnly
                | ErrorCode::SystemIoFailure
                | ErrorCode::DiskFull
                | ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::OutOfMemory
        )
    )
}

fn inspect(path: &Path, store: &dyn EventStore, runtime: &Runtime) -> Result<Open, Refusal> {
    let refusal = |source: rusqlite::Error| {
        if is_damage(&source) {
            tracing::debug!(%source, "the read model cannot be read");
            Refusal::Unfit("it cannot be read")
        } else {
            Refusal::Failed(OpenError::Engine { path: path.into(), source })
        }
    };
    let ahead = |what| OpenError::LogChanged { path: path.into(), what };
    let connection = schema::writing(path).map_err(refusal)?;
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
    if pragma("application_id").map_err(refusal)? != schema::APPLICATION {
        return Err(Refusal::Unfit("it is another file"));
    }
    if pragma("user_version").map_err(refusal)? != schema::VERSION {
        return Err(Refusal::Unfit("it has another layout"));
    }
    let (log, standing, usage) = standing(&connection).map_err(refusal)?;
    if log != store.log_id() {
        return Err(Refusal::Failed(ahead("was made from another log")));
    }
    let head = runtime.block_on(store.head()).map_err(|error| Refusal::Failed(error.into()))?;
    if standing.position.max(usage.position).max(usage.ahead) > head {
        return Err(Refusal::Failed(ahead("knows of events that the log does not have")));
    }
    if !last_entry_stands(&connection, standing.position, store, runtime).map_err(|error| match error {
        Check::Engine(source) => refusal(source),
        Check::Log(error) => Refusal::Failed(error.into()),
    })? {
        return Err(Refusal::Failed(ahead("knows of other events than the log has in their place")));
    }
    Ok(Open { connection, standing, usage, fresh: None })
}

fn standing(connection: &Connection) -> rusqlite::Result<(uuid::Uuid, Standing, UsageStanding)> {
    let position = |raw: Option<i64>| raw.map(|raw| Position::from_raw(raw.cast_unsigned()));
    let (log, standing) = connection.query_row(
        "SELECT log, position, entries, keys, usage_events, newest_usage FROM meta WHERE only = 1",
        [],
        |row| {
            let standing = Standing {
                position: position(row.get(1)?),
                entries: row.get::<_, i64>(2)?.cast_unsigned(),
                keys: row.get::<_, i64>(3)?.cast_unsigned(),
                usage_events: row.get::<_, i64>(4)?.cast_unsigned(),
                newest_usage: row.get::<_, Option<i64>>(5)?.map(Timestamp::from_micros),
                stopped: None,
            };
            Ok((rows::id(row, 0)?, standing))
        },
    )?;
    let usage = connection.query_row(
        "SELECT position, ahead, done, events, slices, newest, horizon FROM usage_meta WHERE only = 1",
        [],
        |row| {
            Ok(UsageStanding {
                position: position(row.get(0)?),
                ahead: position(row.get(1)?),
                done: row.get::<_, i64>(2)?.cast_unsigned(),
                events: row.get::<_, i64>(3)?.cast_unsigned(),
                slices: row.get::<_, i64>(4)?.cast_unsigned(),
                newest: row.get::<_, Option<i64>>(5)?.map(Timestamp::from_micros),
                horizon: row.get::<_, Option<i64>>(6)?.map(Timestamp::from_micros),
            })
        },
    )?;
    Ok((log, standing, usage))
}

enum Check {
    Engine(rusqlite::Error),
    Log(crate::store::ReadError),
}

/// Whether the last event that the tables know is in the log at that place. A log that was put back to
/// an earlier state and went on differently has another one there.
fn last_entry_stands(
    connection: &Connection,
    position: Option<Position>,
    store: &dyn EventStore,
    runtime: &Runtime,
) -> Result<bool, Check> {
    let last = connection
        .query_row(
            "SELECT id, stream, revision, position FROM entries ORDER BY log_index DESC LIMIT 1",
            [],
            |row| {
                let revision = row.get::<_, i64>(2)?.cast_unsigned();
                let position = Position::from_raw(row.get::<_, i64>(3)?.cast_unsigned());
                Ok((rows::id(row, 0)?, rows::stream_of(row.get(1)?)?, revision, position))
            },
        )
        .optional()
        .map_err(Check::Engine)?;
    let Some((id, stream, revision, stands)) = last else { return Ok(position.is_none()) };
    let found = store.read_stream(&stream.to_string(), Some(revision), Direction::Forward, 1);
    let found = runtime.block_on(found).map_err(Check::Log)?;
    Ok(position == Some(stands)
        && found.first().is_some_and(|event| event.id == id && event.position == stands))
}
