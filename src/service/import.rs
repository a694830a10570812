//! Keys whose secrets were made elsewhere, many in one call.
//!
//! Each item stands for itself: one that is refused does no harm to the others, and repeating a call finds
//! what the first one made. The id of an imported key follows from its secret alone, so the log refuses to
//! import a secret twice, whoever else imports it at the same time.
//!
//! Invariant: of a secret that belongs to somebody else it is told that it cannot be imported, and nothing
//! more.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures_util::future::join_all;
use keyledger_projections::{IdentityState, KeyState};
use keyledger_schema::grant::{Place, Right};
use keyledger_schema::{IdentityId, KeyId, SecretHash, SecretRecord, WorkspaceId};

use super::keys::{Birth, Reach, known_roles, place_of, query_failed};
use super::refusals::is_refusal;
use super::writer::Failure;
use super::{Context, NewKey, Service, WrittenEvent, identities};
use crate::caller::Caller;
use crate::decisions::{Decision, Warning};
use crate::error::{Code, Error, Result};
use crate::secret::Brought;
use crate::store::Position;
use crate::tenants::Tenant;

/// How the refusals of items are called in the trail.
const COMMAND: &str = "importKeys";

/// A key to be imported.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewImport {
    /// What it is to be. Its workspace is that of the call, and there is no idempotency key: the secret is one.
    pub key: NewKey,
    /// What of its secret is brought.
    pub secret: Brought,
    /// The start of the secret, as lists show it.
    pub hint: Box<str>,
}

/// What became of an item.
#[derive(Clone, Debug)]
pub enum Imported {
    /// There is a new key.
    New(Arc<KeyState>),
    /// A key has this secret already, or had it; it was left as it is.
    Exists(Arc<KeyState>),
    /// There is none.
    Failed(Error),
}

/// The answer to an import.
#[derive(Clone, Debug)]
pub struct Imports {
    /// What became of each item, in their order.
    pub items: Vec<Imported>,
    /// The events that were written.
    pub events: Vec<WrittenEvent>,
    /// What the caller should know, each once.
    pub warnings: Vec<Warning>,
}

/// What every item of a call stands on.
#[derive(Clone, Copy)]
struct ItemGround<'a> {
    place: Place,
    tenant: std::result::Result<&'a Arc<Tenant>, &'a Error>,
    identities: &'a HashMap<IdentityId, IdentityState>,
}

/// What an item comes to before anything is written.
enum Plan {
    /// It is settled.
    Settled(Imported),
    /// A key is to be issued.
    Issue(KeyId, Decision),
    /// An item before it has the same secret.
    Like(usize),
}

impl Service {
    /// Imports keys into a workspace. An item that is an error already stays one.
    pub async fn import_keys(
        &self,
        caller: &Caller,
        workspace: Option<WorkspaceId>,
        items: Vec<Result<NewImport>>,
    ) -> Result<Imports> {
        let place = self.workspace_of(caller, workspace)?;
        self.require(caller, Right::ManageKeys, place)?;
        let context = self.context(caller);
        let hashes: Vec<Vec<SecretHash>> = items
            .iter()
            .map(|item| item.as_ref().map_or_else(|_| Vec::new(), |new| self.hasher.hashes(&new.secret)))
            .collect();
        let known = self.known_secrets(&hashes).await?;
        // Held until the keys are applied: what is being deleted must see who holds it.
        let holds = |new: &NewImport| !new.key.roles.is_empty() || new.key.identity.is_some();
        let _held = self.hold(items.iter().flatten().any(holds)).await;
        let identities = self.identities_of(&items).await?;
        let tenant = self.bootstrapped(place.organization, "input.workspaceId");
        let mut claimed: HashMap<SecretHash, usize> = HashMap::new();
        let mut plans = Vec::with_capacity(items.len());
        for (index, ((item, hashes), known)) in items.into_iter().zip(&hashes).zip(known).enumerate() {
            let first = hashes.iter().find_map(|hash| claimed.get(hash));
            let plan = match (item, known, first) {
                (Err(error), ..) => Ok(Plan::Settled(Imported::Failed(error))),
                (Ok(_), Some(state), _) => self.taken(caller, place, state).map(Plan::Settled),
                (Ok(_), None, Some(&first)) => Ok(Plan::Like(first)),
                (Ok(new), None, None) => {
                    let ground = ItemGround { place, tenant: tenant.as_ref(), identities: &identities };
                    self.planned(caller, &context, ground, hashes, new)
                }
            };
            if let Ok(Plan::Issue(..)) = plan {
                claimed.extend(hashes.iter().map(|&hash| (hash, index)));
            }
            plans.push(plan.unwrap_or_else(|error| Plan::Settled(Imported::Failed(error.of_item(index)))));
        }
        let imports = self.carry_out(caller, &context, place, plans).await?;
        self.record_refused_items(caller, &imports.items).await?;
        Ok(imports)
    }

    /// For each item the key that has its secret, or that was imported with it once.
    async fn known_secrets(&self, hashes: &[Vec<SecretHash>]) -> Result<Vec<Option<Arc<KeyState>>>> {
        // The directory knows the present secrets; by its id a key is found that lost its secret since.
        let ids: Vec<Vec<KeyId>> = hashes
            .iter()
            .map(|hashes| {
                let present = hashes.iter().filter_map(|hash| (self.key_of)(hash));
                present.chain(hashes.first().map(|hash| self.hasher.imported_id(hash))).collect()
            })
            .collect();
        let all = ids.iter().flatten().copied().collect();
        let found = self.read_model.keys_by_id(all).await.map_err(|error| query_failed(&error))?;
        let found: HashMap<KeyId, Arc<KeyState>> =
            found.into_iter().map(|state| (state.id, Arc::new(state))).collect();
        Ok(ids.iter().map(|ids| ids.iter().find_map(|id| found.get(id).cloned())).collect())
    }

    /// The identities that items name, as far as there are such.
    async fn identities_of(&self, items: &[Result<NewImport>]) -> Result<HashMap<IdentityId, IdentityState>> {
        let ids: HashSet<IdentityId> = items.iter().flatten().filter_map(|new| new.key.identity).collect();
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        let found = self.read_model.identities_by_id(ids.into_iter().collect()).await;
        Ok(found.map_err(|error| query_failed(&error))?.into_iter().map(|state| (state.id, state)).collect())
    }

    /// What is told of a secret that a key has.
    fn taken(&self, caller: &Caller, place: Place, state: Arc<KeyState>) -> Result<Imported> {
        if state.organization == place.organization && self.sees(caller, place_of(&state)) {
            return Ok(Imported::Exists(state));
        }
        Err(Error::new(
            Code::Conflict,
            "this secret cannot be imported here; create a key with createKey and give its secret to the holder",
        ))
    }

    /// What a new key comes to, by the rules of `createKey`.
    fn planned(
        &self,
        caller: &Caller,
        context: &Context,
        ItemGround { place, tenant, identities }: ItemGround<'_>,
        hashes: &[SecretHash],
        new: NewImport,
    ) -> Result<Plan> {
        let tenant = tenant.map_err(Error::clone)?;
        self.may_give(caller.holder(), &new.key.grants, place.organization, "input.grants", Reach::Give)?;
        known_roles(tenant, &new.key.roles)?;
        if let Some(id) = new.key.identity {
            identities::can_be_given(identities.get(&id), place.organization)?;
        }
        let &hash = hashes.first().ok_or_else(Error::internal)?;
        let id = self.hasher.imported_id(&hash);
        let birth = Birth {
            id,
            imported: Some(new.secret.scheme()),
            secret: SecretRecord { version: 1, hash, hint: new.hint },
            new: new.key,
            cloned_from: None,
            request_fingerprint: None,
        };
        Ok(Plan::Issue(id, birth.decide(tenant, context)?))
    }

    /// Writes what is planned, all at once, and waits until it is applied.
    async fn carry_out(
        &self,
        caller: &Caller,
        context: &Context,
        place: Place,
        plans: Vec<Plan>,
    ) -> Result<Imports> {
        let mut warnings: Vec<Warning> = Vec::new();
        for plan in &plans {
            let Plan::Issue(_, decision) = plan else { continue };
            for warning in &decision.warnings {
                if !warnings.contains(warning) {
                    warnings.push(warning.clone());
                }
            }
        }
        let written = plans.into_iter().enumerate().map(|(index, plan)| async move {
            match plan {
                Plan::Settled(imported) => Ok((imported, Vec::new(), None)),
                Plan::Like(first) => Err(first),
                Plan::Issue(id, decision) => {
                    let outcome = self.import_one(caller, context, place, id, decision).await;
                    Ok(outcome
                        .unwrap_or_else(|error| (Imported::Failed(error.of_item(index)), Vec::new(), None)))
                }
            }
        });
        let mut items: Vec<Imported> = Vec::new();
        let mut events = Vec::new();
        let mut last = None;
        for (index, outcome) in join_all(written).await.into_iter().enumerate() {
            let item = match outcome {
                Ok((item, written, position)) => {
                    events.extend(written);
                    last = last.max(position);
                    item
                }
                Err(first) => match items.get(first) {
                    Some(Imported::New(state) | Imported::Exists(state)) => {
                        Imported::Exists(Arc::clone(state))
                    }
                    Some(Imported::Failed(error)) => Imported::Failed(error.clone().of_item(index)),
                    None => Imported::Failed(Error::internal()),
                },
            };
            items.push(item);
        }
        if let Some(last) = last {
            self.applied_to(last).await?;
        }
        Ok(Imports { items, events, warnings })
    }

    async fn import_one(
        &self,
        caller: &Caller,
        context: &Context,
        place: Place,
        id: KeyId,
        decision: Decision,
    ) -> Result<(Imported, Vec<WrittenEvent>, Option<Position>)> {
        match self.append_issued(context, place, id, decision).await {
            Ok(written) => {
                let position = written.events.last().and_then(|event| event.position);
                Ok((Imported::New(Arc::new(written.state)), written.events, position))
            }
            // Somebody else imported it in the same moment.
            Err(Failure::Conflict) => {
                let loaded = Box::pin(self.load_key(id)).await?.ok_or_else(Error::internal)?;
                let taken = self.taken(caller, place, Arc::new(loaded.state))?;
                Ok((taken, Vec::new(), Some(loaded.position)))
            }
            Err(Failure::Other(error)) => Err(error),
        }
    }

    /// Writes down why items were refused, each reason once: a call that guesses secrets leaves a trace.
    async fn record_refused_items(&self, caller: &Caller, items: &[Imported]) -> Result<()> {
        let codes: HashSet<Code> = items
            .iter()
            .filter_map(|item| match item {
                Imported::Failed(error) => Some(error.code),
                Imported::New(_) | Imported::Exists(_) => None,
            })
            .collect();
        for code in Code::ALL.into_iter().filter(|code| codes.contains(code)) {
            if is_refusal(code) {
                self.record_refusal(caller, COMMAND, None, code).await?;
            }
        }
        Ok(())
    }
}
