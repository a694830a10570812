//! The GraphQL documents that are sent.

const KEY: &str = "\
fragment KeyFields on Key {
  id name status environment prefix email
  workspace { id name }
  organization { id name }
  scopes { action resource text }
  grants { role organizationId workspaceId }
  allowedCidrs metadata
  secretHint secretVersion secretIssuedAt secretAcknowledgedAt
  previousSecret { version hint validUntil }
  expiresAt createdAt createdBy { kind id email } updatedAt
  revocation { at reason comment } deletedAt clonedFrom
  lastUsedAt lastUsedIp usage { valid refused lastCode } revision
}";

/// Who the caller is.
pub const VIEWER: &str = "\
query {
  viewer {
    keyId email
    key { id name status environment workspace { id name } secretHint expiresAt }
    organization { id name slug }
    grants { role organizationId workspaceId }
  }
}";

/// The id of the caller's organization.
pub const OWN_ORGANIZATION: &str = "query { viewer { organization { id } } }";

/// A page of workspaces.
pub const WORKSPACES: &str = "\
query($first: Int, $after: String) {
  workspaces(first: $first, after: $after) {
    nodes { id name createdAt }
    pageInfo { hasNextPage endCursor }
  }
}";

/// Makes a workspace.
pub const CREATE_WORKSPACE: &str = "\
mutation($input: CreateWorkspaceInput!) {
  createWorkspace(input: $input) {
    workspace { id name createdAt }
    events { id type at }
    warnings { code message }
  }
}";

/// What a confirmation shows of a key.
pub const KEY_TO_CONFIRM: &str = "query($id: ID!) { key(id: $id) { id name environment status } }";

/// A page of a key's trail.
pub const TRAIL: &str = "\
query($id: ID!, $first: Int, $after: String, $direction: OrderDirection) {
  key(id: $id) {
    id name status
    events(first: $first, after: $after, direction: $direction) {
      nodes {
        id type version stream revision position logIndex at
        actor { kind id email role } source { ip userAgent } request cause outcome
        organizationId workspaceId keyId data rawBytes hash previousHash
        changes { field before after }
      }
      pageInfo { hasNextPage endCursor }
    }
  }
}";

/// A key.
pub fn key() -> String {
    format!("query($id: ID!) {{ key(id: $id) {{ ...KeyFields effectiveScopes {{ text }} }} }}\n{KEY}")
}

/// A page of keys.
pub fn keys() -> String {
    format!(
        "query($filter: KeyFilter, $orderBy: KeyOrder, $first: Int, $after: String) {{\n\
         keys(filter: $filter, orderBy: $orderBy, first: $first, after: $after) {{\n\
         totalCount nodes {{ ...KeyFields }} pageInfo {{ hasNextPage endCursor }}\n}} }}\n{KEY}"
    )
}

/// A mutation about a key.
#[derive(Clone, Copy, Debug)]
pub struct Mutation {
    /// The field.
    pub field: &'static str,
    /// Whether its payload has a secret.
    pub with_secret: bool,
}

const fn mutation(field: &'static str, with_secret: bool) -> Mutation {
    Mutation { field, with_secret }
}

/// Makes a key.
pub const CREATE: Mutation = mutation("createKey", true);
/// Makes a key like another.
pub const CLONE: Mutation = mutation("cloneKey", true);
/// Gives a new secret.
pub const ROTATE: Mutation = mutation("rotateKey", true);
/// Changes settings.
pub const UPDATE: Mutation = mutation("updateKey", false);
/// Records that the secret was stored.
pub const ACKNOWLEDGE: Mutation = mutation("acknowledgeKeySecret", false);
/// Stops for now.
pub const DISABLE: Mutation = mutation("disableKey", false);
/// Starts again.
pub const ENABLE: Mutation = mutation("enableKey", false);
/// Cuts off for ever.
pub const REVOKE: Mutation = mutation("revokeKey", false);
/// Removes from lists.
pub const DELETE: Mutation = mutation("deleteKey", false);

impl Mutation {
    /// The document. The type of an input is called after its field.
    pub fn document(self) -> String {
        let Self { field, with_secret } = self;
        let input = format!("{}{}Input", field[..1].to_uppercase(), &field[1..]);
        let secret = if with_secret { " secret" } else { "" };
        format!(
            "mutation($input: {input}!) {{ {field}(input: $input) {{\n\
             key {{ ...KeyFields }}{secret} events {{ id type at }} warnings {{ code message }}\n}} }}\n{KEY}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHANGES: [Mutation; 9] =
        [CREATE, CLONE, ROTATE, UPDATE, ACKNOWLEDGE, DISABLE, ENABLE, REVOKE, DELETE];

    #[test]
    fn every_document_is_graphql() {
        let fixed = [VIEWER, OWN_ORGANIZATION, WORKSPACES, CREATE_WORKSPACE, KEY_TO_CONFIRM, TRAIL];
        let changes = CHANGES.map(Mutation::document);
        for document in fixed.map(String::from).into_iter().chain(changes).chain([key(), keys()]) {
            async_graphql::parser::parse_query(&document).expect(&document);
        }
    }

    #[test]
    fn every_change_is_one_that_the_api_has() {
        let sdl = crate::graphql::sdl();
        assert!(sdl.contains("createWorkspace(input: CreateWorkspaceInput!)"));
        for change in CHANGES {
            let document = change.document();
            let input = document.split_once("$input: ").and_then(|(_, rest)| rest.split_once(')')).unwrap().0;
            let wanted = format!("{}(input: {input})", change.field);
            assert!(sdl.contains(&wanted), "{wanted}");
        }
    }

    #[test]
    fn the_secret_is_asked_for_only_where_there_is_one() {
        assert!(ROTATE.document().contains("} secret events"));
        assert!(!DISABLE.document().contains("} secret events"));
    }
}
