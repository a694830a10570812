//! An export on its way to its reader.
//!
//! Pieces are made on other threads: some thousand rows take milliseconds, which verifications on this one would wait
//! for. Lines of events do not depend on each other, so several pieces are made at a time, ahead of the reader and in
//! the order of the file; those of other files follow from each other.

use std::sync::Arc;

use actix_web::rt::spawn;
use actix_web::rt::task::{JoinHandle, spawn_blocking};
use tokio::sync::mpsc::{self, Receiver, Sender};

use crate::error::Error;
use crate::export::{Batch, Encoder, Failed, Format, Lines, Open};
use crate::http::reading::Source;
use crate::service::exports::Export;

/// So many pieces wait for their reader, besides one that it waits for and one that waits for its place here.
const WAITING: usize = 2;

/// See the head of this module.
pub(super) enum Flow {
    /// A file whose pieces follow from each other.
    File(Box<Export>, Encoder, Arc<Open>),
    /// A file of lines.
    Lines {
        /// What stands before the first line.
        begun: Vec<u8>,
        pieces: Pieces,
    },
    Over,
}

/// What is made on another thread.
type Piece<T> = JoinHandle<Result<T, Failed>>;

/// Pieces in the order of the file, and none at its end. Dropping this ends the export.
pub(super) struct Pieces {
    made: Receiver<Result<Option<Piece<Vec<u8>>>, Error>>,
    maker: JoinHandle<()>,
}

impl Drop for Pieces {
    fn drop(&mut self) {
        self.maker.abort();
    }
}

impl Pieces {
    fn begin(export: Export, lines: Lines, open: Arc<Open>) -> Self {
        let (pieces, made) = mpsc::channel(WAITING);
        Self { made, maker: spawn(make(export, lines, open, pieces)) }
    }
}

/// Reads an export to its end, and has pieces made of it for as long as somebody takes them.
async fn make(
    mut export: Export,
    lines: Lines,
    open: Arc<Open>,
    pieces: Sender<Result<Option<Piece<Vec<u8>>>, Error>>,
) {
    loop {
        let piece = match export.next().await {
            Ok(Some(Batch::Events(events))) => {
                let open = Arc::clone(&open);
                Ok(Some(spawn_blocking(move || lines.of(&events, &*open))))
            }
            Ok(Some(Batch::Rows(_))) => Err(Error::internal()),
            Ok(None) => Ok(None),
            Err(error) => Err(error),
        };
        let more = matches!(piece, Ok(Some(_)));
        if pieces.send(piece).await.is_err() || !more {
            break;
        }
    }
    // The export counts as running until all of it was handed out.
    pieces.closed().await;
}

fn broken(failed: &Failed) -> Error {
    tracing::error!(%failed, "an export cannot be written");
    Error::internal()
}

async fn made<T>(piece: Piece<T>) -> Result<T, Error> {
    piece.await.map_err(|_| Error::internal())?.map_err(|failed| broken(&failed))
}

impl Flow {
    /// Begins to make the file of an export. `names` says whether a CSV file begins with the names of its columns.
    pub(super) fn begin(export: Export, format: Format, names: bool) -> Result<Self, Error> {
        let encoder = export.encoder(format, names).map_err(|failed| broken(&failed))?;
        let open = export.opener();
        Ok(match encoder.lines() {
            Some(lines) => {
                let begun = encoder.finish().map_err(|failed| broken(&failed))?;
                Self::Lines { begun, pieces: Pieces::begin(export, lines, open) }
            }
            None => Self::File(Box::new(export), encoder, open),
        })
    }
}

impl Source for Flow {
    async fn next(&mut self) -> Result<Option<Vec<u8>>, Error> {
        match std::mem::replace(self, Self::Over) {
            Self::Over => Ok(None),
            Self::File(mut export, mut encoder, open) => {
                let (batch, opener) = (export.next().await?, Arc::clone(&open));
                let piece = spawn_blocking(move || match batch {
                    Some(batch) => encoder.add(&batch, &*opener).map(|bytes| (bytes, Some(encoder))),
                    None => encoder.finish().map(|bytes| (bytes, None)),
                });
                let (bytes, rest) = made(piece).await?;
                *self = rest.map_or(Self::Over, |encoder| Self::File(export, encoder, open));
                Ok(Some(bytes))
            }
            Self::Lines { mut begun, mut pieces } => {
                let piece = pieces.made.recv().await.ok_or_else(Error::internal)??;
                let Some(piece) = piece else { return Ok(Some(begun)) };
                let mut bytes = made(piece).await?;
                if !begun.is_empty() {
                    begun.append(&mut bytes);
                    bytes = begun;
                }
                *self = Self::Lines { begun: Vec::new(), pieces };
                Ok(Some(bytes))
            }
        }
    }
}
