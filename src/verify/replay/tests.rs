use keyledger_schema::{Environment, Personal, Rate};
use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::verify::fixture::{NOW, state};

fn at(second: i64) -> Timestamp {
    Timestamp::from_micros(NOW.micros() + second * 1_000_000)
}

fn calls(count: u64, from: i64, to: i64) -> Calls<'static> {
    Calls { count, first_at: at(from), last_at: at(to), cost: 1, access: None, address: None }
}

fn told(key: &KeyState, proposal: &Proposal, all: &[Calls<'_>]) -> Told {
    let mut replay =
        Replay::new(key.clone(), Arc::new(proposal.clone()), |_| vec!["read:invoices/**".parse().unwrap()]);
    for calls in all {
        replay.judge(calls);
    }
    replay.finish().1
}

fn reasons(told: &Told) -> Vec<(&'static str, Option<Rule>, u64)> {
    told.refused.iter().map(|(reason, count)| (reason.code.as_str(), reason.rule, *count)).collect()
}

fn asking(action: Action, resource: &'static str) -> Calls<'static> {
    Calls { access: Some((action, Resource::parse(resource).unwrap())), ..calls(2, 1, 1) }
}

#[test]
fn nothing_is_refused_when_nothing_changes() {
    let key = KeyState { rate_limits: vec![], ..state(1) };
    let all = [calls(5, 1, 1), asking(Action::Read, "customers/42")];
    let unchanged = told(&key, &Proposal::default(), &all);
    assert_eq!((unchanged.calls, unchanged.refused(), unchanged.first_refused_at), (7, 0, None));
}

#[test]
fn what_is_not_proposed_refuses_nothing() {
    // As it is by now: other scopes, networks and rules than when the calls passed.
    let key =
        KeyState { scopes: vec![], allowed_cidrs: Personal(vec!["10.0.0.0/8".parse().unwrap()]), ..state(1) };
    let all = [asking(Action::Read, "customers/42"), calls(5, 1, 1)];
    let rule = RateLimit { name: "a".into(), limit: 1_000, window_seconds: 1 };
    let limits = Proposal { rate_limits: Some(vec![rule]), ..Proposal::default() };
    assert_eq!(told(&key, &limits, &all).refused(), 0);
    let policy =
        Policy { expiry_required: Some(true), require_allowed_cidrs: Some(true), ..Policy::default() };
    let cap = Proposal { policy: Some((policy, vec![Rule::MaxTtl])), ..Proposal::default() };
    assert_eq!(told(&key, &cap, &all).refused(), 0);
}

#[test]
fn scopes_of_the_key_and_of_its_roles_are_replaced() {
    let role = RoleId::from_uuid(Uuid::from_u128(1));
    let key = KeyState { roles: vec![role], ..state(1) };
    let all = [asking(Action::Read, "customers/42"), asking(Action::Read, "invoices/1"), calls(1, 1, 1)];
    let narrower = Proposal { scopes: Some(vec!["read:orders".parse().unwrap()]), ..Proposal::default() };
    assert_eq!(reasons(&told(&key, &narrower, &all)), [("INSUFFICIENT_SCOPE", None, 2)]);
    let role = Proposal { role: Some((role, vec![])), scopes: narrower.scopes, ..Proposal::default() };
    assert_eq!(reasons(&told(&key, &role, &all)), [("INSUFFICIENT_SCOPE", None, 4)]);
}

#[test]
fn networks_are_judged_by_the_recorded_address() {
    let from = |address: &str| Calls { address: address.parse().ok(), ..calls(3, 5, 9) };
    let networks = Some(vec!["203.0.113.0/24".parse().unwrap()]);
    let proposal = Proposal { allowed_cidrs: networks, ..Proposal::default() };
    let all = [from("203.0.113.7"), from("198.51.100.1"), from("2001:db8::1"), calls(1, 2, 2)];
    let told = told(&state(1), &proposal, &all);
    assert_eq!(reasons(&told), [("IP_NOT_ALLOWED", None, 7)]);
    assert_eq!((told.first_refused_at, told.last_refused_at), (Some(at(2)), Some(at(9))));
}

#[test]
fn rate_limits_are_spent_call_by_call() {
    let limit = |limit, window_seconds| RateLimit { name: "a".into(), limit, window_seconds };
    let proposal = Proposal { rate_limits: Some(vec![limit(10, 60)]), ..Proposal::default() };
    // A burst of 25 at once: ten pass. One a minute passes for ever.
    assert_eq!(reasons(&told(&state(1), &proposal, &[calls(25, 0, 0)])), [("RATE_LIMITED", None, 15)]);
    let steady: Vec<_> = (0..100).map(|minute| calls(1, minute * 60, minute * 60)).collect();
    assert!(reasons(&told(&state(1), &proposal, &steady)).is_empty());
    // 61 calls, one a second: ten at once and one each six seconds.
    assert_eq!(reasons(&told(&state(1), &proposal, &[calls(61, 0, 60)])), [("RATE_LIMITED", None, 41)]);
    let dear = Calls { cost: 11, ..calls(1, 0, 0) };
    assert_eq!(told(&state(1), &proposal, &[dear, calls(10, 0, 0)]).refused(), 1);
}

#[test]
fn a_policy_refuses_what_its_rules_say() {
    let key = KeyState { environment: Environment::Production, ..state(1) };
    let policy = |policy| Proposal { policy: Some((policy, Rule::ALL.into())), ..Proposal::default() };
    let table = [
        (
            Policy { api_keys_enabled: Some(false), ..Policy::default() },
            "KEYS_DISABLED",
            Rule::ApiKeysEnabled,
            6,
        ),
        (Policy { expiry_required: Some(true), ..Policy::default() }, "EXPIRED", Rule::ExpiryRequired, 6),
        (Policy { max_ttl_seconds: Some(50), ..Policy::default() }, "EXPIRED", Rule::MaxTtl, 4),
        (
            Policy { require_allowed_cidrs: Some(true), ..Policy::default() },
            "IP_NOT_ALLOWED",
            Rule::RequireAllowedCidrs,
            6,
        ),
        (
            Policy { allowed_environments: Some(vec![Environment::Staging]), ..Policy::default() },
            "WRONG_ENVIRONMENT",
            Rule::AllowedEnvironments,
            6,
        ),
        (
            Policy { max_rate_limit: Some(Rate { limit: 3, window_seconds: 3_600 }), ..Policy::default() },
            "RATE_LIMITED",
            Rule::MaxRateLimit,
            3,
        ),
    ];
    for (rules, code, rule, refused) in table {
        let told = told(&key, &policy(rules), &[calls(2, 10, 10), calls(4, 60, 60)]);
        assert_eq!(reasons(&told), [(code, Some(rule), refused)]);
    }
    // A key with a limit as low as the policy's highest is not capped a second time.
    let limit = RateLimit { name: "a".into(), limit: 3, window_seconds: 3_600 };
    let limited = KeyState {
        rate_limits: vec![limit],
        allowed_cidrs: Personal(vec!["::/0".parse().unwrap()]),
        ..state(1)
    };
    let capped =
        Policy { max_rate_limit: Some(Rate { limit: 3, window_seconds: 3_600 }), ..Policy::default() };
    assert_eq!(
        told(&limited, &policy(capped), &[Calls { address: "2001:db8::1".parse().ok(), ..calls(9, 1, 1) }])
            .refused(),
        0
    );
}

proptest! {
    #[test]
    fn merged_calls_are_judged_like_single_ones_at_the_same_times(
        batches in prop::collection::vec((0..50_i64, 1..20_u64, 0..10_i64), 1..20),
        limit in 1..30_u64,
        window_seconds in 1..120_u32,
    ) {
        let rule = RateLimit { name: "a".into(), limit, window_seconds };
        let proposal = Proposal { rate_limits: Some(vec![rule]), ..Proposal::default() };
        let (mut merged, mut single, mut now) = (Vec::new(), Vec::new(), 0);
        for (pause, count, length) in batches {
            now += pause;
            let batch = calls(count, now, now + length);
            for micros in moments(&batch) {
                let at = Timestamp::from_micros(i64::try_from(micros).unwrap());
                single.push(Calls { first_at: at, last_at: at, count: 1, ..batch });
            }
            merged.push(batch);
            now += length;
        }
        let (merged, single) = (told(&state(1), &proposal, &merged), told(&state(1), &proposal, &single));
        prop_assert_eq!(merged, single);
    }
}
