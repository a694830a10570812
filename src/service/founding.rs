//! Organizations and workspaces come into being, with their first key.

use keyledger_schema::codec::Outcome;
use keyledger_schema::event::{
    Event, Hex32, OrganizationBootstrapped, OrganizationCreated, WorkspaceCreated,
};
use keyledger_schema::grant::{GrantTarget, Place, Right};
use keyledger_schema::{Actor, Environment, Grant, GrantRole, Metadata, OrganizationId, Stream, WorkspaceId};

use keyledger_projections::{KeyStatus, WorkspaceState};

use super::writer::{Failure, StreamHead};
use super::{Context, NewKey, Service, Written};
use crate::caller::Caller;
use crate::decisions::slug;
use crate::error::{Code, Error, Result};
use crate::readmodel::{KeyQuery, Window};
use crate::secret::{DEFAULT_PREFIX, Secret};

/// The first signing key of an organization.
const FIRST_GENERATION: u32 = 1;
/// The workspace that a new organization has.
const FIRST_WORKSPACE: &str = "default";

/// A new tenant. The root key is shown once.
#[derive(Debug)]
pub struct Founded {
    /// The organization.
    pub organization: OrganizationId,
    /// Its first workspace.
    pub workspace: WorkspaceId,
    /// The secret of its first administrator.
    pub root_key: Secret,
}

impl Service {
    /// Whether there is an organization that somebody can use.
    pub async fn is_founded(&self) -> Result<bool> {
        for organization in self.tenants.organizations() {
            if self.has_keys(organization.id).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn has_keys(&self, organization: OrganizationId) -> Result<bool> {
        let query = KeyQuery {
            statuses: KeyStatus::ALL.to_vec(),
            window: Window::first(1),
            ..KeyQuery::new(organization, self.now())
        };
        let page = self.read_model.keys(query).await.map_err(|error| super::keys::query_failed(&error))?;
        Ok(!page.items.is_empty())
    }

    /// Creates an organization, bootstraps it, and gives it a workspace and a root key. What a founding
    /// that was killed in the middle left is taken up, as long as it has no key yet.
    pub async fn found(&self, name: Box<str>) -> Result<Founded> {
        let context = Context { actor: Actor::operator(), ..self.own_context() };
        let organization = self.unused_organization(&context, name).await?;
        let place = |workspace| Place { organization, workspace: Some(workspace) };
        let workspace = if let Some(workspace) = self.tenants.workspaces(organization).first() {
            workspace.id
        } else {
            let id = WorkspaceId::from_uuid(self.edge.uuid());
            self.open_workspace(&context, place(id), FIRST_WORKSPACE.into()).await?.state.id
        };
        let root = NewKey {
            workspace: Some(workspace),
            name: "root".into(),
            environment: Environment::Production,
            prefix: DEFAULT_PREFIX.into(),
            scopes: Vec::new(),
            grants: vec![Grant {
                role: GrantRole::OrganizationAdministrator,
                on: GrantTarget::Organization(organization),
            }],
            allowed_cidrs: Vec::new(),
            expires_at: None,
            metadata: Metadata::default(),
            idempotency_key: None,
        };
        let (_, secret) = self.issue(&context, place(workspace), root, None).await?;
        Ok(Founded { organization, workspace, root_key: secret.ok_or_else(Error::internal)? })
    }

    /// A bootstrapped organization of this name that has no key.
    async fn unused_organization(&self, context: &Context, name: Box<str>) -> Result<OrganizationId> {
        let slug = slug::of(&name);
        if let Some(known) = self.tenants.organizations().iter().find(|known| *known.slug == *slug) {
            if known.name != name || self.has_keys(known.id).await? {
                let message = format!("there is an organization called {slug} already; choose another name");
                let field = Some("organization".into());
                return Err(Error { code: Code::Conflict, message: message.into(), field });
            }
            return Ok(known.id);
        }
        let organization = OrganizationId::from_uuid(self.edge.uuid());
        let public_key = self.master.signing_key(organization, FIRST_GENERATION).verifying_key();
        let events = vec![
            Event::OrganizationCreated(OrganizationCreated { name, slug: slug.into() }),
            Event::OrganizationBootstrapped(OrganizationBootstrapped {
                signing_key_generation: FIRST_GENERATION,
                signing_public_key: Hex32(public_key.to_bytes()),
            }),
        ];
        let stream = Stream::Organization(organization);
        let place = Some(Place { organization, workspace: None });
        let written = self
            .append(context, stream, StreamHead::default(), place, events, Outcome::Success)
            .await
            .map_err(unexpected)?;
        self.applied(&written).await?;
        Ok(organization)
    }

    /// Adds a workspace to the caller's organization.
    pub async fn create_workspace(&self, caller: &Caller, name: Box<str>) -> Result<Written<WorkspaceState>> {
        let organization = caller.organization;
        self.require(caller, Right::ManageOrganization, Place { organization, workspace: None })?;
        let workspace = WorkspaceId::from_uuid(self.edge.uuid());
        self.open_workspace(&self.context(caller), Place { organization, workspace: Some(workspace) }, name)
            .await
    }

    async fn open_workspace(
        &self,
        context: &Context,
        place: Place,
        name: Box<str>,
    ) -> Result<Written<WorkspaceState>> {
        let id = place.workspace.ok_or_else(Error::internal)?;
        let event = Event::WorkspaceCreated(WorkspaceCreated { organization: place.organization, name });
        let stream = Stream::Workspace(id);
        let events = self
            .append(context, stream, StreamHead::default(), Some(place), vec![event], Outcome::Success)
            .await
            .map_err(unexpected)?;
        self.applied(&events).await?;
        let state = events.iter().fold(None, |state, event| WorkspaceState::fold(state, &event.envelope));
        Ok(Written { state: state.ok_or_else(Error::internal)?, events, warnings: Vec::new() })
    }
}

/// A new stream cannot be taken: its id was made a moment ago.
fn unexpected(failure: Failure) -> Error {
    match failure {
        Failure::Conflict => Error::internal(),
        Failure::Other(error) => error,
    }
}
