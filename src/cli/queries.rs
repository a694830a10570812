//! The GraphQL documents that are sent.

mod mutations;
#[cfg(test)]
mod tests;

pub use mutations::*;

const KEY: &str = "\
fragment KeyFields on Key {
  id name status environment prefix email
  workspace { id name }
  organization { id name }
  scopes { action resource text }
  roles { id name displayName }
  effectiveScopes { action resource text displayName own byRoles }
  permissionSummary
  grants { role organizationId workspaceId }
  allowedCidrs rateLimits { name limit windowSeconds } metadata
  identity { id externalId name }
  credits { remaining refillAmount refillIntervalSeconds nextRefillAt spent }
  secretHint secretVersion secretIssuedAt secretAcknowledgedAt imported leakReportedAt
  previousSecret { version hint validUntil }
  expiresAt createdAt createdBy { kind id email } updatedAt
  revocation { at reason comment } deletedAt erasedAt clonedFrom
  firstUsedAt lastUsedAt lastUsedIp usage { valid refused lastCode } revision
}";

const ORGANIZATION: &str = "\
fragment OrganizationFields on Organization {
  id name slug createdAt revision parent { id name }
  apiKeysEnabled bootstrapped signingPublicKey
  policy { ...PolicyFields } effectivePolicy { ...PolicyFields }
}
fragment PolicyFields on Policy {
  apiKeysEnabled expiryRequired defaultTtl maxTtl requireAllowedCidrs
  maxRateLimit { limit windowSeconds } secretAcknowledgementRequired allowedEnvironments tokenLifetime
}";

const WORKSPACE: &str = "\
fragment WorkspaceFields on Workspace {
  id name createdAt revision quota keyCount organization { id name }
}";

const ROLE: &str = "\
fragment RoleFields on Role {
  id name displayName description
  scopes { action resource text displayName }
  organization { id name } createdAt updatedAt revision
}";

const IDENTITY: &str = "\
fragment IdentityFields on Identity {
  id externalId name rateLimits { name limit windowSeconds } metadata
  credits { remaining refillAmount refillIntervalSeconds nextRefillAt spent }
  organization { id name } createdAt updatedAt deletedAt revision
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

/// The newest signed checkpoint.
pub const CHECKPOINT: &str = "query { checkpoint { origin size root note } }";

/// The proof that an event is in the log.
pub const PROOF: &str = "\
query($id: ID!) {
  inclusionProof(eventId: $id) { logIndex treeSize leafHash hashes root entry tlogProof }
}";

/// The keys that sign checkpoints.
pub const LOG_KEYS: &str = "query { logKeys { generation verifierKey addedAt retiredAt } }";

/// The keys that sign an organization's tokens.
pub const SIGNING_KEYS_OF_ORGANIZATION: &str = "\
query($id: ID) {
  organization(id: $id) {
    id name signingKeys { generation kid publicKey status addedAt signsFrom retiredAt revokedAt }
  }
}";

/// The id of the caller's organization.
pub const OWN_ORGANIZATION: &str = "query { viewer { organization { id } } }";

/// The names of an organization's roles.
pub const ROLE_NAMES: &str = "query($id: ID) { roles(organizationId: $id) { id name } }";

/// The names of the roles that a workspace's keys can hold.
pub const ROLE_NAMES_OF_WORKSPACE: &str =
    "query($id: ID!) { workspace(id: $id) { organization { roles { id name } } } }";

/// The names of the roles that a key can hold.
pub const ROLE_NAMES_OF_KEY: &str = "query($id: ID!) { key(id: $id) { organization { roles { id name } } } }";

/// What a confirmation shows of an organization.
pub const ORGANIZATION_TO_CONFIRM: &str = "query($id: ID) { organization(id: $id) { id name } }";

/// What a confirmation shows of a role.
pub const ROLE_TO_CONFIRM: &str = "query($id: ID!) { role(id: $id) { id name displayName } }";

/// The organization of a workspace.
pub const ORGANIZATION_OF_WORKSPACE: &str = "query($id: ID!) { workspace(id: $id) { organization { id } } }";

/// The organization of a key.
pub const ORGANIZATION_OF_KEY: &str = "query($id: ID!) { key(id: $id) { organization { id } } }";

/// The id of an identity.
pub const IDENTITY_BY_EXTERNAL_ID: &str = "\
query($externalId: String!, $organizationId: ID) {
  identity(externalId: $externalId, organizationId: $organizationId) { id }
}";

/// What a confirmation shows of an identity.
pub const IDENTITY_TO_CONFIRM: &str = "query($id: ID!) { identity(id: $id) { id externalId } }";

/// The credits of a key, and those that it shares.
pub const CREDITS_OF_KEY: &str = "\
query($id: ID!) {
  key(id: $id) {
    id name revision credits { remaining refillAmount refillIntervalSeconds nextRefillAt spent }
    identity { id externalId credits { remaining refillAmount refillIntervalSeconds nextRefillAt spent } }
  }
}";

/// The credits of an identity.
pub const CREDITS_OF_IDENTITY: &str = "\
query($id: ID!) {
  identity(id: $id) {
    id externalId name revision
    credits { remaining refillAmount refillIntervalSeconds nextRefillAt spent }
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

/// A page of what a key did and what came of it.
pub const CONSEQUENCES: &str = "\
query($id: ID!, $depth: Int!, $first: Int, $after: String) {
  consequences(actorId: $id, depth: $depth, first: $first, after: $after) {
    nodes {
      via depth through
      event {
        id type version stream revision position logIndex at
        actor { kind id email role } source { ip userAgent } request cause outcome
        organizationId workspaceId keyId data rawBytes hash previousHash
      }
    }
    pageInfo { hasNextPage endCursor }
  }
}";

/// How many events there are.
pub const EVENTS_COUNT: &str = "\
query($filter: EventFilter) {
  events(filter: $filter, first: 1) { totalCount }
}";

/// Totals, series and groups of verifications.
pub const USAGE: &str = "\
query(
  $organizationId: ID, $includeBelow: Boolean!, $filter: UsageFilter, $from: DateTime!, $to: DateTime!,
  $granularity: Granularity!, $groupBy: [UsageDimension!]!, $top: Int!, $timeZone: String!, $series: Boolean!
) {
  usage(
    organizationId: $organizationId, includeBelow: $includeBelow, filter: $filter, from: $from, to: $to,
    granularity: $granularity, groupBy: $groupBy, top: $top, timeZone: $timeZone
  ) {
    from to timeZone
    totals { ...Counts }
    buckets @include(if: $series)
    series @include(if: $series) { ...Counts }
    groups {
      values { dimension id name value }
      totals { ...Counts }
      series @include(if: $series) { ...Counts }
    }
    otherGroups others { ...Counts }
    incomplete { from to }
    through
  }
}
fragment Counts on UsageCounts { verifications valid refused credits }";

const RECORDS: &str = "\
fragment Records on VerificationConnection {
  nodes {
    eventId place firstAt lastAt count keyId secretVersion means workspaceId code action resource tags ip by cost credits
  }
  pageInfo { hasNextPage endCursor }
}";

/// What a change would have refused.
pub const SIMULATE: &str = "\
query($organizationId: ID, $filter: UsageFilter, $change: SimulatedChange!, $from: DateTime!, $to: DateTime!) {
  simulate(organizationId: $organizationId, filter: $filter, change: $change, from: $from, to: $to) {
    calls refused refusals { code rule calls }
    keys affectedKeys
    mostAffected { key { id name } calls refused refusals { code rule calls } firstRefusedAt lastRefusedAt }
    until
  }
}";

/// The keys of a report.
pub const UNUSED: &str = "\
query($filter: KeyFilter, $orderBy: KeyOrder, $first: Int, $after: String) {
  keys(filter: $filter, orderBy: $orderBy, first: $first, after: $after) {
    totalCount
    nodes { id name environment workspace { id name } createdAt createdBy { kind id email } lastUsedAt }
    pageInfo { hasNextPage endCursor }
  }
}";

/// Revokes the keys that match, or tells which ones would be.
pub const REVOKE_MANY: &str = "\
mutation($input: RevokeKeysInput!) {
  revokeKeys(input: $input) {
    dryRun matched revoked skipped
    keys { id name environment status }
    skippedKeys { key { id name } code message }
    events { id type }
    warnings { code message }
  }
}";

/// Brings keys that exist already.
pub const IMPORT: &str = "\
mutation($input: ImportKeysInput!) {
  importKeys(input: $input) {
    results { index status key { id name } error { code message field } }
    imported existing failed
    warnings { code message }
  }
}";

/// A key.
pub fn key() -> String {
    format!("query($id: ID!) {{ key(id: $id) {{ ...KeyFields }} }}\n{KEY}")
}

/// The same as it was at a moment, without what is not known of one.
pub fn key_as_of() -> String {
    let known = KEY
        .lines()
        .filter(|line| !line.trim_start().starts_with("credits "))
        .map(|line| {
            line.replace("firstUsedAt lastUsedAt lastUsedIp usage { valid refused lastCode } ", "asOf ")
        })
        .collect::<Vec<_>>()
        .join("\n");
    format!("query($id: ID!, $asOf: DateTime!) {{ key(id: $id, asOf: $asOf) {{ ...KeyFields }} }}\n{known}")
}

/// A page of keys.
pub fn keys() -> String {
    format!(
        "query($filter: KeyFilter, $orderBy: KeyOrder, $first: Int, $after: String) {{\n\
         keys(filter: $filter, orderBy: $orderBy, first: $first, after: $after) {{\n\
         totalCount nodes {{ ...KeyFields }} pageInfo {{ hasNextPage endCursor }}\n}} }}\n{KEY}"
    )
}

/// A page of a key's part of the verification log.
pub fn verifications_of_key() -> String {
    format!(
        "query($id: ID!, $filter: VerificationFilter, $first: Int, $after: String, $direction: OrderDirection!) {{\n\
         key(id: $id) {{ id name verifications(filter: $filter, first: $first, after: $after, direction: $direction)\n\
         {{ ...Records }} }} }}\n{RECORDS}"
    )
}

/// A page of an organization's verification log.
pub fn verifications() -> String {
    format!(
        "query($organizationId: ID, $filter: VerificationFilter, $first: Int, $after: String,\n\
         $direction: OrderDirection!) {{ verifications(organizationId: $organizationId, filter: $filter,\n\
         first: $first, after: $after, direction: $direction) {{ ...Records }} }}\n{RECORDS}"
    )
}

/// An organization with the names of its roles.
pub fn organization() -> String {
    format!(
        "query($id: ID) {{ organization(id: $id) {{ ...OrganizationFields roles {{ id name }} }} }}\n\
         {ORGANIZATION}"
    )
}

/// A page of organizations.
pub fn organizations() -> String {
    format!(
        "query($first: Int, $after: String) {{ organizations(first: $first, after: $after) {{\n\
         nodes {{ ...OrganizationFields }} pageInfo {{ hasNextPage endCursor }}\n}} }}\n{ORGANIZATION}"
    )
}

/// A page of workspaces.
pub fn workspaces() -> String {
    format!(
        "query($organizationId: ID, $first: Int, $after: String) {{\n\
         workspaces(organizationId: $organizationId, first: $first, after: $after) {{\n\
         nodes {{ ...WorkspaceFields }} pageInfo {{ hasNextPage endCursor }}\n}} }}\n{WORKSPACE}"
    )
}

/// A role.
pub fn role() -> String {
    format!("query($id: ID!) {{ role(id: $id) {{ ...RoleFields }} }}\n{ROLE}")
}

/// The roles of an organization.
pub fn roles() -> String {
    format!("query($id: ID) {{ roles(organizationId: $id) {{ ...RoleFields }} }}\n{ROLE}")
}

/// An identity.
pub fn identity() -> String {
    format!("query($id: ID!) {{ identity(id: $id) {{ ...IdentityFields }} }}\n{IDENTITY}")
}

/// A page of identities.
pub fn identities() -> String {
    format!(
        "query($organizationId: ID, $search: String, $first: Int, $after: String) {{\n\
         identities(organizationId: $organizationId, search: $search, first: $first, after: $after) {{\n\
         nodes {{ ...IdentityFields }} pageInfo {{ hasNextPage endCursor }}\n}} }}\n{IDENTITY}"
    )
}
