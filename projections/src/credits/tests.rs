use keyledger_schema::Timestamp;
use keyledger_schema::credits::Refill;
use proptest::prelude::*;

use super::*;

const START: i64 = 1_700_000_000_000_000;

fn at(second: i64) -> Timestamp {
    Timestamp::from_micros(START + second * 1_000_000)
}

fn set(n: u32, second: i64, counted: u64, remaining: i64, refill: Option<(u64, u32)>) -> CreditsState {
    let refill = refill.map(|(amount, interval_seconds)| Refill { amount, interval_seconds, from: at(0) });
    CreditsState { n, at: at(second), counted, remaining: Some(remaining), refill, adjusted_by: None }
}

#[test]
fn a_refill_raises_to_its_amount_and_never_cuts() {
    let mut pool = Pool::new(&set(1, 0, 0, 5, Some((3, 60))), &Tally::default());
    assert_eq!(pool.remaining(at(61)), Some(5));
    pool.spend(4, at(62));
    assert_eq!(pool.remaining(at(119)), Some(1));
    assert_eq!(pool.refusal(2, at(119)), Some(Exhausted { until: Some(at(120)) }));
    assert_eq!(pool.refusal(4, at(119)), Some(Exhausted { until: None }));
    assert_eq!(pool.remaining(at(120)), Some(3));
    assert_eq!(pool.remaining(at(100_000)), Some(3));
    // A clock that goes back takes nothing away.
    assert_eq!(pool.remaining(at(0)), Some(3));
}

#[test]
fn unlimited_credits_are_not_counted() {
    let mut pool = Pool::new(&set(1, 0, 0, 5, None), &Tally::default());
    pool.spend(2, at(1));
    pool.change(&CreditsState { remaining: None, ..set(2, 2, 2, 0, None) });
    assert_eq!((pool.remaining(at(3)), pool.spend(7, at(3))), (None, None));
    pool.change(&set(3, 4, 2, 10, None));
    assert_eq!(pool.remaining(at(5)), Some(10));
}

#[test]
fn a_change_that_a_refill_overtakes_is_refilled_too() {
    let first = set(1, 0, 0, 5, Some((3, 60)));
    let mut pool = Pool::new(&first, &Tally::default());
    pool.spend(5, at(10));
    let (n, counted) = pool.next();
    let change = set(n, 59, counted, 1, Some((3, 60)));
    let mut tally = Tally { spent: 5, refilled: None };
    tally.add(&pool.spend(1, at(61)).unwrap());
    pool.change(&change);
    assert_eq!(pool.remaining(at(62)), Some(2));
    assert_eq!(Pool::new(&change, &tally).remaining(at(62)), Some(2));
    tally.add(&pool.spend(1, at(63)).unwrap());
    assert_eq!(pool, Pool::new(&change, &tally));
}

#[test]
fn a_change_that_carries_an_earlier_moment_does_not_refill_again() {
    let first = set(1, 0, 0, 5, Some((3, 60)));
    let mut pool = Pool::new(&first, &Tally::default());
    let mut tally = Tally::default();
    tally.add(&pool.spend(5, at(10)).unwrap());
    // The clock was read before the interval's start, the balance after it.
    tally.add(&pool.spend(3, at(60)).unwrap());
    let (n, counted) = pool.next();
    let change = set(n, 59, counted, 1, Some((3, 60)));
    pool.change(&change);
    for mut pool in [pool, Pool::new(&change, &tally)] {
        assert_eq!(pool.remaining(at(61)), Some(1));
        assert_eq!(pool.remaining(at(120)), Some(3));
    }
}

#[test]
fn a_clock_that_was_ahead_keeps_no_refill_away() {
    let first = set(1, 0, 0, 5, Some((3, 60)));
    let mut pool = Pool::new(&first, &Tally::default());
    let day = 86_400;
    let mut tally = Tally::default();
    tally.add(&pool.spend(5, at(40 * day)).unwrap());
    assert_eq!(pool.remaining(at(100)), Some(0));
    assert_eq!(pool.remaining(at(120)), Some(3));
    let (n, counted) = pool.next();
    let change = set(n, 130, counted, 0, Some((3, 60)));
    pool.change(&change);
    assert_eq!((pool.remaining(at(131)), pool.remaining(at(180))), (Some(0), Some(3)));
    let mut told = Pool::new(&change, &tally);
    assert_eq!((told.remaining(at(131)), told.remaining(at(180))), (Some(0), Some(3)));
}

#[test]
fn what_was_set_is_what_there_is_although_spends_before_it_were_lost() {
    let first = set(1, 0, 0, 100, None);
    let mut pool = Pool::new(&first, &Tally::default());
    let mut tally = Tally::default();
    tally.add(&pool.spend(10, at(1)).unwrap());
    // Never recorded.
    pool.spend(7, at(2));
    let (n, counted) = pool.next();
    let change = set(n, 3, counted, 20, None);
    let mut told = Pool::new(&change, &tally);
    assert_eq!(told.remaining(at(4)), Some(20));
    // A start knows the change before it knows what was spent.
    let mut later = Pool::new(&change, &Tally::default());
    later.told(&tally);
    assert_eq!(later, told);
    tally.add(&told.spend(4, at(4)).unwrap());
    assert_eq!((told.remaining(at(5)), Pool::new(&change, &tally).remaining(at(5))), (Some(16), Some(16)));
    // Whoever added to what was left meant to add to that.
    let adjusted = CreditsState { adjusted_by: Some(5), remaining: Some(88), ..change };
    let tally = Tally { spent: 10, refilled: None };
    assert_eq!(Pool::new(&adjusted, &tally).remaining(at(4)), Some(95));
}

#[derive(Clone, Debug)]
enum Step {
    Spend(u32),
    Lost(u32),
    Set(i64, bool),
    Adjust(i64),
}

fn step() -> impl Strategy<Value = (u8, Step)> {
    let step = prop_oneof![
        6 => (1..5_u32).prop_map(Step::Spend),
        1 => (1..5_u32).prop_map(Step::Lost),
        1 => (0..20_i64, any::<bool>()).prop_map(|(to, refill)| Step::Set(to, refill)),
        1 => (-5..10_i64).prop_map(Step::Adjust),
    ];
    (0..40_u8, step)
}

proptest! {
    /// Whatever happened, and in whatever order the records of it become known, the log tells what is left;
    /// and nothing is spent that was not there.
    #[test]
    fn what_the_log_tells_is_what_was_left(steps in prop::collection::vec(step(), 1..80), reversed: bool) {
        let mut last = set(1, 0, 0, 10, Some((6, 60)));
        let mut pool = Pool::new(&last, &Tally::default());
        let mut records = Vec::new();
        let (mut now, mut naive) = (0_i64, 10_i64);
        let mut refills = true;
        for (pause, step) in steps {
            let before = now;
            now += i64::from(pause);
            if refills && now / 60 > before / 60 {
                naive = naive.max(6);
            }
            match step {
                Step::Spend(cost) | Step::Lost(cost) => {
                    let refused = pool.refusal(cost, at(now)).is_some();
                    prop_assert_eq!(refused, naive < i64::from(cost));
                    if !refused {
                        let spent = pool.spend(cost, at(now)).unwrap();
                        if matches!(step, Step::Lost(_)) {
                            pool.give_back(spent.credits);
                        } else {
                            naive -= i64::from(cost);
                            records.push(spent);
                        }
                    }
                }
                Step::Set(to, refill) => {
                    let (n, counted) = pool.next();
                    refills = refill;
                    naive = to;
                    last = set(n, now, counted, to, refill.then_some((6, 60)));
                    pool.change(&last);
                }
                Step::Adjust(by) => {
                    let left = i64::try_from(pool.remaining(at(now)).unwrap()).unwrap();
                    naive = (left + by).max(0);
                    let (n, counted) = pool.next();
                    last = set(n, now, counted, naive, refills.then_some((6, 60)));
                    last.adjusted_by = Some(by);
                    pool.change(&last);
                }
            }
            prop_assert_eq!(pool.remaining(at(now)), Some(u64::try_from(naive).unwrap()));
        }
        if reversed {
            records.reverse();
        }
        let mut tally = Tally::default();
        for spent in &records {
            tally.add(spent);
        }
        let mut told = Pool::new(&last, &Tally::default());
        told.told(&tally);
        prop_assert_eq!(told.remaining(at(now)), pool.remaining(at(now)));
        prop_assert_eq!(told.remaining(at(now + 60)), pool.remaining(at(now + 60)));
    }
}
