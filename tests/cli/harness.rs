//! Runs the program in an empty environment, and a server in a directory of its own.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// What a run left behind.
pub(crate) struct Done {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// The program with arguments, no environment and no terminal.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keyledger"));
    command.env_clear().args(arguments).stdin(Stdio::null());
    command
}

pub(crate) fn run(mut command: Command) -> Done {
    let output = command.output().expect("the program runs");
    Done {
        code: output.status.code().expect("an exit code"),
        out: String::from_utf8(output.stdout).expect("UTF-8"),
        err: String::from_utf8(output.stderr).expect("UTF-8"),
    }
}

/// Runs the program with something on its standard input.
pub(crate) fn run_with_input(mut command: Command, input: &str) -> Done {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program runs");
    let mut stdin = child.stdin.take().expect("its input");
    // A program that stops before it has read everything closes the pipe.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    Done {
        code: output.status.code().expect("an exit code"),
        out: String::from_utf8(output.stdout).expect("UTF-8"),
        err: String::from_utf8(output.stderr).expect("UTF-8"),
    }
}

pub(crate) fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in {text}"))
}

/// A server with one organization, stopped when dropped.
pub(crate) struct Server {
    directory: TempDir,
    child: Child,
    url: String,
    founded: Value,
}

impl Server {
    pub(crate) fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let data = directory.path().join("data");
        let mut init = command(&["init", "--json", "--data-dir"]);
        init.arg(&data);
        let founded = run(init);
        assert_eq!(founded.code, 0, "{}", founded.err);
        let mut serve = command(&["serve", "--listen", "127.0.0.1:0", "--log-level", "off", "--data-dir"]);
        serve.arg(&data).stdout(Stdio::piped());
        let mut child = serve.spawn().expect("the server starts");
        let mut line = String::new();
        let out = child.stdout.take().expect("its output");
        BufReader::new(out).read_line(&mut line).expect("its first line");
        let url = line.trim().strip_prefix("listening on ").expect("its address").to_owned();
        Self { directory, child, url, founded: json(&founded.out) }
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn root_key(&self) -> &str {
        self.founded["rootKey"].as_str().expect("a root key")
    }

    pub(crate) fn organization(&self) -> &str {
        self.founded["organizationId"].as_str().expect("an organization")
    }

    pub(crate) fn workspace(&self) -> &str {
        self.founded["workspaceId"].as_str().expect("a workspace")
    }

    pub(crate) fn run_as(&self, key: &str, arguments: &[&str]) -> Done {
        let mut command = command(arguments);
        command.env("KEYLEDGER_URL", &self.url).env("KEYLEDGER_KEY", key);
        run(command)
    }

    /// Runs a command as the root key, with something on its standard input.
    pub(crate) fn run_with(&self, arguments: &[&str], input: &str) -> Done {
        let mut command = command(arguments);
        command.env("KEYLEDGER_URL", &self.url).env("KEYLEDGER_KEY", self.root_key());
        run_with_input(command, input)
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Done {
        self.run_as(self.root_key(), arguments)
    }

    pub(crate) fn text_as(&self, key: &str, arguments: &[&str]) -> String {
        let done = self.run_as(key, arguments);
        assert_eq!(done.code, 0, "{arguments:?}: {}", done.err);
        done.out
    }

    pub(crate) fn text(&self, arguments: &[&str]) -> String {
        self.text_as(self.root_key(), arguments)
    }

    /// What a command prints with `--json`. It says nothing else.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let done = self.run(&[arguments, &["--json"]].concat());
        assert_eq!((done.code, done.err.as_str()), (0, ""), "{arguments:?}");
        json(&done.out)
    }

    /// Sends a document as the root key.
    pub(crate) fn graphql(&self, document: &str) -> Value {
        let mut answer = ureq::post(format!("{}/graphql", self.url))
            .header("authorization", format!("Bearer {}", self.root_key()))
            .header("content-type", "application/json")
            .send(serde_json::json!({ "query": document }).to_string())
            .expect("an answer");
        let answer = json(&answer.body_mut().read_to_string().expect("text"));
        assert!(answer["errors"].is_null(), "{answer}");
        answer
    }

    /// Asks the server to stop and gives its exit code.
    #[cfg(unix)]
    pub(crate) fn stop(&mut self) -> i32 {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").arg(id).status().expect("kill").success());
        self.child.wait().expect("it stops").code().expect("an exit code")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have stopped already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Answers one request with a body, and gives the request's text. For answers that no server gives at will.
pub(crate) fn answering(body: &'static str) -> (String, std::thread::JoinHandle<String>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("its address"));
    let answering = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let mut input = BufReader::new(stream.try_clone().expect("a clone"));
        let (mut request, mut length) = (String::new(), 0);
        while !request.ends_with("\r\n\r\n") {
            let start = request.len();
            input.read_line(&mut request).expect("a line");
            if let Some(value) = request[start..].to_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().expect("a number");
            }
        }
        let mut sent = vec![0; length];
        input.read_exact(&mut sent).expect("the body");
        let head =
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length:";
        write!(stream, "{head} {}\r\n\r\n{body}", body.len()).expect("it is sent");
        request + &String::from_utf8_lossy(&sent)
    });
    (url, answering)
}
