//! `GET /v1/events`: events as they come, for whoever holds a management key that may read trails. The answer is there
//! at once when there is something, and otherwise as soon as there is, or when the time is over.

use std::time::Duration;

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use keyledger_schema::codec;
use keyledger_schema::{ChainHash, Event, IdentityId, KeyId, NodeId, OrganizationId};
use serde::Serialize;
use serde_json::value::RawValue;

use super::exports::Parameters;
use super::problem::{JSON, NO_STORE, Refused};
use super::{State, credentials};
use crate::error::Error;
use crate::feed::{FeedFilter, Feeds, From, News, Spelling, cursor_of};
use crate::service::{Service, unopened};

/// The most events of an answer.
const MAX_EVENTS: usize = 1_000;
/// So many unless asked otherwise.
const EVENTS: usize = 100;
/// Once the events of an answer have so many bytes, no further one is added.
const MAX_BYTES: usize = 4 * 1024 * 1024;
/// The longest wait, in seconds.
const MAX_WAIT: u64 = 60;
/// So many seconds unless asked otherwise.
const WAIT: u64 = 30;

const PARAMETERS: &[&str] =
    &["after", "fromStart", "wait", "max", "organizationId", "keyId", "identityId", "types", "actorId"];

/// What is asked.
struct Asked {
    filter: FeedFilter,
    from: From,
    wait: Duration,
    max: usize,
}

impl Asked {
    fn of(request: &HttpRequest) -> Result<Self, Error> {
        let parameters = Parameters::of(request, &[PARAMETERS])?;
        let bounded = |name: &'static str, otherwise: u64, least: u64, most: u64| {
            let expected = format!("a whole number from {least} to {most}");
            let value = parameters.one::<u64>(name, &expected)?.unwrap_or(otherwise);
            if (least..=most).contains(&value) {
                Ok(value)
            } else {
                Err(Error::invalid(name, format!("expected {expected}")))
            }
        };
        let from = match (parameters.text("after"), parameters.flag("fromStart", false)?) {
            (None, false) => From::Now,
            (None, true) => From::Start,
            (Some(after), false) => From::After(after.to_owned()),
            (Some(_), true) => {
                let message = "after says where to start; leave one of them out";
                return Err(Error::invalid("fromStart", message));
            }
        };
        let known = |text: &str| {
            let known = Event::TYPES.iter().any(|(name, _)| *name == text);
            if known {
                Ok(text.to_owned())
            } else {
                Err("expected event types such as key.revoked".to_owned())
            }
        };
        let actor = parameters.text("actorId").map(|text| {
            let bits = text.parse().map(KeyId::uuid).or_else(|_| text.parse().map(NodeId::uuid));
            bits.map(|bits| (text.to_owned(), bits))
                .map_err(|_| Error::invalid("actorId", "expected the id of a key or a node"))
        });
        Ok(Self {
            filter: FeedFilter {
                organization: parameters.parsed::<OrganizationId>("organizationId")?,
                key: parameters.parsed::<KeyId>("keyId")?,
                identity: parameters.parsed::<IdentityId>("identityId")?,
                types: parameters.condition("types", known)?,
                actor: actor.transpose()?,
            },
            from,
            wait: Duration::from_secs(bounded("wait", WAIT, 0, MAX_WAIT)?),
            max: usize::try_from(bounded("max", EVENTS as u64, 1, MAX_EVENTS as u64)?).unwrap_or(EVENTS),
        })
    }
}

/// One event of an answer.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    cursor: String,
    log_index: u64,
    hash: String,
    event: Box<RawValue>,
}

#[derive(Serialize)]
struct Body {
    events: Vec<Shown>,
    cursor: Option<String>,
    more: bool,
}

/// Answers with the next events.
pub(super) async fn poll(
    request: HttpRequest,
    state: Data<State>,
    service: Data<Service>,
    feeds: Data<Feeds>,
) -> Result<HttpResponse, Refused> {
    let caller = credentials::caller(&request, &state).await?;
    // What is written down is written to its end; only the wait ends when the client goes.
    let begin = {
        let (request, caller, feeds, service) =
            (request.clone(), caller.clone(), Data::clone(&feeds), service.clone().into_inner());
        async move {
            let begin = async {
                let asked = Asked::of(&request)?;
                let Asked { filter, from, wait, max } = asked;
                let follower = feeds.begin(&caller, filter, from, Spelling { prefix: "" }).await?;
                Ok((follower, wait, max))
            };
            let target = super::exports::organization(&request);
            service.recorded(&caller, "followEvents", target.as_deref(), begin).await
        }
    };
    let (mut follower, wait, max) = super::to_its_end(begin).await??;
    let News { entries, mut more } = follower.next(max, wait).await?;
    let mut cursor = follower.cursor();
    let mut events = Vec::with_capacity(entries.len());
    let mut bytes = 0;
    for entry in &entries {
        if bytes >= MAX_BYTES {
            more = true;
            break;
        }
        let recorded = service.recorded_event(entry).await?;
        bytes += recorded.len();
        cursor = Some(cursor_of(entry));
        events.push(Shown {
            cursor: cursor_of(entry),
            log_index: entry.log_index,
            hash: ChainHash::of(&recorded).to_string(),
            event: readable(&service, &recorded)?,
        });
    }
    if events.len() == entries.len() {
        cursor = follower.cursor();
    }
    follower.may_go_on()?;
    let body = serde_json::to_vec(&Body { events, cursor, more }).map_err(|_| Error::internal())?;
    Ok(HttpResponse::Ok().insert_header(JSON).insert_header(NO_STORE).body(body))
}

/// An event as people may read it: the JSON object that is stored, with personal data readable, and null where it was
/// erased.
fn readable(service: &Service, bytes: &[u8]) -> Result<Box<RawValue>, Error> {
    let text = codec::opened(bytes, &**service.vault()).map_err(|error| unopened(&error))?;
    RawValue::from_string(text.into_owned()).map_err(|_| Error::internal())
}
