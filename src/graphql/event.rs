//! An event as the API shows it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use async_graphql::{Context, ID, Json, Object, SimpleObject};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use keyledger_projections::changes::{self, Change};
use keyledger_projections::{IdentityState, KeyState, OrganizationState, WorkspaceState};
use keyledger_schema::codec;
use keyledger_schema::{ChainHash, Envelope, Stream};
use tokio::sync::OnceCell;

use super::answer::{parties, query_failed, refusal};
use super::key::ActorNode;
use super::scalar::{DateTime, Long, Outcome};
use super::transparency::{self, InclusionProofNode};
use crate::error::{Error, Result};
use crate::readmodel::Entry;
use crate::service::{Service, WrittenEvent, unopened};
use crate::store::Direction;

/// What a field costs that may answer as much as a whole event has, which is up to 60 KiB.
const BYTES_COST: usize = 20;
/// How many events of a stream are read at once.
const PAGE: usize = 500;

/// From where something was done.
#[derive(SimpleObject, Clone, Debug)]
#[graphql(name = "Source")]
pub(crate) struct SourceNode {
    /// The client's address.
    ip: Option<String>,
    /// The client's own word on what it is.
    user_agent: Option<String>,
    /// The token that the acting key presented instead of its secret.
    token_id: Option<String>,
}

/// One field before and after.
#[derive(SimpleObject, Clone, Debug)]
#[graphql(name = "Change")]
pub(crate) struct ChangeNode {
    /// The field's name.
    field: String,
    /// What it was; null when there was nothing.
    before: Option<Json<serde_json::Value>>,
    /// What it is since; null when there is nothing.
    after: Option<Json<serde_json::Value>>,
}

impl From<&Change> for ChangeNode {
    fn from(change: &Change) -> Self {
        Self {
            field: change.field.to_owned(),
            before: Some(change.before.clone()).filter(|value| !value.is_null()).map(Json),
            after: Some(change.after.clone()).filter(|value| !value.is_null()).map(Json),
        }
    }
}

/// What the events of one answer changed. Worked out together, when the first is asked for: one pass over
/// each key's stream, however many of its events are shown.
#[derive(Default)]
struct Differences {
    wanted: Vec<(Stream, u64)>,
    found: OnceCell<HashMap<(Stream, u64), Vec<Change>>>,
}

impl Differences {
    fn of<'a>(envelopes: impl Iterator<Item = &'a Envelope>) -> Arc<Self> {
        let wanted = envelopes.filter_map(|envelope| match envelope.stream {
            Stream::Key(_) | Stream::Organization(_) | Stream::Workspace(_) | Stream::Identity(_) => {
                Some((envelope.stream, envelope.revision))
            }
            Stream::Usage(_) | Stream::Node(_) | Stream::Audit(_) | Stream::Log(_) => None,
        });
        Arc::new(Self { wanted: wanted.collect(), found: OnceCell::new() })
    }

    async fn found(&self, service: &Service) -> Result<&HashMap<(Stream, u64), Vec<Change>>> {
        self.found
            .get_or_try_init(|| async {
                let mut last: HashMap<Stream, u64> = HashMap::new();
                for &(stream, revision) in &self.wanted {
                    let slot = last.entry(stream).or_default();
                    *slot = revision.max(*slot);
                }
                let mut found = HashMap::new();
                for (stream, last) in last {
                    match stream {
                        Stream::Organization(_) => {
                            let of = changes::of_organization;
                            self.replay(service, stream, last, OrganizationState::fold, of, &mut found)
                                .await?;
                        }
                        Stream::Workspace(_) => {
                            let of = changes::of_workspace;
                            self.replay(service, stream, last, WorkspaceState::fold, of, &mut found).await?;
                        }
                        Stream::Identity(_) => {
                            let of = changes::of_identity;
                            self.replay(service, stream, last, IdentityState::fold, of, &mut found).await?;
                        }
                        _ => {
                            let of = changes::of_key;
                            self.replay(service, stream, last, KeyState::fold, of, &mut found).await?;
                        }
                    }
                }
                Ok(found)
            })
            .await
    }

    async fn replay<S: Clone>(
        &self,
        service: &Service,
        stream: Stream,
        last: u64,
        fold: fn(Option<S>, &Envelope) -> Option<S>,
        differences: fn(Option<&S>, &S) -> Vec<Change>,
        found: &mut HashMap<(Stream, u64), Vec<Change>>,
    ) -> Result<()> {
        let wanted: HashSet<(Stream, u64)> = self.wanted.iter().copied().collect();
        let mut state: Option<S> = None;
        let mut from = 0;
        while from <= last {
            let page = read(service, stream, from, PAGE).await?;
            let Some(end) = page.last().map(|(envelope, _)| envelope.revision) else { break };
            for (envelope, _) in page.iter().filter(|(envelope, _)| envelope.revision <= last) {
                let place = (stream, envelope.revision);
                // States are large: one is kept only where it is needed.
                let before = if wanted.contains(&place) { Some(state.clone()) } else { None };
                state = fold(state, envelope);
                if let (Some(before), Some(after)) = (before, &state) {
                    found.insert(place, differences(before.as_ref(), after));
                }
            }
            from = end + 1;
        }
        Ok(())
    }
}

async fn read(
    service: &Service,
    stream: Stream,
    from: u64,
    max: usize,
) -> Result<Vec<(Envelope, Arc<[u8]>)>> {
    let unreadable = |error: &dyn std::fmt::Display| {
        tracing::error!(%error, "an event cannot be read");
        Error::unavailable("the log cannot be read now; try again, and tell the operator if it lasts")
    };
    let events = service
        .store()
        .read_stream(&stream.to_string(), Some(from), Direction::Forward, max)
        .await
        .map_err(|error| unreadable(&error))?;
    events
        .into_iter()
        .map(|event| {
            let envelope = service.vault().open(&event.bytes).map_err(|error| unreadable(&error))?;
            Ok((envelope, event.bytes))
        })
        .collect()
}

/// An event.
#[derive(Clone)]
pub(crate) struct EventNode {
    envelope: Arc<Envelope>,
    bytes: Arc<[u8]>,
    /// Where it stands; looked up when asked for, if it came from a mutation.
    place: Option<(u64, u64)>,
    differences: Arc<Differences>,
}

impl EventNode {
    /// The events that a mutation wrote.
    pub(super) fn written(events: Vec<WrittenEvent>) -> Vec<Self> {
        let differences = Differences::of(events.iter().map(|event| &event.envelope));
        events
            .into_iter()
            .map(|event| Self {
                envelope: Arc::new(event.envelope),
                bytes: event.bytes,
                place: None,
                differences: Arc::clone(&differences),
            })
            .collect()
    }

    /// The events of these entries, read from the log, in the same order.
    pub(super) async fn of_entries(service: &Service, entries: &[&Entry]) -> Result<Vec<Self>> {
        let reads = entries.iter().map(|entry| async move {
            let found = read(service, entry.stream, entry.revision, 1).await?;
            found.into_iter().next().ok_or_else(|| {
                tracing::error!(position = %entry.position, "an event is in the read model and not in the log");
                Error::internal()
            })
        });
        let read = futures_util::future::try_join_all(reads).await?;
        let differences = Differences::of(read.iter().map(|(envelope, _)| envelope));
        Ok(read
            .into_iter()
            .zip(entries)
            .map(|((envelope, bytes), entry)| Self {
                envelope: Arc::new(envelope),
                bytes,
                place: Some((entry.position.raw(), entry.log_index)),
                differences: Arc::clone(&differences),
            })
            .collect())
    }

    async fn place(&self, context: &Context<'_>) -> async_graphql::Result<(u64, u64)> {
        if let Some(place) = self.place {
            return Ok(place);
        }
        let (service, _) = parties(context)?;
        let entry = service.read_model().entry(self.envelope.id).await;
        let entry = entry.map_err(|error| refusal(&query_failed(&error)))?;
        entry.map(|entry| (entry.position.raw(), entry.log_index)).ok_or_else(|| refusal(&Error::internal()))
    }
}

/// An immutable fact of the log.
#[Object(name = "Event")]
impl EventNode {
    /// Its id.
    pub(super) async fn id(&self) -> ID {
        self.envelope.id.to_string().into()
    }

    /// What happened: `key.issued`, `key.revoked` …
    #[graphql(name = "type")]
    async fn event_type(&self) -> &str {
        self.envelope.event.type_name()
    }

    /// Version of the type's data.
    async fn version(&self) -> u16 {
        self.envelope.event.version()
    }

    /// The stream that it belongs to.
    async fn stream(&self) -> String {
        self.envelope.stream.to_string()
    }

    /// Its place in the stream: 0, 1, 2 …
    async fn revision(&self) -> u64 {
        self.envelope.revision
    }

    /// Where it stands in the log: opaque, but in order.
    async fn position(&self, context: &Context<'_>) -> async_graphql::Result<String> {
        Ok(self.place(context).await?.0.to_string())
    }

    /// Its number in the log: 0, 1, 2 … without gaps.
    async fn log_index(&self, context: &Context<'_>) -> async_graphql::Result<Long> {
        Ok(Long(self.place(context).await?.1))
    }

    /// When it was decided.
    async fn at(&self) -> DateTime {
        DateTime(self.envelope.at)
    }

    /// Who did it.
    async fn actor(&self) -> ActorNode {
        (&self.envelope.actor).into()
    }

    /// From where.
    async fn source(&self) -> SourceNode {
        SourceNode {
            ip: self.envelope.source.ip.as_ref().map(|ip| ip.to_string()),
            user_agent: self.envelope.source.user_agent.as_ref().map(|agent| agent.to_string()),
            token_id: self.envelope.source.token.map(|id| id.to_string()),
        }
    }

    /// The request that led to it.
    async fn request(&self) -> Option<String> {
        self.envelope.request.map(|id| id.to_string())
    }

    /// The event that led to it.
    async fn cause(&self) -> Option<ID> {
        self.envelope.cause.map(|id| id.to_string().into())
    }

    /// Whether what was asked for happened.
    async fn outcome(&self) -> Outcome {
        self.envelope.outcome.into()
    }

    /// Its tenant.
    async fn organization_id(&self) -> Option<ID> {
        self.envelope.organization.map(|id| id.to_string().into())
    }

    /// Its workspace, where there is one.
    async fn workspace_id(&self) -> Option<ID> {
        self.envelope.workspace.map(|id| id.to_string().into())
    }

    /// The key that it is about, where it is about one.
    async fn key_id(&self) -> Option<ID> {
        use keyledger_schema::Event;
        match (&self.envelope.stream, &self.envelope.event) {
            (Stream::Key(id), _) => Some(id.to_string().into()),
            (_, Event::CommandRefused(refused)) => refused.key.map(|id| id.to_string().into()),
            (_, Event::AuditRead(read)) => read.key.map(|id| id.to_string().into()),
            _ => None,
        }
    }

    /// The identity that it is about, where it is about one.
    async fn identity_id(&self) -> Option<ID> {
        match (&self.envelope.stream, &self.envelope.event) {
            (Stream::Identity(id), _) => Some(id.to_string().into()),
            (_, keyledger_schema::Event::AuditRead(read)) => read.identity.map(|id| id.to_string().into()),
            _ => None,
        }
    }

    /// The facts, with personal data readable; null where it was erased.
    #[graphql(complexity = "BYTES_COST")]
    async fn data(&self, context: &Context<'_>) -> async_graphql::Result<Json<serde_json::Value>> {
        let (service, _) = parties(context)?;
        let text = codec::opened(&self.bytes, &**service.vault());
        let text = text.map_err(|error| refusal(&unopened(&error)))?;
        let stored = serde_json::from_str::<serde_json::Value>(&text);
        let stored = stored.map_err(|_| refusal(&Error::internal()))?;
        Ok(Json(stored.get("data").cloned().unwrap_or_default()))
    }

    /// The stored bytes in base64: what is hashed.
    #[graphql(complexity = "BYTES_COST")]
    async fn raw_bytes(&self) -> String {
        STANDARD.encode(&self.bytes)
    }

    /// The proof that it is in the log, for those who may read its trail.
    #[graphql(complexity = "transparency::PROOF_COST + child_complexity")]
    async fn inclusion_proof(&self, context: &Context<'_>) -> async_graphql::Result<InclusionProofNode> {
        transparency::of_event(context, self.envelope.id, None).await.map_err(|error| refusal(&error))
    }

    /// BLAKE3 of the stored bytes with the chain's context, in hexadecimal. The next event of the stream
    /// holds it.
    async fn hash(&self) -> String {
        ChainHash::of(&self.bytes).to_string()
    }

    /// The hash of the event before it in its stream; null for the first.
    async fn previous_hash(&self) -> Option<String> {
        self.envelope.prev.map(|hash| hash.to_string())
    }

    /// What it changed of its key, identity, organization or workspace, field by field. Empty for events of other
    /// things.
    #[graphql(complexity = "BYTES_COST + child_complexity")]
    async fn changes(&self, context: &Context<'_>) -> async_graphql::Result<Vec<ChangeNode>> {
        let (service, _) = parties(context)?;
        let found = self.differences.found(service).await.map_err(|error| refusal(&error))?;
        Ok(found
            .get(&(self.envelope.stream, self.envelope.revision))
            .map(|changes| changes.iter().map(ChangeNode::from).collect())
            .unwrap_or_default())
    }
}
