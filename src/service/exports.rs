//! Exports of usage, of the verification log and of events.
//!
//! Invariants: the event that tells of an export is durable before its first row is handed out. Rows are read a few
//! thousand at a time, each time in a transaction of its own that ends before they are handed out, so a slow reader
//! holds nothing but its own rows.

pub mod events;
pub mod links;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use keyledger_schema::codec::Outcome;
use keyledger_schema::event::{AuditExported, Event, ExportFormat, Exported};
use keyledger_schema::grant::Place;
use keyledger_schema::{KeyId, Means, OrganizationId, Personal, Timestamp, WorkspaceId};

use self::events::{EventsAsked, Reader};
use super::Service;
use super::analytics::{
    self, Counts, DIMENSIONS, Dimension, DimensionValue, GRANULARITIES, Incomplete, MAX_GROUPS, Sequence,
    Spelling, UsageAnswer, UsageAsked, UsageQuery, Verification, VerificationsAsked, Window,
};
use super::told::Told;
use crate::caller::Caller;
use crate::error::{Error, Result};
use crate::export::{Batch, Cell, Column, Encoder, Failed, Format, Kind, Open, Row};
use crate::readmodel::MAX_BULK_PAGE;
use crate::readmodel::analytics::{UsageError, VerificationQuery};

/// The most exports of one organization at once.
pub const MAX_RUNNING: usize = 8;
/// The most buckets of an export of usage.
pub const MAX_BUCKETS: u64 = 1_000_000;
/// Buckets that are asked for at once.
const STRETCH: u32 = 64;

/// The most of these that one key runs.
pub const MAX_OF_KEY: usize = 4;

/// Who runs the exports of each organization, bundles and whole reports among them.
#[derive(Clone, Default)]
pub(super) struct Running(Arc<Mutex<HashMap<OrganizationId, Vec<KeyId>>>>);

impl Running {
    pub(super) fn begin(&self, organization: OrganizationId, key: KeyId) -> Result<Turn> {
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let keys = running.entry(organization).or_default();
        if keys.len() >= MAX_RUNNING {
            let message = "the organization has 8 exports, bundles and reports running, which is the most; wait until one has ended";
            return Err(Error::unavailable(message));
        }
        if keys.iter().filter(|known| **known == key).count() >= MAX_OF_KEY {
            let message = "your key has 4 exports, bundles and reports running, which is the most; wait until one has ended";
            return Err(Error::unavailable(message));
        }
        keys.push(key);
        Ok(Turn { running: self.clone(), organization, key })
    }
}

/// One of an organization's exports; it ends when this is dropped.
pub(super) struct Turn {
    running: Running,
    organization: OrganizationId,
    key: KeyId,
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut running = self.running.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(keys) = running.get_mut(&self.organization) {
            if let Some(at) = keys.iter().position(|key| *key == self.key) {
                keys.swap_remove(at);
            }
            if keys.is_empty() {
                running.remove(&self.organization);
            }
        }
    }
}

/// What is to be exported.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Wanted {
    /// Rows of a bucket and a group.
    Usage(Box<UsageAsked>),
    /// Records of the verification log, oldest first; those after a cursor.
    Verifications {
        /// Which ones.
        asked: Box<VerificationsAsked>,
        /// Where an earlier export ended.
        after: Option<String>,
    },
    /// Events in log order.
    Events(Box<EventsAsked>),
}

/// An export that has begun.
pub struct Export {
    service: Arc<Service>,
    content: Content,
    rows: Rows,
    /// Read before it began, since what cannot be read is refused.
    first: Option<Batch>,
    _turn: Turn,
}

/// What it has.
enum Content {
    Table(Vec<Column>),
    /// Events, with their stored bytes or without.
    Events {
        raw: bool,
    },
}

enum Rows {
    Usage { query: UsageQuery, next: Timestamp, end: Timestamp },
    Verifications { query: VerificationQuery },
    Events(Reader),
    Done,
}

/// The columns of a record of the verification log.
const VERIFICATION: [Column; 19] = [
    Column::new("cursor", Kind::Text),
    Column::new("eventId", Kind::Text),
    Column::new("place", Kind::Count),
    Column::new("firstAt", Kind::Moment),
    Column::new("lastAt", Kind::Moment),
    Column::new("count", Kind::Count),
    Column::optional("keyId", Kind::Text),
    Column::optional("secretVersion", Kind::Count),
    Column::optional("means", Kind::Text),
    Column::optional("workspaceId", Kind::Text),
    Column::new("code", Kind::Text),
    Column::optional("action", Kind::Text),
    Column::optional("resource", Kind::Text),
    Column::new("tags", Kind::Texts),
    Column::optional("ip", Kind::Text),
    Column::optional("by", Kind::Text),
    Column::new("cost", Kind::Count),
    Column::new("credits", Kind::Count),
    Column::new("organizationId", Kind::Text),
];

fn verification(cursor: String, organization: OrganizationId, one: &Verification) -> Row {
    vec![
        Cell::Text(cursor),
        Cell::Text(one.event.to_string()),
        Cell::Count(one.place.into()),
        Cell::Moment(one.first_at),
        Cell::Moment(one.last_at),
        Cell::Count(one.count),
        Cell::text(one.key),
        one.secret_version.map_or(Cell::Nothing, |version| Cell::Count(version.into())),
        Cell::text(one.means.map(Means::as_str)),
        Cell::text(one.workspace),
        Cell::Text(one.code.to_string()),
        Cell::text(one.action),
        Cell::text(one.resource.as_deref()),
        Cell::Texts(one.tags.iter().map(ToString::to_string).collect()),
        Cell::text(one.ip),
        Cell::text(one.by),
        Cell::Count(one.cost.into()),
        Cell::Count(one.credits),
        Cell::Text(organization.to_string()),
    ]
}

const fn column_of(dimension: Dimension) -> &'static str {
    match dimension {
        Dimension::Organization => "organizationId",
        Dimension::Workspace => "workspaceId",
        Dimension::Environment => "environment",
        Dimension::Key => "keyId",
        Dimension::Identity => "identityId",
        Dimension::Role => "roleId",
        Dimension::Outcome => "outcome",
        Dimension::Action => "action",
        Dimension::Means => "means",
        Dimension::Tag => "tag",
        Dimension::Address => "address",
    }
}

/// A value as text; none where there is none.
pub fn text_of(value: &DimensionValue) -> Option<String> {
    match value {
        DimensionValue::Organization(id) => Some(id.to_string()),
        DimensionValue::Workspace(id) => id.map(|id| id.to_string()),
        DimensionValue::Environment(environment) => environment.map(|one| one.to_string()),
        DimensionValue::Key(id) => id.map(|id| id.to_string()),
        DimensionValue::Identity(id) => id.map(|id| id.to_string()),
        DimensionValue::Role(id) => id.map(|id| id.to_string()),
        DimensionValue::Outcome(code) => Some(code.to_string()),
        DimensionValue::Action(action) => action.map(|action| action.to_string()),
        DimensionValue::Means(means) => means.map(|means| means.as_str().to_owned()),
        DimensionValue::Tag(tag) => tag.as_deref().map(str::to_owned),
        DimensionValue::Address(ip) => ip.map(|ip| ip.to_string()),
    }
}

fn usage_columns(group_by: &[Dimension]) -> Vec<Column> {
    let mut columns = vec![Column::new("bucket", Kind::Moment)];
    columns.extend(group_by.iter().map(|dimension| Column::optional(column_of(*dimension), Kind::Text)));
    if !group_by.is_empty() {
        columns.push(Column::new("others", Kind::Flag));
    }
    columns
        .extend(["verifications", "valid", "refused", "credits"].map(|name| Column::new(name, Kind::Count)));
    columns.push(Column::new("incomplete", Kind::Flag));
    columns
}

/// One bucket of a group, or of all others, or of the whole.
fn usage_row(bucket: Timestamp, group: Option<(Vec<Cell>, bool)>, counts: Counts, incomplete: bool) -> Row {
    let mut row = vec![Cell::Moment(bucket)];
    if let Some((mut values, others)) = group {
        row.append(&mut values);
        row.push(Cell::Flag(others));
    }
    let refused = counts.verifications.saturating_sub(counts.valid);
    row.extend([counts.verifications, counts.valid, refused, counts.credits].map(Cell::Count));
    row.push(Cell::Flag(incomplete));
    row
}

/// The rows of an answer with series. Without groups each bucket has one; of groups those that have something.
fn usage_rows(answer: &UsageAnswer, dimensions: usize) -> Vec<Row> {
    let mut rows = Vec::new();
    for (at, bucket) in answer.buckets.iter().enumerate() {
        let end = answer.buckets.get(at + 1).copied().unwrap_or(answer.to);
        let overlaps = |gap: &Incomplete| gap.from < end && gap.to > *bucket;
        let incomplete = answer.incomplete.iter().any(overlaps);
        if dimensions == 0 {
            let counts = answer.series.get(at).copied().unwrap_or_default();
            rows.push(usage_row(*bucket, None, counts, incomplete));
            continue;
        }
        for group in &answer.groups {
            let counts = group.series.get(at).copied().unwrap_or_default();
            if counts != Counts::default() {
                let values = group.values.iter().map(|value| Cell::text(text_of(value))).collect();
                rows.push(usage_row(*bucket, Some((values, false)), counts, incomplete));
            }
        }
        if answer.other_groups > 0 {
            let values = vec![Cell::Nothing; dimensions];
            rows.push(usage_row(*bucket, Some((values, true)), answer.others, incomplete));
        }
    }
    rows
}

impl Export {
    /// What makes a file of it. `names` says whether a CSV file begins with the names of its columns.
    pub fn encoder(&self, format: Format, names: bool) -> std::result::Result<Encoder, Failed> {
        match &self.content {
            Content::Table(columns) => Encoder::new(format, columns, names),
            Content::Events { raw } => Encoder::of_events(format, names, *raw),
        }
    }

    /// What makes the text of events that is handed out.
    pub fn opener(&self) -> Arc<Open> {
        events::opener(&self.service)
    }

    /// Some more of it; none when there is no more.
    pub async fn next(&mut self) -> Result<Option<Batch>> {
        if let Some(first) = self.first.take() {
            return Ok(Some(first));
        }
        if let Rows::Events(reader) = &mut self.rows {
            let events = reader.next().await?;
            return Ok((!events.is_empty()).then_some(Batch::Events(events)));
        }
        Ok(self.read().await?.map(Batch::Rows))
    }

    /// What is read before it begins.
    async fn begin(&mut self) -> Result<Option<Batch>> {
        match &mut self.rows {
            Rows::Events(reader) => reader.first().await.map(Batch::Events).map(Some),
            _ => Ok(self.read().await?.map(Batch::Rows)),
        }
    }

    async fn read(&mut self) -> Result<Option<Vec<Row>>> {
        match &mut self.rows {
            Rows::Done | Rows::Events(_) => Ok(None),
            Rows::Verifications { query } => {
                let organization = query.organization;
                let page = self.service.read_model.verifications_in_bulk(query.clone()).await;
                let page = page.map_err(|error| analytics::query_failed(&error, false))?;
                // A search for something rare ends where it was when it had looked at much.
                let last = || page.items.last().map(|item| item.cursor.clone());
                let after = page.end_cursor.clone().or_else(last);
                if page.has_next && after.is_some() {
                    query.window = Window::First { count: MAX_BULK_PAGE, after };
                } else {
                    self.rows = Rows::Done;
                }
                let rows = page.items.into_iter();
                Ok(Some(rows.map(|item| verification(item.cursor, organization, &item.node)).collect()))
            }
            Rows::Usage { query, next, end } => {
                let answer = stretch(&self.service, query, *next, *end).await?;
                let rows = usage_rows(&answer, query.group_by.len());
                if answer.to >= *end || answer.to <= *next {
                    self.rows = Rows::Done;
                } else {
                    *next = answer.to;
                }
                Ok(Some(rows))
            }
        }
    }
}

/// The answer for some buckets from a moment on, with all groups of each; of one bucket with its largest ones, if
/// there are more.
async fn stretch(
    service: &Service,
    query: &mut UsageQuery,
    from: Timestamp,
    end: Timestamp,
) -> Result<UsageAnswer> {
    let length = analytics::nominal(query.granularity);
    let mut buckets = STRETCH;
    loop {
        query.from = from;
        // None is so short that it is within the first bucket, whatever the clocks do there.
        let to = if buckets == 0 { from.plus(Duration::from_micros(1)) } else { from.plus(length * buckets) };
        query.to = to.min(end);
        match service.read_model.usage(query.clone()).await {
            // Each bucket has its own largest groups, so those of several can be told only where none is left out.
            Ok(answer) if answer.other_groups > 0 && answer.buckets.len() > 1 && buckets > 0 => {}
            Err(UsageError::TooManyGroups { .. }) if buckets > 0 => {}
            answer => return answer.map_err(|error| analytics::usage_failed(&error)),
        }
        buckets /= 2;
    }
}

/// The name of a value in a list of names.
fn name_in<T: PartialEq>(names: &[(&'static str, T)], value: &T) -> Option<String> {
    names.iter().find(|(_, other)| other == value).map(|(name, _)| (*name).to_owned())
}

impl Wanted {
    /// The workspace that it is of, if it is of one.
    fn workspace(&self) -> Option<WorkspaceId> {
        match self {
            Self::Usage(asked) => asked.selection.filter.workspace,
            Self::Verifications { asked, .. } => asked.selection.filter.workspace,
            Self::Events(asked) => asked.workspace,
        }
    }

    /// What was asked for, as it stands in the trail.
    fn told(&self) -> String {
        let mut told = Told::default();
        match self {
            Self::Usage(asked) => {
                told.tell("from", Some(asked.from));
                told.tell("to", Some(asked.to));
                told.tell("granularity", name_in(&GRANULARITIES, &asked.granularity));
                told.tell("timeZone", Some(asked.zone.name()));
                told.list("groupBy", asked.group_by.iter().filter_map(|one| name_in(&DIMENSIONS, one)));
                told.selection(&asked.selection);
            }
            Self::Verifications { asked, after } => {
                told.verifications(asked);
                told.tell("after", after.as_deref());
            }
            Self::Events(asked) => asked.tell(&mut told),
        }
        told.text()
    }
}

impl Service {
    /// Begins an export: checks what is asked, reads its first rows, and writes down that it begins.
    pub async fn export(self: &Arc<Self>, caller: &Caller, wanted: Wanted, format: Format) -> Result<Export> {
        let told = wanted.told();
        let workspace = wanted.workspace();
        let (what, organization, content, rows) = match wanted {
            Wanted::Usage(asked) => {
                let buckets = analytics::buckets(asked.from, asked.to, asked.granularity);
                if buckets > MAX_BUCKETS {
                    let message = format!(
                        "an export has at most {MAX_BUCKETS} buckets, these are about {buckets}; choose a shorter \
                         time or longer buckets"
                    );
                    return Err(Error::invalid("granularity", message));
                }
                let asked = UsageAsked { series: true, group_series: true, top: MAX_GROUPS, ..*asked };
                let query = self.usage_query(caller, asked, Spelling::Rest).await?;
                let organization = query.organizations.first().copied().ok_or_else(Error::internal)?;
                let columns = usage_columns(&query.group_by);
                let (next, end) = (query.from, query.to);
                (Exported::Usage, organization, Content::Table(columns), Rows::Usage { query, next, end })
            }
            Wanted::Verifications { asked, after } => {
                // What is recorded while the export runs could keep it running for ever.
                let to = asked.to.unwrap_or_else(|| self.now());
                let window = Window::First { count: MAX_BULK_PAGE, after };
                let asked =
                    VerificationsAsked { to: Some(to), sequence: Sequence::Ascending, window, ..*asked };
                let query = self.verification_query(caller, asked, Spelling::Rest).await?;
                let organization = query.organization;
                let rows = Rows::Verifications { query };
                (Exported::Verifications, organization, Content::Table(VERIFICATION.to_vec()), rows)
            }
            Wanted::Events(asked) => {
                let (organization, entries) = self.events_query(caller, &asked).await?;
                let reader = Reader::new(Arc::clone(self), entries, &asked);
                (Exported::Events, organization, Content::Events { raw: asked.raw }, Rows::Events(reader))
            }
        };
        let turn = self.exports.begin(organization, caller.key)?;
        let service = Arc::clone(self);
        let mut export = Export { service, content, rows, first: None, _turn: turn };
        export.first = export.begin().await?;
        let event = Event::AuditExported(AuditExported {
            what,
            format: match format {
                Format::Csv => ExportFormat::Csv,
                Format::Jsonl => ExportFormat::Jsonl,
                Format::Parquet => ExportFormat::Parquet,
                Format::Ocsf => ExportFormat::Ocsf,
                Format::Cef => ExportFormat::Cef,
                Format::CloudEvents => ExportFormat::Cloudevents,
            },
            filter: Personal(told.into()),
        });
        let place = Place { organization, workspace };
        self.note(&self.context(caller), place, event, Outcome::Success).await?;
        Ok(export)
    }
}
