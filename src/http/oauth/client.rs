//! Who a client says it is (RFC 6749 §2.3.1): a key's id and its secret, by HTTP Basic or in the body, and never by
//! both (§2.3).

use actix_web::http::header::{AUTHORIZATION, HeaderMap};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use keyledger_schema::KeyId;
use zeroize::Zeroizing;

use super::form::{Form, decoded};
use super::refusal::{Kind, OauthError};
use crate::http::credentials::{after_scheme, single};

/// So many headers are looked at in a request that is refused for having more than one.
const MAX_NAMED: usize = 2;

/// What a client authenticates with.
pub(super) struct Client {
    /// The key that it says it is; none if that is not the id of a key. Then its secret is not that key's.
    pub(super) id: Option<KeyId>,
    pub(super) secret: Zeroizing<String>,
}

impl Client {
    fn new(id: &str, secret: Zeroizing<String>) -> Self {
        Self { id: id.parse().ok(), secret }
    }

    /// Every client that a request names with a secret, in whichever way, and whatever else is wrong with it. For the
    /// record of a request that is refused: none of them is authenticated by this.
    pub(super) fn all_named(headers: &HeaderMap, form: &Form) -> impl Iterator<Item = Self> {
        let of_header = headers.get_all(&AUTHORIZATION).filter_map(|value| {
            let (user, secret) = basic(after_scheme(value.to_str().ok()?, "Basic")?)?;
            Some(Self::new(&user, secret))
        });
        let in_body = form.one("client_id").zip(form.one("client_secret"));
        let in_body = in_body.map(|(id, secret)| Self::new(id, Zeroizing::new(secret.to_owned())));
        of_header.take(MAX_NAMED).chain(in_body)
    }
}

/// How a request says who it comes from.
pub(super) enum Presented {
    /// Not at all.
    Nobody,
    /// As a client.
    Client(Client),
    /// By a bearer token, which is not looked at here.
    Bearer,
}

impl Presented {
    /// The client; anybody else is refused.
    pub(super) fn client(self) -> Result<Client, OauthError> {
        match self {
            Self::Client(client) => Ok(client),
            Self::Nobody => Err(OauthError::new(
                Kind::InvalidClient,
                "say who you are: the key's id as client_id and its secret as client_secret, in the body or by HTTP Basic",
            )),
            Self::Bearer => Err(unsupported()),
        }
    }

    /// Finds out.
    pub(super) fn of(headers: &HeaderMap, form: &Form) -> Result<Self, OauthError> {
        let (id, secret) = (form.one("client_id"), form.one("client_secret"));
        // RFC 7521 §4.2: another way for a client to authenticate, which there is none of here.
        let asserted = form.one("client_assertion").or_else(|| form.one("client_assertion_type")).is_some();
        let header = single(headers, &AUTHORIZATION).map_err(|_| {
            OauthError::invalid_request(
                "Authorization is there more than once, or is no text; send it once, in visible ASCII",
            )
        })?;
        let ways = [header.is_some(), secret.is_some(), asserted];
        if ways.into_iter().filter(|way| *way).count() > 1 {
            return Err(OauthError::invalid_request(
                "the request authenticates in two ways; send either Authorization or client_secret, and no client_assertion",
            ));
        }
        if asserted {
            return Err(unsupported());
        }
        match (header, secret) {
            (Some(header), _) => {
                if after_scheme(header, "Bearer").is_some() {
                    return Ok(Self::Bearer);
                }
                let Some(encoded) = after_scheme(header, "Basic") else { return Err(unsupported()) };
                let (user, secret) = basic(encoded).ok_or_else(broken)?;
                // Some clients name themselves in the body as well, which is no second way.
                if id.is_some_and(|id| *id != **user) {
                    return Err(OauthError::invalid_request(
                        "client_id names another client than the Authorization header; send one of them",
                    ));
                }
                Ok(Self::Client(Client::new(&user, secret)))
            }
            (None, Some(secret)) => {
                let id = id.ok_or_else(|| {
                    OauthError::invalid_request(
                        "client_id is missing; send the key's id with its client_secret",
                    )
                })?;
                Ok(Self::Client(Client::new(id, Zeroizing::new(secret.to_owned()))))
            }
            (None, None) => Ok(Self::Nobody),
        }
    }
}

fn unsupported() -> OauthError {
    OauthError::new(
        Kind::InvalidClient,
        "clients authenticate with client_secret_basic or client_secret_post here; use one of them",
    )
}

fn broken() -> OauthError {
    OauthError::new(
        Kind::InvalidClient,
        "the Basic credentials cannot be read; send base64 of the client id, a colon and the secret, both form-encoded",
    )
}

/// User name and password (RFC 7617 §2), each encoded as in a form (RFC 6749 §2.3.1, appendix B).
fn basic(encoded: &str) -> Option<(Zeroizing<String>, Zeroizing<String>)> {
    let text = Zeroizing::new(STANDARD.decode(encoded).ok()?);
    let colon = text.iter().position(|byte| *byte == b':')?;
    Some((decoded(&text[..colon])?, decoded(&text[colon + 1..])?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::HeaderValue;
    use uuid::Uuid;

    fn presented(lines: &[&str], body: &str) -> Result<Presented, OauthError> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(AUTHORIZATION, HeaderValue::from_str(line).unwrap());
        }
        Presented::of(&headers, &Form::parse(body.as_bytes()).ok().unwrap())
    }

    fn basic_of(text: &str) -> String {
        format!("Basic {}", STANDARD.encode(text))
    }

    #[test]
    fn both_ways_are_understood_and_decoded() {
        let id = KeyId::from_uuid(Uuid::from_u128(7));
        for (lines, body) in [
            (vec![basic_of(&format!("{id}:a+b%2B%3A%C3%A4"))], String::new()),
            (vec![basic_of(&format!("{id}:a+b%2B:%C3%A4"))], format!("client_id={id}")),
            (vec![], format!("client_id={id}&client_secret=a+b%2B%3A%C3%A4")),
        ] {
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            let client = presented(&lines, &body).unwrap().client().unwrap_or_else(|error| panic!("{error}"));
            assert_eq!((client.id, client.secret.as_str()), (Some(id), "a b+:\u{e4}"), "{body}");
        }
        let stranger = presented(&[&basic_of("me:secret")], "").unwrap().client().ok().unwrap();
        assert_eq!((stranger.id, stranger.secret.as_str()), (None, "secret"));
        assert!(matches!(presented(&["bearer x"], "").unwrap(), Presented::Bearer));
        assert!(matches!(presented(&[], "client_id=x").unwrap(), Presented::Nobody));
    }

    #[test]
    fn all_that_a_request_names_is_found_for_the_record() {
        let (one, two) = (KeyId::from_uuid(Uuid::from_u128(1)), KeyId::from_uuid(Uuid::from_u128(2)));
        let found = |lines: &[&str], body: &str| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(AUTHORIZATION, HeaderValue::from_str(line).unwrap());
            }
            let form = Form::parse(body.as_bytes()).unwrap_or_else(|broken| broken.form);
            let all = Client::all_named(&headers, &form);
            all.map(|client| (client.id, client.secret.to_string())).collect::<Vec<_>>()
        };
        let (header, body) = (basic_of(&format!("{one}:a")), format!("client_id={two}&client_secret=b"));
        let (in_header, in_body) = ((Some(one), "a".to_owned()), (Some(two), "b".to_owned()));
        assert_eq!(found(&[&header], &format!("{body}&x=%zz")), [in_header.clone(), in_body]);
        assert_eq!(found(&["Bearer x", &header, &header, &header], ""), [in_header.clone(), in_header]);
        assert!(found(&["Basic %%%", "Digest x"], "client_secret=b&client_id=").is_empty());
    }

    #[test]
    fn what_is_wrong_has_its_error() {
        let both = basic_of("a:s3cret");
        let (two, one) = (["Authorization", "client_secret"], ["Authorization"]);
        let ways = ["client_secret_basic", "client_secret_post"];
        for (lines, body, kind, named) in [
            (vec![both.as_str()], "client_secret=s3cret", "invalid_request", &two[..]),
            (vec!["Bearer x"], "client_secret=s3cret", "invalid_request", &two),
            (vec![both.as_str()], "client_assertion=s3cret", "invalid_request", &two),
            (vec![both.as_str(), both.as_str()], "", "invalid_request", &one),
            (vec![both.as_str()], "client_id=b", "invalid_request", &["client_id", "Authorization"]),
            (vec![], "client_secret=s3cret", "invalid_request", &["client_id is missing"]),
            (vec![], "client_assertion_type=x", "invalid_client", &ways),
            (vec!["Digest s3cret"], "", "invalid_client", &ways),
            (vec!["Basic %%%"], "", "invalid_client", &["Basic"]),
            (vec!["Basic bm9jb2xvbg=="], "", "invalid_client", &["Basic"]),
        ] {
            let error =
                presented(&lines, body).err().unwrap_or_else(|| panic!("{lines:?} {body}")).to_string();
            assert!(error.starts_with(kind) && !error.contains("s3cret"), "{lines:?} {body}: {error}");
            let remedy = ["send ", "use one of "].iter().any(|remedy| error.contains(remedy));
            assert!(remedy && named.iter().all(|name| error.contains(name)), "{lines:?} {body}: {error}");
        }
    }
}
