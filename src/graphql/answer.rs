//! From the domain's errors to GraphQL's, in one place.

use std::borrow::Cow;

use async_graphql::{Context, ErrorExtensions, Pos, ServerError};

use crate::caller::Caller;
use crate::error::{Error, Result};
use crate::readmodel::QueryError;
use crate::service::Service;

/// The error with its code and field as extensions.
pub(super) fn refusal(error: &Error) -> async_graphql::Error {
    async_graphql::Error::new(error.message.clone()).extend_with(|_, extensions| {
        extensions.set("code", error.code.as_str());
        if let Some(field) = &error.field {
            extensions.set("field", field.as_ref());
        }
    })
}

/// A refusal of the request itself, before any of it is executed.
pub(super) fn invalid(field: &'static str, message: impl Into<Cow<'static, str>>) -> ServerError {
    refusal(&Error::invalid(field, message)).into_server_error(Pos::default())
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
    let command = context.field().name().to_owned();
    service.recorded(caller, &command, target, run).await.map_err(|error| refusal(&error))
}
