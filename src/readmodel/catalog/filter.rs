//! A query's conditions, made ready to be held against many rows.

use keyledger_projections::KeyStatus;
use keyledger_schema::{Environment, Timestamp};
use memchr::memmem::Finder;

use super::block::{Row, UNUSED, folded};
use super::shared::{Known, Numbers};
use super::texts::MARK;
use crate::readmodel::keys::KeyQuery;

pub(super) struct Filter {
    workspaces: Option<Numbers>,
    created_by: Option<u32>,
    roles: Option<Numbers>,
    identity: Option<u32>,
    statuses: [bool; KeyStatus::ALL.len()],
    now: i64,
    environment: Option<Environment>,
    created_before: Option<i64>,
    created_after: Option<i64>,
    expires_before: Option<i64>,
    unused_since: Option<i64>,
    acknowledged: Option<bool>,
    secret_issued: Option<(i64, i64)>,
    pub(super) search: Option<Search>,
    pub(super) name_contains: Option<Finder<'static>>,
}

/// What finds a key, any of it.
pub(super) struct Search {
    /// In the name, or in the address up to its `@`.
    pub(super) text: Finder<'static>,
    /// At the start of a hint.
    pub(super) hint: Finder<'static>,
    /// The key of this number.
    pub(super) seq: Option<i64>,
    /// Addresses that have the text in them from their `@` on.
    pub(super) domains: Numbers,
    /// Addresses with the text across their `@`.
    pub(super) across: Option<Across>,
}

pub(super) struct Across {
    /// What stands before the `@`, with the mark that is there instead.
    pub(super) text: Finder<'static>,
    /// Addresses that go on like that.
    pub(super) domains: Numbers,
}

fn finder(text: &[u8]) -> Finder<'static> {
    Finder::new(text).into_owned()
}

impl Search {
    fn new(text: &str, seq: Option<i64>, known: &Known) -> Self {
        let hint = [&[MARK], text.as_bytes()].concat();
        let text = folded(text);
        let across = text.find('@').filter(|at| *at > 0).map(|at| {
            let (local, domain) = text.split_at(at);
            Across {
                text: finder(&[local.as_bytes(), &[MARK]].concat()),
                domains: known.domains.numbers(|known| known.starts_with(domain)),
            }
        });
        Self {
            text: finder(text.as_bytes()),
            hint: finder(&hint),
            seq,
            domains: known.domains.numbers(|domain| domain.contains(&text)),
            across: across.filter(|across| across.domains.any()),
        }
    }
}

impl Filter {
    /// None if it is certain that no key is let through. `seq` is that of the key whose id is searched for.
    pub(super) fn new(query: &KeyQuery, seq: Option<i64>, known: &Known) -> Option<Self> {
        let reach = query.reach();
        let workspaces = reach.map(|reach| known.workspaces.numbers(|id| reach.contains(id)));
        if workspaces.as_ref().is_some_and(|workspaces| !workspaces.any()) {
            return None;
        }
        let created_by = match query.created_by {
            Some(id) => Some(known.creators.find(&id)?),
            None => None,
        };
        let roles = query.role.map(|role| known.roles.numbers(|set| set.contains(&role)));
        if roles.as_ref().is_some_and(|roles| !roles.any()) {
            return None;
        }
        let identity = match query.identity {
            Some(id) => Some(known.identities.find(&id)?),
            None => None,
        };
        let statuses: &[_] = if query.statuses.is_empty() { &[KeyStatus::Active] } else { &query.statuses };
        Some(Self {
            workspaces,
            created_by,
            roles,
            identity,
            statuses: KeyStatus::ALL.map(|status| statuses.contains(&status)),
            now: query.now.micros(),
            environment: query.environment,
            created_before: query.created_before.map(Timestamp::micros),
            created_after: query.created_after.map(Timestamp::micros),
            expires_before: query.expires_before.map(Timestamp::micros),
            unused_since: query.unused_since.map(Timestamp::micros),
            acknowledged: query.unacknowledged.map(|unacknowledged| !unacknowledged),
            secret_issued: query.secret_issued.map(|(from, to)| (from.micros(), to.micros())),
            search: query.search.as_ref().map(|text| Search::new(text, seq, known)),
            name_contains: query.name_contains.as_ref().map(|text| finder(folded(text).as_bytes())),
        })
    }

    /// Whether a row meets all conditions but those on its texts.
    pub(super) fn lets_through(&self, row: &Row) -> bool {
        self.statuses[row.status(self.now) as usize]
            && self.workspaces.as_ref().is_none_or(|workspaces| workspaces.has(row.shared.workspace))
            && self.environment.is_none_or(|environment| environment == row.environment)
            && self.created_by.is_none_or(|key| key == row.shared.created_by)
            && self.roles.as_ref().is_none_or(|roles| roles.has(row.shared.roles))
            && self.identity.is_none_or(|identity| identity == row.shared.identity)
            && self.created_before.is_none_or(|moment| row.created_at < moment)
            && self.created_after.is_none_or(|moment| row.created_at >= moment)
            && self.expires_before.is_none_or(|moment| row.expires_at < moment)
            && self.acknowledged.is_none_or(|acknowledged| acknowledged == row.acknowledged())
            && self.secret_issued.is_none_or(|(from, to)| (from..to).contains(&row.secret_issued_at()))
            && self.unused_since.is_none_or(|moment| {
                // A key that was never used has been so since it was created, and no longer.
                let since = if row.last_used == UNUSED { row.created_at } else { row.last_used };
                since < moment
            })
    }
}
