//! `GET /v1/exports/usage` and `GET /v1/exports/verifications`: figures and records as files, for whoever holds a
//! management key that may read them.
//!
//! The body is made as it is read: a slow reader holds a few pieces of at most a mebibyte of stored bytes or some
//! thousand rows each, and neither a thread nor a transaction of the database. A body that ends without its last chunk is not whole; that happens when the key is revoked
//! meanwhile, too.

mod flow;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::str::FromStr;

use actix_web::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use actix_web::web::{self, Data};
use actix_web::{HttpRequest, HttpResponse};
use keyledger_schema::{Action, Environment, Timestamp, VerificationCode};

use self::flow::Flow;
use super::problem::{NO_STORE, Refused};
use super::reading;
use super::{State, credentials};
use crate::caller::Caller;
use crate::error::Error;
use crate::export::Format;
use crate::service::Service;
use crate::service::analytics::{
    self, DIMENSIONS, GRANULARITIES, Granularity, MAX_GROUPS, MAX_KEYS, MEANS, Selection, Sequence,
    UsageAsked, UsageFilter, VerificationsAsked, Window,
};
use crate::service::exports::Wanted;

/// The longest list in a parameter.
const MAX_LIST: usize = MAX_KEYS;

/// The parameters of a request by their names.
pub(super) struct Parameters(BTreeMap<String, String>);

impl Parameters {
    /// Only known ones, each once. What would be ignored is refused.
    pub(super) fn of(request: &HttpRequest, known: &[&[&'static str]]) -> Result<Self, Error> {
        let pairs =
            web::Query::<Vec<(String, String)>>::from_query(request.query_string()).map_err(|_| {
                Error::invalid("query", "the query of the URL is not well-formed; encode its values")
            })?;
        let mut parameters = BTreeMap::new();
        for (name, value) in pairs.into_inner() {
            let Some(known) = known.iter().copied().flatten().find(|known| **known == name) else {
                // Its name is not told: whatever stands in an address by mistake can be a secret.
                let known = known.concat().join(", ");
                let message = format!("there is a parameter that is not known; the parameters are {known}");
                return Err(Error::invalid("query", message));
            };
            if parameters.insert(name, value).is_some() {
                return Err(Error::invalid(*known, "the parameter is there twice; give it once"));
            }
        }
        Ok(Self(parameters))
    }

    pub(super) fn text(&self, name: &'static str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// A value with an error that says what is wrong with it.
    pub(super) fn parsed<T: FromStr<Err: std::fmt::Display>>(
        &self,
        name: &'static str,
    ) -> Result<Option<T>, Error> {
        let parsed = self.text(name).map(str::parse).transpose();
        parsed.map_err(|error: T::Err| Error::invalid(name, error.to_string()))
    }

    /// A value with an error that says what is expected.
    pub(super) fn one<T: FromStr>(&self, name: &'static str, expected: &str) -> Result<Option<T>, Error> {
        let parsed = self.text(name).map(str::parse).transpose();
        parsed.map_err(|_| Error::invalid(name, format!("expected {expected}")))
    }

    /// Values with commas between.
    fn list<T>(&self, name: &'static str, read: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>, Error> {
        let Some(text) = self.text(name).filter(|text| !text.is_empty()) else { return Ok(Vec::new()) };
        let count = text.split(',').count();
        if count > MAX_LIST {
            let message = format!("at most {MAX_LIST} values are allowed, these are {count}");
            return Err(Error::invalid(name, message));
        }
        let values = text.split(',').map(|one| read(one).map_err(|message| Error::invalid(name, message)));
        values.collect()
    }

    /// The same of a condition. All are meant where it is left out; an empty one would mean none.
    pub(super) fn condition<T>(
        &self,
        name: &'static str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Vec<T>, Error> {
        if self.text(name) == Some("") {
            return Err(Error::invalid(
                name,
                "the list is empty; name at least one, or leave it out for all",
            ));
        }
        self.list(name, read)
    }

    pub(super) fn flag(&self, name: &'static str, otherwise: bool) -> Result<bool, Error> {
        match self.text(name) {
            None => Ok(otherwise),
            Some("true") => Ok(true),
            Some("false") => Ok(false),
            Some(_) => Err(Error::invalid(name, "expected true or false")),
        }
    }

    pub(super) fn moment(&self, name: &'static str) -> Result<Option<Timestamp>, Error> {
        self.one(name, "a moment such as 2026-11-21T00:00:00Z; in a URL a + is written %2B")
    }

    /// One of these formats.
    pub(super) fn format(&self, formats: &[Format]) -> Result<Format, Error> {
        let found = formats.iter().copied().find(|format| Some(format.name()) == self.text("format"));
        found.ok_or_else(|| {
            let names: Vec<&str> = formats.iter().map(|format| format.name()).collect();
            Error::invalid("format", format!("say the format: one of {}", names.join(", ")))
        })
    }

    fn selection(&self) -> Result<Selection, Error> {
        let outcome = |text: &str| {
            let code = VerificationCode::ALL.into_iter().find(|code| code.as_str() == text);
            code.ok_or_else(|| "expected codes such as VALID,EXPIRED".to_owned())
        };
        let id = |text: &str| text.parse().map_err(|error: keyledger_schema::id::Error| error.to_string());
        Ok(Selection {
            organization: self.parsed("organizationId")?,
            below: self.flag("includeBelow", false)?,
            filter: UsageFilter {
                sight: None,
                workspace: self.parsed("workspaceId")?,
                environment: self.one::<Environment>("environment", "production, staging or development")?,
                keys: self.condition("keyIds", id)?,
                identity: self.parsed("identityId")?,
                role: self.parsed("roleId")?,
                outcomes: self.condition("outcomes", outcome)?,
                action: self.one::<Action>("action", "read, write or admin")?,
                means: self
                    .text("means")
                    .map(|text| named(&MEANS, text))
                    .transpose()
                    .map_err(|message| Error::invalid("means", message))?,
                tag: self.text("tag").map(Into::into),
                address: self
                    .one::<IpAddr>(
                        "address",
                        "an address such as 203.0.113.7 or 2001:db8::7, without a port",
                    )?
                    .map(|address| address.to_canonical()),
            },
        })
    }
}

/// Of both exports.
const SELECTION: &[&str] = &[
    "format",
    "names",
    "from",
    "to",
    "organizationId",
    "workspaceId",
    "environment",
    "keyIds",
    "identityId",
    "roleId",
    "outcomes",
    "action",
    "means",
    "tag",
    "address",
];

/// A value by its name in a list.
pub(super) fn named<T: Copy>(names: &[(&'static str, T)], text: &str) -> Result<T, String> {
    let found = names.iter().find(|(name, _)| *name == text).map(|(_, value)| *value);
    found.ok_or_else(|| {
        let names: Vec<&str> = names.iter().map(|(name, _)| *name).collect();
        format!("expected one of {}", names.join(", "))
    })
}

/// Totals by bucket and group.
pub(super) async fn usage(
    request: HttpRequest,
    state: Data<State>,
    service: Data<Service>,
) -> Result<HttpResponse, Refused> {
    let read = |request: &HttpRequest| {
        let own = &["includeBelow", "granularity", "timeZone", "groupBy"][..];
        let parameters = Parameters::of(request, &[SELECTION, own])?;
        let moment = |name: &'static str| {
            let missing = || Error::invalid(name, "say from when to when");
            parameters.moment(name)?.ok_or_else(missing)
        };
        let granularity = parameters.text("granularity").map(|text| named(&GRANULARITIES, text));
        let granularity =
            granularity.transpose().map_err(|message| Error::invalid("granularity", message))?;
        let wanted = Wanted::Usage(Box::new(UsageAsked {
            selection: parameters.selection()?,
            from: moment("from")?,
            to: moment("to")?,
            granularity: granularity.unwrap_or(Granularity::Day),
            zone: analytics::zone("timeZone", parameters.text("timeZone").unwrap_or("UTC"))?,
            group_by: parameters.list("groupBy", |text| named(&DIMENSIONS, text))?,
            top: MAX_GROUPS,
            series: true,
            group_series: true,
        }));
        Ok((wanted, parameters.format(&Format::TABLES)?, parameters.flag("names", true)?))
    };
    answer(request, state, service, "exportUsage", "keyledger-usage", read).await
}

/// The verification log.
pub(super) async fn verifications(
    request: HttpRequest,
    state: Data<State>,
    service: Data<Service>,
) -> Result<HttpResponse, Refused> {
    let read = |request: &HttpRequest| {
        let parameters = Parameters::of(request, &[SELECTION, &["resourcePrefix", "after"]])?;
        let asked = Box::new(VerificationsAsked {
            selection: parameters.selection()?,
            resource_prefix: parameters.text("resourcePrefix").map(Into::into),
            from: parameters.moment("from")?,
            to: parameters.moment("to")?,
            sequence: Sequence::Ascending,
            window: Window::first(0),
        });
        let wanted = Wanted::Verifications { asked, after: parameters.text("after").map(str::to_owned) };
        Ok((wanted, parameters.format(&Format::TABLES)?, parameters.flag("names", true)?))
    };
    answer(request, state, service, "exportVerifications", "keyledger-verifications", read).await
}

/// Begins an export and answers with its head; the body follows as it is read.
pub(super) async fn answer(
    request: HttpRequest,
    state: Data<State>,
    service: Data<Service>,
    command: &'static str,
    file: &'static str,
    read: impl Fn(&HttpRequest) -> Result<(Wanted, Format, bool), Error> + 'static,
) -> Result<HttpResponse, Refused> {
    let caller = credentials::caller(&request, &state).await?;
    answer_to(caller, request, state, service, command, file, read).await
}

/// The same to a caller who is known.
pub(super) async fn answer_to(
    caller: Caller,
    request: HttpRequest,
    state: Data<State>,
    service: Data<Service>,
    command: &'static str,
    file: &'static str,
    read: impl Fn(&HttpRequest) -> Result<(Wanted, Format, bool), Error> + 'static,
) -> Result<HttpResponse, Refused> {
    let begin = {
        let (caller, service) = (caller.clone(), service.into_inner());
        async move {
            let begin = async {
                let (wanted, format, names) = read(&request)?;
                let export = service.export(&caller, wanted, format).await?;
                Ok((export, format, names))
            };
            // Which organization is meant is in the refusal, as over GraphQL.
            let target = organization(&request);
            service.recorded(&caller, command, target.as_deref(), begin).await
        }
    };
    let (export, format, names) = super::to_its_end(begin).await??;
    let flow = Flow::begin(export, format, names)?;
    let name = format!("attachment; filename=\"{file}.{}\"", format.suffix());
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, format.media_type()))
        .insert_header((CONTENT_DISPOSITION, name))
        .insert_header(NO_STORE)
        .streaming(reading::body(flow, state, caller)))
}

/// The organization that a request names.
pub(super) fn organization(request: &HttpRequest) -> Option<String> {
    let pairs = web::Query::<Vec<(String, String)>>::from_query(request.query_string()).ok()?.into_inner();
    pairs.into_iter().find(|(name, _)| name == "organizationId").map(|(_, value)| value)
}
