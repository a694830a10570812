//! Decisions about organizations and workspaces, and what a policy says to a key.

use std::collections::BTreeMap;
use std::time::Duration;

use keyledger_projections::{Acknowledgement, OrganizationState};
use keyledger_schema::{
    Environment, Event, KeyId, OrganizationId, Policy, Rate, RateLimit, RoleDefinition, RoleId, Rule,
    Timestamp,
};
use proptest::prelude::*;
use uuid::Uuid;

use super::organization::{Command, PolicyChange, RoleUpdate, decide};
use super::policy::{Facts, acknowledgement_due, expiry, violations};
use super::workspace::reserve;
use crate::error::Code;

const NOW: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);

fn id(n: u128) -> OrganizationId {
    OrganizationId::from_uuid(Uuid::from_u128(n))
}

fn role(n: u128) -> RoleId {
    RoleId::from_uuid(Uuid::from_u128(n))
}

fn organization() -> OrganizationState {
    OrganizationState {
        id: id(1),
        name: "a".into(),
        slug: "a".into(),
        parent: None,
        created_at: NOW,
        signing_keys: Vec::new(),
        policy: Policy::default(),
        acknowledgement: Vec::new(),
        joined_at: NOW,
        roles: BTreeMap::new(),
        open_revocations: Vec::new(),
        revision: 0,
    }
}

fn definition(name: &str) -> RoleDefinition {
    RoleDefinition { name: name.into(), display_name: None, description: None, scopes: Vec::new() }
}

fn facts() -> Facts<'static> {
    Facts {
        environment: Environment::Production,
        issued_at: NOW,
        expires_at: Some(NOW.plus(Duration::from_secs(100))),
        networks: &[],
        rate_limits: &[],
    }
}

fn rules(policy: &Policy, facts: Facts<'_>) -> Vec<Rule> {
    violations(policy, facts).iter().map(|violation| violation.rule).collect()
}

#[test]
fn a_life_is_as_long_as_allowed_to_the_microsecond() {
    let policy = Policy { max_ttl_seconds: Some(100), ..Policy::default() };
    assert_eq!(rules(&policy, facts()), []);
    let longer = NOW.plus(Duration::from_secs(100) + Duration::from_micros(1));
    assert_eq!(rules(&policy, Facts { expires_at: Some(longer), ..facts() }), [Rule::MaxTtl]);
    assert_eq!(rules(&policy, Facts { expires_at: None, ..facts() }), [Rule::MaxTtl]);
    let policy = Policy { default_ttl_seconds: Some(60), ..Policy::default() };
    assert_eq!(expiry(&policy, None, NOW), Some(NOW.plus(Duration::from_mins(1))));
    assert_eq!(expiry(&policy, Some(longer), NOW), Some(longer));
    assert_eq!(expiry(&Policy::default(), None, NOW), None);
}

#[test]
fn the_tightest_limit_of_a_key_is_its_rate() {
    let limit = |limit, window_seconds| RateLimit { name: "a".into(), limit, window_seconds };
    let policy = Policy { max_rate_limit: Some(Rate { limit: 60, window_seconds: 60 }), ..Policy::default() };
    for (limits, kept) in [
        (vec![], false),
        (vec![limit(61, 60)], false),
        (vec![limit(60, 60)], true),
        (vec![limit(1, 1)], true),
        (vec![limit(2, 1)], false),
        (vec![limit(2, 1), limit(3_600, 3_600)], true),
    ] {
        let found = rules(&policy, Facts { rate_limits: &limits, ..facts() });
        assert_eq!(found.is_empty(), kept, "{limits:?}");
    }
}

#[test]
fn only_secrets_made_since_a_rule_are_held_to_it() {
    let mut state = keyledger_projections::KeyState::of_issued(
        KeyId::from_uuid(Uuid::nil()),
        id(1),
        keyledger_schema::WorkspaceId::from_uuid(Uuid::nil()),
        NOW,
        &keyledger_schema::event::KeyIssued::bare(
            "a",
            Environment::Production,
            keyledger_schema::SecretRecord {
                version: 1,
                hash: keyledger_schema::SecretHash([0; 32]),
                hint: "kl".into(),
            },
        ),
    );
    let later = NOW.plus(Duration::from_micros(1));
    let rule = |minutes, from| Acknowledgement { minutes, from, until: None };
    let due = |rules: &[Acknowledgement]| acknowledgement_due(rules, &state);
    assert_eq!(due(&[]), None);
    assert_eq!(due(&[rule(2, NOW)]), Some(NOW.plus(Duration::from_mins(2))));
    assert_eq!(due(&[rule(2, later)]), None);
    assert_eq!(due(&[rule(9, NOW), rule(3, NOW)]), Some(NOW.plus(Duration::from_mins(3))));
    // The rule that held when it was made holds, whatever came after.
    let before = Acknowledgement { until: Some(later), ..rule(9, NOW) };
    assert_eq!(due(&[before, rule(1, later)]), Some(NOW.plus(Duration::from_mins(9))));
    assert_eq!(due(&[Acknowledgement { until: Some(NOW), ..rule(9, NOW) }]), None);
    state.secret.acknowledged_at = Some(NOW);
    assert_eq!(acknowledgement_due(&[rule(1, NOW)], &state), None);
}

#[test]
fn nothing_stands_below_itself() {
    let state = OrganizationState { parent: Some(id(9)), ..organization() };
    let command = |parent: u128, above: &[u128]| Command::Move {
        parent: id(parent),
        above: above.iter().map(|n| id(*n)).collect(),
        inherited: Policy::default(),
    };
    for (parent, above) in [(1, &[][..]), (2, &[1]), (3, &[2, 1])] {
        let refused = decide(Some(&state), command(parent, above)).unwrap_err();
        assert_eq!(refused.code, Code::IllegalTransition);
    }
    assert!(matches!(
        decide(Some(&state), command(2, &[9])).unwrap().events[..],
        [Event::OrganizationMoved(_)]
    ));
    assert!(decide(Some(&state), command(9, &[])).unwrap().events.is_empty());
    // Its own rules must not be looser than those of the new parent.
    let loose =
        OrganizationState { policy: Policy { max_ttl_seconds: Some(100), ..Policy::default() }, ..state };
    let strict = Policy { max_ttl_seconds: Some(10), ..Policy::default() };
    let command = Command::Move { parent: id(2), above: Vec::new(), inherited: strict };
    assert_eq!(decide(Some(&loose), command).unwrap_err().code, Code::PolicyViolation);
}

#[test]
fn a_rule_that_those_above_tightened_later_blocks_no_other() {
    let mut state = organization();
    state.policy = Policy { expiry_required: Some(false), ..Policy::default() };
    let inherited = Policy { expiry_required: Some(true), ..Policy::default() };
    let set = |change: PolicyChange| {
        decide(Some(&state), Command::SetPolicy { change: Box::new(change), inherited: inherited.clone() })
    };
    let off = PolicyChange { api_keys_enabled: Some(Some(false)), ..PolicyChange::default() };
    assert_eq!(set(off).unwrap().events.len(), 1);
    let loose = PolicyChange { expiry_required: Some(Some(false)), ..PolicyChange::default() };
    assert_eq!(set(loose).unwrap_err().code, Code::PolicyViolation);
}

#[test]
fn rules_that_are_left_out_stay() {
    let mut state = organization();
    state.policy = Policy { max_ttl_seconds: Some(10), expiry_required: Some(true), ..Policy::default() };
    let change = PolicyChange { max_ttl_seconds: Some(None), ..PolicyChange::default() };
    let after = change.of(&state.policy);
    assert_eq!(after, Policy { expiry_required: Some(true), ..Policy::default() });
    let command = Command::SetPolicy { change: Box::default(), inherited: Policy::default() };
    assert!(decide(Some(&state), command).unwrap().events.is_empty());
}

#[test]
fn a_role_has_a_name_of_its_own() {
    let mut state = organization();
    let create = |state: &OrganizationState, n, name: &str| {
        decide(Some(state), Command::CreateRole(role(n), definition(name)))
    };
    assert_eq!(create(&state, 1, "Support").unwrap().events.len(), 1);
    let known = |n: u128, name: &str| keyledger_projections::RoleState {
        id: role(n),
        definition: definition(name),
        created_at: NOW,
        updated_at: NOW,
        revision: 1,
    };
    state.roles.insert(role(1), known(1, "Support"));
    assert_eq!(create(&state, 2, "SUPPORT").unwrap_err().code, Code::Conflict);
    let rename = |name: &str| {
        let update = RoleUpdate { name: Some(name.into()), ..RoleUpdate::default() };
        decide(Some(&state), Command::UpdateRole(role(1), update))
    };
    // Its own name in another spelling is not taken.
    assert_eq!(rename("support").unwrap().events.len(), 1);
    assert_eq!(rename("Support").unwrap().events.len(), 0);
    for n in 0..super::limits::MAX_ROLES {
        state.roles.insert(role(n as u128), known(n as u128, &n.to_string()));
    }
    assert_eq!(create(&state, 999, "one more").unwrap_err().code, Code::QuotaExceeded);
}

proptest! {
    #[test]
    fn places_are_given_to_the_first_and_never_beyond_the_quota(
        max_keys in 0_u64..50, taken in 0_u64..60, waiting in 0_usize..80,
    ) {
        let keys: Vec<KeyId> = (0..waiting as u128).map(|n| KeyId::from_uuid(Uuid::from_u128(n))).collect();
        let (granted, event) = reserve(max_keys, taken, &keys);
        prop_assert!(granted <= waiting);
        prop_assert!(granted == 0 || taken + granted as u64 <= max_keys);
        prop_assert!(granted == waiting || taken + granted as u64 >= max_keys);
        match event {
            Some(Event::WorkspaceKeysReserved(reserved)) => prop_assert_eq!(&reserved.keys[..], &keys[..granted]),
            other => prop_assert!(other.is_none() && granted == 0),
        }
    }
}
