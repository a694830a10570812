//! What it takes to check a log: `cargo bench --bench audit`.
//!
//!     cargo bench --bench audit -- --events 300000
//!
//! Imports keys through the real server until the log has so many events, stops it, and then, in turns: `sha256sum` over
//! the stored bytes of all events in one file, SHA-256 over the same file in this process, and
//! `keyledger audit verify --data-dir`. Prints medians and what they are of `sha256sum`. Without `--bench`, as
//! `cargo test --benches` starts it, it does so with few events and proves that it works.

#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use clap::Parser;
use keyledger::store::sqlite::LogSnapshot;
use sha2::{Digest, Sha256};

#[path = "server/mod.rs"]
mod server;

use server::Server;

#[derive(Parser)]
struct Options {
    /// Events in the log, about.
    #[arg(long, default_value_t = 300_000)]
    events: usize,
    /// How often each is done; the median counts.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Given by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

/// Writes the stored bytes of all events into one file, and gives how many events and bytes there are.
fn write_events(data_dir: &Path, file: &Path) -> (u64, u64) {
    let log = LogSnapshot::open(data_dir).expect("the log opens");
    let mut out = BufWriter::new(File::create(file).expect("there is room"));
    let mut bytes = 0;
    log.events(|event| {
        bytes += event.bytes.len() as u64;
        out.write_all(event.bytes).is_ok()
    })
    .expect("the log is read");
    out.flush().expect("there is room");
    (log.size(), bytes)
}

/// How long a program takes, from its start to its end.
fn run(command: &mut Command) -> Duration {
    let start = Instant::now();
    let status = command.stdout(Stdio::null()).status().expect("the program runs");
    assert!(status.success(), "{command:?}");
    start.elapsed()
}

fn hash(file: &Path) -> Duration {
    let start = Instant::now();
    let mut file = File::open(file).expect("it was written");
    let (mut piece, mut hash) = (vec![0; 256 * 1024], Sha256::new());
    loop {
        let read = file.read(&mut piece).expect("it is read");
        if read == 0 {
            break;
        }
        hash.update(&piece[..read]);
    }
    std::hint::black_box(hash.finalize());
    start.elapsed()
}

#[allow(clippy::cast_precision_loss, reason = "figures for people")]
fn main() -> ExitCode {
    let mut options = Options::parse();
    if !options.bench {
        options = Options { events: 2_000, rounds: 1, ..options };
    }
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("there is room");
    let (data_dir, file) = (directory.path().join("data"), directory.path().join("events"));
    Server::with_keys(&data_dir, options.events).stop();
    let (events, bytes) = write_events(&data_dir, &file);
    let (mut tool, mut bare, mut whole) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..options.rounds {
        tool.push(run(Command::new("sha256sum").arg(&file)));
        bare.push(hash(&file));
        let mut verify = Command::new(env!("CARGO_BIN_EXE_keyledger"));
        whole.push(run(verify.args(["audit", "verify", "--json", "--data-dir"]).arg(&data_dir)));
    }
    let median = |times: &mut Vec<Duration>| {
        times.sort_unstable();
        times[times.len() / 2].as_secs_f64()
    };
    let reference = median(&mut tool);
    println!("{events} events, {bytes} bytes");
    for (what, times) in [("sha256sum", &mut tool), ("SHA-256", &mut bare), ("audit verify", &mut whole)] {
        let seconds = median(times);
        println!(
            "{what:<13} {:>7.3} s  {:>9.0} events/s  {:>6.0} MB/s  {:.2} times sha256sum",
            seconds,
            events as f64 / seconds,
            bytes as f64 / seconds / 1e6,
            seconds / reference
        );
    }
    ExitCode::SUCCESS
}
