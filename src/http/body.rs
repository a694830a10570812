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
use serde::de::{self, Deserialize, Deserializer, IgnoredAny, MapAccess};
use serde_json::error::Category;

use super::problem::Refused;
use crate::error::{Code, Error};

/// The largest body, in bytes.
pub const MAX_BODY_BYTES: usize = 1024 * 1024;

/// A body arrives within this time.
const BODY_TIMEOUT: Duration = Duration::from_secs(5);

fn too_large() -> Refused {
    let message = format!("a body has at most {MAX_BODY_BYTES} bytes; send less");
    Refused(StatusCode::PAYLOAD_TOO_LARGE, Error::new(Code::InvalidInput, message))
}

/// Reads a JSON body whole. A body that comes in one piece is not copied.
pub(super) async fn read(request: &HttpRequest, mut payload: Payload) -> Result<Bytes, Refused> {
    let headers = request.headers();
    if !headers.get(CONTENT_TYPE).is_some_and(|value| is_json(value.as_bytes())) {
        return Err(Refused(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Error::new(Code::InvalidInput, "send the body as Content-Type: application/json"),
        ));
    }
    let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|announced| announced > MAX_BODY_BYTES) {
        return Err(too_large());
    }
    // A small body is here with its head; only others are worth a timer.
    let early = payload.next().now_or_never().flatten().transpose().map_err(broken)?.unwrap_or_default();
    if announced == Some(early.len()) {
        return Ok(early);
    }
    timeout(BODY_TIMEOUT, rest(early, payload)).await.map_err(|_| {
        let message = "the body did not arrive in time; send it within 5 seconds of its head";
        Refused(StatusCode::REQUEST_TIMEOUT, Error::new(Code::InvalidInput, message))
    })?
}

async fn rest(early: Bytes, mut payload: Payload) -> Result<Bytes, Refused> {
    let mut whole = BytesMut::from(early);
    while let Some(chunk) = payload.next().await.transpose().map_err(broken)? {
        if whole.len() + chunk.len() > MAX_BODY_BYTES {
            return Err(too_large());
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
}

const FIELDS: &str = "key, environment, action, resource, ip";

impl<'a> VerifyBody<'a> {
    /// Reads the body. Every field is checked for its type, and a field that would be ignored is refused:
    /// a caller must not believe in a restriction that nobody enforces.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        let raw: Raw<'a> = serde_json::from_slice(bytes).map_err(|error| {
            let message = match error.classify() {
                Category::Data => {
                    "the body is one JSON object with the fields key, environment, action, resource, ip"
                }
                Category::Io | Category::Syntax | Category::Eof => {
                    return Error::new(
                        Code::InvalidInput,
                        format!(
                            "the body is not valid JSON at line {} column {}",
                            error.line(),
                            error.column()
                        ),
                    );
                }
            };
            Error::new(Code::InvalidInput, message)
        })?;
        if let Some(problem) = raw.problem {
            return Err(problem);
        }
        let [key, environment, action, resource, ip] = raw.values;
        let key = key
            .ok_or_else(|| Error::invalid("key", "name the key to verify: the text that its holder sent"))?;
        Ok(Self { key, environment, action, resource, ip })
    }
}

#[derive(Default)]
struct Raw<'a> {
    values: [Option<Cow<'a, str>>; 5],
    problem: Option<Error>,
}

/// A field's name or value, borrowed where JSON needs no unescaping.
enum Text<'a> {
    Is(Cow<'a, str>),
    Null,
    Other,
}

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Text<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text::Is(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text::Is(Cow::Owned(text.to_owned())))
            }
            fn visit_unit<E>(self) -> Result<Text<'de>, E> {
                Ok(Text::Null)
            }
            fn visit_bool<E>(self, _: bool) -> Result<Text<'de>, E> {
                Ok(Text::Other)
            }
            fn visit_i64<E>(self, _: i64) -> Result<Text<'de>, E> {
                Ok(Text::Other)
            }
            fn visit_u64<E>(self, _: u64) -> Result<Text<'de>, E> {
                Ok(Text::Other)
            }
            fn visit_f64<E>(self, _: f64) -> Result<Text<'de>, E> {
                Ok(Text::Other)
            }
            fn visit_seq<A: de::SeqAccess<'de>>(self, mut items: A) -> Result<Text<'de>, A::Error> {
                while items.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Text::Other)
            }
            fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Text<'de>, A::Error> {
                while fields.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Text::Other)
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
                let mut seen = [false; 5];
                while let Some(name) = fields.next_key::<Text<'de>>()? {
                    let name = if let Text::Is(name) = name { name } else { Cow::Borrowed("") };
                    let place = match &*name {
                        "key" => 0,
                        "environment" => 1,
                        "action" => 2,
                        "resource" => 3,
                        "ip" => 4,
                        other => {
                            fields.next_value::<IgnoredAny>()?;
                            let problem = Error::invalid(
                                shown(other),
                                format!("there is no such field; the fields are {FIELDS}"),
                            );
                            raw.problem.get_or_insert(problem);
                            continue;
                        }
                    };
                    let twice = std::mem::replace(&mut seen[place], true);
                    let value = fields.next_value()?;
                    let problem = match value {
                        _ if twice => "the field is there twice; send it once",
                        Text::Is(text) => {
                            raw.values[place] = Some(text);
                            continue;
                        }
                        Text::Null => continue,
                        Text::Other => "the field is a text",
                    };
                    raw.problem.get_or_insert(Error::invalid(name.into_owned(), problem));
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
            (r#"{"key":"a","cost":1}"#, Some("cost"), "no such field"),
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
