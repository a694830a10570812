//! Whoever is told of states as they change.

use keyledger_projections::{IdentityState, KeyState, OrganizationState, PoolId, Tally, WorkspaceState};

/// Is told of every state, in log order, before the position of its event counts as applied.
///
/// While the read model is opened it is first told of every stored state, with no state before it: organizations, in
/// the order in which they came into the log, then workspaces and identities, then keys. **Of keys it is told from
/// several threads at once**, in no particular order, each thing once. What the log
/// has beyond follows from one thread, in log order. When the tables turn out to be damaged while they
/// are loaded, everything is told again from the first event on: a key that is told with no state before
/// it replaces whatever was known of it.
///
/// A call delays the answers to mutations, so it must be quick and must not wait for the read model.
pub trait Observer: Send + Sync + 'static {
    /// A key was issued or changed.
    fn key(&self, before: Option<&KeyState>, after: &KeyState);
    /// An organization was created or changed.
    fn organization(&self, state: &OrganizationState);
    /// A workspace was created or changed.
    fn workspace(&self, state: &WorkspaceState);
    /// An identity was created or changed.
    fn identity(&self, _before: Option<&IdentityState>, _after: &IdentityState) {}
    /// What recorded verifications spent of some credits. Told while the read model is opened, after all
    /// states, of every pool that was ever spent from, with all that the log has; not after that, since
    /// whoever spends knows it before the log does.
    fn spent(&self, _pool: PoolId, _tally: &Tally) {}
    /// Nothing will be told any more, since the projection has stopped for good: what was told last may
    /// be out of date from now on.
    fn stopped(&self) {}
}

/// For a read model that nobody watches.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoObserver;

impl Observer for NoObserver {
    fn key(&self, _: Option<&KeyState>, _: &KeyState) {}
    fn organization(&self, _: &OrganizationState) {}
    fn workspace(&self, _: &WorkspaceState) {}
}
