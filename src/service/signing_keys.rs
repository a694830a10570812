//! Commands about the keys that organizations sign their tokens with.
//!
//! Private keys are derived from the master key when they are needed and stored nowhere. A change takes effect with
//! its event: the public keys in memory follow the log.

use futures_util::future::join_all;
use keyledger_projections::OrganizationState;
use keyledger_schema::event::Hex32;
use keyledger_schema::{OrganizationId, Personal};

use super::aggregate::{Clashes, Seen};
use super::{Context, OrganizationWritten, Service};
use crate::caller::Caller;
use crate::decisions::{Decision, clash, signing_keys as decisions};
use crate::error::{Error, Result};

impl Service {
    /// Adds a key that will sign the tokens of an organization, the caller's own if none is named.
    pub async fn rotate_signing_key(
        &self,
        caller: &Caller,
        id: Option<OrganizationId>,
        seen: Option<Seen>,
    ) -> Result<OrganizationWritten> {
        let id = id.unwrap_or(caller.organization);
        self.administered(caller, id, "input.organizationId")?;
        let context = self.context(caller);
        let public_key_of = |generation| self.public_signing_key(id, generation);
        let decide = |state: &OrganizationState| decisions::rotate(state, context.at, &public_key_of);
        self.change_signing_keys(&context, id, seen, decide).await
    }

    /// Makes all tokens of a signing key fail at once.
    pub async fn revoke_signing_key(
        &self,
        caller: &Caller,
        id: Option<OrganizationId>,
        generation: u32,
        comment: Option<Personal<Box<str>>>,
        seen: Option<Seen>,
    ) -> Result<OrganizationWritten> {
        let id = id.unwrap_or(caller.organization);
        self.administered(caller, id, "input.organizationId")?;
        let context = self.context(caller);
        let public_key_of = |generation| self.public_signing_key(id, generation);
        let decide = |state: &OrganizationState| {
            decisions::revoke(state, generation, comment.clone(), context.at, &public_key_of)
        };
        self.change_signing_keys(&context, id, seen, decide).await
    }

    /// Retires the signing keys that have no tokens left. Answers how many events were written. What cannot be done
    /// now is logged and comes again at the next call.
    pub async fn retire_signing_keys(&self) -> Result<usize> {
        let context = self.own_context();
        let due = self.tenants.organizations();
        let due = due.iter().filter(|state| decisions::any_is_done(state, context.at)).map(|state| state.id);
        let retire = |state: &OrganizationState| Ok(decisions::retire(state, context.at));
        let done = join_all(due.map(|id| {
            let context = &context;
            async move { (id, self.change_signing_keys(context, id, None, retire).await) }
        }));
        let mut retired = 0;
        for (id, done) in done.await {
            match done {
                Ok(written) => retired += written.events.len(),
                Err(error) => {
                    tracing::error!(organization = %id, %error, "a signing key cannot be retired");
                }
            }
        }
        Ok(retired)
    }

    fn public_signing_key(&self, id: OrganizationId, generation: u32) -> Hex32 {
        Hex32(self.master.signing_key(id, generation).verifying_key().to_bytes())
    }

    async fn change_signing_keys(
        &self,
        context: &Context,
        id: OrganizationId,
        seen: Option<Seen>,
        decide: impl Fn(&OrganizationState) -> Result<Decision> + Send + Sync,
    ) -> Result<OrganizationWritten> {
        let loaded = self.load_organization(id).await?;
        let loaded = loaded.ok_or_else(|| Error::not_found("input.organizationId", "organization"))?;
        let seen = seen.map(|seen| (seen, &clash::with_signing_keys as &Clashes<'_>));
        let written = Box::pin(self.decide_and_append(context, loaded, seen, decide)).await?;
        self.applied(&written.events).await?;
        Ok(written)
    }
}
