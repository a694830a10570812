//! Bundles: made by a server, checked by the program, changed by somebody.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::harness::{Done, Server, command, json, run};

fn key(server: &Server, name: &str) -> String {
    let made = server.json(&["key", "create", name, "--environment", "production"]);
    made["createKey"]["key"]["id"].as_str().expect("an id").to_owned()
}

fn bundle(server: &Server, of: &[&str], file: &Path) -> Done {
    let output = ["--output", file.to_str().expect("a name"), "--json"];
    server.run(&[&["audit", "bundle"][..], of, &output].concat())
}

/// What a verification says, without a server or an environment.
fn verify(what: &[&str], file: Option<&Path>) -> (i32, Value) {
    let mut verify = command(&["audit", "verify", "--json"]);
    verify.args(what).args(file);
    let done = run(verify);
    (done.code, json(&done.out))
}

fn verifier_key(server: &Server) -> String {
    // A log that is a moment old may have no key yet.
    assert_eq!(server.run(&["audit", "checkpoint"]).code, 0);
    let keys = server.json(&["audit", "log-keys"]);
    keys["logKeys"][0]["verifierKey"].as_str().expect("a verifier key").to_owned()
}

fn proves(report: &Value, check: &str) -> bool {
    report["proved"].as_array().expect("findings").iter().any(|finding| finding["check"] == check)
}

#[test]
fn bundles_of_every_scope_are_verified_offline() {
    let server = Server::start();
    let (mine, other) = (key(&server, "mine"), key(&server, "other"));
    for verb in ["disable", "enable"] {
        server.json(&["key", verb, &mine]);
    }
    let log_key = verifier_key(&server);
    let directory = tempfile::tempdir().expect("a directory");
    let organization = server.organization().to_owned();
    let workspace = server.workspace().to_owned();
    for of in [["--key", &mine], ["--workspace", &workspace], ["--organization", &organization]] {
        let file = directory.path().join(format!("bundle{}.tar", of[0]));
        let made = bundle(&server, &of, &file);
        assert_eq!(made.code, 0, "{}", made.err);
        let (code, report) = verify(&["--key", &log_key], Some(&file));
        assert_eq!((code, report["verified"].as_bool()), (0, Some(true)), "{report}");
        for check in
            ["ARCHIVE", "MANIFEST", "SIGNATURE", "TREE", "CHAIN", "COMPLETENESS", "VIEW", "EVENT", "LOG_KEYS"]
        {
            assert!(proves(&report, check), "{of:?}: {check} in {report}");
        }
        assert_eq!(report["warnings"], json("[]"));
        let (code, report) = verify(&[], Some(&file));
        assert_eq!((code, report["warnings"].as_array().map(Vec::len)), (0, Some(1)));
        let text = String::from_utf8_lossy(&fs::read(&file).expect("the bundle")).into_owned();
        assert_eq!(text.contains(&other), of[0] != "--key");
        assert!(text.contains("mine.") && text.contains("data-keys/"), "addresses can be read");
    }
    let sealed = directory.path().join("sealed.tar");
    assert_eq!(bundle(&server, &["--key", &mine, "--without-personal-data"], &sealed).code, 0);
    assert_eq!(verify(&["--key", &log_key], Some(&sealed)).0, 0);
    let text = String::from_utf8_lossy(&fs::read(&sealed).expect("the bundle")).into_owned();
    assert!(text.contains("[unreadable]") && !text.contains("data-keys/0") && !text.contains("mine."));
    let trail = server.run(&["key", "trail", &mine, "--limit", "0", "--json"]);
    assert!(trail.out.contains("key.issued"));
}

#[test]
fn what_was_changed_has_its_exit_code() {
    let server = Server::start();
    let mine = key(&server, "mine");
    let log_key = verifier_key(&server);
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("bundle.tar");
    assert_eq!(bundle(&server, &["--key", &mine], &file).code, 0);
    let good = fs::read(&file).expect("the bundle");
    let changed = |at: usize| {
        let path = directory.path().join("changed.tar");
        let mut bad = good.clone();
        bad[at] ^= 1;
        fs::write(&path, bad).expect("a file");
        let (code, report) = verify(&["--key", &log_key], Some(&path));
        assert_eq!(report["verified"], false);
        code
    };
    assert_eq!(changed(0), 10);
    assert_eq!(changed(600), 11);
    let path = directory.path().join("cut.tar");
    fs::write(&path, &good[..good.len() / 2]).expect("a file");
    assert_eq!(verify(&[], Some(&path)).0, 10);
    // Another log's key.
    let stranger = Server::start();
    let (code, report) = verify(&["--key", &verifier_key(&stranger)], Some(&file));
    assert_eq!((code, report["faults"][0]["check"].as_str()), (12, Some("SIGNATURE")));
    // Another log's checkpoint, however much that log's key is trusted.
    let theirs = stranger.run(&["audit", "checkpoint"]);
    let since = directory.path().join("since");
    fs::write(&since, &theirs.out).expect("a file");
    let since = since.to_str().expect("a name");
    assert_eq!(verify(&["--key", &log_key, "--since", since], Some(&file)).0, 14);
    let text = run({
        let mut verify = command(&["audit", "verify"]);
        verify.arg(&path);
        verify
    });
    assert_eq!((text.code, text.out.contains("DOES NOT HOLD: ARCHIVE")), (10, true), "{}", text.out);
    let missing = run(command(&["audit", "verify", "nowhere.tar", "--json"]));
    assert_eq!((missing.code, json(&missing.err)["error"]["code"].as_str()), (1, Some("INPUT")));
    assert_eq!(run(command(&["audit", "verify"])).code, 2);
    assert_eq!(run(command(&["audit", "verify", "x", "--key", "nonsense"])).code, 2);
}

#[test]
fn an_earlier_checkpoint_is_gone_on_from() {
    let server = Server::start();
    let mine = key(&server, "mine");
    let directory = tempfile::tempdir().expect("a directory");
    let kept = directory.path().join("kept.checkpoint");
    let checkpoint = server.run(&["audit", "checkpoint"]);
    fs::write(&kept, &checkpoint.out).expect("a file");
    let size = checkpoint.out.lines().nth(1).expect("a size").to_owned();
    for verb in ["disable", "enable"] {
        server.json(&["key", verb, &mine]);
    }
    let file = directory.path().join("bundle.tar");
    assert_eq!(bundle(&server, &["--key", &mine, "--since", &size], &file).code, 0);
    let (code, report) = verify(&["--since", kept.to_str().expect("a name")], Some(&file));
    assert_eq!(code, 0, "{report}");
    assert!(proves(&report, "CONSISTENCY"));
}

#[test]
fn a_data_directory_is_checked_and_bundled_while_the_server_runs() {
    let server = Server::start();
    let mine = key(&server, "mine");
    let log_key = verifier_key(&server);
    // Signs for all of it.
    assert_eq!(server.run(&["audit", "checkpoint"]).code, 0);
    let data = server.data();
    let data_dir = data.to_str().expect("a name");
    let (code, report) = verify(&["--data-dir", data_dir, "--key", &log_key], None);
    assert_eq!(code, 0, "{report}");
    assert!(["SIGNATURE", "TREE", "CHAIN", "EVENT"].iter().all(|check| proves(&report, check)), "{report}");
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("log.tar");
    let mut whole = command(&["audit", "bundle", "--json", "--data-dir", data_dir, "--output"]);
    whole.arg(&file);
    let made = run(whole);
    assert_eq!(made.code, 0, "{}", made.err);
    let (code, report) = verify(&["--key", &log_key], Some(&file));
    assert_eq!(code, 0, "{report}");
    let text = String::from_utf8_lossy(&fs::read(&file).expect("the bundle")).into_owned();
    assert!(text.contains(&mine) && text.contains("tile/entries/000") && !text.contains("data-keys/0"));
    let empty = directory.path().to_str().expect("a name");
    assert_eq!(run(command(&["audit", "verify", "--data-dir", empty])).code, 1);
}

#[test]
fn nobody_is_handed_the_trail_of_others() {
    let server = Server::start();
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("bundle.tar");
    for of in [
        ["--key", "key_01h455vb4pex5vsknk084sn02q"],
        ["--workspace", "ws_01h455vb4pex5vsknk084sn02q"],
        ["--organization", "org_01h455vb4pex5vsknk084sn02q"],
    ] {
        let refused = bundle(&server, &of, &file);
        assert_eq!((refused.code, json(&refused.err)["error"]["code"].as_str()), (5, Some("NOT_FOUND")));
        assert!(!file.exists());
    }
}

#[test]
fn however_many_streams_a_bundle_has_their_ends_are_proved() {
    let server = Server::start();
    let mut lines = String::new();
    for number in 0..1_200 {
        let key = format!(
            r#"{{"name":"k{number}","environment":"STAGING","secret":"legacy-secret-number-{number:06}"}}"#
        );
        lines.push_str(&key);
        lines.push('\n');
    }
    let imported = server.run_with(&["key", "import", "-", "--workspace", server.workspace()], &lines);
    assert_eq!(imported.code, 0, "{}", imported.err);
    let log_key = verifier_key(&server);
    let directory = tempfile::tempdir().expect("a directory");
    for of in [["--organization", server.organization()], ["--workspace", server.workspace()]] {
        let file = directory.path().join("many.tar");
        assert_eq!(bundle(&server, &of, &file).code, 0);
        let (code, report) = verify(&["--key", &log_key], Some(&file));
        assert_eq!((code, &report["warnings"]), (0, &json("[]")), "{report}");
        let proved = report["proved"].as_array().expect("findings");
        let ends = proved.iter().find(|finding| finding["check"] == "COMPLETENESS").expect("ends");
        assert!(ends["count"].as_u64().expect("a number") > 1_200, "{ends}");
        fs::remove_file(&file).expect("the bundle");
    }
}

/// The names of the files of a directory, and what is in them.
fn contents(directory: &Path) -> std::collections::BTreeMap<String, Vec<u8>> {
    let files = fs::read_dir(directory).expect("a directory").map(|file| file.expect("a file").path());
    let named = |path: std::path::PathBuf| {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        path.is_file().then(|| (name, fs::read(&path).expect("contents")))
    };
    files.filter_map(named).collect()
}

fn copied(from: &Path, to: &Path) {
    fs::create_dir(to).expect("a directory");
    for (name, bytes) in contents(from) {
        fs::write(to.join(name), bytes).expect("a copy");
    }
}

#[cfg(unix)]
#[test]
fn whoever_reads_a_directory_that_no_server_has_leaves_it_as_it_was() {
    let mut server = Server::start();
    key(&server, "mine");
    let log_key = verifier_key(&server);
    let directory = tempfile::tempdir().expect("a directory");
    // As after a loss of power: the newest events stand in the write-ahead log.
    let unmerged = directory.path().join("unmerged #1?");
    copied(&server.data(), &unmerged);
    assert!(contents(&unmerged)["events.db-wal"].len() > 1_000);
    assert_eq!(server.stop(), 0);
    let stopped = directory.path().join("stopped #2?");
    copied(&server.data(), &stopped);
    let verified = |data: &Path| {
        let (code, report) = verify(&["--data-dir", data.to_str().expect("a name"), "--key", &log_key], None);
        assert_eq!(code, 0, "{report}");
        let proved = report["proved"].as_array().expect("findings");
        let tree = proved.iter().find(|finding| finding["check"] == "CHAIN").expect("links");
        tree["count"].as_u64().expect("a number")
    };
    // Whether the last run left a write-ahead log, empty or not, does not matter.
    let log = rusqlite::Connection::open(stopped.join("events.db")).expect("a log");
    log.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).expect("it is merged");
    log.close().expect("it is closed");
    for name in ["events.db-wal", "events.db-shm"] {
        fs::remove_file(stopped.join(name)).ok();
    }
    let before = contents(&stopped);
    let links = verified(&stopped);
    assert_eq!(contents(&stopped), before, "nothing is made and nothing changed");
    fs::write(stopped.join("events.db-wal"), "").expect("an empty log");
    assert_eq!(verified(&stopped), links);
    let of_unmerged = verified(&unmerged);
    assert!((1..=links).contains(&of_unmerged), "{of_unmerged} and {links}");
    let bundle = directory.path().join("log.tar");
    let mut whole = command(&["audit", "bundle", "--json", "--output"]);
    whole.arg(&bundle).arg("--data-dir").arg(&stopped);
    assert_eq!(run(whole).code, 0);
    let mut again = command(&["audit", "bundle", "--json", "--output"]);
    again.arg(&bundle).arg("--data-dir").arg(&stopped);
    let refused = run(again);
    assert_eq!((refused.code, refused.err.contains("--force")), (2, true), "{}", refused.err);
}
