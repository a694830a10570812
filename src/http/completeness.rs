//! `GET /v1/audit/completeness`: where a stream ended, with its proof, as JSON that can be kept in a file.

use actix_web::web::{self, Data};
use actix_web::{HttpRequest, HttpResponse};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use keyledger_schema::{ChainHash, EventId, Hex32, KeyId, Stream, Timestamp};
use serde::Serialize;

use super::problem::{JSON, NO_STORE, Refused};
use super::{State, credentials};
use crate::audit::heads::{Absence, Proof, Step};
use crate::error::Error;
use crate::service::Service;
use crate::service::completeness::Completeness;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Commitment {
    event_id: EventId,
    at: Timestamp,
    log_index: u64,
    tree_size: u64,
    streams: u64,
    root: Hex32,
    raw_bytes: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    tlog_proof: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    stream: Stream,
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hash: Option<ChainHash>,
    steps: Vec<Step>,
    #[serde(skip_serializing_if = "Option::is_none")]
    other_path: Option<Hex32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    other_value: Option<Hex32>,
    commitment: Commitment,
}

impl From<Completeness> for Body {
    fn from(found: Completeness) -> Self {
        let (steps, other) = match found.proof {
            Proof::Included(proof) => (proof.steps, None),
            Proof::Absent(Absence::Empty {}) => (Vec::new(), None),
            Proof::Absent(Absence::Other { path, value, steps }) => (steps, Some((path, value))),
        };
        let (committed, envelope) = (found.commitment.committed, found.commitment.envelope);
        Self {
            stream: found.stream,
            revision: found.head.map(|head| head.revision),
            hash: found.head.map(|head| head.hash),
            steps,
            other_path: other.map(|(path, _)| path),
            other_value: other.map(|(_, value)| value),
            commitment: Commitment {
                event_id: envelope.id,
                at: envelope.at,
                log_index: found.commitment.log_index,
                tree_size: committed.tree_size,
                streams: committed.streams,
                root: committed.root,
                raw_bytes: STANDARD.encode(&found.commitment.bytes),
                tlog_proof: found.commitment.tlog_proof,
            },
        }
    }
}

/// The stream that the request names, and the parameter that names it.
fn asked(query: &str) -> Result<(Stream, &'static str), Error> {
    let pairs = web::Query::<Vec<(String, String)>>::from_query(query)
        .map_err(|_| Error::invalid("query", "the query of the URL is not well-formed; encode its values"))?;
    match pairs.into_inner().as_slice() {
        [(name, value)] if name == "keyId" => {
            let id: KeyId = value
                .parse()
                .map_err(|error: keyledger_schema::id::Error| Error::invalid("keyId", error.to_string()))?;
            Ok((Stream::Key(id), "keyId"))
        }
        [(name, value)] if name == "stream" => {
            let message = "expected the name of a stream as events show it, such as key-key_…";
            Ok((value.parse().map_err(|_| Error::invalid("stream", message))?, "stream"))
        }
        _ => Err(Error::invalid("query", "give exactly one parameter: keyId or stream")),
    }
}

/// The proof.
pub(super) async fn completeness(
    request: HttpRequest,
    state: Data<State>,
    service: Data<Service>,
) -> Result<HttpResponse, Refused> {
    let caller = credentials::caller(&request, &state).await?;
    let service = service.into_inner();
    let run = async move {
        let named = asked(request.query_string());
        let target = named.as_ref().ok().and_then(|(stream, _)| match stream {
            Stream::Key(id) => Some(id.to_string()),
            _ => None,
        });
        let proof = async {
            let (stream, field) = named?;
            service.completeness(&caller, stream, field).await
        };
        service.recorded(&caller, "completenessProof", target.as_deref(), proof).await
    };
    let found = super::to_its_end(run).await??;
    let body = serde_json::to_vec(&Body::from(found)).map_err(|_| Error::internal())?;
    Ok(HttpResponse::Ok().insert_header(JSON).insert_header(NO_STORE).body(body))
}
