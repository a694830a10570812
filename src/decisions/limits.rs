//! Bounds of what a caller may ask for. Every message names the field, the bound and the remedy.

use std::time::Duration;

use crate::error::{Error, Result};

/// The longest name of anything, in characters.
pub const MAX_NAME_CHARS: usize = 128;
/// The longest comment, in characters.
pub const MAX_COMMENT_CHARS: usize = 500;
/// The most scopes of a key.
pub const MAX_SCOPES: usize = 64;
/// The most grants of a key.
pub const MAX_GRANTS: usize = 16;
/// The most keys that one command names by their ids.
pub const MAX_NAMED_KEYS: usize = 1_000;
/// How deep organizations stand below each other at most.
pub const MAX_ORGANIZATION_DEPTH: usize = 64;
/// The most organizations of a tenant.
pub const MAX_ORGANIZATIONS: usize = 10_000;
/// The most text of all roles of an organization together, in bytes.
pub const MAX_ROLES_BYTES: usize = 512 * 1024;
/// The most bulk revocations of an organization at once.
pub const MAX_OPEN_REVOCATIONS: usize = 8;
/// The most roles of an organization.
pub const MAX_ROLES: usize = 256;
/// The most roles of a key.
pub const MAX_KEY_ROLES: usize = 32;
/// The most rate limits of a key.
pub const MAX_RATE_LIMITS: usize = 8;
/// The longest window of a rate limit: 31 days.
pub const MAX_WINDOW_SECONDS: u32 = 31 * 24 * 3_600;
/// The most requests of a rate limit in its window.
pub const MAX_RATE: u64 = 1_000_000_000;
/// The longest life that a policy can name: 100 years.
pub const MAX_TTL_SECONDS: u64 = 100 * 366 * 24 * 3_600;
/// The longest time to acknowledge a secret that a policy can name: 30 days.
pub const MAX_ACKNOWLEDGEMENT_MINUTES: u32 = 30 * 24 * 60;
/// The largest quota of a workspace.
pub const MAX_QUOTA: u64 = 1_000_000_000;
/// The most allowed networks of a key.
pub const MAX_NETWORKS: usize = 64;
/// The most keys of one import.
pub const MAX_IMPORTED_KEYS: usize = 1_000;
/// The longest external id of an identity, in characters.
pub const MAX_EXTERNAL_ID_CHARS: usize = 255;
/// The most credits of a key or an identity, and the most that a refill brings.
pub const MAX_CREDITS: u64 = 1_000_000_000_000;
/// The shortest time between two refills: a minute.
pub const MIN_REFILL_SECONDS: u32 = 60;
/// The longest time between two refills: 366 days.
pub const MAX_REFILL_SECONDS: u32 = 366 * 24 * 3_600;
/// The longest idempotency key, in bytes.
pub const MAX_IDEMPOTENCY_KEY_BYTES: usize = 255;
/// The longest overlap of a rotation: 30 days.
pub const MAX_OVERLAP: Duration = Duration::from_hours(30 * 24);

/// A name: some visible text, no control characters, no space at its ends.
pub fn name(field: &'static str, text: &str) -> Result<Box<str>> {
    let text = text.trim();
    let length = text.chars().count();
    if length == 0 || length > MAX_NAME_CHARS {
        let message = format!("a name has 1 to {MAX_NAME_CHARS} characters, this one has {length}");
        return Err(Error::invalid(field, message));
    }
    no_control_characters(field, text, false)?;
    Ok(text.into())
}

/// A comment; none when it is empty.
pub fn comment(field: &'static str, text: Option<&str>) -> Result<Option<Box<str>>> {
    words(field, "a comment", text)
}

/// A description; none when it is empty.
pub fn description(field: &'static str, text: Option<&str>) -> Result<Option<Box<str>>> {
    words(field, "a description", text)
}

fn words(field: &'static str, called: &str, text: Option<&str>) -> Result<Option<Box<str>>> {
    let Some(text) = text.map(str::trim).filter(|text| !text.is_empty()) else { return Ok(None) };
    let length = text.chars().count();
    if length > MAX_COMMENT_CHARS {
        let message = format!("{called} has at most {MAX_COMMENT_CHARS} characters, this one has {length}");
        return Err(Error::invalid(field, message));
    }
    no_control_characters(field, text, true)?;
    Ok(Some(text.into()))
}

/// A reason: a comment that has to be given.
pub fn reason(field: &'static str, text: &str) -> Result<Box<str>> {
    words(field, "a reason", Some(text))?
        .ok_or_else(|| Error::invalid(field, "a change of credits needs a reason; say why, for the trail"))
}

/// An external id, as it is: whoever compares it compares every character.
pub fn external_id(field: &'static str, text: &str) -> Result<Box<str>> {
    let length = text.chars().count();
    if length == 0 || length > MAX_EXTERNAL_ID_CHARS {
        let message =
            format!("an external id has 1 to {MAX_EXTERNAL_ID_CHARS} characters, this one has {length}");
        return Err(Error::invalid(field, message));
    }
    if text.trim() != text {
        return Err(Error::invalid(field, "an external id has no spaces at its ends; remove them"));
    }
    no_control_characters(field, text, false)?;
    Ok(text.into())
}

fn no_control_characters(field: &'static str, text: &str, lines: bool) -> Result<()> {
    // Overrides of the writing direction make a text read as another one (Unicode TR 36 §2.7).
    let deceives = |c: char| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{61c}');
    if text.chars().any(|c| (c.is_control() && !(lines && matches!(c, '\n' | '\t'))) || deceives(c)) {
        return Err(Error::invalid(
            field,
            "control characters and direction marks are not allowed; remove them",
        ));
    }
    Ok(())
}

/// At most so many items.
pub fn at_most(field: &'static str, what: &str, count: usize, limit: usize) -> Result<()> {
    if count > limit {
        return Err(Error::invalid(field, format!("at most {limit} {what} are allowed, these are {count}")));
    }
    Ok(())
}

/// An idempotency key: visible ASCII.
pub fn idempotency_key(field: &'static str, text: &str) -> Result<()> {
    let fits = (1..=MAX_IDEMPOTENCY_KEY_BYTES).contains(&text.len());
    if !fits || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        let message = format!(
            "an idempotency key has 1 to {MAX_IDEMPOTENCY_KEY_BYTES} visible ASCII characters; a UUID is a good one"
        );
        return Err(Error::invalid(field, message));
    }
    Ok(())
}

/// The overlap of a rotation, in seconds.
pub fn overlap(field: &'static str, seconds: i64) -> Result<Duration> {
    match u64::try_from(seconds).map(Duration::from_secs) {
        Ok(overlap) if overlap <= MAX_OVERLAP => Ok(overlap),
        _ => Err(Error::invalid(
            field,
            format!("an overlap is 0 to {} seconds (30 days), not {seconds}", MAX_OVERLAP.as_secs()),
        )),
    }
}
