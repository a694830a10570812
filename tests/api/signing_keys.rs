//! The keys that organizations sign tokens with: rotated, retired, revoked. And the end of a key's tokens.

use std::thread;
use std::time::Duration;

use keyledger::edge::Edge;
use keyledger::secret::{MasterKey, parse_master_key};
use keyledger::store::sqlite::{Options, SqliteStore};
use keyledger::store::{Direction, EventStore, Expected, NewEvent};
use keyledger::token::jwk::thumbprint;
use keyledger_schema::codec::Outcome;
use keyledger_schema::event::{Hex32, SigningKeyAdded};
use keyledger_schema::{
    Actor, ChainHash, Envelope, Event, EventId, OrganizationId, Source, Stream, Timestamp,
};
use serde_json::{Value, json};

use crate::ask::{attempt, data, eventually, short_lived_key, text, types, world};
use crate::support::{Client, Home, Server};

const KEYS: &str = "generation kid publicKey status addedAt signsFrom retiredAt revokedAt";

fn signing_keys(client: &Client, organization: Option<&str>) -> Value {
    let query = format!("query($id: ID) {{ organization(id: $id) {{ signingKeys {{ {KEYS} }} }} }}");
    data(client, &query, &json!({ "id": organization }))["organization"]["signingKeys"].take()
}

fn statuses(client: &Client) -> Vec<String> {
    let keys = signing_keys(client, None);
    keys.as_array().unwrap().iter().map(|key| text(&key["status"])).collect()
}

fn change(client: &Client, mutation: &str, input: &Value) -> Value {
    let input_type = format!("{}{}Input", mutation[..1].to_uppercase(), &mutation[1..]);
    let query = format!(
        "mutation($input: {input_type}!) {{ {mutation}(input: $input) {{
            organization {{ id revision signingKeys {{ {KEYS} }} }}
            events {{ type data actor {{ kind }} changes {{ field before after }} }} }} }}"
    );
    data(client, &query, &json!({ "input": input }))[mutation].take()
}

fn moment(value: &Value) -> Timestamp {
    text(value).parse().unwrap()
}

fn master(home: &Home) -> MasterKey {
    parse_master_key(&std::fs::read_to_string(home.data_dir().join("master.key")).unwrap()).unwrap()
}

#[test]
fn a_rotated_key_is_known_before_it_signs_and_survives_a_restart() {
    let server = Server::fresh();
    let root = server.root();
    let first = signing_keys(&root, None);
    assert_eq!((&first[0]["generation"], &first[0]["status"]), (&json!(1), &json!("SIGNING")));
    assert_eq!(first[0]["addedAt"], first[0]["signsFrom"]);
    let rotated = change(&root, "rotateSigningKey", &json!({}));
    let keys = rotated["organization"]["signingKeys"].clone();
    assert_eq!(statuses(&root), ["SIGNING", "NEXT"]);
    assert_eq!(keys[0], first[0], "the one that signs stays as it is");
    let notice = moment(&keys[1]["addedAt"]).plus(Duration::from_mins(10));
    assert_eq!(moment(&keys[1]["signsFrom"]), notice);
    // Anybody can work out the key's name, and the master key alone makes the key.
    let organization: OrganizationId = text(&rotated["organization"]["id"]).parse().unwrap();
    let public_key = master(server.home()).signing_key(organization, 2).verifying_key();
    assert_eq!(keys[1]["kid"], thumbprint(public_key.as_bytes()));
    assert_eq!(keys[1]["publicKey"], blake3::Hash::from_bytes(public_key.to_bytes()).to_hex().as_str());
    let event = &rotated["events"][0];
    assert_eq!(event["type"], "organization.signing_key_added");
    assert_eq!(event["actor"]["kind"], "KEY");
    let changed = event["changes"].as_array().unwrap();
    let change = changed.iter().find(|change| change["field"] == "signingKey").unwrap();
    assert_eq!((&change["before"], &change["after"]["generation"]), (&json!(null), &json!(2)));
    let server = Server::start(&server.stop(), &[]);
    assert_eq!(signing_keys(&server.root(), None), keys);
}

#[test]
fn so_many_signing_keys_count_and_rotations_at_the_same_time_follow_one_another() {
    let server = Server::fresh();
    let root = server.root();
    let answers: Vec<String> = thread::scope(|scope| {
        let ask = || scope.spawn(|| attempt(&root, "rotateSigningKey", &json!({})).code().to_owned());
        let asked: Vec<_> = (0..6).map(|_| ask()).collect();
        asked.into_iter().map(|answer| answer.join().unwrap()).collect()
    });
    assert_eq!(answers.iter().filter(|code| code.is_empty()).count(), 3, "{answers:?}");
    assert_eq!(answers.iter().filter(|code| *code == "ILLEGAL_TRANSITION").count(), 3, "{answers:?}");
    let keys = signing_keys(&root, None);
    let generations: Vec<&Value> = keys.as_array().unwrap().iter().map(|key| &key["generation"]).collect();
    assert_eq!(generations, [1, 2, 3, 4]);
    assert_eq!(statuses(&root), ["SIGNING", "NEXT", "NEXT", "NEXT"]);
    let refused = attempt(&root, "rotateSigningKey", &json!({}));
    assert_eq!(refused.field(), "input.organizationId");
    assert!(refused.message().contains("revoke one"), "{}", refused.message());
}

#[test]
fn revoking_the_signing_key_brings_a_new_one_at_once_and_is_done_once() {
    let server = Server::fresh();
    let root = server.root();
    let input = json!({ "generation": 1, "comment": "backup lost" });
    let revoked = change(&root, "revokeSigningKey", &input);
    let events: Vec<&str> =
        revoked["events"].as_array().unwrap().iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(events, ["organization.signing_key_added", "organization.signing_key_revoked"]);
    assert_eq!(revoked["events"][1]["data"]["comment"], "backup lost");
    let keys = &revoked["organization"]["signingKeys"];
    assert_eq!((&keys[0]["status"], &keys[1]["status"]), (&json!("REVOKED"), &json!("SIGNING")));
    assert!(keys[0]["revokedAt"].is_string() && keys[1]["revokedAt"].is_null(), "{keys}");
    assert_eq!(keys[1]["signsFrom"], keys[1]["addedAt"]);
    // The one that signs changed, and so did the field that has always told it.
    let told = data(&root, "{ organization { signingPublicKey } }", &json!({}));
    assert_eq!(told["organization"]["signingPublicKey"], keys[1]["publicKey"]);
    let again = change(&root, "revokeSigningKey", &input);
    assert_eq!(again["events"], json!([]));
    let unknown = attempt(&root, "revokeSigningKey", &json!({ "generation": 9 }));
    assert_eq!((unknown.code(), unknown.field()), ("NOT_FOUND", "input.generation"));
    let long = json!({ "generation": 2, "comment": "x".repeat(501) });
    let long = attempt(&root, "revokeSigningKey", &long);
    assert_eq!((long.code(), long.field()), ("INVALID_INPUT", "input.comment"));
    // Keys go on as before, and everything survives a restart.
    let issued = root.create_key("a").run();
    let server = Server::start(&server.stop(), &[]);
    assert!(server.root().verify(&issued.secret()).unwrap().valid);
    assert_eq!(statuses(&server.root()), ["REVOKED", "SIGNING"]);
}

#[test]
fn an_edit_of_signing_keys_that_was_made_blindly_is_refused() {
    let server = Server::fresh();
    let root = server.root();
    let seen = change(&root, "rotateSigningKey", &json!({}))["organization"]["revision"].clone();
    let rename = data(&root, "{ organization { id } }", &json!({}))["organization"]["id"].clone();
    assert_eq!(attempt(&root, "renameOrganization", &json!({ "id": rename, "name": "New" })).code(), "");
    let input = json!({ "expectedRevision": seen });
    assert_eq!(attempt(&root, "rotateSigningKey", &input).code(), "", "a new name is about something else");
    let late = attempt(&root, "rotateSigningKey", &input);
    assert_eq!((late.code(), late.field()), ("CONFLICT", "input.expectedRevision"));
    let late = json!({ "generation": 2, "expectedRevision": seen });
    assert_eq!(attempt(&root, "revokeSigningKey", &late).code(), "CONFLICT");
}

#[test]
fn signing_keys_of_others_cannot_be_told_from_none() {
    let world = world();
    let foreign = world.other_tenant.organization.as_str();
    for (mutation, generation) in [("rotateSigningKey", None), ("revokeSigningKey", Some(1))] {
        let mut input = json!({ "organizationId": foreign });
        if let Some(generation) = generation {
            input["generation"] = json!(generation);
        }
        let foreign = attempt(&world.root, mutation, &input);
        input["organizationId"] = "org_01h455vb4pex5vsknk084sn02q".into();
        let unknown = attempt(&world.root, mutation, &input);
        assert_eq!((foreign.code(), foreign.field()), ("NOT_FOUND", "input.organizationId"));
        assert_eq!(foreign.body["errors"][0]["message"], unknown.body["errors"][0]["message"]);
        input["organizationId"] = "org_1".into();
        let wrong = attempt(&world.root, mutation, &input);
        assert_eq!((wrong.code(), wrong.field()), ("INVALID_INPUT", "input.organizationId"));
    }
    assert_eq!(statuses(&world.other), ["SIGNING"]);
    let own = signing_keys(&world.root, None)[0]["kid"].clone();
    assert_ne!(own, signing_keys(&world.other, None)[0]["kid"]);
}

/// Adds a second key to the log that began to sign so long ago.
fn added_long_ago(home: &Home, ago: Duration) {
    let organization: OrganizationId = home.tenant().organization.parse().unwrap();
    let edge = Edge::default();
    let stream = Stream::Organization(organization);
    let store = SqliteStore::open(&home.data_dir(), Options::default()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let name = stream.to_string();
    let known = runtime.block_on(store.read_stream(&name, None, Direction::Backward, 1)).unwrap();
    let last = known.last().unwrap();
    let public_key = master(home).signing_key(organization, 2).verifying_key().to_bytes();
    let envelope = Envelope {
        id: EventId::from_uuid(edge.uuid()),
        stream,
        revision: last.revision + 1,
        at: edge.now(),
        organization: Some(organization),
        workspace: None,
        actor: Actor::operator(),
        source: Source::default(),
        request: None,
        cause: None,
        outcome: Outcome::Success,
        prev: Some(ChainHash::of(&last.bytes)),
        event: Event::SigningKeyAdded(SigningKeyAdded {
            generation: 2,
            public_key: Hex32(public_key),
            signs_from: edge.now().minus(ago),
        }),
    };
    let bytes = envelope.seal(&home.vault()).unwrap().bytes;
    let new = NewEvent {
        id: envelope.id.uuid(),
        event_type: envelope.event.type_name().into(),
        bytes: bytes.into(),
    };
    runtime.block_on(store.append(&name, Expected::Exact(last.revision), vec![new])).unwrap();
}

#[test]
fn a_key_is_retired_by_the_server_when_no_token_of_it_can_be_good() {
    let home = Home::initialized();
    added_long_ago(&home, Duration::from_hours(24));
    let server = Server::start(&home, &[]);
    thread::sleep(Duration::from_secs(3));
    assert_eq!(statuses(&server.root()), ["VERIFYING", "SIGNING"], "five minutes are left for wrong clocks");
    server.stop();

    let home = Home::initialized();
    added_long_ago(&home, Duration::from_hours(24) + Duration::from_mins(5));
    let server = Server::start(&home, &[]);
    let root = server.root();
    eventually("the retirement", || statuses(&root) == ["RETIRED", "SIGNING"]);
    let query = "{ events(filter: { types: [\"organization.signing_key_retired\"] }) { nodes {
        data actor { kind } changes { field after } } } }";
    let events = data(&root, query, &json!({}))["events"]["nodes"].take();
    assert_eq!(events.as_array().unwrap().len(), 1);
    assert_eq!(events[0]["data"], json!({ "generation": 1 }));
    assert_eq!(events[0]["actor"]["kind"], "NODE");
    assert_eq!(events[0]["changes"][0]["after"]["generation"], 1);
    // A retired key has no tokens that could be revoked.
    assert_eq!(change(&root, "revokeSigningKey", &json!({ "generation": 1 }))["events"], json!([]));
}

#[test]
fn the_tokens_of_a_key_are_revoked_while_it_can_be_used() {
    let server = Server::fresh();
    let root = server.root();
    let issued = root.create_key("a").run();
    let id = issued.id();
    let revoke = json!({ "id": id, "comment": "laptop stolen" });
    assert_eq!(attempt(&root, "revokeTokens", &revoke).code(), "");
    assert_eq!(types(&root, &id), ["key.issued", "key.tokens_revoked"]);
    let fields = "tokensRevokedUntil events(filter: { types: [\"key.tokens_revoked\"] }) { nodes {
        at data changes { field before after } } }";
    let key = root.key(&id, fields).unwrap();
    let event = &key["events"]["nodes"][0];
    assert_eq!(event["data"], json!({ "until": event["at"], "comment": "laptop stolen" }));
    assert_eq!(key["tokensRevokedUntil"], event["at"]);
    assert_eq!(
        event["changes"],
        json!([{ "field": "tokensRevokedUntil", "before": null, "after": event["at"] }])
    );
    // The key itself goes on, and tokens that are made later can be revoked as well.
    assert!(root.verify(&issued.secret()).unwrap().valid);
    assert_eq!(attempt(&root, "revokeTokens", &revoke).code(), "");
    assert_eq!(types(&root, &id).len(), 3);
    // Out of use for good, it has no token that could be good.
    root.revoke_key(&id, "UNUSED").unwrap();
    assert_eq!(attempt(&root, "revokeTokens", &revoke).code(), "");
    let short = short_lived_key(&root, "b");
    eventually("the expiry", || root.verify(&short.secret()).unwrap().code == "EXPIRED");
    assert_eq!(attempt(&root, "revokeTokens", &json!({ "id": short.id() })).code(), "");
    assert_eq!(types(&root, &id).len(), 4);
    let missing = attempt(&root, "revokeTokens", &json!({ "id": "key_01h455vb4pex5vsknk084sn02q" }));
    assert_eq!((missing.code(), missing.field()), ("NOT_FOUND", "input.id"));
}
