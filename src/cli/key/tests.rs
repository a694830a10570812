use super::*;
use crate::cli::{Cli, Command};
use clap::Parser;

pub(crate) const ID: &str = "key_01h455vb4pex5vsknk084sn02q";
const ROLE: &str = "role_01h455vb4pex5vsknk084sn02q";
pub(crate) const WS: &str = "ws_01h455vb4pex5vsknk084sn02q";

pub(crate) fn command(arguments: &[&str]) -> KeyCommand {
    let arguments = ["keyledger", "key"].iter().chain(arguments);
    match Cli::try_parse_from(arguments).unwrap_or_else(|error| panic!("{error}")).command {
        Command::Key(args) => args.command,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn client() -> Client {
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
        "--role",
        ROLE,
        "--rate-limit",
        "api=600/60s",
        "--identity",
        "idn_01h455vb4pex5vsknk084sn02q",
        "--credits",
        "10",
        "--refill-amount",
        "20",
        "--refill-interval",
        "1h",
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
        "roleIds": [ROLE], "rateLimits": [{ "name": "api", "limit": 600, "windowSeconds": 60 }],
        "grants": [{ "role": "VERIFIER", "workspaceId": WS }],
        "allowedCidrs": ["203.0.113.7/32"], "expiresAt": "2027-01-31T00:00:00.000000Z",
        "identityId": "idn_01h455vb4pex5vsknk084sn02q",
        "credits": { "remaining": 10, "refillAmount": 20, "refillIntervalSeconds": 3_600 },
        "metadata": { "team": "x" }, "prefix": "acme", "idempotencyKey": "once",
    });
    assert_eq!(input, expected);
}

#[test]
fn an_update_replaces_only_the_lists_that_were_named() {
    let update = |arguments: &[&str]| match command(&[&["update", ID], arguments].concat()) {
        KeyCommand::Update(args) => update_input(&args, &client()).unwrap(),
        other => panic!("{other:?}"),
    };
    assert_eq!(update(&["--name", "b"]), json!({ "id": ID, "name": "b" }));
    assert_eq!(update(&["--no-scopes", "--no-cidrs"]), json!({ "id": ID, "scopes": [], "allowedCidrs": [] }));
    let emptied = update(&["--no-roles", "--no-grants", "--no-rate-limits", "--if-revision", "7"]);
    let expected = json!({ "id": ID, "roleIds": [], "grants": [], "rateLimits": [], "expectedRevision": 7 });
    assert_eq!(emptied, expected);
    assert_eq!(update(&["--role", ROLE])["roleIds"], json!([ROLE]));
    assert_eq!(update(&["--cidr", "::/0"]), json!({ "id": ID, "allowedCidrs": ["::/0"] }));
}

#[test]
fn a_repeatable_create_names_the_moment_of_its_expiry() {
    let arguments = ["create", "a", "-e", "staging", "--idempotency-key", "once", "--expires"];
    let KeyCommand::Create(args) = command(&[&arguments[..], &["90d"]].concat()) else { panic!() };
    let refused = create_input(&args, &client(), &Edge::default()).unwrap_err();
    assert_eq!(refused.code, "USAGE");
    let remedy = refused.message.rsplit(' ').next().unwrap();
    let input = create(&[&arguments[..], &[remedy]].concat());
    assert!(input["expiresAt"].is_string(), "{remedy}");
}
