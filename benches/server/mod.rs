//! The real server on a data directory of its own, with keys imported into it.

#![allow(unreachable_pub, reason = "each benchmark uses it")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

/// Keys of one call of `importKeys`.
const CALL: usize = 1_000;

pub struct Server {
    pub child: Child,
    pub address: String,
    pub key: String,
}

impl Server {
    /// Begins a new data directory and serves it.
    pub fn start(data_dir: &Path) -> Self {
        let program = env!("CARGO_BIN_EXE_keyledger");
        let mut init = Command::new(program);
        let output =
            init.args(["init", "--json", "--data-dir"]).arg(data_dir).output().expect("the program runs");
        let shown: Value = serde_json::from_slice(&output.stdout).expect("init prints one JSON object");
        Self::serve(data_dir, shown["rootKey"].as_str().expect("init names it").to_owned())
    }

    /// Serves a data directory whose root key is known.
    pub fn serve(data_dir: &Path, key: String) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_keyledger"))
            .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(data_dir)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the server starts");
        let mut first = String::new();
        let stdout = child.stdout.take().expect("its output is ours");
        BufReader::new(stdout).read_line(&mut first).expect("it says where it listens");
        let address =
            first.trim().strip_prefix("listening on http://").expect("the first line is for programs");
        Self { child, address: address.to_owned(), key }
    }

    /// The same, with so many keys in it.
    pub fn with_keys(data_dir: &Path, keys: usize) -> Self {
        let server = Self::start(data_dir);
        let agent = ureq::Agent::config_builder().timeout_global(Some(Duration::from_mins(2))).build().into();
        for from in (0..keys).step_by(CALL) {
            server.import(&agent, from, keys.min(from + CALL));
        }
        server
    }

    fn import(&self, agent: &ureq::Agent, from: usize, to: usize) {
        let keys: Vec<Value> = (from..to)
            .map(|number| {
                let secret = format!("legacy-{}", blake3::hash(&number.to_le_bytes()).to_hex());
                json!({ "name": format!("Key {number:06}"), "environment": "PRODUCTION", "secret": secret,
                    "scopes": [{ "action": "READ", "resource": "customers/42/**" }],
                    "metadata": { "team": "billing" } })
            })
            .collect();
        let query = "mutation($input: ImportKeysInput!) { importKeys(input: $input) { imported } }";
        let body = json!({ "query": query, "variables": { "input": { "keys": keys } } });
        let request = agent.post(format!("http://{}/graphql", self.address));
        let request = request.header("Authorization", format!("Bearer {}", self.key));
        let mut answer =
            request.header("Content-Type", "application/json").send(body.to_string()).expect("it answers");
        let text = answer.body_mut().read_to_string().expect("the answer is text");
        let answer: Value = serde_json::from_str(&text).expect("the answer is JSON");
        assert_eq!(answer["data"]["importKeys"]["imported"], to - from, "{answer}");
    }

    /// Ends the server in good order.
    pub fn stop(mut self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("the process is ours");
        assert!(self.child.wait().expect("the server is our child").success());
    }
}
