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
    email
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

/// A mutation about a key. `with_secret` for those whose payload has one.
pub fn change(field: &str, with_secret: bool) -> String {
    let input = format!("{}{}Input", field[..1].to_uppercase(), &field[1..]);
    let secret = if with_secret { " secret" } else { "" };
    format!(
        "mutation($input: {input}!) {{ {field}(input: $input) {{\n\
         key {{ ...KeyFields }}{secret} events {{ id type at }} warnings {{ code message }}\n}} }}\n{KEY}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_document_is_graphql() {
        let documents = [
            VIEWER.into(),
            OWN_ORGANIZATION.into(),
            WORKSPACES.into(),
            CREATE_WORKSPACE.into(),
            KEY_TO_CONFIRM.into(),
            TRAIL.into(),
            key(),
            keys(),
            change("rotateKey", true),
            change("disableKey", false),
        ];
        for document in documents {
            async_graphql::parser::parse_query(&document).expect(&document);
        }
    }

    #[test]
    fn a_change_names_its_input_and_asks_for_the_secret_only_where_there_is_one() {
        let rotate = change("rotateKey", true);
        assert!(rotate.starts_with("mutation($input: RotateKeyInput!) { rotateKey(input: $input)"));
        assert!(rotate.contains("} secret events"));
        assert!(!change("disableKey", false).contains("} secret events"));
    }
}
