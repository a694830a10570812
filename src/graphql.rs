//! The GraphQL API: thin resolvers over `service` and `readmodel`.
//!
//! Architecture invariant: nothing is decided here. Resolvers parse input into the types of the domain,
//! ask whether the caller may, and shape the answer. Every root field runs inside
//! [`Service::recorded`], so that a refusal is in the trail before it is answered.

#![allow(clippy::unused_async, reason = "the library calls every resolver as a future")]

mod answer;
mod completeness;
mod connection;
mod consequence;
mod credits;
mod document;
mod event;
mod export;
mod identity;
mod input;
mod key;
mod mutation;
mod node;
mod policy;
mod query;
mod report;
mod role;
mod scalar;
mod signing_key;
mod simulation;
mod subscription;
mod tenant;
mod trail;
mod transparency;
mod usage;
mod verification;

use std::sync::Arc;

use async_graphql::parser::types::OperationType;
use async_graphql::{Pos, Request, Response, Schema, ServerError};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;

use crate::caller::Caller;
use crate::feed::Feeds;
use crate::service::Service;
use crate::verify::Verifier;

/// The deepest nesting of a query: as deep as the one that tools ask for the schema with.
pub const MAX_DEPTH: usize = 16;
/// The most that a query may cost: one for each field, and a list's fields once for each item asked for.
pub const MAX_COMPLEXITY: usize = 20_000;
/// What each mutation costs on top of its fields: at most 19 in one request.
const MUTATION_COST: usize = 1_000;
/// What each query costs on top of its fields: a refused one is written to the trail.
const QUERY_COST: usize = 50;

type Executable = Schema<query::Query, mutation::Mutation, subscription::Subscription>;

/// The API, ready to execute requests. Cheap to clone.
#[derive(Clone)]
pub struct Api(Executable);

impl Api {
    /// The API over a service. The verifier tells whether callers are still who they were.
    pub fn new(service: Arc<Service>, verifier: Arc<Verifier>, feeds: Feeds) -> Self {
        Self(builder().data(service).data(verifier).data(feeds).finish())
    }

    /// Executes a request of an authenticated caller.
    pub async fn execute(&self, mut request: Request, caller: Caller) -> Response {
        if let Err(error) = document::check(&mut request) {
            return Response::from_errors(vec![error]);
        }
        if is_subscription(&mut request) {
            let message = "a subscription is followed over a WebSocket, or with Accept: text/event-stream";
            return Response::from_errors(vec![answer::invalid("query", message)]);
        }
        in_our_words(self.0.execute(request.data(caller)).await)
    }

    /// Follows a subscription of an authenticated caller: an answer for each event. The error is that of a request
    /// that is none, before any of it is executed.
    pub fn subscribe(
        &self,
        mut request: Request,
        caller: Caller,
    ) -> Result<BoxStream<'static, Response>, Box<Response>> {
        let refused = |error| Err(Box::new(Response::from_errors(vec![error])));
        if let Err(error) = document::check(&mut request) {
            return refused(error);
        }
        if !is_subscription(&mut request) {
            let message =
                "only subscriptions are followed here; send queries and mutations in a POST of their own";
            return refused(answer::invalid("query", message));
        }
        Ok(self.0.execute_stream(request.data(caller)).map(in_our_words).boxed())
    }
}

fn in_our_words(mut response: Response) -> Response {
    response.errors = response.errors.into_iter().map(answer::in_our_words).collect();
    response
}

/// A refusal of ours as GraphQL shows it.
pub fn refused(error: &crate::error::Error) -> ServerError {
    answer::refusal(error).into_server_error(Pos::default())
}

/// Whether the operation that is meant is a subscription. A request that does not say which one is meant is the
/// library's to refuse.
pub fn is_subscription(request: &mut Request) -> bool {
    let named = request.operation_name.clone();
    let Ok(document) = request.parsed_query() else { return false };
    let mut operations = document.operations.iter();
    let meant = match named {
        Some(named) => operations.find(|(name, _)| name.is_some_and(|name| *name == *named)),
        None => operations.next(),
    };
    meant.is_some_and(|(_, operation)| operation.node.ty == OperationType::Subscription)
}

fn builder() -> async_graphql::SchemaBuilder<query::Query, mutation::Mutation, subscription::Subscription> {
    Schema::build(query::Query::default(), mutation::Mutation::default(), subscription::Subscription)
        .limit_depth(MAX_DEPTH)
        .limit_complexity(MAX_COMPLEXITY)
        .disable_suggestions()
        .register_output_type::<node::Node>()
}

/// The schema in the schema definition language, as `schema/api.graphql` holds it.
pub fn sdl() -> String {
    let mut text = builder().finish().sdl();
    while text.ends_with('\n') {
        text.pop();
    }
    text.push('\n');
    text
}
