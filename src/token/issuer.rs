//! Who issues tokens: each organization has an issuer of its own, so that no token of one is ever taken for one of
//! another (RFC 9700 §4.4, RFC 8414 §2).
//!
//! The organization that was founded first has the server's public URL; every other one that URL, a slash and its
//! id. So the usual installation, with one tenant, has its metadata where every client looks first.

use std::sync::{PoisonError, RwLock};

use keyledger_projections::OrganizationState;
use keyledger_schema::{OrganizationId, Timestamp};

/// The issuers of a server.
pub struct Issuers {
    base: RwLock<Box<str>>,
    founded: RwLock<Option<(Timestamp, OrganizationId)>>,
}

impl Issuers {
    /// Below a public URL: scheme, host, port and path, without a slash at its end.
    pub fn new(base: &str) -> Self {
        Self { base: RwLock::new(base.into()), founded: RwLock::default() }
    }

    /// Takes another public URL, when the port is known.
    pub fn set_base(&self, base: &str) {
        *self.base.write().unwrap_or_else(PoisonError::into_inner) = base.into();
    }

    /// The public URL.
    pub fn base(&self) -> Box<str> {
        self.base.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The organization that was founded first.
    pub fn first(&self) -> Option<OrganizationId> {
        self.founded.read().unwrap_or_else(PoisonError::into_inner).map(|(_, id)| id)
    }

    /// Takes over what is known of an organization.
    pub fn organization_changed(&self, state: &OrganizationState) {
        let known = (state.created_at, state.id);
        let mut founded = self.founded.write().unwrap_or_else(PoisonError::into_inner);
        if founded.is_none_or(|first| known < first) {
            *founded = Some(known);
        }
    }

    /// The issuer of an organization.
    pub fn of(&self, organization: OrganizationId) -> String {
        let base = self.base();
        if self.first() == Some(organization) { base.into() } else { format!("{base}/{organization}") }
    }

    /// Whether a text is the issuer of an organization.
    pub fn is(&self, text: &str, organization: OrganizationId) -> bool {
        let base = self.base.read().unwrap_or_else(PoisonError::into_inner);
        match text.strip_prefix(&**base) {
            Some("") => self.first() == Some(organization),
            Some(rest) => {
                self.first() != Some(organization)
                    && rest.strip_prefix('/').and_then(|id| id.parse().ok()) == Some(organization)
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keyledger_schema::Policy;
    use std::collections::BTreeMap;
    use uuid::Uuid;

    fn organization(n: u128, created: i64) -> OrganizationState {
        OrganizationState {
            id: OrganizationId::from_uuid(Uuid::from_u128(n)),
            name: "a".into(),
            slug: "a".into(),
            parent: None,
            created_at: Timestamp::from_micros(created),
            signing_keys: Vec::new(),
            policy: Policy::default(),
            acknowledgement: Vec::new(),
            joined_at: Timestamp::from_micros(created),
            roles: BTreeMap::new(),
            open_revocations: Vec::new(),
            revision: 0,
        }
    }

    #[test]
    fn the_first_organization_has_the_url_and_others_their_id() {
        let issuers = Issuers::new("https://keys.example/api");
        let (first, second) = (organization(9, 1), organization(3, 2));
        issuers.organization_changed(&second);
        issuers.organization_changed(&first);
        let other = format!("https://keys.example/api/{}", second.id);
        assert_eq!(issuers.of(first.id), "https://keys.example/api");
        assert_eq!(issuers.of(second.id), other);
        assert!(issuers.is("https://keys.example/api", first.id) && issuers.is(&other, second.id));
        assert!(!issuers.is("https://keys.example/api", second.id) && !issuers.is(&other, first.id));
        assert!(!issuers.is("https://keys.example/api/", first.id));
        assert!(!issuers.is(&format!("https://keys.example/api/{}", first.id), first.id));
        assert!(!issuers.is("https://evil.example", first.id));
    }
}
