//! A client of the API: verifications, and mutations by name.

use std::time::Duration;

use serde_json::{Map, Value, json};

/// Longer than any answer takes on a slow machine.
const PATIENCE: Duration = Duration::from_mins(2);

/// Holds a secret and talks to one server.
#[derive(Clone)]
pub struct Client {
    agent: ureq::Agent,
    base: String,
    bearer: Option<String>,
}

/// Why something did not work.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Failure {
    /// No answer, or no whole one: whether it was done is unknown.
    Unanswered(String),
    /// The server said no. The status is 200 when GraphQL did.
    Refused { status: u16, code: String, message: String },
}

impl Failure {
    /// The stable code of a refusal.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Refused { code, .. } => Some(code),
            Self::Unanswered(_) => None,
        }
    }
}

/// The answer to a verification.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verification {
    pub valid: bool,
    pub code: String,
    /// The whole answer.
    pub body: Value,
}

/// The answer to a mutation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mutated {
    /// `id name status secretVersion revision` of the key.
    pub key: Value,
    /// `id type` of each event.
    pub events: Vec<Value>,
    pub warnings: Vec<Value>,
    secret: Option<String>,
}

impl Mutated {
    pub fn id(&self) -> String {
        self.key["id"].as_str().unwrap_or_else(|| panic!("no id in {}", self.key)).to_owned()
    }

    /// The secret that is shown this once.
    pub fn secret(&self) -> String {
        self.secret.clone().unwrap_or_else(|| panic!("no secret came with {}", self.key))
    }

    pub fn shows_secret(&self) -> bool {
        self.secret.is_some()
    }

    pub fn event_ids(&self) -> impl Iterator<Item = &str> {
        self.events.iter().filter_map(|event| event["id"].as_str())
    }
}

/// `read:customers/**` as the API's input.
pub fn parse_scope(text: &str) -> Value {
    let (action, resource) = text.split_once(':').unwrap_or_else(|| panic!("{text} is not a scope"));
    let action = if action == "*" { "ANY".to_owned() } else { action.to_uppercase() };
    json!({ "action": action, "resource": resource })
}

impl Client {
    pub(super) fn new(base: &str, bearer: Option<&str>) -> Self {
        let config = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(PATIENCE));
        Self { agent: config.build().into(), base: base.to_owned(), bearer: bearer.map(str::to_owned) }
    }

    /// A POST; the answer's status and body, whatever they are.
    pub fn post(&self, path: &str, body: &Value) -> Result<(u16, Value), Failure> {
        let mut request =
            self.agent.post(format!("{}{path}", self.base)).header("Content-Type", "application/json");
        if let Some(bearer) = &self.bearer {
            request = request.header("Authorization", format!("Bearer {bearer}"));
        }
        let unanswered = |error: ureq::Error| Failure::Unanswered(error.to_string());
        let mut answer = request.send(body.to_string()).map_err(unanswered)?;
        let text = answer.body_mut().read_to_string().map_err(unanswered)?;
        Ok((answer.status().as_u16(), serde_json::from_str(&text).unwrap_or(Value::String(text))))
    }

    /// A GET; the answer's status and text.
    pub fn get(&self, path: &str) -> Result<(u16, String), Failure> {
        let mut request = self.agent.get(format!("{}{path}", self.base));
        if let Some(bearer) = &self.bearer {
            request = request.header("Authorization", format!("Bearer {bearer}"));
        }
        let unanswered = |error: ureq::Error| Failure::Unanswered(error.to_string());
        let mut answer = request.call().map_err(unanswered)?;
        let text = answer.body_mut().read_to_string().map_err(unanswered)?;
        Ok((answer.status().as_u16(), text))
    }

    /// A query or mutation; gives `data`. The first error is the failure.
    pub fn graphql(&self, query: &str, variables: &Value) -> Result<Value, Failure> {
        let (status, mut body) = self.post("/graphql", &json!({ "query": query, "variables": variables }))?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        if let Some(error) = body["errors"].get(0) {
            let (code, message) = (text(&error["extensions"]["code"]), text(&error["message"]));
            return Err(Failure::Refused { status, code, message });
        }
        accepted(status, &body)?;
        Ok(body["data"].take())
    }

    /// Asks whether a secret is valid.
    pub fn verify(&self, secret: &str) -> Result<Verification, Failure> {
        self.verify_with(&json!({ "key": secret }))
    }

    /// The same, with the whole body of the request.
    pub fn verify_with(&self, request: &Value) -> Result<Verification, Failure> {
        let (status, body) = self.post("/v1/verify", request)?;
        accepted(status, &body)?;
        let answer = body["valid"].as_bool().zip(body["code"].as_str().map(str::to_owned));
        let (valid, code) = answer.unwrap_or_else(|| panic!("not an answer to a verification: {body}"));
        Ok(Verification { valid, code, body })
    }

    /// Runs a mutation about a key: `rotateKey` with its input.
    pub fn mutate(&self, name: &str, input: &Value) -> Result<Mutated, Failure> {
        let secret = if matches!(name, "createKey" | "rotateKey" | "cloneKey") { "secret" } else { "" };
        let input_type = format!("{}{}Input", name[..1].to_uppercase(), &name[1..]);
        let query = format!(
            "mutation($input: {input_type}!) {{ {name}(input: $input) {{
                key {{ id name status secretVersion revision }}
                events {{ id type }} warnings {{ code message }} {secret}
            }} }}"
        );
        let mut answer = self.graphql(&query, &json!({ "input": input }))?[name].take();
        let list = |value: Value| value.as_array().cloned().unwrap_or_default();
        Ok(Mutated {
            key: answer["key"].take(),
            events: list(answer["events"].take()),
            warnings: list(answer["warnings"].take()),
            secret: answer["secret"].as_str().map(str::to_owned),
        })
    }

    /// A key to be created.
    pub fn create_key(&self, name: &str) -> CreateKey<'_> {
        let mut input = Map::new();
        input.insert("name".to_owned(), name.into());
        input.insert("environment".to_owned(), "PRODUCTION".into());
        input.insert("scopes".to_owned(), json!([]));
        CreateKey { client: self, input }
    }

    /// The fields of a key, named as in a query.
    pub fn key(&self, id: &str, fields: &str) -> Result<Value, Failure> {
        let query = format!("query($id: ID!) {{ key(id: $id) {{ {fields} }} }}");
        Ok(self.graphql(&query, &json!({ "id": id }))?["key"].take())
    }

    pub fn update_key(&self, id: &str, name: &str) -> Result<Mutated, Failure> {
        self.mutate("updateKey", &json!({ "id": id, "name": name }))
    }

    pub fn rotate_key(&self, id: &str, overlap_seconds: u32) -> Result<Mutated, Failure> {
        self.mutate("rotateKey", &json!({ "id": id, "overlapSeconds": overlap_seconds }))
    }

    pub fn disable_key(&self, id: &str) -> Result<Mutated, Failure> {
        self.mutate("disableKey", &json!({ "id": id }))
    }

    pub fn enable_key(&self, id: &str) -> Result<Mutated, Failure> {
        self.mutate("enableKey", &json!({ "id": id }))
    }

    pub fn revoke_key(&self, id: &str, reason: &str) -> Result<Mutated, Failure> {
        self.mutate("revokeKey", &json!({ "id": id, "reason": reason }))
    }

    pub fn delete_key(&self, id: &str) -> Result<Mutated, Failure> {
        self.mutate("deleteKey", &json!({ "id": id }))
    }
}

/// HTTP's own refusals: `{"error":{"code","message"}}`.
fn accepted(status: u16, body: &Value) -> Result<(), Failure> {
    if status == 200 {
        return Ok(());
    }
    let text = |name: &str| body["error"][name].as_str().map(str::to_owned);
    let message = text("message").unwrap_or_else(|| body.to_string());
    Err(Failure::Refused { status, code: text("code").unwrap_or_default(), message })
}

/// A key to be created.
pub struct CreateKey<'a> {
    client: &'a Client,
    input: Map<String, Value>,
}

impl CreateKey<'_> {
    /// One more scope: `read:customers/**`.
    #[must_use]
    pub fn scope(mut self, scope: &str) -> Self {
        if let Some(Value::Array(scopes)) = self.input.get_mut("scopes") {
            scopes.push(parse_scope(scope));
        }
        self
    }

    /// Any field of the input.
    #[must_use]
    pub fn with(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.input.insert(field.to_owned(), value.into());
        self
    }

    /// Creates it.
    pub fn run(self) -> Mutated {
        self.try_run().unwrap_or_else(|failure| panic!("createKey: {failure:?}"))
    }

    /// Creates it, or not.
    pub fn try_run(self) -> Result<Mutated, Failure> {
        self.client.mutate("createKey", &Value::Object(self.input))
    }
}
