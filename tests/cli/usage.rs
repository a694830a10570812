//! What if, as somebody types it.

use std::time::Duration;

use crate::harness::{Server, json};
use serde_json::Value;

#[test]
fn a_change_is_tried_on_what_was_really_asked() {
    let server = Server::start();
    let made = server.json(&["key", "create", "billing", "-e", "production", "--scope", "read:customers/**"]);
    let (id, secret) = (&made["createKey"]["key"]["id"], made["createKey"]["secret"].as_str().unwrap());
    for resource in ["customers/1", "customers/2", "customers/2/invoices"] {
        let ask = ["verify", "--action", "read", "--resource", resource];
        let asked = server.run_with(&ask, secret);
        assert_eq!(asked.code, 0, "{}", asked.err);
    }
    let simulate = |change: &[&str]| server.json(&[&["usage", "simulate", "--from", "1h"], change].concat());
    let narrower = ["--scope", "read:customers/*"];
    let mut told = Value::Null;
    for _ in 0..1_200 {
        told = simulate(&narrower)["simulate"].take();
        if told["calls"] == 3 {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(told["calls"], 3, "{told}");
    assert_eq!((&told["refused"], &told["affectedKeys"]), (&Value::from(1), &Value::from(1)));
    assert_eq!(&told["mostAffected"][0]["key"]["id"], id);

    let shown = server.text(&[&["usage", "simulate"][..], &narrower].concat());
    for part in ["would be refused  1\n", "1 insufficient-scope", id.as_str().unwrap(), "billing"] {
        assert!(shown.contains(part), "{part} is missing in\n{shown}");
    }
    let shown = server.text(&["usage", "simulate", "--require-cidrs", "yes"]);
    assert!(shown.contains("3 ip-not-allowed by require-cidrs"), "{shown}");
    let shown = server.text(&["usage", "simulate", "--rate-limit", "api=1000/60s"]);
    assert!(shown.contains("would be refused  0\n") && !shown.contains("billing"), "{shown}");

    server.json(&["role", "create", "reader", "--scope", "read:**"]);
    assert_eq!(simulate(&["--role", "reader", "--no-scopes"])["simulate"]["refused"], 0, "nobody holds it");
    let refused = server.run(&["usage", "simulate", "--scope", "read:*", "--to", "31d", "--json"]);
    assert_eq!(json(&refused.err)["error"]["field"], "to");
    assert_eq!(server.run(&["usage", "simulate"]).code, 2);
}
