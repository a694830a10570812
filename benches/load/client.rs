//! The load: keep-alive connections in a closed loop, all on one thread and one epoll instance.
//!
//! It shares the machine with the server that it measures, so it does as little as it can: requests are
//! bytes made beforehand in which one slot changes, answers are searched for the end of their header,
//! their length and one expected text, and nothing is allocated for a request.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::histogram::Histogram;

const BUFFER_BYTES: usize = 64 * 1024;
/// Longer than this without any answer is a hang.
const PATIENCE: Duration = Duration::from_secs(20);

/// Texts of one length, one behind the other.
pub(crate) struct Column {
    width: usize,
    bytes: Vec<u8>,
}

impl Column {
    pub(crate) fn new(width: usize) -> Self {
        Self { width, bytes: Vec::new() }
    }

    pub(crate) fn push(&mut self, text: &str) {
        assert_eq!(text.len(), self.width, "texts of a column have one length");
        self.bytes.extend_from_slice(text.as_bytes());
    }

    pub(crate) fn row(&self, index: usize) -> &[u8] {
        &self.bytes[index * self.width..(index + 1) * self.width]
    }

    pub(crate) fn rows(&self) -> usize {
        self.bytes.len() / self.width
    }
}

/// What stands in the slot of a request.
pub(crate) enum Slot<'a> {
    /// Always the same.
    Fixed,
    /// Any row, at random.
    AnyOf(&'a Column),
    /// A number never used before, in ten digits.
    Fresh(u64),
}

/// A request as bytes, and what its answer must hold.
pub(crate) struct Request<'a> {
    bytes: Vec<u8>,
    slot_at: usize,
    slot: Slot<'a>,
    /// A text that the body of each right answer holds.
    expected: &'static [u8],
    random: u64,
}

/// Where the changing part of a request's body stands while it is written down.
const SLOT: &str = "{slot}";

impl<'a> Request<'a> {
    pub(crate) fn get(path: &str, expected: &'static str) -> Self {
        Self::new(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"), "", Slot::Fixed, expected)
    }

    /// A JSON body in which `{slot}` is what changes, sent as the holder of a secret.
    pub(crate) fn post(path: &str, bearer: &str, body: &str, slot: Slot<'a>, expected: &'static str) -> Self {
        let head = format!("Authorization: Bearer {bearer}\r\nContent-Type: application/json\r\n");
        Self::with_body(path, &head, body, slot, expected)
    }

    /// A form in which `{slot}` is what changes.
    pub(crate) fn form(path: &str, body: &str, slot: Slot<'a>, expected: &'static str) -> Self {
        Self::with_body(path, "Content-Type: application/x-www-form-urlencoded\r\n", body, slot, expected)
    }

    fn with_body(path: &str, head: &str, body: &str, slot: Slot<'a>, expected: &'static str) -> Self {
        let sample = match &slot {
            Slot::Fixed => String::new(),
            Slot::AnyOf(column) => String::from_utf8_lossy(column.row(0)).into_owned(),
            Slot::Fresh(first) => format!("{first:010}"),
        };
        let length = body.replace(SLOT, &sample).len();
        let text = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\n{head}Content-Length: {length}\r\n\r\n{body}"
        );
        Self::new(&text, &sample, slot, expected)
    }

    fn new(text: &str, sample: &str, slot: Slot<'a>, expected: &'static str) -> Self {
        let slot_at = text.find(SLOT).unwrap_or(text.len());
        let bytes = text.replace(SLOT, sample).into_bytes();
        Self { bytes, slot_at, slot, expected: expected.as_bytes(), random: 0x9e37_79b9_7f4a_7c15 }
    }

    fn next(&mut self) -> &[u8] {
        match &mut self.slot {
            Slot::Fixed => {}
            Slot::AnyOf(column) => {
                // Marsaglia, "Xorshift RNGs" (2003), 64 bits, 13/7/17.
                self.random ^= self.random << 13;
                self.random ^= self.random >> 7;
                self.random ^= self.random << 17;
                let rows = column.rows() as u128;
                #[allow(clippy::cast_possible_truncation, reason = "below the number of rows")]
                let row = ((u128::from(self.random) * rows) >> 64) as usize;
                self.bytes[self.slot_at..self.slot_at + column.width].copy_from_slice(column.row(row));
            }
            Slot::Fresh(number) => {
                let mut rest = *number;
                for digit in self.bytes[self.slot_at..self.slot_at + 10].iter_mut().rev() {
                    *digit = b'0' + (rest % 10) as u8;
                    rest /= 10;
                }
                *number += 1;
            }
        }
        &self.bytes
    }
}

/// What a round of load measured.
#[derive(Debug)]
pub(crate) struct Round {
    pub(crate) elapsed: Duration,
    pub(crate) latencies: Histogram,
    pub(crate) errors: u64,
    /// The first wrong answer, or why there was none.
    pub(crate) first_error: Option<String>,
}

impl Round {
    #[allow(clippy::cast_precision_loss, reason = "figures for people")]
    pub(crate) fn per_second(&self) -> f64 {
        self.latencies.total() as f64 / self.elapsed.as_secs_f64()
    }

    fn wrong(&mut self, what: impl FnOnce() -> String) {
        self.errors += 1;
        self.first_error.get_or_insert_with(what);
    }
}

/// How long and how wide.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) connections: usize,
    pub(crate) warm_up: Duration,
    pub(crate) duration: Duration,
}

struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    filled: usize,
    sent_at: Instant,
}

/// Drives a server for one round. Answers are counted between the end of the warm-up and the end of the
/// round; wrong answers always. `on_warm` and `on_end` run at those two moments.
pub(crate) fn drive(
    address: SocketAddr,
    request: &mut Request<'_>,
    shape: Shape,
    on_warm: impl FnOnce(),
    on_end: impl FnOnce(),
) -> io::Result<Round> {
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(shape.connections);
    let mut round =
        Round { elapsed: Duration::ZERO, latencies: Histogram::new(), errors: 0, first_error: None };
    let mut connections = Vec::with_capacity(shape.connections);
    for token in 0..shape.connections {
        let mut connection = connect(address, &poll, token)?;
        connection.send(request)?;
        connections.push(connection);
    }

    let warm_at = Instant::now() + shape.warm_up;
    let end_at = warm_at + shape.duration;
    let mut on_warm = Some(on_warm);
    let mut seen_at = Instant::now();
    let mut expected_at = 0;
    loop {
        let now = Instant::now();
        if now >= warm_at
            && let Some(on_warm) = on_warm.take()
        {
            on_warm();
        }
        if now >= end_at {
            break;
        }
        poll.poll(&mut events, Some(Duration::from_millis(100)))?;
        if events.is_empty() && seen_at.elapsed() > PATIENCE {
            round.wrong(|| format!("no answer for {} s", PATIENCE.as_secs()));
            break;
        }
        for event in &events {
            let connection = &mut connections[event.token().0];
            match connection.receive(request.expected, &mut expected_at) {
                Ok(Received::Nothing) => continue,
                Ok(Received::Right) => {
                    seen_at = Instant::now();
                    if seen_at >= warm_at && seen_at < end_at {
                        round.latencies.record(seen_at - connection.sent_at);
                    }
                }
                Ok(Received::Wrong) => round.wrong(|| connection.text()),
                Err(error) => {
                    round.wrong(|| format!("the connection failed: {error}"));
                    *connection = connect(address, &poll, event.token().0)?;
                }
            }
            connection.send(request)?;
        }
    }
    on_end();
    round.elapsed = shape.duration;
    Ok(round)
}

fn connect(address: SocketAddr, poll: &Poll, token: usize) -> io::Result<Connection> {
    let stream = std::net::TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_nonblocking(true)?;
    let mut stream = TcpStream::from_std(stream);
    poll.registry().register(&mut stream, Token(token), Interest::READABLE)?;
    Ok(Connection { stream, buffer: vec![0; BUFFER_BYTES], filled: 0, sent_at: Instant::now() })
}

enum Received {
    /// Not all of it yet.
    Nothing,
    Right,
    Wrong,
}

impl Connection {
    /// Sends the next request. A closed loop never fills the socket's buffer, so a short write is an
    /// error.
    fn send(&mut self, request: &mut Request<'_>) -> io::Result<()> {
        let bytes = request.next();
        self.filled = 0;
        self.sent_at = Instant::now();
        if self.stream.write(bytes)? == bytes.len() { Ok(()) } else { Err(ErrorKind::WriteZero.into()) }
    }

    /// Reads what is there. The readiness is edge-triggered: until an answer is whole, everything is
    /// read; after it the server has nothing to say before the next request.
    fn receive(&mut self, expected: &[u8], expected_at: &mut usize) -> io::Result<Received> {
        loop {
            match self.stream.read(&mut self.buffer[self.filled..]) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(read) => self.filled += read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Received::Nothing),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            let answer = &self.buffer[..self.filled];
            let Some(body_at) = body_at(answer) else { continue };
            let length = content_length(&answer[..body_at]).ok_or(ErrorKind::InvalidData)?;
            if answer.len() < body_at + length {
                continue;
            }
            let right =
                answer.starts_with(b"HTTP/1.1 200 ") && holds(&answer[body_at..], expected, expected_at);
            return Ok(if right { Received::Right } else { Received::Wrong });
        }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.buffer[..self.filled.min(1_000)]).into_owned()
    }
}

fn body_at(answer: &[u8]) -> Option<usize> {
    answer.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
}

fn content_length(head: &[u8]) -> Option<usize> {
    const NAME: &[u8] = b"content-length:";
    let line = head
        .split(|byte| *byte == b'\n')
        .find(|line| line.get(..NAME.len()).is_some_and(|start| start.eq_ignore_ascii_case(NAME)))?;
    std::str::from_utf8(&line[NAME.len()..]).ok()?.trim().parse().ok()
}

/// Whether a body holds a text, which is most likely where it was the last time.
fn holds(body: &[u8], text: &[u8], at: &mut usize) -> bool {
    if body.get(*at..*at + text.len()) == Some(text) {
        return true;
    }
    let found = body.windows(text.len()).position(|window| window == text);
    *at = found.unwrap_or(*at);
    found.is_some()
}
