//! The processes under load: the real server, and a server of the same kind that does nothing.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use actix_web::{HttpResponse, web};
use keyledger::edge::Edge;
use keyledger::http;
use keyledger::secret::MasterKey;
use keyledger::store::memory::MemoryStore;
use keyledger::stream_head::StreamHead;
use keyledger::token::Keyring;
use keyledger::verify::Verifier;
use keyledger::verify::recorder::Recorder;

use crate::keys::Keys;
use keyledger_schema::NodeId;
use keyledger_schema::event::UsageMode;
use rustix::process::{Pid, Signal, kill_process};

const LISTENING: &str = "listening on http://";
/// A first start with a million keys reads the whole log.
const START_PATIENCE: Duration = Duration::from_mins(10);
const STOP_PATIENCE: Duration = Duration::from_mins(1);
/// What the empty handler answers; as long as the answer to a verification.
const EMPTY_ANSWER: &str = r#"{"valid":true,"code":"VALID","keyId":"key_00000000000000000000000000"}"#;

/// A child process that serves. Killed when dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    /// From the start of the process until it said that it listens.
    pub(crate) started_in: Duration,
    errors: PathBuf,
}

/// The real program, without settings from this process's environment.
fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keyledger"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("KEYLEDGER_") || name == "RUST_LOG" {
            command.env_remove(name);
        }
    }
    command
}

/// Makes a data directory with one organization; gives its ids and its root key.
pub(crate) fn init(data_dir: &Path) -> serde_json::Value {
    let output = program()
        .args([OsStr::new("init"), OsStr::new("--json"), OsStr::new("--data-dir"), data_dir.as_os_str()])
        .output()
        .expect("the binary runs");
    assert!(output.status.success(), "init failed: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("init prints one JSON object")
}

impl Server {
    /// The real server on a data directory.
    pub(crate) fn keyledger(data_dir: &Path, usage: &str) -> Self {
        let mut command = program();
        command.args(["serve", "--listen", "127.0.0.1:0", "--usage", usage, "--data-dir"]).arg(data_dir);
        Self::start(command, data_dir.join("server.log"))
    }

    /// This program again, with a handler that does nothing.
    pub(crate) fn empty(directory: &Path) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("this program has a path"));
        command.arg("--empty-server");
        Self::start(command, directory.join("empty.log"))
    }

    fn start(mut command: Command, errors: PathBuf) -> Self {
        let log = File::create(&errors).expect("the server's log can be written");
        let started = Instant::now();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("the server starts");
        let stdout = child.stdout.take().expect("its output is ours");
        let (said, listen) = mpsc::channel();
        thread::spawn(move || {
            let mut lines = BufReader::new(stdout);
            let mut first = String::new();
            let _ = lines.read_line(&mut first);
            let _ = said.send((Instant::now(), first));
            // Whatever else it says must not fill the pipe.
            let _ = std::io::copy(&mut lines, &mut std::io::sink());
        });
        let first = listen.recv_timeout(START_PATIENCE).ok();
        let address = first.as_ref().and_then(|(_, line)| line.trim().strip_prefix(LISTENING)?.parse().ok());
        let Some(((said_at, _), address)) = first.zip(address) else {
            let _ = child.kill();
            panic!("the server does not listen: {}", fs::read_to_string(&errors).unwrap_or_default());
        };
        Self { child, address, started_in: said_at - started, errors }
    }

    /// Where it is reached.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Processor time that the process has used, all threads, user and system.
    pub(crate) fn processor_time(&self) -> Option<Duration> {
        processor_time(Path::new(&format!("/proc/{}/stat", self.child.id())))
    }

    /// Processor time that the threads of a name have used, user and system.
    pub(crate) fn thread_time(&self, name: &str) -> Option<Duration> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).ok()?;
        let named = tasks.flatten().filter(|task| {
            fs::read_to_string(task.path().join("comm")).is_ok_and(|comm| comm.trim_end() == name)
        });
        Some(named.filter_map(|task| processor_time(&task.path().join("stat"))).sum())
    }

    /// A number that the server logs as `name=17` when it begins to serve.
    pub(crate) fn logged(&self, name: &str) -> Option<u64> {
        let log = fs::read_to_string(&self.errors).ok()?;
        let at = log.find(&format!("{name}=")).map(|at| at + name.len() + 1)?;
        log[at..].split(|digit: char| !digit.is_ascii_digit()).next()?.parse().ok()
    }

    /// Memory that the process holds now, in bytes.
    pub(crate) fn resident_bytes(&self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
    }

    /// Stops it as an operator does and waits for its end.
    pub(crate) fn stop(mut self) -> Duration {
        let started = Instant::now();
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("the process is ours");
        loop {
            if let Some(status) = self.child.try_wait().expect("the server is our child") {
                assert!(
                    status.success(),
                    "{status}: {}",
                    fs::read_to_string(&self.errors).unwrap_or_default()
                );
                return started.elapsed();
            }
            assert!(started.elapsed() < STOP_PATIENCE, "the server does not stop");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Of a process or a thread.
fn processor_time(stat: &Path) -> Option<Duration> {
    // proc_pid_stat(5): fields 14 and 15 in ticks of 10 ms; the name in field 2 may hold spaces.
    let stat = fs::read_to_string(stat).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let ticks = fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?;
    Some(Duration::from_millis(ticks * 10))
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Serves an answer that costs nothing, with the product's settings of everything else.
pub(crate) fn serve_nothing() -> std::io::Result<()> {
    actix_web::rt::System::new().block_on(async {
        let routes = |config: &mut web::ServiceConfig| {
            // The body is read: a connection whose request was not read to its end is closed.
            let answer = |_: web::Bytes| async {
                HttpResponse::Ok().content_type("application/json").body(EMPTY_ANSWER)
            };
            config
                .route("/v1/verify", web::post().to(answer))
                .route("/oauth/token", web::post().to(answer))
                .route("/", web::get().to(answer));
        };
        let listener = http::server::bind_routes(SocketAddr::from(([127, 0, 0, 1], 0)), routes)?;
        println!("{LISTENING}{}", listener.addresses[0]);
        http::server::run(vec![listener], &state_of_nothing()?, std::future::pending()).await
    })
}

/// What the product's loop wants to stop at its end: a recorder that never records.
fn state_of_nothing() -> std::io::Result<web::Data<http::State>> {
    let (edge, head) = (Edge::default(), StreamHead::default());
    let node = NodeId::from_uuid(edge.uuid());
    let store = Arc::new(MemoryStore::new());
    let recorder = Recorder::start(
        store,
        edge.clone(),
        node,
        head,
        0,
        UsageMode::Relaxed,
        Arc::new(|_, _| {}),
        Arc::new(Keys::default()),
    )?;
    let hasher = MasterKey::new([0; 32]).secret_hasher();
    let verifier = Arc::new(Verifier::new(
        hasher,
        Arc::default(),
        Arc::new(Keyring::new("http://localhost")),
        recorder,
        edge,
    ));
    Ok(web::Data::new(http::State { verifier, trusted_proxies: Vec::new(), not_ready: Arc::new(Vec::new) }))
}
