//! Questions and answers with everything in them, and what must hold for every refusal.

use std::thread;
use std::time::Duration;

use keyledger::edge::Stopwatch;
use serde_json::{Value, json};

use crate::support::{Client, Home, Server, Tenant};

/// Longer than anything takes on the slowest machine: only what never comes true takes that long.
const PATIENCE: Duration = Duration::from_mins(2);

/// A server with two tenants.
pub struct World {
    pub server: Server,
    pub root: Client,
    pub workspace: String,
    pub other: Client,
    pub other_tenant: Tenant,
}

pub fn world() -> World {
    let home = Home::initialized();
    let other_tenant = home.init("Other");
    let server = Server::start(&home, &[]);
    World {
        root: server.root(),
        workspace: home.tenant().workspace.clone(),
        other: server.client(&other_tenant.root_key),
        other_tenant,
        server,
    }
}

/// A whole answer, whatever it is.
#[derive(Clone, PartialEq, Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Value,
}

impl Answer {
    fn error(&self, name: &str) -> Option<&str> {
        let graphql = self.body["errors"][0]["extensions"][name].as_str();
        graphql.or(self.body["error"][name].as_str())
    }

    pub fn code(&self) -> &str {
        self.error("code").unwrap_or("")
    }

    pub fn field(&self) -> &str {
        self.error("field").unwrap_or("")
    }

    pub fn message(&self) -> &str {
        let graphql = self.body["errors"][0]["message"].as_str();
        graphql.or(self.body["error"]["message"].as_str()).unwrap_or("")
    }
}

/// Asks and checks what holds for every answer.
pub fn ask(client: &Client, query: &str, variables: &Value) -> Answer {
    send(client, &json!({ "query": query, "variables": variables }))
}

pub fn send(client: &Client, body: &Value) -> Answer {
    let (status, body) = client.post("/graphql", body).unwrap();
    let answer = Answer { status, body };
    assert_presentable(&answer);
    answer
}

/// The data of an answer without errors.
pub fn data(client: &Client, query: &str, variables: &Value) -> Value {
    let mut answer = ask(client, query, variables);
    assert!(answer.body.get("errors").is_none(), "{query}: {}", answer.body);
    answer.body["data"].take()
}

/// The answer to `mutation NAME(input)` without its details.
pub fn attempt(client: &Client, mutation: &str, input: &Value) -> Answer {
    let input_type = format!("{}{}Input", mutation[..1].to_uppercase(), &mutation[1..]);
    let query =
        format!("mutation($input: {input_type}!) {{ {mutation}(input: $input) {{ events {{ id }} }} }}");
    ask(client, &query, &json!({ "input": input }))
}

const CODES: [&str; 13] = [
    "UNAUTHENTICATED",
    "FORBIDDEN",
    "NOT_FOUND",
    "INVALID_INPUT",
    "CONFLICT",
    "ILLEGAL_TRANSITION",
    "QUOTA_EXCEEDED",
    "POLICY_VIOLATION",
    "NOT_BOOTSTRAPPED",
    "KEYS_DISABLED",
    "TOO_MANY_REQUESTS",
    "UNAVAILABLE",
    "INTERNAL",
];

/// Texts that only our insides have.
const INSIDES: [&str; 12] = [
    "SELECT ",
    "INSERT ",
    "sqlite",
    "SQLite",
    "rusqlite",
    "panicked",
    "src/",
    "/tmp",
    "events.db",
    ".rs:",
    "unwrap",
    "_prod_",
];

/// Every error has a known code and a message, and tells nothing of our insides.
pub fn assert_presentable(answer: &Answer) {
    let errors = match answer.body["errors"].as_array() {
        Some(errors) => errors.clone(),
        None if answer.status == 200 => return,
        None => {
            let mut error = answer.body["error"].clone();
            error["extensions"]["code"] = error["code"].clone();
            vec![error]
        }
    };
    for error in errors {
        let code = error["extensions"]["code"].as_str().unwrap_or_else(|| panic!("no code: {error}"));
        assert!(CODES.contains(&code), "{error}");
        assert_ne!(code, "INTERNAL", "{error}");
        let text = error.to_string();
        assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()), "{error}");
        for inside in INSIDES {
            assert!(!text.contains(inside), "{inside:?} in {error}");
        }
    }
}

/// The types of a key's events, oldest first, without the looks at its trail.
pub fn types(client: &Client, key: &str) -> Vec<String> {
    let events = client.key(key, "events(first: 200) { nodes { type } }").unwrap();
    let nodes = events["events"]["nodes"].as_array().unwrap();
    let types = nodes.iter().map(|event| event["type"].as_str().unwrap().to_owned());
    types.filter(|name| name != "audit.read").collect()
}

/// A text of an answer.
pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is not a text")).to_owned()
}

/// Asks again until it is so.
pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let waiting = Stopwatch::start();
    while !is_so() {
        assert!(waiting.elapsed() < PATIENCE, "{what} does not become true");
        thread::sleep(Duration::from_millis(50));
    }
}

/// The server still works, and it did not say anything that it must not say.
pub fn assert_unharmed(server: &Server, client: &Client, secrets: &[&str]) {
    let issued = client.create_key("still here").run();
    assert!(client.verify(&issued.secret()).unwrap().valid);
    let said = server.log();
    for word in ["panicked", "ERROR"].iter().chain(secrets) {
        assert!(!said.contains(word), "{word:?} in the server's log:\n{said}");
    }
}

/// What is made to end soon. Where the machine is so slow that it has ended before it was made, it is made again with
/// a later end.
pub fn short_lived<T>(mut make: impl FnMut(&str) -> Option<T>) -> T {
    let ends = [1_000, 4_000, 16_000, 64_000].into_iter();
    let made_in_time = ends.map(in_millis).find_map(|end| make(&end));
    made_in_time.expect("a minute is enough to make it")
}

/// A key that expires soon.
pub fn short_lived_key(client: &Client, name: &str) -> crate::support::Mutated {
    short_lived(|end| client.create_key(name).with("expiresAt", end).try_run().ok())
}

/// A moment so many milliseconds from now, as a text.
pub fn in_millis(millis: u64) -> String {
    keyledger::edge::Edge::default().now().plus(Duration::from_millis(millis)).to_string()
}

/// A workspace of the caller's organization.
pub fn create_workspace(client: &Client, name: &str) -> String {
    let query = "mutation($name: String!) { createWorkspace(input: { name: $name }) { workspace { id } } }";
    text(&data(client, query, &json!({ "name": name }))["createWorkspace"]["workspace"]["id"])
}

/// A management key with one grant on a workspace.
pub fn manager(client: &Client, role: &str, workspace: &str) -> crate::support::Mutated {
    let grants = json!([{ "role": role, "workspaceId": workspace }]);
    client.create_key(role).with("workspaceId", workspace).with("grants", grants).run()
}
