//! Figures tell exchanges, tokens and plain secrets apart, over GraphQL, in every export and on the command line.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::ask::{World, ask, data, text, world};
use crate::support::Mutated;
use crate::tokens_accepted::{exchange, introspect, try_exchange};
use crate::usage::{GROUPS, counted, done, frame, groups, in_every_format, keyledger, refused, usage};

/// A key of which two tokens were issued and one was refused, and which was then used by both means and by its secret.
fn traffic() -> (World, Mutated) {
    let world = world();
    let key = world.root.create_key("billing").scope("read:customers/**").run();
    let token = exchange(&world.server, &key.id(), &key.secret(), &[]);
    exchange(&world.server, &key.id(), &key.secret(), &[("scope", "read:customers/42")]);
    let wide = [("scope", "write:customers/42")];
    assert_eq!(try_exchange(&world.server, &key.id(), &key.secret(), &wide).0, 400);
    for action in ["read", "read", "read", "write"] {
        let question = json!({ "key": token, "action": action, "resource": "customers/42", "tags": ["t"] });
        world.root.verify_with(&question).unwrap();
    }
    for _ in 0..5 {
        assert!(world.root.verify(&key.secret()).unwrap().valid);
    }
    for _ in 0..2 {
        assert!(introspect(&world.server, &key.id(), &key.secret(), &token));
    }
    let other = world.root.create_key("other").run();
    assert!(world.root.verify(&other.secret()).unwrap().valid);
    counted(&world.root, 3 + 4 + 5 + 1);
    (world, key)
}

fn expected(of: &[(&str, (u64, u64))]) -> BTreeMap<String, (u64, u64)> {
    of.iter().map(|(name, counts)| ((*name).to_owned(), *counts)).collect()
}

#[test]
fn tokens_issued_and_used_are_figures_of_their_key() {
    let (world, key) = traffic();
    let of_key = format!(", filter: {{ keyIds: [\"{}\"] }}", key.id());
    let by_means = [("EXCHANGE", (3, 2)), ("TOKEN", (4, 3)), ("-", (5, 5))];
    let told = usage(&world.root, &format!("{of_key}, groupBy: [MEANS]"), GROUPS);
    assert_eq!(groups(&told), expected(&by_means));
    assert_eq!(told["groups"][0]["values"][0]["dimension"], "MEANS");

    // With other dimensions, of every facet, and of all keys.
    let issued = usage(&world.root, ", groupBy: [MEANS, OUTCOME]", GROUPS);
    let all = [
        ("EXCHANGE VALID", (2, 2)),
        ("EXCHANGE INSUFFICIENT_SCOPE", (1, 0)),
        ("TOKEN VALID", (3, 3)),
        ("TOKEN INSUFFICIENT_SCOPE", (1, 0)),
        ("- VALID", (6, 6)),
    ];
    assert_eq!(groups(&issued), expected(&all));
    let tagged = usage(&world.root, ", groupBy: [TAG, MEANS]", GROUPS);
    assert_eq!(groups(&tagged), expected(&[("t TOKEN", (4, 3)), ("- EXCHANGE", (3, 2)), ("- -", (6, 6))]));
    let told = usage(&world.root, ", filter: { means: TOKEN }, groupBy: [ENVIRONMENT]", GROUPS);
    assert_eq!(groups(&told), expected(&[("PRODUCTION", (4, 3))]));

    // Day by day: whatever day it is, only the last ones have something.
    let query = "query($id: ID!, $from: DateTime!, $to: DateTime!) { key(id: $id) {
        usageReport(from: $from, to: $to, groupBy: [MEANS]) { groups { values { value } series { valid } } } } }";
    let (from, to) = frame();
    let told = data(&world.root, query, &json!({ "id": key.id(), "from": from, "to": to }));
    let groups = told["key"]["usageReport"]["groups"].as_array().unwrap().clone();
    let sums = groups.iter().map(|group| {
        let days = group["series"].as_array().unwrap();
        let sum: u64 = days.iter().map(|day| day["valid"].as_u64().unwrap()).sum();
        (group["values"][0]["value"].as_str().unwrap_or("-").to_owned(), sum)
    });
    assert_eq!(
        sums.collect::<BTreeMap<_, _>>(),
        [("-", 5), ("EXCHANGE", 2), ("TOKEN", 3)].map(|(name, count)| (name.to_owned(), count)).into()
    );
}

#[test]
fn exports_have_means_as_a_column_and_a_condition() {
    let (world, key) = traffic();
    let (server, secret) = (&world.server, &world.server.home().tenant().root_key);
    let (from, to) = frame();
    let of_key = format!("from={from}&to={to}&keyIds={}", key.id());
    let mut found: BTreeMap<String, u64> = BTreeMap::new();
    for row in in_every_format(server, secret, &format!("usage?{of_key}&groupBy=means,outcome")) {
        let means = row.get("means").map_or("-", String::as_str);
        *found.entry(format!("{means} {}", row["outcome"])).or_default() +=
            row["verifications"].parse::<u64>().unwrap();
    }
    let all = [
        ("exchange VALID", 2),
        ("exchange INSUFFICIENT_SCOPE", 1),
        ("token VALID", 3),
        ("token INSUFFICIENT_SCOPE", 1),
        ("- VALID", 5),
    ];
    assert_eq!(found, all.map(|(name, count)| (name.to_owned(), count)).into());
    let rows = in_every_format(server, secret, &format!("usage?{of_key}&means=exchange"));
    assert_eq!(rows.iter().map(|row| row["verifications"].parse::<u64>().unwrap()).sum::<u64>(), 3);
    let rows = in_every_format(server, secret, "verifications?means=introspection");
    assert_eq!(rows.iter().map(|row| row["count"].parse::<u64>().unwrap()).sum::<u64>(), 2);

    let filter = "{ events(filter: { types: [\"audit.exported\"] }, first: 50) { nodes { data } } }";
    let told = ask(&world.root, filter, &json!({})).body.to_string();
    assert!(told.contains("means=exchange") && told.contains("means=introspection"), "{told}");
}

#[test]
fn what_is_no_use_is_counted_nowhere_and_asking_for_it_is_refused() {
    let (world, _) = traffic();
    let secret = &world.server.home().tenant().root_key;
    let (from, to) = frame();
    let path = format!("usage?format=csv&from={from}&to={to}&means=");
    for means in ["introspection", "secret", ""] {
        let answer = refused(&world.server, secret, &format!("{path}{means}"));
        assert_eq!((answer.code(), answer.field()), ("INVALID_INPUT", "means"), "{}", answer.body);
    }
    let frame = format!("from: \"{from}\", to: \"{to}\", filter: {{ means: INTROSPECTION }}");
    for query in [
        format!("{{ usage({frame}) {{ totals {{ valid }} }} }}"),
        format!("{{ simulate({frame}, change: {{ allowedCidrs: [] }}) {{ calls }} }}"),
    ] {
        let answer = ask(&world.root, &query, &json!({}));
        assert_eq!((answer.code(), answer.field()), ("INVALID_INPUT", "filter.means"), "{}", answer.body);
        assert!(answer.message().contains("verification log"), "{}", answer.body);
    }
    let simulated = format!(
        "{{ simulate(from: \"{from}\", to: \"{to}\", filter: {{ means: TOKEN }}, change: {{ allowedCidrs: [] }}) {{ calls }} }}"
    );
    assert_eq!(data(&world.root, &simulated, &json!({}))["simulate"]["calls"], 3);
}

#[test]
fn the_command_line_tells_means_apart() {
    let (world, key) = traffic();
    let (server, secret) = (&world.server, &world.server.home().tenant().root_key);
    let run = |arguments: &[&str]| keyledger(server, secret, arguments);
    let shown = done(&run(&["usage", "show", "--from", "2d", "--key", &key.id(), "--by", "means"]));
    let rows: Vec<Vec<&str>> = shown
        .lines()
        .skip_while(|line| !line.starts_with("MEANS"))
        .map(|line| line.split_whitespace().take(3).collect())
        .collect();
    assert_eq!(
        rows,
        [["MEANS", "VERIFICATIONS", "VALID"], ["-", "5", "5"], ["token", "4", "3"], ["exchange", "3", "2"]]
    );
    let shown: Value =
        serde_json::from_str(&done(&run(&["usage", "show", "--from", "2d", "--means", "token", "--json"])))
            .unwrap();
    assert_eq!(shown["usage"]["totals"]["verifications"], 4);
    let log: Value =
        serde_json::from_str(&done(&run(&["usage", "log", "--means", "exchange", "--json"]))).unwrap();
    let codes: Vec<String> =
        log["verifications"]["nodes"].as_array().unwrap().iter().map(|one| text(&one["code"])).collect();
    assert_eq!(codes, ["INSUFFICIENT_SCOPE", "VALID", "VALID"]);
    let file = done(&run(&[
        "usage", "export", "--format", "csv", "--from", "2d", "--means", "token", "--by", "means",
    ]));
    assert!(file.starts_with("bucket,means,"), "{file}");
    assert_eq!(
        file.lines().skip(1).filter(|line| line.contains(",token,")).count(),
        file.lines().count() - 1
    );
    let refused = run(&["usage", "show", "--means", "introspection"]);
    assert_ne!(refused.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("verification log"));
    assert_eq!(run(&["usage", "show", "--means", "secret"]).status.code(), Some(2));
}
