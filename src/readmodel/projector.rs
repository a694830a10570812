//! Folds events into rows: one batch is one transaction.
//!
//! Invariants: a batch's rows and its last position are committed together; the batch follows right on
//! the one before; a key that changes several times within a batch is written once. After an error
//! nothing of the batch is visible, and this projector must not be used again: its memory is ahead of
//! the tables.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::sync::Arc;

use keyledger_projections::{IdentityState, KeyState, OrganizationState, WorkspaceState};
use keyledger_schema::{Envelope, Event, EventId, KeyId, OrganizationId, Stream, Timestamp, WorkspaceId};
use rusqlite::{CachedStatement, Connection, OptionalExtension, Transaction, TransactionBehavior, params};

use super::cache::{Cache, Known};
use super::catalog::{Catalog, Facts};
use super::fact::{Fact, Subject, Unreadable};
use super::usage::{addresses, erasure};
use super::{Observer, Standing, places, rows, snapshot};

/// Why a batch was not applied.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Engine(#[from] rusqlite::Error),
    #[error(transparent)]
    Snapshot(#[from] snapshot::Error),
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
}

/// A state that the catalog and an observer are to be told of.
pub(super) enum News {
    Key { seq: i64, before: Option<Arc<KeyState>>, after: Arc<KeyState> },
    Organization(Box<OrganizationState>),
    Workspace(WorkspaceState),
    Identity { before: Option<Box<IdentityState>>, after: Box<IdentityState> },
}

/// Tells the catalog and an observer in log order.
pub(super) fn tell(catalog: &Catalog, observer: &dyn Observer, news: &[News]) {
    for news in news {
        match news {
            News::Key { seq, before, after } => {
                catalog.keep(&Facts::of(*seq, after, None));
                observer.key(before.as_deref(), after);
            }
            News::Organization(state) => observer.organization(state),
            News::Workspace(state) => observer.workspace(state),
            News::Identity { before, after } => observer.identity(before.as_deref(), after),
        }
    }
}

/// Where the tables stand, and the keys that changed lately.
#[derive(Default)]
pub(super) struct Projector {
    pub(super) standing: Standing,
    cache: Cache,
    /// Whether places may be reserved for keys that are not issued; unknown before the first batch.
    reservations: Option<bool>,
    /// The highest ordinal of organizations that had keys issued lately.
    ordinals: HashMap<OrganizationId, u32>,
}

impl Projector {
    pub(super) fn new(standing: Standing) -> Self {
        Self { standing, ..Self::default() }
    }

    /// Applies events in log order as one transaction and returns what changed.
    pub(super) fn apply(
        &mut self,
        connection: &mut Connection,
        facts: &[Fact],
    ) -> Result<Vec<News>, Failure> {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let news = Batch::new(&transaction, self)?.apply(facts)?;
        transaction.commit()?;
        Ok(news)
    }
}

/// The number of an organization's next key. Keys are written in the order in which they were issued.
fn next_ordinal(
    transaction: &Transaction<'_>,
    ordinals: &mut HashMap<OrganizationId, u32>,
    organization: OrganizationId,
) -> Result<u32, Failure> {
    let highest = match ordinals.entry(organization) {
        Slot::Occupied(known) => known.into_mut(),
        Slot::Vacant(vacant) => {
            let highest = transaction
                .prepare_cached("SELECT coalesce(max(ord), 0) FROM keys WHERE org = ?1")?
                .query_row([organization.uuid().into_bytes()], |row| row.get(0))?;
            vacant.insert(highest)
        }
    };
    *highest += 1;
    Ok(*highest)
}

/// A key that changes in this batch.
struct Change {
    known: Known,
    issued: bool,
}

struct Batch<'a> {
    transaction: &'a Transaction<'a>,
    standing: &'a mut Standing,
    cache: &'a mut Cache,
    reservations: &'a mut Option<bool>,
    ordinals: &'a mut HashMap<OrganizationId, u32>,
    places: places::Changes,
    changes: HashMap<KeyId, Change>,
    order: Vec<KeyId>,
    news: Vec<News>,
    find_key: CachedStatement<'a>,
    insert_entry: CachedStatement<'a>,
    last_cause: Option<(EventId, Option<[u8; 16]>)>,
}

impl<'a> Batch<'a> {
    fn new(transaction: &'a Transaction<'a>, projector: &'a mut Projector) -> Result<Self, Failure> {
        Ok(Self {
            transaction,
            standing: &mut projector.standing,
            cache: &mut projector.cache,
            reservations: &mut projector.reservations,
            ordinals: &mut projector.ordinals,
            places: places::Changes::default(),
            changes: HashMap::new(),
            order: Vec::new(),
            news: Vec::new(),
            last_cause: None,
            find_key: transaction.prepare_cached("SELECT seq, state FROM keys WHERE id = ?1")?,
            insert_entry: transaction.prepare_cached(
                "INSERT INTO entries (log_index, position, id, type, stream, revision, org, workspace, key, \
                 actor, at, outcome, cause, cause_actor) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
            )?,
        })
    }

    fn apply(mut self, facts: &[Fact]) -> Result<Vec<News>, Failure> {
        for fact in facts {
            let key = match &fact.subject {
                Subject::Nothing => None,
                Subject::Usage => {
                    self.standing.usage_events += 1;
                    self.standing.newest_usage = self.standing.newest_usage.max(Some(fact.at));
                    None
                }
                Subject::Key(id, envelope) => {
                    let before = self.find(*id)?;
                    let issued = before.is_none();
                    let folded =
                        KeyState::fold(before.as_ref().map(|known| (*known.state).clone()), envelope);
                    if let Some(known) = &before {
                        self.for_usage(known.seq, envelope)?;
                    }
                    if let Some(state) = folded {
                        self.changed(*id, before, Arc::new(state), issued);
                    }
                    Some(*id)
                }
                Subject::Organization(envelope) => {
                    self.organization(fact.stream, envelope)?;
                    None
                }
                Subject::Workspace(envelope) => {
                    self.places.workspace(envelope);
                    self.workspace(fact.stream, envelope)?;
                    None
                }
                Subject::Identity(envelope) => {
                    self.identity(fact.stream, envelope)?;
                    None
                }
                Subject::Gap(gap) => {
                    self.transaction
                        .prepare_cached(
                            "INSERT INTO usage_gaps (log_index, since, until) VALUES (?1, ?2, ?3)",
                        )?
                        .execute([self.standing.entries.cast_signed(), gap.from.micros(), gap.to.micros()])?;
                    None
                }
                Subject::About(id) => {
                    let known = self.find(*id)?;
                    known.filter(|known| Some(known.state.organization) == fact.organization).map(|_| *id)
                }
            };
            self.entry(fact, key)?;
            self.standing.entries += 1;
            self.standing.position = Some(fact.position);
        }
        let mut pending = match *self.reservations {
            Some(pending) => pending,
            None => places::any_pending(self.transaction)?,
        };
        std::mem::take(&mut self.places).write(self.transaction, &mut pending)?;
        *self.reservations = Some(pending);
        self.write_keys()?;
        self.transaction
            .prepare_cached(
                "UPDATE meta \
                 SET position = ?1, entries = ?2, keys = ?3, usage_events = ?4, newest_usage = ?5",
            )?
            .execute(params![
                self.standing.position.map(|position| position.raw().cast_signed()),
                self.standing.entries.cast_signed(),
                self.standing.keys.cast_signed(),
                self.standing.usage_events.cast_signed(),
                self.standing.newest_usage.map(Timestamp::micros),
            ])?;
        Ok(self.news)
    }

    /// The key as it is before the present event.
    fn find(&mut self, id: KeyId) -> Result<Option<Known>, Failure> {
        if let Some(change) = self.changes.get(&id) {
            return Ok(Some(change.known.clone()));
        }
        if let Some(known) = self.cache.find(id) {
            return Ok(Some(known));
        }
        let found = self.find_key.query_row([id.uuid().into_bytes()], |row| {
            Ok(Known { seq: row.get(0)?, state: Arc::new(snapshot::column(row, 1)?) })
        });
        let found = found.optional()?;
        if let Some(known) = &found {
            self.cache.keep(id, known.clone());
        }
        Ok(found)
    }

    /// What a key's trail says of addresses and of its erasure, for the usage projector.
    fn for_usage(&self, seq: i64, envelope: &Envelope) -> Result<(), Failure> {
        match &envelope.event {
            Event::KeyAddressFirstUsed(used) => {
                // One that cannot be read is none that could come again.
                if let Some(address) = used.address.as_ref().filter(|address| !address.is_unspecified()) {
                    addresses::told(self.transaction, seq, **address, used.used_at)?;
                }
            }
            Event::KeyDeleted(_) => addresses::forget(self.transaction, seq)?,
            Event::KeyErased(_) => erasure::note(self.transaction, seq)?,
            _ => {}
        }
        Ok(())
    }

    fn changed(&mut self, id: KeyId, before: Option<Known>, after: Arc<KeyState>, issued: bool) {
        self.places.key(before.as_ref().map(|known| &*known.state), &after);
        let seq = before.as_ref().map_or_else(|| self.standing.entries.cast_signed(), |known| known.seq);
        let before = before.map(|known| known.state);
        self.news.push(News::Key { seq, before, after: Arc::clone(&after) });
        match self.changes.entry(id) {
            Slot::Occupied(mut slot) => slot.get_mut().known.state = after,
            Slot::Vacant(slot) => {
                slot.insert(Change { known: Known { seq, state: after }, issued });
                self.order.push(id);
                self.standing.keys += u64::from(issued);
            }
        }
    }

    fn write_keys(&mut self) -> Result<(), Failure> {
        let mut insert = self.transaction.prepare_cached(
            "INSERT INTO keys (seq, id, org, ord, workspace, environment, due_at, state) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?;
        let mut update =
            self.transaction.prepare_cached("UPDATE keys SET due_at = ?2, state = ?3 WHERE seq = ?1")?;
        for id in self.order.drain(..) {
            let Some(Change { known, issued }) = self.changes.remove(&id) else { continue };
            let state = &*known.state;
            let bytes = snapshot::write(state)?;
            let due_at = state.due_at().map(keyledger_schema::Timestamp::micros);
            if issued {
                let ord = next_ordinal(self.transaction, self.ordinals, state.organization)?;
                insert.execute(params![
                    known.seq,
                    id.uuid().into_bytes(),
                    state.organization.uuid().into_bytes(),
                    ord,
                    state.workspace.uuid().into_bytes(),
                    state.environment as u8,
                    due_at,
                    bytes,
                ])?;
            } else {
                update.execute(params![known.seq, due_at, bytes])?;
            }
            self.cache.keep(id, known);
        }
        Ok(())
    }

    /// Who did what led to an event: of a bulk revocation of many keys always the same.
    fn actor_of_cause(&mut self, cause: EventId) -> Result<Option<[u8; 16]>, Failure> {
        if let Some((_, actor)) = self.last_cause.filter(|(known, _)| *known == cause) {
            return Ok(actor);
        }
        let actor = self
            .transaction
            .prepare_cached("SELECT coalesce(cause_actor, actor) FROM entries WHERE id = ?1")?
            .query_row([cause.uuid().into_bytes()], |row| row.get(0))
            .optional()?
            .flatten();
        self.last_cause = Some((cause, actor));
        Ok(actor)
    }

    fn entry(&mut self, fact: &Fact, key: Option<KeyId>) -> Result<(), Failure> {
        let cause_actor = match fact.cause {
            Some(cause) => self.actor_of_cause(cause)?,
            None => None,
        };
        self.insert_entry.execute(params![
            self.standing.entries.cast_signed(),
            fact.position.raw().cast_signed(),
            fact.id.uuid().into_bytes(),
            &*fact.event_type,
            rows::stream(fact.stream),
            fact.revision.cast_signed(),
            fact.organization.map(|id| id.uuid().into_bytes()),
            fact.workspace.map(|id| id.uuid().into_bytes()),
            key.map(|id| id.uuid().into_bytes()),
            fact.actor.map(uuid::Uuid::into_bytes),
            fact.at.micros(),
            rows::outcome(fact.outcome),
            fact.cause.map(|id| id.uuid().into_bytes()),
            cause_actor,
        ])?;
        Ok(())
    }

    // Organizations, workspaces and identities change rarely: read, fold, write.

    fn organization(&mut self, stream: Stream, envelope: &Envelope) -> Result<(), Failure> {
        let Stream::Organization(id) = stream else { return Ok(()) };
        let before = super::lookups::organization(self.transaction, id)?;
        let Some(state) = OrganizationState::fold(before.clone(), envelope) else { return Ok(()) };
        if before.as_ref() != Some(&state) {
            self.write_organization(id, &state)?;
            self.news.push(News::Organization(Box::new(state)));
        }
        Ok(())
    }

    fn write_organization(&self, id: OrganizationId, state: &OrganizationState) -> Result<(), Failure> {
        self.transaction
            .prepare_cached(
                "INSERT INTO organizations (id, state) VALUES (?1, ?2) \
                 ON CONFLICT (id) DO UPDATE SET state = excluded.state",
            )?
            .execute(params![id.uuid().into_bytes(), snapshot::write(state)?])?;
        Ok(())
    }

    fn workspace(&mut self, stream: Stream, envelope: &Envelope) -> Result<(), Failure> {
        let Stream::Workspace(id) = stream else { return Ok(()) };
        let before = super::lookups::workspace(self.transaction, id)?;
        let Some(state) = WorkspaceState::fold(before.clone(), envelope) else { return Ok(()) };
        if before.as_ref() != Some(&state) {
            self.write_workspace(id, &state)?;
            self.news.push(News::Workspace(state));
        }
        Ok(())
    }

    fn identity(&mut self, stream: Stream, envelope: &Envelope) -> Result<(), Failure> {
        let Stream::Identity(id) = stream else { return Ok(()) };
        let before = super::lookups::identity(self.transaction, id)?;
        let Some(state) = IdentityState::fold(before.clone(), envelope) else { return Ok(()) };
        if before.as_ref() != Some(&state) {
            self.transaction
                .prepare_cached(
                    "INSERT INTO identities (id, org, external, name, listed, state) \
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (id) DO UPDATE SET \
                     external = excluded.external, name = excluded.name, listed = excluded.listed, state = excluded.state",
                )?
                .execute(params![
                    id.uuid().into_bytes(),
                    state.organization.uuid().into_bytes(),
                    &**state.external_id,
                    state.name.as_ref().map(|name| name.to_lowercase()).unwrap_or_default(),
                    state.deleted_at.is_none(),
                    snapshot::write(&state)?,
                ])?;
            if matches!(envelope.event, Event::IdentityErased(_)) {
                // No key has such a number.
                erasure::note(self.transaction, -1 - self.standing.entries.cast_signed())?;
            }
            self.news.push(News::Identity { before: before.map(Box::new), after: Box::new(state) });
        }
        Ok(())
    }

    fn write_workspace(&self, id: WorkspaceId, state: &WorkspaceState) -> Result<(), Failure> {
        self.transaction
            .prepare_cached(
                "INSERT INTO workspaces (id, org, state) VALUES (?1, ?2, ?3) \
                 ON CONFLICT (id) DO UPDATE SET state = excluded.state",
            )?
            .execute(params![
                id.uuid().into_bytes(),
                state.organization.uuid().into_bytes(),
                snapshot::write(state)?,
            ])?;
        Ok(())
    }
}
