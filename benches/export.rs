//! Exports of the audit trail: `cargo bench --bench export`.
//!
//!     cargo bench --bench export -- --events 300000
//!
//! Starts the real server, imports keys until the log has so many events, and exports all of them in every format
//! over one connection: events a second, how that compares to reading the bare log in the same run, and by how much
//! the memory of the server grows meanwhile. `cold` is the first export after a start, when no data key is in memory.
//! Without `--bench`, as `cargo test --benches` starts it, it does so with
//! few events and proves that it works.

#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use keyledger::store::sqlite::{DataDirectory, Options as StoreOptions, SqliteStore};
use keyledger::store::{EventStore, Filter};

#[path = "server/mod.rs"]
mod server;

use server::Server;

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

/// Exports everything and throws it away; gives how many bytes came.
fn export(server: &Server, format: &str) -> u64 {
    let mut stream = TcpStream::connect(&server.address).expect("it listens");
    write!(
        stream,
        "GET /v1/audit/export?format={format} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
             Authorization: Bearer {}\r\n\r\n",
        server.key
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

/// Processor time that the process took so far: two numbers of hundredths of a second, after its name in brackets.
fn processor(id: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
    Duration::from_millis(fields.filter_map(|ticks| ticks.parse::<u64>().ok()).sum::<u64>() * 10)
}

/// Runs something and gives by how much the memory of a process grew at most meanwhile.
fn growth<T>(id: u32, run: impl FnOnce() -> T) -> (T, u64) {
    let done = Arc::new(AtomicBool::new(false));
    let before = resident(id);
    let watching = Arc::clone(&done);
    let watch = thread::spawn(move || {
        let mut most = before;
        while !watching.load(Ordering::Relaxed) {
            most = most.max(resident(id));
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
    let server = Server::with_keys(&data_dir, options.events);
    let id = server.child.id();
    let mut figures = Vec::new();
    for format in FORMATS {
        let (mut took, mut grown, mut bytes) = (Vec::new(), 0, 0);
        let busy = processor(id);
        for _ in 0..options.rounds {
            let start = Instant::now();
            let (came, more) = growth(id, || export(&server, format));
            took.push(start.elapsed());
            (bytes, grown) = (came, more.max(grown));
        }
        let busy = processor(id).saturating_sub(busy).as_secs_f64() / options.rounds as f64;
        took.sort_unstable();
        figures.push((format, took[took.len() / 2], bytes, grown, busy));
    }
    let key = server.key.clone();
    server.stop();
    let server = Server::serve(&data_dir, key);
    let (busy, start) = (processor(server.child.id()), Instant::now());
    let (bytes, grown) = growth(server.child.id(), || export(&server, "jsonl"));
    let took = start.elapsed();
    let busy = processor(server.child.id()).saturating_sub(busy).as_secs_f64();
    figures.push(("jsonl, cold", took, bytes, grown, busy));
    server.stop();
    let (events, bare) = scan(&data_dir);
    let rate = |took: Duration| events as f64 / took.as_secs_f64();
    println!("{:<16} {:>9.0} events/s, {events} events", "bare log", rate(bare));
    for (format, took, bytes, grown, busy) in figures {
        println!(
            "{format:<16} {:>9.0} events/s, {:>3.0} % of the bare log, {:>4} bytes and {:>4.1} \u{b5}s of the server's \
             processor time an event, memory +{:.1} MiB",
            rate(took),
            rate(took) / rate(bare) * 100.0,
            bytes / events as u64,
            busy * 1e6 / events as f64,
            grown as f64 / 1024.0 / 1024.0
        );
    }
    ExitCode::SUCCESS
}
