//! `GET /v1/reports/…`: whole reports as files, and as pages for people.
//!
//! The body is made as it is [read](super::reading), some hundred rows at a time.

use actix_web::http::header::{CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use actix_web::web::{self, Data};
use actix_web::{HttpRequest, HttpResponse};
use keyledger_schema::Timestamp;

use super::problem::{NO_STORE, Refused};
use super::reading::{self, Source};
use super::{State, credentials};
use crate::error::Error;
use crate::export::html;
use crate::service::Service;
use crate::service::reports::activity::Action;
use crate::service::reports::{Asked, Form, Kind, ReportFile};

const KNOWN: [&str; 7] = ["format", "organizationId", "workspaceId", "from", "to", "actions", "unusedDays"];

/// Reads the parameters of a request. What would be ignored is refused.
fn asked(query: &str) -> Result<(Asked, Form), Error> {
    let pairs = web::Query::<Vec<(String, String)>>::from_query(query)
        .map_err(|_| Error::invalid("query", "the query of the URL is not well-formed; encode its values"))?;
    let (mut asked, mut form, mut seen) = (Asked::default(), None, Vec::new());
    for (name, value) in pairs.into_inner() {
        // Its name is not told: whatever stands in an address by mistake can be a secret.
        let unknown = || {
            let known = KNOWN.join(", ");
            Error::invalid(
                "query",
                format!("there is a parameter that is not known; the parameters are {known}"),
            )
        };
        let known = KNOWN.into_iter().find(|known| *known == name).ok_or_else(unknown)?;
        if seen.contains(&known) {
            return Err(Error::invalid(known, "the parameter is there twice; give it once"));
        }
        seen.push(known);
        let id = |error: keyledger_schema::id::Error| Error::invalid(known, error.to_string());
        let moment = || {
            let expected = "expected a moment such as 2026-11-21T00:00:00Z; in a URL a + is written %2B";
            value.parse::<Timestamp>().map_err(|_| Error::invalid(known, expected))
        };
        match known {
            "organizationId" => asked.organization = Some(value.parse().map_err(id)?),
            "workspaceId" => asked.workspace = Some(value.parse().map_err(id)?),
            "from" => asked.from = Some(moment()?),
            "to" => asked.to = Some(moment()?),
            "actions" => asked.actions = actions(&value)?,
            "unusedDays" => {
                let expected = "expected a number of days";
                asked.unused_days = Some(value.parse().map_err(|_| Error::invalid(known, expected))?);
            }
            _ => form = Form::ALL.into_iter().find(|form| form.name() == value),
        }
    }
    let form = form.ok_or_else(|| Error::invalid("format", "say the format: csv, jsonl or html"))?;
    Ok((asked, form))
}

fn actions(text: &str) -> Result<Vec<Action>, Error> {
    let wrong = || {
        let names = Action::ALL.map(Action::as_str).join(", ");
        Error::invalid("actions", format!("expected some of {names}, with commas between"))
    };
    if text.split(',').count() > Action::ALL.len() {
        return Err(wrong());
    }
    let action = |name| Action::ALL.into_iter().find(|action| action.as_str() == name);
    text.split(',').map(|name| action(name).ok_or_else(wrong)).collect()
}

/// How a refusal is called in the trail.
const fn command(kind: Kind) -> &'static str {
    match kind {
        Kind::KeyActivity => "reportKeyActivity",
        Kind::AccessReview => "reportAccessReview",
        Kind::PolicyViolations => "reportPolicyViolations",
    }
}

/// The organization that a request names.
fn organization(query: &str) -> Option<String> {
    let pairs = web::Query::<Vec<(String, String)>>::from_query(query).ok()?.into_inner();
    pairs.into_iter().find(|(name, _)| name == "organizationId").map(|(_, value)| value)
}

async fn answer(
    kind: Kind,
    request: HttpRequest,
    state: Data<State>,
    service: Data<Service>,
) -> Result<HttpResponse, Refused> {
    let caller = credentials::caller(&request, &state).await?;
    let begin = {
        let (caller, service) = (caller.clone(), service.into_inner());
        let query = request.query_string().to_owned();
        async move {
            let begin = async {
                let (asked, form) = asked(&query)?;
                Ok((service.report(&caller, kind, asked, form).await?, form))
            };
            let target = organization(&query);
            service.recorded(&caller, command(kind), target.as_deref(), begin).await
        }
    };
    let (file, form) = super::to_its_end(begin).await??;
    let disposition = if form == Form::Html { "inline" } else { "attachment" };
    let name = format!("{disposition}; filename=\"keyledger-{}.{}\"", kind.name(), form.name());
    let mut answer = HttpResponse::Ok();
    answer
        .insert_header((CONTENT_TYPE, form.media_type()))
        .insert_header((CONTENT_DISPOSITION, name))
        .insert_header(("X-Content-Type-Options", "nosniff"))
        .insert_header(("Referrer-Policy", "no-referrer"))
        .insert_header(NO_STORE);
    if form == Form::Html {
        answer.insert_header((CONTENT_SECURITY_POLICY, html::content_security_policy()));
    }
    Ok(answer.streaming(reading::body(file, state, caller)))
}

impl Source for ReportFile {
    async fn next(&mut self) -> Result<Option<Vec<u8>>, Error> {
        Self::next(self).await
    }
}

/// What happened to keys in a period.
pub(super) async fn key_activity(
    request: HttpRequest,
    state: Data<State>,
    service: Data<Service>,
) -> Result<HttpResponse, Refused> {
    answer(Kind::KeyActivity, request, state, service).await
}

/// Who holds which access.
pub(super) async fn access_review(
    request: HttpRequest,
    state: Data<State>,
    service: Data<Service>,
) -> Result<HttpResponse, Refused> {
    answer(Kind::AccessReview, request, state, service).await
}

/// Which keys break the policy.
pub(super) async fn policy_violations(
    request: HttpRequest,
    state: Data<State>,
    service: Data<Service>,
) -> Result<HttpResponse, Refused> {
    answer(Kind::PolicyViolations, request, state, service).await
}
