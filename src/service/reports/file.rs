//! A whole report, as CSV, as JSON Lines, or as a page for people, piece by piece.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use keyledger_schema::codec::Outcome;
use keyledger_schema::event::{AuditExported, Event, ExportFormat, Exported};
use keyledger_schema::{LogId, Personal, Timestamp};

use super::columns::Columns;
use super::{Asked, Kind, Scope};
use crate::caller::Caller;
use crate::error::{Error, Result};
use crate::export::html::{self, Front, Line};
use crate::export::{Encoder, Format, Row};
use crate::readmodel::{Page, Window};
use crate::service::Service;
use crate::service::exports::Turn;

/// Rows that are read at once.
const STRETCH: usize = 500;

/// In which form a report is handed out.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Form {
    /// RFC 4180.
    Csv,
    /// A JSON object a line.
    Jsonl,
    /// A page for people.
    Html,
}

impl Form {
    /// Every form.
    pub const ALL: [Self; 3] = [Self::Csv, Self::Jsonl, Self::Html];

    /// As it is asked for, and as names of files end.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Jsonl => "jsonl",
            Self::Html => "html",
        }
    }

    /// The media type.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Csv => Format::Csv.media_type(),
            Self::Jsonl => Format::Jsonl.media_type(),
            Self::Html => "text/html; charset=utf-8",
        }
    }

    const fn stored(self) -> ExportFormat {
        match self {
            Self::Csv => ExportFormat::Csv,
            Self::Jsonl => ExportFormat::Jsonl,
            Self::Html => ExportFormat::Html,
        }
    }
}

enum Writer {
    /// None when it has ended.
    Table(Option<Box<Encoder>>),
    Page,
}

/// A report that has begun.
pub struct ReportFile {
    service: Arc<Service>,
    kind: Kind,
    scope: Scope,
    asked: Asked,
    period: Option<(Timestamp, Timestamp)>,
    unused_days: u32,
    writer: Writer,
    /// What was read before it began, since what cannot be read is refused.
    first: Option<Vec<u8>>,
    after: Option<String>,
    rows: u64,
    totals: BTreeMap<String, u64>,
    /// Whether every row was read.
    read: bool,
    ended: bool,
    _turn: Turn,
}

impl Service {
    /// Begins a report: checks what is asked, reads its first rows, and writes down that it is handed out.
    pub async fn report(
        self: &Arc<Self>,
        caller: &Caller,
        kind: Kind,
        asked: Asked,
        form: Form,
    ) -> Result<ReportFile> {
        asked.check(kind)?;
        let scope = self.scope_of_report(caller, &asked)?;
        let period = (kind == Kind::KeyActivity).then(|| asked.period(scope.now)).transpose()?;
        let unused_days = asked.unused_days()?;
        let turn = self.exports.begin(scope.organization, caller.key)?;
        let place = scope.place();
        let filter = told(kind, &asked, period, unused_days);
        let columns = Columns::of(kind);
        let (writer, head) = match form {
            Form::Csv | Form::Jsonl => {
                let format = if form == Form::Csv { Format::Csv } else { Format::Jsonl };
                let encoder = Encoder::new(format, columns.table, true).map_err(|failed| broken(&failed))?;
                (Writer::Table(Some(Box::new(encoder))), Vec::new())
            }
            Form::Html => {
                let front = self.front(caller, kind, &scope, period, unused_days, columns.page).await?;
                (Writer::Page, html::begin(&front).into_bytes())
            }
        };
        let mut file = ReportFile {
            service: Arc::clone(self),
            kind,
            scope,
            asked,
            period,
            unused_days,
            writer,
            first: None,
            after: None,
            rows: 0,
            totals: BTreeMap::new(),
            read: false,
            ended: false,
            _turn: turn,
        };
        let mut first = head;
        first.append(&mut file.read().await?);
        file.first = Some(first);
        let event = Event::AuditExported(AuditExported {
            what: match kind {
                Kind::KeyActivity => Exported::KeyActivity,
                Kind::AccessReview => Exported::AccessReview,
                Kind::PolicyViolations => Exported::PolicyViolations,
            },
            format: form.stored(),
            filter: Personal(filter.into()),
        });
        self.note(&self.context(caller), place, event, Outcome::Success).await?;
        Ok(file)
    }

    /// What stands above the table of a page.
    async fn front(
        &self,
        caller: &Caller,
        kind: Kind,
        scope: &Scope,
        period: Option<(Timestamp, Timestamp)>,
        unused_days: u32,
        columns: &'static [(&'static str, u8)],
    ) -> Result<Front> {
        let organization = self.tenants.organization(scope.organization).ok_or_else(Error::internal)?;
        let mut facts =
            vec![("Organization", vec![Line::text(&*organization.name), Line::id(organization.id)])];
        if let Some(seen) = &scope.workspaces {
            let known = seen.iter().filter_map(|id| self.tenants.workspace(*id));
            let lines = known.flat_map(|one| [Line::text(&*one.name), Line::id(one.id)]);
            facts.push(("Workspaces", lines.collect()));
        } else {
            facts.push(("Workspaces", vec![Line::text("all")]));
        }
        if let Some((from, to)) = period {
            facts.push(("Period", vec![Line::text(format!("from {from} until before {to}"))]));
        } else {
            facts.push(("As of", vec![Line::text(scope.now)]));
        }
        facts.push(("Generated", vec![Line::text(scope.now)]));
        facts.push(("Generated by", vec![Line::text(&caller.email), Line::id(caller.key)]));
        facts.push(("Source", self.source_of_report().await?));
        let mut notes = Columns::of(kind).notes.iter().map(ToString::to_string).collect::<Vec<_>>();
        if kind == Kind::AccessReview {
            notes.push(format!("Unused means: not used for {unused_days} days or longer."));
            if let Some(through) = self.read_model.usage_through() {
                notes.push(format!("Uses are counted up to {through}."));
            }
        }
        notes.push("Times are UTC by the server's clock. Names, comments and user agents are what their authors wrote.".into());
        Ok(Front { title: kind.title(), facts, notes, columns })
    }

    /// Which log a report was made from, and what was last signed of it.
    async fn source_of_report(&self) -> Result<Vec<Line>> {
        let events = Line::text(format!("{} events of the log", self.read_model.entries_count()));
        if self.tree().is_err() {
            return Ok(vec![Line::id(LogId::from_uuid(self.store.log_id())), events]);
        }
        let checkpoint = self.newest_checkpoint().await?.checkpoint.clone();
        Ok(vec![
            events,
            Line::text(format!(
                "newest signed checkpoint: {} events, {}",
                checkpoint.size, checkpoint.origin
            )),
            Line::id(STANDARD.encode(checkpoint.root)),
        ])
    }
}

/// What was asked for, as the query of a URL.
fn told(kind: Kind, asked: &Asked, period: Option<(Timestamp, Timestamp)>, unused_days: u32) -> String {
    let mut pairs = Vec::new();
    if let Some((from, to)) = period {
        pairs.extend([format!("from={from}"), format!("to={to}")]);
    }
    pairs.extend(asked.workspace.map(|id| format!("workspaceId={id}")));
    if !asked.actions.is_empty() {
        let actions: Vec<&str> = asked.actions.iter().map(|action| action.as_str()).collect();
        pairs.push(format!("actions={}", actions.join(",")));
    }
    if kind == Kind::AccessReview {
        pairs.push(format!("unusedDays={unused_days}"));
    }
    pairs.join("&")
}

fn broken(failed: &crate::export::Failed) -> Error {
    tracing::error!(%failed, "a report cannot be written");
    Error::internal()
}

/// A row in both forms, and what it counts as.
pub(super) struct Shown {
    pub(super) table: Row,
    pub(super) page: Vec<Vec<Line>>,
    pub(super) counts: Vec<String>,
}

impl ReportFile {
    /// The next bytes; none when there are no more.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>> {
        if let Some(first) = self.first.take().filter(|first| !first.is_empty()) {
            return Ok(Some(first));
        }
        while !self.read {
            let bytes = self.read().await?;
            if !bytes.is_empty() {
                return Ok(Some(bytes));
            }
        }
        if std::mem::replace(&mut self.ended, true) {
            return Ok(None);
        }
        let last = self.end()?;
        Ok(Some(last).filter(|last| !last.is_empty()))
    }

    /// Some more rows.
    async fn read(&mut self) -> Result<Vec<u8>> {
        let window = Window::First { count: STRETCH, after: self.after.take() };
        let rows = match (self.kind, self.period) {
            (Kind::KeyActivity, Some(period)) => {
                let page = self.service.activity_in(&self.scope, period, &self.asked.actions, window, false);
                let page = page.await?;
                self.shown(page, |row| super::columns::activity(&row))
            }
            (Kind::AccessReview, _) => {
                let page = self.service.access_in(&self.scope, self.unused_days, window, false).await?;
                self.shown(page, |row| super::columns::access(&row))
            }
            _ => {
                let Window::First { count, after } = window else { return Err(Error::internal()) };
                let page = self.service.violators_after(&self.scope, count, after).await?;
                self.shown(page, |row| super::columns::violator(&row))
            }
        };
        self.rows += rows.len() as u64;
        for name in rows.iter().flat_map(|row| &row.counts) {
            *self.totals.entry(name.clone()).or_default() += 1;
        }
        match &mut self.writer {
            Writer::Table(encoder) => {
                let rows: Vec<Row> = rows.into_iter().map(|row| row.table).collect();
                let encoder = encoder.as_mut().ok_or_else(Error::internal)?;
                encoder.rows(&rows).map_err(|failed| broken(&failed))
            }
            Writer::Page => {
                let mut out = String::new();
                for row in &rows {
                    html::row(&row.page, &mut out);
                }
                Ok(out.into_bytes())
            }
        }
    }

    fn shown<T>(&mut self, page: Page<T>, each: impl Fn(T) -> Shown) -> Vec<Shown> {
        let last = page.items.last().map(|item| item.cursor.clone());
        self.after = page.end_cursor.or(last);
        self.read = !page.has_next || self.after.is_none();
        page.items.into_iter().map(|item| each(item.node)).collect()
    }

    fn end(&mut self) -> Result<Vec<u8>> {
        match &mut self.writer {
            Writer::Table(encoder) => {
                let encoder = encoder.take().ok_or_else(Error::internal)?;
                encoder.finish().map_err(|failed| broken(&failed))
            }
            Writer::Page => {
                let totals: Vec<(String, u64)> = std::mem::take(&mut self.totals).into_iter().collect();
                Ok(html::end(Columns::of(self.kind).page.len(), &totals, self.rows).into_bytes())
            }
        }
    }
}
