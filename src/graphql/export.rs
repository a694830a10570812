//! Addresses that hand out exports of events.

use std::str::FromStr;

use async_graphql::{Context, Enum, ID, InputObject, SimpleObject};
use keyledger_schema::id::Error as IdError;

use super::input::{self, EventFilter};
use super::query::asked;
use super::scalar::{DateTime, Long, Outcome};
use crate::decisions::limits;
use crate::error::{Error, Result};
use crate::export::Format;
use crate::service::exports::events::{self, ActorId, EventsAsked};

/// The form of an export of events.
#[derive(Enum, Clone, Copy, PartialEq, Eq, Debug)]
#[graphql(name = "EventExportFormat")]
pub(crate) enum ExportFormat {
    /// A JSON object a line: the canonical one.
    Jsonl,
    /// Comma-separated values (RFC 4180).
    Csv,
    /// Open Cybersecurity Schema Framework 1.8, a JSON object a line.
    Ocsf,
    /// Common Event Format.
    Cef,
    /// CloudEvents 1.0, a JSON object a line.
    Cloudevents,
    /// Apache Parquet.
    Parquet,
}

impl From<ExportFormat> for Format {
    fn from(format: ExportFormat) -> Self {
        match format {
            ExportFormat::Jsonl => Self::Jsonl,
            ExportFormat::Csv => Self::Csv,
            ExportFormat::Ocsf => Self::Ocsf,
            ExportFormat::Cef => Self::Cef,
            ExportFormat::Cloudevents => Self::CloudEvents,
            ExportFormat::Parquet => Self::Parquet,
        }
    }
}

/// Which events, in which form.
#[derive(InputObject, Clone, Debug)]
pub(crate) struct ExportUrlInput {
    /// In which form.
    format: ExportFormat,
    /// Which events.
    pub(super) filter: Option<EventFilter>,
    /// Of this workspace only.
    workspace_id: Option<ID>,
    /// With this outcome only.
    outcome: Option<Outcome>,
    /// Only events after this log index: that of the last event of an earlier export.
    after: Option<Long>,
    /// With the stored bytes of each event.
    #[graphql(default)]
    raw: bool,
}

/// An address that needs no key for a few minutes.
#[derive(SimpleObject)]
pub(crate) struct ExportUrl {
    /// Path and query, to be resolved against the address at which you reach the server. Whoever has it can use it:
    /// keep it out of logs.
    url: String,
    /// From then on it is no longer good. It also ends with the secret it was asked with.
    expires_at: DateTime,
}

fn id<T: FromStr<Err = IdError>>(field: &'static str, text: Option<&ID>) -> Result<Option<T>> {
    text.map(|text| input::id(field, text)).transpose()
}

fn types(names: Option<&[String]>) -> Result<Vec<&'static str>> {
    const FIELD: &str = "input.filter.types";
    let names = names.unwrap_or_default();
    limits::at_most(FIELD, "types", names.len(), keyledger_schema::Event::TYPES.len())?;
    let mut types = Vec::new();
    for name in names {
        types.append(&mut events::types(name).map_err(|message| Error::invalid(FIELD, message))?);
    }
    types.sort_unstable();
    types.dedup();
    Ok(types)
}

/// An address for what the caller may have now.
pub(super) async fn url(context: &Context<'_>, input: ExportUrlInput) -> Result<ExportUrl> {
    let (service, caller) = asked(context)?;
    let filter = input.filter.unwrap_or_default();
    let types = types(filter.types.as_deref())?;
    let actor = filter.actor_id.as_ref().map(|id| ActorId::parse("input.filter.actorId", id)).transpose()?;
    let asked = EventsAsked {
        organization: id("input.filter.organizationId", filter.organization_id.as_ref())?,
        workspace: id("input.workspaceId", input.workspace_id.as_ref())?,
        key: id("input.filter.keyId", filter.key_id.as_ref())?,
        identity: id("input.filter.identityId", filter.identity_id.as_ref())?,
        types,
        actor,
        outcome: input.outcome.map(Into::into),
        from: filter.from.map(|at| at.0),
        to: filter.to.map(|at| at.0),
        after: input.after.map(|after| after.0),
        raw: input.raw,
    };
    let link = service.export_link(caller, asked, input.format.into()).await.map_err(of_input)?;
    Ok(ExportUrl { url: link.url, expires_at: DateTime(link.expires_at) })
}

/// An error names the field as it is called here.
fn of_input(mut error: Error) -> Error {
    let field = match error.field.as_deref() {
        Some("workspaceId") => Some("input.workspaceId"),
        Some("organizationId") => Some("input.filter.organizationId"),
        Some("keyId") => Some("input.filter.keyId"),
        Some("identityId") => Some("input.filter.identityId"),
        _ => None,
    };
    if let Some(field) = field {
        error.field = Some(field.into());
    }
    error
}
