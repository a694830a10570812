use super::*;
use crate::event::{KeyRevoked, RevocationReason};
use crate::id::KeyId;
use crate::personal::Personal;
use proptest::prelude::*;
use uuid::Uuid;

#[path = "../../tests/keys/mod.rs"]
mod keys;
use keys::Keys;

fn sealed(envelope: &Envelope) -> Vec<u8> {
    envelope.seal(&Keys::default()).unwrap().bytes
}

fn revoked() -> Envelope {
    let key = KeyId::from_uuid(Uuid::from_u128(7));
    Envelope {
        id: EventId::from_uuid(Uuid::from_u128(1)),
        stream: Stream::Key(key),
        revision: 3,
        at: "2026-11-21T09:14:14.252913Z".parse().unwrap(),
        organization: Some(OrganizationId::from_uuid(Uuid::from_u128(2))),
        workspace: None,
        actor: Actor::key(key, "root.7@keys.acme", None),
        source: Source { ip: Some(Personal("203.0.113.7".parse().unwrap())), user_agent: None, token: None },
        request: None,
        cause: None,
        outcome: Outcome::Success,
        prev: Some(ChainHash([9; 32])),
        event: Event::KeyRevoked(KeyRevoked { reason: RevocationReason::Compromised, comment: None }),
    }
}

#[test]
fn sealed_bytes_are_one_object_in_a_fixed_order() {
    let bytes = sealed(&revoked());
    let text = String::from_utf8(bytes).unwrap();
    assert!(
        text.starts_with(
            r#"{"id":"evt_00000000000000000000000001","type":"key.revoked","v":1,"stream":"key-key_"#
        ),
        "{text}"
    );
    assert!(text.ends_with(r#","data":{"reason":"COMPROMISED"}}"#), "{text}");
}

#[test]
fn unknown_fields_of_the_envelope_and_of_the_data_are_refused() {
    let text = String::from_utf8(sealed(&revoked())).unwrap();
    let envelope = text.replacen("{\"id\"", "{\"only_on_sundays\":true,\"id\"", 1);
    assert!(
        matches!(Envelope::open(envelope.as_bytes()), Err(Error::Envelope(m)) if m.contains("only_on_sundays"))
    );
    let data = text.replacen("{\"reason\"", "{\"only_on_sundays\":true,\"reason\"", 1);
    assert!(
        matches!(Envelope::open(data.as_bytes()), Err(Error::Data { source: event::Error::Data(m), .. }) if m.contains("only_on_sundays"))
    );
}

#[test]
fn unknown_types_and_versions_are_refused_by_name() {
    let text = String::from_utf8(sealed(&revoked())).unwrap();
    let other = text.replacen("key.revoked", "key.resurrected", 1);
    let error = Envelope::open(other.as_bytes()).unwrap_err();
    assert_eq!(error.to_string(), "key.resurrected version 1: unknown event type");
    let newer = text.replacen("\"v\":1", "\"v\":2", 1);
    let error = Envelope::open(newer.as_bytes()).unwrap_err();
    assert_eq!(error.to_string(), "key.revoked version 2: unknown version 2 of this event type");
}

#[test]
fn old_versions_are_lifted_step_by_step() {
    // As if `key.revoked` had once been written with a free text, then with a lower-case code.
    let upcasters = [
        Upcaster {
            event_type: "key.revoked",
            from: 1,
            lift: |data| {
                data.insert("comment".into(), "lifted".into());
            },
        },
        Upcaster { event_type: "key.enabled", from: 1, lift: |data| data.clear() },
    ];
    let bytes = sealed(&revoked());
    let text = opened(&bytes, &Keys::default()).unwrap();
    // Version 2 does not exist in the vocabulary, so lifting to it must end in a refusal …
    assert!(matches!(
        Envelope::read(&text, &upcasters),
        Err(Error::Data { source: event::Error::UnknownVersion(2), .. })
    ));
    // … and lifting from an imagined version 0 to version 1 must give today's event.
    let upcasters = [Upcaster { from: 0, ..upcasters[0] }];
    let older = text.replacen("\"v\":1", "\"v\":0", 1);
    let opened = Envelope::read(&older, &upcasters).unwrap();
    let expected =
        KeyRevoked { reason: RevocationReason::Compromised, comment: Some(Personal("lifted".into())) };
    assert_eq!(opened.event, Event::KeyRevoked(expected));
}

#[test]
fn an_event_over_the_limit_is_refused() {
    let mut envelope = revoked();
    let comment = Some(Personal("x".repeat(MAX_EVENT_BYTES).into()));
    envelope.event = Event::KeyRevoked(KeyRevoked { reason: RevocationReason::Other, comment });
    assert!(matches!(envelope.seal(&Keys::default()), Err(Error::TooLarge(_))));
}

proptest! {
    #[test]
    fn reading_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = Envelope::open(&bytes);
    }

    #[test]
    fn opening_never_panics(
        pieces in prop::collection::vec(
            prop::sample::select(vec!["{\"sealed\":", "\"", "}", "0", "1", "-", "AQ", "\u{e9}", "{\"id\":\"x\"", ",\"stream\":\"y\""]),
            0..12,
        ),
    ) {
        let text = format!("{{\"id\":\"a\",\"stream\":\"b\",{}", pieces.concat());
        let _ = opened(text.as_bytes(), &Keys::default());
        let _ = sealing::subjects(&text).count();
    }

    #[test]
    fn any_changed_byte_is_an_error_or_another_event(at in 0usize..400, to: u8) {
        let envelope = revoked();
        let mut bytes = sealed(&envelope);
        let at = at % bytes.len();
        prop_assume!(bytes[at] != to);
        bytes[at] = to;
        if let Ok(other) = Envelope::open_with(&bytes, &Keys::default()) {
            prop_assert_ne!(other, envelope);
        }
    }

    #[test]
    fn the_chain_hash_depends_on_every_byte(bytes in prop::collection::vec(any::<u8>(), 1..300), at: usize) {
        let mut other = bytes.clone();
        let at = at % bytes.len();
        other[at] ^= 1;
        prop_assert_ne!(ChainHash::of(&bytes), ChainHash::of(&other));
    }
}
