//! Key activity: every event of keys in a period, with who, from where, why, and how fast.

use std::collections::HashMap;

use keyledger_projections::KeyState;
use keyledger_schema::event::{Event, KeyUpdated};
use keyledger_schema::{
    Actor, Envelope, Environment, EventId, KeyId, Source, Stream, Timestamp, WorkspaceId,
};
use serde::Serialize;

use super::{Asked, Kind, Scope};
use crate::caller::Caller;
use crate::error::{Error, Result};
use crate::readmodel::{Entry, EntryQuery, Item, Page, Sequence, Window};
use crate::service::Service;
use crate::service::analytics::query_failed as query_page_failed;
use crate::service::keys::query_failed;
use crate::service::writer::read_failed;
use crate::store::Direction;

/// How many events of a stream are read at once in search of a report of a leak.
const BACK: usize = 100;

/// What happened to a key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[allow(missing_docs, reason = "each is named after its event")]
pub enum Action {
    Issued,
    Changed,
    Rotated,
    Acknowledged,
    OldSecretEnded,
    Disabled,
    Enabled,
    LeakReported,
    Expired,
    Revoked,
    Deleted,
    Erased,
}

impl Action {
    /// Every action.
    pub const ALL: [Self; 12] = [
        Self::Issued,
        Self::Changed,
        Self::Rotated,
        Self::Acknowledged,
        Self::OldSecretEnded,
        Self::Disabled,
        Self::Enabled,
        Self::LeakReported,
        Self::Expired,
        Self::Revoked,
        Self::Deleted,
        Self::Erased,
    ];

    /// As programs read it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Issued => "ISSUED",
            Self::Changed => "CHANGED",
            Self::Rotated => "ROTATED",
            Self::Acknowledged => "ACKNOWLEDGED",
            Self::OldSecretEnded => "OLD_SECRET_ENDED",
            Self::Disabled => "DISABLED",
            Self::Enabled => "ENABLED",
            Self::LeakReported => "LEAK_REPORTED",
            Self::Expired => "EXPIRED",
            Self::Revoked => "REVOKED",
            Self::Deleted => "DELETED",
            Self::Erased => "ERASED",
        }
    }

    /// The types of its events.
    const fn types(self) -> &'static [&'static str] {
        match self {
            Self::Issued => &["key.issued"],
            Self::Changed => &["key.updated", "key.credits_changed"],
            Self::Rotated => &["key.secret_rotated"],
            Self::Acknowledged => &["key.secret_acknowledged"],
            Self::OldSecretEnded => &["key.secret_overlap_ended"],
            Self::Disabled => &["key.disabled"],
            Self::Enabled => &["key.enabled"],
            Self::LeakReported => &["key.leak_reported"],
            Self::Expired => &["key.expired"],
            Self::Revoked => &["key.revoked"],
            Self::Deleted => &["key.deleted"],
            Self::Erased => &["key.erased"],
        }
    }

    fn of(event_type: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.types().contains(&event_type))
    }
}

/// What something followed from.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Cause {
    /// Many keys were revoked by one command.
    BulkRevocation,
    /// The secret was found somewhere, and is the same since.
    LeakReport,
    /// The expiry date passed.
    ExpiryDate,
    /// The time that an old secret stayed valid for ended.
    OverlapEnd,
}

impl Cause {
    /// As programs read it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BulkRevocation => "BULK_REVOCATION",
            Self::LeakReport => "LEAK_REPORT",
            Self::ExpiryDate => "EXPIRY_DATE",
            Self::OverlapEnd => "OVERLAP_END",
        }
    }
}

/// What something followed from, and when that was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Followed {
    /// What.
    pub cause: Cause,
    /// When.
    pub at: Timestamp,
    /// The event, where it is one.
    pub event: Option<EventId>,
}

/// One event of a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Activity {
    /// When it was decided.
    pub at: Timestamp,
    /// What happened.
    pub action: Action,
    /// The event.
    pub event: EventId,
    /// Its type.
    pub event_type: &'static str,
    /// Its number in the log.
    pub log_index: u64,
    /// The key.
    pub key: KeyId,
    /// What it is called now.
    pub key_name: String,
    /// Where it lives.
    pub workspace: WorkspaceId,
    /// Its environment.
    pub environment: Environment,
    /// Who did it.
    pub actor: Actor,
    /// From where.
    pub source: Source,
    /// Why: a reason of the API, or the rule that demanded it.
    pub reason: Option<String>,
    /// Why, in the actor's words.
    pub comment: Option<String>,
    /// The fields that changed.
    pub changed: Vec<&'static str>,
    /// What it followed from, where the log tells.
    pub followed: Option<Followed>,
}

impl Activity {
    /// From what it followed from until it was decided.
    pub fn milliseconds_to_effect(&self) -> Option<u64> {
        let followed = self.followed?;
        u64::try_from(self.at.since(followed.at).as_millis()).ok()
    }
}

/// A word of an event as the API writes it.
fn word(value: impl Serialize) -> Option<String> {
    serde_json::to_value(value).ok()?.as_str().map(str::to_uppercase)
}

fn fields_of(updated: &KeyUpdated) -> Vec<&'static str> {
    [
        ("name", updated.name.is_some()),
        ("scopes", updated.scopes.is_some()),
        ("allowedCidrs", updated.allowed_cidrs.is_some()),
        ("metadata", updated.metadata.is_some()),
        ("roles", updated.roles.is_some()),
        ("grants", updated.grants.is_some()),
        ("rateLimits", updated.rate_limits.is_some()),
        ("identity", updated.identity.is_some()),
    ]
    .into_iter()
    .filter_map(|(name, changed)| changed.then_some(name))
    .collect()
}

/// Reason, comment and changed fields of an event.
fn told(event: &Event) -> (Option<String>, Option<String>, Vec<&'static str>) {
    macro_rules! text {
        ($text:expr) => {
            $text.as_ref().map(|text| text.to_string())
        };
    }
    match event {
        Event::KeyUpdated(updated) => (None, None, fields_of(updated)),
        Event::KeyCreditsChanged(changed) => (None, text!(changed.reason), vec!["credits"]),
        Event::KeyDisabled(disabled) => {
            (disabled.rule.map(|rule| rule.as_str().to_owned()), text!(disabled.comment), Vec::new())
        }
        Event::KeyEnabled(enabled) => (None, text!(enabled.comment), Vec::new()),
        Event::KeyLeakReported(reported) => (None, text!(reported.comment), Vec::new()),
        Event::KeyRevoked(revoked) => (word(revoked.reason), text!(revoked.comment), Vec::new()),
        Event::KeyDeleted(deleted) => (None, text!(deleted.comment), Vec::new()),
        Event::KeyErased(erased) => (word(erased.reason), None, Vec::new()),
        _ => (None, None, Vec::new()),
    }
}

impl Service {
    /// A page of what happened to keys in a period, oldest first, for those who may read trails.
    pub async fn key_activity(
        &self,
        caller: &Caller,
        asked: &Asked,
        window: Window,
        count: bool,
    ) -> Result<Page<Activity>> {
        asked.check(Kind::KeyActivity)?;
        let scope = self.scope_of_report(caller, asked)?;
        let period = asked.period(scope.now)?;
        self.activity_in(&scope, period, &asked.actions, window, count).await
    }

    pub(super) async fn activity_in(
        &self,
        scope: &Scope,
        (from, to): (Timestamp, Timestamp),
        actions: &[Action],
        window: Window,
        count: bool,
    ) -> Result<Page<Activity>> {
        let wanted = Action::ALL.into_iter().filter(|one| actions.is_empty() || actions.contains(one));
        let backward = window.is_backward();
        let query = EntryQuery {
            workspaces: scope.workspaces.clone(),
            types: wanted.flat_map(Action::types).map(|name| (*name).to_owned()).collect(),
            from: Some(from),
            to: Some(to),
            sequence: Sequence::Ascending,
            window,
            count,
            ..EntryQuery::new(scope.organization)
        };
        let page =
            self.read_model.entries(query).await.map_err(|error| query_page_failed(&error, backward))?;
        let rows = self.activities(&page.items).await?;
        let cursors = page.items.into_iter().map(|item| item.cursor);
        Ok(Page {
            items: cursors.zip(rows).map(|(cursor, node)| Item { cursor, node }).collect(),
            has_next: page.has_next,
            has_previous: page.has_previous,
            total: page.total,
            start_cursor: page.start_cursor,
            end_cursor: page.end_cursor,
        })
    }

    async fn activities(&self, entries: &[Item<Entry>]) -> Result<Vec<Activity>> {
        let mut ids: Vec<KeyId> = entries.iter().filter_map(|item| item.node.key).collect();
        ids.sort_unstable();
        ids.dedup();
        let states = self.read_model.keys_by_id(ids).await.map_err(|error| query_failed(&error))?;
        let keys: HashMap<KeyId, KeyState> = states.into_iter().map(|state| (state.id, state)).collect();
        let mut started: HashMap<EventId, Option<Timestamp>> = HashMap::new();
        let mut rows = Vec::with_capacity(entries.len());
        for Item { node: entry, .. } in entries {
            let envelope = self.event_at(entry.stream, entry.revision).await?;
            let key = entry.key.and_then(|id| keys.get(&id)).ok_or_else(Error::internal)?;
            rows.push(self.activity(entry, envelope, key, &mut started).await?);
        }
        Ok(rows)
    }

    async fn activity(
        &self,
        entry: &Entry,
        envelope: Envelope,
        key: &KeyState,
        started: &mut HashMap<EventId, Option<Timestamp>>,
    ) -> Result<Activity> {
        let event_type = envelope.event.type_name();
        let action = Action::of(event_type).ok_or_else(Error::internal)?;
        let followed = match (&envelope.event, envelope.cause) {
            (Event::KeyExpired(expired), _) => {
                Some(Followed { cause: Cause::ExpiryDate, at: expired.expired_at, event: None })
            }
            (Event::KeySecretOverlapEnded(ended), _) => {
                Some(Followed { cause: Cause::OverlapEnd, at: ended.ended_at, event: None })
            }
            (Event::KeyRevoked(_), Some(cause)) => {
                let at = if let Some(known) = started.get(&cause) {
                    *known
                } else {
                    let found = self.read_model.entry(cause).await.map_err(|error| query_failed(&error))?;
                    *started.entry(cause).or_insert(found.map(|entry| entry.at))
                };
                at.map(|at| Followed { cause: Cause::BulkRevocation, at, event: Some(cause) })
            }
            (Event::KeyRevoked(_) | Event::KeyDisabled(_) | Event::KeySecretRotated(_), None) => {
                self.leak_before(entry.stream, entry.revision).await?
            }
            _ => None,
        };
        let (reason, comment, changed) = told(&envelope.event);
        Ok(Activity {
            at: envelope.at,
            action,
            event: envelope.id,
            event_type,
            log_index: entry.log_index,
            key: key.id,
            key_name: key.name.to_string(),
            workspace: key.workspace,
            environment: key.environment,
            actor: envelope.actor,
            source: envelope.source,
            reason,
            comment,
            changed,
            followed,
        })
    }

    /// The first report of a leak that nothing was done about before this revision of a key's stream.
    async fn leak_before(&self, stream: Stream, revision: u64) -> Result<Option<Followed>> {
        let name = stream.to_string();
        let (mut from, mut found) = (revision.checked_sub(1), None);
        while let Some(start) = from {
            let events = self.store.read_stream(&name, Some(start), Direction::Backward, BACK).await;
            for event in events.map_err(|error| read_failed(&error))? {
                from = event.revision.checked_sub(1);
                match &*event.event_type {
                    "key.leak_reported" => {
                        let envelope = self.open(&event)?;
                        let id = Some(envelope.id);
                        found = Some(Followed { cause: Cause::LeakReport, at: envelope.at, event: id });
                    }
                    "key.secret_rotated" | "key.disabled" | "key.revoked" => return Ok(found),
                    _ => {}
                }
            }
        }
        Ok(found)
    }

    async fn event_at(&self, stream: Stream, revision: u64) -> Result<Envelope> {
        let found = self.store.read_stream(&stream.to_string(), Some(revision), Direction::Forward, 1).await;
        let found = found.map_err(|error| read_failed(&error))?;
        let event = found.first().ok_or_else(|| {
            tracing::error!(%stream, revision, "an event is in the read model and not in the log");
            Error::internal()
        })?;
        self.open(event)
    }
}
