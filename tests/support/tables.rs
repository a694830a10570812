//! Exports read back as others read them.

#![allow(dead_code, unreachable_pub, reason = "each test program uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test may stop")]

use std::collections::BTreeMap;

use ::parquet::file::reader::{FileReader, SerializedFileReader};
use ::parquet::record::Field;

/// The records of a CSV text (RFC 4180).
pub fn records(text: &str) -> Vec<Vec<String>> {
    let (mut records, mut record, mut cell) = (Vec::new(), Vec::new(), String::new());
    let (mut quoted, mut signs) = (false, text.chars().peekable());
    while let Some(sign) = signs.next() {
        match (sign, quoted) {
            ('"', true) if signs.peek() == Some(&'"') => {
                signs.next();
                cell.push('"');
            }
            ('"', _) => quoted = !quoted,
            (',', false) => record.push(std::mem::take(&mut cell)),
            ('\r', false) => {
                assert_eq!(signs.next(), Some('\n'));
                record.push(std::mem::take(&mut cell));
                records.push(std::mem::take(&mut record));
            }
            (other, _) => cell.push(other),
        }
    }
    assert!(!quoted && cell.is_empty() && record.is_empty(), "the text ends with a whole record");
    records
}

/// The rows of a Parquet file by the names of their columns, without empty cells.
pub fn parquet(bytes: Vec<u8>) -> Vec<BTreeMap<String, String>> {
    let reader = SerializedFileReader::new(actix_web::web::Bytes::from(bytes)).unwrap();
    let cell = |field: &Field| match field {
        Field::Null => String::new(),
        Field::Str(text) => text.clone(),
        Field::Long(number) => number.to_string(),
        Field::Bool(flag) => flag.to_string(),
        Field::TimestampMicros(micros) => keyledger_schema::Timestamp::from_micros(*micros).to_string(),
        Field::ListInternal(list) => list
            .elements()
            .iter()
            .map(|one| one.to_string().trim_matches('"').to_owned())
            .collect::<Vec<_>>()
            .join(" "),
        other => panic!("{other:?}"),
    };
    let rows = reader.get_row_iter(None).unwrap().map(|row| {
        let row = row.unwrap();
        let cells = row.get_column_iter().map(|(name, field)| (name.clone(), cell(field)));
        cells.filter(|(_, cell)| !cell.is_empty()).collect()
    });
    rows.collect()
}
