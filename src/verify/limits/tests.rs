use proptest::prelude::*;

use super::*;
use crate::verify::meter::{Checked, Meter, Refused, charge};

const SECOND: u64 = 1_000_000_000;
const START: u64 = 1_800_000_000 * SECOND;

fn rule(name: &str, limit: u64, window_seconds: u32) -> RateLimit {
    RateLimit { name: name.into(), limit, window_seconds }
}

fn limits(rules: &[RateLimit]) -> Meter {
    Meter::new(rules.into(), None)
}

fn call(limits: &Meter, cost: u32, now: u64) -> Checked {
    spend(limits, &Charge { cost, only: None }, now).unwrap()
}

fn spend(limits: &Meter, asked: &Charge<'_>, now: u64) -> Result<Checked, NoSuchLimit> {
    charge(Some(limits), None, asked, now).map(Option::unwrap)
}

fn refusal(checked: &Checked) -> Option<Refusal> {
    checked.refusal.map(|refused| {
        let Refused::Limits(refusal) = refused else { panic!("{refused:?}") };
        refusal
    })
}

fn admitted(limits: &Meter, cost: u32, now: u64) -> bool {
    call(limits, cost, now).refusal.is_none()
}

/// Where everything stands, without spending.
fn standings(limits: &Meter, now: u64) -> Vec<Standing> {
    call(limits, 0, now).limits().map(|(_, _, standing)| standing).collect()
}

fn remaining(limits: &Meter, now: u64) -> Vec<u64> {
    standings(limits, now).iter().map(|standing| standing.remaining).collect()
}

fn nanos(refusal: Option<Refusal>) -> u64 {
    let Some(Refusal::For(time)) = refusal else { panic!("{refusal:?}") };
    u64::try_from(time.as_nanos()).unwrap()
}

#[test]
fn a_burst_of_the_limit_and_then_evenly() {
    let limits = limits(&[rule("minute", 60, 60)]);
    for n in (0..60).rev() {
        let checked = call(&limits, 1, START);
        let (_, rule, standing) = checked.limits().next().unwrap();
        assert_eq!((refusal(&checked), rule.limit, standing.remaining), (None, 60, n));
        assert_eq!(standing.reset, Duration::from_secs(60 - n));
    }
    assert_eq!(refusal(&call(&limits, 1, START)), Some(Refusal::For(Duration::from_secs(1))));
    for second in 1..=100 {
        let now = START + second * SECOND;
        assert!(!admitted(&limits, 1, now - 1), "{second}");
        assert!(admitted(&limits, 1, now), "{second}");
        assert!(!admitted(&limits, 1, now), "{second}");
    }
    assert_eq!(remaining(&limits, START + 1_000 * SECOND), [60]);
}

#[test]
fn numbers_that_do_not_divide_lose_nothing() {
    // A billion less one a second: an interval in whole nanoseconds would be wrong by half.
    for (limit, window) in [(7, 60), (3, 1), (999_999_999, 1), (1_000_000_000, 31 * 86_400), (1, 31 * 86_400)]
    {
        let limits = limits(&[rule("a", limit, window)]);
        let chunk = u32::try_from(limit.min(u64::from(MAX_COST))).unwrap();
        let mut at_once = 0;
        while at_once + u64::from(chunk) <= limit {
            assert!(admitted(&limits, chunk, START));
            at_once += u64::from(chunk);
        }
        assert_eq!(remaining(&limits, START), [limit - at_once]);
        assert_eq!(remaining(&limits, START + u64::from(window) * SECOND), [limit]);
    }
}

#[test]
fn a_cost_above_the_limit_is_refused_for_ever_and_spends_nothing() {
    let limits = limits(&[rule("minute", 600, 60), rule("second", 10, 1)]);
    let checked = call(&limits, 11, START);
    assert_eq!((refusal(&checked), checked.retry_after_seconds()), (Some(Refusal::ForEver), None));
    assert_eq!(remaining(&limits, START), [600, 10]);
    assert!(admitted(&limits, 10, START));
    assert_eq!(refusal(&call(&limits, 11, START)), Some(Refusal::ForEver));
    // What is free is never refused.
    assert!(admitted(&limits, 0, START));
    assert!(Charge::cost(Some(u64::from(MAX_COST))).is_ok());
    assert_eq!(Charge::cost(Some(u64::from(MAX_COST) + 1)).unwrap_err().field.unwrap(), "cost");
    assert_eq!(Charge::cost(None), Ok(1));
}

#[test]
fn only_the_chosen_limits_apply_and_only_those_that_exist_can_be_chosen() {
    let limits = limits(&[rule("a", 5, 60), rule("b", 1, 60)]);
    let only = |names: &[&'static str]| {
        let names: Vec<Cow<'_, str>> = names.iter().map(|name| Cow::Borrowed(*name)).collect();
        spend(&limits, &Charge { cost: 1, only: Some(&names) }, START).map(|checked| {
            let shown: Vec<String> = checked.limits().map(|(_, rule, _)| rule.name.to_string()).collect();
            (checked.refusal.is_none(), shown)
        })
    };
    assert_eq!(only(&["b"]), Ok((true, vec!["b".to_owned()])));
    assert!(!only(&["b"]).unwrap().0);
    assert_eq!(only(&["a", "a"]), Ok((true, vec!["a".to_owned()])));
    assert!(!only(&["b", "a"]).unwrap().0);
    assert_eq!(only(&["a", "c"]), Err(NoSuchLimit));
    assert_eq!(remaining(&limits, START), [4, 0]);
}

#[test]
fn whole_seconds_are_rounded_up() {
    let limits = limits(&[rule("a", 600, 60)]);
    let checked = call(&limits, 1, START);
    assert_eq!(checked.limits().next().unwrap().2.reset_seconds(), 1);
    assert!(admitted(&limits, 599, START));
    assert_eq!(call(&limits, 1, START).retry_after_seconds(), Some(1));
    assert_eq!(call(&limits, 600, START).retry_after_seconds(), Some(60));
    assert_eq!(call(&limits, 11, START).retry_after_seconds(), Some(2));
    assert_eq!(standings(&limits, START + 60 * SECOND)[0].reset_seconds(), 0);
}

#[test]
fn a_clock_that_is_set_back_neither_opens_the_gate_nor_shuts_it() {
    let hour = 3_600 * SECOND;
    for back in [SECOND / 2, SECOND, SECOND + 1, hour, START / 2] {
        let limits = limits(&[rule("minute", 60, 60)]);
        assert!(admitted(&limits, 60, START));
        let now = START - back;
        let wait = nanos(refusal(&call(&limits, 1, now)));
        assert!((SECOND..=2 * SECOND).contains(&wait), "set back by {back}: {wait}");
        assert!(!admitted(&limits, 1, now + wait - 1));
        assert!(admitted(&limits, 1, now + wait));
        assert!(!admitted(&limits, 1, now + wait));
    }
}

#[test]
fn requests_that_overtake_each_other_gain_nothing() {
    let limits = limits(&[rule("second", 10, 1)]);
    assert!(admitted(&limits, 10, START));
    let mut got = 0;
    // Two threads whose clocks were read 90 ms apart, for ten seconds.
    for step in 1..=100 {
        let now = START + step * SECOND / 10;
        for moment in [now, now - SECOND * 9 / 100] {
            while admitted(&limits, 1, moment) {
                got += 1;
            }
        }
    }
    assert_eq!(got, 100);
}

#[test]
fn a_change_keeps_what_was_spent_in_proportion() {
    let limits = limits(&[rule("minute", 100, 60), rule("gone", 5, 60)]);
    assert!(admitted(&limits, 5, START));
    let only = ["minute".into()];
    assert!(spend(&limits, &Charge { cost: 45, only: Some(&only) }, START).unwrap().refusal.is_none());
    limits.change([rule("minute", 100, 60), rule("gone", 5, 60)].into(), None);
    assert_eq!(remaining(&limits, START), [50, 0]);
    limits.change([rule("new", 7, 1), rule("minute", 20, 3_600)].into(), None);
    assert_eq!(remaining(&limits, START), [7, 10]);
    assert!(admitted(&limits, 1, START));
    assert_eq!(remaining(&limits, START), [6, 9]);
    limits.change([rule("minute", 200, 60)].into(), None);
    assert_eq!(remaining(&limits, START), [90]);
}

#[test]
fn limits_that_no_api_makes_do_no_harm() {
    for (limit, window) in [(0, 0), (0, 1), (1, 0), (u64::MAX, u32::MAX), (u64::MAX, 1), (1, u32::MAX)] {
        let limits = limits(&[rule("a", limit, window)]);
        for now in [0, 1, START, u64::MAX, 0, u64::MAX] {
            assert_eq!(refusal(&call(&limits, 1, now)) == Some(Refusal::ForEver), limit == 0);
            call(&limits, MAX_COST, now);
        }
        limits.change([rule("a", u64::MAX, u32::MAX)].into(), None);
        call(&limits, MAX_COST, u64::MAX);
    }
}

#[test]
fn threads_together_get_the_limit() {
    let limits = limits(&[rule("a", 1_000, 3_600), rule("b", 10_000, 3_600)]);
    let got: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| (0..400).filter(|_| admitted(&limits, 1, START)).count()))
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(got, 1_000);
    assert_eq!(remaining(&limits, START), [0, 9_000]);
}

#[test]
fn a_change_forgets_no_call_that_is_being_answered() {
    let (a, b) = (rule("a", 1_000, 3_600), rule("b", 10_000, 3_600));
    let first = limits(&[a.clone(), b.clone()]);
    let got: usize = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..4).map(|_| scope.spawn(|| (0..400).filter(|_| admitted(&first, 1, START)).count())).collect();
        for turn in 0..100 {
            let rules = if turn % 2 == 0 { [b.clone(), a.clone()] } else { [a.clone(), b.clone()] };
            first.change(rules.into(), None);
        }
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(got, 1_000);
    assert_eq!(remaining(&first, START), [0, 9_000]);
}

fn rules() -> impl Strategy<Value = Vec<RateLimit>> {
    let sizes = prop_oneof![(1..20_u64, 1..20_u32), (1..1_000_000_000_u64, 1..2_678_400_u32)];
    prop::collection::vec(sizes, 1..4).prop_map(|sizes| {
        let named = |(at, (limit, window)): (usize, (u64, u32))| rule(&format!("r{at}"), limit, window);
        sizes.into_iter().enumerate().map(named).collect()
    })
}

/// Calls: nanoseconds since the one before, and a cost.
fn calls() -> impl Strategy<Value = Vec<(u64, u32)>> {
    let pause = prop_oneof![Just(0), 0..1_000_000_u64, 0..3 * SECOND];
    prop::collection::vec((pause, prop_oneof![0..4_u32, 0..MAX_COST]), 1..80)
}

proptest! {
    #[test]
    fn no_stretch_of_time_admits_more_than_the_limit_and_its_share(rules in rules(), calls in calls()) {
        let limits = limits(&rules);
        let mut now = START;
        let mut passed = Vec::new();
        for (pause, cost) in calls {
            now += pause;
            if admitted(&limits, cost, now) {
                passed.push((now, u128::from(cost)));
            }
        }
        for rule in &rules {
            for (first, (from, _)) in passed.iter().enumerate() {
                let mut sum = 0;
                for (to, cost) in &passed[first..] {
                    sum += cost;
                    let share = u128::from(rule.limit) * u128::from(to - from);
                    prop_assert!(sum * window_nanos(rule) <= capacity(rule) + share);
                }
            }
        }
    }

    #[test]
    fn a_refused_call_changes_nothing_and_says_exactly_how_long(rules in rules(), calls in calls(), more in 1..9_u32) {
        let limits = limits(&rules);
        let mut now = START;
        for (pause, cost) in calls {
            now += pause;
            let before = standings(&limits, now);
            let checked = call(&limits, cost, now);
            let shown: Vec<_> = checked.limits().map(|(_, _, standing)| standing).collect();
            match refusal(&checked) {
                None => {
                    for (before, after) in before.iter().zip(&shown) {
                        prop_assert_eq!(before.remaining - u64::from(cost), after.remaining);
                    }
                }
                Some(Refusal::ForEver) => {
                    prop_assert!(rules.iter().any(|rule| rule.limit < u64::from(cost)));
                    prop_assert_eq!(&before, &shown);
                }
                Some(Refusal::For(_)) => {
                    prop_assert!(before.iter().any(|standing| standing.remaining < u64::from(cost)));
                    prop_assert_eq!(&before, &shown);
                    prop_assert_eq!(&before, &standings(&limits, now));
                    let then = now + nanos(refusal(&checked));
                    prop_assert!(!admitted(&limits, cost, then - 1));
                    prop_assert!(admitted(&limits, cost, then));
                    now = then;
                }
            }
        }
        // After the time that it says, and not before, a limit is whole again.
        let _ = call(&limits, more, now);
        for (at, rule) in rules.iter().enumerate() {
            let reset = u64::try_from(standings(&limits, now)[at].reset.as_nanos()).unwrap();
            if reset > 1 {
                prop_assert!(standings(&limits, now + reset - 1)[at].reset > Duration::ZERO);
            }
            now += reset;
            prop_assert_eq!(standings(&limits, now)[at].remaining, rule.limit);
        }
    }

    #[test]
    fn they_come_back_evenly(limit in 1..200_u64, window in 1..200_u32) {
        let limits = limits(&[rule("a", limit, window)]);
        let mut now = START;
        prop_assert!(admitted(&limits, u32::try_from(limit).unwrap(), START));
        for n in 1..=2 * limit {
            now += nanos(refusal(&call(&limits, 1, now)));
            prop_assert!(admitted(&limits, 1, now));
            // The nth comes back after n intervals, rounded up to a nanosecond and never further off.
            let due = (u128::from(n) * u128::from(window) * u128::from(SECOND)).div_ceil(u128::from(limit));
            prop_assert_eq!(u128::from(now - START), due);
        }
    }

    #[test]
    fn a_cost_is_so_many_calls(rules in rules(), spent in 0..9_u32, cost in 0..30_u32, pause in 0..SECOND) {
        let (one, many) = (limits(&rules), limits(&rules));
        for limits in [&one, &many] {
            call(limits, spent, START);
        }
        let now = START + pause;
        if admitted(&one, cost, now) {
            prop_assert!((0..cost).all(|_| admitted(&many, 1, now)));
        } else {
            prop_assert!(!(0..cost).all(|_| admitted(&many, 1, now)));
            return Ok(());
        }
        prop_assert_eq!(standings(&one, now), standings(&many, now));
    }

    #[test]
    fn a_change_gives_nothing_back(rules in rules(), cost in 0..30_u32, limit in 1..1_000_000_u64, window in 1..100_000_u32) {
        let mut debts = Debts::new(rules.clone().into());
        debts.advance(START);
        let asked = Charge { cost, only: None };
        if debts.refusal(&asked, START).is_none() {
            debts.spend(&asked);
        }
        let share = |debts: &Debts| (debts.owed[0], capacity(&debts.rules[0]));
        let (debt, whole) = share(&debts);
        debts.change([rule("r0", limit, window)].into());
        let (new_debt, new_whole) = share(&debts);
        // debt / whole <= new_debt / new_whole, without the products that would not fit.
        #[allow(clippy::cast_precision_loss, reason = "shares are compared, up to what rounding may change")]
        let (was, is) = (debt as f64 / whole as f64, new_debt as f64 / new_whole as f64);
        prop_assert!(is >= was * (1.0 - 1e-12), "{was} {is}");
        prop_assert!(new_debt <= new_whole);
        debts.change(rules.into());
        prop_assert!(share(&debts).0 >= debt);
    }
}
