//! The tour, and the guides that show a worked example, each pasted into a shell against a server that was just
//! started.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use keyledger::edge::Edge;

use crate::page::{read, section, split};

/// Stands for anything in an expected line; alone on a line, for any lines.
const ANYTHING: char = '…';
const STEP: &str = "=== step ";
/// In microseconds.
const DAY: i64 = 86_400_000_000;

/// What a reader types and what the README shows then.
struct Step<'a> {
    commands: String,
    shown: Vec<&'a str>,
}

fn steps(tour: &str) -> Vec<Step<'_>> {
    let mut steps: Vec<Step<'_>> = Vec::new();
    for block in split(tour).1 {
        match (block.language, steps.last_mut()) {
            ("sh", _) => steps.push(Step { commands: block.lines.join("\n"), shown: Vec::new() }),
            ("text", Some(step)) if step.shown.is_empty() => step.shown = block.lines,
            // A program that the reader saves.
            ("python", _) => {
                let lines = block.lines.join("\n");
                let commands = format!("cat > check.py <<'END OF PROGRAM'\n{lines}\nEND OF PROGRAM");
                steps.push(Step { commands, shown: Vec::new() });
            }
            // What is looked at and not pasted.
            ("json" | "graphql" | "shell" | "rust", _) => {}
            (other, _) => panic!("a block of {other:?} belongs to no step"),
        }
    }
    steps
}

fn line_fits(shown: &str, said: &str) -> bool {
    let mut parts = shown.split(ANYTHING);
    let Some(mut rest) = said.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let parts: Vec<_> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

fn fits(shown: &[&str], said: &[&str]) -> bool {
    match shown.split_first() {
        None => said.is_empty(),
        Some((&"…", rest)) => (0..=said.len()).any(|skipped| fits(rest, &said[skipped..])),
        Some((first, rest)) => {
            said.split_first().is_some_and(|(line, said)| line_fits(first, line) && fits(rest, said))
        }
    }
}

struct Server {
    child: Child,
    export: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program without settings of this process's environment.
fn clean(mut command: Command) -> Command {
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("KEYLEDGER_"))
    {
        command.env_remove(name);
    }
    command
}

/// Starts a server in a new directory and takes the line that it tells to paste.
fn serve(directory: &Path) -> Server {
    let mut command = clean(Command::new(env!("CARGO_BIN_EXE_keyledger")));
    command.arg("serve").current_dir(directory).env("KEYLEDGER_LISTEN", "127.0.0.1:0");
    let log = fs::File::create(directory.join("server.log")).unwrap();
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let export = lines.into_iter().find(|line| line.starts_with("export KEYLEDGER_URL="));
    let mut server = Server { child, export: String::new() };
    server.export = export.expect("the server shows a line to paste");
    server
}

/// A `cargo` that runs the program of this test.
const CARGO: &str = concat!(
    "#!/bin/sh\n[ \"$1 $2 $3 $4\" = 'run --release --quiet --' ] || exit 97\nshift 4\nexec '",
    env!("CARGO_BIN_EXE_keyledger"),
    "' \"$@\"\n"
);

/// A `curl` for machines without one.
const CURL: &str = include_str!("curl");

/// Makes a program. The shell writes it itself: a file that this process writes can still be open in a child that
/// another thread has just forked, and what is open for writing cannot be run.
fn stand_in(name: &str, program: &str) -> String {
    format!("cat > {name} <<'END OF {name}'\n{}\nEND OF {name}\nchmod +x {name}\n", program.trim_end())
}

fn is_there(program: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&paths).any(|path| path.join(program).is_file())
}

#[test]
fn the_tour_does_what_it_shows() {
    go_on_the_tour(is_there("curl"));
}

#[test]
fn the_tour_needs_no_curl_here() {
    go_on_the_tour(false);
}

fn go_on_the_tour(with_curl: bool) {
    let readme = read("README.md");
    let steps = steps(section(&readme, "## Tour"));
    assert!(steps.len() > 10, "the tour has {} steps", steps.len());
    follow("README.md", &steps, with_curl);
}

/// Guides whose commands can be pasted one after another.
const GUIDES: [&str; 17] = [
    "docs/analytics.md",
    "docs/auditors-guide.md",
    "docs/biscuits.md",
    "docs/credits.md",
    "docs/finding-keys.md",
    "docs/identities.md",
    "docs/importing-keys.md",
    "docs/incidents.md",
    "docs/leaks.md",
    "docs/organizations.md",
    "docs/personal-data.md",
    "docs/policies.md",
    "docs/quotas.md",
    "docs/rate-limits.md",
    "docs/roles.md",
    "docs/tokens.md",
    "docs/transparency-log.md",
];

#[test]
fn the_guides_do_what_they_show() {
    for guide in GUIDES {
        let text = read(guide);
        let steps = steps(&text);
        assert!(steps.len() > 1, "{guide} has {} steps", steps.len());
        follow(guide, &steps, is_there("curl"));
    }
}

/// Follows a document. What it shows is of one day: where midnight comes in between it is followed once more.
fn follow(document: &str, steps: &[Step<'_>], with_curl: bool) {
    let today = || Edge::default().now().micros() / DAY;
    let day = today();
    let mut followed = try_to_follow(document, steps, with_curl);
    if followed.is_err() && today() != day {
        followed = try_to_follow(document, steps, with_curl);
    }
    if let Err(told) = followed {
        panic!("{told}");
    }
}

fn try_to_follow(document: &str, steps: &[Step<'_>], with_curl: bool) -> Result<(), String> {
    let directory = tempfile::tempdir().unwrap();
    let mut script = stand_in("cargo", CARGO);
    if !with_curl {
        script += &stand_in("curl", CURL);
    }
    let server = serve(directory.path());
    writeln!(script, "exec 2>&1\n{}", server.export).unwrap();
    for (number, step) in steps.iter().enumerate() {
        writeln!(script, "echo '{STEP}{number}'\n{}", step.commands).unwrap();
    }
    fs::write(directory.path().join("tour.sh"), script).unwrap();
    let path = format!("{}:{}", directory.path().display(), std::env::var("PATH").unwrap_or_default());
    let mut bash = clean(Command::new("bash"));
    bash.args(["-eu", "tour.sh"]).current_dir(directory.path()).env("PATH", path).stdin(Stdio::null());
    let output = bash.output().expect("bash can be run");
    let said = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        return Err(format!("{document} ended with {}:\n{said}", output.status));
    }

    let mut said = said.split(STEP).skip(1);
    for step in steps {
        let lines: Vec<&str> = said.next().unwrap_or_default().lines().skip(1).map(str::trim_end).collect();
        let shown: Vec<&str> = step.shown.iter().map(|line| line.trim_end()).collect();
        if !fits(&shown, &lines) {
            return Err(format!(
                "{document} shows another output of\n{}\n--- it shows\n{}\n--- and it is\n{}",
                step.commands,
                shown.join("\n"),
                lines.join("\n")
            ));
        }
    }
    Ok(())
}

#[test]
fn the_quick_start_is_two_commands() {
    let readme = read("README.md");
    let (_, blocks) = split(section(&readme, "## Quick start"));
    let commands: Vec<_> = blocks.iter().map(|block| block.lines.join("\n")).collect();
    assert_eq!(commands, ["cargo run --release -- serve", "cargo test --workspace"]);
}

#[test]
fn what_is_shown_is_compared_line_by_line() {
    for (shown, said, expected) in [
        ("a…c", "abc", true),
        ("a…c", "ac", true),
        ("a…c", "ab", false),
        ("…b…", "abc", true),
        ("a", "ab", false),
        ("…", "", true),
        ("a…a", "a", false),
    ] {
        assert_eq!(line_fits(shown, said), expected, "{shown} {said}");
    }
    assert!(fits(&["a", "…", "b"], &["a", "x", "y", "b"]));
    assert!(fits(&["a", "…", "b"], &["a", "b"]));
    assert!(!fits(&["a", "b"], &["a", "x", "b"]));
    assert!(!fits(&["a"], &["a", "b"]));
    assert!(!fits(&["a", "b"], &["a"]));
}
