//! The load harness: `cargo bench --bench load`.
//!
//! Starts the real server as a process of its own and drives it over loopback with keep-alive
//! connections, with 1,000 and with 1,000,000 keys. Next to each figure stands its share of what an empty
//! handler of the same web server reaches with the same client and the same request bytes, measured just
//! before: that share says more about the program than a figure that depends on the machine.
//!
//!     cargo bench --bench load -- --keys 1000,1000000 --connections 64 --seconds 3 --rounds 5
//!
//! Client and server share the machine, so a figure is not what a server alone would reach. The exit
//! code is 1 when any answer was wrong. Without `--bench`, as `cargo test --benches` starts it, it runs
//! for a moment only and proves that it works.

#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

#[path = "load/client.rs"]
mod client;
#[path = "load/data.rs"]
mod data;
#[path = "load/histogram.rs"]
mod histogram;
#[path = "load/import.rs"]
mod import;
#[path = "../schema/tests/keys/mod.rs"]
mod keys;
#[path = "load/report.rs"]
mod report;
#[path = "load/server.rs"]
mod server;

use std::io;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use keyledger_schema::RateLimit;

use crate::client::{Request, Shape, Slot};
use crate::data::{Data, Form, Spending};
use crate::report::{Report, Scenario, thousands};
use crate::server::Server;

const VERIFY: &str = r#"{"key":"{slot}","action":"read","resource":"customers/42"}"#;
const READ: &str = r#"{"query":"query Key($id: ID!) { key(id: $id) { id name status environment scopes { text } createdAt expiresAt } }","variables":{"id":"{slot}"}}"#;
const CREATE: &str = r#"{"query":"mutation Create($input: CreateKeyInput!) { createKey(input: $input) { key { id } secret } }","variables":{"input":{"name":"Load {slot}","environment":"PRODUCTION","scopes":[{"action":"READ","resource":"customers/**"}]}}}"#;

const EXCHANGE: &str = "grant_type=client_credentials&client_id={slot}";
const EXCHANGE_BISCUIT: &str = "grant_type=client_credentials&token_type=biscuit&client_id={slot}";

const RELAXED: &str = "verify, relaxed";
const RELAXED_SPENDING: &str = "verify, relaxed, two limits, credits";
const RELAXED_TOKEN: &str = "verify a token, relaxed";
const STRICT_TOKEN: &str = "verify a token, strict";
const RELAXED_BISCUIT: &str = "verify a biscuit, relaxed";
const STRICT_BISCUIT: &str = "verify a biscuit, strict";
const RELAXED_NARROWED: &str = "verify a narrowed biscuit, relaxed";
const STRICT_NARROWED: &str = "verify a narrowed biscuit, strict";
const RELAXED_EXCHANGE: &str = "exchange for a token, relaxed";
const STRICT_EXCHANGE: &str = "exchange for a token, strict";
const RELAXED_TO_BISCUIT: &str = "exchange for a biscuit, relaxed";
const STRICT_TO_BISCUIT: &str = "exchange for a biscuit, strict";
const STRICT: &str = "verify, strict";
const STRICT_SPENDING: &str = "verify, strict, two limits, credits";

/// Of the tokens that are verified.
const FORMS: [Form; 3] = [Form::Jwt, Form::Biscuit, Form::Narrowed];

/// The thread that projects usage, as the system names it: 15 bytes at most.
const PROJECTOR: &str = "readmodel-usage";

/// Two limits and credits, so generous that no load reaches their end.
fn generous() -> Spending {
    let limit = |(name, window_seconds): (&str, u32)| RateLimit {
        name: name.into(),
        limit: 1_000_000_000,
        window_seconds,
    };
    Spending { limits: [("second", 1), ("minute", 60)].map(limit).into(), credits: Some(1_000_000_000_000) }
}

#[derive(Parser)]
struct Options {
    /// Keep-alive connections.
    #[arg(long, env = "KEYLEDGER_BENCH_CONNECTIONS", default_value_t = 64)]
    connections: usize,
    /// Length of a round, after its warm-up.
    #[arg(long, env = "KEYLEDGER_BENCH_SECONDS", default_value_t = 3.0)]
    seconds: f64,
    /// Rounds of each scenario; the table shows medians.
    #[arg(long, env = "KEYLEDGER_BENCH_ROUNDS", default_value_t = 5)]
    rounds: usize,
    /// How many keys there are; one table for each number.
    #[arg(long, env = "KEYLEDGER_BENCH_KEYS", value_delimiter = ',', default_values_t = [1_000, 1_000_000])]
    keys: Vec<usize>,
    /// Measure only what has this in its name.
    #[arg(long, default_value = "")]
    only: String,
    /// Given by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
    /// Be the server that does nothing.
    #[arg(long, hide = true)]
    empty_server: bool,
}

fn main() -> ExitCode {
    let mut options = Options::parse();
    if options.empty_server {
        server::serve_nothing().expect("the empty server runs");
        return ExitCode::SUCCESS;
    }
    if !options.bench {
        options = Options { connections: 8, seconds: 0.2, rounds: 1, keys: vec![100], ..options };
    }
    let mut errors = 0;
    for keys in &options.keys {
        errors += measure(*keys, &options).expect("the servers stay reachable");
    }
    if errors == 0 {
        return ExitCode::SUCCESS;
    }
    eprintln!("{errors} answers were wrong");
    ExitCode::FAILURE
}

/// One table. Gives the number of wrong answers.
#[allow(clippy::too_many_lines, reason = "one scenario after the other, read from top to bottom")]
fn measure(keys: usize, options: &Options) -> io::Result<u64> {
    let duration = Duration::from_secs_f64(options.seconds);
    let shape = Shape { connections: options.connections, warm_up: duration / 4, duration };
    let data = Data::with_keys(keys, &Spending::default());
    let spending = Data::with_keys(keys, &generous());
    let root = data.tenant.root_key.as_str();
    let verify = || Request::post("/v1/verify", root, VERIFY, Slot::AnyOf(&data.secrets), r#""valid":true"#);
    let verify_spending = || {
        let secrets = Slot::AnyOf(&spending.secrets);
        Request::post("/v1/verify", &spending.tenant.root_key, VERIFY, secrets, r#""valid":true"#)
    };

    let rebuild = Server::keyledger(data.directory.path(), "relaxed");
    let rebuilt_in = rebuild.started_in;
    rebuild.stop();
    let relaxed = Server::keyledger(data.directory.path(), "relaxed");
    let started_in = relaxed.started_in;
    let resident = relaxed.resident_bytes();

    let empty = Server::empty(data.directory.path());
    let mut nothing = Scenario { name: "empty handler, same request", server: &empty, request: verify() };
    let mut report = Report::new(options.only.clone());

    let plain = Scenario {
        name: "empty handler, GET",
        server: &empty,
        request: Request::get("/", r#""valid":true"#),
    };
    report.run(&mut nothing, &mut [plain], shape, options.rounds)?;

    let verify_token =
        |tokens| Request::post("/v1/verify", root, VERIFY, Slot::AnyOf(tokens), r#""valid":true"#);
    let [tokens, biscuits, narrowed] = FORMS.map(|form| data.tokens(&relaxed.url(), form));
    let relaxed_spending = Server::keyledger(spending.directory.path(), "relaxed");
    let mut verified = [
        Scenario { name: RELAXED, server: &relaxed, request: verify() },
        Scenario { name: RELAXED_TOKEN, server: &relaxed, request: verify_token(&tokens) },
        Scenario { name: RELAXED_BISCUIT, server: &relaxed, request: verify_token(&biscuits) },
        Scenario { name: RELAXED_NARROWED, server: &relaxed, request: verify_token(&narrowed) },
        Scenario { name: RELAXED_SPENDING, server: &relaxed_spending, request: verify_spending() },
    ];
    report.run(&mut nothing, &mut verified, shape, options.rounds)?;
    let clients = data.clients();
    let ask = |form, expected| Request::form("/oauth/token", form, Slot::AnyOf(&clients), expected);
    let jwt = || ask(EXCHANGE, r#""access_token":"eyJ"#);
    let biscuit = || ask(EXCHANGE_BISCUIT, r#""access_token":"C"#);
    let empty_exchange =
        |name, form| Scenario { name, server: &empty, request: ask(form, r#""valid":true"#) };
    let mut no_exchange = empty_exchange("empty handler, an exchange's request", EXCHANGE);
    let mut no_biscuit = empty_exchange("empty handler, the same for a biscuit", EXCHANGE_BISCUIT);
    let mut exchanged = [Scenario { name: RELAXED_EXCHANGE, server: &relaxed, request: jwt() }];
    report.run(&mut no_exchange, &mut exchanged, shape, options.rounds)?;
    let mut exchanged = [Scenario { name: RELAXED_TO_BISCUIT, server: &relaxed, request: biscuit() }];
    report.run(&mut no_biscuit, &mut exchanged, shape, options.rounds)?;
    let directory = relaxed.logged("directory_bytes");
    let directory_spending = relaxed_spending.logged("directory_bytes");
    relaxed_spending.stop();
    let stopped_in = relaxed.stop();

    let strict = Server::keyledger(data.directory.path(), "strict");
    let strict_spending = Server::keyledger(spending.directory.path(), "strict");
    let [tokens, biscuits, narrowed] = FORMS.map(|form| data.tokens(&strict.url(), form));
    let read = Request::post("/graphql", root, READ, Slot::AnyOf(&data.ids), r#"{"data":{"key":{"id":"key_"#);
    let create =
        Request::post("/graphql", root, CREATE, Slot::Fresh(0), r#"{"data":{"createKey":{"key":{"id":"key_"#);
    let mut durable = [
        Scenario { name: STRICT, server: &strict, request: verify() },
        Scenario { name: STRICT_TOKEN, server: &strict, request: verify_token(&tokens) },
        Scenario { name: STRICT_BISCUIT, server: &strict, request: verify_token(&biscuits) },
        Scenario { name: STRICT_NARROWED, server: &strict, request: verify_token(&narrowed) },
        Scenario { name: STRICT_SPENDING, server: &strict_spending, request: verify_spending() },
        Scenario { name: "GraphQL: read a key", server: &strict, request: read },
        Scenario { name: "GraphQL: createKey", server: &strict, request: create },
    ];
    let (started, busy) = (Instant::now(), strict.thread_time(PROJECTOR));
    report.run(&mut nothing, &mut durable, shape, options.rounds)?;
    let mut exchanged = [Scenario { name: STRICT_EXCHANGE, server: &strict, request: jwt() }];
    report.run(&mut no_exchange, &mut exchanged, shape, options.rounds)?;
    let mut exchanged = [Scenario { name: STRICT_TO_BISCUIT, server: &strict, request: biscuit() }];
    report.run(&mut no_biscuit, &mut exchanged, shape, options.rounds)?;
    let projecting = strict
        .thread_time(PROJECTOR)
        .zip(busy)
        .map(|(after, before)| after.saturating_sub(before).as_secs_f64() / started.elapsed().as_secs_f64());
    let calls = if options.bench { 20 } else { 2 };
    let imports = import::NAME
        .contains(&options.only)
        .then(|| import::run(&strict, root, options.rounds, calls))
        .transpose()?;
    strict.stop();
    strict_spending.stop();

    #[allow(clippy::cast_precision_loss, reason = "figures for people")]
    let title = format!(
        "{} keys, {} connections, {} rounds of {} s",
        thousands(keys as f64),
        options.connections,
        options.rounds,
        options.seconds
    );
    report.print(&title);
    let wrong_imports = imports.map_or(0, |imports| {
        let errors = imports.errors;
        imports.print();
        errors
    });
    println!("start, read model built from the log   {:.2} s", rebuilt_in.as_secs_f64());
    println!("start, read model present              {:.2} s", started_in.as_secs_f64());
    println!("stop after the load                    {:.2} s", stopped_in.as_secs_f64());
    if let Some(bytes) = directory {
        println!("directory                              {} bytes for each key", bytes / keys as u64);
    }
    if let Some(bytes) = directory_spending {
        println!("directory, two limits and credits each {} bytes for each key", bytes / keys as u64);
    }
    for (part, whole, without) in [
        (RELAXED_SPENDING, RELAXED, "those without"),
        (STRICT_SPENDING, STRICT, "those without"),
        (RELAXED_TOKEN, RELAXED, "those with a secret"),
        (STRICT_TOKEN, STRICT, "those with a secret"),
        (RELAXED_BISCUIT, RELAXED, "those with a secret"),
        (STRICT_BISCUIT, STRICT, "those with a secret"),
        (RELAXED_NARROWED, RELAXED, "those with a secret"),
        (STRICT_NARROWED, STRICT, "those with a secret"),
    ] {
        if let Some(share) = report.share(part, whole) {
            println!("{part:38} {:.0} % of {without}", 100.0 * share);
        }
    }
    if let Some(share) = projecting {
        println!("projecting usage during the load        {:.1} % of one core", 100.0 * share);
    }
    if let Some(resident) = resident {
        println!("memory of the process after the start  {} MiB", resident >> 20);
    }
    println!(
        "log {} MiB, read model {} MiB",
        data.file_bytes("events") >> 20,
        data.file_bytes("readmodel") >> 20
    );
    Ok(report.errors() + wrong_imports)
}
