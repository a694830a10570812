//! The same refusal again and again, told as a number: whoever tries something refused a hundred times makes two events
//! and not a hundred.
//!
//! Invariants: the first refusal of its kind is an event, durable before it is answered. What follows of the same kind
//! within [`WINDOW`] is counted in memory and told by one event when the window is over, and at a stop in order. A
//! crash loses such a count and nothing else.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use keyledger_schema::event::{CommandRefused, Repeated};
use keyledger_schema::grant::Place;
use keyledger_schema::{OrganizationId, Personal, Timestamp};

use super::Context;
use crate::error::Code;

/// For so long after one was told the same refusals are counted.
pub const WINDOW: Duration = Duration::from_secs(10);
/// The most kinds that are remembered. What is not remembered is told by itself.
const REMEMBERED: usize = 16_384;
const TOO_MANY: &str = Code::TooManyRequests.as_str();

/// What makes two refusals the same.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Same {
    organization: OrganizationId,
    actor: Option<Box<str>>,
    from: Option<IpAddr>,
    command: Box<str>,
    target: Option<Box<str>>,
    code: Box<str>,
}

impl Same {
    pub(super) fn new(context: &Context, organization: OrganizationId, refused: &CommandRefused) -> Self {
        Self {
            organization,
            actor: context.actor.id.clone(),
            // Who is to slow down does not get around it by coming from many addresses.
            from: context.source.ip.as_ref().map(|Personal(ip)| *ip).filter(|_| *refused.code != *TOO_MANY),
            command: refused.command.clone(),
            target: refused.target.as_ref().map(|Personal(target)| target.clone()),
            code: refused.code.clone(),
        }
    }
}

/// A refusal that was told, and what came of the same kind since.
#[derive(Clone)]
pub(super) struct Told {
    pub(super) context: Context,
    pub(super) place: Place,
    pub(super) refused: CommandRefused,
}

struct Counted {
    told: Told,
    at: Timestamp,
    since: Option<Repeated>,
}

/// The refusals of the last seconds.
#[derive(Default)]
pub(super) struct Repetitions(Mutex<HashMap<Same, Counted>>);

impl Repetitions {
    fn all(&self) -> MutexGuard<'_, HashMap<Same, Counted>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a refusal if the same was told a moment ago; otherwise it has to be told.
    pub(super) fn count(&self, same: &Same, now: Timestamp) -> bool {
        let mut all = self.all();
        let Some(counted) = all.get_mut(same).filter(|counted| counted.at.plus(WINDOW) > now) else {
            return false;
        };
        let first_at = counted.since.map_or(now, |since| since.first_at);
        let count = counted.since.map_or(0, |since| since.count) + 1;
        counted.since = Some(Repeated { count, first_at, last_at: now });
        true
    }

    /// From now on the same are counted. What was counted before and not told yet stays counted.
    pub(super) fn begin(&self, same: Same, told: Told, now: Timestamp) {
        let mut all = self.all();
        if let Some(known) = all.get_mut(&same) {
            known.at = now;
        } else if all.len() < REMEMBERED {
            all.insert(same, Counted { told, at: now, since: None });
        }
    }

    /// What was counted and is to be told: of windows that are over, or of all of them.
    pub(super) fn take(&self, now: Timestamp, all_of_them: bool) -> Vec<(Told, Repeated)> {
        let mut taken = Vec::new();
        self.all().retain(|_, counted| {
            let over = all_of_them || counted.at.plus(WINDOW) <= now;
            if let Some(since) = counted.since.filter(|_| over) {
                taken.push((counted.told.clone(), since));
            }
            !over
        });
        taken
    }
}

#[cfg(test)]
mod tests {
    use keyledger_schema::{Actor, Source};
    use uuid::Uuid;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(1_800_000_000_000_000 + seconds * 1_000_000)
    }

    fn told(code: &str) -> (Same, Told) {
        told_from(code, None)
    }

    fn told_from(code: &str, ip: Option<IpAddr>) -> (Same, Told) {
        let organization = OrganizationId::from_uuid(Uuid::nil());
        let context = Context {
            actor: Actor::operator(),
            source: Source { ip: ip.map(Personal), ..Source::default() },
            request: None,
            cause: None,
            at: at(0),
        };
        let refused = CommandRefused {
            command: "rotateKey".into(),
            target: None,
            key: None,
            code: code.into(),
            repeated: None,
        };
        let place = Place { organization, workspace: None };
        (Same::new(&context, organization, &refused), Told { context, place, refused })
    }

    #[test]
    fn what_follows_the_first_within_the_window_is_counted_and_told_once() {
        let repetitions = Repetitions::default();
        let ((same, first), (other, _)) = (told("FORBIDDEN"), told("NOT_FOUND"));
        assert!(!repetitions.count(&same, at(0)), "nothing was told yet");
        repetitions.begin(same.clone(), first, at(0));
        for second in [1, 4, 9] {
            assert!(repetitions.count(&same, at(second)));
            assert!(!repetitions.count(&other, at(second)));
        }
        assert!(repetitions.take(at(9), false).is_empty());
        assert!(!repetitions.count(&same, at(10)), "the window is over");
        let taken = repetitions.take(at(10), false);
        let expected = Repeated { count: 3, first_at: at(1), last_at: at(9) };
        assert_eq!(taken.iter().map(|(_, since)| *since).collect::<Vec<_>>(), [expected]);
        assert!(repetitions.take(at(10), true).is_empty() && !repetitions.count(&same, at(10)));
    }

    #[test]
    fn one_that_is_told_before_what_was_counted_loses_nothing_and_a_stop_tells_all() {
        let repetitions = Repetitions::default();
        let (same, first) = told("FORBIDDEN");
        repetitions.begin(same.clone(), first.clone(), at(0));
        assert!(repetitions.count(&same, at(5)));
        // The next one came right after the window, before anybody took what was counted.
        repetitions.begin(same.clone(), first, at(11));
        assert!(repetitions.count(&same, at(12)));
        let taken = repetitions.take(at(13), true);
        assert_eq!(taken[0].1, Repeated { count: 2, first_at: at(5), last_at: at(12) });
        assert!(repetitions.take(at(30), true).is_empty());
    }

    #[test]
    fn another_address_is_another_kind_but_for_whoever_is_to_slow_down() {
        let [one, two] = ["2001:db8::1", "2001:db8::2"].map(|ip| ip.parse().ok());
        for (code, expected) in [("FORBIDDEN", false), (TOO_MANY, true)] {
            let repetitions = Repetitions::default();
            let ((same, first), (other, _)) = (told_from(code, one), told_from(code, two));
            repetitions.begin(same, first, at(0));
            assert_eq!(repetitions.count(&other, at(1)), expected, "{code}");
        }
    }
}
