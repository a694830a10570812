//! Organizations, policies, roles and workspaces, as those who manage them type it.

use crate::harness::{Server, json};
use serde_json::{Value, json as value};

fn id(payload: &Value) -> &str {
    payload["id"].as_str().expect("an id")
}

#[test]
fn organizations_are_made_shown_renamed_and_moved() {
    let server = Server::start();
    let made = server.json(&["organization", "create", "Labs", "--bootstrap"]);
    let labs = id(&made["createOrganization"]["organization"]);
    assert_eq!(made["bootstrapOrganization"]["organization"]["bootstrapped"], true);
    let made = server.json(&["organization", "create", "Research"]);
    let research = id(&made["createOrganization"]["organization"]);
    assert_eq!(made["createOrganization"]["organization"]["bootstrapped"], false);

    assert!(server.text(&["organization", "bootstrap", research]).starts_with("bootstrapped org_"));
    assert_eq!(server.run(&["organization", "bootstrap", research]).code, 1, "only once");
    assert!(
        server.text(&["organization", "rename", research, "Deep Research"]).contains("\"Deep Research\"")
    );
    assert!(server.text(&["organization", "move", research, "--parent", labs]).starts_with("moved "));
    assert!(server.text(&["organization", "move", research, "--parent", labs]).starts_with("unchanged "));
    let circle = server.run(&["organization", "move", labs, "--parent", research]);
    assert_eq!(circle.code, 1, "{}", circle.err);

    let list = server.text(&["organization", "list"]);
    assert!(list.contains(labs) && list.contains("Deep Research") && list.contains("Labs (org_"), "{list}");
    let shown = server.text(&["organization", "show", research]);
    for line in ["name          Deep Research\n", "bootstrapped  yes\n", "keys          on\n"] {
        assert!(shown.contains(line), "{line} is missing in\n{shown}");
    }
    assert!(shown.contains("RULE") && shown.contains(&format!("Labs ({labs})")), "{shown}");
    let stale = server.run(&["organization", "rename", research, "X", "--if-revision", "0", "--json"]);
    assert_eq!(json(&stale.err)["error"]["code"], "CONFLICT");
}

#[test]
fn a_policy_is_tried_set_and_taken_away() {
    let server = Server::start();
    server.json(&["key", "create", "old", "-e", "development"]);
    let set = |arguments: &[&str]| server.run(&[&["organization", "policy", "set"], arguments].concat());
    let tried = set(&["--environments", "production,staging", "--dry-run"]);
    assert_eq!(tried.code, 0, "{}", tried.err);
    assert!(tried.out.contains("nothing was changed"), "{}", tried.out);
    assert!(tried.out.contains("1 key breaks the rules"), "{}", tried.out);
    assert!(tried.out.contains("environments production,staging: development"), "{}", tried.out);
    assert!(!server.text(&["organization", "policy", "show"]).contains("staging"));

    let done = set(&["--max-ttl", "90d", "--default-ttl", "30d", "--max-rate", "1000/60s"]);
    assert_eq!(done.code, 0, "{}", done.err);
    assert!(done.out.starts_with("set the policy of org_"), "{}", done.out);
    let shown = server.text(&["organization", "policy", "show"]);
    for rule in ["max-ttl             90d", "default-ttl         30d", "max-rate            1000/1m"] {
        assert!(shown.contains(rule), "{rule} is missing in\n{shown}");
    }
    let refused = server.run(&["key", "create", "new", "-e", "staging", "--expires", "52w", "--json"]);
    assert_eq!(json(&refused.err)["error"]["code"], "POLICY_VIOLATION");
    assert_eq!(set(&["--max-ttl", "unset", "--default-ttl", "unset", "--max-rate", "unset"]).code, 0);
    let shown = server.json(&["organization", "policy", "show"]);
    assert_eq!(shown["organization"]["policy"]["maxTtl"], Value::Null);
    assert_eq!(set(&[]).code, 2);
    assert_eq!(set(&["--api-keys", "perhaps"]).code, 2);
}

#[test]
fn signing_keys_are_listed_rotated_and_revoked() {
    let server = Server::start();
    let listed = server.text(&["organization", "signing-keys"]);
    assert!(listed.contains("GENERATION") && listed.contains("signing"), "{listed}");
    let rotated = server.text(&["organization", "rotate-signing-key"]);
    assert!(rotated.starts_with("added a signing key to org_") && rotated.contains("next"), "{rotated}");
    let unsure = server.run(&["organization", "revoke-signing-key", "--generation", "1", "--json"]);
    assert_eq!(json(&unsure.err)["error"]["code"], "CONFIRMATION_REQUIRED");
    let revoke = ["organization", "revoke-signing-key", "--generation", "1", "--comment", "lost", "--yes"];
    let revoked = server.text(&revoke);
    assert!(revoked.starts_with("revoked a signing key of org_") && revoked.contains("revoked"), "{revoked}");
    assert!(server.text(&revoke).starts_with("unchanged org_"));
    let keys = server.json(&["organization", "signing-keys"])["organization"]["signingKeys"].take();
    let statuses: Vec<&Value> = keys.as_array().unwrap().iter().map(|key| &key["status"]).collect();
    assert_eq!(statuses, ["REVOKED", "RETIRED", "SIGNING"]);
    let unknown = server.run(&["organization", "revoke-signing-key", "--generation", "9", "--yes"]);
    assert_eq!(unknown.code, 5, "{}", unknown.err);
    let wrong = server.run(&["organization", "revoke-signing-key", "--generation", "0", "--yes"]);
    assert_eq!(wrong.code, 2);

    let key = server.json(&["key", "create", "laptop", "-e", "staging"]);
    let done = server.text(&["key", "revoke-tokens", id(&key["createKey"]["key"]), "--comment", "stolen"]);
    assert!(done.starts_with("revoked the tokens of key_"), "{done}");
    let done = server.run(&["organization", "policy", "set", "--token-lifetime", "5m"]);
    assert!(done.out.contains("token-lifetime      5m"), "{}", done.out);
    let refused = server.run(&["organization", "policy", "set", "--token-lifetime", "2d", "--json"]);
    assert_eq!(json(&refused.err)["error"]["field"], "input.tokenLifetime");
}

#[test]
fn switching_keys_off_needs_a_yes() {
    let server = Server::start();
    // The own organization's keys would be switched off with those of the others.
    let made = server.json(&["organization", "create", "Labs", "--bootstrap"]);
    let labs = id(&made["createOrganization"]["organization"]);
    let off = ["organization", "policy", "set", labs, "--api-keys", "off"];
    let done = server.run(&[&off[..], &["--json"]].concat());
    assert_eq!((done.code, done.out.as_str()), (2, ""));
    assert_eq!(json(&done.err)["error"]["code"], "CONFIRMATION_REQUIRED");
    let tried = server.run(&[&off[..], &["--dry-run"]].concat());
    assert_eq!(tried.code, 0, "{}", tried.err);
    assert_eq!(server.json(&["organization", "show", labs])["organization"]["apiKeysEnabled"], true);
    let done = server.run(&[&off[..], &["--yes"]].concat());
    assert_eq!(done.code, 0, "{}", done.err);
    assert!(done.err.contains("warning: "), "{}", done.err);
    assert!(server.text(&["organization", "policy", "show", labs]).contains("api-keys            off  off"));
}

#[test]
fn workspaces_have_names_and_quotas() {
    let server = Server::start();
    let made = server.json(&["organization", "create", "Labs", "--bootstrap"]);
    let labs = id(&made["createOrganization"]["organization"]);
    let made = server.json(&["workspace", "create", "billing", "--organization", labs]);
    let workspace = id(&made["createWorkspace"]["workspace"]);
    assert!(server.text(&["workspace", "rename", workspace, "invoices"]).contains("\"invoices\""));
    let quota = server.text(&["workspace", "quota", workspace, "1"]);
    assert!(quota.ends_with("\n0 keys of 1\n"), "{quota}");
    let create = ["key", "create", "a", "-e", "staging", "-w", workspace];
    server.json(&create);
    let refused = server.run(&[&create[..], &["--json"]].concat());
    let error = &json(&refused.err)["error"];
    assert_eq!(error["code"], "QUOTA_EXCEEDED");
    assert_eq!(error["details"], value!({ "limit": 1, "count": 1 }));
    let list = server.text(&["workspace", "list", "--organization", labs]);
    assert!(list.contains("invoices") && !list.contains(server.workspace()), "{list}");
    server.text(&["workspace", "quota", workspace, "unlimited"]);
    server.json(&create);
    assert_eq!(server.run(&["workspace", "quota", workspace, "many"]).code, 2);
}

#[test]
fn roles_are_defined_held_changed_and_deleted() {
    let server = Server::start();
    let create = ["role", "create", "support", "--scope", "read:customers/**", "--scope-name"];
    let made = server.json(
        &[&create[..], &["read:customers/**=Customer Read", "--display-name", "Customer Support"]].concat(),
    );
    let role = id(&made["createRole"]["role"]);
    assert_eq!(made["createRole"]["role"]["scopes"][0]["displayName"], "Customer Read");

    // A role is held by its name or its id, and its scopes count.
    let limited = ["key", "create", "a", "-e", "staging", "--role", "Support", "--rate-limit", "api=600/60s"];
    let made = server.json(&limited);
    let key = id(&made["createKey"]["key"]);
    assert_eq!(made["createKey"]["key"]["roles"][0]["id"], role);
    assert_eq!(made["createKey"]["key"]["rateLimits"][0]["windowSeconds"], 60);
    let shown = server.text(&["key", "show", key]);
    for line in [
        "permissions   Customer Support\n",
        &format!("roles         support \"Customer Support\" ({role})\n"),
        "effective     read:customers/** \"Customer Read\" (by role support)\n",
        "rate limits   api=600/1m\n",
    ] {
        assert!(shown.contains(line), "{line} is missing in\n{shown}");
    }
    assert!(server.text(&["key", "list", "--role", "support"]).contains("Customer Support"));

    // Names of scopes stay when others come.
    server.text(&["role", "update", "support", "--scope-name", "write:tickets=Ticket Write"]);
    server.text(&["role", "update", "support", "--scope", "write:tickets", "--description", "people"]);
    let shown = server.text(&["role", "show", role]);
    assert!(shown.contains("scopes        write:tickets \"Ticket Write\"\n"), "{shown}");
    assert!(server.text(&["role", "list"]).contains("people"));
    let stale = server.run(&["role", "update", role, "--name", "x", "--if-revision", "0", "--json"]);
    assert_eq!(stale.code, 1, "{}", stale.err);

    // Nobody loses a role by accident.
    let held = server.run(&["role", "delete", "support", "--yes"]);
    assert_eq!(held.code, 1);
    assert!(held.err.contains(&format!("a ({key})")), "{}", held.err);
    let held = server.run(&["role", "delete", "support", "--yes", "--json"]);
    assert_eq!(json(&held.err)["error"]["details"]["holders"][0]["id"], key);
    let unasked = server.run(&["role", "delete", "support"]);
    assert_eq!(unasked.code, 2);
    let changed = server.json(&["key", "update", key, "--no-roles", "--no-rate-limits"]);
    assert_eq!(
        (&changed["updateKey"]["key"]["roles"], &changed["updateKey"]["key"]["rateLimits"]),
        (&value!([]), &value!([]))
    );
    assert!(server.text(&["role", "delete", "support", "--yes"]).starts_with("deleted role_"));
    assert_eq!(server.run(&["role", "show", "support"]).code, 5);
    assert_eq!(server.run(&["key", "update", key, "--role", "support"]).code, 5);
}

#[test]
fn an_update_of_what_somebody_else_changed_is_refused() {
    let server = Server::start();
    let made = server.json(&["key", "create", "a", "-e", "staging"]);
    let key = id(&made["createKey"]["key"]);
    let revision = made["createKey"]["key"]["revision"].to_string();
    server.json(&["key", "update", key, "--name", "b"]);
    let update = |arguments: &[&str]| {
        server.run(&[&["key", "update", key, "--if-revision", &revision, "--json"], arguments].concat())
    };
    assert_eq!(json(&update(&["--name", "c"]).err)["error"]["code"], "CONFLICT");
    assert_eq!(update(&["--grant", "viewer@organization"]).code, 0, "another field");
    let shown = server.text(&["key", "show", key]);
    assert!(shown.contains("viewer@organization:org_"), "{shown}");
    assert_eq!(update(&["--no-cidrs"]).code, 0);
}

#[test]
fn identities_and_credits_are_called_by_external_ids() {
    let server = Server::start();
    let made =
        server.json(&["identity", "create", "customer-7", "--name", "Acme", "--rate-limit", "api=600/60s"]);
    let identity = id(&made["createIdentity"]["identity"]);
    let again = ["identity", "create", "customer-7", "--name", "Acme", "--rate-limit", "api=600/60s"];
    assert!(server.text(&again).starts_with("unchanged idn_"));
    let key = server.json(&[
        "key",
        "create",
        "a",
        "-e",
        "production",
        "--identity",
        "customer-7",
        "--credits",
        "5",
        "--refill-amount",
        "10",
        "--refill-interval",
        "30d",
    ]);
    let key = id(&key["createKey"]["key"]);
    let shown = server.text(&["key", "show", key]);
    assert!(shown.contains(&format!("customer-7 \"Acme\" ({identity})\n")), "{shown}");
    assert!(shown.contains("5 left, 0 spent, raised to 10 every 30d, next "), "{shown}");

    let set = server.text(&["credits", "set", "customer-7", "1000", "--reason", "plan"]);
    assert!(set.starts_with("set the credits of idn_") && set.contains("\n1000 left, 0 spent\n"), "{set}");
    let adjusted = server.text(&["credits", "adjust", "customer-7", "-10", "--reason", "billed"]);
    assert!(adjusted.contains("\n990 left, 0 spent\n"), "{adjusted}");
    assert!(server.text(&["credits", "adjust", key, "2", "--reason", "gift"]).contains("\n7 left"));
    let shown = server.text(&["credits", "show", key]);
    assert!(shown.contains("7 left") && shown.contains("of its identity  990 left"), "{shown}");
    assert!(server.text(&["credits", "show", identity]).contains("external id  customer-7\n"));
    let few = server.run(&["credits", "adjust", "customer-7", "-1000", "--reason", "billed"]);
    assert_eq!(few.code, 1);
    assert!(few.err.contains("only 990 credits are left"), "{}", few.err);

    let list = server.text(&["identity", "list", "--search", "customer"]);
    assert!(list.contains(identity) && list.contains("api=600/1m") && list.contains("990"), "{list}");
    let renamed = ["identity", "update", "customer-7", "--name", "Acme Ltd", "--no-rate-limits"];
    assert!(server.text(&renamed).contains("\"Acme Ltd\""));
    assert!(server.text(&["identity", "show", identity]).contains("rate limits   none\n"));
    assert!(server.text(&["key", "list", "--identity", "customer-7"]).contains(key));
    let held = server.run(&["identity", "delete", "customer-7", "--yes"]);
    assert_eq!(held.code, 1);
    assert!(held.err.contains("1 key holds") && held.err.contains(key), "{}", held.err);
    assert!(server.text(&["key", "update", key, "--no-identity"]).starts_with("updated "));
    assert!(server.text(&["identity", "delete", "customer-7", "--yes"]).starts_with("deleted idn_"));
    let gone = server.run(&["identity", "show", "customer-8"]);
    assert_eq!(gone.code, 5, "{}", gone.err);
    let given = ["key", "update", key, "--identity", "customer-7"];
    assert_eq!(server.run(&given).code, 1);
}
