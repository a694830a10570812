//! Organizations and workspaces come into being, with their first key.

use keyledger_projections::{KeyStatus, OrganizationState};
use keyledger_schema::grant::{GrantTarget, Place};
use keyledger_schema::{Actor, Environment, Grant, GrantRole, KeyId, Metadata, OrganizationId, WorkspaceId};

use super::{Context, NewKey, Service};
use crate::decisions::key::Command;
use crate::decisions::slug;
use crate::error::{Code, Error, Result};
use crate::readmodel::{KeyQuery, Window};
use crate::secret::{DEFAULT_PREFIX, Secret};

/// The workspace that a new organization has.
const FIRST_WORKSPACE: &str = "default";

/// What an organization's first key is called.
const ROOT: &str = "root";
/// What the key is called that brings an organization back.
const RECOVERY: &str = "recovery";

/// A new tenant. The root key is shown once; say so with [`Service::root_key_shown`].
#[derive(Debug)]
pub struct Founded {
    /// The organization.
    pub organization: OrganizationId,
    /// Its first workspace.
    pub workspace: WorkspaceId,
    /// The secret of its first administrator.
    pub root_key: Secret,
    root: KeyId,
}

/// How far an organization's founding went.
enum Standing {
    /// It has no key.
    Keyless,
    /// It has its root key, and nobody was told its secret: whoever founded it was killed before.
    Unclaimed(KeyId),
    /// Somebody can use it.
    Founded,
}

impl Service {
    /// Whether there is an organization that somebody can use.
    pub async fn is_founded(&self) -> Result<bool> {
        for organization in self.tenants.organizations() {
            if matches!(self.standing(organization.id).await?, Standing::Founded) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn standing(&self, organization: OrganizationId) -> Result<Standing> {
        let query = KeyQuery {
            statuses: KeyStatus::ALL.to_vec(),
            window: Window::first(2),
            ..KeyQuery::new(organization, self.now())
        };
        let page = self.read_model.keys(query).await.map_err(|error| super::keys::query_failed(&error))?;
        let [only] = &page.items[..] else {
            return Ok(if page.items.is_empty() { Standing::Keyless } else { Standing::Founded });
        };
        let key = &only.node.state;
        let untouched = key.status(self.now()) == KeyStatus::Active && only.node.usage.is_none();
        let unseen = key.created_by == Actor::operator() && key.secret.acknowledged_at.is_none();
        Ok(if untouched && unseen { Standing::Unclaimed(key.id) } else { Standing::Founded })
    }

    /// Creates an organization, bootstraps it, and gives it a workspace and a root key. What a founding
    /// that was killed in the middle left is taken up, as long as nobody was shown its root key.
    pub async fn found(&self, name: Box<str>) -> Result<Founded> {
        let context = Context { actor: Actor::operator(), ..self.own_context() };
        let (organization, unclaimed) = self.unused_organization(&context, name).await?;
        let workspace = if let Some(workspace) = self.tenants.workspaces(organization).first() {
            workspace.id
        } else {
            self.open_workspace(&context, organization, FIRST_WORKSPACE.into()).await?.state.id
        };
        if let Some(root) = unclaimed {
            let root_key = self.replace_secret(&context, root).await?;
            return Ok(Founded { organization, workspace, root_key, root });
        }
        self.administrator(&context, organization, workspace, ROOT).await
    }

    /// Gives an organization a new administrator's key, for when nobody can manage it any more: its
    /// administrators expired, or their secrets are lost. Whoever has the machine may do so, whatever the
    /// policy says, and the trail tells.
    pub async fn recover(&self, organization: &str) -> Result<Founded> {
        let context = Context { actor: Actor::operator(), ..self.own_context() };
        let meant = |known: &OrganizationState| {
            known.id.to_string() == organization
                || &*known.slug == organization
                || &*known.name == organization
        };
        let all = self.tenants.organizations();
        let mut found = all.iter().filter(|known| meant(known));
        let (Some(found), None) = (found.next(), found.next()) else {
            let message =
                "no organization has this id, slug or name, or several have it; give the id, such as org_01…";
            return Err(Error::new(Code::NotFound, message).about("organization"));
        };
        let id = found.id;
        if !found.is_bootstrapped() {
            self.bootstrap(&context, id).await?;
        }
        let workspace = match self.tenants.workspaces(id).first() {
            Some(workspace) => workspace.id,
            None => self.open_workspace(&context, id, FIRST_WORKSPACE.into()).await?.state.id,
        };
        self.administrator(&context, id, workspace, RECOVERY).await
    }

    /// Issues a key that may do everything in its organization.
    async fn administrator(
        &self,
        context: &Context,
        organization: OrganizationId,
        workspace: WorkspaceId,
        name: &str,
    ) -> Result<Founded> {
        let grant =
            Grant { role: GrantRole::OrganizationAdministrator, on: GrantTarget::Organization(organization) };
        let key = NewKey {
            workspace: Some(workspace),
            name: name.into(),
            environment: Environment::Production,
            prefix: DEFAULT_PREFIX.into(),
            scopes: Vec::new(),
            roles: Vec::new(),
            grants: vec![grant],
            allowed_cidrs: Vec::new(),
            rate_limits: Vec::new(),
            identity: None,
            credits: None,
            expires_at: None,
            metadata: Metadata::default(),
            idempotency_key: None,
        };
        let place = Place { organization, workspace: Some(workspace) };
        let (written, secret) = self.issue(context, place, key, None).await?;
        let root_key = secret.ok_or_else(Error::internal)?;
        Ok(Founded { organization, workspace, root_key, root: written.state.id })
    }

    /// The root key was shown to whoever founded the organization. Until this is in the log, founding it
    /// again shows a new one.
    pub async fn root_key_shown(&self, founded: &Founded) -> Result<()> {
        let context = Context { actor: Actor::operator(), ..self.own_context() };
        let root = self.load_key(founded.root).await?.ok_or_else(Error::internal)?;
        let written = self.command_key(&context, root, Command::Acknowledge, None).await?;
        self.applied(&written.events).await
    }

    /// A bootstrapped organization of this name that nobody can use, with its root key if it has one.
    async fn unused_organization(
        &self,
        context: &Context,
        name: Box<str>,
    ) -> Result<(OrganizationId, Option<KeyId>)> {
        let slug = slug::of(&name);
        let same = |known: &OrganizationState| known.name == name || Some(&*known.slug) == slug.as_deref();
        if let Some(known) =
            self.tenants.organizations().iter().find(|known| known.parent.is_none() && same(known))
        {
            let unclaimed = match self.standing(known.id).await? {
                Standing::Keyless if known.name == name => Some(None),
                Standing::Unclaimed(root) if known.name == name => Some(Some(root)),
                _ => None,
            };
            let Some(root) = unclaimed else {
                let message =
                    format!("there is an organization called {} already; choose another name", known.slug);
                return Err(Error::new(Code::Conflict, message).about("organization"));
            };
            if !known.is_bootstrapped() {
                self.bootstrap(context, known.id).await?;
            }
            return Ok((known.id, root));
        }
        let organization = self.establish(context, name, None).await?.state.id;
        self.bootstrap(context, organization).await?;
        Ok((organization, None))
    }
}
