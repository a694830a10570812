//! The read model can be deleted: the log gives the same answers again.

use std::fs;

use serde_json::{Value, json};

use crate::ask::{
    attempt, create_workspace, data, eventually, in_millis, manager, short_lived, types, world,
};
use crate::support::{Client, Server};

const QUESTIONS: &str = "
    fragment Whole on Key { id name status environment prefix workspace { id name } organization { id name slug }
        scopes { text } effectiveScopes { text } grants { role organizationId workspaceId } allowedCidrs metadata email
        secretHint secretVersion secretIssuedAt secretAcknowledgedAt previousSecret { version hint validUntil } expiresAt
        createdAt createdBy { kind id email role } updatedAt revocation { at reason comment } deletedAt clonedFrom
        revision lastUsedAt lastUsedIp usage { valid refused lastCode }
        events(first: 20, filter: { to: $until }) { totalCount edges { cursor node { id } } } }
    query {
        created: keys(first: 20, filter: $all) { totalCount edges { cursor node { ...Whole } } }
        named: keys(first: 20, filter: $all, orderBy: { field: NAME }) { edges { cursor node { id } } }
        expiring: keys(first: 20, filter: $all, orderBy: { field: EXPIRES_AT }) { edges { cursor node { id } } }
        open: keys(filter: { secretAcknowledged: false }) { nodes { id } }
        found: keys(filter: { search: \"b\" }) { nodes { id } }
        unused: keys(filter: { unusedSince: \"2999-01-01T00:00:00Z\" }) { nodes { id } }
        events(first: 100, filter: { to: $until }) { totalCount edges { cursor node { id type revision position
            logIndex at outcome keyId rawBytes hash previousHash changes { field before after } } } }
        workspaces { edges { cursor node { id name createdAt } } }
        organization { id name slug createdAt bootstrapped signingPublicKey }
        viewer { keyId email grants { role organizationId } key { id } }
    }";

fn answers(client: &Client, until: &str) -> Value {
    let all = "{ statuses: [ACTIVE, INACTIVE, EXPIRED, REVOKED, DELETED] }";
    data(client, &QUESTIONS.replace("$all", all).replace("$until", &format!("{until:?}")), &json!({}))
}

#[test]
fn a_read_model_that_was_deleted_answers_as_before() {
    let world = world();
    let root = &world.root;
    create_workspace(root, "second");
    let used = root.create_key("b used").with("workspaceId", world.workspace.as_str()).run();
    let create = |name: &str| root.create_key(name).with("workspaceId", world.workspace.as_str());
    let expired = short_lived(|end| create("expired").with("expiresAt", end).try_run().ok()).id();
    for (name, mutation) in
        [("off", "disableKey"), ("deleted", "deleteKey"), ("copied", "acknowledgeKeySecret")]
    {
        let id = create(name).run().id();
        root.mutate(mutation, &json!({ "id": id })).unwrap();
    }
    let id = create("revoked").with("metadata", json!({ "n": 0.1 })).run().id();
    root.mutate("revokeKey", &json!({ "id": id, "reason": "OTHER", "comment": "b" })).unwrap();
    attempt(root, "enableKey", &json!({ "id": id }));
    root.rotate_key(&create("rotated").run().id(), 86_400).unwrap();
    root.mutate("cloneKey", &json!({ "id": used.id() })).unwrap();
    manager(root, "AUDITOR", &world.workspace);
    for _ in 0..3 {
        assert!(root.verify(&used.secret()).unwrap().valid);
    }
    root.verify_with(&json!({ "key": used.secret(), "environment": "staging", "ip": "2001:db8::1" }))
        .unwrap();
    eventually("the expiry", || types(root, &expired).last().is_some_and(|last| last == "key.expired"));
    let counted = |client: &Client| {
        let key = client.key(&used.id(), "usage { valid refused } lastUsedIp").unwrap();
        key == json!({ "usage": { "valid": 3, "refused": 1 }, "lastUsedIp": "2001:db8::1" })
    };
    eventually("the count", || counted(root));
    let until = in_millis(0);
    let (ours, theirs) = (answers(root, &until), answers(&world.other, &until));
    assert_eq!(ours["created"]["totalCount"], 10);

    let home = world.server.stop();
    let mut deleted = 0;
    for entry in fs::read_dir(home.data_dir()).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_string_lossy().starts_with("readmodel.db") {
            fs::remove_file(path).unwrap();
            deleted += 1;
        }
    }
    assert!(deleted > 0);
    let server = Server::start(&home, &[]);
    eventually("the count", || counted(&server.root()));
    assert_eq!(answers(&server.root(), &until).to_string(), ours.to_string());
    let other = server.client(&world.other_tenant.root_key);
    assert_eq!(answers(&other, &until).to_string(), theirs.to_string());
    assert!(server.root().verify(&used.secret()).unwrap().valid);
}
