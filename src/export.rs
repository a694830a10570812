//! Tables and events as files: what columns they have, and how rows become CSV, JSON Lines or Parquet, and events
//! these and the formats of security tools.
//!
//! Architecture invariant: pure. Rows go in, bytes come out; nothing is kept but what one row group of a
//! Parquet file needs, so a file of any length takes the memory of a short one.

mod cef;
mod cloudevents;
mod columns;
mod csv;
mod event;
pub mod html;
mod jsonl;
mod meaning;
mod ocsf;
mod parquet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use keyledger_schema::Timestamp;

pub use self::event::{Logged, Open};
pub use self::parquet::{ROW_GROUP, ROW_GROUP_BYTES};

/// What the cells of a column hold.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Kind {
    /// A text.
    Text,
    /// Any number of texts.
    Texts,
    /// A number of things.
    Count,
    /// A moment.
    Moment,
    /// Yes or no.
    Flag,
}

/// A column.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Column {
    /// In lower camel case, as over REST.
    pub name: &'static str,
    /// What its cells hold.
    pub kind: Kind,
    /// Whether a cell can be without a value.
    pub optional: bool,
}

impl Column {
    /// One whose cells all have a value.
    pub const fn new(name: &'static str, kind: Kind) -> Self {
        Self { name, kind, optional: false }
    }

    /// One whose cells can be without a value.
    pub const fn optional(name: &'static str, kind: Kind) -> Self {
        Self { name, kind, optional: true }
    }
}

/// What stands where a row and a column meet. Of the column's kind, or nothing where that is allowed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Cell {
    /// No value.
    Nothing,
    /// A text.
    Text(String),
    /// Any number of texts.
    Texts(Vec<String>),
    /// A number of things.
    Count(u64),
    /// A moment.
    Moment(Timestamp),
    /// Yes or no.
    Flag(bool),
}

impl Cell {
    /// A text, if there is one.
    pub fn text(text: Option<impl ToString>) -> Self {
        text.map_or(Self::Nothing, |text| Self::Text(text.to_string()))
    }
}

/// The same, borrowed.
#[derive(Clone, Copy, Debug)]
enum Value<'a> {
    Nothing,
    Text(&'a str),
    Texts(&'a [String]),
    Count(u64),
    Moment(Timestamp),
    Flag(bool),
}

impl Cell {
    fn value(&self) -> Value<'_> {
        match self {
            Self::Nothing => Value::Nothing,
            Self::Text(text) => Value::Text(text),
            Self::Texts(texts) => Value::Texts(texts),
            Self::Count(count) => Value::Count(*count),
            Self::Moment(at) => Value::Moment(*at),
            Self::Flag(flag) => Value::Flag(*flag),
        }
    }
}

/// One cell for each column.
pub type Row = Vec<Cell>;

/// What is written together.
pub enum Batch {
    /// Rows of a table.
    Rows(Vec<Row>),
    /// Events.
    Events(Vec<Logged>),
}

/// The form of a file.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Format {
    /// RFC 4180.
    Csv,
    /// A JSON object a line.
    Jsonl,
    /// Apache Parquet.
    Parquet,
    /// Open Cybersecurity Schema Framework, a JSON object a line.
    Ocsf,
    /// Common Event Format.
    Cef,
    /// CloudEvents 1.0, a JSON object a line.
    CloudEvents,
}

impl Format {
    /// Those of tables.
    pub const TABLES: [Self; 3] = [Self::Csv, Self::Jsonl, Self::Parquet];
    /// Every format: those of events.
    pub const ALL: [Self; 6] =
        [Self::Csv, Self::Jsonl, Self::Parquet, Self::Ocsf, Self::Cef, Self::CloudEvents];

    /// As it is asked for.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Jsonl => "jsonl",
            Self::Parquet => "parquet",
            Self::Ocsf => "ocsf",
            Self::Cef => "cef",
            Self::CloudEvents => "cloudevents",
        }
    }

    /// As names of files end.
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::Ocsf => "ocsf.jsonl",
            Self::CloudEvents => "cloudevents.jsonl",
            other => other.name(),
        }
    }

    /// The media type.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Csv => "text/csv; charset=utf-8",
            Self::Jsonl | Self::Ocsf | Self::CloudEvents => "application/jsonl",
            Self::Parquet => "application/vnd.apache.parquet",
            Self::Cef => "text/plain; charset=utf-8",
        }
    }
}

/// A row does not fit the columns, or the Parquet library refuses.
#[derive(Debug, thiserror::Error)]
#[error("the file cannot be written: {0}")]
pub struct Failed(String);

impl Failed {
    /// For whoever reads what is to be written.
    pub fn new(what: String) -> Self {
        Self(what)
    }
}

/// Forms of files that are lines, each of which stands for itself.
#[derive(Clone, Copy)]
enum Line {
    Csv,
    Jsonl,
    Ocsf,
    Cef,
    CloudEvents,
}

enum Form {
    Lines(Line),
    Parquet(Box<parquet::File>),
}

/// Makes lines of events. Those of some events do not depend on those of others, so they can be made at the same time.
#[derive(Clone, Copy)]
pub struct Lines {
    line: Line,
    raw: bool,
}

impl Lines {
    /// The lines of these events.
    pub fn of(self, events: &[Logged], open: &Open) -> Result<Vec<u8>, Failed> {
        let Self { line, raw } = self;
        let size: usize = events.iter().map(|logged| logged.bytes.len()).sum();
        let mut out = Vec::with_capacity(size + size / 2);
        let mut encoded = String::new();
        for logged in events {
            let text = event::one_line(&logged.bytes, open)?;
            let in_base64 = in_base64(raw && !matches!(line, Line::Ocsf), logged, &mut encoded);
            match line {
                Line::Jsonl => jsonl::event(logged, &text, in_base64, &mut out),
                Line::Csv => columns::row(logged, &text, in_base64, &mut |row| {
                    csv::row(row.iter().copied(), &mut out);
                    Ok(())
                })?,
                Line::Ocsf => ocsf::line(logged, &text, raw, &mut out)?,
                Line::Cef => cef::line(logged, &text, in_base64, &mut out)?,
                Line::CloudEvents => cloudevents::line(logged, &text, in_base64, &mut out)?,
            }
        }
        Ok(out)
    }
}

/// The stored bytes in base64, if they are wanted.
fn in_base64<'a>(wanted: bool, logged: &Logged, encoded: &'a mut String) -> Option<&'a str> {
    encoded.clear();
    wanted.then(|| {
        STANDARD.encode_string(&logged.bytes, encoded);
        encoded.as_str()
    })
}

/// What a file has.
enum Content {
    Rows(Vec<Column>),
    /// Events, with their stored bytes in base64 or without.
    Events {
        raw: bool,
    },
}

/// Makes the bytes of one file, piece by piece.
pub struct Encoder {
    content: Content,
    form: Form,
    out: Vec<u8>,
}

impl Encoder {
    /// Begins a file. A CSV file begins with the names of its columns, unless it goes on where another one
    /// ended.
    pub fn new(format: Format, columns: &[Column], names: bool) -> Result<Self, Failed> {
        if !Format::TABLES.contains(&format) {
            return Err(Failed("the format is for events only".into()));
        }
        Self::begin(format, columns, names, Content::Rows(columns.to_vec()))
    }

    /// Begins a file of events. `raw` adds their stored bytes.
    pub fn of_events(format: Format, names: bool, raw: bool) -> Result<Self, Failed> {
        Self::begin(format, columns::columns(raw), names, Content::Events { raw })
    }

    fn begin(format: Format, columns: &[Column], names: bool, content: Content) -> Result<Self, Failed> {
        let mut out = Vec::new();
        let form = match format {
            Format::Csv => {
                if names {
                    csv::names(columns, &mut out);
                }
                Form::Lines(Line::Csv)
            }
            Format::Jsonl => Form::Lines(Line::Jsonl),
            Format::Parquet => Form::Parquet(Box::new(parquet::File::new(columns)?)),
            Format::Ocsf => Form::Lines(Line::Ocsf),
            Format::Cef => Form::Lines(Line::Cef),
            Format::CloudEvents => Form::Lines(Line::CloudEvents),
        };
        Ok(Self { content, form, out })
    }

    /// What makes the lines of events, in a file that has nothing else once it has begun.
    pub fn lines(&self) -> Option<Lines> {
        match (&self.content, &self.form) {
            (Content::Events { raw }, Form::Lines(line)) => Some(Lines { line: *line, raw: *raw }),
            _ => None,
        }
    }

    /// Adds rows or events and gives the bytes that are ready, which may be none.
    pub fn add(&mut self, batch: &Batch, open: &Open) -> Result<Vec<u8>, Failed> {
        match batch {
            Batch::Rows(rows) => self.rows(rows),
            Batch::Events(events) => self.events(events, open),
        }
    }

    /// Adds rows and gives the bytes that are ready, which may be none.
    pub fn rows(&mut self, rows: &[Row]) -> Result<Vec<u8>, Failed> {
        let Content::Rows(columns) = &self.content else {
            return Err(Failed("a file of events has no rows of something else".into()));
        };
        let unfit = rows.iter().any(|row| row.len() != columns.len());
        if unfit {
            return Err(Failed("a row has not one cell for each column".into()));
        }
        for row in rows {
            let values = row.iter().map(Cell::value);
            match &mut self.form {
                Form::Parquet(file) => file.row(values)?,
                Form::Lines(Line::Csv) => csv::row(values, &mut self.out),
                Form::Lines(_) => jsonl::row(columns, row, &mut self.out),
            }
        }
        self.ready()
    }

    /// Adds events and gives the bytes that are ready, which may be none.
    pub fn events(&mut self, events: &[Logged], open: &Open) -> Result<Vec<u8>, Failed> {
        let Content::Events { raw } = self.content else {
            return Err(Failed("a table has no events".into()));
        };
        match &mut self.form {
            Form::Lines(line) => self.out.append(&mut Lines { line: *line, raw }.of(events, open)?),
            Form::Parquet(file) => {
                let mut encoded = String::new();
                for logged in events {
                    let text = event::one_line(&logged.bytes, open)?;
                    let in_base64 = in_base64(raw, logged, &mut encoded);
                    columns::row(logged, &text, in_base64, &mut |row| file.row(row.iter().copied()))?;
                }
            }
        }
        self.ready()
    }

    fn ready(&mut self) -> Result<Vec<u8>, Failed> {
        if let Form::Parquet(file) = &mut self.form {
            self.out.append(&mut file.take()?);
        }
        // The next piece has about the size of this one.
        let next = Vec::with_capacity(self.out.len());
        Ok(std::mem::replace(&mut self.out, next))
    }

    /// Ends the file and gives its last bytes.
    pub fn finish(mut self) -> Result<Vec<u8>, Failed> {
        if let Form::Parquet(file) = self.form {
            self.out.append(&mut file.finish()?);
        }
        Ok(self.out)
    }
}

#[cfg(test)]
mod tests;
