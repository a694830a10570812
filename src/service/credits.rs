//! Commands about credits.

use keyledger_projections::{CreditsState, IdentityState, KeyState, PoolId};
use keyledger_schema::{Event, Timestamp};

use super::aggregate::{Aggregate, Clashes, Loaded};
use super::{Seen, Service, Written};
use crate::caller::Caller;
use crate::decisions::credits::{self as decisions, Balance, Command, NewCredits};
use crate::decisions::{Decision, clash};
use crate::error::{Code, Error, Result};

/// Tells what is left of credits: whoever spends them knows it exactly, and nobody else does.
///
/// The answer is of one moment: the number of credits that are left and the number of those that were ever spent
/// belong together. It shows every change that this node has applied.
pub trait Balances: Send + Sync {
    /// What there is at a moment; none for what never had credits.
    fn balance(&self, pool: PoolId, now: Timestamp) -> Option<Balance>;
}

/// A key or an identity after its credits were changed.
#[derive(Clone, Debug)]
pub enum Credited {
    /// A key.
    Key(Box<KeyState>),
    /// An identity.
    Identity(Box<IdentityState>),
}

/// What a clone begins with: what was last set on the original.
pub(super) fn to_begin_with(credits: &CreditsState) -> Option<NewCredits> {
    let remaining = u64::try_from(credits.remaining?).unwrap_or(0);
    Some(NewCredits { remaining, refill: credits.refill.as_ref().map(Into::into) })
}

impl Service {
    /// What there is of some credits now; none for what never had any.
    pub fn balance(&self, pool: PoolId) -> Option<Balance> {
        self.balances.balance(pool, self.now())
    }

    /// Sets or adjusts the credits of a key or of an identity.
    pub async fn change_credits(
        &self,
        caller: &Caller,
        pool: PoolId,
        command: Command,
        seen: Option<Seen>,
    ) -> Result<Written<Credited>> {
        // Until the change is applied nobody else on this node decides about these credits, since the next decision
        // stands on it.
        match pool {
            PoolId::Key(id) => {
                let _turn = self.queues.turn(id).await;
                let loaded = self.managed(caller, id).await?;
                let of = |state: &KeyState| state.credits;
                let written =
                    self.credit(caller, pool, loaded, &command, seen, of, decisions::of_key).await?;
                let Written { state, events, warnings } = written;
                Ok(Written { state: Credited::Key(Box::new(state)), events, warnings })
            }
            PoolId::Identity(id) => {
                let _turn = self.queues.turn_of(id.uuid()).await;
                let loaded = self.managed_identity(caller, id).await?;
                let of = |state: &IdentityState| state.credits;
                let written =
                    self.credit(caller, pool, loaded, &command, seen, of, decisions::of_identity).await?;
                let Written { state, events, warnings } = written;
                Ok(Written { state: Credited::Identity(Box::new(state)), events, warnings })
            }
        }
    }

    #[allow(clippy::too_many_arguments, reason = "one place for keys and identities")]
    async fn credit<A: Aggregate>(
        &self,
        caller: &Caller,
        pool: PoolId,
        loaded: Loaded<A>,
        command: &Command,
        seen: Option<Seen>,
        credits: fn(&A) -> Option<CreditsState>,
        decide: fn(&A, &Command, Balance, Timestamp) -> Result<Decision>,
    ) -> Result<Written<A>> {
        let context = self.context(caller);
        let clashes = |event: &Event| clash::with_credits(event);
        let seen = seen.map(|seen| (seen, &clashes as &Clashes<'_>));
        let decide = |state: &A| {
            let balance = self.balances.balance(pool, context.at).unwrap_or(Balance::NONE);
            let decision = decide(state, command, balance, context.at)?;
            // Another node changed them, and this one has not applied that.
            if credits(state).is_some_and(|credits| credits.n >= balance.next) {
                let message = "somebody else changed these credits in this moment; look again and repeat";
                return Err(Error::new(Code::Conflict, message).about("input.id"));
            }
            Ok(decision)
        };
        let written = Box::pin(self.decide_and_append(&context, loaded, seen, decide)).await?;
        self.applied(&written.events).await?;
        Ok(written)
    }
}
