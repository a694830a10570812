//! `/log/…`: the log as outsiders read it (C2SP tlog-tiles): the checkpoint, tiles of hashes, bundles of entries, and
//! proofs as files.
//!
//! Checkpoints and hashes may be public; the entries never are.

use actix_web::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE, HeaderName, HeaderValue};
use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use keyledger_schema::EventId;

use super::problem::{NO_STORE, Refused};
use super::{State, credentials};
use crate::audit::tile::{Kind, Tile, write_hashes};
use crate::caller::Caller;
use crate::error::Error;
use crate::service::Service;

/// Whether everybody may have checkpoints and tiles of hashes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Public(pub(super) bool);

const TEXT: (HeaderName, HeaderValue) = (CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
const BYTES: (HeaderName, HeaderValue) = (CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));

/// For whoever may read a trail, unless it is for everybody.
async fn admit(
    request: &HttpRequest,
    state: &State,
    service: &Service,
    public: Public,
    command: &str,
) -> Result<(), Error> {
    if public.0 {
        return Ok(());
    }
    let caller = credentials::caller(request, state).await?;
    let may = async { service.require_some_trail(&caller) };
    service.recorded(&caller, command, None, may).await
}

/// The newest checkpoint. Changes, so it is kept for a moment only.
pub(super) async fn checkpoint(
    request: HttpRequest,
    state: Data<State>,
    service: Data<Service>,
    public: Data<Public>,
) -> Result<HttpResponse, Refused> {
    admit(&request, &state, &service, **public, "logCheckpoint").await?;
    let signed = service.newest_checkpoint().await?;
    let kept = if public.0 { "public, max-age=1" } else { "private, max-age=1" };
    Ok(HttpResponse::Ok()
        .insert_header(TEXT)
        .insert_header((CACHE_CONTROL, kept))
        .body(signed.note.clone().into_string()))
}

fn tile_of(path: &str, parse: impl Fn(&str) -> Option<Tile>) -> Result<Tile, Error> {
    parse(path).ok_or_else(|| Error::invalid("tile", crate::audit::tile::PathError.to_string()))
}

/// A tile of hashes, or a bundle of entries under the path that the specification gives it.
pub(super) async fn tile(
    request: HttpRequest,
    state: Data<State>,
    service: Data<Service>,
    public: Data<Public>,
    path: Path<String>,
) -> Result<HttpResponse, Refused> {
    let tile = tile_of(&path, |path| format!("tile/{path}").parse().ok());
    if matches!(tile, Ok(Tile { kind: Kind::Entries, .. })) {
        return bundle(&request, &state, service, tile).await;
    }
    admit(&request, &state, &service, **public, "logTile").await?;
    let hashes = service.tile(tile?).await?;
    // What stands at a path never changes, partial tiles included.
    let kept =
        if public.0 { "public, max-age=31536000, immutable" } else { "private, max-age=31536000, immutable" };
    Ok(HttpResponse::Ok()
        .insert_header(BYTES)
        .insert_header((CACHE_CONTROL, kept))
        .body(write_hashes(&hashes)))
}

/// A bundle of entries.
pub(super) async fn entries(
    request: HttpRequest,
    state: Data<State>,
    service: Data<Service>,
    path: Path<String>,
) -> Result<HttpResponse, Refused> {
    let tile = tile_of(&path, |path| Tile::parse_place(Kind::Entries, path).ok());
    bundle(&request, &state, service, tile).await
}

async fn bundle(
    request: &HttpRequest,
    state: &State,
    service: Data<Service>,
    tile: Result<Tile, Error>,
) -> Result<HttpResponse, Refused> {
    let caller: Caller = credentials::caller(request, state).await?;
    let read = async move {
        let read = async { service.entries(&caller, tile?).await };
        service.recorded(&caller, "logEntries", None, read).await
    };
    let bytes = super::to_its_end(read).await??;
    // It never changes either, but there is personal data in it, which nobody on the way keeps.
    Ok(HttpResponse::Ok().insert_header(BYTES).insert_header(NO_STORE).body(bytes))
}

/// The proof that an event is in the log, as a file.
pub(super) async fn proof(
    request: HttpRequest,
    state: Data<State>,
    service: Data<Service>,
    path: Path<String>,
) -> Result<HttpResponse, Refused> {
    let caller = credentials::caller(&request, &state).await?;
    let text = path.into_inner();
    let read = async move {
        let read = async {
            let id: EventId = text
                .parse()
                .map_err(|error: keyledger_schema::id::Error| Error::invalid("id", error.to_string()))?;
            let proof = service.inclusion(&caller, id, None).await?;
            Ok((id, proof.file().ok_or_else(Error::internal)?))
        };
        service.recorded(&caller, "logProof", Some(&text), read).await
    };
    let (id, file) = super::to_its_end(read).await??;
    let name = format!("attachment; filename=\"{id}.tlog-proof\"");
    Ok(HttpResponse::Ok()
        .insert_header(TEXT)
        .insert_header((CONTENT_DISPOSITION, name))
        .insert_header(NO_STORE)
        .body(file))
}
