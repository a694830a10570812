//! Bodies of requests, read whole, and the JSON object of `POST /v1/verify` borrowed from one.
//!
//! Invariant: no text of the body gets into an error but the name of a field, since a body holds a key.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::error::PayloadError;
use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use actix_web::rt::time::timeout;
use actix_web::web::{Bytes, BytesMut, Payload};
use futures_util::{FutureExt, StreamExt};
use serde::de::{self, Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess};
use serde_json::error::Category;

use super::problem::Refused;
use crate::error::{Code, Error};
use crate::verify::limits::{Charge, MAX_CHOSEN, wrong_cost};
use crate::verify::tags::{MAX_TAGS, Tags, wrong_tags};

/// The largest body, in bytes.
pub const MAX_BODY_BYTES: usize = 1024 * 1024;

/// A body arrives within this time.
const BODY_TIMEOUT: Duration = Duration::from_secs(5);

fn too_large(most: usize) -> Refused {
    let message = format!("a body has at most {most} bytes; send less");
    Refused(StatusCode::PAYLOAD_TOO_LARGE, Error::new(Code::InvalidInput, message))
}

/// Reads a JSON body whole. A body that comes in one piece is not copied.
pub(super) async fn read(request: &HttpRequest, payload: Payload) -> Result<Bytes, Refused> {
    if !request.headers().get(CONTENT_TYPE).is_some_and(|value| is_json(value.as_bytes())) {
        return Err(Refused(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Error::new(Code::InvalidInput, "send the body as Content-Type: application/json"),
        ));
    }
    whole(request, payload, MAX_BODY_BYTES).await
}

/// Reads a body whole that has at most so many bytes.
pub(super) async fn whole(
    request: &HttpRequest,
    mut payload: Payload,
    most: usize,
) -> Result<Bytes, Refused> {
    let announced = request.headers().get(CONTENT_LENGTH);
    let announced = announced.and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|announced| announced > most) {
        return Err(too_large(most));
    }
    // A small body is here with its head; only others are worth a timer.
    let early = payload.next().now_or_never().flatten().transpose().map_err(broken)?.unwrap_or_default();
    if announced == Some(early.len()) {
        return Ok(early);
    }
    timeout(BODY_TIMEOUT, rest(early, payload, most)).await.map_err(|_| {
        let message = "the body did not arrive in time; send it within 5 seconds of its head";
        Refused(StatusCode::REQUEST_TIMEOUT, Error::new(Code::InvalidInput, message))
    })?
}

async fn rest(early: Bytes, mut payload: Payload, most: usize) -> Result<Bytes, Refused> {
    let mut whole = BytesMut::from(early);
    while let Some(chunk) = payload.next().await.transpose().map_err(broken)? {
        if whole.len() + chunk.len() > most {
            return Err(too_large(most));
        }
        whole.extend_from_slice(&chunk);
    }
    Ok(whole.freeze())
}

fn broken(_: PayloadError) -> Error {
    Error::new(Code::InvalidInput, "the body could not be read to its end; send it again, whole")
}

/// `application/json`, in any case and with any parameters (RFC 9110 §8.3.1).
fn is_json(value: &[u8]) -> bool {
    let media_type = value.split(|byte| *byte == b';').next().unwrap_or_default();
    media_type.trim_ascii().eq_ignore_ascii_case(b"application/json")
}

/// The body of `POST /v1/verify`.
#[derive(Default)]
pub(super) struct VerifyBody<'a> {
    pub(super) key: Cow<'a, str>,
    pub(super) environment: Option<Cow<'a, str>>,
    pub(super) action: Option<Cow<'a, str>>,
    pub(super) resource: Option<Cow<'a, str>>,
    pub(super) ip: Option<Cow<'a, str>>,
    pub(super) audience: Option<Cow<'a, str>>,
    pub(super) cost: u32,
    pub(super) limits: Option<Vec<Cow<'a, str>>>,
    pub(super) tags: Tags,
}

/// The fields that are texts, in the order of [`Raw::texts`]; then the others.
const FIELDS: [&str; 9] =
    ["key", "environment", "action", "resource", "ip", "audience", "cost", "limits", "tags"];
const TEXTS: usize = 6;
/// The most texts of a list.
const MAX_TEXTS: usize = if MAX_CHOSEN > MAX_TAGS { MAX_CHOSEN } else { MAX_TAGS };

impl<'a> VerifyBody<'a> {
    /// Reads the body. Every field is checked for its type, and a field that would be ignored is refused:
    /// a caller must not believe in a restriction that nobody enforces.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        let raw: Raw<'a> = serde_json::from_slice(bytes).map_err(|error| {
            let message = match error.classify() {
                Category::Data => {
                    format!("the body is one JSON object with the fields {}", FIELDS.join(", "))
                }
                Category::Io | Category::Syntax | Category::Eof => {
                    format!("the body is not valid JSON at line {} column {}", error.line(), error.column())
                }
            };
            Error::new(Code::InvalidInput, message)
        })?;
        if let Some(problem) = raw.problem {
            return Err(problem);
        }
        let [key, environment, action, resource, ip, audience] = raw.texts;
        let key = key
            .ok_or_else(|| Error::invalid("key", "name the key to verify: the text that its holder sent"))?;
        let cost = Charge::cost(raw.cost)?;
        let limits = raw.limits.map(chosen).transpose()?;
        let tags = Tags::new(raw.tags.as_deref().unwrap_or_default())?;
        if let Some(text) = &audience {
            crate::verify::audience(text)?;
        }
        Ok(Self { key, environment, action, resource, ip, audience, cost, limits, tags })
    }
}

/// The names of the limits that a call chooses.
pub(super) fn chosen(names: Vec<Cow<'_, str>>) -> Result<Vec<Cow<'_, str>>, Error> {
    if names.is_empty() || names.len() > MAX_CHOSEN { Err(wrong_limits()) } else { Ok(names) }
}

fn wrong_limits() -> Error {
    let message = format!(
        "limits is a list of 1 to {MAX_CHOSEN} names of the key's rate limits; leave it out for all of them"
    );
    Error::invalid("limits", message)
}

#[derive(Default)]
struct Raw<'a> {
    texts: [Option<Cow<'a, str>>; TEXTS],
    cost: Option<u64>,
    limits: Option<Vec<Cow<'a, str>>>,
    tags: Option<Vec<Cow<'a, str>>>,
    problem: Option<Error>,
}

/// A field's name or value, texts borrowed where JSON needs no unescaping.
enum Value<'a> {
    Text(Cow<'a, str>),
    /// A whole number that is not negative.
    Number(u64),
    /// A list of texts, cut where it is too long to be one of ours.
    Texts(Vec<Cow<'a, str>>),
    Null,
    Other,
}

impl<'de> Deserialize<'de> for Value<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Value<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Value<'de>, E> {
                Ok(Value::Text(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Value<'de>, E> {
                Ok(Value::Text(Cow::Owned(text.to_owned())))
            }
            fn visit_unit<E>(self) -> Result<Value<'de>, E> {
                Ok(Value::Null)
            }
            fn visit_bool<E>(self, _: bool) -> Result<Value<'de>, E> {
                Ok(Value::Other)
            }
            fn visit_i64<E>(self, _: i64) -> Result<Value<'de>, E> {
                Ok(Value::Other)
            }
            fn visit_u64<E>(self, number: u64) -> Result<Value<'de>, E> {
                Ok(Value::Number(number))
            }
            fn visit_f64<E>(self, _: f64) -> Result<Value<'de>, E> {
                Ok(Value::Other)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value<'de>, A::Error> {
                let mut texts = Vec::new();
                let mut other = false;
                while texts.len() <= MAX_TEXTS
                    && !other
                    && let Some(item) = items.next_element()?
                {
                    if let Value::Text(text) = item { texts.push(text) } else { other = true }
                }
                while items.next_element::<IgnoredAny>()?.is_some() {}
                Ok(if other { Value::Other } else { Value::Texts(texts) })
            }
            fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value<'de>, A::Error> {
                while fields.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Value::Other)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// A field's name for a message: short, and nothing but letters, digits, `_` and `-`.
pub(super) fn shown(name: &str) -> String {
    let known = |character: &char| character.is_ascii_alphanumeric() || matches!(character, '_' | '-');
    name.chars().filter(known).take(32).collect()
}

impl<'a> Raw<'a> {
    /// Takes the value of a field, given by its place in [`FIELDS`].
    fn set(&mut self, place: usize, value: Value<'a>) -> Result<(), Error> {
        match (FIELDS[place], value) {
            (_, Value::Null) => {}
            ("cost", Value::Number(cost)) => self.cost = Some(cost),
            ("cost", _) => return Err(wrong_cost()),
            ("limits", Value::Texts(names)) => self.limits = Some(names),
            ("limits", _) => return Err(wrong_limits()),
            ("tags", Value::Texts(tags)) => self.tags = Some(tags),
            ("tags", _) => return Err(wrong_tags()),
            (_, Value::Text(text)) if place < TEXTS => self.texts[place] = Some(text),
            (name, _) => return Err(Error::invalid(name, "the field is a text")),
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Raw<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Raw<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Raw<'de>, A::Error> {
                let mut raw = Raw::default();
                let mut seen = [false; FIELDS.len()];
                while let Some(name) = fields.next_key::<Value<'de>>()? {
                    let name = if let Value::Text(name) = name { name } else { Cow::Borrowed("") };
                    let Some(place) = FIELDS.iter().position(|field| *field == name) else {
                        fields.next_value::<IgnoredAny>()?;
                        let problem = format!("there is no such field; the fields are {}", FIELDS.join(", "));
                        raw.problem.get_or_insert_with(|| Error::invalid(shown(&name), problem));
                        continue;
                    };
                    let value = fields.next_value()?;
                    let taken = if std::mem::replace(&mut seen[place], true) {
                        Err(Error::invalid(FIELDS[place], "the field is there twice; send it once"))
                    } else {
                        raw.set(place, value)
                    };
                    if let Err(problem) = taken {
                        raw.problem.get_or_insert(problem);
                    }
                }
                Ok(raw)
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn refusal(body: &str) -> (Option<String>, String) {
        let error = VerifyBody::parse(body.as_bytes()).err().unwrap();
        (error.field.map(Cow::into_owned), error.message.into_owned())
    }

    #[test]
    fn plain_texts_are_borrowed() {
        let body = VerifyBody::parse(br#"{"key":"k","ip":null,"action":"re\u0061d"}"#).unwrap();
        assert!(matches!(body.key, Cow::Borrowed("k")));
        assert!(body.ip.is_none());
        assert_eq!(body.action.unwrap(), "read");
        assert_eq!((body.cost, body.limits), (1, None));
        let body = VerifyBody::parse(br#"{"limits":["a","\u0062"],"cost":1000000,"key":"k"}"#).unwrap();
        assert_eq!((body.cost, body.limits.unwrap()), (1_000_000, vec!["a".into(), "b".into()]));
        let body = VerifyBody::parse(br#"{"tags":["b","a","b"],"key":"k"}"#).unwrap();
        assert_eq!(body.tags.iter().collect::<Vec<_>>(), ["a", "b"]);
        let body = VerifyBody::parse(br#"{"limits":null,"cost":null,"key":"k"}"#).unwrap();
        assert_eq!((body.cost, body.limits), (1, None));
    }

    #[test]
    fn what_is_wrong_is_named_and_what_was_sent_is_not() {
        let table = [
            ("{}", Some("key"), "name the key"),
            (r#"{"key":null}"#, Some("key"), "name the key"),
            (r#"{"key":17}"#, Some("key"), "a text"),
            (r#"{"key":{"a":[1,{"b":"s3cret"}]}}"#, Some("key"), "a text"),
            (r#"{"key":["s3cret"]}"#, Some("key"), "a text"),
            (r#"{"key":"a","key":"b"}"#, Some("key"), "twice"),
            (r#"{"key":"a","price":1}"#, Some("price"), "no such field"),
            (r#"{"key":"a","audience":""}"#, Some("audience"), "1 to 255 bytes"),
            (r#"{"key":"a","audience":["b"]}"#, Some("audience"), "a text"),
            (r#"{"key":"a","tags":1}"#, Some("tags"), "at most 8 texts"),
            (r#"{"key":"a","tags":[1]}"#, Some("tags"), "at most 8 texts"),
            (r#"{"key":"a","tags":["s3cret tag"]}"#, Some("tags"), "at most 8 texts"),
            (r#"{"key":"a","tags":["1","2","3","4","5","6","7","8","9"]}"#, Some("tags"), "at most 8 texts"),
            (r#"{"key":"a","cost":-1}"#, Some("cost"), "from 0 to 1000000"),
            (r#"{"key":"a","cost":1000001}"#, Some("cost"), "from 0 to 1000000"),
            (r#"{"key":"a","cost":1.0}"#, Some("cost"), "from 0 to 1000000"),
            (r#"{"key":"a","cost":"1"}"#, Some("cost"), "from 0 to 1000000"),
            (r#"{"key":"a","cost":[]}"#, Some("cost"), "from 0 to 1000000"),
            (r#"{"key":"a","limits":[]}"#, Some("limits"), "1 to 8 names"),
            (r#"{"key":"a","limits":"b"}"#, Some("limits"), "1 to 8 names"),
            (r#"{"key":"a","limits":["b",1]}"#, Some("limits"), "1 to 8 names"),
            (r#"{"key":"a","limits":[["s3cret"]]}"#, Some("limits"), "1 to 8 names"),
            (r#"{"key":"a","limits":["","","","","","","","","s3cret"]}"#, Some("limits"), "1 to 8 names"),
            (r#"{"key":"a","limits":["b"],"limits":["b"]}"#, Some("limits"), "twice"),
            (r#"{"key":"a","<s>\u0000":1}"#, Some("s"), "no such field"),
            ("[]", None, "one JSON object"),
            ("\"s3cret\"", None, "one JSON object"),
            ("", None, "line 1 column 0"),
            ("{\n\"key\":s3cret}", None, "line 2 column"),
            (r#"{"key":"a"} x"#, None, "line 1 column 13"),
        ];
        for (body, field, part) in table {
            let (named, message) = refusal(body);
            assert_eq!(named.as_deref(), field, "{body}");
            assert!(message.contains(part), "{body}: {message}");
            assert!(!message.contains("s3cret"));
        }
    }

    #[test]
    fn depth_and_wrong_encoding_are_refused() {
        let deep = format!(r#"{{"key":{}"#, "[".repeat(100_000));
        assert!(VerifyBody::parse(deep.as_bytes()).is_err());
        assert!(VerifyBody::parse(b"{\"key\":\"\xff\xfe\"}").is_err());
        assert!(VerifyBody::parse(br#"{"key":"\ud800"}"#).is_err());
    }

    proptest! {
        #[test]
        fn no_body_panics(bytes in prop::collection::vec(any::<u8>(), 0..200), text in "[{}\\[\\]\":,a-k0-9 \\\\]{0,80}") {
            let _ = VerifyBody::parse(&bytes);
            let _ = VerifyBody::parse(text.as_bytes());
        }
    }
}
