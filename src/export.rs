//! Tables as files: what columns they have, and how rows become CSV, JSON Lines or Parquet.
//!
//! Architecture invariant: pure. Rows go in, bytes come out; nothing is kept but what one row group of a
//! Parquet file needs, so a file of any length takes the memory of a short one.

mod csv;
pub mod html;
mod jsonl;
mod parquet;

use keyledger_schema::Timestamp;

pub use self::parquet::ROW_GROUP;

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

/// One cell for each column.
pub type Row = Vec<Cell>;

/// The form of a file.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Format {
    /// RFC 4180.
    Csv,
    /// A JSON object a line.
    Jsonl,
    /// Apache Parquet.
    Parquet,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 3] = [Self::Csv, Self::Jsonl, Self::Parquet];

    /// As it is asked for, and as names of files end.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Jsonl => "jsonl",
            Self::Parquet => "parquet",
        }
    }

    /// The media type.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Csv => "text/csv; charset=utf-8",
            Self::Jsonl => "application/jsonl",
            Self::Parquet => "application/vnd.apache.parquet",
        }
    }
}

/// A row does not fit the columns, or the Parquet library refuses.
#[derive(Debug, thiserror::Error)]
#[error("the file cannot be written: {0}")]
pub struct Failed(String);

enum Form {
    Csv,
    Jsonl,
    Parquet(Box<parquet::File>),
}

/// Makes the bytes of one file, piece by piece.
pub struct Encoder {
    columns: Vec<Column>,
    form: Form,
    out: Vec<u8>,
}

impl Encoder {
    /// Begins a file. A CSV file begins with the names of its columns, unless it goes on where another one
    /// ended.
    pub fn new(format: Format, columns: &[Column], names: bool) -> Result<Self, Failed> {
        let mut out = Vec::new();
        let form = match format {
            Format::Csv => {
                if names {
                    csv::names(columns, &mut out);
                }
                Form::Csv
            }
            Format::Jsonl => Form::Jsonl,
            Format::Parquet => Form::Parquet(Box::new(parquet::File::new(columns)?)),
        };
        Ok(Self { columns: columns.to_vec(), form, out })
    }

    /// Adds rows and gives the bytes that are ready, which may be none.
    pub fn rows(&mut self, rows: &[Row]) -> Result<Vec<u8>, Failed> {
        let unfit = rows.iter().any(|row| row.len() != self.columns.len());
        if unfit {
            return Err(Failed("a row has not one cell for each column".into()));
        }
        match &mut self.form {
            Form::Csv => rows.iter().for_each(|row| csv::row(row, &mut self.out)),
            Form::Jsonl => rows.iter().for_each(|row| jsonl::row(&self.columns, row, &mut self.out)),
            Form::Parquet(file) => self.out.append(&mut file.rows(rows)?),
        }
        Ok(std::mem::take(&mut self.out))
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
