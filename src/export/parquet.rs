//! Apache Parquet, Snappy-compressed. Moments are TIMESTAMP(MICROS, UTC), texts STRING, counts INT(64), and
//! several texts a repeated STRING.

use std::sync::Arc;

use parquet::basic::{Compression, LogicalType, Repetition, TimeUnit, Type as Physical};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::{Type, TypePtr};

use super::{Column, Failed, Kind, Value};

/// Rows of a row group: they are held until they are written together.
pub const ROW_GROUP: usize = 16_384;
/// How many bytes of texts end a row group before it has so many rows.
pub const ROW_GROUP_BYTES: usize = 16 * 1024 * 1024;

impl From<ParquetError> for Failed {
    fn from(error: ParquetError) -> Self {
        Self(error.to_string())
    }
}

/// The cells of a column that wait for their row group.
enum Values {
    Texts(Vec<ByteArray>),
    Numbers(Vec<i64>),
    Flags(Vec<bool>),
}

struct Waiting {
    column: Column,
    values: Values,
    /// For each value whether there is one: the library's definition levels.
    defined: Vec<i16>,
    /// For each value whether it goes on the row before: repetition levels.
    repeated: Vec<i16>,
}

impl Waiting {
    fn new(column: Column) -> Self {
        let values = match column.kind {
            Kind::Text | Kind::Texts => Values::Texts(Vec::new()),
            Kind::Count | Kind::Moment => Values::Numbers(Vec::new()),
            Kind::Flag => Values::Flags(Vec::new()),
        };
        Self { column, values, defined: Vec::new(), repeated: Vec::new() }
    }

    /// Adds a cell and gives the bytes of its texts.
    fn add(&mut self, cell: Value<'_>) -> Result<usize, Failed> {
        let text = |text: &str| ByteArray::from(text.as_bytes().to_vec());
        let mut bytes = 0;
        match (&mut self.values, cell) {
            (_, Value::Nothing) if self.column.optional => {
                self.defined.push(0);
                return Ok(0);
            }
            (Values::Texts(values), Value::Texts(texts)) if self.column.kind == Kind::Texts => {
                if texts.is_empty() {
                    self.defined.push(0);
                    self.repeated.push(0);
                }
                for (at, one) in texts.iter().enumerate() {
                    values.push(text(one));
                    self.defined.push(1);
                    self.repeated.push(i16::from(at > 0));
                    bytes += one.len();
                }
                return Ok(bytes);
            }
            (Values::Texts(values), Value::Text(one)) => {
                values.push(text(one));
                bytes = one.len();
            }
            (Values::Numbers(values), Value::Count(count)) => {
                values.push(i64::try_from(count).unwrap_or(i64::MAX));
            }
            (Values::Numbers(values), Value::Moment(at)) => values.push(at.micros()),
            (Values::Flags(values), Value::Flag(flag)) => values.push(flag),
            _ => return Err(Failed(format!("a cell of {} is not of its kind", self.column.name))),
        }
        self.defined.push(1);
        Ok(bytes)
    }

    fn write(&mut self, group: &mut SerializedRowGroupWriter<'_, Vec<u8>>) -> Result<(), Failed> {
        let defined = std::mem::take(&mut self.defined);
        let repeated = std::mem::take(&mut self.repeated);
        let levels = self.column.optional || self.column.kind == Kind::Texts;
        let defined = levels.then_some(&defined[..]);
        let repeated = (self.column.kind == Kind::Texts).then_some(&repeated[..]);
        match &mut self.values {
            Values::Texts(values) => write::<ByteArrayType>(group, values, defined, repeated),
            Values::Numbers(values) => write::<Int64Type>(group, values, defined, repeated),
            Values::Flags(values) => write::<BoolType>(group, values, defined, repeated),
        }
    }
}

fn write<T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, Vec<u8>>,
    values: &mut Vec<T::T>,
    defined: Option<&[i16]>,
    repeated: Option<&[i16]>,
) -> Result<(), Failed> {
    let missing = || Failed("the library knows fewer columns".into());
    let mut column = group.next_column()?.ok_or_else(missing)?;
    column.typed::<T>().write_batch(values, defined, repeated)?;
    column.close()?;
    values.clear();
    Ok(())
}

fn schema(columns: &[Column]) -> Result<TypePtr, ParquetError> {
    let fields = columns.iter().map(|column| {
        let (physical, logical) = match column.kind {
            Kind::Text | Kind::Texts => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
            Kind::Count => (Physical::INT64, None),
            Kind::Moment => (Physical::INT64, Some(LogicalType::timestamp(true, TimeUnit::MICROS))),
            Kind::Flag => (Physical::BOOLEAN, None),
        };
        let repetition = match (column.kind, column.optional) {
            (Kind::Texts, _) => Repetition::REPEATED,
            (_, true) => Repetition::OPTIONAL,
            (_, false) => Repetition::REQUIRED,
        };
        let field = Type::primitive_type_builder(column.name, physical);
        field.with_repetition(repetition).with_logical_type(logical).build().map(Arc::new)
    });
    let fields = fields.collect::<Result<Vec<_>, _>>()?;
    Type::group_type_builder("keyledger").with_fields(fields).build().map(Arc::new)
}

/// A file on its way.
pub(super) struct File {
    writer: SerializedFileWriter<Vec<u8>>,
    columns: Vec<Waiting>,
    waiting: usize,
    waiting_bytes: usize,
}

impl File {
    pub(super) fn new(columns: &[Column]) -> Result<Self, Failed> {
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_created_by(concat!("keyledger ", env!("CARGO_PKG_VERSION")).to_owned())
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .build();
        let writer = SerializedFileWriter::new(Vec::new(), schema(columns)?, Arc::new(properties))?;
        let columns = columns.iter().copied().map(Waiting::new).collect();
        Ok(Self { writer, columns, waiting: 0, waiting_bytes: 0 })
    }

    /// Adds a row; ends the row group that it fills.
    pub(super) fn row<'a>(&mut self, row: impl Iterator<Item = Value<'a>>) -> Result<(), Failed> {
        for (column, cell) in self.columns.iter_mut().zip(row) {
            self.waiting_bytes += column.add(cell)?;
        }
        self.waiting += 1;
        if self.waiting == ROW_GROUP || self.waiting_bytes >= ROW_GROUP_BYTES {
            self.end_group()?;
        }
        Ok(())
    }

    /// The bytes of the row groups that are full.
    pub(super) fn take(&mut self) -> Result<Vec<u8>, Failed> {
        self.writer.flush().map_err(ParquetError::from)?;
        Ok(std::mem::take(self.writer.inner_mut()))
    }

    fn end_group(&mut self) -> Result<(), Failed> {
        let mut group = self.writer.next_row_group()?;
        for column in &mut self.columns {
            column.write(&mut group)?;
        }
        group.close()?;
        self.waiting = 0;
        self.waiting_bytes = 0;
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<Vec<u8>, Failed> {
        if self.waiting > 0 {
            self.end_group()?;
        }
        Ok(self.writer.into_inner()?)
    }
}
