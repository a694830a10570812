//! A client of one server, blocking: GraphQL, and JSON over REST.
//!
//! Invariants: the management key goes to the one address it was meant for: redirects are not followed,
//! plain http to another machine needs a flag, and no proxy stands between this process and its own
//! machine. The key appears in no error and no `Debug`.
//!
//! An answer can have data and errors at once. Such data is given, for it may hold a secret that is shown
//! once; the first error is kept, and [`Client::finish`] tells it.

use std::cell::RefCell;
use std::ffi::OsString;
use std::io::Read;
use std::net::IpAddr;
use std::time::Duration;
use std::{fmt, fs, io};

use serde_json::Value;
use ureq::http::Uri;
use zeroize::Zeroizing;

use super::{Connection, Exit, Failure};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const ANSWER_TIMEOUT: Duration = Duration::from_mins(1);
/// A page of a trail with events of the largest size, twice encoded, stays below.
const MAX_ANSWER_BYTES: u64 = 64 * 1024 * 1024;
const MAX_KEY_BYTES: u64 = 8 * 1024;

/// A client of one server.
pub struct Client {
    agent: ureq::Agent,
    base: String,
    authorization: Option<Zeroizing<String>>,
    /// Why a part of an answer is missing.
    missing: RefCell<Option<Failure>>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("base", &self.base).finish_non_exhaustive()
    }
}

impl Client {
    /// A client with the key from the file, or else from the variable.
    pub fn new(connection: &Connection, variable: Option<OsString>) -> Result<Self, Failure> {
        let base = base(&connection.url, connection.insecure_http)?;
        let key = management_key(connection.key_file.as_deref(), variable)?;
        let mut authorization = Zeroizing::new(String::with_capacity(key.len() + 7));
        authorization.push_str("Bearer ");
        authorization.push_str(&key);
        Ok(Self::with(base, Some(authorization)))
    }

    /// A client without a management key, for what a key's own secret is enough for.
    pub fn without_key(connection: &Connection) -> Result<Self, Failure> {
        Ok(Self::with(base(&connection.url, connection.insecure_http)?, None))
    }

    fn with((base, on_this_machine): (String, bool), authorization: Option<Zeroizing<String>>) -> Self {
        let mut config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_global(Some(ANSWER_TIMEOUT))
            .user_agent(concat!("keyledger-cli/", env!("CARGO_PKG_VERSION")));
        if on_this_machine {
            config = config.proxy(None);
        }
        Self { agent: config.build().into(), base, authorization, missing: RefCell::default() }
    }

    /// Sends a document and gives the answer's data.
    pub fn call(&self, document: &str, variables: &Value) -> Result<Value, Failure> {
        self.call_with(document, &Zeroizing::new(variables.to_string()), ANSWER_TIMEOUT)
    }

    /// The same with variables that are JSON already, and time for long work.
    pub fn call_with(&self, document: &str, variables: &str, time: Duration) -> Result<Value, Failure> {
        let mut body = Zeroizing::new(String::with_capacity(document.len() + variables.len() + 64));
        body.push_str("{\"query\":");
        body.push_str(&Value::from(document).to_string());
        body.push_str(",\"variables\":");
        body.push_str(variables);
        body.push('}');
        let changes = document.trim_start().starts_with("mutation");
        let (status, text) = self.send("/graphql", &body, changes, time)?;
        let (data, missing) = self.read(status, &text)?;
        if let Some(mut failure) = missing {
            failure.message = format!("a part of the answer is missing: {}", failure.message);
            if changes {
                // The change has happened, so nobody shall take this for an invitation to repeat it.
                failure.exit = Exit::Failed;
            }
            self.missing.borrow_mut().get_or_insert(failure);
        }
        Ok(data)
    }

    /// Sends JSON to a path of the REST interface and gives the answer. `changes` says whether the path
    /// changes something.
    pub fn post(&self, path: &str, body: &Value, changes: bool) -> Result<Value, Failure> {
        // The body holds a secret.
        let body = Zeroizing::new(body.to_string());
        let (status, text) = self.send(path, &body, changes, ANSWER_TIMEOUT)?;
        self.read_plain(path, status, &text)
    }

    /// Asks for a file and gives its bytes as they come, which may take as long as it likes while something comes.
    pub fn download(
        &self,
        path: &str,
        parameters: &[(&str, String)],
    ) -> Result<impl Read + 'static, Failure> {
        let mut request = self.agent.get(format!("{}{path}", self.base)).header("accept", "*/*");
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization.as_str());
        }
        let mut answer = request
            .query_pairs(parameters.iter().map(|(name, value)| (*name, value.as_str())))
            .config()
            .timeout_global(None)
            .timeout_recv_response(Some(ANSWER_TIMEOUT))
            .timeout_per_read(Some(ANSWER_TIMEOUT))
            .build()
            .call()
            .map_err(|error| self.unanswered(&error, false))?;
        let status = answer.status().as_u16();
        if status == 200 {
            return Ok(answer.into_body().into_reader());
        }
        let text = answer.body_mut().with_config().limit(MAX_ANSWER_BYTES).read_to_vec();
        let text = text.map_err(|error| self.unanswered(&error, false))?;
        // Whatever it is, it is no file.
        match self.read_plain(path, status, &text) {
            Err(failure) => Err(failure),
            Ok(_) => Err(self.unexpected(path, status)),
        }
    }

    /// Whether a part of any answer was missing.
    pub fn finish(&self) -> Result<(), Failure> {
        self.missing.take().map_or(Ok(()), Err)
    }

    fn send(
        &self,
        path: &str,
        body: &str,
        changes: bool,
        time: Duration,
    ) -> Result<(u16, Zeroizing<Vec<u8>>), Failure> {
        let mut request = self
            .agent
            .post(format!("{}{path}", self.base))
            .header("content-type", "application/json")
            .header("accept", "application/json");
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization.as_str());
        }
        let mut answer = request
            .config()
            .timeout_global(Some(time))
            .build()
            .send(body)
            .map_err(|error| self.unanswered(&error, changes))?;
        let status = answer.status().as_u16();
        let text = answer
            .body_mut()
            .with_config()
            .limit(MAX_ANSWER_BYTES)
            .read_to_vec()
            .map_err(|error| self.unanswered(&error, changes))?;
        Ok((status, Zeroizing::new(text)))
    }

    /// Something answered that is not this API.
    fn unexpected(&self, path: &str, status: u16) -> Failure {
        Failure::new(
            Exit::Failed,
            "UNEXPECTED_ANSWER",
            format!(
                "{}{path} answered HTTP {status} with something that Keyledger does not say; check --url, and \
                 the proxy in between if there is one",
                self.base
            ),
        )
    }

    /// Takes an answer apart: data, GraphQL errors, errors of the HTTP layer, or something else. Data is
    /// given beside the first error where something of it came.
    fn read(&self, status: u16, text: &[u8]) -> Result<(Value, Option<Failure>), Failure> {
        let unexpected = || self.unexpected("/graphql", status);
        let mut answer: Value = serde_json::from_slice(text).map_err(|_| unexpected())?;
        let data = answer.get_mut("data").map(Value::take);
        if let Some(error) = answer.pointer("/errors/0") {
            let failure = failure(error, &error["extensions"], "INVALID_INPUT").ok_or_else(unexpected)?;
            return match data {
                Some(Value::Object(fields)) if fields.values().any(|field| !field.is_null()) => {
                    Ok((Value::Object(fields), Some(failure)))
                }
                _ => Err(failure),
            };
        }
        if let Some(error) = answer.get("error") {
            return Err(failure(error, error, "").ok_or_else(unexpected)?);
        }
        match data {
            Some(data @ Value::Object(_)) if status == 200 => Ok((data, None)),
            _ => Err(unexpected()),
        }
    }

    /// Takes an answer of the REST interface apart. Beside what was done an answer may hold an error, about
    /// what was not: that is for those who know the path.
    fn read_plain(&self, path: &str, status: u16, text: &[u8]) -> Result<Value, Failure> {
        let unexpected = || self.unexpected(path, status);
        let answer: Value = serde_json::from_slice(text).map_err(|_| unexpected())?;
        match answer.get("error") {
            _ if status == 200 && answer.is_object() => Ok(answer),
            Some(error) => Err(failure(error, error, "").ok_or_else(unexpected)?),
            None => Err(unexpected()),
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
                    self.base
                ),
            );
        }
        Failure::new(
            Exit::Unreachable,
            "UNREACHABLE",
            format!("{} cannot be reached ({error}); is the server running, and is --url right?", self.base),
        )
    }
}

/// The error that stands beside what was done, where there is one.
pub fn error_beside(answer: &Value) -> Option<Failure> {
    failure(&answer["error"], &answer["error"], "")
}

/// What a server said: its message, and code, field and details from where they stand. `otherwise` is the
/// code where there is none; without any it is not this API that speaks.
fn failure(error: &Value, rest: &Value, otherwise: &str) -> Option<Failure> {
    let message = error["message"].as_str()?;
    let code = rest["code"].as_str().unwrap_or(otherwise);
    let mut failure = Failure::from_server(code, message, rest["field"].as_str());
    failure.details = rest.get("details").filter(|details| details.is_object()).cloned().map(Box::new);
    (!code.is_empty()).then_some(failure)
}

/// What the addresses to post to begin with, and whether it is this machine's.
fn base(url: &str, insecure_http: bool) -> Result<(String, bool), Failure> {
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
    Ok((base.to_owned(), on_this_machine))
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
