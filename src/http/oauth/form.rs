//! The parameters of a request: `application/x-www-form-urlencoded`, in UTF-8, in the body (RFC 6749 §3.2,
//! appendix B).
//!
//! A parameter that is there twice makes the request invalid, one without a value counts as left out, and one that
//! nobody knows is ignored, all as §3.2 says. Parameters in the URL are none: secrets there get into the logs of
//! every proxy (§2.3.1).

use std::borrow::Cow;

use actix_web::HttpRequest;
use actix_web::http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap};
use actix_web::web::Payload;
use zeroize::Zeroizing;

use super::refusal::OauthError;
use crate::http::body;

/// The largest body, in bytes.
pub(super) const MAX_FORM_BYTES: usize = 16 * 1024;
/// The most parameters.
pub(super) const MAX_PARAMETERS: usize = 64;
/// The parameters that mean something to one endpoint or another.
const KNOWN: [&str; 16] = [
    "grant_type",
    "client_id",
    "client_secret",
    "client_assertion",
    "client_assertion_type",
    "scope",
    "resource",
    "audience",
    "environment",
    "token_type",
    "tokenType",
    "token",
    "token_type_hint",
    "ip",
    "name",
    "secret",
];
/// Those that may come several times (RFC 8707 §2).
const REPEATABLE: [&str; 2] = ["resource", "audience"];

/// See the head of this module. Any value may be a secret, so all are wiped.
#[derive(Default)]
pub(super) struct Form(Vec<(String, Zeroizing<String>)>);

/// A request that is not answered as it is, why, and the parameters that could be read: they may say who asked.
pub(super) struct Broken {
    pub(super) error: OauthError,
    pub(super) form: Form,
}

impl From<OauthError> for Broken {
    fn from(error: OauthError) -> Self {
        Self { error, form: Form::default() }
    }
}

impl From<Broken> for OauthError {
    fn from(broken: Broken) -> Self {
        broken.error
    }
}

impl Form {
    /// Reads a body.
    pub(super) async fn read(request: &HttpRequest, payload: Payload) -> Result<Self, Broken> {
        expected(request.headers())?;
        Self::parse(&body::whole(request, payload, MAX_FORM_BYTES).await.map_err(OauthError::from)?)
    }

    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Broken> {
        let mut form = Self::default();
        let mut wrong = None;
        let pairs = bytes.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty());
        for (number, pair) in pairs.enumerate() {
            if number >= MAX_PARAMETERS {
                let message = format!("a request has at most {MAX_PARAMETERS} parameters; send fewer");
                wrong = wrong.or(Some(OauthError::invalid_request(message)));
                break;
            }
            // What stands behind it is read all the same: it may say who the client is.
            wrong = wrong.or(form.add(number, pair).err());
        }
        match wrong {
            Some(error) => Err(Broken { error, form }),
            None => Ok(form),
        }
    }

    fn add(&mut self, number: usize, pair: &[u8]) -> Result<(), OauthError> {
        let equals = pair.iter().position(|byte| *byte == b'=');
        let (name, value) = equals.map_or((pair, &b""[..]), |at| (&pair[..at], &pair[at + 1..]));
        let (name, value) = (decoded(name), decoded(value));
        let wrong = |name: Option<&str>, what| {
            OauthError::invalid_request(format!("{} {what}", called(number, name)))
        };
        let (Some(name), Some(value)) = (&name, value) else {
            return Err(wrong(
                name.as_deref().map(String::as_str),
                "cannot be decoded; send UTF-8, with what is no letter or digit as % and two hexadecimal digits for each byte, a % as %25",
            ));
        };
        if !REPEATABLE.contains(&name.as_str()) && self.0.iter().any(|(known, _)| *known == **name) {
            return Err(wrong(Some(name), "is there twice; send it once"));
        }
        self.0.push((name.to_string(), value));
        Ok(())
    }

    /// What the parameters ask for. If that cannot be told they are given back with the reason.
    pub(super) fn asked<T>(self, read: impl FnOnce(&Self) -> Result<T, OauthError>) -> Result<T, Broken> {
        read(&self).map_err(|error| Broken { error, form: self })
    }

    /// The values of a parameter.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let named = self.0.iter().filter(move |(known, _)| known == name);
        named.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// The value of a parameter that comes once.
    pub(super) fn one<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        self.all(name).next()
    }

    /// The value of a parameter that must be there.
    pub(super) fn required<'a>(&'a self, name: &'static str) -> Result<&'a str, OauthError> {
        self.one(name)
            .ok_or_else(|| OauthError::invalid_request(format!("{name} is missing; send it in the body")))
    }
}

/// Undoes the encoding of forms: `+` is a space, `%` and two digits a byte. None if that is not UTF-8.
pub(super) fn decoded(text: &[u8]) -> Option<Zeroizing<String>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut rest = text.iter().copied();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                let (high, low) = (digit()?, digit()?);
                u8::try_from(high << 4 | low).ok()?
            }
            byte => byte,
        });
    }
    Some(Zeroizing::new(std::str::from_utf8(&bytes).ok()?.to_owned()))
}

/// How an error calls a parameter: by its name if it is a known one, since any other may be a secret; otherwise by its
/// number.
fn called(number: usize, name: Option<&str>) -> Cow<'static, str> {
    match KNOWN.into_iter().find(|known| Some(*known) == name) {
        Some(known) => Cow::Borrowed(known),
        None => Cow::Owned(format!("number {} of the parameters", number + 1)),
    }
}

/// Whether headers announce a form and nothing else.
fn expected(headers: &HeaderMap) -> Result<(), OauthError> {
    let mut types = headers.get_all(CONTENT_TYPE);
    let message = match (types.next(), types.next()) {
        (None, _) => {
            "Content-Type is missing; send application/x-www-form-urlencoded, and the parameters in the body"
        }
        // A proxy in front may have believed the other one (RFC 9110 §5.3: it is no list).
        (Some(_), Some(_)) => "Content-Type is there more than once; send it once",
        (Some(one), None) if is_form(one.as_bytes()) => {
            // RFC 9110 §8.4: what is encoded is something else than a form until it is decoded.
            if headers
                .get_all(CONTENT_ENCODING)
                .all(|coding| coding.as_bytes().eq_ignore_ascii_case(b"identity"))
            {
                return Ok(());
            }
            return Err(OauthError::encoded());
        }
        (Some(_), None) => {
            "Content-Type is not that of a form; send the parameters in the body, as application/x-www-form-urlencoded"
        }
    };
    Err(OauthError::invalid_request(message))
}

/// In any case and with any parameters (RFC 9110 §8.3.1).
fn is_form(value: &[u8]) -> bool {
    let media_type = value.split(|byte| *byte == b';').next().unwrap_or_default();
    media_type.trim_ascii().eq_ignore_ascii_case(b"application/x-www-form-urlencoded")
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::{HeaderName, HeaderValue};
    use proptest::prelude::*;

    #[test]
    fn parameters_are_decoded_and_empty_ones_are_none() {
        let form =
            Form::parse(b"a=b+c%2B%C3%A4&&empty=&bare&resource=1&resource=2&x=y=z&other=1").ok().unwrap();
        assert_eq!(form.one("a"), Some("b c+\u{e4}"));
        assert_eq!((form.one("empty"), form.one("bare"), form.one("x")), (None, None, Some("y=z")));
        assert_eq!(form.all("resource").collect::<Vec<_>>(), ["1", "2"]);
        assert!(form.required("missing").is_err());
    }

    fn refusal(body: &str) -> String {
        Form::parse(body.as_bytes()).err().unwrap_or_else(|| panic!("{body} was taken")).error.to_string()
    }

    #[test]
    fn errors_name_the_parameter_the_bound_and_the_remedy() {
        let many: Vec<_> = (0..=MAX_PARAMETERS).map(|n| format!("p{n}=1")).collect();
        let many = many.join("&");
        for (body, parts) in [
            ("a=1&scope=x&scope=y", &["scope is there twice; send it once"][..]),
            ("%73cope=x&scope=y", &["scope is there twice"]),
            ("scope=%zz", &["scope cannot be decoded; send UTF-8", "%25"]),
            ("scope=a&s3cret=1&s3cret=1", &["number 3 of the parameters is there twice"]),
            ("a=1&%zz=s3cret", &["number 2 of the parameters cannot be decoded"]),
            (&many, &["at most 64 parameters; send fewer"]),
        ] {
            let refusal = refusal(body);
            assert!(parts.iter().all(|part| refusal.contains(part)), "{body}: {refusal}");
            assert!(!refusal.contains("s3cret"), "{refusal}");
        }
        let missing = Form::default().required("token").unwrap_err().to_string();
        assert!(missing.contains("token is missing; send it"), "{missing}");
    }

    #[test]
    fn what_stands_behind_a_mistake_is_read() {
        let broken = Form::parse(b"x=%zz&a=1&a=2&client_id=c&client_secret=d").err().unwrap();
        assert!(broken.error.to_string().contains("number 1 of the parameters"), "the first mistake is told");
        assert_eq!((broken.form.one("a"), broken.form.one("client_secret")), (Some("1"), Some("d")));
    }

    #[test]
    fn a_form_is_announced_once_and_as_it_is() {
        let types = "application/x-www-form-urlencoded";
        for (lines, wrong) in [
            (&[("content-type", types)][..], None),
            (&[("content-type", "Application/X-WWW-Form-Urlencoded ; charset=UTF-8")], None),
            (&[("content-type", types), ("content-encoding", "Identity")], None),
            (&[], Some("Content-Type is missing; send application/x-www-form-urlencoded")),
            (&[("content-type", "application/json")], Some("as application/x-www-form-urlencoded")),
            (
                &[("content-type", "multipart/form-data; boundary=x")],
                Some("as application/x-www-form-urlencoded"),
            ),
            (&[("content-type", types), ("content-type", types)], Some("more than once; send it once")),
            (&[("content-type", types), ("content-type", "text/plain")], Some("more than once")),
            (&[("content-type", types), ("content-encoding", "gzip")], Some("without Content-Encoding")),
            (
                &[("content-type", types), ("content-encoding", "identity"), ("content-encoding", "br")],
                Some("without Content-Encoding"),
            ),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in lines {
                headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
            }
            let said = expected(&headers).err().map(|error| error.to_string());
            match (&said, wrong) {
                (None, None) => {}
                (Some(said), Some(part)) if said.contains(part) => {}
                _ => panic!("{lines:?}: {said:?}"),
            }
        }
    }

    #[test]
    fn what_is_ambiguous_or_no_form_is_refused_and_not_shown() {
        let many: Vec<_> = (0..=MAX_PARAMETERS).map(|n| format!("p{n}=1")).collect();
        let many = many.join("&");
        for body in [
            "a=s3cret&a=s3cret",
            "a=&a=s3cret",
            "unknown=s3cret&unknown=1",
            "%61=1&a=s3cret",
            "a=s3cret%",
            "a=s3cret%2",
            "a=s3cret%gg",
            "a=s3cret%ff",
            many.as_str(),
        ] {
            assert!(!refusal(body).contains("s3cret"), "{body}");
        }
    }

    proptest! {
        #[test]
        fn no_body_panics(bytes in prop::collection::vec(any::<u8>(), 0..200), text in "[a-c=&%+0-9]{0,60}") {
            let _ = Form::parse(&bytes);
            let _ = Form::parse(text.as_bytes());
        }

        #[test]
        fn any_text_survives_its_encoding(text in ".{0,40}") {
            let encoded: Vec<_> = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
            prop_assert_eq!(&*decoded(encoded.concat().as_bytes()).unwrap(), &text);
        }
    }
}
