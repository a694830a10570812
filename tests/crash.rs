//! The crash proof: the real server is killed under load again and again, and the log is compared with
//! every answer that was given.
//!
//! A kill takes away the process, not the machine: what it proves is that nothing is answered before it
//! was written, that nothing is half written, and that a start finds its way from whatever was left.

#![allow(clippy::unwrap_used, unreachable_pub, reason = "a test may stop, and its modules are its own")]

#[path = "crash/credits.rs"]
mod credits;
#[path = "crash/log.rs"]
mod log;
#[path = "crash/random.rs"]
mod random;
mod support;
#[path = "crash/worker.rs"]
mod worker;

use std::collections::HashMap;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use keyledger_schema::KeyId;
use keyledger_schema::event::PreviousStop;

use log::Log;
use random::Random;
use support::{Home, Server};
use worker::Worker;

const WORKERS: usize = 8;
/// How many keys a worker asks about after each restart.
const SOME: usize = 6;

fn workers(random: &mut Random) -> Vec<Worker> {
    (0..WORKERS).map(|number| Worker::new(number, random.split())).collect()
}

/// Lets all workers work, and kills the server after a while.
fn kill_under_load(server: &Server, workers: &mut [Worker], after: Duration) {
    let killing = AtomicBool::new(false);
    thread::scope(|scope| {
        for worker in workers {
            scope.spawn(|| worker.work(server, &killing));
        }
        thread::sleep(after);
        killing.store(true, Ordering::SeqCst);
        server.kill();
    });
}

/// Kills a server that may not have got to listening.
fn kill_while_starting(home: &Arc<Home>, args: &[&str], after: Duration) {
    let launched = home.launch(args);
    thread::sleep(after);
    launched.kill();
}

/// It is disposable: the next start makes it anew from the log.
fn delete_read_model(home: &Home) {
    let files: Vec<_> = fs::read_dir(home.data_dir()).unwrap().flatten().collect();
    let read_model = files.iter().filter(|file| file.file_name().to_string_lossy().starts_with("readmodel"));
    let deleted = read_model.map(|file| fs::remove_file(file.path()).unwrap()).count();
    assert!(deleted > 0, "no read model among {files:?}");
}

/// All workers ask about so many of their keys.
fn check(server: &Server, workers: &mut [Worker], most: usize) {
    thread::scope(|scope| {
        for worker in workers {
            scope.spawn(|| worker.check(server, most));
        }
    });
}

/// Every verification that was answered is in the log, and nothing that nobody asked for.
fn compare_usage(log: &Log, workers: &[Worker]) {
    let mut answered: HashMap<_, u64> = HashMap::new();
    let mut unanswered: HashMap<_, u64> = HashMap::new();
    for worker in workers {
        for (of, count) in &worker.verified {
            *answered.entry(of.clone()).or_insert(0) += count;
        }
        for (key, count) in &worker.unanswered_verifications {
            *unanswered.entry(*key).or_insert(0) += count;
        }
    }
    for ((key, code), count) in &answered {
        let logged = log.usage.get(&(*key, code.clone())).copied().unwrap_or(0);
        assert!(
            logged >= *count,
            "{count} verifications of {key:?} were answered {code}, the log has {logged}"
        );
    }
    compare_most(log, &answered, &unanswered);
}

/// No more verifications are in the log than were asked for.
fn compare_most(
    log: &Log,
    answered: &HashMap<(Option<KeyId>, String), u64>,
    unanswered: &HashMap<KeyId, u64>,
) {
    let all_unanswered: u64 = unanswered.values().sum();
    for ((key, code), logged) in &log.usage {
        let count = answered.get(&(*key, code.clone())).copied().unwrap_or(0);
        // A secret that no key has belongs to no key's account.
        let lost = key.map_or(all_unanswered, |key| unanswered.get(&key).copied().unwrap_or(0));
        assert!(
            *logged <= count + lost,
            "the log has {logged} verifications of {key:?} answered {code}, not {count}"
        );
    }
}

/// The log holds each answered change, and no change that nobody asked for.
fn compare_changes(log: &Log, workers: &mut [Worker], others: usize) {
    for worker in &mut *workers {
        worker.compare(log);
    }
    let answered: usize = workers.iter().map(|worker| worker.events.len()).sum();
    let unanswered: usize = workers.iter().map(|worker| worker.unanswered_mutations).sum();
    // A rotation also ends the overlap before it: two events.
    let most = answered + 2 * unanswered;
    let logged = log.key_event_ids.len() - others;
    assert!((answered..=most).contains(&logged), "{logged} changes in the log, {answered} were answered");
}

#[test]
fn whatever_was_answered_is_in_the_log_after_any_number_of_kills() {
    let mut random = Random::seeded();
    let home = Home::initialized();
    let others = Log::read(&home).key_event_ids.len();
    let mut workers = workers(&mut random);
    for _ in 0..20 {
        let server = Server::start(&home, &[]);
        check(&server, &mut workers, SOME);
        kill_under_load(&server, &mut workers, random.millis(50, 500));
        let log = Log::read(&home);
        compare_changes(&log, &mut workers, others);
        compare_usage(&log, &workers);
        assert!(log.gaps.is_empty(), "strict mode leaves no gap: {:?}", log.gaps);
        if random.below(4) == 0 {
            delete_read_model(&home);
        }
        if random.below(2) == 0 {
            kill_while_starting(&home, &[], random.millis(0, 60));
        }
    }
    let server = Server::start(&home, &[]);
    check(&server, &mut workers, usize::MAX);
    server.stop();
    let log = Log::read(&home);
    compare_changes(&log, &mut workers, others);
    compare_usage(&log, &workers);
    let (first, later) = log.previous_stops.split_first().unwrap();
    assert_eq!(*first, PreviousStop::None);
    assert!(later.iter().all(|stop| *stop == PreviousStop::Unclean), "{later:?}");
    let verified: u64 = workers.iter().flat_map(|worker| worker.verified.values()).sum();
    let changes: usize = workers.iter().map(|worker| worker.events.len()).sum();
    println!("{} starts, {changes} changes and {verified} verifications answered", later.len() + 1);
}

#[test]
fn a_kill_in_relaxed_mode_loses_no_change_and_declares_the_gap() {
    let mut random = Random::seeded();
    let home = Home::initialized();
    let others = Log::read(&home).key_event_ids.len();
    let mut workers = workers(&mut random);
    for kills in 0..4 {
        let server = Server::start(&home, &["--usage", "relaxed"]);
        check(&server, &mut workers, SOME);
        kill_under_load(&server, &mut workers, random.millis(100, 600));
        let log = Log::read(&home);
        compare_changes(&log, &mut workers, others);
        assert!(log.gaps.len() >= kills, "each start after a kill declares a gap");
        if random.below(2) == 0 {
            kill_while_starting(&home, &["--usage", "relaxed"], random.millis(0, 60));
        }
    }
}

#[test]
fn kills_right_after_each_other_do_not_confuse_the_record() {
    let home = Home::initialized();
    let mut worker = Worker::new(0, Random::seeded());
    for _ in 0..2 {
        let server = Server::start(&home, &["--usage", "relaxed"]);
        worker.work_for(&server, 20);
        server.stop();
        for _ in 0..3 {
            Server::start(&home, &["--usage", "relaxed"]).kill();
        }
    }
    Server::start(&home, &[]).stop();
    let log = Log::read(&home);
    worker.compare(&log);
    compare_usage(&log, &[worker]);
    assert_eq!(log.gaps.len(), 6);
}

#[test]
fn a_clean_stop_in_relaxed_mode_loses_nothing() {
    let mut random = Random::seeded();
    let home = Home::initialized();
    let others = Log::read(&home).key_event_ids.len();
    let mut workers = workers(&mut random);
    for _ in 0..2 {
        let server = Server::start(&home, &["--usage", "relaxed"]);
        thread::scope(|scope| {
            for worker in &mut workers {
                scope.spawn(|| worker.work_for(&server, 100));
            }
        });
        server.stop();
        let log = Log::read(&home);
        compare_changes(&log, &mut workers, others);
        compare_usage(&log, &workers);
        assert!(log.gaps.is_empty(), "{:?}", log.gaps);
    }
    assert_eq!(Log::read(&home).previous_stops, [PreviousStop::None, PreviousStop::Clean]);
}

#[test]
fn a_first_start_that_is_killed_leaves_a_directory_that_works() {
    let mut random = Random::seeded();
    for _ in 0..3 {
        let home = Home::empty();
        for _ in 0..4 {
            kill_while_starting(&home, &[], random.millis(0, 40));
        }
        // Whatever was shown before the kill may be lost with the terminal: the operator makes another
        // organization, and its key works.
        let tenant = home.init("Afterwards");
        let server = Server::start(&home, &[]);
        let root = server.client(&tenant.root_key);
        let issued = root.create_key("first").scope("read:**").run();
        assert!(root.verify(&issued.secret()).unwrap().valid);
        server.stop();
        let log = Log::read(&home);
        assert!(log.ids.len() > 4 && log.gaps.is_empty());
    }
}
