//! `POST /v1/identify`: somebody found a text that may be a secret or a token, and asks of which key it is; and may
//! revoke that key in the same call.
//!
//! Invariant: the text is neither echoed nor logged, and whoever may not read the key it belongs to is
//! answered exactly as for a text that is no secret at all.

use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use keyledger_projections::{KeyState, KeyStatus};
use keyledger_schema::actor::ActorKind;
use keyledger_schema::grant::{GrantRole, Place, Right};
use keyledger_schema::{Actor, Environment, EventId, KeyId, OrganizationId, Timestamp, TokenId, WorkspaceId};
use serde::Serialize;
use zeroize::Zeroizing;

use super::fields::Fields;
use super::holder::{of_body, reason_of};
use super::problem::{Inner, JSON, NO_STORE, Refused};
use super::{State, body, credentials};
use crate::caller::Caller;
use crate::error::Error;
use crate::service::Service;
use crate::service::holders::{Leak, Reported};
use crate::verify::Held;

/// How a refusal is called in the trail.
const COMMAND: &str = "identify";

/// What is told of a key.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Key<'a> {
    id: KeyId,
    name: &'a str,
    status: &'static str,
    environment: Environment,
    workspace_id: WorkspaceId,
    organization_id: OrganizationId,
    email: &'a str,
    created_at: Timestamp,
    created_by: CreatedBy<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Timestamp>,
    /// Which of its secrets the text is.
    secret_version: u32,
}

/// What is told of a token that was found instead of a secret.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Token {
    id: TokenId,
    expires_at: Timestamp,
}

/// Who made a key.
#[derive(Serialize)]
struct CreatedBy<'a> {
    kind: ActorKind,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    /// The key's address as it is now: none once it is erased.
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<GrantRole>,
}

impl<'a> CreatedBy<'a> {
    fn new(actor: &'a Actor, email: Option<&'a str>) -> Self {
        Self { kind: actor.kind, id: actor.id.as_deref(), email, role: actor.role }
    }
}

#[derive(Serialize, Default)]
struct Body<'a> {
    found: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<Key<'a>>,
    /// The token, if the text is one and not the secret that was exchanged for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<Token>,
    /// The report in the key's trail.
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<EventId>,
    /// Whether it was revoked, if that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked: Option<bool>,
    /// Why it was not.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Inner<'a>>,
}

const fn status(status: KeyStatus) -> &'static str {
    match status {
        KeyStatus::Active => "ACTIVE",
        KeyStatus::Inactive => "INACTIVE",
        KeyStatus::Expired => "EXPIRED",
        KeyStatus::Revoked => "REVOKED",
        KeyStatus::Deleted => "DELETED",
    }
}

impl<'a> Key<'a> {
    fn of(state: &'a KeyState, creator: Option<&'a str>, secret_version: u32, now: Timestamp) -> Self {
        Self {
            id: state.id,
            name: &state.name,
            status: status(state.status(now)),
            environment: state.environment,
            workspace_id: state.workspace,
            organization_id: state.organization,
            email: &state.email,
            created_at: state.created_at,
            created_by: CreatedBy::new(&state.created_by, creator),
            expires_at: state.expires_at,
            secret_version,
        }
    }
}

/// What is asked.
struct Asked {
    text: Zeroizing<String>,
    leak: Leak,
}

/// With a management key that may read keys.
pub(super) async fn identify(
    request: HttpRequest,
    state: Data<State>,
    service: Data<Service>,
    payload: Payload,
) -> Result<HttpResponse, Refused> {
    // Who calls is settled before the body is looked at.
    let caller = credentials::caller(&request, &state).await?;
    let bytes = body::read(&request, payload).await?;
    state.verifier.still_stands(&caller)?;
    let commanded = Data::clone(&service);
    let run = async move {
        let service = commanded;
        let run = async {
            let asked = parse(&bytes)?;
            if !caller.holder().may_somewhere(Right::ReadKeys) {
                let own = Place { organization: caller.organization, workspace: Some(caller.workspace) };
                service.require(&caller, Right::ReadKeys, own)?;
            }
            report(&state, &service, &caller, asked).await
        };
        Box::pin(service.recorded(&caller, COMMAND, None, run)).await
    };
    let reported = super::to_its_end(run).await??;
    let creator = match reported.as_ref().and_then(|(_, reported)| reported.state.created_by.key_id()) {
        Some(id) => service.email_of(id).await?,
        None => None,
    };
    let body = reported.as_ref().map_or_else(Body::default, |(found, reported)| {
        let revoked = reported.revoked.as_ref();
        let key = Key::of(&reported.state, creator.as_deref(), found.entry.secret_version, service.now());
        let token = found.token.as_ref().map(|token| &token.claims);
        Body {
            found: true,
            key: Some(key),
            token: token.map(|claims| Token { id: claims.jti, expires_at: claims.expires_at() }),
            event: reported.event,
            revoked: revoked.map(Result::is_ok),
            error: revoked.and_then(|revoked| revoked.as_ref().err()).map(Inner::from),
        }
    });
    let text = serde_json::to_vec(&body).map_err(|_| Error::internal())?;
    Ok(HttpResponse::Ok().insert_header(JSON).insert_header(NO_STORE).body(text))
}

fn parse(bytes: &[u8]) -> Result<Asked, Error> {
    let fields = Fields::of_body(bytes, &["key", "comment", "revoke"])?;
    let pasted = Zeroizing::new(
        fields.text("key")?.ok_or_else(|| Error::invalid("key", "paste the text that may be a secret"))?,
    );
    let revoke = match fields.object("revoke", "revoke.", &["reason", "comment"])? {
        None => None,
        Some(revoke) => {
            let reason = revoke
                .text("reason")?
                .ok_or_else(|| Error::invalid("revoke.reason", "say why the key is to be revoked"))?;
            Some((reason_of("revoke.reason", &reason)?, revoke.text("comment")?))
        }
    };
    let leak = Leak::new(fields.text("comment")?.as_deref(), revoke)?;
    Ok(Asked { text: Zeroizing::new(pasted.trim().to_owned()), leak })
}

/// The shortest part of a pasted text that can be a secret, in bytes.
const MIN_PART_BYTES: usize = 16;
/// How many parts of a pasted text are looked at.
const MAX_PARTS: usize = 64;

/// What of a pasted text may be a secret: the whole of it, or a part between spaces, quotes and the signs that
/// stand around values in configuration, commands and code.
fn candidates(text: &str) -> impl Iterator<Item = &str> {
    let around = |sign: char| sign.is_whitespace() || "\"'`,;=:<>()[]{}".contains(sign);
    let parts = text.split(around).filter(|part| (MIN_PART_BYTES..text.len()).contains(&part.len()));
    std::iter::once(text).chain(parts.take(MAX_PARTS))
}

/// The report, and what was found; none where there is nothing that the caller may know of.
async fn report(
    state: &State,
    service: &Service,
    caller: &Caller,
    asked: Asked,
) -> Result<Option<(Held, Reported)>, Error> {
    let mut found = None;
    for candidate in candidates(&asked.text) {
        found = state
            .verifier
            .identify(candidate, |entry| service.may(caller, Right::ReadKeys, entry.place()))?;
        if found.is_some() {
            break;
        }
    }
    let Some(held) = found else { return Ok(None) };
    let mut reported = service
        .report_leak(caller, COMMAND, held.entry.key, held.entry.secret_version, asked.leak)
        .await
        .map_err(of_body)?;
    reported.revoked = reported.revoked.map(|revoked| revoked.map_err(of_body));
    Ok(Some((held, reported)))
}
