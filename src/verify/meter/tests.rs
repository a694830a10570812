use keyledger_schema::{Personal, Refill};
use uuid::Uuid;

use super::*;

const SECOND: u64 = 1_000_000_000;
const START: u64 = 1_800_000_000 * SECOND;

fn rule(name: &str, limit: u64) -> RateLimit {
    RateLimit { name: name.into(), limit, window_seconds: 60 }
}

fn credits(remaining: i64) -> CreditsState {
    CreditsState {
        n: 1,
        at: moment(START),
        counted: 0,
        remaining: Some(remaining),
        refill: None,
        adjusted_by: None,
    }
}

fn identity(rules: &[RateLimit], credits: Option<CreditsState>) -> Identity {
    let id = IdentityId::from_uuid(Uuid::from_u128(7));
    let identity = Identity::new(id);
    let state = IdentityState {
        id,
        organization: keyledger_schema::OrganizationId::from_uuid(Uuid::from_u128(1)),
        revision: 0,
        external_id: Personal("customer 7".into()),
        name: None,
        rate_limits: rules.to_vec(),
        metadata: Personal::default(),
        credits,
        created_at: moment(START),
        updated_at: moment(START),
        deleted_at: None,
        erased_at: None,
    };
    identity.change(&state, rules.into());
    identity
}

fn call(key: Option<&Meter>, identity: Option<&Identity>, cost: u32) -> Checked {
    charge(key, identity, &Charge { cost, only: None }, START).unwrap().unwrap()
}

/// What is left of the key's limits, the identity's limits, and the fewer credits.
fn left(key: Option<&Meter>, identity: Option<&Identity>) -> (Vec<u64>, Option<u64>) {
    let checked = call(key, identity, 0);
    let limits = checked.limits().map(|(_, _, standing)| standing.remaining).collect();
    (limits, checked.credits.map(|left| left.remaining))
}

#[test]
fn a_refused_call_spends_nothing_whoever_refuses_it() {
    let limits = [rule("a", 3), rule("b", 10)];
    for (key_credits, shared_limit, shared_credits, expected) in [
        (9, 9, 9, VerificationCode::RateLimited),
        (2, 9, 9, VerificationCode::CreditsExhausted),
        (9, 2, 9, VerificationCode::RateLimited),
        (9, 9, 2, VerificationCode::CreditsExhausted),
        // Limits are looked at first.
        (2, 2, 2, VerificationCode::RateLimited),
    ] {
        let cost = if expected == VerificationCode::RateLimited && shared_limit > 2 { 4 } else { 3 };
        let key = Meter::new(limits.as_slice().into(), Some(&credits(key_credits)));
        let shared = identity(&[rule("a", shared_limit)], Some(credits(shared_credits)));
        let before = left(Some(&key), Some(&shared));
        let refused = call(Some(&key), Some(&shared), cost);
        assert_eq!((refused.code(), refused.spent), (expected, [None; 2]));
        assert_eq!(left(Some(&key), Some(&shared)), before);
        assert_eq!(left(None, Some(&shared)).1, Some(u64::try_from(shared_credits).unwrap()));
        assert_eq!(left(Some(&key), None).1, Some(u64::try_from(key_credits).unwrap()));
    }
}

#[test]
fn keys_of_one_identity_share_what_it_has() {
    let shared = identity(&[rule("all", 5)], Some(credits(100)));
    let keys = [Meter::new([rule("own", 4)].into(), None), Meter::new([rule("own", 4)].into(), None)];
    for _ in 0..2 {
        for key in &keys {
            assert_eq!(call(Some(key), Some(&shared), 1).code(), VerificationCode::Valid);
        }
    }
    let last = call(None, Some(&shared), 1);
    assert_eq!(last.code(), VerificationCode::Valid);
    assert_eq!(last.spent[1], Some(Spent { identity: Some(shared.id()), credits: 1, refilled: None }));
    assert_eq!(call(Some(&keys[0]), Some(&shared), 1).code(), VerificationCode::RateLimited);
    assert_eq!(left(Some(&keys[0]), Some(&shared)), (vec![2, 0], Some(95)));
}

#[test]
fn a_choice_is_among_the_limits_of_both() {
    let shared = identity(&[rule("all", 5)], None);
    let key = Meter::new([rule("own", 5)].into(), None);
    let choose = |names: &[&'static str], key, identity| {
        let names: Vec<_> = names.iter().map(|name| std::borrow::Cow::Borrowed(*name)).collect();
        charge(key, identity, &Charge { cost: 1, only: Some(&names) }, START).map(|checked| {
            checked
                .unwrap()
                .limits()
                .map(|(owner, rule, _)| (owner, rule.name.to_string()))
                .collect::<Vec<_>>()
        })
    };
    assert_eq!(choose(&["all"], Some(&key), Some(&shared)), Ok(vec![(Owner::Identity, "all".into())]));
    assert_eq!(choose(&["own"], Some(&key), Some(&shared)), Ok(vec![(Owner::Key, "own".into())]));
    assert_eq!(choose(&["own", "all"], Some(&key), Some(&shared)).unwrap().len(), 2);
    assert_eq!(choose(&["all"], Some(&key), None), Err(NoSuchLimit));
    assert_eq!(choose(&["own"], None, None), Err(NoSuchLimit));
    assert_eq!(left(Some(&key), Some(&shared)).0, [3, 3]);
}

#[test]
fn an_identity_without_limits_and_credits_costs_nothing() {
    let shared = identity(&[], None);
    assert!(charge(None, Some(&shared), &Charge::default(), START).unwrap().is_none());
    assert_eq!(shared.external_id(), Some("customer 7"));
}

#[test]
fn whoever_has_no_credits_is_told_when_they_come() {
    let refill = Some(Refill { amount: 2, interval_seconds: 60, from: moment(START - 20 * SECOND) });
    let key = Meter::new(Arc::default(), Some(&CreditsState { refill, ..credits(1) }));
    let two = call(Some(&key), None, 2);
    assert_eq!((two.code(), two.retry_after_seconds()), (VerificationCode::CreditsExhausted, Some(40)));
    assert_eq!(call(Some(&key), None, 3).retry_after_seconds(), None);
    assert_eq!(call(Some(&key), None, 1).credits.unwrap().remaining, 0);
    let later = START + 40 * SECOND;
    let checked = charge(Some(&key), None, &Charge { cost: 2, only: None }, later).unwrap().unwrap();
    let spent = checked.spent[0].unwrap();
    assert_eq!((checked.code(), spent.credits), (VerificationCode::Valid, 2));
    assert_eq!(spent.refilled.map(|base| (base.n, base.remaining, base.counted)), Some((2, 2, 1)));
}

#[test]
fn threads_together_get_the_credits_and_what_is_given_back() {
    let shared = identity(&[], Some(credits(1_000)));
    let keys: Vec<Meter> = (0..8).map(|_| Meter::new([rule("own", 1_000_000)].into(), None)).collect();
    let got: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = keys
            .iter()
            .map(|key| {
                let shared = &shared;
                scope.spawn(move || {
                    let admitted = |n: &usize| {
                        let checked = call(Some(key), Some(shared), 1);
                        let valid = checked.code() == VerificationCode::Valid;
                        // Every tenth cannot be recorded.
                        if valid && n.is_multiple_of(10) {
                            shared.meter().give_back(1);
                        }
                        valid && !n.is_multiple_of(10)
                    };
                    (0..400).filter(admitted).count()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(got + usize::try_from(left(None, Some(&shared)).1.unwrap()).unwrap(), 1_000);
}
