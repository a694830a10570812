//! Whether an edit clashes with what others did since its author looked.
//!
//! An edit that names the revision that it was made on is refused only if something that it changes was
//! changed since: two people who edit different fields of a key, or different roles, both succeed. A role and
//! a policy are one thing each, and so are credits.

use keyledger_schema::Event;

use super::{identity, key, organization};

/// Whether an event that came later takes the ground from under a command about a key.
pub fn with_key(command: &key::Command, event: &Event) -> bool {
    match (command, event) {
        (key::Command::Update(update), Event::KeyUpdated(updated)) => {
            (update.name.is_some() && updated.name.is_some())
                || (update.scopes.is_some() && updated.scopes.is_some())
                || (update.roles.is_some() && updated.roles.is_some())
                || (update.grants.is_some() && updated.grants.is_some())
                || (update.rate_limits.is_some() && updated.rate_limits.is_some())
                || (update.allowed_cidrs.is_some() && updated.allowed_cidrs.is_some())
                || (update.metadata.is_some() && updated.metadata.is_some())
                || (update.identity.is_some() && updated.identity.is_some())
        }
        (key::Command::Rotate { .. } | key::Command::Acknowledge, Event::KeySecretRotated(_))
        | (
            key::Command::Disable(_) | key::Command::Enable(_),
            Event::KeyDisabled(_) | Event::KeyEnabled(_),
        ) => true,
        // Out of use is out of use, whatever else was done.
        _ => false,
    }
}

/// Whether an event that came later takes the ground from under a command about an organization.
pub fn with_organization(command: &organization::Command, event: &Event) -> bool {
    use organization::Command;
    match (command, event) {
        (Command::Rename(_), Event::OrganizationRenamed(_))
        | (Command::Move { .. }, Event::OrganizationMoved(_))
        | (Command::SetPolicy { .. }, Event::OrganizationPolicySet(_)) => true,
        (Command::UpdateRole(id, _) | Command::DeleteRole { role: id, .. }, Event::RoleUpdated(updated)) => {
            updated.role == *id
        }
        _ => false,
    }
}

/// Whether an event that came later takes the ground from under a command about an identity.
pub fn with_identity(command: &identity::Command, event: &Event) -> bool {
    match (command, event) {
        (identity::Command::Update(update), Event::IdentityUpdated(updated)) => {
            (update.name.is_some() && updated.name.is_some())
                || (update.rate_limits.is_some() && updated.rate_limits.is_some())
                || (update.metadata.is_some() && updated.metadata.is_some())
        }
        _ => false,
    }
}

/// Whether an event that came later takes the ground from under a change of credits. What is spent meanwhile is
/// no event of the same stream and never does.
pub const fn with_credits(event: &Event) -> bool {
    matches!(event, Event::KeyCreditsChanged(_) | Event::IdentityCreditsChanged(_))
}

/// Whether an event that came later takes the ground from under a rotation or a revocation of a signing key.
/// That a key retires by the passing of time never does.
pub const fn with_signing_keys(event: &Event) -> bool {
    matches!(event, Event::SigningKeyAdded(_) | Event::SigningKeyRevoked(_))
}

#[cfg(test)]
mod tests {
    use super::*;
    use keyledger_schema::Personal;
    use keyledger_schema::event::{CreditsChanged, IdentityUpdated, KeyDisabled, KeyUpdated};

    #[test]
    fn edits_clash_only_where_they_meet() {
        let name =
            Event::KeyUpdated(KeyUpdated { name: Some(Personal("a".into())), ..KeyUpdated::default() });
        let rename = key::Update { name: Some("b".into()), ..key::Update::default() };
        let scopes = key::Update { scopes: Some(Vec::new()), ..key::Update::default() };
        assert!(with_key(&key::Command::Update(rename), &name));
        assert!(!with_key(&key::Command::Update(scopes), &name));
        assert!(!with_key(&key::Command::Disable(None), &name));
        let disabled = Event::KeyDisabled(KeyDisabled::default());
        assert!(with_key(&key::Command::Enable(None), &disabled));
        let revoke = key::Command::Revoke(keyledger_schema::event::RevocationReason::Unused, None);
        assert!(!with_key(&revoke, &disabled));
        let held = Event::KeyUpdated(KeyUpdated { identity: Some(None), ..KeyUpdated::default() });
        let give = key::Update { identity: Some(None), ..key::Update::default() };
        let limits = key::Update { rate_limits: Some(Vec::new()), ..key::Update::default() };
        assert!(with_key(&key::Command::Update(give), &held));
        assert!(!with_key(&key::Command::Update(limits), &held));
    }

    #[test]
    fn edits_of_an_identity_and_changes_of_credits_clash_with_their_like() {
        let update = identity::Update { rate_limits: Some(Vec::new()), ..identity::Update::default() };
        let update = identity::Command::Update(update);
        let limits = IdentityUpdated { rate_limits: Some(Vec::new()), ..IdentityUpdated::default() };
        let name = IdentityUpdated { name: Some(Personal("a".into())), ..IdentityUpdated::default() };
        assert!(with_identity(&update, &Event::IdentityUpdated(limits)));
        assert!(!with_identity(&update, &Event::IdentityUpdated(name.clone())));
        assert!(!with_credits(&Event::IdentityUpdated(name)));
        let changed = CreditsChanged {
            n: 1,
            counted: 0,
            remaining: None,
            refill: None,
            adjusted_by: None,
            reason: None,
        };
        assert!(with_credits(&Event::KeyCreditsChanged(changed)));
    }
}
