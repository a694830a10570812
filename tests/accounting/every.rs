//! Every kind of verification that there is, once and on purpose: random traffic may leave out any of them.

use std::thread;
use std::time::Duration;

use keyledger::edge::{Edge, Stopwatch};
use serde_json::{Value, json};

use crate::cast::{Cast, mutated};
use crate::support::{Client, Mutated, Server};
use crate::traffic::{Asker, MALFORMED};

/// Floods, of which one would do if the recorder took all of it at once.
const FLOODS: usize = 10;
const PATIENCE: Duration = Duration::from_mins(2);

impl Asker {
    /// Asks all of it, while nobody else does.
    pub fn every_kind(&mut self, server: &Server, cast: &Cast) {
        let root = server.root();
        let create = |input: Value| -> Mutated {
            let mut input = input;
            input["name"] = "one of a kind".into();
            input["environment"] = "PRODUCTION".into();
            if input.get("workspaceId").is_none() {
                input["workspaceId"] = cast.workspaces[0].as_str().into();
            }
            root.mutate("createKey", &input).unwrap_or_else(|failure| panic!("createKey: {failure:?}"))
        };
        let identity = json!({ "externalId": format!("of a kind {}", self.told.len()) });
        let identity =
            mutated(&root, "createIdentity", &identity, "identity { id }")["identity"]["id"].take();

        let plain = create(json!({ "roleIds": cast.roles, "identityId": identity }));
        let all = json!({ "ip": "2001:db8::7", "tags": ["plan:pro", "x"], "cost": 0 });
        self.told_of(&root, &plain.secret(), &all, "VALID");
        self.told_of(&root, &plain.secret(), &json!({ "environment": "staging" }), "WRONG_ENVIRONMENT");
        let beyond = json!({ "action": "write", "resource": "nothing" });
        self.told_of(&root, &plain.secret(), &beyond, "INSUFFICIENT_SCOPE");
        let second = root.rotate_key(&plain.id(), 3_600).unwrap().secret();
        self.told_of(&root, &second, &json!({}), "VALID");
        let third = root.rotate_key(&plain.id(), 0).unwrap().secret();
        self.told_of(&root, &second, &json!({}), "NOT_FOUND");
        self.told_of(&root, MALFORMED, &json!({}), "MALFORMED");

        let counted = create(json!({ "credits": { "remaining": 2 } }));
        self.told_of(&root, &counted.secret(), &json!({ "cost": 2 }), "VALID");
        self.told_of(&root, &counted.secret(), &json!({}), "CREDITS_EXHAUSTED");
        let month = json!([{ "name": "month", "limit": 1, "windowSeconds": 2_678_400 }]);
        let limited = create(json!({ "rateLimits": month }));
        self.told_of(&root, &limited.secret(), &json!({}), "VALID");
        self.told_of(&root, &limited.secret(), &json!({}), "RATE_LIMITED");
        let near = create(json!({ "allowedCidrs": ["203.0.113.0/24"] }));
        self.told_of(&root, &near.secret(), &json!({ "ip": "198.51.100.1" }), "IP_NOT_ALLOWED");
        let off = create(json!({}));
        root.disable_key(&off.id()).unwrap();
        self.told_of(&root, &off.secret(), &json!({}), "DISABLED");
        root.revoke_key(&off.id(), "UNUSED").unwrap();
        self.told_of(&root, &off.secret(), &json!({}), "REVOKED");
        let below = create(json!({ "workspaceId": cast.workspaces[2] }));
        for (enabled, code) in [(false, "KEYS_DISABLED"), (true, "VALID")] {
            let switch = json!({ "id": cast.below, "apiKeysEnabled": enabled });
            mutated(&root, "setOrganizationPolicy", &switch, "events { id }");
            self.told_of(&root, &below.secret(), &json!({}), code);
        }
        self.until_it_expires(&root, create);
        self.by_token(server, &root, &plain.id(), &third);
        // Asked by nobody, of no organization and of a key.
        self.logs_in(server, cast, false).unwrap();
        self.logs_in(server, cast, true).unwrap();
        for _ in 0..FLOODS {
            self.floods(&root).unwrap();
        }
    }

    fn told_of(&mut self, client: &Client, secret: &str, more: &Value, code: &str) {
        let mut question = more.clone();
        question["key"] = secret.into();
        assert_eq!(self.puts(client, &question, None).unwrap().as_deref(), Some(code), "{question}");
    }

    fn until_it_expires(&mut self, root: &Client, create: impl Fn(Value) -> Mutated) {
        let end = Edge::default().now().plus(Duration::from_secs(2)).to_string();
        let short = create(json!({ "expiresAt": end }));
        let waiting = Stopwatch::start();
        while self.puts(root, &json!({ "key": short.secret() }), None).unwrap().as_deref() != Some("EXPIRED")
        {
            assert!(waiting.elapsed() < PATIENCE, "the key does not expire");
            thread::sleep(Duration::from_millis(200));
        }
    }

    /// Tokens of a key: for whoever asks, for somebody else, asked about, and revoked.
    fn by_token(&mut self, server: &Server, root: &Client, id: &str, secret: &str) {
        let theirs = self.exchanges(server, id, secret, true).unwrap().expect("a token");
        self.told_of(root, &theirs, &json!({}), "WRONG_AUDIENCE");
        let token = self.exchanges(server, id, secret, false).unwrap().expect("a token");
        self.told_of(root, &token, &json!({}), "VALID");
        for path in ["/oauth/introspect", "/oauth/revoke"] {
            self.as_client(server, path, id, secret, &token).unwrap();
        }
        self.told_of(root, &token, &json!({}), "TOKEN_REVOKED");
    }
}
