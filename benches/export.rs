//! Exports of the audit trail: `cargo bench --bench export`.
//!
//!     cargo bench --bench export -- --events 300000
//!
//! Starts the real server, imports keys until the log has so many events, and exports all of them in every format
//! over one connection: events a second, how that compares to reading the bare log in the same run, and by how much
//! the memory of the server grows meanwhile. Without `--bench`, as `cargo test --benches` starts it, it does so with
//! few events and proves that it works.

#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use keyledger::store::sqlite::{DataDirectory, Options as StoreOptions, SqliteStore};
use keyledger::store::{EventStore, Filter};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

#[derive(Parser)]
struct Options {
    /// Events in the log, about.
    #[arg(long, default_value_t = 300_000)]
    events: usize,
    /// How often each format is exported; the median counts.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Given by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

const FORMATS: [&str; 7] = ["jsonl", "jsonl&raw=true", "csv", "ocsf", "cef", "cloudevents", "parquet"];
/// Keys of one call of `importKeys`.
const CALL: usize = 1_000;

struct Server {
    child: Child,
    address: String,
    key: String,
}

impl Server {
    fn start(data_dir: &Path) -> Self {
        let program = env!("CARGO_BIN_EXE_keyledger");
        let mut init = Command::new(program);
        let output =
            init.args(["init", "--json", "--data-dir"]).arg(data_dir).output().expect("the program runs");
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
        let address =
            first.trim().strip_prefix("listening on http://").expect("the first line is for programs");
        let key = shown["rootKey"].as_str().expect("init names it").to_owned();
        Self { child, address: address.to_owned(), key }
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

    /// Exports everything and throws it away; gives how many bytes came.
    fn export(&self, format: &str) -> u64 {
        let mut stream = TcpStream::connect(&self.address).expect("it listens");
        write!(
            stream,
            "GET /v1/audit/export?format={format} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
             Authorization: Bearer {}\r\n\r\n",
            self.key
        )
        .expect("it reads");
        let (mut piece, mut bytes, mut end) = (vec![0; 256 * 1024], 0, Vec::new());
        loop {
            let read = stream.read(&mut piece).expect("it answers");
            if read == 0 {
                break;
            }
            bytes += read as u64;
            end.extend_from_slice(&piece[read.saturating_sub(8)..read]);
            end.drain(..end.len().saturating_sub(8));
        }
        assert!(end.ends_with(b"0\r\n\r\n"), "the export of {format} was cut off");
        bytes
    }

    /// Memory that the process holds now, in bytes.
    fn resident(id: u32) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        kib.unwrap_or(0) * 1024
    }

    fn stop(mut self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("the process is ours");
        assert!(self.child.wait().expect("the server is our child").success());
    }
}

/// Runs something and gives by how much the memory of a process grew at most meanwhile.
fn growth<T>(id: u32, run: impl FnOnce() -> T) -> (T, u64) {
    let done = Arc::new(AtomicBool::new(false));
    let before = Server::resident(id);
    let watching = Arc::clone(&done);
    let watch = thread::spawn(move || {
        let mut most = before;
        while !watching.load(Ordering::Relaxed) {
            most = most.max(Server::resident(id));
            thread::sleep(Duration::from_millis(20));
        }
        most
    });
    let result = run();
    done.store(true, Ordering::Relaxed);
    (result, watch.join().expect("it watches").saturating_sub(before))
}

/// Reads the whole log and gives how many events it has, and how long it took.
fn scan(data_dir: &Path) -> (usize, Duration) {
    let directory = DataDirectory::lock(data_dir).expect("nobody else has it");
    let store = SqliteStore::open_in(directory, StoreOptions::default()).expect("the log opens");
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().build().expect("there are threads");
    let start = Instant::now();
    let events = runtime.block_on(async {
        let (mut after, mut events) = (None, 0);
        loop {
            let page = store.read_all(after, Filter::All, 2_048).await.expect("the log is read");
            let Some(last) = page.last() else { return events };
            after = Some(last.position);
            events += page.len();
        }
    });
    (events, start.elapsed())
}

#[allow(clippy::cast_precision_loss, reason = "figures for people")]
fn main() -> ExitCode {
    let mut options = Options::parse();
    if !options.bench {
        options = Options { events: 2_000, rounds: 1, ..options };
    }
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("there is room");
    let data_dir = directory.path().join("data");
    let server = Server::start(&data_dir);
    let agent = ureq::Agent::config_builder().timeout_global(Some(Duration::from_mins(2))).build().into();
    for from in (0..options.events).step_by(CALL) {
        server.import(&agent, from, options.events.min(from + CALL));
    }
    let mut figures = Vec::new();
    for format in FORMATS {
        let (mut took, mut grown, mut bytes) = (Vec::new(), 0, 0);
        for _ in 0..options.rounds {
            let start = Instant::now();
            let (came, more) = growth(server.child.id(), || server.export(format));
            took.push(start.elapsed());
            (bytes, grown) = (came, more.max(grown));
        }
        took.sort_unstable();
        figures.push((format, took[took.len() / 2], bytes, grown));
    }
    server.stop();
    let (events, bare) = scan(&data_dir);
    let rate = |took: Duration| events as f64 / took.as_secs_f64();
    println!("{:<16} {:>9.0} events/s, {events} events", "bare log", rate(bare));
    for (format, took, bytes, grown) in figures {
        println!(
            "{format:<16} {:>9.0} events/s, {:>3.0} % of the bare log, {:>4} bytes an event, memory +{:.1} MiB",
            rate(took),
            rate(took) / rate(bare) * 100.0,
            bytes / events as u64,
            grown as f64 / 1024.0 / 1024.0
        );
    }
    ExitCode::SUCCESS
}
