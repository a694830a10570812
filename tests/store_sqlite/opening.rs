//! Opening: who may, which files, and what is refused in which words.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use keyledger::store::sqlite::{DataDirectory, OpenError, Options, SqliteStore};
use keyledger::store::{EventStore, Expected};

use crate::{append, everything, filled, log, open, refusal};

const CHILD: &str = "KEYLEDGER_TEST_HOLDS_DIRECTORY";

#[test]
fn events_and_the_log_id_outlive_the_store() {
    let directory = tempfile::tempdir().unwrap();
    let store = filled(directory.path(), 30);
    let (events, id) = (everything(&store), store.log_id());
    drop(store);
    let store = open(directory.path());
    assert_eq!(everything(&store), events);
    assert_eq!(store.log_id(), id);
    assert!(append(&store, "stream-0", Expected::NoStream, &[99]).is_err());
    let appended = append(&store, "stream-0", Expected::Exact(9), &[30]).unwrap();
    assert_eq!(appended.position.raw(), 31);
}

#[test]
fn a_closed_log_is_one_file_that_only_its_owner_can_read() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("data");
    drop(filled(&directory, 3));
    let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(directory.clone()), 0o700);
    assert_eq!(mode(log(&directory)), 0o600);
    let mut files: Vec<_> = fs::read_dir(&directory).unwrap().map(|file| file.unwrap().file_name()).collect();
    files.sort();
    assert_eq!(files, ["events.db", "lock"]);
}

#[test]
fn two_logs_have_different_ids() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    assert_ne!(open(one.path()).log_id(), open(two.path()).log_id());
}

#[test]
fn a_directory_in_use_is_refused_until_it_is_free() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let refused = refusal(directory.path());
    assert!(matches!(&refused, OpenError::InUse { pid: Some(pid), .. } if *pid == std::process::id()));
    assert!(refused.to_string().contains(&directory.path().display().to_string()));
    drop(store);
    let lock = DataDirectory::lock(directory.path()).unwrap();
    assert!(matches!(refusal(directory.path()), OpenError::InUse { .. }));
    SqliteStore::open_in(lock, Options::default()).unwrap();
}

#[test]
fn a_directory_in_use_by_another_process_is_refused_with_its_pid() {
    let directory = tempfile::tempdir().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "opening::holds_a_directory_for_another_test", "--nocapture"])
        .env(CHILD, directory.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let held = directory.path().join("held");
    while !held.exists() {
        assert!(child.try_wait().unwrap().is_none(), "the other process ended early");
        std::thread::yield_now();
    }
    let refused = refusal(directory.path());
    assert!(matches!(&refused, OpenError::InUse { pid: Some(pid), .. } if *pid == child.id()), "{refused}");
    // Killed, it leaves the file behind and still frees the directory.
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(everything(&open(directory.path())).len(), 1);
}

/// The other process. On its own it does nothing.
#[test]
fn holds_a_directory_for_another_test() {
    let Some(directory) = std::env::var_os(CHILD) else { return };
    let store = open(directory.as_ref());
    append(&store, "a", Expected::NoStream, &[1]).unwrap();
    fs::write(std::path::Path::new(&directory).join("held"), "").unwrap();
    // Until it is killed, or its parent is gone.
    let _ = std::io::stdin().read_line(&mut String::new());
}

#[test]
fn a_directory_that_cannot_be_used_is_refused_with_its_name() {
    let parent = tempfile::tempdir().unwrap();
    let file = parent.path().join("file");
    fs::write(&file, "").unwrap();
    for path in [&file, &file.join("below")] {
        let refused = refusal(path);
        assert!(matches!(refused, OpenError::Unreadable { .. }), "{refused}");
        assert!(refused.to_string().contains(&path.display().to_string()));
    }
}

#[test]
fn a_log_without_permission_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    drop(filled(directory.path(), 3));
    let log = log(directory.path());
    fs::set_permissions(&log, Permissions::from_mode(0o000)).unwrap();
    if fs::File::open(&log).is_ok() {
        // The superuser may read everything; a directory in the file's place serves them as well.
        fs::remove_file(&log).unwrap();
        fs::create_dir(&log).unwrap();
    }
    let refused = refusal(directory.path());
    assert!(matches!(refused, OpenError::Unreadable { .. }), "{refused}");
    assert!(log.exists());
}

#[test]
fn another_format_is_refused_and_named() {
    let directory = tempfile::tempdir().unwrap();
    drop(filled(directory.path(), 3));
    for other in [1, 7] {
        let database = rusqlite::Connection::open(log(directory.path())).unwrap();
        database.pragma_update(None, "user_version", other).unwrap();
        database.close().unwrap();
        let refused = refusal(directory.path());
        assert!(
            matches!(refused, OpenError::OtherVersion { found, supported: 2, .. } if found == other),
            "{refused}"
        );
    }
}

#[test]
fn files_that_are_no_log_are_refused_and_left_as_they_are() {
    let other = tempfile::tempdir().unwrap();
    let database = rusqlite::Connection::open(other.path().join("other.db")).unwrap();
    database
        .execute_batch("PRAGMA journal_mode = wal; CREATE TABLE events (position INTEGER PRIMARY KEY);")
        .unwrap();
    database.close().unwrap();
    let foreign = fs::read(other.path().join("other.db")).unwrap();
    let garbage: Vec<u8> = (0..50_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for contents in [foreign, garbage, vec![0; 4_096]] {
        let directory = tempfile::tempdir().unwrap();
        fs::write(log(directory.path()), &contents).unwrap();
        let refused = refusal(directory.path());
        assert!(matches!(refused, OpenError::NotALog { .. }), "{refused}");
        assert!(refused.to_string().contains("events.db"));
        assert_eq!(fs::read(log(directory.path())).unwrap(), contents);
    }
}

#[test]
fn an_interrupted_creation_is_begun_again() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("events.db.new"), "half a file").unwrap();
    fs::write(directory.path().join("events.db.new-journal"), "half a journal").unwrap();
    drop(filled(directory.path(), 3));
    assert_eq!(everything(&open(directory.path())).len(), 3);
    assert!(!directory.path().join("events.db.new").exists());
}

#[test]
fn the_check_reports_its_progress_to_the_end() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    for batch in 0..50 {
        let ids: Vec<_> = (batch * 1_000..(batch + 1) * 1_000).collect();
        append(&store, &format!("s{batch}"), Expected::NoStream, &ids).unwrap();
    }
    drop(store);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let report = Arc::clone(&seen);
    let progress: keyledger::store::sqlite::Progress =
        Arc::new(move |done, total| report.lock().unwrap().push((done, total)));
    SqliteStore::open(directory.path(), Options { progress: Some(progress), ..Options::default() }).unwrap();
    let seen = seen.lock().unwrap();
    assert!(seen.len() > 1);
    assert!(seen.is_sorted_by(|a, b| a.0 < b.0));
    assert_eq!(seen.last(), Some(&(50_000, 50_000)));
}
