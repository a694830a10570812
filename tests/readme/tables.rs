//! Tables say what the code does, and every code has its entry.

use keyledger::config::DEFAULT_VERIFICATION_LOG_DAYS;
use keyledger::decisions::{limits, slug, tokens, workspace};
use keyledger::error::Code;
use keyledger::service::revocations::MAX_REVOKED;
use keyledger::service::{analytics, exports, reads};
use keyledger::store::sqlite::Options;
use keyledger::verify::MAX_AUDIENCE_BYTES;
use keyledger::verify::exchange::MAX_SCOPE_BYTES;
use keyledger::verify::limits::MAX_COST;
use keyledger::verify::recorder::UNKNOWN_INTERVAL;
use keyledger::{feed, graphql, http, readmodel, secret, simulation};
use keyledger_schema::grant::Right;
use keyledger_schema::resource::Resource;
use keyledger_schema::{Action, Event, GrantRole, Scope, VerificationCode};
use keyledger_schema::{actor, codec, metadata, resource};

use crate::page::{headings, read, section, table};

/// A number with commas.
fn number(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The value of a constant that only its module knows, such as `const MAX_PAGE: usize = 200;`.
fn private(file: &str, name: &str) -> u64 {
    let source = read(file);
    let line = source
        .lines()
        .find(|line| line.contains(&format!("const {name}: ")))
        .unwrap_or_else(|| panic!("{file} has no {name}"));
    let value = line.split_once(" = ").unwrap().1;
    let number = |text: &str| {
        let digits: String = text.chars().filter(char::is_ascii_digit).collect();
        digits.parse::<u64>().unwrap_or_else(|_| panic!("{file}: {line}"))
    };
    match value.split_once(" << ") {
        Some((bits, shift)) => number(bits) << number(shift),
        None => value.split(" * ").map(number).product(),
    }
}

/// Whether a text names a number, and not only a longer one.
fn names(text: &str, number: &str) -> bool {
    let words = text.split(|c: char| !(c.is_ascii_digit() || c == ',')).map(|word| word.trim_matches(','));
    words.into_iter().any(|word| word == number)
}

#[allow(clippy::too_many_lines, reason = "a line for each bound")]
fn bounds() -> Vec<(&'static str, u64)> {
    let n = |value: usize| value as u64;
    let document = "src/graphql/document.rs";
    let lane = "src/verify/recorder/lane.rs";
    let pending = "src/verify/recorder/pending.rs";
    let rollup = "src/readmodel/usage/rollup.rs";
    let server = "src/http/server.rs";
    vec![
        ("name of a key", n(limits::MAX_NAME_CHARS)),
        ("comment", n(limits::MAX_COMMENT_CHARS)),
        ("external id of an identity", n(limits::MAX_EXTERNAL_ID_CHARS)),
        ("scopes of a key", n(limits::MAX_SCOPES)),
        ("roles of a key", n(limits::MAX_KEY_ROLES)),
        ("grants of a key", n(limits::MAX_GRANTS)),
        ("allowed networks", n(limits::MAX_NETWORKS)),
        ("rate limits of a key", n(limits::MAX_RATE_LIMITS)),
        ("requests of a rate limit", limits::MAX_RATE),
        ("window of a rate limit", limits::MAX_WINDOW_SECONDS.into()),
        ("cost of a verification", MAX_COST.into()),
        ("credits of a key or an identity", limits::MAX_CREDITS),
        ("shortest time between two refills", limits::MIN_REFILL_SECONDS.into()),
        ("longest time between two refills", limits::MAX_REFILL_SECONDS.into()),
        ("roles of an organization", n(limits::MAX_ROLES)),
        ("life of a key", limits::MAX_TTL_SECONDS),
        ("time to acknowledge", limits::MAX_ACKNOWLEDGEMENT_MINUTES.into()),
        ("quota of a workspace", limits::MAX_QUOTA),
        ("keys that one bulk revocation names", n(limits::MAX_NAMED_KEYS)),
        ("keys that one bulk revocation revokes", n(MAX_REVOKED)),
        ("keys that an answer names", private("src/service/revocations.rs", "NAMED")),
        ("a place reserved", workspace::RESERVATION.as_secs()),
        ("resource, or filter", n(resource::MAX_BYTES)),
        ("segments of", n(resource::MAX_SEGMENTS)),
        ("metadata", n(metadata::MAX_BYTES)),
        ("nesting of metadata", n(metadata::MAX_DEPTH)),
        ("prefix of a secret", n(secret::MAX_PREFIX_BYTES)),
        ("secret", n(secret::MAX_SECRET_BYTES)),
        ("imported secret", n(secret::MAX_IMPORTED_BYTES)),
        ("text that is compared", n(secret::MAX_PRESENTED_BYTES)),
        ("hint of", n(secret::MAX_HINT_BYTES)),
        ("keys of one import", n(limits::MAX_IMPORTED_KEYS)),
        ("audience that is asked for", n(MAX_AUDIENCE_BYTES)),
        ("resources and audiences of a token", private("src/http/oauth/target.rs", "MAX_AUDIENCES")),
        (
            "resources and audiences of a token, together",
            private("src/http/oauth/target.rs", "MAX_AUDIENCES_BYTES"),
        ),
        ("scopes of a token", n(MAX_SCOPE_BYTES)),
        ("body of a request for a token", private("src/http/oauth/form.rs", "MAX_FORM_BYTES")),
        ("parameters of a request for a token", private("src/http/oauth/form.rs", "MAX_PARAMETERS")),
        ("revocations of single tokens", n(tokens::MAX_REVOKED_TOKENS)),
        ("revocations of a key's tokens by the key itself", tokens::MAX_OWN_REVOCATIONS.into()),
        ("questions of one batch", n(http::MAX_REQUESTS)),
        ("idempotency key", n(limits::MAX_IDEMPOTENCY_KEY_BYTES)),
        ("overlap", limits::MAX_OVERLAP.as_secs()),
        ("body of a request", n(http::MAX_BODY_BYTES)),
        ("arrival of a body", private("src/http/body.rs", "BODY_TIMEOUT")),
        ("GraphQL document", private(document, "MAX_BYTES")),
        ("nesting of brackets", private(document, "MAX_NESTING")),
        ("depth of a query", n(graphql::MAX_DEPTH)),
        ("depth of selections", private(document, "MAX_DEPTH")),
        ("cost of a GraphQL", n(graphql::MAX_COMPLEXITY)),
        ("cost of each query", private("src/graphql.rs", "QUERY_COST")),
        ("cost of each mutation", private("src/graphql.rs", "MUTATION_COST")),
        ("cost of each field", private("src/graphql/mutation/import.rs", "ITEM_COST")),
        ("items of a page", private("src/graphql/connection.rs", "MAX_PAGE")),
        ("keys in a filter of usage", n(analytics::MAX_KEYS)),
        ("dimensions", n(analytics::MAX_DIMENSIONS)),
        ("groups of an answer", n(analytics::MAX_GROUPS)),
        ("points of all series", analytics::MAX_POINTS),
        ("buckets of a series", private("src/readmodel/analytics/calendar.rs", "MAX_BUCKETS")),
        ("groups that are counted", private("src/readmodel/analytics/tally.rs", "MAX_SPARSE")),
        ("tag in a filter", n(analytics::MAX_TAG_BYTES)),
        ("tags of a verification", private("src/verify/tags.rs", "MAX_TAGS")),
        ("different tags", private("src/readmodel/usage/values.rs", "MAX_NUMBERS")),
        ("addresses that are known", private("src/readmodel/usage/addresses.rs", "MAX_ADDRESSES")),
        ("usage by the minute", private(rollup, "MINUTES_KEPT")),
        ("usage by the hour", private(rollup, "HOURS_KEPT")),
        ("verifications are listed", DEFAULT_VERIFICATION_LOG_DAYS.into()),
        ("records that one simulation", simulation::MAX_RECORDS),
        ("calls that one simulation", simulation::MAX_CALLS),
        ("keys that one simulation judges", n(simulation::MAX_KEYS)),
        ("keys that one simulation names", n(simulation::NAMED)),
        ("buckets of an export", exports::MAX_BUCKETS),
        ("exports, bundles and whole reports", n(exports::MAX_RUNNING)),
        ("life of a signed address", exports::links::LIFETIME.as_secs()),
        ("keys that are followed", n(readmodel::MAX_FOLLOWED)),
        ("feeds at once", n(feed::MAX_OF_KEY)),
        ("WebSockets of a key", n(feed::MAX_SOCKETS)),
        ("events of a long poll", private("src/http/events.rs", "MAX_EVENTS")),
        ("message on a WebSocket", private("src/http/socket.rs", "MAX_MESSAGE")),
        ("reader of a feed", private("src/http/socket.rs", "PATIENCE")),
        ("the same look", reads::MERGED.as_secs()),
        ("user agent", n(actor::MAX_USER_AGENT_BYTES)),
        ("one event", n(codec::MAX_EVENT_BYTES)),
        ("hops", private("src/http/address.rs", "MAX_HOPS")),
        ("attempts", private("src/service/aggregate.rs", "ATTEMPTS")),
        ("wait of a mutation", private("src/service/writer.rs", "APPLY_TIMEOUT")),
        ("distinct records", private(pending, "MAX_RECORDS")),
        ("verifications that wait", private(lane, "MAX_WAITING")),
        ("addresses kept", private(pending, "MAX_ADDRESSES")),
        ("records of unknown keys", u64::try_from(UNKNOWN_INTERVAL.as_millis()).unwrap()),
        ("connections of one", private(server, "MAX_CONNECTIONS")),
        ("idle connection", private(server, "KEEP_ALIVE")),
        ("head of", private(server, "REQUEST_TIMEOUT")),
        ("requests that have begun", private(server, "SHUTDOWN_SECONDS")),
        ("free space", Options::default().min_free_bytes >> 20),
    ]
}

#[test]
fn the_limits_are_those_of_the_code() {
    let readme = read("README.md");
    let rows = table(section(&readme, "## Limits"));
    let bounds = bounds();
    assert_eq!(rows.len(), bounds.len(), "each row is checked, and each bound has a row");
    for (row, (label, bound)) in rows.iter().zip(bounds) {
        assert!(row[0].starts_with(label), "{row:?} is not about {label}");
        assert!(names(&row[1], &number(bound)), "{label}: {} is not {}", row[1], number(bound));
    }
    assert!(read("docs/keys.md").contains(&format!("{} bytes", slug::MAX_BYTES)));
}

#[test]
fn every_error_code_has_an_entry_and_its_status() {
    let errors = read("docs/errors.md");
    let readme = read("README.md");
    let rows = table(section(&readme, "## Errors"));
    for code in Code::ALL {
        let entry = section(&errors, &format!("### `{}`", code.as_str()));
        let status = http::status(code).as_u16().to_string();
        assert!(entry.contains(&format!("HTTP {status}")), "{code:?}: {entry}");
        let row = rows.iter().find(|row| row[0].contains(&format!("`{}`", code.as_str())));
        assert_eq!(row.map(|row| row[1].as_str()), Some(status.as_str()), "{code:?}");
    }
    assert_eq!(rows.len(), Code::ALL.len());
}

#[test]
fn every_verification_code_has_an_entry() {
    let text = read("docs/verification.md");
    let headings = headings(&text);
    for code in VerificationCode::ALL {
        assert!(headings.contains(&format!("`{}`", code.as_str())), "{code}");
    }
}

#[test]
fn every_warning_and_every_failure_of_the_command_line_is_documented() {
    let constants = |file: &str| -> Vec<String> {
        let source = read(file);
        let shouted = |text: &&str| {
            let variable = ["CARGO_", "KEYLEDGER_", "RUST_"].iter().any(|start| text.starts_with(start));
            text.len() > 3 && !variable && text.bytes().all(|b| b.is_ascii_uppercase() || b == b'_')
        };
        let source = source.split("#[cfg(test)]").next().unwrap_or_default().to_owned();
        source.split('"').skip(1).step_by(2).filter(shouted).map(str::to_owned).collect()
    };
    let keys = read("docs/keys.md");
    let warnings = constants("src/decisions/warning.rs");
    assert!(warnings.len() >= 5, "{warnings:?}");
    for code in warnings {
        assert!(keys.contains(&format!("`{code}`")), "docs/keys.md lacks {code}");
    }
    let errors = read("docs/errors.md");
    for file in ["src/cli/failure.rs", "src/cli/client.rs", "src/cli/confirm.rs", "src/main.rs"] {
        for code in constants(file) {
            assert!(errors.contains(&format!("`{code}`")), "docs/errors.md lacks {code} of {file}");
        }
    }
}

#[test]
fn every_event_type_is_documented() {
    let text = read("docs/audit-trail.md");
    for (name, version) in Event::TYPES {
        let row = text.lines().find(|line| line.starts_with(&format!("| `{name}` | {version} |")));
        assert!(row.is_some(), "docs/audit-trail.md lacks {name} version {version}");
    }
}

#[test]
fn grants_give_the_rights_that_the_table_shows() {
    let rows = table(section(&read("docs/grants.md"), "## Roles"));
    assert_eq!(rows.len(), GrantRole::ALL.len());
    for (row, role) in rows.iter().zip(GrantRole::ALL) {
        assert_eq!(row[0], format!("`{}`", role.as_str().to_uppercase()));
        for (cell, right) in row[1..].iter().zip(Right::ALL) {
            assert_eq!(cell == "yes", role.rights().contains(&right), "{role} {right:?}");
        }
    }
}

#[test]
fn scopes_cover_what_the_table_shows() {
    let rows = table(section(&read("docs/scopes.md"), "## Examples"));
    assert!(rows.len() > 10, "{} examples", rows.len());
    for row in rows {
        let plain = |cell: &String| cell.trim_matches('`').to_owned();
        let scope: Scope = plain(&row[0]).parse().unwrap_or_else(|error| panic!("{row:?}: {error}"));
        let action: Action = plain(&row[1]).parse().unwrap_or_else(|error| panic!("{row:?}: {error}"));
        let named = if row[2] == "none" { String::new() } else { plain(&row[2]) };
        let resource = Resource::parse(&named).unwrap_or_else(|error| panic!("{row:?}: {error}"));
        assert_eq!(scope.covers(action, resource), row[3].starts_with("yes"), "{row:?}");
    }
}
