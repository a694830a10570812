//! Tokens that are made while all of a key's tokens are revoked.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use keyledger::edge::Stopwatch;
use serde_json::json;

use crate::oauth::exchange;
use crate::support::Server;

const ROUNDS: usize = 25;
const MAKERS: usize = 3;

/// A token, when it was asked for and when it was there.
struct Made {
    asked: Duration,
    answered: Duration,
    token: String,
}

#[test]
fn a_revocation_of_all_tokens_misses_none_that_was_made_before_it() {
    let server = Server::fresh();
    let root = server.root();
    let key = root.create_key("a").run();
    let good = |token: &str| match root.verify(token).unwrap().code.as_str() {
        "VALID" => true,
        "TOKEN_REVOKED" => false,
        code => panic!("{code}"),
    };
    let (mut before, mut after) = (0, 0);
    for _ in 0..ROUNDS {
        let probe = exchange(&server, &key, &[]).token();
        let (over, made, watch) = (AtomicBool::new(false), Mutex::new(Vec::new()), Stopwatch::start());
        let (last_good, revoked) = thread::scope(|threads| {
            for _ in 0..MAKERS {
                threads.spawn(|| {
                    while !over.load(Ordering::SeqCst) {
                        let asked = watch.elapsed();
                        let token = exchange(&server, &key, &[]).token();
                        let made_one = Made { asked, answered: watch.elapsed(), token };
                        made.lock().unwrap_or_else(PoisonError::into_inner).push(made_one);
                    }
                });
            }
            let prober = threads.spawn(|| {
                let mut last_good = Duration::ZERO;
                loop {
                    let asked = watch.elapsed();
                    if !good(&probe) {
                        return last_good;
                    }
                    last_good = asked;
                }
            });
            thread::sleep(Duration::from_millis(10));
            root.mutate("revokeTokens", &json!({ "id": key.id() })).unwrap();
            let revoked = watch.elapsed();
            let last_good = prober.join().unwrap();
            thread::sleep(Duration::from_millis(10));
            over.store(true, Ordering::SeqCst);
            (last_good, revoked)
        });
        for Made { asked, answered, token } in made.into_inner().unwrap() {
            // Whoever was answered then was answered before anybody could see the revocation.
            if answered <= last_good {
                before += 1;
                assert!(!good(&token), "missed: made {:?} before it was seen", last_good - answered);
            } else if asked >= revoked {
                after += 1;
                assert!(good(&token), "made {:?} after it was answered", asked - revoked);
            }
        }
    }
    assert!(before > ROUNDS && after > ROUNDS, "{before} before, {after} after");
    // Doing it again ends what was made since.
    let token = exchange(&server, &key, &[("token_type", "biscuit")]).token();
    assert!(good(&token));
    root.mutate("revokeTokens", &json!({ "id": key.id() })).unwrap();
    assert!(!good(&token));
    assert!(good(&exchange(&server, &key, &[("token_type", "biscuit")]).token()));
}
