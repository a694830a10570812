use super::*;
use crate::cli::{Cli, Command};
use clap::Parser;

const ID: &str = "key_01h455vb4pex5vsknk084sn02q";
const WS: &str = "ws_01h455vb4pex5vsknk084sn02q";

fn command(arguments: &[&str]) -> KeyCommand {
    let arguments = ["keyledger", "key"].iter().chain(arguments);
    match Cli::try_parse_from(arguments).unwrap_or_else(|error| panic!("{error}")).command {
        Command::Key(args) => args.command,
        other => panic!("{other:?}"),
    }
}

fn client() -> Client {
    let arguments = ["keyledger", "whoami", "--url", "http://127.0.0.1:1"];
    match Cli::try_parse_from(arguments).unwrap().command {
        Command::Whoami(args) => Client::new(&args.connection, Some("kl_prod_x".into())).unwrap(),
        other => panic!("{other:?}"),
    }
}

fn create(arguments: &[&str]) -> Value {
    match command(arguments) {
        KeyCommand::Create(args) => create_input(&args, &client(), &Edge::default()).unwrap(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn only_what_was_typed_is_sent() {
    let input = create(&["create", "billing", "--environment", "production"]);
    assert_eq!(input, json!({ "name": "billing", "environment": "PRODUCTION", "scopes": [] }));
}

#[test]
fn everything_that_can_be_typed_is_sent() {
    let grant = format!("verifier@workspace:{WS}");
    let input = create(&[
        "create",
        "billing",
        "-e",
        "staging",
        "-w",
        WS,
        "--scope",
        "read:customers/**",
        "--scope",
        "*:*",
        "--grant",
        &grant,
        "--cidr",
        "203.0.113.7",
        "--expires",
        "2027-01-31T00:00:00Z",
        "--metadata",
        r#"{"team":"x"}"#,
        "--prefix",
        "acme",
        "--idempotency-key",
        "once",
    ]);
    let expected = json!({
        "name": "billing", "environment": "STAGING", "workspaceId": WS,
        "scopes": [{ "action": "READ", "resource": "customers/**" }, { "action": "ANY", "resource": "*" }],
        "grants": [{ "role": "VERIFIER", "workspaceId": WS }],
        "allowedCidrs": ["203.0.113.7/32"], "expiresAt": "2027-01-31T00:00:00.000000Z",
        "metadata": { "team": "x" }, "prefix": "acme", "idempotencyKey": "once",
    });
    assert_eq!(input, expected);
}

#[test]
fn an_update_replaces_only_the_lists_that_were_named() {
    let update = |arguments: &[&str]| match command(&[&["update", ID], arguments].concat()) {
        KeyCommand::Update(args) => update_input(&args).unwrap(),
        other => panic!("{other:?}"),
    };
    assert_eq!(update(&["--name", "b"]), json!({ "id": ID, "name": "b" }));
    assert_eq!(update(&["--no-scopes", "--no-cidrs"]), json!({ "id": ID, "scopes": [], "allowedCidrs": [] }));
    assert_eq!(update(&["--cidr", "::/0"]), json!({ "id": ID, "allowedCidrs": ["::/0"] }));
}

#[test]
fn a_list_shows_active_keys_unless_told_otherwise() {
    let variables = |arguments: &[&str]| match command(&[&["list"], arguments].concat()) {
        KeyCommand::List(args) => list_variables(&args, &Edge::default()),
        other => panic!("{other:?}"),
    };
    let plain = json!({
        "filter": { "statuses": ["ACTIVE"] }, "orderBy": { "field": "CREATED_AT", "direction": "DESC" }
    });
    assert_eq!(variables(&[]), plain);
    let all = variables(&["--status", "all", "--sort", "name", "--reverse", "--unacknowledged"]);
    assert_eq!(all["filter"]["statuses"], json!(["ACTIVE", "INACTIVE", "EXPIRED", "REVOKED", "DELETED"]));
    assert_eq!(all["filter"]["secretAcknowledged"], json!(false));
    assert_eq!(all["orderBy"], json!({ "field": "NAME", "direction": "DESC" }));
}

#[test]
fn what_was_done_is_told_and_what_was_not_too() {
    let key = json!({ "id": "key_1", "name": "a\u{1b}b", "environment": "PRODUCTION", "status": "REVOKED" });
    assert_eq!(
        told(&key, &json!({ "events": [{}] }), "revoked"),
        "revoked key_1 \"a\u{fffd}b\" (production, revoked)"
    );
    assert!(told(&key, &json!({ "events": [] }), "revoked").starts_with("unchanged key_1"));
}

#[test]
fn a_key_is_described_without_empty_fields() {
    let shown = described(&json!({
        "id": "key_1", "name": "billing", "status": "ACTIVE", "environment": "PRODUCTION",
        "workspace": { "id": "ws_1", "name": "main" }, "scopes": [{ "text": "read:a" }], "grants": [],
        "allowedCidrs": [], "metadata": {}, "secretHint": "kl_prod_abcd", "secretVersion": 1,
        "createdAt": "2026-11-21T09:14:14Z", "usage": { "valid": 3, "refused": 1, "lastCode": "VALID" },
    }));
    let expected = "\
id             key_1
name           billing
status         active
environment    production
workspace      main (ws_1)
scopes         read:a
allowed from   everywhere
secret         kl_prod_abcd…, version 1
acknowledged   no
created        2026-11-21 09:14:14Z
expires        never
verifications  3 valid, 1 refused";
    assert_eq!(shown, expected);
}
