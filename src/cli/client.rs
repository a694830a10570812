//! A GraphQL client of one server, blocking.
//!
//! Invariants: the management key goes to the one address it was meant for: redirects are not followed,
//! plain http to another machine needs a flag, and no proxy stands between this process and its own
//! machine. The key appears in no error and no `Debug`.

use std::ffi::OsString;
use std::io::Read;
use std::net::IpAddr;
use std::time::Duration;
use std::{fmt, fs, io};

use serde_json::{Value, json};
use ureq::http::Uri;
use zeroize::Zeroizing;

use super::{Connection, Exit, Failure};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const ANSWER_TIMEOUT: Duration = Duration::from_mins(1);
/// A page of a trail with events of the largest size, twice encoded, stays below.
const MAX_ANSWER_BYTES: u64 = 64 * 1024 * 1024;
const MAX_KEY_BYTES: u64 = 8 * 1024;

/// A GraphQL client of one server.
pub struct Client {
    agent: ureq::Agent,
    endpoint: String,
    authorization: Zeroizing<String>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

impl Client {
    /// A client with the key from the file, or else from the variable.
    pub fn new(connection: &Connection, variable: Option<OsString>) -> Result<Self, Failure> {
        let (endpoint, on_this_machine) = endpoint(&connection.url, connection.insecure_http)?;
        let key = management_key(connection.key_file.as_deref(), variable)?;
        let mut config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_global(Some(ANSWER_TIMEOUT))
            .user_agent(concat!("keyledger-cli/", env!("CARGO_PKG_VERSION")));
        if on_this_machine {
            config = config.proxy(None);
        }
        let mut authorization = Zeroizing::new(String::with_capacity(key.len() + 7));
        authorization.push_str("Bearer ");
        authorization.push_str(&key);
        Ok(Self { agent: config.build().into(), endpoint, authorization })
    }

    /// Sends a document and gives the answer's data.
    pub fn call(&self, document: &str, variables: &Value) -> Result<Value, Failure> {
        let body = json!({ "query": document, "variables": variables }).to_string();
        let changes = document.trim_start().starts_with("mutation");
        let mut answer = self
            .agent
            .post(&self.endpoint)
            .header("authorization", self.authorization.as_str())
            .header("content-type", "application/json")
            .header("accept", "application/json")
            .send(body)
            .map_err(|error| self.unanswered(&error, changes))?;
        let status = answer.status().as_u16();
        let text = answer
            .body_mut()
            .with_config()
            .limit(MAX_ANSWER_BYTES)
            .read_to_vec()
            .map_err(|error| self.unanswered(&error, changes))?;
        self.read(status, &text)
    }

    /// Takes an answer apart: data, GraphQL errors, errors of the HTTP layer, or something else.
    fn read(&self, status: u16, text: &[u8]) -> Result<Value, Failure> {
        let unexpected = || {
            Failure::new(
                Exit::Failed,
                "UNEXPECTED_ANSWER",
                format!(
                    "{} answered HTTP {status} with something that Keyledger does not say; check --url, and \
                     the proxy in between if there is one",
                    self.endpoint
                ),
            )
        };
        let mut answer: Value = serde_json::from_slice(text).map_err(|_| unexpected())?;
        if let Some(error) = answer.pointer("/errors/0") {
            let code = error["extensions"]["code"].as_str().unwrap_or("INVALID_INPUT");
            let message = error["message"].as_str().ok_or_else(unexpected)?;
            return Err(Failure::from_server(code, message, error["extensions"]["field"].as_str()));
        }
        if let Some(error) = answer.get("error") {
            let code = error["code"].as_str().ok_or_else(unexpected)?;
            let message = error["message"].as_str().ok_or_else(unexpected)?;
            return Err(Failure::from_server(code, message, error["field"].as_str()));
        }
        match answer.get_mut("data").map(Value::take) {
            Some(data @ Value::Object(_)) if status == 200 => Ok(data),
            _ => Err(unexpected()),
        }
    }

    /// No answer came. Whether the server saw the request decides what can be said about it.
    fn unanswered(&self, error: &ureq::Error, changes: bool) -> Failure {
        use ureq::{Error, Timeout};
        let refused = |kind| {
            matches!(
                kind,
                io::ErrorKind::ConnectionRefused
                    | io::ErrorKind::HostUnreachable
                    | io::ErrorKind::NetworkUnreachable
                    | io::ErrorKind::AddrNotAvailable
            )
        };
        let never_sent = match error {
            Error::Io(error) => refused(error.kind()),
            Error::Timeout(timeout) => matches!(timeout, Timeout::Resolve | Timeout::Connect),
            Error::HostNotFound
            | Error::ConnectionFailed
            | Error::Tls(_)
            | Error::Rustls(_)
            | Error::Pem(_)
            | Error::TlsRequired
            | Error::InvalidProxyUrl
            | Error::ConnectProxyFailed(_)
            | Error::BadUri(_)
            | Error::Http(_) => true,
            _ => false,
        };
        if changes && !never_sent {
            return Failure::new(
                Exit::OutcomeUnknown,
                "OUTCOME_UNKNOWN",
                format!(
                    "{} was asked but no answer came ({error}); look at the key's trail before you repeat \
                     the command, or create with --idempotency-key, which can be repeated",
                    self.endpoint
                ),
            );
        }
        Failure::new(
            Exit::Unreachable,
            "UNREACHABLE",
            format!(
                "{} cannot be reached ({error}); is the server running, and is --url right?",
                self.endpoint
            ),
        )
    }
}

/// The address to post to, and whether it is this machine's.
fn endpoint(url: &str, insecure_http: bool) -> Result<(String, bool), Failure> {
    let wrong = || {
        Failure::usage(
            "--url (KEYLEDGER_URL) is not a server's address: expected http:// or https://, a host and a \
             port if need be, such as https://keys.example.com, without user name, password or query",
        )
    };
    let uri: Uri = url.parse().map_err(|_| wrong())?;
    let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(wrong)?;
    if uri.query().is_some() || uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err(wrong());
    }
    let on_this_machine = host.eq_ignore_ascii_case("localhost")
        || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback());
    match uri.scheme_str() {
        Some("https") => {}
        Some("http") if on_this_machine || insecure_http => {}
        Some("http") => {
            return Err(Failure::usage(format!(
                "http://{host} would send the management key readable over the network: use https://, or \
                 --insecure-http (KEYLEDGER_INSECURE_HTTP=true) if that network is private and encrypted \
                 otherwise"
            )));
        }
        _ => return Err(wrong()),
    }
    let base = url.trim_end_matches('/');
    let base = base.strip_suffix("/graphql").unwrap_or(base);
    Ok((format!("{base}/graphql"), on_this_machine))
}

/// The management key from its file, or else from its variable.
fn management_key(file: Option<&str>, variable: Option<OsString>) -> Result<Zeroizing<String>, Failure> {
    let (text, origin) = match (file, variable) {
        (Some(path), _) => (read_key_file(path)?, format!("the key file {path}")),
        (None, Some(value)) => {
            let text = value.into_string().unwrap_or_default();
            (Zeroizing::new(text), "the environment variable KEYLEDGER_KEY".into())
        }
        (None, None) => {
            return Err(Failure::usage(
                "no management key: set the environment variable KEYLEDGER_KEY, or name a file that holds \
                 the key with --key-file",
            ));
        }
    };
    let key = text.trim();
    if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Failure::usage(format!(
            "{origin} does not hold a management key: expected one word of visible ASCII, such as \
             kl_prod_…"
        )));
    }
    Ok(Zeroizing::new(key.to_owned()))
}

fn read_key_file(path: &str) -> Result<Zeroizing<String>, Failure> {
    let mut text = Zeroizing::new(String::with_capacity(256));
    let read = if path == "-" {
        io::stdin().take(MAX_KEY_BYTES).read_to_string(&mut text)
    } else {
        fs::File::open(path).and_then(|file| file.take(MAX_KEY_BYTES).read_to_string(&mut text))
    };
    read.map_err(|error| Failure::usage(format!("the key file {path} cannot be read: {error}")))?;
    Ok(text)
}

#[cfg(test)]
mod tests;
