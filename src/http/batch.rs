//! `POST /v1/verify/batch`: many questions of `/v1/verify` in one call, answered in their order.
//!
//! A question that is not one refuses the whole call, with the place in it: whoever wrote the others wrote
//! that one too, and an answer that is in part a refusal is easily taken for a verification.

use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use futures_util::future::join_all;
use serde::Serialize;
use serde_json::value::RawValue;

use super::body::{self, VerifyBody};
use super::fields::Fields;
use super::problem::{JSON, NO_STORE, Refused};
use super::verify::{Body, question};
use super::{State, credentials};
use crate::error::{Code, Error};
use crate::verify::{Answer, Asker, Question};

/// The most questions of a call.
pub const MAX_REQUESTS: usize = 100;

#[derive(Serialize)]
struct Results<'a> {
    results: Vec<Item<'a>>,
}

/// An answer, or why this one question has none: it chose a rate limit that its key does not have, which shows
/// only when the key is known.
#[derive(Serialize)]
#[serde(untagged)]
enum Item<'a> {
    Answer(Body<'a>),
    Refused { error: Why<'a> },
}

impl<'a> From<&'a Result<Answer, Error>> for Item<'a> {
    fn from(answer: &'a Result<Answer, Error>) -> Self {
        match answer {
            Ok(answer) => Self::Answer(Body::from(answer)),
            Err(error) => Self::Refused {
                error: Why {
                    code: error.code.as_str(),
                    message: &error.message,
                    field: error.field.as_deref(),
                },
            },
        }
    }
}

#[derive(Serialize)]
struct Why<'a> {
    code: &'static str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'a str>,
}

/// With a verifier's key.
pub(super) async fn authenticated(
    request: HttpRequest,
    state: Data<State>,
    payload: Payload,
) -> Result<HttpResponse, Refused> {
    let asker = credentials::asker(&request, &state).await?;
    answer(&request, &state, payload, &asker).await
}

/// On a listener that is open to its host.
pub(super) async fn open(
    request: HttpRequest,
    state: Data<State>,
    payload: Payload,
) -> Result<HttpResponse, Refused> {
    answer(&request, &state, payload, &Asker::Open).await
}

async fn answer(
    request: &HttpRequest,
    state: &State,
    payload: Payload,
    asker: &Asker,
) -> Result<HttpResponse, Refused> {
    let bytes = body::read(request, payload).await?;
    let bodies = parse(&bytes)?;
    let questions =
        bodies.iter().enumerate().map(|(at, body)| question(body).map_err(|error| within(at, error)));
    let questions: Vec<Question<'_>> = questions.collect::<Result<_, Error>>()?;
    // All at once: they share a write of the log.
    let answered = join_all(questions.iter().map(|asked| state.verifier.verify(asked, asker))).await;
    let mut answers = Vec::with_capacity(answered.len());
    for (at, answer) in answered.into_iter().enumerate() {
        match answer {
            Err(error) if error.code == Code::InvalidInput => answers.push(Err(within(at, error))),
            other => answers.push(Ok(other?)),
        }
    }
    let results = Results { results: answers.iter().map(Item::from).collect() };
    let text = serde_json::to_vec(&results).map_err(|_| Error::internal())?;
    Ok(HttpResponse::Ok().insert_header(JSON).insert_header(NO_STORE).body(text))
}

fn parse(bytes: &[u8]) -> Result<Vec<VerifyBody<'_>>, Error> {
    let fields = Fields::of_body(bytes, &["requests"])?;
    let wrong = || {
        let message = format!("send 1 to {MAX_REQUESTS} requests, as a list");
        Error::invalid("requests", message)
    };
    let list: Vec<&RawValue> =
        serde_json::from_str(fields.raw("requests").ok_or_else(wrong)?).map_err(|_| wrong())?;
    if !(1..=MAX_REQUESTS).contains(&list.len()) {
        return Err(wrong());
    }
    list.iter()
        .enumerate()
        .map(|(at, item)| VerifyBody::parse(item.get().as_bytes()).map_err(|error| within(at, error)))
        .collect()
}

/// The error of one question, with its place.
fn within(at: usize, error: Error) -> Error {
    match &error.field {
        Some(field) => {
            let field = format!("requests[{at}].{field}");
            error.about(field)
        }
        None => Error::invalid(
            format!("requests[{at}]"),
            "each request is one JSON object with the fields of /v1/verify",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(body: &str) -> Option<String> {
        parse(body.as_bytes()).err().unwrap().field.map(std::borrow::Cow::into_owned)
    }

    #[test]
    fn the_question_that_is_wrong_is_named() {
        for (body, place) in [
            ("{}", "requests"),
            (r#"{"requests":null}"#, "requests"),
            (r#"{"requests":{}}"#, "requests"),
            (r#"{"requests":[]}"#, "requests"),
            (r#"{"requests":[{"key":"a"},17]}"#, "requests[1]"),
            (r#"{"requests":[{"key":"a"},{}]}"#, "requests[1].key"),
            (r#"{"requests":[{"key":"a","ip":1}]}"#, "requests[0].ip"),
            (r#"{"requests":[{"key":"a","price":1}]}"#, "requests[0].price"),
            (r#"{"requests":[],"more":1}"#, "more"),
        ] {
            assert_eq!(field(body).as_deref(), Some(place), "{body}");
        }
        let many = |count: usize| format!(r#"{{"requests":[{}]}}"#, vec![r#"{"key":"a"}"#; count].join(","));
        assert_eq!(parse(many(MAX_REQUESTS).as_bytes()).map(|all| all.len()), Ok(MAX_REQUESTS));
        assert_eq!(field(&many(MAX_REQUESTS + 1)).as_deref(), Some("requests"));
    }
}
