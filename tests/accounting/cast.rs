//! Who takes part: organizations, workspaces, identities, roles and keys of every kind.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use keyledger::edge::Edge;
use serde_json::{Value, json};

use crate::random::Random;
use crate::support::{Client, Home, Mutated, Server, Tenant};

/// A key and the secrets that it ever had.
#[derive(Clone)]
pub struct Card {
    pub id: String,
    pub secrets: Vec<String>,
    /// Whether it belongs to the other tenant.
    pub foreign: bool,
}

/// See the head of this module.
pub struct Cast {
    pub home: Arc<Home>,
    pub other: Tenant,
    /// An organization below the first tenant.
    pub below: String,
    /// Of the first tenant and below it.
    pub workspaces: Vec<String>,
    pub identities: Vec<String>,
    pub roles: Vec<String>,
    pub cards: Mutex<Vec<Card>>,
    /// Secrets of those who may verify: some everything of their tenant, one a workspace only.
    pub verifiers: Vec<String>,
    /// May read the trail of the first workspace, and nothing else.
    pub auditor: String,
    /// A key that may not log in, and is never changed.
    pub login: Card,
    /// A key that is verified once after everything else.
    pub sentinel: Card,
}

/// The answer to a mutation.
pub fn mutated(client: &Client, mutation: &str, input: &Value, fields: &str) -> Value {
    let input_type = format!("{}{}Input", mutation[..1].to_uppercase(), &mutation[1..]);
    let query = format!("mutation($input: {input_type}!) {{ {mutation}(input: $input) {{ {fields} }} }}");
    let answer = client.graphql(&query, &json!({ "input": input }));
    answer.unwrap_or_else(|failure| panic!("{mutation}: {failure:?}"))[mutation].take()
}

fn id_of(made: &Value) -> String {
    made["id"].as_str().unwrap().to_owned()
}

fn scopes() -> Value {
    json!([{ "action": "READ", "resource": "customers/**" }, { "action": "WRITE", "resource": "customers/1" }])
}

fn card(made: &Mutated, foreign: bool) -> Card {
    Card { id: made.id(), secrets: vec![made.secret()], foreign }
}

impl Cast {
    /// Makes all of them.
    pub fn new(home: &Arc<Home>, other: Tenant, server: &Server, random: &mut Random) -> Self {
        let root = server.root();
        let tenant = home.tenant();
        let made = mutated(&root, "createOrganization", &json!({ "name": "Below" }), "organization { id }");
        let below = id_of(&made["organization"]);
        mutated(&root, "bootstrapOrganization", &json!({ "id": below }), "organization { id }");
        let workspace = |organization: &str, name: &str| {
            let input = json!({ "organizationId": organization, "name": name });
            id_of(&mutated(&root, "createWorkspace", &input, "workspace { id }")["workspace"])
        };
        let workspaces = vec![
            tenant.workspace.clone(),
            workspace(&tenant.organization, "second"),
            workspace(&below, "third"),
        ];
        let roles: Vec<String> = ["support", "sales"]
            .iter()
            .map(|name| {
                let role = [json!({ "action": "ADMIN", "resource": "customers/2" })];
                let input = json!({ "name": name, "scopes": role });
                id_of(&mutated(&root, "createRole", &input, "role { id }")["role"])
            })
            .collect();
        let limits = json!([{ "name": "shared", "limit": 60, "windowSeconds": 3_600 }]);
        let identities: Vec<String> = [(&tenant.organization, 0), (&tenant.organization, 1), (&below, 2)]
            .iter()
            .map(|(organization, n)| {
                let limits = if *n == 0 { limits.clone() } else { json!([]) };
                let input =
                    json!({ "organizationId": organization, "externalId": format!("customer {n}"), "rateLimits": limits });
                id_of(&mutated(&root, "createIdentity", &input, "identity { id }")["identity"])
            })
            .collect();
        for (at, credits) in [(0, 15), (2, 12)] {
            let input = json!({ "id": identities[at], "remaining": credits, "reason": "bought" });
            mutated(&root, "setCredits", &input, "events { id }");
        }
        let mut cast = Self {
            home: Arc::clone(home),
            verifiers: vec![tenant.root_key.clone(), tenant.root_key.clone(), other.root_key.clone()],
            other,
            below,
            workspaces,
            identities,
            roles,
            cards: Mutex::default(),
            auditor: String::new(),
            login: Card { id: String::new(), secrets: Vec::new(), foreign: false },
            sentinel: Card { id: String::new(), secrets: Vec::new(), foreign: false },
        };
        cast.issue(server, &root, random);
        cast
    }

    fn issue(&mut self, server: &Server, root: &Client, random: &mut Random) {
        let (first, second, third) = (&self.workspaces[0], &self.workspaces[1], &self.workspaces[2]);
        let (r, i) = (&self.roles, &self.identities);
        let refill = json!({ "remaining": 10, "refillAmount": 20, "refillIntervalSeconds": 86_400 });
        let burst = json!([{ "name": "burst", "limit": 6, "windowSeconds": 3_600 }]);
        let networks = json!(["203.0.113.0/24", "2001:db8::/32"]);
        let mut inputs = vec![
            json!({ "workspaceId": first, "environment": "PRODUCTION", "roleIds": [r[0]], "identityId": i[0] }),
            json!({ "workspaceId": first, "environment": "STAGING", "roleIds": [r[0], r[1]], "identityId": i[0] }),
            json!({ "workspaceId": first, "environment": "DEVELOPMENT", "credits": refill }),
            json!({ "workspaceId": second, "environment": "PRODUCTION", "rateLimits": burst }),
            json!({ "workspaceId": second, "environment": "STAGING", "identityId": i[1], "credits": { "remaining": 8 },
                "allowedCidrs": networks }),
            json!({ "workspaceId": second, "environment": "PRODUCTION", "roleIds": [r[1]], "expiresAt": "soon" }),
            json!({ "workspaceId": third, "environment": "PRODUCTION", "identityId": i[2] }),
            json!({ "workspaceId": third, "environment": "STAGING" }),
        ];
        for _ in 0..9 {
            let environment = ["PRODUCTION", "STAGING", "DEVELOPMENT"][random.below(3)];
            let roles = &r[..random.below(3)];
            let workspace = &self.workspaces[random.below(2)];
            inputs.push(json!({ "workspaceId": workspace, "environment": environment, "roleIds": roles }));
        }
        let create = |client: &Client, name: &str, mut input: Value| {
            input["name"] = name.into();
            input["scopes"] = scopes();
            if input["expiresAt"] == "soon" {
                input["expiresAt"] = Edge::default().now().plus(Duration::from_secs(5)).to_string().into();
            }
            client.mutate("createKey", &input).unwrap_or_else(|failure| panic!("createKey: {failure:?}"))
        };
        let mut cards: Vec<Card> = inputs
            .into_iter()
            .enumerate()
            .map(|(n, input)| card(&create(root, &format!("key {n}"), input), false))
            .collect();
        let theirs = server.client(&self.other.root_key);
        for n in 0..2 {
            let made = create(&theirs, &format!("their key {n}"), json!({ "environment": "PRODUCTION" }));
            cards.push(card(&made, true));
        }
        let plain = json!({ "workspaceId": first, "environment": "PRODUCTION" });
        let login = card(&create(root, "login", plain.clone()), false);
        let sentinel = card(&create(root, "sentinel", plain), false);
        let granted = |role: &str| {
            let grants = json!([{ "role": role, "workspaceId": first }]);
            let input = json!({ "workspaceId": first, "environment": "PRODUCTION", "grants": grants });
            create(root, role, input).secret()
        };
        let (verifier, auditor) = (granted("VERIFIER"), granted("AUDITOR"));
        self.verifiers.push(verifier);
        self.auditor = auditor;
        self.login = login;
        self.sentinel = sentinel;
        *self.cards.lock().unwrap() = cards;
    }

    /// Changes keys, while they are verified: whatever may become of them. `round` counts from 0.
    pub fn change(&self, server: &Server, random: &mut Random, round: usize) {
        let root = server.root();
        let ids: Vec<String> = self.cards.lock().unwrap().iter().map(|card| card.id.clone()).collect();
        for at in [8 + round % 2, 1, 2] {
            let overlap = if random.below(3) == 0 { 0 } else { 3_600 };
            let Ok(rotated) = root.rotate_key(&ids[at], overlap) else { continue };
            self.cards.lock().unwrap()[at].secrets.push(rotated.secret());
        }
        let credits = json!({ "id": ids[2], "by": 7, "reason": "more" });
        mutated(&root, "adjustCredits", &credits, "events { id }");
        let credits = json!({ "id": self.identities[0], "by": 9, "reason": "more" });
        mutated(&root, "adjustCredits", &credits, "events { id }");
        let roles = json!({ "id": ids[0], "roleIds": [self.roles[(round + 1) % 2]] });
        root.mutate("updateKey", &roles).unwrap();
        let identity = json!({ "id": ids[3], "identityId": self.identities[round % 2] });
        root.mutate("updateKey", &identity).unwrap();
        let switch = json!({ "id": self.below, "apiKeysEnabled": round % 2 == 1 });
        mutated(&root, "setOrganizationPolicy", &switch, "events { id }");
        match round {
            0 => {
                root.disable_key(&ids[10]).unwrap();
                root.revoke_key(&ids[11], "COMPROMISED").unwrap();
            }
            1 => {
                root.enable_key(&ids[10]).unwrap();
                root.revoke_key(&ids[12], "UNUSED").unwrap();
                root.delete_key(&ids[12]).unwrap();
            }
            _ => {}
        }
    }
}
