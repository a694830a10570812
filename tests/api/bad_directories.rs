//! Data directories that must not be served: each is refused in words, and left as it is.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use keyledger::edge::Stopwatch;

use crate::support::{Home, Server};

const PATIENCE: Duration = Duration::from_mins(2);

/// Contents of every file but the lock's, which names the last process that looked, and those of the read model and
/// the tree, which may be brought up to date by whoever opens them.
fn contents(directory: &Path) -> BTreeMap<PathBuf, blake3::Hash> {
    let files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let matters = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name != "lock"
            && !name.starts_with("readmodel.db")
            && !name.starts_with("tree.db")
            && !name.ends_with("-shm")
    };
    files.filter(matters).map(|path| (path.clone(), blake3::hash(&fs::read(&path).unwrap()))).collect()
}

/// Starts a server that must not start; what it said.
fn refused(home: &Arc<Home>, arguments: &[&str]) -> String {
    let log = home.data_dir().parent().unwrap().join("refused.log");
    let mut child = Command::new(env!("CARGO_BIN_EXE_keyledger"))
        .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(home.data_dir())
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let waiting = Stopwatch::start();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if waiting.elapsed() > PATIENCE {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("it serves");
        }
        thread::sleep(Duration::from_millis(5));
    };
    let said = fs::read_to_string(log).unwrap();
    assert!(matches!(status.code(), Some(1 | 2)), "{status}: {said}");
    assert!(!said.contains("panicked"), "{said}");
    said
}

/// The refusal names all of this and changes nothing.
fn assert_refused(home: &Arc<Home>, arguments: &[&str], words: &[&str]) {
    let before = contents(&home.data_dir());
    let said = refused(home, arguments);
    for word in words {
        assert!(said.contains(word), "{word:?} is not in: {said}");
    }
    assert_eq!(contents(&home.data_dir()), before, "{said}");
}

/// A directory that a server used and left, with the whole log in one file: whoever opens a log moves what
/// stands in the write-ahead log to its place.
fn used() -> Arc<Home> {
    let server = Server::fresh();
    for name in ["a key", "another key"] {
        server.root().create_key(name).scope("read:marked-place/**").run();
    }
    let mut home = server.stop();
    for _ in 0..20 {
        if !home.data_dir().join("events.db-wal").exists() {
            return home;
        }
        home = Server::start(&home, &[]).stop();
    }
    panic!("a server that stops never leaves the log in one file");
}

/// Changes a file in place.
fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_directory_in_use_is_refused_and_its_server_goes_on() {
    let server = Server::fresh();
    let said = refused(server.home(), &[]);
    let directory = server.home().data_dir().display().to_string();
    for word in ["in use by another process", "pid", "stop that process", &directory] {
        assert!(said.contains(word), "{word:?} is not in: {said}");
    }
    let issued = server.root().create_key("a").run();
    assert!(server.root().verify(&issued.secret()).unwrap().valid);
}

#[test]
fn a_log_without_its_master_key_is_refused() {
    let home = used();
    let path = home.data_dir().join("master.key");
    let master = fs::read(&path).unwrap();
    fs::remove_file(&path).unwrap();
    let shown = path.display().to_string();
    assert_refused(&home, &[], &["master key is missing", &shown, "backup"]);
    assert!(!path.exists(), "a new key would make every secret invalid");
    fs::write(&path, master).unwrap();
    Server::start(&home, &[]);
}

#[test]
fn a_master_key_that_is_not_the_logs_own_is_refused() {
    let home = used();
    let path = home.data_dir().join("master.key");
    let master = fs::read(&path).unwrap();
    let directory = home.data_dir().display().to_string();
    fs::write(&path, format!("{}\n", "5a".repeat(32))).unwrap();
    assert_refused(&home, &[], &["master key is not the one", &directory, "backup"]);
    for nonsense in ["", "5a", "not hexadecimal at all"] {
        fs::write(&path, nonsense).unwrap();
        assert_refused(&home, &[], &["64 hexadecimal digits", "master.key"]);
    }
    fs::write(&path, master).unwrap();
    Server::start(&home, &[]);
}

#[test]
fn a_log_of_another_version_is_refused() {
    let home = used();
    let log = home.data_dir().join("events.db");
    // The user version in the header of an SQLite database.
    change(&log, |bytes| bytes[60..64].copy_from_slice(&7_u32.to_be_bytes()));
    let shown = log.display().to_string();
    assert_refused(&home, &[], &[&shown, "format 7", "run the version"]);
}

#[test]
fn a_log_with_a_changed_byte_is_refused() {
    for word in ["marked-place", "key.issued", "organization.bootstrapped"] {
        let home = used();
        let log = home.data_dir().join("events.db");
        change(&log, |bytes| {
            let places: Vec<usize> = bytes
                .windows(word.len())
                .enumerate()
                .filter(|(_, at)| *at == word.as_bytes())
                .map(|(at, _)| at)
                .collect();
            assert!(!places.is_empty(), "{word} is in the log");
            for at in places {
                bytes[at] ^= 1;
            }
        });
        let shown = log.display().to_string();
        assert_refused(&home, &[], &[&shown, "damaged", "position", "backup"]);
    }
}

#[test]
fn a_log_that_was_cut_off_or_replaced_is_refused() {
    for (change_it, words) in [
        ((|bytes: &mut Vec<u8>| bytes.truncate(50)) as fn(&mut Vec<u8>), ["damaged", "backup"]),
        (|bytes| bytes.clear(), ["damaged", "backup"]),
        (|bytes| bytes.truncate(bytes.len() - 4_096), ["damaged", "backup"]),
        (
            |bytes| *bytes = b"hello, this is a diary and it has nothing to do with keys; ".repeat(100),
            ["not a Keyledger log", "move it away"],
        ),
    ] {
        let home = used();
        change(&home.data_dir().join("events.db"), change_it);
        assert_refused(&home, &[], &words);
    }
}

#[test]
fn settings_that_cannot_be_are_refused_by_name() {
    let home = used();
    for (arguments, word) in [
        (&["--usage", "sometimes"][..], "usage"),
        (&["--trusted-proxy", "10.0.0.0/99"], "trusted"),
        (&["--open-listen", "0.0.0.0:0"], "loopback"),
        (&["--log-level", "loud"], "log"),
    ] {
        let before = contents(&home.data_dir());
        let output = Command::new(env!("CARGO_BIN_EXE_keyledger"))
            .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(home.data_dir())
            .args(arguments)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(word), "{arguments:?}: {said}");
        assert!(!said.contains("panicked"), "{said}");
        if word != "loopback" {
            assert_eq!(contents(&home.data_dir()), before);
        }
    }
}
