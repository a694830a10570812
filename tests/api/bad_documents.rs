//! Documents that are made to cost much.

use std::fmt::Write as _;
use std::time::Duration;

use keyledger::edge::Stopwatch;
use serde_json::json;

use crate::ask::{Answer, ask, assert_unharmed, data};
use crate::support::{Client, Server};

/// No refusal of a document may take longer, on a busy machine and in a debug build.
const SOON: Duration = Duration::from_secs(20);

fn refused(client: &Client, what: &str, document: &str) -> Answer {
    let asking = Stopwatch::start();
    let answer = ask(client, document, &json!({}));
    assert!(asking.elapsed() < SOON, "{what} took {:?}", asking.elapsed());
    assert_eq!(answer.code(), "INVALID_INPUT", "{what}: {}", answer.body);
    answer
}

fn aliases(count: usize, field: &str) -> String {
    let mut text = String::from("{ ");
    for number in 0..count {
        write!(text, "a{number}: {field} ").unwrap();
    }
    text + "}"
}

#[test]
fn documents_that_nest_or_repeat_too_much_are_refused_soon() {
    let server = Server::fresh();
    let root = server.root();
    let brackets = |open: &str, close: &str, count: usize| open.repeat(count) + &close.repeat(count);
    let bomb = |levels: usize| {
        let mut text = "{ ...F0 }".to_owned();
        for level in 0..levels {
            write!(text, " fragment F{level} on Query {{ ...F{0} ...F{0} }}", level + 1).unwrap();
        }
        text + &format!(" fragment F{levels} on Query {{ viewer {{ keyId }} }}")
    };
    let wide = |levels: usize| {
        let mut text = "{ ...F0 }".to_owned();
        for level in 0..levels {
            let spreads = format!("...F{} ", level + 1).repeat(50);
            write!(text, " fragment F{level} on Query {{ {spreads} }}").unwrap();
        }
        text + &format!(" fragment F{levels} on Query {{ viewer {{ keyId }} }}")
    };
    let organization = "organization { workspaces { nodes { ";
    for (what, document) in [
        ("nothing", String::new()),
        ("no document", "hello".to_owned()),
        ("an unknown field", "{ viewer { secret } }".to_owned()),
        ("an unknown operation", "subscription { events { id } }".to_owned()),
        ("a mutation in a query", "{ createKey { secret } }".to_owned()),
        ("nested selections", format!("{{ {} id {} }}", organization.repeat(40), "}".repeat(120))),
        (
            "nested selections within the depth of the text",
            format!("{{ {} id {} }}", organization.repeat(6), "}".repeat(18)),
        ),
        ("a nested list", format!("{{ key(id: {}) {{ id }} }}", brackets("[", "]", 50_000))),
        ("a nested list that does not end", format!("{{ key(id: {}", "[".repeat(100_000))),
        ("a nested object", format!("{{ key(id: {}) {{ id }} }}", brackets("{a:", "}", 20_000))),
        ("nested selections in the text", brackets("{a", "}", 30_000)),
        ("nested types", format!("query($a: {}) {{ viewer {{ keyId }} }}", brackets("[", "]", 30_000))),
        ("nested brackets after a string", format!("{{ key(id: \"\\\"\" {}", "[".repeat(100_000))),
        ("a fragment of itself", "{ ...A } fragment A on Query { ...A }".to_owned()),
        (
            "two fragments of each other",
            "{ ...A } fragment A on Query { ...B } fragment B on Query { ...A }".to_owned(),
        ),
        ("fragments that double", bomb(30)),
        ("fragments that double deeply", bomb(300)),
        ("fragments that multiply", wide(20)),
        ("an unknown fragment", "{ ...A }".to_owned()),
        (
            "many unused fragments",
            (0..3_000).fold("{ viewer { keyId } }".to_owned(), |text, n| {
                text + &format!(" fragment F{n} on Query {{ viewer {{ keyId }} }}")
            }),
        ),
        (
            "a hundred mutations",
            aliases(100, "createWorkspace(input: { name: \"a\" }) { workspace { id } }").replacen(
                '{',
                "mutation {",
                1,
            ),
        ),
        ("a thousand queries of a key", aliases(1_000, "key(id: \"x\") { id }")),
        ("a thousand lists", aliases(1_000, "keys(first: 200) { nodes { id } }")),
        (
            "lists in lists",
            "{ keys(first: 200) { nodes { events(first: 200) { nodes { id type } } } } }".to_owned(),
        ),
        ("a long document", format!("{{ viewer {{ keyId }} }} # {}", "x".repeat(200_000))),
        (
            "many operations",
            (0..2_000).fold(String::new(), |text, n| text + &format!("query A{n} {{ viewer {{ keyId }} }} ")),
        ),
        ("two anonymous operations", "{ viewer { keyId } } { viewer { keyId } }".to_owned()),
        (
            "directives without end",
            format!("{{ viewer {} {{ keyId }} }}", "@include(if: true) ".repeat(5_000)),
        ),
        ("an unknown directive", "{ viewer @sudo { keyId } }".to_owned()),
        ("a number without end", format!("{{ keys(first: {}) {{ nodes {{ id }} }} }}", "9".repeat(100_000))),
    ] {
        refused(&root, what, &document);
    }
    // The refusals above made nothing.
    let made = data(&root, "{ workspaces { totalCount } }", &json!({}));
    assert_eq!(made["workspaces"]["totalCount"], 1);
    assert_unharmed(&server, &root, &[]);
}

#[test]
fn the_same_field_again_and_again_is_answered_soon_or_refused() {
    let server = Server::fresh();
    let root = server.root();
    for document in [
        format!("{{ viewer {{ {} }} }}", "keyId ".repeat(10_000)),
        format!("{{ {} }}", "viewer { keyId } ".repeat(5_000)),
        aliases(3_000, "viewer { keyId }"),
        format!("{{ {} }}", "__typename ".repeat(10_000)),
    ] {
        let asking = Stopwatch::start();
        let answer = ask(&root, &document, &json!({}));
        assert!(asking.elapsed() < SOON, "{:.40} took {:?}", document, asking.elapsed());
        assert!(matches!(answer.code(), "" | "INVALID_INPUT"));
    }
    assert_unharmed(&server, &root, &[]);
}

#[test]
fn metadata_that_could_never_be_read_again_is_not_written() {
    let server = Server::fresh();
    let root = server.root();
    // As a literal it does not pass the reader of JSON on its way in.
    for depth in [33, 55] {
        let value = "{a:".repeat(depth) + "1" + &"}".repeat(depth);
        let list = format!("{{a:{}1{}}}", "[".repeat(depth), "]".repeat(depth));
        for value in [value, list] {
            let document = format!(
                "mutation {{ createKey(input: {{ name: \"a\", environment: PRODUCTION, metadata: {value} }}) {{ secret }} }}"
            );
            let answer = refused(&root, "deep metadata", &document);
            assert_eq!(answer.field(), "input.metadata");
        }
    }
    let home = server.stop();
    let server = Server::start(&home, &[]);
    assert_unharmed(&server, &server.root(), &[]);
}

#[test]
fn tools_may_ask_for_the_whole_schema() {
    let server = Server::fresh();
    let of_type = (0..9).fold("kind name".to_owned(), |inner, _| format!("kind name ofType {{ {inner} }}"));
    let document = format!(
        "query IntrospectionQuery {{ __schema {{ description queryType {{ name kind }} mutationType {{ name kind }}
            subscriptionType {{ name kind }} types {{ ...FullType }}
            directives {{ name description isRepeatable locations args {{ ...InputValue }} }} }} }}
        fragment FullType on __Type {{ kind name description specifiedByURL isOneOf
            fields(includeDeprecated: true) {{ name description args(includeDeprecated: true) {{ ...InputValue }}
                type {{ ...TypeRef }} isDeprecated deprecationReason }}
            inputFields(includeDeprecated: true) {{ ...InputValue }} interfaces {{ ...TypeRef }}
            enumValues(includeDeprecated: true) {{ name description isDeprecated deprecationReason }}
            possibleTypes {{ ...TypeRef }} }}
        fragment InputValue on __InputValue {{ name description type {{ ...TypeRef }} defaultValue isDeprecated deprecationReason }}
        fragment TypeRef on __Type {{ {of_type} }}"
    );
    let schema = data(&server.root(), &document, &json!({}));
    assert_eq!(schema["__schema"]["queryType"]["name"], "Query");
    let answer = ask(&server.anonymous(), &document, &json!({}));
    assert_eq!((answer.status, answer.code()), (401, "UNAUTHENTICATED"));
    let deep = "{ __schema { types { fields { type { fields { type { fields { type { fields { type { fields { type { name \
        } } } } } } } } } } } } }";
    assert!(matches!(ask(&server.root(), deep, &json!({})).code(), "" | "INVALID_INPUT"));
    assert_unharmed(&server, &server.root(), &[]);
}
