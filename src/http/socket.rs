//! Subscriptions over a WebSocket: the subprotocol `graphql-transport-ws` (graphql-ws PROTOCOL.md) and no other.
//!
//! Only subscriptions are taken: a query or a mutation is a request of its own, which is answered to its end even
//! when the client goes. Where a page comes from does not matter here, since no cookie says who calls: whoever opens a
//! socket presents a key, in the header of the request or in `connection_init`.
//!
//! Nothing is kept for a reader who does not read: each subscription makes its next answer when the one before is
//! taken. The connection ends when that takes too long, when nothing is heard of the client for a while, and when
//! its key is no longer what it was.

use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL};
use actix_web::rt::time::{sleep, timeout};
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse, ResponseError};
use actix_ws::{AggregatedMessage, AggregatedMessageStream, CloseCode, CloseReason, Session};
use async_graphql::{Response, ServerError};
use futures_util::stream::{BoxStream, Stream};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{State, credentials, graphql};
use crate::caller::Caller;
use crate::edge::Stopwatch;
use crate::error::{Code, Error};
use crate::feed::{Feeds, Socket};
use crate::graphql::Api;

/// The subprotocol.
const PROTOCOL: &str = "graphql-transport-ws";
/// The longest message, in bytes. A document has at most half of it.
const MAX_MESSAGE: usize = 256 * 1024;
/// The most subscriptions of a connection.
const MAX_SUBSCRIPTIONS: usize = 16;
/// The longest id of one.
const MAX_ID: usize = 128;
/// Within this time a client says who it is.
const INIT: Duration = Duration::from_secs(10);
/// How long an answer waits until it is taken.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often a client is asked whether it is there.
const PING: Duration = Duration::from_secs(20);
/// A client of which nothing is heard for so long is gone.
const SILENCE: Duration = Duration::from_mins(1);
/// How often it is looked whether the caller may still read.
const LOOK_AFTER: Duration = Duration::from_millis(500);

/// What a client says.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Said {
    ConnectionInit {
        #[serde(default)]
        payload: Option<Value>,
    },
    Ping,
    Pong,
    Subscribe {
        id: String,
        payload: Operation,
    },
    Complete {
        id: String,
    },
}

/// As in the body of a `POST /graphql`.
#[derive(Deserialize)]
struct Operation {
    query: String,
    #[serde(default, rename = "operationName")]
    named: Option<String>,
    #[serde(default)]
    variables: Option<serde_json::Map<String, Value>>,
}

/// What is said to a client. Written as it is: an answer's fields stay in the order in which they were asked for.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Says<'a> {
    ConnectionAck,
    Pong,
    Next { id: &'a str, payload: &'a Response },
    Error { id: &'a str, payload: &'a [ServerError] },
    Complete { id: &'a str },
}

/// Why a connection ends: a code of the protocol and a word on it.
struct End(u16, &'static str);

const GONE: End = End(1000, "");

/// Opens a connection.
pub(super) async fn open(
    request: HttpRequest,
    state: Data<State>,
    api: Data<Api>,
    feeds: Data<Feeds>,
    payload: Payload,
) -> HttpResponse {
    let refused = |error: &Error| graphql::refused(error.status_code(), error);
    let offered = request.headers().get_all(SEC_WEBSOCKET_PROTOCOL);
    let offered = offered.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    if !offered.map(str::trim).any(|protocol| protocol == PROTOCOL) {
        let message =
            "name the subprotocol graphql-transport-ws in Sec-WebSocket-Protocol; no other one is spoken";
        return refused(&Error::invalid("Sec-WebSocket-Protocol", message));
    }
    // A key in the header is settled now, so that a wrong one is told as a status.
    let caller = if request.headers().contains_key(AUTHORIZATION) {
        match credentials::caller(&request, &state).await {
            Ok(caller) => Some(caller),
            Err(error) => return refused(&error),
        }
    } else {
        None
    };
    let source = credentials::source(&request, &state);
    match actix_ws::handle_with_protocols(&request, payload, &[PROTOCOL]) {
        Ok((response, session, messages)) => {
            let messages = messages.max_frame_size(MAX_MESSAGE).aggregate_continuations();
            let messages = messages.max_continuation_size(MAX_MESSAGE);
            let connection = Connection {
                session,
                api,
                feeds,
                state,
                source,
                presented: caller,
                caller: None,
                place: None,
                running: Vec::new(),
                turn: 0,
            };
            actix_web::rt::spawn(connection.run(messages));
            response
        }
        Err(_) => graphql::refused(
            StatusCode::BAD_REQUEST,
            &Error::invalid("upgrade", "this is not the start of a WebSocket; see RFC 6455 section 4.2.1"),
        ),
    }
}

/// A subscription of a connection.
struct Running {
    id: String,
    results: BoxStream<'static, Response>,
}

struct Connection {
    session: Session,
    api: Data<Api>,
    feeds: Data<Feeds>,
    state: Data<State>,
    source: keyledger_schema::Source,
    /// Who the header says that calls.
    presented: Option<Caller>,
    /// Who calls, once the connection is acknowledged.
    caller: Option<Caller>,
    /// Its place among the connections of that key.
    place: Option<Socket>,
    running: Vec<Running>,
    /// Which of them is asked first next time.
    turn: usize,
}

impl Connection {
    async fn run(mut self, mut messages: AggregatedMessageStream) {
        let end = match self.talk(&mut messages).await {
            Ok(()) => return,
            Err(end) => end,
        };
        self.running.clear();
        let reason = CloseReason { code: CloseCode::from(end.0), description: Some(end.1.to_owned()) };
        let _ = timeout(PATIENCE, self.session.clone().close(Some(reason))).await;
    }

    async fn talk(&mut self, messages: &mut AggregatedMessageStream) -> Result<(), End> {
        let begun = Stopwatch::start();
        let (mut heard, mut asked) = (Stopwatch::start(), Stopwatch::start());
        loop {
            tokio::select! {
                message = messages.recv() => {
                    heard = Stopwatch::start();
                    match message {
                        None => return Ok(()),
                        Some(Err(_)) => return Err(End(1009, "a message was malformed or too long")),
                        Some(Ok(message)) => self.hear(message).await?,
                    }
                }
                (id, result) = next_of(&mut self.running, &mut self.turn) => {
                    let message = match &result {
                        Some(payload) => Says::Next { id: &id, payload },
                        None => Says::Complete { id: &id },
                    };
                    self.say(&message).await?;
                }
                () = sleep(LOOK_AFTER) => {}
            }
            if let Some(caller) = &self.caller {
                self.feeds.still_stands(caller).map_err(|error| match error.code {
                    Code::Unavailable => End(1001, "the node stops; go on after your last cursor"),
                    _ => End(4401, "Unauthorized"),
                })?;
            } else if begun.elapsed() >= INIT {
                return Err(End(4408, "Connection initialisation timeout"));
            }
            if heard.elapsed() >= SILENCE {
                return Err(End(1001, "nothing was heard of you"));
            }
            if asked.elapsed() >= PING {
                asked = Stopwatch::start();
                let pinged = timeout(PATIENCE, self.session.ping(b"")).await;
                pinged.map_err(|_| GONE)?.map_err(|_| GONE)?;
            }
        }
    }

    async fn hear(&mut self, message: AggregatedMessage) -> Result<(), End> {
        match message {
            AggregatedMessage::Text(text) => self.understand(&text).await,
            AggregatedMessage::Binary(_) => Err(End(4400, "messages are text")),
            AggregatedMessage::Ping(bytes) => {
                let answered = timeout(PATIENCE, self.session.pong(&bytes)).await;
                answered.map_err(|_| GONE)?.map_err(|_| GONE)
            }
            AggregatedMessage::Pong(_) => Ok(()),
            AggregatedMessage::Close(_) => Err(GONE),
        }
    }

    async fn understand(&mut self, text: &str) -> Result<(), End> {
        let Ok(said) = serde_json::from_str::<Said>(text) else {
            return Err(End(4400, "a message is not one of graphql-transport-ws"));
        };
        match said {
            Said::ConnectionInit { payload } => self.begin(payload).await,
            Said::Ping => self.say(&Says::Pong).await,
            Said::Pong => Ok(()),
            Said::Complete { id } => {
                self.running.retain(|running| running.id != id);
                Ok(())
            }
            Said::Subscribe { id, payload } => self.subscribe(id, payload).await,
        }
    }

    /// Settles who calls. The answer to a wrong key is the same whatever is wrong with it.
    async fn begin(&mut self, payload: Option<Value>) -> Result<(), End> {
        if self.caller.is_some() {
            return Err(End(4429, "Too many initialisation requests"));
        }
        let presented = match payload.as_ref().and_then(bearer) {
            Some(secret) => self.state.verifier.authenticate(secret, self.source.clone()).await.ok(),
            None => self.presented.take(),
        };
        let caller = presented.ok_or(End(4403, "Forbidden"))?;
        // RFC 6455 leaves 1013 to IANA's registry: try again later.
        let full = End(1013, "your key has 20 WebSockets open, which is the most; close one");
        self.place = Some(self.feeds.socket(caller.key).ok_or(full)?);
        self.caller = Some(caller);
        self.say(&Says::ConnectionAck).await
    }

    async fn subscribe(&mut self, id: String, operation: Operation) -> Result<(), End> {
        let Some(caller) = self.caller.clone() else { return Err(End(4401, "Unauthorized")) };
        if id.is_empty() || id.len() > MAX_ID {
            return Err(End(4400, "the id of a subscription has 1 to 128 bytes"));
        }
        if self.running.iter().any(|running| running.id == id) {
            return Err(End(4409, "a subscriber with this id already exists"));
        }
        if self.running.len() >= MAX_SUBSCRIPTIONS {
            let message = format!(
                "a connection has at most {MAX_SUBSCRIPTIONS} subscriptions; complete one, or open another one"
            );
            let error = crate::graphql::refused(&Error::new(Code::TooManyRequests, message));
            return self.say(&Says::Error { id: &id, payload: &[error] }).await;
        }
        let variables = Value::Object(operation.variables.unwrap_or_default());
        let mut request = async_graphql::Request::new(operation.query)
            .variables(async_graphql::Variables::from_json(variables));
        request.operation_name = operation.named;
        match self.api.subscribe(request, caller) {
            Ok(results) => {
                self.running.push(Running { id, results });
                Ok(())
            }
            Err(refused) => self.say(&Says::Error { id: &id, payload: &refused.errors }).await,
        }
    }

    async fn say(&mut self, message: &Says<'_>) -> Result<(), End> {
        let text = serde_json::to_string(message).map_err(|_| End(4500, "Internal server error"))?;
        let said = timeout(PATIENCE, self.session.text(text)).await;
        said.map_err(|_| End(1008, "you did not read on; go on after your last cursor"))?.map_err(|_| GONE)
    }
}

/// The secret in the payload of `connection_init`.
fn bearer(payload: &Value) -> Option<&str> {
    let fields = payload.as_object()?;
    let value = fields.iter().find(|(name, _)| name.eq_ignore_ascii_case("authorization"))?.1.as_str()?;
    credentials::after_scheme(value, "Bearer")
}

/// The next result of any subscription, and the end of one, which is gone then. Never, while there is none.
async fn next_of(running: &mut Vec<Running>, turn: &mut usize) -> (String, Option<Response>) {
    std::future::poll_fn(|context| {
        let count = running.len();
        for offset in 0..count {
            let at = (*turn + offset) % count;
            match Pin::new(&mut running[at].results).poll_next(context) {
                Poll::Pending => {}
                Poll::Ready(Some(response)) => {
                    // The others have their turn first.
                    *turn = at + 1;
                    return Poll::Ready((running[at].id.clone(), Some(response)));
                }
                Poll::Ready(None) => {
                    return Poll::Ready((running.remove(at).id, None));
                }
            }
        }
        Poll::Pending
    })
    .await
}
