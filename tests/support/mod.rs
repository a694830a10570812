//! The test harness: the real program as a child process, and a client that reads like the story.
//!
//! ```text
//! let server = Server::fresh();
//! let issued = server.root().create_key("billing").scope("read:customers/**").run();
//! assert!(server.root().verify(&issued.secret()).unwrap().valid);
//! ```
//!
//! Each server has a data directory and a port of its own, so tests run side by side. Every wait has an
//! end, and what a server said is part of each failure. A server that is dropped is killed.

#![allow(dead_code, unreachable_pub, reason = "each test program uses a part of it")]
#![allow(clippy::must_use_candidate, clippy::missing_panics_doc, reason = "a harness fails by panicking")]

mod client;
mod process;
pub mod tables;

use keyledger::edge::Edge;
use keyledger::secret::parse_master_key;
use keyledger::vault::Vault;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

#[allow(unused_imports, reason = "each test program names some of them")]
pub use client::{Client, Failure, Mutated, Verification, parse_scope};
use process::{Process, program};

/// Longer than the slowest start of a debug build on a busy machine.
const START_PATIENCE: Duration = Duration::from_mins(2);
const STOP_PATIENCE: Duration = Duration::from_mins(2);

/// What `init` shows once.
#[derive(Clone, Debug)]
pub struct Tenant {
    pub organization: String,
    pub workspace: String,
    pub root_key: String,
}

/// A temporary data directory, which outlives the servers that run on it.
pub struct Home {
    directory: TempDir,
    tenant: Option<Tenant>,
    servers: AtomicU32,
}

impl Home {
    /// An empty one.
    pub fn empty() -> Arc<Self> {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        Arc::new(Self { directory, tenant: None, servers: AtomicU32::new(0) })
    }

    /// One with an organization, made by `keyledger init`.
    pub fn initialized() -> Arc<Self> {
        let mut home = Self::empty();
        let tenant = home.init("Acme");
        Arc::get_mut(&mut home).expect("nobody else has it yet").tenant = Some(tenant);
        home
    }

    /// Where the log is.
    pub fn data_dir(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// The data keys that personal data in the log is read with.
    pub fn vault(&self) -> Vault {
        let text =
            std::fs::read_to_string(self.data_dir().join("master.key")).expect("there is a master key");
        let master = parse_master_key(&text).expect("a master key is hexadecimal");
        Vault::open_in(&self.data_dir(), &master, Edge::default()).expect("the vault opens")
    }

    /// What the first `init` showed.
    pub fn tenant(&self) -> &Tenant {
        self.tenant.as_ref().expect("the home was made by `initialized`")
    }

    /// Adds an organization. No server may be running.
    pub fn init(&self, organization: &str) -> Tenant {
        let output = program()
            .args(["init", "--json", "--organization", organization, "--data-dir"])
            .arg(self.data_dir())
            .output()
            .expect("the program can be run");
        let (said, errors) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "init: {}\n{said}\n{errors}", output.status);
        let shown: Value = serde_json::from_str(&said).unwrap_or_else(|_| panic!("init printed: {said}"));
        let text =
            |name: &str| shown[name].as_str().unwrap_or_else(|| panic!("no {name} in {shown}")).to_owned();
        Tenant {
            organization: text("organizationId"),
            workspace: text("workspaceId"),
            root_key: text("rootKey"),
        }
    }

    /// Begins to start a server and does not wait for it.
    pub fn launch(self: &Arc<Self>, args: &[&str]) -> Launched {
        let number = self.servers.fetch_add(1, Ordering::Relaxed);
        let log = self.directory.path().join(format!("server-{number}.log"));
        let mut command = program();
        command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(self.data_dir()).args(args);
        Launched { process: Process::start(command, log), home: Arc::clone(self) }
    }
}

/// A server that may not listen yet.
pub struct Launched {
    process: Process,
    home: Arc<Home>,
}

impl Launched {
    /// Waits until it listens; the error is what it said instead.
    pub fn listening(self) -> Result<Server, String> {
        let first = self.process.first_line(START_PATIENCE)?;
        let Some(address) = first.strip_prefix("listening on http://") else {
            return Err(format!("the first line is {first:?}\n{}", self.process.said()));
        };
        Ok(Server { base: format!("http://{address}"), process: self.process, home: self.home })
    }

    /// SIGKILL, whatever it is doing.
    pub fn kill(self) -> Arc<Home> {
        self.process.kill();
        self.home
    }

    /// SIGKILL; everything that it had printed by then.
    pub fn kill_and_read(self) -> (Arc<Home>, String) {
        self.process.kill();
        (self.home, self.process.whole_stdout())
    }

    /// What it printed on standard output so far.
    pub fn stdout(&self) -> String {
        self.process.stdout()
    }
}

/// A server that listens.
pub struct Server {
    process: Process,
    home: Arc<Home>,
    base: String,
}

impl Server {
    /// On a new data directory with one organization.
    pub fn fresh() -> Self {
        Self::start(&Home::initialized(), &[])
    }

    /// On a data directory, with more arguments of `serve`.
    pub fn start(home: &Arc<Home>, args: &[&str]) -> Self {
        home.launch(args).listening().unwrap_or_else(|said| panic!("the server does not start: {said}"))
    }

    /// A client that holds the root key.
    pub fn root(&self) -> Client {
        self.client(&self.home.tenant().root_key)
    }

    /// A client that holds a secret.
    pub fn client(&self, secret: &str) -> Client {
        Client::new(&self.base, Some(secret))
    }

    /// A client that holds nothing.
    pub fn anonymous(&self) -> Client {
        Client::new(&self.base, None)
    }

    /// Asks for a file and reads nothing of it but the status line, which tells that it has begun.
    pub fn begun(&self, secret: &str, path: &str) -> TcpStream {
        let address = self.base.strip_prefix("http://").expect("a server listens on HTTP");
        let mut stream = TcpStream::connect(address).expect("the server listens");
        stream.set_read_timeout(Some(STOP_PATIENCE)).expect("a stream has timeouts");
        let head = "HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer";
        write!(stream, "GET {path} {head} {secret}\r\n\r\n").expect("the server reads");
        let mut start = [0; 12];
        stream.read_exact(&mut start).expect("the server answers");
        assert_eq!(&start, b"HTTP/1.1 200");
        stream
    }

    /// `http://127.0.0.1:41234`
    pub fn base(&self) -> &str {
        &self.base
    }

    pub fn home(&self) -> &Arc<Home> {
        &self.home
    }

    /// What it printed on standard output so far.
    pub fn stdout(&self) -> String {
        self.process.stdout()
    }

    /// Its diagnostics so far.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// SIGKILL, whatever it is doing.
    pub fn kill(&self) {
        self.process.kill();
    }

    /// SIGTERM; waits for its end, which must be a good one.
    pub fn stop(self) -> Arc<Home> {
        let status = self.process.terminate(STOP_PATIENCE);
        assert!(status.is_some_and(|status| status.success()), "{status:?}\n{}", self.process.said());
        self.home
    }
}

/// The newest lines of a text, for failures.
fn tail(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}
