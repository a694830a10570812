//! Every number in GraphQL can be recomputed from the log.
//!
//! Random verifications go through the real server, over every way that there is. Then everything is asked that
//! can be asked about them, the server stops, and each number is counted again from the log: naively, fact by
//! fact, with nothing of the code that counted it first. What was answered must be there, too.

#![allow(clippy::unwrap_used, unreachable_pub, reason = "a test may stop, and its modules are its own")]
#![allow(clippy::cast_possible_wrap, reason = "small numbers")]

#[path = "accounting/cast.rs"]
mod cast;
#[path = "accounting/every.rs"]
mod every;
#[path = "accounting/lists.rs"]
mod lists;
#[path = "accounting/log.rs"]
mod log;
#[path = "crash/random.rs"]
mod random;
mod support;
#[path = "accounting/traffic.rs"]
mod traffic;
#[path = "accounting/usage.rs"]
mod usage;

use std::collections::HashMap;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use keyledger::edge::{Edge, Stopwatch};
use keyledger_schema::VerificationCode;
use serde_json::json;

use cast::Cast;
use lists::Lists;
use log::{Fact, Log};
use random::Random;
use support::{Home, Server};
use traffic::Asker;
use usage::{Asked, Observer, Questions};

const ASKERS: usize = 5;
const TRAFFIC: Duration = Duration::from_millis(900);
/// So long before the end of what is recorded a server that died in relaxed mode may have lost something.
const MAY_BE_LOST: i64 = 5_000_000;
const PATIENCE: Duration = Duration::from_mins(2);

fn now() -> i64 {
    Edge::default().now().micros()
}

/// The end of what is counted, if anything is.
fn through(server: &Server) -> Option<i64> {
    let query = "query($at: DateTime!, $end: DateTime!) { usage(from: $at, to: $end) { through } }";
    let frame = json!({ "at": usage::moment(now()), "end": usage::moment(now() + 1) });
    let answer = server.root().graphql(query, &frame).unwrap();
    let through = &answer["usage"]["through"];
    through.is_string().then(|| usage::micros(through))
}

/// Waits until what was recorded until a moment is counted.
fn caught_up(server: &Server, to: i64) {
    let waiting = Stopwatch::start();
    while through(server) < Some(to) {
        assert!(waiting.elapsed() < PATIENCE, "usage is not counted: {}", server.log());
        thread::sleep(Duration::from_millis(30));
    }
}

/// A run of a server on one data directory after another.
struct Story {
    cast: Cast,
    askers: Vec<Asker>,
    random: Random,
    args: &'static [&'static str],
    began: i64,
    round: usize,
}

impl Story {
    fn begin(args: &'static [&'static str]) -> (Self, Server) {
        let mut random = Random::seeded();
        let home = Home::initialized();
        let other = home.init("Other");
        let began = now();
        let server = Server::start(&home, args);
        let cast = Cast::new(&home, other, &server, &mut random);
        let askers = (0..ASKERS).map(|_| Asker::new(random.split())).collect();
        (Self { cast, askers, random, args, began, round: 0 }, server)
    }

    fn start(&self) -> Server {
        Server::start(&self.cast.home, self.args)
    }

    fn is_strict(&self) -> bool {
        self.args.is_empty()
    }

    /// Lets all ask, while keys change.
    fn traffic(&mut self, server: &Server) {
        let (ending, killing) = (AtomicBool::new(false), AtomicBool::new(false));
        thread::scope(|scope| {
            for asker in &mut self.askers {
                scope.spawn(|| asker.work(server, &self.cast, &ending, &killing));
            }
            thread::sleep(TRAFFIC / 2);
            self.cast.change(server, &mut self.random, self.round);
            thread::sleep(TRAFFIC / 2);
            ending.store(true, Ordering::SeqCst);
        });
        self.round += 1;
    }

    /// Lets all ask, and kills the server meanwhile. Returns when that was.
    fn kill_under_load(&mut self, server: Server) -> i64 {
        let (ending, killing) = (AtomicBool::new(false), AtomicBool::new(false));
        let after = self.random.millis(600, 1_700);
        thread::scope(|scope| {
            for asker in &mut self.askers {
                scope.spawn(|| asker.work(&server, &self.cast, &ending, &killing));
            }
            thread::sleep(after);
            killing.store(true, Ordering::SeqCst);
            server.kill();
        });
        drop(server);
        now()
    }

    /// Waits until all that was answered is counted, and asks.
    fn ask(&mut self, server: &Server) -> (Vec<Asked>, Lists, Vec<Observer>, (i64, i64)) {
        let sentinel = self.cast.sentinel.secrets[0].clone();
        // In relaxed mode what waits is written together, unknown keys apart from others, and in several events: all
        // before the second of a kind is counted once that one is.
        let asked: &[&str] = if self.is_strict() {
            &[&sentinel]
        } else {
            &[traffic::MALFORMED, traffic::MALFORMED, &sentinel, &sentinel]
        };
        for secret in asked {
            let sent = now();
            self.askers[0].puts(&server.root(), &json!({ "key": secret }), None).unwrap();
            caught_up(server, sent);
        }
        self.ask_now(server)
    }

    fn ask_now(&mut self, server: &Server) -> (Vec<Asked>, Lists, Vec<Observer>, (i64, i64)) {
        let observers = Observer::all(server, &self.cast);
        let span = (self.began, now());
        let questions = Questions { observers: &observers, cast: &self.cast, span };
        let asked = questions.ask_all(&mut self.random);
        let lists = Lists::ask(server, &observers, &self.cast, span, &mut self.random);
        (asked, lists, observers, span)
    }

    /// Stops the server and counts everything again.
    fn check(&self, server: Server, told: (Vec<Asked>, Lists, Vec<Observer>, (i64, i64))) -> Log {
        let (asked, lists, observers, span) = told;
        assert!(!server.log().contains("panicked"), "{}", server.log());
        server.stop();
        let log = Log::read(&self.cast.home);
        let questions = Questions { observers: &observers, cast: &self.cast, span };
        for asked in &asked {
            questions.check(asked, &log);
        }
        lists.check(&observers, &log);
        self.check_answers(&log);
        println!("{} questions, {} records, {} verifications", asked.len(), log.facts.len(), log.total());
        log
    }

    /// What was answered until a moment, by key and code.
    fn answered(&self, until: i64) -> HashMap<(Option<String>, String), u64> {
        let mut answered = HashMap::new();
        let told = self.askers.iter().flat_map(|asker| &asker.told).filter(|told| told.at < until);
        for told in told {
            *answered.entry((told.key.clone(), told.code.clone())).or_insert(0) += 1;
        }
        answered
    }

    /// What was answered is in the log, and no more than was asked.
    fn check_answers(&self, log: &Log) {
        let mut logged: HashMap<_, u64> = HashMap::new();
        for fact in log.uses() {
            *logged.entry((fact.key.clone(), fact.code.clone())).or_insert(0) += fact.count;
        }
        let unanswered: u64 = self.askers.iter().map(|asker| asker.unanswered).sum();
        let answered = self.answered(i64::MAX);
        let total: u64 = answered.values().sum();
        if self.is_strict() {
            for (of, count) in &answered {
                let logged = logged.get(of).copied().unwrap_or(0);
                assert!(logged >= *count, "{of:?}: {count} answered, {logged} recorded");
            }
            assert!(
                (total..=total + unanswered).contains(&log.total()),
                "{total} {unanswered} {}",
                log.total()
            );
        }
        for (of, logged) in &logged {
            let count = answered.get(of).copied().unwrap_or(0);
            assert!(*logged <= count + unanswered, "{of:?}: {count} answered, {logged} recorded");
        }
        assert!(log.total() <= total + unanswered);
    }

    /// It is disposable: the next start makes it anew from the log.
    fn delete_read_model(&self) {
        let files: Vec<_> = fs::read_dir(self.cast.home.data_dir()).unwrap().flatten().collect();
        let ours = files.iter().filter(|file| file.file_name().to_string_lossy().starts_with("readmodel"));
        assert!(ours.map(|file| fs::remove_file(file.path()).unwrap()).count() > 0, "{files:?}");
    }
}

#[test]
fn every_number_is_that_of_the_log_after_clean_stops_and_a_rebuild() {
    let (mut story, server) = Story::begin(&[]);
    story.traffic(&server);
    let told = story.ask(&server);
    story.check(server, told);

    let server = story.start();
    story.traffic(&server);
    story.askers[0].every_kind(&server, &story.cast);
    let told = story.ask(&server);
    let log = story.check(server, told);
    assert!(log.gaps.is_empty());
    assert_varied(&log);

    story.delete_read_model();
    let server = story.start();
    let told = story.ask(&server);
    story.check(server, told);
}

type Has = fn(&Fact) -> bool;

/// The traffic was of every kind: otherwise much would be compared with nothing.
fn assert_varied(log: &Log) {
    // Tokens live for a minute at least, which is longer than the story.
    for code in VerificationCode::ALL.iter().filter(|code| **code != VerificationCode::TokenExpired) {
        assert!(log.facts.iter().any(|fact| fact.code == code.as_str()), "nothing was answered {code}");
    }
    let some: [(&str, Has); 14] = [
        ("a secret for a token", |fact| fact.means.as_deref() == Some("EXCHANGE") && fact.code == "VALID"),
        ("a token", |fact| fact.means.as_deref() == Some("TOKEN") && fact.code == "VALID"),
        ("a question about a token", |fact| {
            fact.means.as_deref() == Some("INTROSPECTION") && fact.key.is_some()
        }),
        ("several roles", |fact| fact.roles.len() > 1),
        ("several tags", |fact| fact.tags.len() > 1),
        ("IPv6", |fact| fact.ip.as_ref().is_some_and(|ip| ip.contains(':'))),
        ("another secret", |fact| fact.code == "VALID" && fact.secret == Some(2)),
        ("credits", |fact| fact.credits > 0 && fact.cost > 1),
        ("a cost of nothing", |fact| fact.cost == 0),
        ("an identity", |fact| fact.identity.is_some()),
        ("no organization", |fact| fact.organization.is_none()),
        ("nobody who asked", |fact| fact.by.is_none() && fact.key.is_some()),
        ("too many addresses", |fact| fact.merged),
        ("several at once", |fact| fact.count > 1),
    ];
    for (what, has) in some {
        assert!(log.facts.iter().any(has), "no verification has {what}");
    }
}

#[test]
fn every_number_is_that_of_the_log_after_kills() {
    let (mut story, server) = Story::begin(&[]);
    story.traffic(&server);
    story.kill_under_load(server);
    let server = story.start();
    story.traffic(&server);
    let told = story.ask(&server);
    let log = story.check(server, told);
    assert!(log.gaps.is_empty());

    let server = story.start();
    story.kill_under_load(server);
    story.delete_read_model();
    let server = story.start();
    let told = story.ask(&server);
    story.check(server, told);
}

#[test]
fn what_relaxed_mode_loses_in_a_kill_is_declared() {
    let (mut story, server) = Story::begin(&["--usage", "relaxed"]);
    // Longer than what may be missing, so that there is something before it.
    let waiting = Stopwatch::start();
    let first = |story: &Story| story.askers.iter().flat_map(|asker| &asker.told).map(|told| told.at).min();
    while through(&server) <= first(&story).map(|first| first + MAY_BE_LOST) {
        assert!(waiting.elapsed() < PATIENCE, "usage is not counted: {}", server.log());
        story.traffic(&server);
    }
    let killed = story.kill_under_load(server);
    let server = story.start();
    story.traffic(&server);
    let told = story.ask(&server);
    let log = story.check(server, told);

    let [(from, to)] = log.gaps[..] else { panic!("{:?}", log.gaps) };
    let newest = log.uses().map(|fact| fact.last).filter(|last| *last < killed).max().unwrap();
    assert!(from <= newest + 1_000 && to >= killed, "{from} {newest} {killed} {to}");
    // What was answered before the gap is there, and nothing is missing of what was answered after it.
    let before = story.answered(from);
    assert!(!before.is_empty(), "nothing was answered before {from}");
    let (all, until) = (story.answered(i64::MAX), story.answered(to));
    for (of, count) in before {
        let recorded = log.uses().filter(|fact| fact.first < from && same(fact, &of));
        let recorded: u64 = recorded.map(|fact| fact.count).sum();
        assert!(recorded >= count, "{of:?}: {count} answered before {from}, {recorded} recorded");
    }
    for (of, count) in all {
        let after = count - until.get(&of).copied().unwrap_or(0);
        let recorded = log.uses().filter(|fact| fact.last >= to && same(fact, &of));
        let recorded: u64 = recorded.map(|fact| fact.count).sum();
        assert_eq!(recorded, after, "{of:?} after the gap");
    }
}

fn same(fact: &Fact, (key, code): &(Option<String>, String)) -> bool {
    fact.key == *key && fact.code == *code
}
