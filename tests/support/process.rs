//! A child process whose words are kept.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use keyledger::edge::Stopwatch;
use rustix::process::{Pid, Signal, kill_process};

/// The program, without settings from this process's environment.
pub(super) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keyledger"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("KEYLEDGER_") {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null());
    command
}

/// What a process printed on standard output.
#[derive(Default)]
struct Printed {
    lines: Vec<String>,
    ended: bool,
}

type Output = Arc<(Mutex<Printed>, Condvar)>;

pub(super) struct Process {
    child: Mutex<Child>,
    output: Output,
    log: PathBuf,
}

impl Process {
    /// Starts it; its standard error goes to the file.
    pub(super) fn start(mut command: Command, log: PathBuf) -> Self {
        let errors = File::create(&log).expect("the log can be made");
        let mut child =
            command.stdout(Stdio::piped()).stderr(errors).spawn().expect("the program can be run");
        let stdout = child.stdout.take().expect("its output is piped");
        let output = Output::default();
        let shared = Arc::clone(&output);
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                shared.0.lock().unwrap_or_else(PoisonError::into_inner).lines.push(line);
                shared.1.notify_all();
            }
            shared.0.lock().unwrap_or_else(PoisonError::into_inner).ended = true;
            shared.1.notify_all();
        });
        Self { child: Mutex::new(child), output, log }
    }

    /// The first line of its output, waited for; the error is everything it said.
    pub(super) fn first_line(&self, patience: Duration) -> Result<String, String> {
        let printed = self.output.0.lock().unwrap_or_else(PoisonError::into_inner);
        let missing = |printed: &mut Printed| printed.lines.is_empty() && !printed.ended;
        let (printed, _) = self
            .output
            .1
            .wait_timeout_while(printed, patience, missing)
            .unwrap_or_else(PoisonError::into_inner);
        let first = printed.lines.first().cloned();
        drop(printed);
        first.ok_or_else(|| self.said())
    }

    pub(super) fn stdout(&self) -> String {
        self.output.0.lock().unwrap_or_else(PoisonError::into_inner).lines.join("\n")
    }

    /// Everything it printed, once it has ended.
    pub(super) fn whole_stdout(&self) -> String {
        let printed = self.output.0.lock().unwrap_or_else(PoisonError::into_inner);
        let printed = self.output.1.wait_while(printed, |printed| !printed.ended);
        printed.unwrap_or_else(PoisonError::into_inner).lines.join("\n")
    }

    pub(super) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Its output and the end of its log, for failures.
    pub(super) fn said(&self) -> String {
        format!(
            "--- standard output\n{}\n--- end of {}\n{}",
            self.stdout(),
            self.log.display(),
            super::tail(&self.log)
        )
    }

    /// SIGKILL, and waits until the system has cleaned up after it.
    pub(super) fn kill(&self) {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = child.kill();
        let _ = child.wait();
    }

    /// SIGTERM, and waits for its end; none when it does not come.
    pub(super) fn terminate(&self, patience: Duration) -> Option<ExitStatus> {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        kill_process(Pid::from_child(&child), Signal::TERM).expect("the process is ours");
        let waiting = Stopwatch::start();
        while waiting.elapsed() < patience {
            if let Some(status) = child.try_wait().expect("the process is our child") {
                return Some(status);
            }
            thread::sleep(Duration::from_millis(2));
        }
        None
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
