//! A key that is shown: as it is now or was at a moment, with its use or without.

use std::sync::Arc;

use async_graphql::Context;
use keyledger_projections::key::KeyState;
use keyledger_projections::usage::KeyUsage;
use keyledger_schema::Timestamp;

use crate::asof::Then;
use crate::error::Error;
use crate::graphql::answer::{parties, query_failed, refusal};
use crate::readmodel::KeyRow;
use crate::tenants::Tenant;

/// A key. Its use is read when it is asked for, unless the row that it came from had it.
#[derive(Clone)]
pub(crate) struct KeyNode {
    pub(super) state: Arc<KeyState>,
    usage: Usage,
    /// What it stood in, where it is shown as of a moment.
    pub(super) then: Option<Arc<Then>>,
}

/// What is known of a key's use so far.
#[derive(Clone)]
enum Usage {
    Unread,
    Read(Option<KeyUsage>),
}

impl KeyNode {
    pub(in crate::graphql) fn new(state: KeyState) -> Self {
        Self::shared(Arc::new(state))
    }

    pub(in crate::graphql) fn shared(state: Arc<KeyState>) -> Self {
        Self { state, usage: Usage::Unread, then: None }
    }

    /// As it was at a moment.
    pub(in crate::graphql) fn of_then(then: Then) -> Self {
        Self { state: Arc::clone(&then.key), usage: Usage::Unread, then: Some(Arc::new(then)) }
    }

    pub(super) fn moment(&self) -> Option<Timestamp> {
        self.then.as_ref().map(|then| then.at)
    }

    /// The moment that status and the like are told of.
    pub(super) fn as_seen_at(&self, context: &Context<'_>) -> async_graphql::Result<Timestamp> {
        self.moment().map_or_else(|| Ok(parties(context)?.0.now()), Ok)
    }

    /// Its organization and what holds in it, then or now.
    pub(super) fn tenant(&self, context: &Context<'_>) -> async_graphql::Result<Option<Arc<Tenant>>> {
        match &self.then {
            Some(then) => Ok(then.tenant()),
            None => Ok(parties(context)?.0.tenants().tenant(self.state.organization)),
        }
    }

    pub(super) async fn usage_of(&self, context: &Context<'_>) -> async_graphql::Result<Option<KeyUsage>> {
        not_then(self.moment(), "use")?;
        if let Usage::Read(usage) = &self.usage {
            return Ok(usage.clone());
        }
        let (service, _) = parties(context)?;
        let row = service.read_model().key(self.state.id).await;
        Ok(row.map_err(|error| refusal(&query_failed(&error)))?.and_then(|row| row.usage))
    }
}

impl From<KeyRow> for KeyNode {
    fn from(row: KeyRow) -> Self {
        Self { state: Arc::new(row.state), usage: Usage::Read(row.usage), then: None }
    }
}

/// Refuses what the log does not tell as of a moment.
pub(in crate::graphql) fn not_then(moment: Option<Timestamp>, what: &str) -> async_graphql::Result<()> {
    if moment.is_none() {
        return Ok(());
    }
    let message = format!(
        "its {what} as of a moment are not known; ask without asOf, or usageReport for a stretch of time"
    );
    Err(refusal(&Error::invalid("asOf", message)))
}
