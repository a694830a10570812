//! The erasure of personal data.
//!
//! The event comes first: from then on every node that sees it deletes the data key, also one that was stopped
//! in between, and also when an older backup of the vault is put back: whoever is told of a state that was erased
//! makes sure that its data key is. Then what was copied out of the log is removed from the read model.
//!
//! An identity's erasure takes the keys that held it with it: they are the same person's.

use std::time::Duration;

use keyledger_projections::{IdentityState, KeyState, KeyStatus};
use keyledger_schema::event::ErasureReason;
use keyledger_schema::grant::Right;
use keyledger_schema::{IdentityId, KeyId, Subject};

use super::keys::query_failed;
use super::{Service, WrittenEvent};
use crate::caller::Caller;
use crate::decisions::erasure as decisions;
use crate::error::{Code, Error, Result};
use crate::readmodel::{KeyQuery, Window};

/// How many keys of an identity are looked at at once.
const PAGE: usize = 200;
/// How long a command waits until all copies are removed. They are removed later all the same.
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Whose personal data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Person {
    /// A key and whoever held it.
    Key(KeyId),
    /// An identity, and the keys that held it.
    Identity(IdentityId),
}

/// The answer to an erasure.
#[derive(Clone, Debug)]
pub struct Erasure {
    /// The identity, if it was one.
    pub identity: Option<IdentityState>,
    /// The keys whose data is erased now.
    pub keys: Vec<KeyState>,
    /// What was written.
    pub events: Vec<WrittenEvent>,
    /// Whether every copy in the read model is gone. If not, it goes within minutes.
    pub complete: bool,
}

impl Service {
    /// Erases personal data for good. Organization administrators may.
    pub async fn erase_subject(
        &self,
        caller: &Caller,
        person: Person,
        reason: ErasureReason,
    ) -> Result<Erasure> {
        let mut erasure = Erasure { identity: None, keys: Vec::new(), events: Vec::new(), complete: false };
        match person {
            Person::Key(id) => self.erase_key(caller, id, reason, &mut erasure).await?,
            Person::Identity(id) => self.erase_identity(caller, id, reason, &mut erasure).await?,
        }
        let waiting = async {
            while self.read_model.is_erasing().await.map_err(|error| query_failed(&error))? {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
            Ok::<_, Error>(())
        };
        erasure.complete = tokio::time::timeout(PATIENCE, waiting).await.is_ok_and(|done| done.is_ok());
        Ok(erasure)
    }

    async fn erase_key(
        &self,
        caller: &Caller,
        id: KeyId,
        reason: ErasureReason,
        erasure: &mut Erasure,
    ) -> Result<()> {
        let loaded = self.managed(caller, id).await?;
        let place = super::keys::place_of(&loaded.state);
        self.require(caller, Right::ManageOrganization, place)?;
        let context = self.context(caller);
        let _turn = self.queues.turn_of(id.uuid()).await;
        let decide = |state: &KeyState| decisions::of_key(state, reason, context.at);
        let written = Box::pin(self.decide_and_append(&context, loaded, None, decide)).await?;
        self.applied(&written.events).await?;
        self.data_key_is_gone(Subject::Key(id)).await?;
        erasure.events.extend(written.events);
        erasure.keys.push(written.state);
        Ok(())
    }

    async fn erase_identity(
        &self,
        caller: &Caller,
        id: IdentityId,
        reason: ErasureReason,
        erasure: &mut Erasure,
    ) -> Result<()> {
        let loaded = self.managed_identity(caller, id).await?;
        self.require(caller, Right::ManageOrganization, super::identities::place_of(&loaded.state))?;
        // Refused before anything of its keys is erased.
        decisions::of_identity(&loaded.state, reason)?;
        let mut query = KeyQuery {
            identity: Some(id),
            statuses: KeyStatus::ALL.to_vec(),
            window: Window::first(PAGE),
            ..KeyQuery::new(loaded.state.organization, self.now())
        };
        loop {
            let page = self.read_model.keys(query.clone()).await.map_err(|error| query_failed(&error))?;
            for item in &page.items {
                self.erase_key(caller, item.node.state.id, reason, erasure).await?;
            }
            match page.items.last() {
                Some(last) if page.has_next => {
                    query.window = Window::First { count: PAGE, after: Some(last.cursor.clone()) }
                }
                _ => break,
            }
        }
        let context = self.context(caller);
        let decide = |state: &IdentityState| decisions::of_identity(state, reason);
        let written = Box::pin(self.decide_and_append(&context, loaded, None, decide)).await?;
        self.applied(&written.events).await?;
        self.data_key_is_gone(Subject::Identity(id)).await?;
        erasure.events.extend(written.events);
        erasure.identity = Some(written.state);
        Ok(())
    }

    /// Makes sure that what was deleted when the event was applied is deleted.
    async fn data_key_is_gone(&self, subject: Subject) -> Result<()> {
        if self.vault.is_erased(subject).unwrap_or(false) {
            return Ok(());
        }
        let vault = std::sync::Arc::clone(&self.vault);
        let erased = tokio::task::spawn_blocking(move || vault.erase(subject)).await;
        if matches!(erased, Ok(Ok(()))) {
            return Ok(());
        }
        let message = "the erasure is in the log, but the data key cannot be deleted now; repeat this, and tell the operator \
                       if it lasts";
        Err(Error::new(Code::Unavailable, message))
    }
}
