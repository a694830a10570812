//! Who looked at which trail (PCI DSS 10.2.1.3): `audit.read` events in the organization's audit stream.
//!
//! Invariant: the event that tells of a look is durable before what was seen is handed out. When it cannot be
//! written, nothing is handed out.
//!
//! A look is the same as another one when the same key took it from the same address, at the same thing, through
//! the same filter. Within [`MERGED`] the same look is recorded once, so that a page that is refreshed every
//! few seconds does not fill the log. A page of a list that shows nothing, or nothing but what recorded this key's
//! own looks, belongs to the look before it, wherever its cursor stands: without that, whoever reads up to the end
//! again and again would find a new event there each time, made by the time before.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use keyledger_schema::codec::Outcome;
use keyledger_schema::event::{AuditRead, Event, TrailPart};
use keyledger_schema::grant::Place;
use keyledger_schema::{IdentityId, KeyId, OrganizationId, Personal, Timestamp};

use super::Service;
use super::told::Told;
use crate::caller::Caller;
use crate::error::{Code, Error, Result};
use crate::readmodel::{Entry, Mark};
use crate::store::Direction;

/// The same look within this time is recorded once.
pub const MERGED: Duration = Duration::from_mins(1);
/// Polls of a feed with no more than this between them are one look.
pub const FEED_PAUSE: Duration = Duration::from_mins(5);
/// A feed that is polled for longer than this is recorded again.
pub const FEED_MERGED: Duration = Duration::from_hours(1);
/// The most looks that are remembered. Without memory a look is recorded.
const REMEMBERED: usize = 16_384;

/// A look at a trail.
#[derive(Clone, Debug)]
pub struct Look {
    /// At what.
    pub what: TrailPart,
    /// Whose trail it is: the event that tells of it is for whoever may read there.
    pub place: Place,
    /// The key whose trail it is, where it is one key's.
    pub key: Option<KeyId>,
    /// The identity whose trail it is, where it is one identity's.
    pub identity: Option<IdentityId>,
    /// Which part of it, without what tells one page from another.
    pub filter: Told,
    /// Where in the list the page stands, for those that show something.
    pub page: Told,
    /// How many events or records are shown; none where they are shown as they come.
    pub shown: Option<u64>,
    /// Whether nothing is shown but what recorded this key's own looks.
    pub nothing_new: bool,
    /// Of a feed: all that comes from here on is looked at.
    pub from: Mark,
}

impl Look {
    /// At something of an organization.
    pub fn at(what: TrailPart, place: Place) -> Self {
        Self {
            what,
            place,
            key: None,
            identity: None,
            filter: Told::default(),
            page: Told::default(),
            shown: None,
            nothing_new: false,
            from: Mark::START,
        }
    }
}

/// What makes two looks the same.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Same {
    by: KeyId,
    from: Option<IpAddr>,
    organization: OrganizationId,
    what: TrailPart,
    key: Option<KeyId>,
    identity: Option<IdentityId>,
    filter: String,
}

/// When a look was recorded, and when it was last taken.
#[derive(Clone, Copy)]
struct Taken {
    recorded: Timestamp,
    last: Timestamp,
    from: Mark,
}

impl Taken {
    /// Whether a look at this moment is part of it.
    fn holds(&self, what: TrailPart, now: Timestamp) -> bool {
        if what == TrailPart::Feed {
            self.last.plus(FEED_PAUSE) > now && self.recorded.plus(FEED_MERGED) > now
        } else {
            self.recorded.plus(MERGED) > now
        }
    }
}

/// The looks of the last minutes.
#[derive(Default)]
pub(super) struct Lately(Mutex<HashMap<Same, Taken>>);

impl Lately {
    /// Whether the same look is recorded already; if so, it is taken again.
    fn again(&self, same: &Same, from: Mark, now: Timestamp) -> bool {
        let mut looks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = looks.get_mut(same).filter(|taken| taken.holds(same.what, now) && taken.from <= from);
        taken.map(|taken| taken.last = taken.last.max(now)).is_some()
    }

    fn remember(&self, looks_taken: impl IntoIterator<Item = Same>, from: Mark, now: Timestamp) {
        let mut looks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for same in looks_taken {
            if looks.len() >= REMEMBERED && !looks.contains_key(&same) {
                looks.retain(|same, taken| taken.holds(same.what, now));
                if looks.len() >= REMEMBERED {
                    return;
                }
            }
            looks.insert(same, Taken { recorded: now, last: now, from });
        }
    }
}

impl Service {
    /// The stored bytes of an event.
    pub async fn recorded_event(&self, entry: &Entry) -> Result<Arc<[u8]>> {
        let stream = entry.stream.to_string();
        let found = self.store.read_stream(&stream, Some(entry.revision), Direction::Forward, 1).await;
        let found = found.map_err(|error| super::writer::read_failed(&error))?;
        found.into_iter().next().map(|event| event.bytes).ok_or_else(|| {
            tracing::error!(position = %entry.position, "an event is in the read model and not in the log");
            Error::internal()
        })
    }

    /// Writes down that somebody looks at a trail, before they see it.
    pub async fn looked(&self, caller: &Caller, look: Look) -> Result<()> {
        let Look { what, place, key, identity, filter, page, shown, nothing_new, from } = look;
        let context = self.context(caller);
        let any_page = Same {
            by: caller.key,
            from: caller.source.ip.as_deref().copied(),
            organization: place.organization,
            what,
            key,
            identity,
            filter: filter.text(),
        };
        let page = page.text();
        let parts = [any_page.filter.as_str(), page.as_str()];
        let whole = parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("&");
        let this_page = Same { filter: whole.clone(), ..any_page.clone() };
        // What a feed shows from one place on is part of what it shows from an earlier one on.
        let any = nothing_new || what == TrailPart::Feed;
        if self.reads.again(&this_page, from, context.at)
            || any && self.reads.again(&any_page, from, context.at)
        {
            return Ok(());
        }
        let event =
            Event::AuditRead(AuditRead { what, key, identity, filter: Personal(whole.into()), shown });
        self.note(&context, place, event, Outcome::Success).await.map_err(|error| match error.code {
            Code::Unavailable => Error::unavailable(
                "this look at the trail could not be written down, so nothing is shown; try again, and tell the \
                 operator if it lasts",
            ),
            _ => error,
        })?;
        self.reads.remember([this_page, any_page], from, context.at);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn same(what: TrailPart, number: u128) -> Same {
        Same {
            by: KeyId::from_uuid(Uuid::from_u128(number)),
            from: None,
            organization: OrganizationId::from_uuid(Uuid::from_u128(1)),
            what,
            key: None,
            identity: None,
            filter: String::new(),
        }
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_micros(1_000_000_000).plus(Duration::from_secs(seconds))
    }

    #[test]
    fn the_same_look_is_told_once_a_minute() {
        let lately = Lately::default();
        let look = same(TrailPart::Events, 1);
        assert!(!lately.again(&look, Mark::START, at(0)));
        lately.remember([look.clone()], Mark::START, at(0));
        assert!(lately.again(&look, Mark::START, at(59)));
        assert!(!lately.again(&look, Mark::START, at(60)));
        assert!(!lately.again(&same(TrailPart::Events, 2), Mark::START, at(1)));
        assert!(!lately.again(&same(TrailPart::Verifications, 1), Mark::START, at(1)));
    }

    #[test]
    fn a_feed_is_one_look_while_it_is_polled_and_told_again_each_hour() {
        let lately = Lately::default();
        let look = same(TrailPart::Feed, 1);
        lately.remember([look.clone()], Mark::START, at(0));
        let told = (1..100)
            .map(|n| n * 299)
            .find(|&seconds| !lately.again(&look, Mark::START, at(seconds)))
            .unwrap();
        assert!((3_600..3_900).contains(&told), "{told}");
        lately.remember([look.clone()], Mark::START, at(10_000));
        assert!(!lately.again(&look, Mark::START, at(10_300)));
    }

    #[test]
    fn memory_is_bounded_and_what_is_old_makes_place() {
        let lately = Lately::default();
        let many = |from: u128| (0..REMEMBERED as u128).map(move |n| same(TrailPart::Events, from + n));
        lately.remember(many(0), Mark::START, at(0));
        let late = same(TrailPart::Events, u128::MAX);
        lately.remember([late.clone()], Mark::START, at(1));
        assert!(!lately.again(&late, Mark::START, at(1)), "there was no place left");
        lately.remember([late.clone()], Mark::START, at(61));
        assert!(lately.again(&late, Mark::START, at(61)));
        assert_eq!(lately.0.lock().unwrap().len(), 1);
    }
}
