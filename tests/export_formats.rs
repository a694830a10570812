//! Every event there is, in every format of exports, held against what others published about these formats.

#![allow(clippy::unwrap_used, unreachable_pub, reason = "a test may stop, and its modules are its own")]

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use keyledger::export::{Encoder, Failed, Format, Logged, Open};
use keyledger_schema::codec;
use keyledger_schema::sealing::{Held, Unreadable};
use keyledger_schema::{ChainHash, DataKeys, Event, NoDataKeys, Subject};
use parquet::file::reader::{FileReader, SerializedFileReader};
use proptest::prelude::*;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

#[path = "export_formats/cef.rs"]
mod cef;
#[path = "../schema/tests/keys/mod.rs"]
mod keys;
#[path = "support/tables.rs"]
mod tables;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// The stored bytes of one event of each type, in its newest version.
fn samples() -> Vec<(&'static str, Vec<u8>)> {
    let sample = |&(name, version): &(&'static str, u16)| {
        let path = root().join(format!("schema/golden/{name}.v{version}.json"));
        (name, std::fs::read(path).unwrap_or_else(|error| panic!("{name}: {error}")))
    };
    Event::TYPES.iter().map(sample).collect()
}

fn open(bytes: &[u8]) -> Result<Cow<'_, str>, Failed> {
    codec::opened(bytes, &keys::Keys::default()).map_err(|error| Failed::new(error.to_string()))
}

/// As for somebody whose data keys were all erased.
fn open_nothing(bytes: &[u8]) -> Result<Cow<'_, str>, Failed> {
    struct Erased;
    impl DataKeys for Erased {
        fn data_key(&self, _: Subject) -> Result<Held, Unreadable> {
            Ok(Held::Erased)
        }
    }
    codec::opened(bytes, &Erased).map_err(|error| Failed::new(error.to_string()))
}

/// As after all data keys were lost.
fn open_without_vault(bytes: &[u8]) -> Result<Cow<'_, str>, Failed> {
    codec::opened(bytes, &NoDataKeys).map_err(|error| Failed::new(error.to_string()))
}

/// An event as people may read it.
fn shown(bytes: &[u8]) -> Value {
    serde_json::from_str(&open(bytes).unwrap()).unwrap()
}

fn logged(all: &[Vec<u8>]) -> Vec<Logged> {
    let one = |(at, bytes): (u64, &Vec<u8>)| Logged {
        log_index: 7_000_000_000 + at,
        position: u64::MAX - at,
        bytes: Arc::from(&**bytes),
    };
    (0..).zip(all).map(one).collect()
}

fn written(format: Format, raw: bool, all: &[Vec<u8>]) -> Vec<u8> {
    written_with(format, raw, all, &open)
}

fn written_with(format: Format, raw: bool, all: &[Vec<u8>], open: &Open) -> Vec<u8> {
    let mut encoder = Encoder::of_events(format, true, raw).unwrap();
    let mut bytes = Vec::new();
    for events in logged(all).chunks(5) {
        bytes.append(&mut encoder.events(events, open).unwrap());
    }
    bytes.append(&mut encoder.finish().unwrap());
    bytes
}

fn all() -> Vec<Vec<u8>> {
    samples().into_iter().map(|(_, bytes)| bytes).collect()
}

fn lines(bytes: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(bytes).unwrap();
    assert!(text.ends_with('\n'));
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect()
}

fn base64(value: &Value) -> Vec<u8> {
    use ::base64::Engine;
    ::base64::engine::general_purpose::STANDARD.decode(value.as_str().unwrap()).unwrap()
}

fn leaf_hash(bytes: &[u8]) -> String {
    let digest: [u8; 32] = Sha256::new().chain_update([0]).chain_update(bytes).finalize().into();
    blake3::Hash::from_bytes(digest).to_hex().to_string()
}

#[test]
fn json_lines_hold_the_event_its_place_and_hashes_over_its_stored_bytes() {
    for raw in [false, true] {
        let lines = lines(&written(Format::Jsonl, raw, &all()));
        assert_eq!(lines.len(), Event::TYPES.len());
        for (at, ((_, bytes), line)) in samples().iter().zip(&lines).enumerate() {
            let stored: Value = shown(bytes);
            assert_eq!(line["event"], stored);
            assert_eq!(line["logIndex"], json!(7_000_000_000 + at));
            assert_eq!(line["position"], json!((u64::MAX - at as u64).to_string()));
            assert_eq!(line["hash"], json!(ChainHash::of(bytes).to_string()));
            assert_eq!(line["leafHash"], json!(leaf_hash(bytes)));
            assert_eq!(line.get("raw").map(base64).as_ref(), raw.then_some(bytes));
        }
    }
}

/// A published schema.
fn validator(file: &str) -> jsonschema::Validator {
    let text = std::fs::read_to_string(root().join("tests/published").join(file)).unwrap();
    jsonschema::validator_for(&serde_json::from_str(&text).unwrap()).unwrap()
}

fn assert_valid(validator: &jsonschema::Validator, line: &Value, what: &str) {
    let errors: Vec<String> =
        validator.iter_errors(line).map(|error| format!("{error} at {}", error.instance_path())).collect();
    assert!(errors.is_empty(), "{what}: {}\n{line:#}", errors.join("\n"));
}

#[test]
fn ocsf_is_what_its_published_schema_asks_for() {
    let schema: Value = serde_json::from_str(
        &std::fs::read_to_string(root().join("tests/published/ocsf-1.8.0.schema.json")).unwrap(),
    )
    .unwrap();
    // One class at a time, so that an error names the attribute and not just that neither class fits.
    let of_class = |uid: &str| {
        let mut schema = schema.clone();
        schema.as_object_mut().unwrap().remove("oneOf");
        schema["$ref"] = json!(format!("#/$defs/{uid}"));
        jsonschema::validator_for(&schema).unwrap()
    };
    let (entity, api) = (of_class("3004"), of_class("6003"));
    for raw in [false, true] {
        let lines = lines(&written(Format::Ocsf, raw, &all()));
        assert_eq!(lines.len(), Event::TYPES.len());
        for (at, ((name, bytes), line)) in samples().iter().zip(&lines).enumerate() {
            let is_entity = name.starts_with("key.");
            assert_valid(if is_entity { &entity } else { &api }, line, name);
            assert_eq!(line["class_uid"], json!(if is_entity { 3004 } else { 6003 }), "{name}");
            let number = |name: &str| line[name].as_u64().unwrap();
            assert_eq!(number("type_uid"), number("class_uid") * 100 + number("activity_id"), "{name}");
            assert_eq!(line["metadata"]["version"], "1.8.0");
            assert_eq!(line["metadata"]["sequence"], json!(7_000_000_000 + at));
            let stored: Value = shown(bytes);
            assert_eq!(line["metadata"]["uid"], stored["id"]);
            assert_eq!(line["metadata"]["original_time"], stored["at"]);
            assert_eq!(line["unmapped"]["data"], stored["data"], "{name}");
            let kept = line.get("raw_data").map(|text| text.as_str().unwrap().as_bytes());
            assert_eq!(kept, raw.then_some(&bytes[..]));
        }
    }
    // The schema that was derived refuses what the published one does.
    let line = &lines(&written(Format::Ocsf, false, &all()))[0];
    for (change, value) in
        [("/type_uid", json!(600_399)), ("/severity_id", json!("1")), ("/src_endpoint", json!({}))]
    {
        let mut wrong = line.clone();
        *wrong.pointer_mut(change).unwrap() = value;
        assert!(!api.is_valid(&wrong), "{change}");
    }
    let mut unknown = line.clone();
    unknown["keyledger"] = json!(1);
    assert!(!api.is_valid(&unknown));
}

#[test]
fn ocsf_tells_activities_as_security_tools_name_them() {
    let lines = lines(&written(Format::Ocsf, false, &all()));
    let of = |name: &str| lines.iter().find(|line| line["metadata"]["event_code"] == name).unwrap();
    for (name, activity, status) in [
        ("key.issued", 1, 1),
        ("key.updated", 3, 1),
        ("key.deleted", 4, 1),
        ("key.enabled", 8, 1),
        ("key.disabled", 9, 1),
        ("key.revoked", 9, 1),
        ("audit.exported", 2, 1),
        ("organization.created", 1, 1),
    ] {
        let line = of(name);
        assert_eq!((&line["activity_id"], &line["status_id"]), (&json!(activity), &json!(status)), "{name}");
    }
    // Verifications count, and answers differ.
    let (_, bytes) = samples().into_iter().find(|(name, _)| *name == "usage.recorded").unwrap();
    let mut event: Value = shown(&bytes);
    event["data"]["groups"][0]["records"][0]["count"] = json!(4);
    let told = |event: &Value| {
        let line = self::lines(&written(Format::Ocsf, false, &[event.to_string().into_bytes()])).remove(0);
        (line["activity_id"].clone(), line["status_id"].clone(), line["count"].clone())
    };
    assert_eq!(told(&event), (json!(99), json!(99), json!(7)));
    event["data"]["groups"].as_array_mut().unwrap().remove(0);
    assert_eq!(told(&event), (json!(99), json!(2), json!(3)));
    let issued = of("key.issued");
    let entity = json!({ "type_id": 99, "type": "API Key", "uid": "key_01jd8xqnfsfe7vb5y3j2m0k7ha",
        "name": "Billing (EU)" });
    assert_eq!(issued["entity"], entity);
    assert_eq!(issued["actor"]["user"]["uid"], "key_01jd8xqnfsfe7vb5y3j2m0k7hb");
    let refused = of("command.refused");
    assert_eq!((&refused["status_id"], &refused["severity_id"]), (&json!(2), &json!(3)));
    assert_eq!(refused["api"]["operation"], refused["unmapped"]["data"]["command"]);
    assert_eq!(refused["status_code"], refused["unmapped"]["data"]["code"]);
}

#[test]
fn cloudevents_are_what_their_published_schema_asks_for() {
    let validator = validator("cloudevents-1.0.schema.json");
    for raw in [false, true] {
        let lines = lines(&written(Format::CloudEvents, raw, &all()));
        assert_eq!(lines.len(), Event::TYPES.len());
        for (at, ((name, bytes), line)) in samples().iter().zip(&lines).enumerate() {
            assert_valid(&validator, line, name);
            assert_eq!(line["type"], json!(format!("dev.keyledger.{name}")));
            assert_eq!(line["data"], shown(bytes));
            assert_eq!(line["id"], line["data"]["id"]);
            assert_eq!(line["logindex"], json!((7_000_000_000_u64 + at as u64).to_string()));
            assert_eq!(line.get("raw").map(base64).as_ref(), raw.then_some(bytes));
            // CloudEvents 1.0.2 §3: names of attributes are lower-case letters and digits.
            let fits = |name: &String| name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9'));
            assert!(line.as_object().unwrap().keys().all(fits), "{line}");
        }
    }
    assert!(!validator.is_valid(&json!({ "specversion": "1.0", "id": "a", "source": "/" })));
}

type Rows = Vec<BTreeMap<String, String>>;

fn csv_rows(bytes: &[u8]) -> Rows {
    let mut records = tables::records(std::str::from_utf8(bytes).unwrap()).into_iter();
    let names = records.next().unwrap();
    let row = |record: Vec<String>| {
        assert_eq!(record.len(), names.len());
        names.iter().cloned().zip(record).filter(|(_, cell)| !cell.is_empty()).collect()
    };
    records.map(row).collect()
}

#[test]
fn csv_and_parquet_hold_the_same_and_what_is_stored() {
    for raw in [false, true] {
        let rows = csv_rows(&written(Format::Csv, raw, &all()));
        assert_eq!(rows.len(), Event::TYPES.len());
        assert_eq!(rows, tables::parquet(written(Format::Parquet, raw, &all())));
        for ((name, bytes), row) in samples().iter().zip(&rows) {
            let stored: Value = shown(bytes);
            let text = |value: &Value| match value {
                Value::Null => None,
                Value::String(text) => Some(text.clone()),
                other => Some(other.to_string()),
            };
            for (column, pointer) in [
                ("eventId", "/id"),
                ("time", "/at"),
                ("type", "/type"),
                ("version", "/v"),
                ("outcome", "/outcome"),
                ("actorKind", "/actor/kind"),
                ("actorId", "/actor/id"),
                ("actorEmail", "/actor/email"),
                ("actorRole", "/actor/role"),
                ("ip", "/source/ip"),
                ("userAgent", "/source/user_agent"),
                ("organizationId", "/org"),
                ("workspaceId", "/workspace"),
                ("stream", "/stream"),
                ("revision", "/revision"),
                ("request", "/request"),
                ("cause", "/cause"),
                ("previousHash", "/prev"),
            ] {
                let expected = stored.pointer(pointer).and_then(text);
                assert_eq!(row.get(column), expected.as_ref(), "{name}: {column}");
            }
            let data: Value = serde_json::from_str(&row["data"]).unwrap();
            assert_eq!(data, stored["data"], "{name}");
            assert_eq!(row["leafHash"], leaf_hash(bytes));
            assert_eq!(row["hash"], ChainHash::of(bytes).to_string());
            assert_eq!(row.get("raw").map(|raw| base64(&json!(raw))).as_ref(), raw.then_some(bytes));
            let key = name.starts_with("key.").then(|| stored["stream"].as_str().unwrap()[4..].to_owned());
            if key.is_some() {
                assert_eq!(row.get("keyId"), key.as_ref(), "{name}");
            }
        }
    }
}

/// An event whose texts are the tester's choice.
fn with_texts(email: &str, agent: &str, comment: &str) -> Vec<u8> {
    let (_, bytes) = samples().into_iter().find(|(name, _)| *name == "key.revoked").unwrap();
    let mut event: Value = shown(&bytes);
    event["actor"]["email"] = json!(email);
    event["source"] = json!({ "ip": "2001:db8::7", "user_agent": agent });
    event["data"]["comment"] = json!(comment);
    event.to_string().into_bytes()
}

#[test]
fn no_text_of_an_event_is_a_formula() {
    for text in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "=cmd|' /C calc'!A0,\"x\""] {
        let rows = csv_rows(&written(Format::Csv, false, &[with_texts(text, text, text)]));
        for column in ["actorEmail", "userAgent"] {
            assert_eq!(rows[0][column], format!("'{text}"));
        }
    }
}

#[test]
fn a_row_group_is_bounded_by_its_bytes() {
    let large = with_texts("a", "b", &"x".repeat(50_000));
    let count = 1_000;
    let bytes = written(Format::Parquet, false, &vec![large.clone(); count]);
    let reader = SerializedFileReader::new(actix_web::web::Bytes::from(bytes)).unwrap();
    let expected = (large.len() * count).div_ceil(keyledger::export::ROW_GROUP_BYTES);
    assert_eq!(reader.num_row_groups(), expected);
}

#[test]
fn an_event_whose_text_has_line_ends_is_still_one_line() {
    let (_, bytes) = samples().swap_remove(0);
    let event: Value = shown(&bytes);
    let pretty = serde_json::to_string_pretty(&event).unwrap().into_bytes();
    for format in [Format::Jsonl, Format::Ocsf, Format::Cef, Format::CloudEvents] {
        let text = String::from_utf8(written(format, false, std::slice::from_ref(&pretty))).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
    }
    assert_eq!(lines(&written(Format::Jsonl, false, std::slice::from_ref(&pretty)))[0]["event"], event);
}

#[test]
fn what_cannot_be_read_says_so_and_is_never_taken_for_erased_or_for_an_address() {
    let of = |format| written_with(format, false, &all(), &open_without_vault);
    let schema = validator("ocsf-1.8.0.schema.json");
    let rows = csv_rows(&of(Format::Csv));
    assert!(rows.iter().any(|row| row.get("actorEmail").is_some_and(|email| email == "[unreadable]")));
    assert!(rows.iter().any(|row| row.get("ip").is_some_and(|ip| ip == "[unreadable]")));
    for ((name, _), event) in samples().iter().zip(lines(&of(Format::Ocsf))) {
        assert_valid(&schema, &event, name);
        assert!(!event["src_endpoint"]["ip"].to_string().contains("unreadable"), "{name}: {event}");
    }
    let cef = String::from_utf8(of(Format::Cef)).unwrap();
    assert!(cef.contains("suser=[unreadable]"), "{cef}");
    assert!(!cef.contains("c6a2=[") && !cef.contains("src=["), "{cef}");
}

#[test]
fn what_was_erased_is_missing_and_everything_else_is_there() {
    let of = |format| written_with(format, true, &all(), &open_nothing);
    let schema = validator("ocsf-1.8.0.schema.json");
    let rows = csv_rows(&of(Format::Csv));
    assert_eq!(rows, tables::parquet(of(Format::Parquet)));
    let (ocsf, jsonl) = (lines(&of(Format::Ocsf)), lines(&of(Format::Jsonl)));
    for (((name, bytes), row), (ocsf, line)) in samples().iter().zip(&rows).zip(ocsf.iter().zip(&jsonl)) {
        assert!(["actorEmail", "ip", "userAgent"].iter().all(|column| !row.contains_key(*column)), "{name}");
        assert_eq!(row["leafHash"], leaf_hash(bytes));
        assert_eq!(base64(&json!(row["raw"])), *bytes);
        assert_valid(&schema, ocsf, name);
        assert!(ocsf["src_endpoint"]["name"].is_string() && ocsf.get("http_request").is_none(), "{name}");
        let event = shown(bytes);
        assert_eq!(
            (&line["event"]["id"], &line["event"]["actor"]["id"]),
            (&event["id"], &event["actor"]["id"])
        );
        assert!(!line["event"].to_string().contains("sealed"), "{name}");
    }
    for format in [Format::Cef, Format::CloudEvents] {
        let text = String::from_utf8(of(format)).unwrap();
        assert_eq!(text.lines().count(), Event::TYPES.len());
        assert!(!text.contains("suser=") && !text.contains("src="));
    }
}

#[test]
fn what_is_no_event_ends_the_export() {
    for format in Format::ALL.into_iter().filter(|format| *format != Format::Jsonl) {
        let mut encoder = Encoder::of_events(format, true, false).unwrap();
        assert!(encoder.events(&logged(&[b"{}".to_vec()]), &open).is_err(), "{format:?}");
    }
}

proptest! {
    #[test]
    fn any_text_survives(email: String, agent: String, comment: String) {
        let event = with_texts(&email, &agent, &comment);
        let stored: Value = serde_json::from_slice(&event).unwrap();
        let one = [event];
        prop_assert_eq!(&lines(&written(Format::Jsonl, false, &one))[0]["event"], &stored);
        prop_assert_eq!(&lines(&written(Format::CloudEvents, false, &one))[0]["data"], &stored);
        let line = &lines(&written(Format::Ocsf, false, &one))[0];
        prop_assert_eq!(&line["actor"]["user"]["name"], &json!(email));
        prop_assert_eq!(&line["http_request"]["user_agent"], &json!(agent));
        prop_assert_eq!(&line["comment"], &json!(comment));
        let parsed = cef::parse(std::str::from_utf8(&written(Format::Cef, false, &one)).unwrap().trim_end_matches('\n'));
        let data: Value = serde_json::from_str(&parsed.extension["KeyledgerKeyledgerData"]).unwrap();
        prop_assert_eq!(&data, &stored["data"]);
        let rows = csv_rows(&written(Format::Csv, false, &one));
        let cell = rows[0].get("userAgent").map_or("", String::as_str);
        prop_assert!(cell == agent || cell.strip_prefix('\'') == Some(&agent));
    }
}
