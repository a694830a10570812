//! What was written is read back: by the Parquet library's reader, by serde_json, and by a reader of CSV as
//! RFC 4180 has it.

use ::parquet::file::reader::{FileReader, SerializedFileReader};
use ::parquet::record::Field;
use proptest::prelude::*;
use serde_json::Value as Json;

use super::*;

#[path = "../../tests/support/tables.rs"]
mod tables;

const COLUMNS: &[Column] = &[
    Column::new("at", Kind::Moment),
    Column::optional("keyId", Kind::Text),
    Column::new("tags", Kind::Texts),
    Column::new("count", Kind::Count),
    Column::new("incomplete", Kind::Flag),
    Column::optional("secretVersion", Kind::Count),
];

fn written(format: Format, rows: &[Row], piece: usize) -> Vec<u8> {
    let mut encoder = Encoder::new(format, COLUMNS, true).unwrap();
    let mut bytes = Vec::new();
    for rows in rows.chunks(piece) {
        bytes.append(&mut encoder.rows(rows).unwrap());
    }
    bytes.append(&mut encoder.finish().unwrap());
    bytes
}

fn moment(micros: i64) -> Timestamp {
    Timestamp::from_micros(1_700_000_000_000_000 + micros)
}

fn rows(count: usize) -> Vec<Row> {
    (0..count)
        .map(|n| {
            vec![
                Cell::Moment(moment(i64::try_from(n).unwrap())),
                if n % 3 == 0 { Cell::Nothing } else { Cell::Text(format!("key {n}, \"quoted\"\r\n☂")) },
                Cell::Texts((0..n % 4).map(|tag| format!("tag{tag}")).collect()),
                Cell::Count(n as u64),
                Cell::Flag(n % 2 == 0),
                if n % 5 == 0 { Cell::Nothing } else { Cell::Count(7) },
            ]
        })
        .collect()
}

fn shown(cell: &Cell) -> String {
    match cell {
        Cell::Nothing => String::new(),
        Cell::Text(text) => text.clone(),
        Cell::Texts(texts) => texts.join(" "),
        Cell::Count(count) => count.to_string(),
        Cell::Moment(at) => at.to_string(),
        Cell::Flag(flag) => flag.to_string(),
    }
}

#[test]
fn csv_is_read_back() {
    let rows = rows(100);
    let text = String::from_utf8(written(Format::Csv, &rows, 7)).unwrap();
    let mut records = tables::records(&text);
    assert_eq!(records.remove(0), COLUMNS.iter().map(|column| column.name).collect::<Vec<_>>());
    let expected: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(shown).collect()).collect();
    assert_eq!(records, expected);
}

#[test]
fn no_text_in_csv_is_a_formula() {
    for text in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "=cmd|' /C calc'!A0,\"x\""] {
        let mut out = Vec::new();
        let cells = [Cell::Text(text.to_owned()), Cell::Texts(vec![text.to_owned()])];
        csv::row(cells.iter().map(Cell::value), &mut out);
        let read = tables::records(&String::from_utf8(out).unwrap());
        assert_eq!(read, [[format!("'{text}"), format!("'{text}")]]);
    }
    let mut out = Vec::new();
    let cells = [Cell::Text("a=1".into()), Cell::Count(1), Cell::Moment(moment(0))];
    csv::row(cells.iter().map(Cell::value), &mut out);
    assert_eq!(out, b"a=1,1,2023-11-14T22:13:20.000000Z\r\n");
}

#[test]
fn a_file_that_goes_on_has_no_names() {
    let mut encoder = Encoder::new(Format::Csv, COLUMNS, false).unwrap();
    assert!(!encoder.rows(&rows(1)).unwrap().starts_with(b"at,"));
}

#[test]
fn json_lines_are_read_back_without_what_has_no_value() {
    let rows = rows(100);
    let text = String::from_utf8(written(Format::Jsonl, &rows, 9)).unwrap();
    let lines: Vec<Json> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), rows.len());
    for (line, row) in lines.iter().zip(&rows) {
        for (column, cell) in COLUMNS.iter().zip(row) {
            let expected = match cell {
                Cell::Nothing => None,
                Cell::Text(text) => Some(Json::from(text.as_str())),
                Cell::Texts(texts) => Some(Json::from(texts.as_slice())),
                Cell::Count(count) => Some(Json::from(*count)),
                Cell::Moment(at) => Some(Json::from(at.to_string())),
                Cell::Flag(flag) => Some(Json::from(*flag)),
            };
            assert_eq!(line.get(column.name), expected.as_ref());
        }
    }
}

fn read_parquet(bytes: Vec<u8>) -> (Vec<Row>, usize) {
    let reader = SerializedFileReader::new(actix_web::web::Bytes::from(bytes)).unwrap();
    let groups = reader.num_row_groups();
    let rows = reader.get_row_iter(None).unwrap().map(|row| {
        let row = row.unwrap();
        row.get_column_iter()
            .map(|(_, field)| match field {
                Field::Null => Cell::Nothing,
                Field::Str(text) => Cell::Text(text.clone()),
                Field::Long(count) => Cell::Count(u64::try_from(*count).unwrap()),
                Field::TimestampMicros(micros) => Cell::Moment(Timestamp::from_micros(*micros)),
                Field::Bool(flag) => Cell::Flag(*flag),
                Field::ListInternal(list) => Cell::Texts(
                    list.elements()
                        .iter()
                        .map(|field| match field {
                            Field::Str(text) => text.clone(),
                            other => panic!("{other:?}"),
                        })
                        .collect(),
                ),
                other => panic!("{other:?}"),
            })
            .collect()
    });
    (rows.collect(), groups)
}

#[test]
fn parquet_is_read_back_over_several_row_groups() {
    for (count, groups) in [(0, 0), (1, 1), (ROW_GROUP, 1), (ROW_GROUP * 2 + 5, 3)] {
        let rows = rows(count);
        let (read, found) = read_parquet(written(Format::Parquet, &rows, 1_000));
        assert_eq!((read == rows, found), (true, groups), "{count} rows");
    }
}

#[test]
fn a_row_that_does_not_fit_is_refused() {
    for format in Format::TABLES {
        assert!(Encoder::new(format, COLUMNS, true).unwrap().rows(&[vec![Cell::Nothing]]).is_err());
    }
    let mut wrong = rows(1);
    wrong[0][3] = Cell::Nothing;
    assert!(Encoder::new(Format::Parquet, COLUMNS, true).unwrap().rows(&wrong).is_err());
}

proptest! {
    #[test]
    fn any_text_survives(text: String, tags in prop::collection::vec("[a-z:=@+-]{1,8}", 0..4), count: u32) {
        let row = vec![
            Cell::Moment(moment(0)),
            Cell::Text(text.clone()),
            Cell::Texts(tags.clone()),
            Cell::Count(count.into()),
            Cell::Flag(true),
            Cell::Nothing,
        ];
        let rows = [row];
        let csv = tables::records(&String::from_utf8(written(Format::Csv, &rows, 1)).unwrap());
        prop_assert_eq!(csv[1][1].strip_prefix('\'').filter(|_| csv[1][1] != text).unwrap_or(&csv[1][1]), &text);
        let line: Json = serde_json::from_slice(&written(Format::Jsonl, &rows, 1)).unwrap();
        prop_assert_eq!(line["keyId"].as_str(), Some(text.as_str()));
        let (parquet, _) = read_parquet(written(Format::Parquet, &rows, 1));
        prop_assert_eq!(&parquet[..], &rows[..]);
    }
}
