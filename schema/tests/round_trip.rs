//! Laws of the codec.

#![allow(clippy::unwrap_used, reason = "a test may stop")]

mod arbitrary;
mod keys;

use keyledger_schema::codec::{MAX_EVENT_BYTES, opened};
use keyledger_schema::personal::Erased;
use keyledger_schema::{Envelope, Event, Metadata, Personal, Source, sealing};
use proptest::prelude::*;

use keys::Keys;

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

fn sealed(envelope: &Envelope) -> Vec<u8> {
    envelope.seal(&Keys::default()).unwrap().bytes
}

const MARK: &str = "{\"personal\":";
/// What is sealed of one subject begins with this; where another value of it stood is what begins with `PLACE`.
const SEALED: &str = "{\"sealed\":\"";
const PLACE: &str = "{\"sealed\":";

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
        let bytes = sealed(&envelope);
        let opened = Envelope::open_with(&bytes, &Keys::default()).unwrap();
        prop_assert_eq!(&opened, &envelope);
        prop_assert_eq!(sealed(&opened), bytes);
    }

    #[test]
    fn sealed_bytes_are_one_line_with_fields_in_one_order(envelope in arbitrary::envelope()) {
        let bytes = sealed(&envelope);
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
    fn no_personal_value_can_be_read_without_its_data_key(envelope in arbitrary::envelope()) {
        // Every marked value as JSON, found by another way than the codec's own.
        fn marked(value: &serde_json::Value, found: &mut Vec<String>) {
            match value {
                serde_json::Value::Object(fields) => {
                    if let Some(personal) = fields.get("personal").filter(|_| fields.len() == 1) {
                        found.push(personal.to_string());
                        return;
                    }
                    for value in fields.values() {
                        marked(value, found);
                    }
                }
                serde_json::Value::Array(items) => items.iter().for_each(|value| marked(value, found)),
                _ => {}
            }
        }
        let mut found = Vec::new();
        let actor = serde_json::to_value(&envelope.actor).unwrap();
        let source = serde_json::to_value(&envelope.source).unwrap();
        for value in [&actor, &source] {
            marked(value, &mut found);
        }
        let text = String::from_utf8(sealed(&envelope)).unwrap();
        prop_assert!(!text.contains(MARK));
        prop_assert!(text.matches(PLACE).count() >= found.len());
        for value in found.iter().filter(|value| value.len() > 12) {
            prop_assert!(!text.contains(value.as_str()), "{} is in {}", value, text);
        }
        // Without data keys it is an event all the same. What was said is told apart from what was erased.
        let blind = Envelope::open(text.as_bytes()).unwrap();
        let source = &envelope.source;
        let unreadable = Source {
            ip: source.ip.as_ref().map(|_| Personal(Erased::unreadable())),
            user_agent: source.user_agent.as_ref().map(|_| Personal(Erased::unreadable())),
            token: source.token,
        };
        prop_assert_eq!(blind.source, unreadable);
        prop_assert_eq!(blind.event.type_name(), envelope.event.type_name());
        prop_assert_eq!(blind.id, envelope.id);
    }

    #[test]
    fn what_was_sealed_of_one_subject_is_gone_with_its_data_key_and_of_no_other(
        envelope in arbitrary::envelope()
    ) {
        let bytes = sealed(&envelope);
        let text = std::str::from_utf8(&bytes).unwrap();
        let Some(erased) = sealing::subjects(text).next() else { return Ok(()) };
        let keys = Keys { erased: vec![erased], ..Keys::default() };
        let lost = Keys { lost: vec![erased], ..Keys::default() };
        // What is lost stands where it was, and never reads as erased.
        let unreadable = opened(&bytes, &lost).unwrap().into_owned();
        let opened = opened(&bytes, &keys).unwrap();
        prop_assert_eq!(unreadable.replace("\"[unreadable]\"", "null"), opened.as_ref());
        prop_assert!(unreadable != opened);
        prop_assert!(Envelope::open_with(&bytes, &lost).is_ok());
        let all = sealing::subjects(text).count();
        let gone = sealing::subjects(text).filter(|subject| *subject == erased).count();
        prop_assert!(gone > 0 && gone <= all);
        prop_assert!(!opened.contains(PLACE));
        // What is sealed after the erasure leaves the values out, and can be read.
        let again = envelope.seal(&keys).unwrap();
        prop_assert!(!again.whole);
        prop_assert_eq!(
            Envelope::open_with(&again.bytes, &Keys::default()).unwrap(),
            Envelope::open_with(&bytes, &keys).unwrap()
        );
    }

    #[test]
    fn a_sealed_value_opens_in_no_other_place(envelope in arbitrary::envelope(), other in arbitrary::event_id()) {
        let text = String::from_utf8(sealed(&envelope)).unwrap();
        prop_assume!(text.contains(SEALED) && other != envelope.id);
        let moved = text.replacen(&envelope.id.to_string(), &other.to_string(), 1);
        prop_assert!(Envelope::open_with(moved.as_bytes(), &Keys::default()).is_err());
        let values: Vec<&str> = text.split(SEALED).skip(1).filter_map(|rest| rest.split('"').next()).collect();
        if let [first, second, ..] = values[..] {
            prop_assume!(first != second);
            let swapped = text.replacen(first, "\u{1}", 1).replacen(second, first, 1).replacen('\u{1}', second, 1);
            prop_assert!(Envelope::open_with(swapped.as_bytes(), &Keys::default()).is_err());
        }
    }

    #[test]
    fn what_is_sealed_together_is_once_in_the_text_and_fits_its_places_only(envelope in arbitrary::envelope()) {
        let text = String::from_utf8(sealed(&envelope)).unwrap();
        let subjects: Vec<_> = sealing::subjects(&text).collect();
        let different: std::collections::BTreeSet<_> = subjects.iter().copied().collect();
        prop_assert_eq!(subjects.len(), different.len());
        prop_assert_eq!(subjects.len(), text.matches(SEALED).count());
        let places: Vec<_> = text.match_indices(PLACE).collect();
        prop_assume!(places.len() > subjects.len());
        // A place fewer, one more, and a value that is said to stand elsewhere.
        let later = places.iter().find(|(at, _)| !text[at + PLACE.len()..].starts_with('"')).unwrap().0;
        let end = later + text[later..].find('}').unwrap() + 1;
        for other in ["null".to_owned(), text[later..end].repeat(2), format!("{PLACE}{later}}}"), format!("{PLACE}x}}")] {
            let changed = format!("{}{other}{}", &text[..later], &text[end..]);
            prop_assert!(opened(changed.as_bytes(), &Keys::default()).is_err(), "{}", changed);
        }
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
        let bytes = sealed(&envelope);
        prop_assert!(Envelope::open(&bytes[..at.index(bytes.len())]).is_err());
    }

    #[test]
    fn a_field_that_nobody_knows_is_refused_wherever_it_stands(envelope in arbitrary::envelope()) {
        let text = String::from_utf8(sealed(&envelope)).unwrap();
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
