//! From the domain's errors to GraphQL's, in one place.

use std::borrow::Cow;

use async_graphql::{Context, ErrorExtensions, PathSegment, Pos, ServerError};

use super::{MAX_COMPLEXITY, MAX_DEPTH};
use crate::caller::Caller;
use crate::error::{Code, Error, Result};
use crate::readmodel::QueryError;
use crate::service::Service;
use crate::verify::Verifier;

/// The error with its code and field as extensions.
pub(super) fn refusal(error: &Error) -> async_graphql::Error {
    async_graphql::Error::new(error.message.clone()).extend_with(|_, extensions| {
        extensions.set("code", error.code.as_str());
        if let Some(field) = &error.field {
            extensions.set("field", field.as_ref());
        }
        if let Some(details) = &error.details
            && let Ok(details) =
                async_graphql::Value::from_json(serde_json::Value::Object((**details).clone()))
        {
            extensions.set("details", details);
        }
    })
}

/// A refusal of the request itself, before any of it is executed.
pub(super) fn invalid(field: &'static str, message: impl Into<Cow<'static, str>>) -> ServerError {
    refusal(&Error::invalid(field, message)).into_server_error(Pos::default())
}

/// Whether an error has this code.
pub(super) fn has_code(error: &async_graphql::Error, code: Code) -> bool {
    let extensions = error.extensions.as_ref();
    extensions.and_then(|extensions| extensions.get("code")) == Some(&code.as_str().into())
}

/// A query's failure, in the words of the API.
pub(super) fn query_failed(error: &QueryError) -> Error {
    match error {
        QueryError::Cursor => Error::invalid(
            "after",
            "the cursor was not made by this list in this order; start without one, or use one that it answered",
        ),
        QueryError::Busy => {
            Error::unavailable("too many queries are waiting on this node; try again in a moment")
        }
        QueryError::Failed => {
            tracing::error!(%error, "a query failed");
            Error::unavailable(
                "the query failed on this node and was logged; try again, and tell the operator",
            )
        }
    }
}

/// A list's failure, which names the argument that a cursor came in.
pub(super) fn page_failed(error: &QueryError, backward: bool) -> Error {
    let mut failed = query_failed(error);
    if backward && *error == QueryError::Cursor {
        failed.field = Some("before".into());
    }
    failed
}

/// The service and the caller of a request.
pub(super) fn parties<'a>(context: &Context<'a>) -> async_graphql::Result<(&'a Service, &'a Caller)> {
    let service = context.data::<std::sync::Arc<Service>>().map_err(|_| refusal(&Error::internal()))?;
    let caller = context.data::<Caller>().map_err(|_| refusal(&Error::internal()))?;
    Ok((service.as_ref(), caller))
}

/// Runs one root field: a refusal is recorded under the field's name before it is answered.
pub(super) async fn recorded<T>(
    context: &Context<'_>,
    target: Option<&str>,
    run: impl Future<Output = Result<T>>,
) -> async_graphql::Result<T> {
    let (service, caller) = parties(context)?;
    let verifier = context.data::<std::sync::Arc<Verifier>>().map_err(|_| refusal(&Error::internal()))?;
    verifier.still_stands(caller).map_err(|error| refusal(&error))?;
    let command = context.field().name().to_owned();
    service.recorded(caller, &command, target, run).await.map_err(|error| refusal(&error))
}

/// An error of the library in our words. Its own may quote the document or the variables, and a secret may
/// stand there; an error of ours passes as it is.
pub(super) fn in_our_words(error: ServerError) -> ServerError {
    if error.extensions.as_ref().is_some_and(|extensions| extensions.get("code").is_some()) {
        return error;
    }
    let at = error.locations.first().copied().unwrap_or_default();
    let place = format!("at line {} column {}", at.line, at.column);
    let said = error.message.as_str();
    // The library has no codes: what it found is told from the beginning of its message.
    let ours = if said.starts_with("Query is nested too deep") {
        Error::invalid("query", format!("the document selects more than {MAX_DEPTH} levels deep; flatten it"))
    } else if said.starts_with("Query is too complex") {
        let message = format!(
            "the document costs more than {MAX_COMPLEXITY}; ask for less at once, page lists with first, or ask \
             usage for fewer groups with top"
        );
        Error::invalid("query", message)
    } else if let Some(name) = named(said, "Unknown field ").or_else(|| named(said, "Unknown argument ")) {
        Error::invalid("query", format!("the schema has no {name} {place}; see the schema for what there is"))
    } else if let Some(name) = named(said, "Unknown type ") {
        Error::invalid(
            "query",
            format!("the schema has no type {name} {place}; see the schema for what there is"),
        )
    } else if let Some(name) = named(said, "Invalid value for argument ") {
        let message = format!("the value is not one that the schema allows {place}; see the argument's type");
        Error::invalid(name.to_owned(), message)
    } else if let Some(name) = named(said, "Variable ") {
        Error::invalid(
            "variables",
            format!("the variable {name} {place} is missing or not of the declared type"),
        )
    } else if error.path.is_empty() {
        Error::invalid("query", format!("the document is not valid for this schema {place}; see the schema"))
    } else {
        let path: Vec<String> = error
            .path
            .iter()
            .map(|segment| match segment {
                PathSegment::Field(name) => name.clone(),
                PathSegment::Index(index) => index.to_string(),
            })
            .collect();
        let message = format!("an argument of {} has a value that is not allowed {place}", path.join("."));
        Error::invalid("input", message)
    };
    let mut answer = refusal(&ours).into_server_error(at);
    answer.path = error.path;
    answer
}

/// The name in quotes after a beginning, if it is a name as GraphQL has them, with dots between.
fn named<'a>(said: &'a str, beginning: &str) -> Option<&'a str> {
    let rest = said.strip_prefix(beginning)?;
    let name = rest.trim_start_matches('"').split('"').next()?.trim_start_matches('$');
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.');
    // A secret is longer than any name of the schema.
    (!name.is_empty() && name.len() <= 48 && name.chars().all(fits)).then_some(name)
}
