//! The erasure of personal data.

use async_graphql::{Context, Enum, ID, InputObject, Object, SimpleObject};
use keyledger_schema::event::ErasureReason as DomainReason;

use super::Warning;
use crate::error::{Error, Result};
use crate::graphql::MUTATION_COST;
use crate::graphql::answer::{parties, recorded};
use crate::graphql::event::EventNode;
use crate::graphql::identity::IdentityNode;
use crate::graphql::key::KeyNode;
use crate::service::erasure::{Erasure, Person};

/// Why personal data is erased.
#[derive(Enum, Clone, Copy, PartialEq, Eq, Debug)]
#[graphql(remote = "DomainReason")]
pub(crate) enum ErasureReason {
    /// The person asked for it.
    Request,
    /// It has been kept for as long as it may be.
    Retention,
    /// Something else.
    Other,
}

/// Whose personal data is erased.
#[derive(InputObject, Clone, Debug)]
pub(crate) struct EraseSubjectInput {
    /// A key that is revoked, deleted or expired, or an identity that is deleted, with which the keys that hold it
    /// are erased.
    id: ID,
    /// For the trail.
    reason: ErasureReason,
}

impl EraseSubjectInput {
    fn person(&self) -> Result<Person> {
        let key = self.id.parse().map(Person::Key);
        key.or_else(|_| self.id.parse().map(Person::Identity)).map_err(|_| {
            Error::invalid(
                "input.id",
                "expected the id of a key or of an identity, like key_01jd8x… or idn_01jd8x…",
            )
        })
    }
}

/// What is erased now.
#[derive(SimpleObject)]
pub(crate) struct EraseSubjectPayload {
    /// The identity as it is now; null when it was a key.
    identity: Option<IdentityNode>,
    /// The keys as they are now.
    keys: Vec<KeyNode>,
    /// Whether every copy on this node is gone. If not, the rest is removed within minutes; asking again tells.
    complete: bool,
    /// The events that the mutation wrote; none when what it asked for was true already.
    events: Vec<EventNode>,
    /// What the caller should know.
    warnings: Vec<Warning>,
}

impl From<Erasure> for EraseSubjectPayload {
    fn from(erasure: Erasure) -> Self {
        let Erasure { identity, keys, events, complete } = erasure;
        let left = (!complete).then(|| Warning {
            code: "COPIES_LEFT".to_owned(),
            message: "copies on this node are still being removed; ask again to see when they are gone"
                .to_owned(),
        });
        Self {
            identity: identity.map(IdentityNode::now),
            keys: keys.into_iter().map(KeyNode::new).collect(),
            complete,
            events: EventNode::written(events),
            warnings: left.into_iter().collect(),
        }
    }
}

/// Mutations about personal data.
#[derive(Default)]
pub(crate) struct ErasureMutation;

#[Object]
impl ErasureMutation {
    /// Makes the personal data of a key or an identity unreadable for good: names, addresses, networks, metadata and
    /// comments in every event about it. The events themselves stay as they were stored. Organization
    /// administrators may.
    #[graphql(complexity = "MUTATION_COST + child_complexity")]
    async fn erase_subject(
        &self,
        context: &Context<'_>,
        input: EraseSubjectInput,
    ) -> async_graphql::Result<EraseSubjectPayload> {
        let (service, caller) = parties(context)?;
        let run = async { service.erase_subject(caller, input.person()?, input.reason.into()).await };
        Box::pin(recorded(context, Some(&input.id), run)).await.map(EraseSubjectPayload::from)
    }
}
