//! Imports: few calls with many keys in each, on few connections. What counts is keys a second, so this is
//! not a row of the table of requests.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use crate::report::{median, thousands};
use crate::server::Server;

/// As `--only` knows it.
pub(crate) const NAME: &str = "GraphQL: importKeys, 1,000 a call";
/// Keys of a call.
const KEYS: usize = 1_000;
const CONNECTIONS: usize = 2;
/// A larger answer is wrong.
const MAX_ANSWER: usize = 1 << 20;

const QUERY: &str = "mutation Import($input: ImportKeysInput!) { importKeys(input: $input) \
    { imported existing failed results { status key { id } } } }";
const EXPECTED: &str = r#"{"data":{"importKeys":{"imported":1000,"existing":0,"failed":0,"#;

/// What the rounds measured.
pub(crate) struct Imports {
    /// Keys a second of each round.
    rates: Vec<f64>,
    /// Seconds of each call.
    calls: Vec<f64>,
    /// Seconds of the server's processor time for each key, of each round.
    costs: Vec<f64>,
    pub(crate) errors: u64,
}

fn request(bearer: &str, first: usize) -> Vec<u8> {
    let mut keys = String::new();
    for number in first..first + KEYS {
        let secret = blake3::hash(&number.to_le_bytes()).to_hex();
        let comma = if number == first { "" } else { "," };
        let _ = write!(
            keys,
            r#"{comma}{{"name":"Load {number:07}","environment":"PRODUCTION","secret":"load_{}","scopes":[{{"action":"READ","resource":"customers/**"}}]}}"#,
            &secret[..32]
        );
    }
    let body = format!(r#"{{"query":"{QUERY}","variables":{{"input":{{"keys":[{keys}]}}}}}}"#);
    format!(
        "POST /graphql HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {bearer}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// Sends a request and reads the body of its answer.
fn call(stream: &mut TcpStream, request: &[u8]) -> std::io::Result<String> {
    stream.write_all(request)?;
    let mut answer = Vec::new();
    let mut chunk = vec![0; 64 * 1024];
    loop {
        let read = stream.read(&mut chunk)?;
        answer.extend_from_slice(&chunk[..read]);
        let text = String::from_utf8_lossy(&answer);
        let whole = text.split_once("\r\n\r\n").and_then(|(head, body)| {
            let line = head.lines().find(|line| line.to_ascii_lowercase().starts_with("content-length:"))?;
            let length: usize = line.split_once(':')?.1.trim().parse().ok()?;
            (body.len() >= length).then(|| body.to_owned())
        });
        match whole {
            Some(body) => return Ok(body),
            None if read == 0 || answer.len() > MAX_ANSWER => return Ok(text.into_owned()),
            None => {}
        }
    }
}

/// So many calls a round, after one that warms up.
#[allow(clippy::cast_precision_loss, reason = "figures for people")]
pub(crate) fn run(server: &Server, bearer: &str, rounds: usize, calls: usize) -> std::io::Result<Imports> {
    let mut imports = Imports { rates: Vec::new(), calls: Vec::new(), costs: Vec::new(), errors: 0 };
    let mut next = 0;
    let mut requests = |count: usize| -> Vec<Vec<u8>> {
        let first = next;
        next += count * KEYS;
        (0..count).map(|number| request(bearer, first + number * KEYS)).collect()
    };
    for round in 0..=rounds {
        let each = if round == 0 { 1 } else { calls.div_ceil(CONNECTIONS) };
        let work: Vec<_> = (0..CONNECTIONS).map(|_| requests(each)).collect();
        let before = server.processor_time();
        let started = Instant::now();
        let done: Vec<std::io::Result<Vec<(Duration, String)>>> = thread::scope(|scope| {
            let threads: Vec<_> = work
                .iter()
                .map(|requests| {
                    scope.spawn(move || {
                        let mut stream = TcpStream::connect(server.address)?;
                        stream.set_nodelay(true)?;
                        let timed = requests.iter().map(|request| {
                            let started = Instant::now();
                            call(&mut stream, request).map(|body| (started.elapsed(), body))
                        });
                        timed.collect()
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().expect("the client does not panic")).collect()
        });
        let elapsed = started.elapsed();
        let spent = server.processor_time().zip(before).map(|(after, before)| after.saturating_sub(before));
        for answers in done {
            for (took, body) in answers? {
                if !body.starts_with(EXPECTED) {
                    imports.errors += 1;
                    eprintln!("wrong answer of {NAME}: {}", body.chars().take(300).collect::<String>());
                }
                if round > 0 {
                    imports.calls.push(took.as_secs_f64());
                }
            }
        }
        if round > 0 {
            let keys = (each * CONNECTIONS * KEYS) as f64;
            imports.rates.push(keys / elapsed.as_secs_f64());
            imports.costs.extend(spent.map(|spent| spent.as_secs_f64() / keys));
        }
    }
    Ok(imports)
}

impl Imports {
    /// One line with the medians.
    pub(crate) fn print(self) {
        let cost = if self.costs.is_empty() { 0.0 } else { median(self.costs) };
        println!(
            "{NAME}      {} keys/s, {:.1} ms a call, {:.1} µs of the server's CPU a key",
            thousands(median(self.rates)),
            median(self.calls) * 1e3,
            cost * 1e6
        );
    }
}
