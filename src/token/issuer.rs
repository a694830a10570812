//! Who issues tokens: each organization has an issuer of its own, so that no token of one is ever taken for one of
//! another (RFC 9700 §4.4, RFC 8414 §2).
//!
//! The organization that was founded first has the server's public URL; every other one that URL, a slash and its
//! id. So the usual installation, with one tenant, has its metadata where every client looks first.
//!
//! Which one is first is told by the order of the log and never by a clock, which may have been set back: an issuer is
//! a name that others trust, so it never becomes somebody else's.

use std::sync::{OnceLock, PoisonError, RwLock};

use keyledger_schema::OrganizationId;

/// The issuers of a server.
pub struct Issuers {
    base: RwLock<Box<str>>,
    first: OnceLock<OrganizationId>,
}

impl Issuers {
    /// Below a public URL: scheme, host, port and path, without a slash at its end.
    pub fn new(base: &str) -> Self {
        Self { base: RwLock::new(base.into()), first: OnceLock::new() }
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
        self.first.get().copied()
    }

    /// There is this organization. Has to be told of each for the first time in the order of the log.
    pub fn organization_known(&self, id: OrganizationId) {
        self.first.get_or_init(|| id);
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
    use uuid::Uuid;

    fn organization(n: u128) -> OrganizationId {
        OrganizationId::from_uuid(Uuid::from_u128(n))
    }

    #[test]
    fn the_first_organization_has_the_url_and_others_their_id() {
        let issuers = Issuers::new("https://keys.example/api");
        let (first, second) = (organization(9), organization(3));
        // Each change of one is told of again.
        for id in [first, second, first, second] {
            issuers.organization_known(id);
        }
        let other = format!("https://keys.example/api/{second}");
        assert_eq!(issuers.of(first), "https://keys.example/api");
        assert_eq!(issuers.of(second), other);
        assert!(issuers.is("https://keys.example/api", first) && issuers.is(&other, second));
        assert!(!issuers.is("https://keys.example/api", second) && !issuers.is(&other, first));
        assert!(!issuers.is("https://keys.example/api/", first));
        assert!(!issuers.is(&format!("https://keys.example/api/{first}"), first));
        assert!(!issuers.is("https://evil.example", first));
    }
}
