//! `/graphql`: management, for callers who present a management key. `POST` is GraphQL over HTTP, and with
//! `Accept: text/event-stream` GraphQL over SSE; `GET` opens a WebSocket.

use actix_web::guard::{self, GuardContext};
use actix_web::http::StatusCode;
use actix_web::http::header::UPGRADE;
use actix_web::web::{self, Data, Payload, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, ResponseError};
use async_graphql::{Response, ServerError};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::problem::{CHALLENGE, JSON, NO_STORE, Refused, post_only};
use super::{State, body, credentials, socket, sse};
use crate::error::{Code, Error};
use crate::graphql::{Api, is_subscription};

/// Adds the route to a management listener.
pub fn configure(config: &mut ServiceConfig, api: &Data<Api>) {
    config.app_data(Data::clone(api));
    let resource = web::resource("/graphql")
        .route(web::post().to(execute))
        .route(web::get().guard(guard::fn_guard(asks_for_websocket)).to(socket::open));
    config.service(resource.default_service(web::to(post_only)));
}

/// Whether a request asks for a WebSocket (RFC 6455 §4.2.1).
fn asks_for_websocket(context: &GuardContext<'_>) -> bool {
    let upgrade = context.head().headers().get(UPGRADE);
    upgrade.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// The body of a request. Files, batches and persisted queries are not taken.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Body<'a> {
    query: String,
    #[serde(default)]
    operation_name: Option<String>,
    /// Read by itself: there can be many of them, and this way they are read once.
    #[serde(default, borrow)]
    variables: Option<&'a RawValue>,
    /// For extensions of the protocol; none is known here.
    #[serde(default)]
    #[allow(dead_code, reason = "clients send it, and nothing follows from it")]
    extensions: Option<serde::de::IgnoredAny>,
}

async fn execute(request: HttpRequest, state: Data<State>, api: Data<Api>, payload: Payload) -> HttpResponse {
    // Who calls is settled before the body is looked at.
    let caller = match credentials::caller(&request, &state).await {
        Ok(caller) => caller,
        Err(error) => return refused(error.status_code(), &error),
    };
    let asked = match read(&request, payload).await {
        Ok(asked) => asked,
        Err(Refused(status, error)) => return refused(status, &error),
    };
    let as_events = sse::is_asked_for(request.headers());
    let mut asked = asked;
    if as_events && is_subscription(&mut asked) {
        return match api.subscribe(asked, caller) {
            Ok(results) => sse::follow(results),
            Err(response) => sse::once(&response),
        };
    }
    match super::to_its_end(async move { api.execute(asked, caller).await }).await {
        Ok(response) if as_events => sse::once(&response),
        Ok(response) => answer(StatusCode::OK, &response),
        Err(error) => refused(error.status_code(), &error),
    }
}

async fn read(request: &HttpRequest, payload: Payload) -> Result<async_graphql::Request, Refused> {
    let bytes = body::read(request, payload).await?;
    let body: Body<'_> = serde_json::from_slice(&bytes).map_err(|error| {
        let message = if error.is_data() {
            "the body is one JSON object with the fields query, variables and operationName".to_owned()
        } else {
            format!("the body is not valid JSON at line {} column {}", error.line(), error.column())
        };
        Error::invalid("body", message)
    })?;
    let variables = body.variables.map(RawValue::get).filter(|text| *text != "null");
    let variables = variables.map_or_else(|| Ok(async_graphql::Variables::default()), serde_json::from_str);
    let variables = variables.map_err(|_| Error::invalid("variables", "variables are a JSON object"))?;
    let mut asked = async_graphql::Request::new(body.query).variables(variables);
    asked.operation_name = body.operation_name;
    Ok(asked)
}

/// A refusal before anything was executed, in GraphQL's form.
pub(super) fn refused(status: StatusCode, error: &Error) -> HttpResponse {
    let mut problem = ServerError::new(error.message.clone(), None);
    let extensions = problem.extensions.get_or_insert_default();
    extensions.set("code", error.code.as_str());
    if let Some(field) = &error.field {
        extensions.set("field", field.as_ref());
    }
    let mut answer = answer(status, &Response::from_errors(vec![problem]));
    if error.code == Code::Unauthenticated {
        let (name, value) = CHALLENGE;
        answer.headers_mut().insert(name, value);
    }
    answer
}

fn answer(status: StatusCode, response: &Response) -> HttpResponse {
    match serde_json::to_vec(response) {
        Ok(body) => HttpResponse::build(status).insert_header(JSON).insert_header(NO_STORE).body(body),
        Err(_) => Error::internal().error_response(),
    }
}
