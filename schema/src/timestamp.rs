//! A moment with microsecond precision, written as RFC 3339 in UTC with exactly six decimals.
//!
//! One spelling for one moment, so that stored bytes are a function of their values.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, Datelike, NaiveDate, Timelike, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Microseconds since 1970-01-01T00:00:00Z, between the years 1970 and 9999.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

/// 9999-12-31T23:59:59.999999Z.
const LAST_MICROS: i64 = 253_402_300_799_999_999;

/// Why a text is not a moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("expected a time between 1970 and 9999 as in RFC 3339, such as 2026-11-21T09:14:14Z")]
pub struct Error;

impl Timestamp {
    /// The latest moment that can be written.
    pub const MAX: Self = Self(LAST_MICROS);

    /// The moment so many microseconds after the epoch, moved into the range.
    pub const fn from_micros(micros: i64) -> Self {
        if micros < 0 {
            Self(0)
        } else if micros > LAST_MICROS {
            Self(LAST_MICROS)
        } else {
            Self(micros)
        }
    }

    /// Microseconds since the epoch.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Milliseconds since the epoch.
    pub const fn millis(self) -> i64 {
        self.0 / 1_000
    }

    /// This moment less a duration; the first representable one if that is before it.
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        Self::from_micros(self.0.saturating_sub(micros))
    }

    /// This moment plus a duration; the last representable one if that is beyond it.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        Self::from_micros(self.0.saturating_add(micros))
    }

    /// Time from `earlier` to this moment; zero if it is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0 - earlier.0).unwrap_or(0))
    }

    /// For libraries that speak chrono.
    pub fn to_datetime(self) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(self.0).unwrap_or(DateTime::UNIX_EPOCH)
    }
}

impl From<DateTime<Utc>> for Timestamp {
    fn from(at: DateTime<Utc>) -> Self {
        Self::from_micros(at.timestamp_micros())
    }
}

const LENGTH: usize = 27;

fn two(out: &mut [u8], value: u32) {
    out[0] = b'0' + (value / 10 % 10) as u8;
    out[1] = b'0' + (value % 10) as u8;
}

impl Timestamp {
    fn write(self) -> [u8; LENGTH] {
        let at = self.to_datetime();
        let mut out = *b"0000-00-00T00:00:00.000000Z";
        let year = at.year().unsigned_abs();
        two(&mut out[0..2], year / 100);
        two(&mut out[2..4], year % 100);
        two(&mut out[5..7], at.month());
        two(&mut out[8..10], at.day());
        two(&mut out[11..13], at.hour());
        two(&mut out[14..16], at.minute());
        two(&mut out[17..19], at.second());
        let micros = at.nanosecond() / 1_000;
        two(&mut out[20..22], micros / 10_000);
        two(&mut out[22..24], micros / 100 % 100);
        two(&mut out[24..26], micros % 100);
        out
    }

    /// Only the one stored spelling; `None` for everything else.
    fn read(text: &[u8]) -> Option<Self> {
        let text: &[u8; LENGTH] = text.try_into().ok()?;
        let number = |from: usize, to: usize| {
            text[from..to]
                .iter()
                .try_fold(0u32, |sum, byte| byte.is_ascii_digit().then(|| sum * 10 + u32::from(byte - b'0')))
        };
        let punctuation = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':'), (19, b'.'), (26, b'Z')];
        if punctuation.iter().any(|&(at, byte)| text[at] != byte) {
            return None;
        }
        let date =
            NaiveDate::from_ymd_opt(i32::try_from(number(0, 4)?).ok()?, number(5, 7)?, number(8, 10)?)?;
        let moment =
            date.and_hms_micro_opt(number(11, 13)?, number(14, 16)?, number(17, 19)?, number(20, 26)?)?;
        let micros = moment.and_utc().timestamp_micros();
        (micros >= 0).then_some(Self(micros))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.write()).unwrap_or_default())
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Any RFC 3339 spelling, cut to microseconds. For input; stored events know one spelling only.
impl FromStr for Timestamp {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        let at = DateTime::parse_from_rfc3339(text).map_err(|_| Error)?;
        let micros = at.timestamp_micros();
        (0..=LAST_MICROS).contains(&micros).then_some(Self(micros)).ok_or(Error)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.serialize_str(std::str::from_utf8(&self.write()).unwrap_or_default())
        } else {
            self.0.serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Timestamp;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a time like 2026-11-21T09:14:14.252913Z")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Timestamp, E> {
                Timestamp::read(text.as_bytes())
                    .ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
            }
        }
        if deserializer.is_human_readable() {
            deserializer.deserialize_str(Visitor)
        } else {
            i64::deserialize(deserializer).map(Self::from_micros)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn is_written_as_the_log_shows_it() {
        let at: Timestamp = "2026-11-21T10:14:14.252913789+01:00".parse().unwrap();
        assert_eq!(at.to_string(), "2026-11-21T09:14:14.252913Z");
    }

    #[test]
    fn only_the_one_stored_spelling_is_read_from_the_log() {
        for text in [
            "2026-11-21T09:14:14Z",
            "2026-11-21T09:14:14.252913+00:00",
            "2026-13-21T09:14:14.252913Z",
            "1969-12-31T23:59:59.000000Z",
        ] {
            assert!(serde_json::from_str::<Timestamp>(&format!("\"{text}\"")).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_moment_survives_its_text(micros in 0..=LAST_MICROS) {
            let at = Timestamp::from_micros(micros);
            let json = serde_json::to_string(&at).unwrap();
            prop_assert_eq!(serde_json::from_str::<Timestamp>(&json).unwrap(), at);
            prop_assert_eq!(at.to_string().parse::<Timestamp>().unwrap(), at);
        }
    }
}
