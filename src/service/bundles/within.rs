//! Which data keys a bundle discloses: those of its own scope alone. A data key opens all that was ever sealed with
//! it, also what stands in other bundles, so that of an organization is for bundles of the organization only, and
//! those of nodes, of the log and of whoever acted from outside are for none.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use keyledger_schema::sealing::{Held, Unreadable};
use keyledger_schema::{DataKeys, Subject};

use super::super::Service;
use super::super::keys::query_failed;
use crate::audit::bundle::Scope;
use crate::error;
use crate::vault::Vault;

/// Data keys of the subjects that are let through.
pub(super) struct Within {
    vault: Arc<Vault>,
    allowed: Mutex<HashSet<Subject>>,
}

impl Within {
    pub(super) fn new(vault: Arc<Vault>) -> Self {
        Self { vault, allowed: Mutex::default() }
    }

    pub(super) fn allow(&self, subject: Subject) {
        self.allowed.lock().unwrap_or_else(PoisonError::into_inner).insert(subject);
    }
}

impl DataKeys for Within {
    fn data_key(&self, subject: Subject) -> Result<Held, Unreadable> {
        let allowed = self.allowed.lock().unwrap_or_else(PoisonError::into_inner).contains(&subject);
        if allowed { self.vault.data_key(subject) } else { Ok(Held::Absent) }
    }
}

impl Service {
    /// Whether a bundle of a scope may disclose a subject's data key.
    pub(super) async fn is_disclosed(&self, scope: &Scope, subject: Subject) -> error::Result<bool> {
        Ok(match (*scope, subject) {
            (Scope::Key { key_id, .. }, Subject::Key(key)) => key == key_id,
            (Scope::Workspace { workspace_id, .. }, Subject::Workspace(workspace)) => {
                workspace == workspace_id
            }
            (Scope::Workspace { workspace_id, .. }, Subject::Key(key)) => {
                let row = self.read_model.key(key).await.map_err(|error| query_failed(&error))?;
                row.is_some_and(|row| row.state.workspace == workspace_id)
            }
            (Scope::Organization { organization_id }, subject) => match subject {
                Subject::Organization(organization) => organization == organization_id,
                Subject::Workspace(workspace) => self
                    .tenants
                    .workspace(workspace)
                    .is_some_and(|known| known.organization == organization_id),
                Subject::Key(key) => {
                    let row = self.read_model.key(key).await.map_err(|error| query_failed(&error))?;
                    row.is_some_and(|row| row.state.organization == organization_id)
                }
                Subject::Identity(identity) => {
                    let known =
                        self.read_model.identity(identity).await.map_err(|error| query_failed(&error))?;
                    known.is_some_and(|known| known.organization == organization_id)
                }
                Subject::Node(_) | Subject::Log(_) => false,
            },
            _ => false,
        })
    }
}
