//! The GraphQL API: thin resolvers over `service` and `readmodel`.
//!
//! Architecture invariant: nothing is decided here. Resolvers parse input into the types of the domain,
//! ask whether the caller may, and shape the answer. Every root field runs inside
//! [`Service::recorded`], so that a refusal is in the trail before it is answered.

#![allow(clippy::unused_async, reason = "the library calls every resolver as a future")]

mod answer;
mod completeness;
mod connection;
mod credits;
mod document;
mod event;
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
mod simulation;
mod tenant;
mod transparency;
mod usage;
mod verification;

use std::sync::Arc;

use async_graphql::{EmptySubscription, Request, Response, Schema};

use crate::caller::Caller;
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

type Executable = Schema<query::Query, mutation::Mutation, EmptySubscription>;

/// The API, ready to execute requests. Cheap to clone.
#[derive(Clone)]
pub struct Api(Executable);

impl Api {
    /// The API over a service. The verifier tells whether callers are still who they were.
    pub fn new(service: Arc<Service>, verifier: Arc<Verifier>) -> Self {
        Self(builder().data(service).data(verifier).finish())
    }

    /// Executes a request of an authenticated caller.
    pub async fn execute(&self, mut request: Request, caller: Caller) -> Response {
        if let Err(error) = document::check(&mut request) {
            return Response::from_errors(vec![error]);
        }
        let mut response = self.0.execute(request.data(caller)).await;
        response.errors = response.errors.into_iter().map(answer::in_our_words).collect();
        response
    }
}

fn builder() -> async_graphql::SchemaBuilder<query::Query, mutation::Mutation, EmptySubscription> {
    Schema::build(query::Query, mutation::Mutation::default(), EmptySubscription)
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
