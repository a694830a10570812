//! `GET /v1/audit/export`: events as a file, for whoever holds a management key that may read trails, or an address
//! that such a key asked for.

use actix_web::http::header::{HeaderName, HeaderValue, REFERRER_POLICY};
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};

use super::exports::{Parameters, answer_to, named};
use super::problem::Refused;
use super::{State, credentials};
use crate::error::Error;
use crate::export::Format;
use crate::service::Service;
use crate::service::exports::Wanted;
use crate::service::exports::events::{ActorId, EventsAsked, OUTCOMES, types};
use crate::service::exports::links;

/// How a refusal is called in the trail.
const COMMAND: &str = "exportEvents";

const PARAMETERS: &[&str] = &[
    "format",
    "names",
    "organizationId",
    "workspaceId",
    "keyId",
    "identityId",
    "types",
    "actorId",
    "outcome",
    "from",
    "to",
    "after",
    "raw",
];
/// Of signed addresses only. What they say was looked at before.
const SIGNED: &[&str] = &["key", "token", "epoch", "signer", "expires", "signature"];

/// No page that is opened next is told where its reader came from: an address can be a credential.
const NO_REFERRER: (HeaderName, HeaderValue) = (REFERRER_POLICY, HeaderValue::from_static("no-referrer"));

fn asked(parameters: &Parameters) -> Result<EventsAsked, Error> {
    let outcome = parameters.text("outcome").map(|text| named(&OUTCOMES, text)).transpose();
    Ok(EventsAsked {
        organization: parameters.parsed("organizationId")?,
        workspace: parameters.parsed("workspaceId")?,
        key: parameters.parsed("keyId")?,
        identity: parameters.parsed("identityId")?,
        types: {
            let lists = parameters.condition("types", types)?;
            let mut types: Vec<&'static str> = lists.into_iter().flatten().collect();
            types.sort_unstable();
            types.dedup();
            types
        },
        actor: parameters.text("actorId").map(|text| ActorId::parse("actorId", text)).transpose()?,
        outcome: outcome.map_err(|message| Error::invalid("outcome", message))?,
        from: parameters.moment("from")?,
        to: parameters.moment("to")?,
        after: parameters.one("after", "the logIndex of an event, such as 4711")?,
        raw: parameters.flag("raw", false)?,
    })
}

/// Events in log order.
pub(super) async fn events(request: HttpRequest, state: Data<State>, service: Data<Service>) -> HttpResponse {
    let mut answer = match export(request, state, service).await {
        Ok(answer) => answer,
        Err(refused) => actix_web::ResponseError::error_response(&refused),
    };
    let (name, value) = NO_REFERRER;
    answer.headers_mut().insert(name, value);
    answer
}

async fn export(
    request: HttpRequest,
    state: Data<State>,
    service: Data<Service>,
) -> Result<HttpResponse, Refused> {
    let signed = links::is_signed(request.query_string());
    let caller = if signed {
        let source = credentials::source(&request, &state);
        let caller = service.caller_of_link(request.query_string(), source).await?;
        // Whatever happened to the key or to its grants since they were read: the address says no more.
        state.verifier.still_stands(&caller).map_err(links::or_refused)?;
        caller
    } else {
        credentials::caller(&request, &state).await?
    };
    let read = move |request: &HttpRequest| {
        let signature: &[&str] = if signed { SIGNED } else { &[] };
        let parameters = Parameters::of(request, &[PARAMETERS, signature])?;
        let wanted = Wanted::Events(Box::new(asked(&parameters)?));
        Ok((wanted, parameters.format(&Format::ALL)?, parameters.flag("names", true)?))
    };
    answer_to(caller, request, state, service, COMMAND, "keyledger-events", read).await
}
