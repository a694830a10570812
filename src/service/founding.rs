//! Organizations and workspaces come into being, with their first key.

use keyledger_schema::codec::Outcome;
use keyledger_schema::event::{
    Event, Hex32, OrganizationBootstrapped, OrganizationCreated, WorkspaceCreated,
};
use keyledger_schema::grant::{GrantTarget, Place, Right};
use keyledger_schema::{
    Actor, Environment, Grant, GrantRole, KeyId, Metadata, OrganizationId, Stream, WorkspaceId,
};

use keyledger_projections::{KeyStatus, OrganizationState, WorkspaceState};

use super::writer::Failure;
use super::{Context, NewKey, Service, Written};
use crate::caller::Caller;
use crate::decisions::key::Command;
use crate::decisions::slug;
use crate::error::{Code, Error, Result};
use crate::readmodel::{KeyQuery, Window};
use crate::secret::{DEFAULT_PREFIX, Secret};
use crate::stream_head::StreamHead;

/// The first signing key of an organization.
const FIRST_GENERATION: u32 = 1;
/// The workspace that a new organization has.
const FIRST_WORKSPACE: &str = "default";

/// What an organization's first key is called.
const ROOT: &str = "root";

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
        let place = |workspace| Place { organization, workspace: Some(workspace) };
        let workspace = if let Some(workspace) = self.tenants.workspaces(organization).first() {
            workspace.id
        } else {
            let id = WorkspaceId::from_uuid(self.edge.uuid());
            self.open_workspace(&context, place(id), FIRST_WORKSPACE.into()).await?.state.id
        };
        if let Some(root) = unclaimed {
            let root_key = self.replace_secret(&context, root).await?;
            return Ok(Founded { organization, workspace, root_key, root });
        }
        let root = NewKey {
            workspace: Some(workspace),
            name: ROOT.into(),
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
        let (written, secret) = self.issue(&context, place(workspace), root, None).await?;
        let root_key = secret.ok_or_else(Error::internal)?;
        Ok(Founded { organization, workspace, root_key, root: written.state.id })
    }

    /// The root key was shown to whoever founded the organization. Until this is in the log, founding it
    /// again shows a new one.
    pub async fn root_key_shown(&self, founded: &Founded) -> Result<()> {
        let context = Context { actor: Actor::operator(), ..self.own_context() };
        let root = self.load(founded.root).await?.ok_or_else(Error::internal)?;
        let written = self.decide_and_append(&context, root, Command::Acknowledge).await?;
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
        if let Some(known) = self.tenants.organizations().iter().find(|known| same(known)) {
            let unclaimed = match self.standing(known.id).await? {
                Standing::Keyless if known.name == name => Some(None),
                Standing::Unclaimed(root) if known.name == name => Some(Some(root)),
                _ => None,
            };
            let Some(root) = unclaimed else {
                let message =
                    format!("there is an organization called {} already; choose another name", known.slug);
                let field = Some("organization".into());
                return Err(Error { code: Code::Conflict, message: message.into(), field });
            };
            return Ok((known.id, root));
        }
        let organization = OrganizationId::from_uuid(self.edge.uuid());
        // A name of other letters than ASCII's leaves nothing: then the end of the id stands for it.
        let slug = slug.unwrap_or_else(|| organization.to_string().split_off(20));
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
        Ok((organization, None))
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
