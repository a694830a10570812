//! The parameters of a request: `application/x-www-form-urlencoded`, in UTF-8, in the body (RFC 6749 §3.2,
//! appendix B).
//!
//! A parameter that is there twice makes the request invalid, one without a value counts as left out, and one that
//! nobody knows is ignored, all as §3.2 says. Parameters in the URL are none: secrets there get into the logs of
//! every proxy (§2.3.1).

use actix_web::HttpRequest;
use actix_web::http::header::CONTENT_TYPE;
use actix_web::web::Payload;
use zeroize::Zeroizing;

use super::refusal::OauthError;
use crate::http::body;

/// The largest body, in bytes.
pub(super) const MAX_FORM_BYTES: usize = 16 * 1024;
/// The most parameters.
pub(super) const MAX_PARAMETERS: usize = 64;
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
        if !request.headers().get(CONTENT_TYPE).is_some_and(|value| is_form(value.as_bytes())) {
            return Err(OauthError::invalid_request(
                "send the parameters in the body, as Content-Type: application/x-www-form-urlencoded",
            )
            .into());
        }
        Self::parse(&body::whole(request, payload, MAX_FORM_BYTES).await.map_err(OauthError::from)?)
    }

    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Broken> {
        let mut form = Self::default();
        let mut wrong = None;
        for pair in bytes.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
            if form.0.len() >= MAX_PARAMETERS {
                let message = format!("a request has at most {MAX_PARAMETERS} parameters; send fewer");
                wrong = wrong.or(Some(OauthError::invalid_request(message)));
                break;
            }
            // What stands behind it is read all the same: it may say who the client is.
            wrong = wrong.or(form.add(pair).err());
        }
        match wrong {
            Some(error) => Err(Broken { error, form }),
            None => Ok(form),
        }
    }

    fn add(&mut self, pair: &[u8]) -> Result<(), OauthError> {
        let equals = pair.iter().position(|byte| *byte == b'=');
        let (name, value) = equals.map_or((pair, &b""[..]), |at| (&pair[..at], &pair[at + 1..]));
        let (Some(name), Some(value)) = (decoded(name), decoded(value)) else {
            return Err(OauthError::invalid_request("the body is not percent-encoded UTF-8"));
        };
        if !REPEATABLE.contains(&name.as_str()) && self.0.iter().any(|(known, _)| *known == *name) {
            return Err(OauthError::invalid_request("a parameter is there twice; send each of them once"));
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
            .ok_or_else(|| OauthError::invalid_request(format!("the parameter {name} is missing; send it")))
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

/// In any case and with any parameters (RFC 9110 §8.3.1).
fn is_form(value: &[u8]) -> bool {
    let media_type = value.split(|byte| *byte == b';').next().unwrap_or_default();
    media_type.trim_ascii().eq_ignore_ascii_case(b"application/x-www-form-urlencoded")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn parameters_are_decoded_and_empty_ones_are_none() {
        let form = Form::parse(b"a=b+c%2B%C3%A4&&empty=&bare&resource=1&resource=2&x=y=z&other=1").unwrap();
        assert_eq!(form.one("a"), Some("b c+\u{e4}"));
        assert_eq!((form.one("empty"), form.one("bare"), form.one("x")), (None, None, Some("y=z")));
        assert_eq!(form.all("resource").collect::<Vec<_>>(), ["1", "2"]);
        assert!(form.required("missing").is_err());
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
            let error = Form::parse(body.as_bytes()).err().unwrap_or_else(|| panic!("{body} was taken"));
            assert!(!error.to_string().contains("s3cret"), "{error}");
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
