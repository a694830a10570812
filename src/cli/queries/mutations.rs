//! The changes that are sent.

use super::{IDENTITY, KEY, ORGANIZATION, ROLE, WORKSPACE};

/// A mutation about one thing.
#[derive(Clone, Copy, Debug)]
pub struct Mutation {
    /// The field.
    pub field: &'static str,
    /// The thing in its payload: `key`, `role` …
    pub object: &'static str,
    /// What else is asked for.
    extra: &'static str,
}

const SECRET: &str = " secret";

/// What the payload's organization is asked for besides.
const SIGNING_KEYS: &str = " organization { signingKeys {
    generation kid publicKey status addedAt signsFrom retiredAt revokedAt } }";

const fn of_key(field: &'static str, extra: &'static str) -> Mutation {
    Mutation { field, object: "key", extra }
}

const fn of(object: &'static str, field: &'static str) -> Mutation {
    Mutation { field, object, extra: "" }
}

const fn of_signing_keys(field: &'static str) -> Mutation {
    Mutation { field, object: "organization", extra: SIGNING_KEYS }
}

/// Makes a key.
pub const CREATE: Mutation = of_key("createKey", SECRET);
/// Makes a key like another.
pub const CLONE: Mutation = of_key("cloneKey", SECRET);
/// Gives a new secret.
pub const ROTATE: Mutation = of_key("rotateKey", SECRET);
/// Changes settings.
pub const UPDATE: Mutation = of_key("updateKey", "");
/// Records that the secret was stored.
pub const ACKNOWLEDGE: Mutation = of_key("acknowledgeKeySecret", "");
/// Stops for now.
pub const DISABLE: Mutation = of_key("disableKey", "");
/// Starts again.
pub const ENABLE: Mutation = of_key("enableKey", "");
/// Cuts off for ever.
pub const REVOKE: Mutation = of_key("revokeKey", "");
/// Makes its tokens fail.
pub const REVOKE_TOKENS: Mutation = of_key("revokeTokens", "");
/// Removes from lists.
pub const DELETE: Mutation = of_key("deleteKey", "");
/// Makes an organization.
pub const CREATE_ORGANIZATION: Mutation = of("organization", "createOrganization");
/// Makes its signing key.
pub const BOOTSTRAP: Mutation = of("organization", "bootstrapOrganization");
/// Calls it otherwise.
pub const RENAME_ORGANIZATION: Mutation = of("organization", "renameOrganization");
/// Puts it below another.
pub const MOVE: Mutation = of("organization", "moveOrganization");
/// Changes its rules, and tells which keys break them.
pub const SET_POLICY: Mutation = Mutation {
    field: "setOrganizationPolicy",
    object: "organization",
    extra: " violations { count keys { key { id name environment expiresAt } violations { rule bound value } } }",
};
/// Adds a key that will sign its tokens.
pub const ROTATE_SIGNING_KEY: Mutation = of_signing_keys("rotateSigningKey");
/// Makes the tokens of a signing key fail.
pub const REVOKE_SIGNING_KEY: Mutation = of_signing_keys("revokeSigningKey");
/// Makes a workspace.
pub const CREATE_WORKSPACE: Mutation = of("workspace", "createWorkspace");
/// Calls it otherwise.
pub const RENAME_WORKSPACE: Mutation = of("workspace", "renameWorkspace");
/// Sets how many keys it may have.
pub const SET_QUOTA: Mutation = of("workspace", "setWorkspaceQuota");
/// Defines a role.
pub const CREATE_ROLE: Mutation = of("role", "createRole");
/// Changes it.
pub const UPDATE_ROLE: Mutation = of("role", "updateRole");
/// Takes it away; what is left is its organization.
pub const DELETE_ROLE: Mutation = of("organization", "deleteRole");
/// Makes an identity.
pub const CREATE_IDENTITY: Mutation = of("identity", "createIdentity");
/// Changes it.
pub const UPDATE_IDENTITY: Mutation = of("identity", "updateIdentity");
/// Takes it from lists.
pub const DELETE_IDENTITY: Mutation = of("identity", "deleteIdentity");
/// Makes personal data unreadable for good.
pub const ERASE_SUBJECT: &str = "mutation($input: EraseSubjectInput!) { eraseSubject(input: $input) {
    complete keys { id } identity { id } events { id type at } warnings { code message } } }";
/// Sets the credits of a key.
pub const SET_CREDITS_OF_KEY: Mutation = of("key", "setCredits");
/// Sets the credits of an identity.
pub const SET_CREDITS_OF_IDENTITY: Mutation = of("identity", "setCredits");
/// Changes how many credits a key has.
pub const ADJUST_CREDITS_OF_KEY: Mutation = of("key", "adjustCredits");
/// Changes how many credits an identity has.
pub const ADJUST_CREDITS_OF_IDENTITY: Mutation = of("identity", "adjustCredits");

impl Mutation {
    /// Whether its payload has a secret.
    pub fn with_secret(self) -> bool {
        self.extra == SECRET
    }

    /// The document. The type of an input is called after its field, a fragment after its type.
    pub fn document(self) -> String {
        let Self { field, object, extra } = self;
        let capital = |name: &str| format!("{}{}", name[..1].to_uppercase(), &name[1..]);
        let (input, fields) = (capital(field), capital(object));
        let fragment = match object {
            "key" => KEY,
            "organization" => ORGANIZATION,
            "workspace" => WORKSPACE,
            "identity" => IDENTITY,
            _ => ROLE,
        };
        format!(
            "mutation($input: {input}Input!) {{ {field}(input: $input) {{\n\
             {object} {{ ...{fields}Fields }}{extra} events {{ id type at }} warnings {{ code message }}\n}} }}\n\
             {fragment}"
        )
    }
}
