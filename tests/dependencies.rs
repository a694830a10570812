//! Dependencies point one way: projections → schema; the service → both; inside `src` as [`ALLOWED`] says.

#![allow(clippy::unwrap_used, reason = "a test may stop")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// For each module of `src`, the others that it may name. `app` ties all of them together.
const ALLOWED: &[(&str, &[&str])] = &[
    // Leaves: they know nobody.
    ("caller", &[]),
    ("edge", &[]),
    ("error", &[]),
    ("export", &[]),
    ("secret", &[]),
    ("store", &[]),
    ("stream_head", &["store"]),
    ("tenants", &[]),
    ("token", &[]),
    // Pure.
    ("audit", &["export"]),
    ("decisions", &["error"]),
    // What the edges stand on.
    ("config", &["secret"]),
    ("vault", &["edge", "secret"]),
    ("readmodel", &["edge", "store"]),
    ("sequencer", &["audit", "edge", "store"]),
    ("verify", &["caller", "decisions", "edge", "error", "secret", "store", "stream_head", "token"]),
    (
        "service",
        &[
            "audit",
            "caller",
            "decisions",
            "edge",
            "error",
            "export",
            "readmodel",
            "secret",
            "sequencer",
            "store",
            "stream_head",
            "tenants",
            "token",
            "vault",
        ],
    ),
    ("feed", &["caller", "edge", "error", "readmodel", "service", "verify"]),
    ("asof", &["caller", "error", "service", "tenants", "verify"]),
    ("simulation", &["caller", "decisions", "error", "readmodel", "service", "verify"]),
    // The edges.
    ("cli", &["audit", "config", "edge", "error", "secret", "token"]),
    (
        "graphql",
        &[
            "audit",
            "caller",
            "decisions",
            "error",
            "export",
            "feed",
            "asof",
            "readmodel",
            "secret",
            "sequencer",
            "service",
            "simulation",
            "store",
            "tenants",
            "token",
            "verify",
        ],
    ),
    (
        "http",
        &["audit", "caller", "edge", "error", "export", "feed", "graphql", "service", "token", "verify"],
    ),
    ("main", &["app", "cli", "config", "edge"]),
    (
        "app",
        &[
            "audit",
            "caller",
            "cli",
            "config",
            "decisions",
            "edge",
            "error",
            "export",
            "feed",
            "asof",
            "graphql",
            "http",
            "readmodel",
            "secret",
            "sequencer",
            "service",
            "simulation",
            "store",
            "tenants",
            "token",
            "vault",
            "verify",
        ],
    ),
];

/// Libraries that belong to some modules only.
const LIBRARIES: &[(&str, &[&str])] = &[
    ("rusqlite", &["store", "readmodel", "sequencer", "vault"]),
    ("actix_web", &["http", "app"]),
    ("async_graphql", &["graphql", "http"]),
    ("ureq", &["cli"]),
    ("clap", &["cli", "config"]),
    ("clap_complete", &["cli"]),
    ("parquet", &["export"]),
    ("biscuit_auth", &["token"]),
    ("getrandom", &["edge"]),
    ("actix_ws", &["http"]),
    (
        "tokio",
        &[
            "app",
            "feed",
            "graphql",
            "http",
            "readmodel",
            "sequencer",
            "service",
            "simulation",
            "store",
            "vault",
            "verify",
        ],
    ),
];

/// Words that read a clock or ask for randomness, which `edge.rs` alone may.
const OUTSIDE_WORLD: &[&str] = &[
    "Utc::now",
    "Local::now",
    "SystemTime::now",
    "Instant::now",
    "Uuid::now_v7",
    "Uuid::new_v4",
    "getrandom::fill",
];

/// What may all the same: the runtime's own clock paces a timer there, and its time goes nowhere else.
const TIMERS: &[(&str, &str)] = &[("verify/recorder/writer.rs", "Instant::now")];

/// The only places that append to the log.
const APPENDERS: &[&str] = &["service/writer.rs", "verify/recorder/writer.rs"];

/// A source text without its comments.
fn code(source: &str) -> String {
    let uncommented = |line: &str| {
        let end = line
            .match_indices("//")
            .map(|(at, _)| at)
            .find(|&at| !line[..at].ends_with(':') && line[..at].matches('"').count().is_multiple_of(2));
        line[..end.unwrap_or(line.len())].to_owned()
    };
    source.lines().map(uncommented).collect::<Vec<_>>().join("\n")
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// The identifiers that stand behind a path such as `crate::`, those in braces included.
fn named_after<'a>(code: &'a str, path: &str) -> Vec<&'a str> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices(path) {
        if at > 0 && (is_word(code.as_bytes()[at - 1]) || code[..at].ends_with("::")) {
            continue;
        }
        let rest = &code[at + path.len()..];
        if let Some(list) = rest.strip_prefix('{') {
            let mut depth = 1;
            let mut start = true;
            for (at, character) in list.char_indices() {
                match character {
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    ',' if depth == 1 => start = true,
                    _ if start && depth == 1 && is_word(character as u8) => {
                        found.push(word(&list[at..]));
                        start = false;
                    }
                    _ => {}
                }
                if depth == 0 {
                    break;
                }
            }
        } else {
            found.push(word(rest));
        }
    }
    found
}

fn word(text: &str) -> &str {
    &text[..text.bytes().take_while(|&byte| is_word(byte)).count()]
}

/// Whether a file is compiled for tests only; another test sees to it.
fn is_test(file: &str) -> bool {
    file.ends_with("/tests.rs") || file.ends_with("_tests.rs") || file.contains("/tests/")
}

/// What a file of `src` does that it must not. `file` is its path below `src`.
fn violations(file: &str, source: &str) -> Vec<String> {
    let mut code = code(source);
    // What is compiled for tests only may know everybody.
    code.truncate(code.find("#[cfg(test)]\nmod tests {").unwrap_or(code.len()));
    if is_test(file) {
        code.clear();
    }
    let path: Vec<&str> = file.trim_end_matches(".rs").split('/').collect();
    let module = path[0];
    let mut found = Vec::new();
    if module != "lib" {
        let Some((_, allowed)) = ALLOWED.iter().find(|(name, _)| *name == module) else {
            return vec![format!("{file}: the module {module} has no row in ALLOWED")];
        };
        let mut named = named_after(&code, "crate::");
        if module == "main" {
            named.extend(named_after(&code, "keyledger::"));
        }
        // `super::` once for each level leads to the root of the crate, once more from an inner module.
        for levels in path.len()..=path.len() + 1 {
            named.extend(named_after(&code, &"super::".repeat(levels)));
        }
        for name in named {
            let known = ALLOWED.iter().any(|(other, _)| *other == name);
            let own = name == module || (module == "config" && name == "error");
            if known && !own && !allowed.contains(&name) {
                found.push(format!("{file}: {module} must not know {name}"));
            }
        }
    }
    for (library, homes) in LIBRARIES {
        if !homes.contains(&module) && !named_after(&code, &format!("{library}::")).is_empty() {
            found.push(format!("{file}: {library} belongs to {homes:?}"));
        }
    }
    let outside =
        OUTSIDE_WORLD.iter().filter(|word| code.contains(**word) && !TIMERS.contains(&(file, **word)));
    if file != "edge.rs" {
        found.extend(outside.map(|word| format!("{file}: {word} belongs to edge.rs")));
    }
    let dense: String = code.split_whitespace().collect();
    let appends = ["store.append(", "store().append(", "log.append(", "EventStore::append("];
    let is_store = module == "store";
    if !is_store && !APPENDERS.contains(&file) && appends.iter().any(|word| dense.contains(word)) {
        found.push(format!("{file}: appends to the log, which only {APPENDERS:?} do"));
    }
    found
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn modules_know_only_what_stands_below_them() {
    let src = root().join("src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    assert!(files.len() > 50, "the sources are where this test looks");
    let found: Vec<String> = files
        .iter()
        .flat_map(|path| {
            let file = path.strip_prefix(&src).unwrap().to_str().unwrap().replace('\\', "/");
            violations(&file, &fs::read_to_string(path).unwrap())
        })
        .collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
    for appender in APPENDERS {
        let text = fs::read_to_string(src.join(appender)).unwrap();
        let dense: String = text.split_whitespace().collect();
        assert!(dense.contains("store.append("), "{appender} does not append: the list is out of date");
    }
}

#[test]
fn files_of_tests_are_compiled_for_tests_only() {
    let mut files = Vec::new();
    sources(&root().join("src"), &mut files);
    let mut declared = 0;
    for path in files {
        let text = code(&fs::read_to_string(&path).unwrap());
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        for (at, line) in lines.iter().enumerate() {
            if line.starts_with("mod ") && line.ends_with("tests;") {
                assert!(at > 0 && lines[at - 1] == "#[cfg(test)]", "{}: {line}", path.display());
                declared += 1;
            }
        }
    }
    assert!(declared > 3);
}

#[test]
fn no_path_leads_in_a_circle() {
    let graph: BTreeMap<&str, &[&str]> = ALLOWED.iter().copied().collect();
    for (module, _) in ALLOWED {
        let mut seen = BTreeSet::new();
        let mut next: Vec<&str> = graph[module].to_vec();
        while let Some(name) = next.pop() {
            assert_ne!(name, *module, "{module} would know itself");
            if seen.insert(name) {
                next.extend(graph[name]);
            }
        }
    }
}

#[test]
fn what_must_not_be_is_found() {
    for (file, source, word) in [
        ("store.rs", "use crate::service::Service;", "service"),
        ("store/sqlite/writer.rs", "fn f() { crate::readmodel::open(); }", "readmodel"),
        ("store/sqlite/writer.rs", "use super::super::super::verify::Verifier;", "verify"),
        ("store/sqlite.rs", "use super::super::error::Error;", "error"),
        ("decisions/key.rs", "use crate::{error::{Code, Error}, store::EventStore};", "store"),
        ("decisions/key.rs", "use crate::{\n    error,\n    edge::Edge,\n};", "edge"),
        ("verify/decision.rs", "pub(crate) use crate::service;", "service"),
        ("verify.rs", "mod inner { use super::super::graphql::Api; }", "graphql"),
        ("cli/key.rs", "use crate::readmodel::ReadModel;", "readmodel"),
        ("error.rs", "use actix_web::HttpResponse;", "actix_web"),
        ("service/keys.rs", "use rusqlite::Connection;", "rusqlite"),
        ("decisions/slug.rs", "async fn f() { tokio::spawn(g()); }", "tokio"),
        ("service.rs", "let now = chrono::Utc::now();", "Utc::now"),
        ("verify.rs", "let id = Uuid::now_v7();", "now_v7"),
        ("verify/lane.rs", "use tokio::time::Instant; fn f() { Instant::now(); }", "Instant::now"),
        ("decisions/key.rs", "use tokio::time::sleep;\n#[cfg(test)]\nmod tests {\n}", "tokio"),
        ("graphql/mutation.rs", "service\n    .store()\n    .append(stream, expected, events)", "appends"),
        ("service/keys.rs", "self.store.append(&stream, head, new).await", "appends"),
        ("brand_new.rs", "", "no row"),
        ("main.rs", "use keyledger::{app, store::EventStore};", "store"),
    ] {
        let found = violations(file, source);
        assert!(found.len() == 1 && found[0].contains(word), "{file}: {source}: {found:?}");
    }
    for (file, source) in [
        (
            "store.rs",
            "//! See [`crate::service`].\n// use crate::service::Service;\nuse crate::store::Position;",
        ),
        ("service/writer.rs", "self.store.append(a, b, c).await; // the place"),
        ("service/keys.rs", "use crate::store::EventStore; let url = \"http://crate\";"),
        ("service/keys.rs", "use super::writer; use super::super::error::Error;"),
        ("edge.rs", "Utc::now()"),
        (
            "cli/queries.rs",
            "#[cfg(test)]\nmod tests {\n    use async_graphql::parser; use crate::graphql;\n}",
        ),
        ("verify/recorder/tests.rs", "use tokio::time::Instant; use crate::service::Service;"),
        ("config/layer.rs", "use super::error::Error; use crate::secret::MasterKey;"),
    ] {
        assert_eq!(violations(file, source), Vec::<String>::new(), "{file}: {source}");
    }
}

/// The names of a crate's dependencies in one of its tables.
fn dependencies(manifest: &str, table: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(root().join(manifest)).unwrap();
    let manifest: toml::Table = toml::from_str(&text).unwrap();
    manifest
        .get(table)
        .and_then(toml::Value::as_table)
        .map_or_else(BTreeSet::new, |table| table.keys().cloned().collect())
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn the_pure_crates_depend_on_little() {
    let schema = names(&[
        "base64",
        "blake3",
        "chacha20",
        "chrono",
        "ipnet",
        "memchr",
        "ring",
        "serde",
        "serde_json",
        "thiserror",
        "uuid",
        "zeroize",
    ]);
    let projections = names(&["chrono", "ipnet", "keyledger-schema", "serde", "serde_json"]);
    for (manifest, allowed) in [("schema/Cargo.toml", schema), ("projections/Cargo.toml", projections)] {
        let actual = dependencies(manifest, "dependencies");
        let more: Vec<_> = actual.difference(&allowed).collect();
        assert!(more.is_empty(), "{manifest}: {more:?} are not on the list");
        assert!(dependencies(manifest, "build-dependencies").is_empty());
        let test_only = dependencies(manifest, "dev-dependencies");
        assert!(!test_only.contains("keyledger"), "{manifest} depends on what depends on it");
    }
}

#[test]
fn nothing_behind_the_pure_crates_does_input_or_output() {
    let text = fs::read_to_string(root().join("Cargo.lock")).unwrap();
    let lock: toml::Table = toml::from_str(&text).unwrap();
    let mut graph: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for package in lock["package"].as_array().unwrap() {
        let needs = package.get("dependencies").and_then(toml::Value::as_array);
        let needs = needs.into_iter().flatten().filter_map(|name| name.as_str()?.split(' ').next());
        graph.entry(package["name"].as_str().unwrap()).or_default().extend(needs);
    }
    let reached = |start: &str| {
        let mut seen = BTreeSet::new();
        let mut next = vec![graph.get_key_value(start).unwrap().0];
        while let Some(name) = next.pop() {
            if seen.insert(*name) {
                next.extend(&graph[*name]);
            }
        }
        seen
    };
    let forbidden = |name: &str| {
        name.starts_with("actix")
            || name.starts_with("async-graphql")
            || ["tokio", "hyper", "mio", "rusqlite", "libsqlite3-sys", "ureq", "rustls", "keyledger"]
                .contains(&name)
    };
    for start in ["keyledger-schema", "keyledger-projections"] {
        let found: Vec<_> = reached(start).into_iter().filter(|name| forbidden(name)).collect();
        assert!(found.is_empty(), "{start} leads to {found:?}");
    }
    assert!(
        reached("keyledger").into_iter().filter(|name| forbidden(name)).count() > 5,
        "the walk finds what there is"
    );
}
