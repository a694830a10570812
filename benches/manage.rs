//! The management side with many keys: `cargo bench --bench manage`.
//!
//!     cargo bench --bench manage -- --holders 100000 --revoked 10000
//!
//! Starts the real server, imports keys that hold one role, and measures: the import; how long a change of the
//! role takes until a verification of one of its holders follows it; and a revocation of many keys by one
//! command. Without `--bench`, as `cargo test --benches` starts it, it does so with few keys and proves that
//! it works.

#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use clap::Parser;
use serde_json::{Value, json};

#[derive(Parser)]
struct Options {
    /// Keys that hold the role.
    #[arg(long, default_value_t = 100_000)]
    holders: usize,
    /// Keys that are revoked by one command.
    #[arg(long, default_value_t = 10_000)]
    revoked: usize,
    /// How often the role is changed.
    #[arg(long, default_value_t = 50)]
    changes: usize,
    /// Given by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

/// Keys of one call of `importKeys`.
const CALL: usize = 1_000;

struct Server {
    child: Child,
    base: String,
    key: String,
    workspace: String,
    agent: ureq::Agent,
}

impl Server {
    fn start(data_dir: &std::path::Path) -> Self {
        let program = env!("CARGO_BIN_EXE_keyledger");
        let output = Command::new(program)
            .args(["init", "--json", "--data-dir"])
            .arg(data_dir)
            .output()
            .expect("the program runs");
        let shown: Value = serde_json::from_slice(&output.stdout).expect("init prints one JSON object");
        let mut child = Command::new(program)
            .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(data_dir)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the server starts");
        let mut first = String::new();
        let stdout = child.stdout.take().expect("its output is ours");
        BufReader::new(stdout).read_line(&mut first).expect("it says where it listens");
        let base =
            first.trim().strip_prefix("listening on ").expect("the first line is for programs").to_owned();
        let text = |name: &str| shown[name].as_str().expect("init names it").to_owned();
        let config = ureq::Agent::config_builder().timeout_global(Some(Duration::from_mins(2))).build();
        Self { child, base, key: text("rootKey"), workspace: text("workspaceId"), agent: config.into() }
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        let mut answer = self
            .agent
            .post(format!("{}{path}", self.base))
            .header("Authorization", format!("Bearer {}", self.key))
            .header("Content-Type", "application/json")
            .send(body.to_string())
            .expect("the server answers");
        let text = answer.body_mut().read_to_string().expect("the answer is text");
        serde_json::from_str(&text).expect("the answer is JSON")
    }

    fn graphql(&self, query: &str, variables: &Value) -> Value {
        let mut answer = self.post("/graphql", &json!({ "query": query, "variables": variables }));
        assert!(answer.get("errors").is_none(), "{answer}");
        answer["data"].take()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn secret(number: usize) -> String {
    format!("legacy-{}", blake3::hash(&number.to_le_bytes()).to_hex())
}

fn import(server: &Server, role: &Value, from: usize, to: usize) {
    let keys: Vec<Value> = (from..to)
        .map(|number| {
            json!({
                "name": format!("Holder {number:06}"), "environment": "PRODUCTION", "secret": secret(number),
                "roleIds": [role],
            })
        })
        .collect();
    let query = "mutation($input: ImportKeysInput!) { importKeys(input: $input) { imported } }";
    let done = server.graphql(query, &json!({ "input": { "workspaceId": server.workspace, "keys": keys } }));
    assert_eq!(done["importKeys"]["imported"], to - from);
}

#[allow(clippy::cast_precision_loss, reason = "figures for people")]
fn main() -> ExitCode {
    let mut options = Options::parse();
    if !options.bench {
        options = Options { holders: 300, revoked: 100, changes: 3, ..options };
    }
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("there is room");
    let server = Server::start(&directory.path().join("data"));
    let query = "mutation { createRole(input: { name: \"all\", scopes: [] }) { role { id } } }";
    let role = server.graphql(query, &json!({}))["createRole"]["role"]["id"].take();

    let watch = Instant::now();
    for from in (0..options.holders).step_by(CALL) {
        import(&server, &role, from, options.holders.min(from + CALL));
    }
    let seconds = watch.elapsed().as_secs_f64();
    println!(
        "import                       {:>9.0} keys/s ({} keys, one connection)",
        options.holders as f64 / seconds,
        options.holders
    );

    let mut took: Vec<Duration> = Vec::with_capacity(options.changes);
    for change in 0..options.changes {
        let resource = format!("things/{change}");
        let query = "mutation($id: ID!, $resource: String!) { updateRole(input: { id: $id,
            scopes: [{ action: READ, resource: $resource }] }) { events { id } } }";
        let holder = secret(change * options.holders / options.changes);
        let watch = Instant::now();
        server.graphql(query, &json!({ "id": role, "resource": resource }));
        let asked = json!({ "key": holder, "action": "read", "resource": resource });
        assert_eq!(server.post("/v1/verify", &asked)["code"], "VALID");
        took.push(watch.elapsed());
    }
    took.sort_unstable();
    println!(
        "change of a role, verified   p50 {:.2} ms, max {:.2} ms ({} holders)",
        took[took.len() / 2].as_secs_f64() * 1e3,
        took[took.len() - 1].as_secs_f64() * 1e3,
        options.holders
    );

    let query = "query($first: Int) { keys(first: $first, orderBy: { field: CREATED_AT, direction: ASC }) {
        nodes { createdAt } totalCount } }";
    let watch = Instant::now();
    server.graphql(query, &json!({ "first": 50 }));
    println!("a page of keys with a total  {:.2} ms", watch.elapsed().as_secs_f64() * 1e3);

    // Those whose numbers begin alike: a power of ten of them.
    let digits = 6 - options.revoked.ilog10() as usize;
    let filter = json!({ "nameContains": format!("Holder {}", "0".repeat(digits)) });
    let query =
        "mutation($input: RevokeKeysInput!) { revokeKeys(input: $input) { matched revoked skipped } }";
    let watch = Instant::now();
    let input = json!({ "filter": filter, "reason": "COMPROMISED", "dryRun": false });
    let done = server.graphql(query, &json!({ "input": input }))["revokeKeys"].take();
    println!("revocation of {} keys     {:.2} s", done["revoked"], watch.elapsed().as_secs_f64());
    assert_eq!(done["matched"], done["revoked"]);
    assert_eq!(server.post("/v1/verify", &json!({ "key": secret(0) }))["code"], "REVOKED");
    ExitCode::SUCCESS
}
