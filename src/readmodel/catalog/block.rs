//! A stretch of an organization's keys, in the order in which they were issued.

use keyledger_projections::{KeyState, KeyStatus};
use keyledger_schema::{Environment, IdentityId, KeyId, OrganizationId, RoleId, Timestamp, WorkspaceId};

use super::filter::Filter;
use super::marks::Marks;
use super::selection::{Rank, Value};
use super::texts::{MARK, Texts};
use crate::readmodel::keys::KeySort;

/// Keys of a full block. Reading one takes some microseconds, for which a change of it waits.
pub(super) const ROWS: usize = 1_024;

/// As the moment of expiry of a key that never expires; later than every moment.
const NEVER: i64 = i64::MAX;
/// As the moment of the last use of a key that was never used; earlier than every moment.
pub(super) const UNUSED: i64 = i64::MIN;

/// Text as it is searched and sorted: without regard to case.
pub(super) fn folded(text: &str) -> String {
    text.to_lowercase()
}

/// What can change about a key after it was issued, its use aside.
#[derive(Clone, Copy)]
pub(super) struct Changing {
    stage: Stage,
    expiry_recorded: bool,
    acknowledged: bool,
    secret_issued_at: i64,
}

/// What the events alone tell of a key: with the expiry date it gives the status at any moment.
#[derive(Clone, Copy)]
enum Stage {
    Enabled,
    Disabled,
    Revoked,
    Deleted,
}

impl Stage {
    const fn of(state: &KeyState) -> Self {
        if state.deleted_at.is_some() {
            Self::Deleted
        } else if state.revoked.is_some() {
            Self::Revoked
        } else if state.disabled {
            Self::Disabled
        } else {
            Self::Enabled
        }
    }
}

/// All that the catalog keeps of a key.
pub(in crate::readmodel) struct Facts {
    pub(super) organization: OrganizationId,
    pub(super) seq: i64,
    pub(super) workspace: WorkspaceId,
    pub(super) created_by: Option<KeyId>,
    /// The address from its `@` on.
    pub(super) domain: Box<str>,
    pub(super) roles: Box<[RoleId]>,
    pub(super) identity: Option<IdentityId>,
    created_at: i64,
    expires_at: i64,
    last_used: i64,
    environment: Environment,
    changing: Changing,
    names: Vec<u8>,
    hints: Vec<u8>,
}

impl Facts {
    /// From the key's state. Of a key that is known already, the last use given here is not looked at.
    pub(in crate::readmodel) fn of(seq: i64, state: &KeyState, last_used: Option<Timestamp>) -> Self {
        let (name, email) = (folded(&state.name), folded(&state.email));
        let (local, domain) = email.split_at(email.find('@').unwrap_or(email.len()));
        let mut names = Vec::with_capacity(name.len() + local.len() + 2);
        for part in [&name, local] {
            names.extend_from_slice(part.as_bytes());
            names.push(MARK);
        }
        let mut hints = Vec::with_capacity(32);
        let previous = state.previous_secret.as_ref().map(|previous| &previous.record);
        for record in std::iter::once(&state.secret.record).chain(previous) {
            hints.push(MARK);
            hints.extend_from_slice(record.hint.as_bytes());
        }
        Self {
            organization: state.organization,
            seq,
            workspace: state.workspace,
            created_by: state.created_by.key_id(),
            domain: domain.into(),
            roles: state.roles.as_slice().into(),
            identity: state.identity,
            created_at: state.created_at.micros(),
            expires_at: state.expires_at.map_or(NEVER, Timestamp::micros),
            last_used: last_used.map_or(UNUSED, Timestamp::micros),
            environment: state.environment,
            changing: Changing {
                stage: Stage::of(state),
                expiry_recorded: state.expiry_recorded,
                acknowledged: state.secret.acknowledged_at.is_some(),
                secret_issued_at: state.secret.issued_at.micros(),
            },
            names,
            hints,
        }
    }
}

/// The numbers that stand for what many keys of an organization share.
#[derive(Clone, Copy)]
pub(super) struct Shared {
    pub(super) workspace: u32,
    /// 0 when it was no key.
    pub(super) created_by: u32,
    pub(super) domain: u32,
    /// 0 when it holds none. Can change.
    pub(super) roles: u32,
    /// 0 when it has none. Can change.
    pub(super) identity: u32,
}

pub(super) struct Row {
    pub(super) seq: i64,
    pub(super) created_at: i64,
    pub(super) expires_at: i64,
    pub(super) last_used: i64,
    pub(super) shared: Shared,
    pub(super) environment: Environment,
    changing: Changing,
}

impl Row {
    /// The same as [`KeyState::status`].
    pub(super) fn status(&self, now: i64) -> KeyStatus {
        let expired = self.changing.expiry_recorded || self.expires_at <= now;
        match self.changing.stage {
            Stage::Deleted => KeyStatus::Deleted,
            Stage::Revoked => KeyStatus::Revoked,
            Stage::Enabled | Stage::Disabled if expired => KeyStatus::Expired,
            Stage::Disabled => KeyStatus::Inactive,
            Stage::Enabled => KeyStatus::Active,
        }
    }

    pub(super) const fn secret_issued_at(&self) -> i64 {
        self.changing.secret_issued_at
    }

    pub(super) const fn acknowledged(&self) -> bool {
        self.changing.acknowledged
    }

    pub(super) const fn is_deleted(&self) -> bool {
        matches!(self.changing.stage, Stage::Deleted)
    }
}

#[derive(Default)]
pub(super) struct Block {
    rows: Vec<Row>,
    /// Of each row the folded name and the folded address up to its `@`, each followed by a mark.
    names: Texts,
    /// Of each row the secret's hint, and that of the one before, each after a mark.
    hints: Texts,
}

impl Block {
    pub(super) fn is_full(&self) -> bool {
        self.rows.len() >= ROWS
    }

    pub(super) fn rows(&self) -> &[Row] {
        &self.rows
    }

    fn find(&self, seq: i64) -> Option<usize> {
        self.rows.binary_search_by_key(&seq, |row| row.seq).ok()
    }

    /// Adds a key that was issued after all others.
    pub(super) fn push(&mut self, facts: &Facts, shared: Shared) {
        self.rows.push(Row {
            seq: facts.seq,
            created_at: facts.created_at,
            expires_at: facts.expires_at,
            last_used: facts.last_used,
            shared,
            environment: facts.environment,
            changing: facts.changing,
        });
        self.names.push(&facts.names);
        self.hints.push(&facts.hints);
        if self.is_full() {
            self.rows.shrink_to_fit();
            self.names.shrink();
            self.hints.shrink();
        }
    }

    /// Changes a key to what it is now; tells whether it is here.
    pub(super) fn change(&mut self, facts: &Facts, roles: u32, identity: u32) -> bool {
        let Some(row) = self.find(facts.seq) else { return false };
        self.rows[row].changing = facts.changing;
        self.rows[row].shared.roles = roles;
        self.rows[row].shared.identity = identity;
        self.names.set(row, &facts.names);
        self.hints.set(row, &facts.hints);
        true
    }

    pub(super) fn used(&mut self, seq: i64, at: i64) {
        if let Some(row) = self.find(seq) {
            self.rows[row].last_used = at;
        }
    }

    /// Hands over every row that the filter lets through.
    pub(super) fn each(&self, filter: &Filter, by: KeySort, mut hand_over: impl FnMut(Rank<'_>)) {
        for row in self.candidates(filter).rows() {
            let found = &self.rows[row];
            if !filter.lets_through(found) {
                continue;
            }
            let value = match by {
                KeySort::CreatedAt => Value::Nothing,
                KeySort::Name => Value::Text(self.names.first_part(row)),
                KeySort::ExpiresAt => Value::Number(found.expires_at),
                KeySort::LastUsedAt => Value::Number(found.last_used),
            };
            hand_over(Rank { value, seq: found.seq });
        }
    }

    /// The rows whose texts have what is searched for.
    fn candidates(&self, filter: &Filter) -> Marks {
        let mut candidates = Marks::first(self.rows.len());
        if let Some(search) = &filter.search {
            let mut found = Marks::none();
            self.names.find(&search.text, &mut found, |_, _| true);
            self.hints.find(&search.hint, &mut found, |_, _| true);
            if let Some(row) = search.seq.and_then(|seq| self.find(seq)) {
                found.set(row);
            }
            if search.domains.any() {
                for (row, of) in self.rows.iter().enumerate() {
                    if search.domains.has(of.shared.domain) {
                        found.set(row);
                    }
                }
            }
            if let Some(across) = &search.across {
                // Only at the end of the row does a mark stand where the `@` was.
                self.names.find(&across.text, &mut found, |row, _| {
                    across.domains.has(self.rows[row].shared.domain)
                        && self.names.text(row).ends_with(across.text.needle())
                });
            }
            candidates.keep(&found);
        }
        if let Some(text) = &filter.name_contains {
            let mut found = Marks::none();
            self.names.find(text, &mut found, |row, at| at <= self.names.first_part(row).len());
            candidates.keep(&found);
        }
        candidates
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.rows.capacity() * size_of::<Row>() + self.names.heap_bytes() + self.hints.heap_bytes()
    }
}
