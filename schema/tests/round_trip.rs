//! Laws of the codec.

#![allow(clippy::unwrap_used, reason = "a test may stop")]

mod arbitrary;

use keyledger_schema::codec::MAX_EVENT_BYTES;
use keyledger_schema::{Envelope, Event, Metadata};
use proptest::prelude::*;

/// Names of the fields of a JSON object, in the order of its text.
fn fields(text: &str) -> Vec<String> {
    let (mut names, mut depth, mut at) = (Vec::new(), 0, 0);
    let bytes = text.as_bytes();
    while at < bytes.len() {
        match bytes[at] {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            b'"' => {
                let start = at + 1;
                at = start;
                while bytes[at] != b'"' {
                    at += if bytes[at] == b'\\' { 2 } else { 1 };
                }
                if depth == 1 && bytes[at + 1] == b':' {
                    names.push(text[start..at].to_owned());
                }
            }
            _ => {}
        }
        at += 1;
    }
    names
}

const ORDER: [&str; 15] = [
    "id",
    "type",
    "v",
    "stream",
    "revision",
    "at",
    "org",
    "workspace",
    "actor",
    "source",
    "request",
    "cause",
    "outcome",
    "prev",
    "data",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn what_is_sealed_opens_to_the_same(envelope in arbitrary::envelope()) {
        let bytes = envelope.seal().unwrap();
        let opened = Envelope::open(&bytes).unwrap();
        prop_assert_eq!(&opened, &envelope);
        prop_assert_eq!(opened.seal().unwrap(), bytes);
    }

    #[test]
    fn sealed_bytes_are_one_line_with_fields_in_one_order(envelope in arbitrary::envelope()) {
        let bytes = envelope.seal().unwrap();
        prop_assert!(bytes.len() <= MAX_EVENT_BYTES);
        let text = String::from_utf8(bytes).unwrap();
        prop_assert!(!text.contains('\n'));
        let names = fields(&text);
        let mut order = ORDER.iter();
        prop_assert!(names.iter().all(|name| order.any(|known| known == name)), "{:?}", names);
        prop_assert_eq!(names.last().map(String::as_str), Some("data"));
        // Any reader of JSON reads it, and no field comes twice.
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(value.as_object().unwrap().len(), names.len());
        prop_assert_eq!(value["type"].as_str(), Some(envelope.event.type_name()));
    }

    #[test]
    fn metadata_is_the_same_after_any_number_of_readings(metadata in arbitrary::metadata()) {
        let text = serde_json::to_string(&metadata).unwrap();
        let read: Metadata = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(&read, &metadata);
        prop_assert_eq!(Metadata::from_value(metadata.to_value()).unwrap(), metadata);
    }

    #[test]
    fn what_is_cut_off_is_not_an_event(envelope in arbitrary::envelope(), at: prop::sample::Index) {
        let bytes = envelope.seal().unwrap();
        prop_assert!(Envelope::open(&bytes[..at.index(bytes.len())]).is_err());
    }

    #[test]
    fn a_field_that_nobody_knows_is_refused_wherever_it_stands(envelope in arbitrary::envelope()) {
        let text = String::from_utf8(envelope.seal().unwrap()).unwrap();
        let first = text.replacen('{', "{\"new\":1,", 1);
        prop_assert!(Envelope::open(first.as_bytes()).is_err());
        let place = text.rfind("\"data\":{").filter(|_| !matches!(envelope.event, Event::NodeStopped(_)));
        if let Some(place) = place.filter(|&place| text[..place].matches("\"data\":{").count() == 0) {
            let (head, data) = text.split_at(place + "\"data\":{".len());
            let separator = if data.starts_with('}') { "" } else { "," };
            let changed = format!("{head}\"new\":1{separator}{data}");
            prop_assert!(Envelope::open(changed.as_bytes()).is_err(), "{}", changed);
        }
    }
}

#[test]
fn every_type_of_event_is_among_the_arbitrary_ones() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let strategy = arbitrary::event();
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..2_000 {
        seen.insert(strategy.new_tree(&mut runner).unwrap().current().type_name());
    }
    let missing: Vec<_> = Event::TYPES.iter().filter(|(name, _)| !seen.contains(name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
