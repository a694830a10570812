//! Given an identity and its credits, when a command, then events or a refusal.

use std::time::Duration;

use keyledger_projections::{CreditsState, IdentityState, Pool, Tally};
use keyledger_schema::event::{CreditsChanged, Event};
use keyledger_schema::{IdentityId, KeyId, Metadata, OrganizationId, Personal, RateLimit, Timestamp};
use proptest::prelude::*;
use uuid::Uuid;

use super::credits::{self, Balance, Refilling};
use super::identity::{Command, NewIdentity, Update, decide};
use super::{Decision, Holder, limits};
use crate::error::{Code, Result};

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_micros(1_700_000_000_000_000).plus(Duration::from_secs(seconds))
}

fn new() -> NewIdentity {
    NewIdentity {
        external_id: "customer-7".into(),
        name: Some("Seven".into()),
        rate_limits: vec![RateLimit { name: "api".into(), limit: 10, window_seconds: 60 }],
        metadata: Metadata::default(),
    }
}

fn existing() -> IdentityState {
    let new = new();
    IdentityState {
        id: IdentityId::from_uuid(Uuid::nil()),
        organization: OrganizationId::from_uuid(Uuid::nil()),
        revision: 0,
        external_id: Personal(new.external_id),
        name: new.name.map(Personal),
        rate_limits: new.rate_limits,
        metadata: Personal(new.metadata),
        credits: None,
        created_at: at(0),
        updated_at: at(0),
        deleted_at: None,
        erased_at: None,
    }
}

fn deleted() -> IdentityState {
    IdentityState { deleted_at: Some(at(1)), ..existing() }
}

fn code(result: Result<Decision>) -> Code {
    result.unwrap_err().code
}

#[test]
fn creating_what_is_there_is_harmless_as_long_as_it_is_the_same() {
    let created = decide(None, Command::Create(new())).unwrap();
    assert!(
        matches!(&created.events[..], [Event::IdentityCreated(made)] if &**made.external_id == "customer-7")
    );
    assert_eq!(decide(Some(&existing()), Command::Create(new())).unwrap(), Decision::default());
    for other in [
        NewIdentity { name: None, ..new() },
        NewIdentity { rate_limits: Vec::new(), ..new() },
        NewIdentity { metadata: Metadata::from_value(serde_json::json!({ "a": 1 })).unwrap(), ..new() },
    ] {
        let error = decide(Some(&existing()), Command::Create(other)).unwrap_err();
        assert_eq!((error.code, error.field.as_deref()), (Code::Conflict, Some("input.externalId")));
    }
    let error = decide(Some(&deleted()), Command::Create(new())).unwrap_err();
    assert!(error.code == Code::Conflict && error.message.contains("deleted"), "{error}");
}

#[test]
fn an_update_tells_what_it_changes_and_nothing_else() {
    let same = Update { name: Some("Seven".into()), ..Update::default() };
    assert_eq!(decide(Some(&existing()), Command::Update(same)).unwrap(), Decision::default());
    let limits = Update { name: Some("Seven".into()), rate_limits: Some(Vec::new()), ..Update::default() };
    let decided = decide(Some(&existing()), Command::Update(limits)).unwrap();
    let [Event::IdentityUpdated(updated)] = &decided.events[..] else { panic!("{decided:?}") };
    assert!(updated.name.is_none() && updated.rate_limits == Some(Vec::new()));
    let rename = || Command::Update(Update { name: Some("a".into()), ..Update::default() });
    assert_eq!(code(decide(Some(&deleted()), rename())), Code::IllegalTransition);
    assert_eq!(code(decide(None, rename())), Code::NotFound);
}

#[test]
fn an_identity_that_keys_hold_stays() {
    let delete = |count| {
        let holders = vec![Holder { id: KeyId::from_uuid(Uuid::nil()), name: "a".into() }];
        Command::Delete { holders, count, comment: None }
    };
    let error = decide(Some(&existing()), delete(3)).unwrap_err();
    assert_eq!(error.code, Code::IllegalTransition);
    assert_eq!(error.details.unwrap()["holderCount"], 3);
    assert!(matches!(decide(Some(&existing()), delete(0)).unwrap().events[..], [Event::IdentityDeleted(_)]));
    assert_eq!(decide(Some(&deleted()), delete(0)).unwrap(), Decision::default());
}

fn set(remaining: Option<u64>, refill: Option<Refilling>) -> credits::Command {
    credits::Command::Set { remaining, refill, reason: "sold".into() }
}

fn adjust(by: i64) -> credits::Command {
    credits::Command::Adjust { by, reason: "sold".into() }
}

fn changed(command: &credits::Command, balance: Balance) -> Result<Option<CreditsChanged>> {
    let decision = credits::of_identity(&existing(), command, balance, at(100))?;
    Ok(decision.events.into_iter().next().map(|event| match event {
        Event::IdentityCreditsChanged(changed) => changed,
        other => panic!("{other:?}"),
    }))
}

#[test]
fn a_set_counts_from_what_was_spent_and_starts_its_refill_now() {
    let balance = Balance { next: 4, spent: 17, left: Some(3), refill: None };
    let refill = Refilling { amount: 50, interval_seconds: 3_600 };
    let made = changed(&set(Some(100), Some(refill)), balance).unwrap().unwrap();
    assert_eq!((made.n, made.counted, made.remaining, made.adjusted_by), (4, 17, Some(100), None));
    assert_eq!(made.refill.unwrap().from, at(100));
    // What is so already needs no event, unless a refill begins.
    assert_eq!(changed(&set(Some(3), None), balance).unwrap(), None);
    assert_eq!(changed(&set(None, None), Balance::NONE).unwrap(), None);
    assert!(changed(&set(Some(3), Some(refill)), balance).unwrap().is_some());
    let unlimited = changed(&set(None, None), balance).unwrap().unwrap();
    assert_eq!((unlimited.remaining, unlimited.refill), (None, None));
    assert_eq!(code(credits::of_identity(&deleted(), &adjust(1), balance, at(0))), Code::IllegalTransition);
}

#[test]
fn an_adjustment_needs_credits_and_takes_no_more_than_there_are() {
    let error = changed(&adjust(1), Balance::NONE).unwrap_err();
    assert_eq!((error.code, error.field.as_deref()), (Code::IllegalTransition, Some("input.id")));
    let balance = Balance { next: 2, spent: 0, left: Some(5), refill: None };
    let error = changed(&adjust(-6), balance).unwrap_err();
    assert_eq!((error.code, error.field.as_deref()), (Code::IllegalTransition, Some("input.by")));
    assert!(error.message.contains("only 5 credits"), "{error}");
    assert_eq!(error.details.unwrap()["remaining"], 5);
    let error = changed(&adjust(i64::MAX), balance).unwrap_err();
    assert_eq!((error.code, error.field.as_deref()), (Code::InvalidInput, Some("input.by")));
    assert_eq!(changed(&adjust(-5), balance).unwrap().unwrap().remaining, Some(0));
}

proptest! {
    /// Whatever is decided, and whatever is spent before it takes effect: nothing is lost and nothing is won.
    #[test]
    fn what_is_spent_while_a_change_is_decided_is_counted(
        first in 0_u64..1_000,
        commands in proptest::collection::vec((any::<bool>(), -500_i64..500, 0_u32..20, 0_u32..20), 1..8),
    ) {
        let now = at(100);
        let start = CreditsState::of(&credits::first(credits::NewCredits { remaining: first, refill: None }, now), now);
        let mut pool = Pool::new(&start, &Tally::default());
        let mut left = i64::try_from(first).unwrap();
        for (sets, by, before, between) in commands {
            let spend = |pool: &mut Pool, cost: u32| -> i64 {
                if pool.refusal(cost, now).is_some() {
                    return 0;
                }
                pool.spend(cost, now).map_or(0, |spent| i64::try_from(spent.credits).unwrap())
            };
            left -= spend(&mut pool, before);
            let (next, spent) = pool.next();
            let balance = Balance { next, spent, left: pool.remaining(now), refill: pool.rule().copied() };
            let command = if sets { set(Some(by.unsigned_abs()), None) } else { adjust(by) };
            let decided = changed(&command, balance);
            let late = spend(&mut pool, between);
            match decided {
                Ok(Some(change)) => {
                    pool.change(&CreditsState::of(&change, now));
                    left = change.remaining.unwrap() - late;
                }
                Ok(None) => left -= late,
                Err(error) => {
                    prop_assert_eq!(error.code, Code::IllegalTransition);
                    prop_assert!(left + by < 0);
                    left -= late;
                }
            }
            prop_assert_eq!(pool.remaining(now), Some(u64::try_from(left).unwrap_or(0)));
            // Who overspent while a set was decided starts again from nothing left.
            left = left.max(0);
            if left == 0 {
                pool = Pool::new(&CreditsState { n: pool.next().0, at: now, counted: 0, remaining: Some(0), refill: None, adjusted_by: None }, &Tally::default());
            }
        }
    }

    #[test]
    fn an_external_id_is_taken_as_it_is_or_refused(text in "\\PC{0,300}") {
        match limits::external_id("input.externalId", &text) {
            Ok(taken) => prop_assert_eq!(&*taken, text.as_str()),
            Err(error) => {
                let length = text.chars().count();
                prop_assert_eq!(error.code, Code::InvalidInput);
                prop_assert!(length == 0 || length > 255 || text.trim() != text || text.chars().any(|c| c.is_control() || !c.is_ascii()));
            }
        }
    }
}
