//! GraphQL over Server-Sent Events (graphql-sse PROTOCOL.md, "distinct connections mode"): `POST /graphql` with
//! `Accept: text/event-stream`. One operation for each request; each answer is an event `next`, and the end is
//! an event `complete`.
//!
//! Nothing is kept for a reader who does not read: the next answer is made when the one before is taken. Whoever does
//! not take one within [`PATIENCE`] is cut off, and goes on after the last cursor with another request.

use std::time::Duration;

use actix_web::http::header::{ACCEPT, CONTENT_TYPE, HeaderMap};
use actix_web::rt::time::timeout;
use actix_web::web::Bytes;
use actix_web::{Error as HttpError, HttpResponse};
use async_graphql::Response;
use futures_util::StreamExt;
use futures_util::stream::{BoxStream, poll_fn};
use tokio::sync::mpsc;

use super::problem::NO_STORE;

/// How long an answer waits until it is taken.
const PATIENCE: Duration = Duration::from_secs(10);
/// When nothing happens, a comment says so often that the connection is alive.
const HEARTBEAT: Duration = Duration::from_secs(12);

/// Whether the answer is to be a stream of events.
pub(super) fn is_asked_for(headers: &HeaderMap) -> bool {
    headers.get_all(ACCEPT).filter_map(|value| value.to_str().ok()).any(|value| {
        let kinds = value.split(',').map(|kind| kind.split(';').next().unwrap_or_default().trim());
        kinds.into_iter().any(|kind| kind.eq_ignore_ascii_case("text/event-stream"))
    })
}

fn next(response: &Response) -> Bytes {
    // JSON without line ends is one line of data.
    let json = serde_json::to_string(response).unwrap_or_default();
    format!("event: next\ndata: {json}\n\n").into()
}

const COMPLETE: Bytes = Bytes::from_static(b"event: complete\ndata: \n\n");
const ALIVE: Bytes = Bytes::from_static(b":\n\n");

/// An answer of one result.
pub(super) fn once(response: &Response) -> HttpResponse {
    let body = [next(response), COMPLETE].concat();
    HttpResponse::Ok().insert_header((CONTENT_TYPE, "text/event-stream")).insert_header(NO_STORE).body(body)
}

/// An answer of as many results as come.
pub(super) fn follow(results: BoxStream<'static, Response>) -> HttpResponse {
    let (sender, mut pieces) = mpsc::channel(1);
    actix_web::rt::spawn(hand_over(results, sender));
    let body = poll_fn(move |context| pieces.poll_recv(context)).map(Ok::<Bytes, HttpError>);
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/event-stream"))
        .insert_header(NO_STORE)
        // Proxies that collect an answer before they pass it on would hold events back.
        .insert_header(("X-Accel-Buffering", "no"))
        .streaming(body)
}

/// Hands results to the connection until they end, it goes, or its reader falls behind.
async fn hand_over(mut results: BoxStream<'static, Response>, sender: mpsc::Sender<Bytes>) {
    // The head is sent together with the first piece.
    let mut piece = ALIVE;
    loop {
        if !matches!(timeout(PATIENCE, sender.send(piece)).await, Ok(Ok(()))) {
            return;
        }
        let result = tokio::select! {
            () = sender.closed() => return,
            result = timeout(HEARTBEAT, results.next()) => result,
        };
        piece = match result {
            Ok(Some(response)) => next(&response),
            Ok(None) => {
                let _ = timeout(PATIENCE, sender.send(COMPLETE)).await;
                return;
            }
            Err(_) => ALIVE,
        };
    }
}
