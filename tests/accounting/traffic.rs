//! Random verifications over every way that there is, and what was answered.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use keyledger::edge::Edge;
use serde_json::{Map, Value, json};

use crate::cast::Cast;
use crate::random::Random;
use crate::support::{Client, Failure, Server};

pub const TAGS: [&str; 4] = ["plan:pro", "plan:free", "region=eu", "x"];
pub const ADDRESSES: [&str; 6] =
    ["203.0.113.7", "203.0.113.8", "198.51.100.1", "2001:db8::7", "2001:db9::1", "::ffff:203.0.113.9"];
/// So that there are thousands of verifications on a fast machine, not millions.
const PAUSE: Duration = Duration::from_millis(8);
pub const MALFORMED: &str = "kl_prod_0000000000000000000000000000000000000000000";

/// An answer.
pub struct Told {
    /// When it was there, in microseconds.
    pub at: i64,
    /// Whose secret matched, if it was told.
    pub key: Option<String>,
    pub code: String,
}

/// Asks until it is told to end.
pub struct Asker {
    random: Random,
    /// Tokens that keys were exchanged for, and of which key each is.
    tokens: Vec<(String, String)>,
    pub told: Vec<Told>,
    /// Questions to which no answer came.
    pub unanswered: u64,
}

fn now() -> i64 {
    Edge::default().now().micros()
}

impl Asker {
    pub fn new(random: Random) -> Self {
        Self { random, tokens: Vec::new(), told: Vec::new(), unanswered: 0 }
    }

    /// Only a kill may leave a question without an answer.
    pub fn work(&mut self, server: &Server, cast: &Cast, ending: &AtomicBool, killing: &AtomicBool) {
        while !ending.load(Ordering::SeqCst) {
            thread::sleep(PAUSE);
            let asked = match self.random.below(14) {
                0 | 1 => self.batch(server, cast),
                2 | 3 => self.authorize(server, cast),
                4 => self.login(server, cast),
                5 | 6 => self.exchange(server, cast),
                _ => self.verify(server, cast),
            };
            if let Err((failure, questions)) = asked {
                let expected = matches!(failure, Failure::Unanswered(_)) && killing.load(Ordering::SeqCst);
                assert!(expected, "{failure:?}\n{}", server.log());
                self.unanswered += questions;
                return;
            }
        }
    }

    fn tell(&mut self, key: Option<&str>, code: &str) {
        self.told.push(Told { at: now(), key: key.map(str::to_owned), code: code.to_owned() });
    }

    /// A secret or a token, and whose it is or was.
    fn presented(&mut self, cast: &Cast) -> (String, Option<String>) {
        if !self.tokens.is_empty() && self.random.below(6) == 0 {
            let (token, id) = &self.tokens[self.random.below(self.tokens.len())];
            return (token.clone(), Some(id.clone()));
        }
        self.secret(cast)
    }

    /// A secret, and whose it is or was.
    fn secret(&mut self, cast: &Cast) -> (String, Option<String>) {
        if self.random.below(20) == 0 {
            return (MALFORMED.to_owned(), None);
        }
        let cards = cast.cards.lock().unwrap();
        let card = &cards[self.random.below(cards.len())];
        let secret = &card.secrets[self.random.below(card.secrets.len())];
        (secret.clone(), Some(card.id.clone()))
    }

    fn some<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.random.below(of.len())]
    }

    fn question(&mut self, cast: &Cast) -> (Value, Option<String>) {
        let (secret, id) = self.presented(cast);
        let mut question = Map::new();
        question.insert("key".to_owned(), secret.into());
        if self.random.below(3) > 0 {
            question.insert("action".to_owned(), self.some(&["read", "read", "write", "admin"]).into());
            let resource = format!("customers/{}", self.random.below(4));
            question.insert("resource".to_owned(), resource.into());
        }
        if self.random.below(4) > 0 {
            question.insert("ip".to_owned(), self.some(&ADDRESSES).into());
        }
        if self.random.below(6) == 0 {
            let environment = self.some(&["production", "staging", "development"]);
            question.insert("environment".to_owned(), environment.into());
        }
        if self.random.below(3) == 0 {
            question.insert("cost".to_owned(), self.random.below(4).into());
        }
        if self.random.below(20) == 0 {
            question.insert("limits".to_owned(), json!([self.some(&["burst", "shared"])]));
        }
        let tags: Vec<&str> = (0..self.random.below(4)).map(|_| self.some(&TAGS)).collect();
        if !tags.is_empty() {
            question.insert("tags".to_owned(), json!(tags));
        }
        (Value::Object(question), id)
    }

    fn verifier(&mut self, server: &Server, cast: &Cast) -> Client {
        server.client(&cast.verifiers[self.random.below(cast.verifiers.len())])
    }

    /// An answer, or the refusal of a question that names a limit which its key does not have; the code of an answer.
    fn result(&mut self, result: &Value, id: Option<&str>) -> Option<String> {
        if let Some(code) = result["code"].as_str() {
            self.tell(result["keyId"].as_str(), code);
            return Some(code.to_owned());
        }
        let field = result["error"]["field"].as_str();
        assert!(field.is_some_and(|field| field.ends_with("limits")), "{result}");
        self.tell(id, "RATE_LIMITED");
        None
    }

    fn verify(&mut self, server: &Server, cast: &Cast) -> Result<(), (Failure, u64)> {
        let (question, id) = self.question(cast);
        let verifier = self.verifier(server, cast);
        self.puts(&verifier, &question, id.as_deref()).map(drop)
    }

    /// Puts a question about a secret or a token, and whose it is; the code of the answer.
    pub fn puts(
        &mut self,
        client: &Client,
        question: &Value,
        id: Option<&str>,
    ) -> Result<Option<String>, (Failure, u64)> {
        let asked = client.post("/v1/verify", question);
        let (status, answer) = asked.map_err(|failure| (failure, 1))?;
        assert!(status == 200 || status == 400, "{status} {answer}");
        Ok(self.result(&answer, id))
    }

    /// Some questions; now and then a flood.
    fn batch(&mut self, server: &Server, cast: &Cast) -> Result<(), (Failure, u64)> {
        let verifier = self.verifier(server, cast);
        if self.random.below(8) == 0 {
            return self.floods(&verifier);
        }
        let questions: Vec<_> = (0..=self.random.below(30)).map(|_| self.question(cast)).collect();
        self.puts_all(&verifier, &questions)
    }

    /// Asks about unknown keys from everywhere.
    pub fn floods(&mut self, client: &Client) -> Result<(), (Failure, u64)> {
        let flood = (0..100).map(|n| (json!({ "key": MALFORMED, "ip": format!("10.0.0.{n}") }), None));
        self.puts_all(client, &flood.collect::<Vec<_>>())
    }

    fn puts_all(
        &mut self,
        client: &Client,
        questions: &[(Value, Option<String>)],
    ) -> Result<(), (Failure, u64)> {
        let requests: Vec<&Value> = questions.iter().map(|(question, _)| question).collect();
        let asked = client.post("/v1/verify/batch", &json!({ "requests": requests }));
        let (status, answer) = asked.map_err(|failure| (failure, questions.len() as u64))?;
        assert_eq!(status, 200, "{answer}");
        let results = answer["results"].as_array().unwrap();
        assert_eq!(results.len(), questions.len());
        for (result, (_, id)) in results.iter().zip(questions) {
            self.result(result, id.as_deref());
        }
        Ok(())
    }

    fn authorize(&mut self, server: &Server, cast: &Cast) -> Result<(), (Failure, u64)> {
        let (secret, _) = self.presented(cast);
        let verifier = &cast.verifiers[self.random.below(cast.verifiers.len())];
        let tag = self.some(&TAGS);
        let query = match self.random.below(3) {
            0 => String::new(),
            1 => format!("?cost={}&tags={tag},x", self.random.below(3)),
            _ => format!("?action=read&resource=customers%2F{}", self.random.below(3)),
        };
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let request = agent.get(format!("{}/v1/authorize{query}", server.base()));
        let request = request.header("Authorization", format!("Bearer {secret}"));
        let answer = request.header("Keyledger-Verifier", verifier).call();
        let answer = answer.map_err(|error| (Failure::Unanswered(error.to_string()), 1))?;
        let header = |name: &str| answer.headers().get(name).map(|value| value.to_str().unwrap());
        let code = header("keyledger-code").unwrap_or_else(|| panic!("{}", answer.status()));
        self.tell(header("keyledger-key-id"), code);
        Ok(())
    }

    /// A secret for a token, which is presented at once and later; often one that is for somebody else, or is revoked.
    fn exchange(&mut self, server: &Server, cast: &Cast) -> Result<(), (Failure, u64)> {
        let (secret, id) = self.secret(cast);
        let id = id.unwrap_or_else(|| cast.login.id.clone());
        let for_another = self.random.below(3) == 0;
        let Some(token) = self.exchanges(server, &id, &secret, for_another)? else { return Ok(()) };
        for path in ["/oauth/revoke", "/oauth/introspect"] {
            if self.random.below(2) == 0 {
                self.as_client(server, path, &id, &secret, &token)?;
            }
        }
        self.tokens.push((token.clone(), id.clone()));
        let verifier = self.verifier(server, cast);
        self.puts(&verifier, &json!({ "key": token }), Some(&id)).map(drop)
    }

    /// Asks for a token, for whoever is asked or for somebody else.
    pub fn exchanges(
        &mut self,
        server: &Server,
        id: &str,
        secret: &str,
        for_another: bool,
    ) -> Result<Option<String>, (Failure, u64)> {
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let mut form =
            vec![("grant_type", "client_credentials"), ("client_id", id), ("client_secret", secret)];
        if for_another {
            form.push(("resource", "https://api.example"));
        }
        let answer = agent.post(format!("{}/oauth/token", server.base())).send_form(form);
        let mut answer = answer.map_err(|error| (Failure::Unanswered(error.to_string()), 1))?;
        let text = answer.body_mut().read_to_string();
        let text = text.map_err(|error| (Failure::Unanswered(error.to_string()), 1))?;
        let body: Value = serde_json::from_str(&text).unwrap_or_default();
        let token = body["access_token"].as_str().map(str::to_owned);
        match body["code"].as_str() {
            _ if token.is_some() => self.tell(Some(id), "VALID"),
            Some(code) => self.tell(Some(id), code),
            None if secret == MALFORMED => self.tell(None, "MALFORMED"),
            None => self.tell(None, "NOT_FOUND"),
        }
        Ok(token)
    }

    /// What a client asks about a token of its own. It is a use only if its secret has ended meanwhile.
    pub fn as_client(
        &mut self,
        server: &Server,
        path: &str,
        id: &str,
        secret: &str,
        token: &str,
    ) -> Result<(), (Failure, u64)> {
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let form = [("token", token), ("client_id", id), ("client_secret", secret)];
        let answer = agent.post(format!("{}{path}", server.base())).send_form(form);
        let answer = answer.map_err(|error| (Failure::Unanswered(error.to_string()), 1))?;
        if answer.status() == 401 {
            self.tell(None, "NOT_FOUND");
        }
        Ok(())
    }

    fn login(&mut self, server: &Server, cast: &Cast) -> Result<(), (Failure, u64)> {
        let plain = self.random.below(2) == 0;
        self.logs_in(server, cast, plain)
    }

    /// A call with what is no management key. It is recorded as the question would be.
    pub fn logs_in(&mut self, server: &Server, cast: &Cast, plain: bool) -> Result<(), (Failure, u64)> {
        let client = server.client(if plain { &cast.login.secrets[0] } else { MALFORMED });
        let path = self.some(&["/graphql", "/v1/verify"]);
        let asked = client.post(path, &json!({ "query": "{ viewer { keyId } }" }));
        let (status, answer) = asked.map_err(|failure| (failure, 1))?;
        assert_eq!(status, 401, "{answer}");
        if plain {
            self.tell(Some(&cast.login.id), "INSUFFICIENT_SCOPE");
        } else {
            self.tell(None, "MALFORMED");
        }
        Ok(())
    }
}
