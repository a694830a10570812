//! Sealing and opening the text of an event.
//!
//! They work on the text as it is: `{"personal":` and `{"sealed":` cannot stand inside a JSON string, where every
//! quotation mark has a backslash before it, so they are found without parsing.

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use memchr::memmem::Finder;

use super::cipher::{DataKey, NAME_BYTES, NONCE_BYTES, TAG_BYTES};
use super::{DataKeys, Error, Held, SUBJECT_BYTES, Sealer, Subject};
use crate::id::EventId;
use crate::personal::UNREADABLE;
use crate::stream::Stream;

const MARK: &[u8] = br#"{"personal":"#;
const SEALED: &str = r#"{"sealed":"#;
static SEALED_FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(SEALED));
/// What stands before the ciphertext.
const HEAD_BYTES: usize = SUBJECT_BYTES + NAME_BYTES + NONCE_BYTES;
/// The first value of a subject in an event is the one that takes most, so this is right for all of them.
const AROUND: usize = SEALED.len() + 3;

/// The most bytes of JSON that a value of so many bytes of JSON takes when it is sealed.
pub const fn sealed_bytes(plain: usize) -> usize {
    AROUND + (HEAD_BYTES + plain + TAG_BYTES).div_ceil(3) * 4
}

/// The lines of the associated data that are the same for all values of an event.
fn place(id: &dyn fmt::Display, stream: &dyn fmt::Display) -> String {
    format!("keyledger personal data v1\n{id}\n{stream}\n")
}

/// The associated data of values in these places.
fn associated(place: &str, numbers: impl Iterator<Item = usize>) -> String {
    let mut aad = String::with_capacity(place.len() + 16);
    aad.push_str(place);
    for (at, number) in numbers.enumerate() {
        // Writing to a string cannot fail.
        let _ = write!(aad, "{}{number}", if at == 0 { "" } else { " " });
    }
    aad
}

/// A marked value.
struct Value {
    /// Where its mark begins in the text.
    start: usize,
    /// Where its mark ends.
    end: usize,
    /// Which of the groups it is sealed in; none where its subject was erased.
    group: Option<usize>,
}

/// What is sealed together.
struct Group {
    subject: Subject,
    key: DataKey,
    /// The numbers of its places.
    places: Vec<usize>,
    plain: Vec<u8>,
}

impl Group {
    fn seal(&self, place: &str, nonce: &[u8; NONCE_BYTES]) -> Option<String> {
        let aad = associated(place, self.places.iter().copied());
        let ciphertext = self.key.encrypt(nonce, &self.plain, aad.as_bytes())?;
        let mut bytes = Vec::with_capacity(HEAD_BYTES + ciphertext.len());
        bytes.extend_from_slice(&self.subject.to_bytes());
        bytes.extend_from_slice(&self.key.name());
        bytes.extend_from_slice(nonce);
        bytes.extend_from_slice(&ciphertext);
        Some(URL_SAFE_NO_PAD.encode(&bytes))
    }
}

/// Replaces every marked value of a text by the sealed one; by `null` where its subject was erased. `whose`
/// tells whose the value is whose mark begins here; it is asked once for each, in order. Answers whether all values
/// are in it.
pub(crate) fn seal(
    text: &[u8],
    (id, stream): (EventId, Stream),
    mut whose: impl FnMut(usize) -> Option<Subject>,
    sealer: &dyn Sealer,
    out: &mut Vec<u8>,
) -> Result<bool, Error> {
    let finder = Finder::new(MARK);
    let (mut values, mut groups) = (Vec::new(), Vec::<Group>::new());
    let (mut from, mut number) = (0, 0);
    while let Some(at) = finder.find(&text[from..]) {
        let start = from + at;
        let value = &text[start + MARK.len()..];
        let value = &value[..end_of_value(value).ok_or(Error::Endless)?];
        // The brace that closes the mark.
        let end = start + MARK.len() + value.len() + 1;
        if end > text.len() {
            return Err(Error::Endless);
        }
        let subject = whose(start).ok_or(Error::Nobody)?;
        // The last one is the likeliest.
        let known = groups.iter().rposition(|group| group.subject == subject);
        let group = match known {
            Some(known) => Some(known),
            None => sealer.key_to_seal(subject)?.map(|key| {
                groups.push(Group { subject, key, places: Vec::new(), plain: Vec::new() });
                groups.len() - 1
            }),
        };
        if let Some(group) = group.map(|group| &mut groups[group]) {
            if memchr::memchr(b'\n', value).is_some() {
                return Err(Error::Form);
            }
            if !group.places.is_empty() {
                group.plain.push(b'\n');
            }
            group.plain.extend_from_slice(value);
            group.places.push(number);
            number += 1;
        }
        values.push(Value { start, end, group });
        from = end;
    }
    let place = place(&id, &stream);
    let (mut rest, mut number) = (0, 0);
    for value in &values {
        out.extend_from_slice(&text[rest..value.start]);
        rest = value.end;
        let Some(group) = value.group.map(|group| &groups[group]) else {
            out.extend_from_slice(b"null");
            continue;
        };
        out.extend_from_slice(SEALED.as_bytes());
        match group.places[0] {
            first if first == number => {
                let together = group.seal(&place, &sealer.nonce()).ok_or(Error::Form)?;
                out.push(b'"');
                out.extend_from_slice(together.as_bytes());
                out.push(b'"');
            }
            first => out.extend_from_slice(first.to_string().as_bytes()),
        }
        out.push(b'}');
        number += 1;
    }
    out.extend_from_slice(&text[rest..]);
    Ok(values.iter().all(|value| value.group.is_some()))
}

/// A place of a text that holds something sealed, or says where it is.
struct Place {
    start: usize,
    end: usize,
    /// The number of the place that holds it; its own, if it is the first one of its subject.
    first: usize,
}

/// What the places of a text hold.
fn places(text: &str) -> Result<Vec<Place>, Error> {
    let mut places: Vec<Place> = Vec::new();
    for start in SEALED_FINDER.find_iter(text.as_bytes()) {
        let value = &text[start + SEALED.len()..];
        let end = memchr::memchr(b'}', value.as_bytes()).ok_or(Error::Endless)?;
        let number = places.len();
        let first = if value.starts_with('"') {
            number
        } else {
            let first: usize = value[..end].parse().map_err(|_| Error::Form)?;
            if places.get(first).is_none_or(|place| place.first != first) {
                return Err(Error::Form);
            }
            first
        };
        places.push(Place { start, end: start + SEALED.len() + end + 1, first });
    }
    Ok(places)
}

/// What was sealed together.
enum Opened {
    /// The values, with newlines between them, and where the next one begins.
    Values(String, usize),
    Erased,
    Unreadable,
}

/// The text of an event with every sealed value replaced by the value, by `null` where it was erased, or by
/// [`UNREADABLE`] where its data key is not at hand. Text without sealed values is returned as it is.
pub fn open<'a>(text: &'a str, keys: &dyn DataKeys) -> Result<Cow<'a, str>, Error> {
    let places = places(text)?;
    // Whoever reads text without these names as an event will tell what is wrong with it.
    let Some((id, stream)) = names(text).filter(|_| !places.is_empty()) else {
        return Ok(Cow::Borrowed(text));
    };
    let place = place(&id, &stream);
    // What was opened, of the place that holds it.
    let mut opened: Vec<(usize, Opened)> = Vec::new();
    let mut out = String::with_capacity(text.len());
    let mut rest = 0;
    for (number, held) in places.iter().enumerate() {
        out.push_str(&text[rest..held.start]);
        rest = held.end;
        if held.first == number {
            let same = places.iter().enumerate().filter(|(_, other)| other.first == number);
            let value = &text[held.start + SEALED.len()..held.end - 1];
            let together = open_group(value, &place, same.map(|(number, _)| number), keys)?;
            opened.push((number, together));
        }
        let group = opened.iter_mut().rev().find(|(first, _)| *first == held.first);
        match &mut group.ok_or(Error::Form)?.1 {
            Opened::Values(plain, from) => {
                let values = plain.get(*from..).ok_or(Error::Form)?;
                let value = &values[..memchr::memchr(b'\n', values.as_bytes()).unwrap_or(values.len())];
                out.push_str(value);
                *from += value.len() + 1;
            }
            Opened::Erased => out.push_str("null"),
            Opened::Unreadable => {
                out.push('"');
                out.push_str(UNREADABLE);
                out.push('"');
            }
        }
    }
    out.push_str(&text[rest..]);
    Ok(Cow::Owned(out))
}

/// The subjects of what is sealed in a text, in order.
pub fn subjects(text: &str) -> impl Iterator<Item = Subject> {
    let places = places(text).unwrap_or_default();
    places.into_iter().enumerate().filter(|(number, held)| held.first == *number).filter_map(|(_, held)| {
        let bytes = decode(&text[held.start + SEALED.len()..held.end - 1])?;
        Subject::from_bytes(bytes.get(..SUBJECT_BYTES)?)
    })
}

/// The bytes of a JSON string in base64.
fn decode(value: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(value.strip_prefix('"')?.strip_suffix('"')?).ok()
}

/// The values that are sealed together.
fn open_group(
    value: &str,
    place: &str,
    numbers: impl Iterator<Item = usize>,
    keys: &dyn DataKeys,
) -> Result<Opened, Error> {
    let mut bytes = decode(value).ok_or(Error::Form)?;
    let (head, ciphertext) = bytes.split_at_mut_checked(HEAD_BYTES).ok_or(Error::Form)?;
    if ciphertext.len() < TAG_BYTES {
        return Err(Error::Form);
    }
    let (subject, rest) = head.split_at(SUBJECT_BYTES);
    let subject = Subject::from_bytes(subject).ok_or(Error::Form)?;
    let (name, nonce) = rest.split_first_chunk::<NAME_BYTES>().ok_or(Error::Form)?;
    let nonce = nonce.first_chunk().ok_or(Error::Form)?;
    let key = match keys.data_key(subject)? {
        Held::Key(key) if key.name() == *name => key,
        Held::Erased => return Ok(Opened::Erased),
        // The subject got another one since: that which this was sealed with was lost.
        Held::Key(_) | Held::Absent => return Ok(Opened::Unreadable),
    };
    let aad = associated(place, numbers);
    let length = key.decrypt(nonce, ciphertext, aad.as_bytes()).ok_or(Error::Forged)?.len();
    bytes.truncate(HEAD_BYTES + length);
    bytes.drain(..HEAD_BYTES);
    String::from_utf8(bytes).map(|plain| Opened::Values(plain, 0)).map_err(|_| Error::Form)
}

/// The event's id and stream, which stand in the same places of every stored event.
fn names(text: &str) -> Option<(&str, &str)> {
    let (id, rest) = text.strip_prefix(r#"{"id":""#)?.split_once('"')?;
    let (stream, _) = rest.split_once(r#","stream":""#)?.1.split_once('"')?;
    Some((id, stream))
}

/// Where a JSON value ends that a text starts with.
fn end_of_value(text: &[u8]) -> Option<usize> {
    let (mut depth, mut in_string, mut escaped) = (0_u32, false, false);
    for (at, byte) in text.iter().enumerate() {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => continue,
            }
            if !in_string && depth == 0 {
                return Some(at + 1);
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'{' | b'[' => depth += 1,
            // A number or a word, up to what closes the mark.
            b'}' | b']' if depth == 0 => return Some(at),
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
    }
    None
}
