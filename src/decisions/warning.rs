//! Warnings: what was done, but may not be what was meant.

use std::borrow::Cow;

use ipnet::IpNet;
use keyledger_schema::Scope;
use keyledger_schema::scope::ScopeAction;

/// A stable code and a sentence.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Warning {
    /// Clients may switch on it.
    pub code: &'static str,
    /// For people.
    pub message: Cow<'static, str>,
}

impl Warning {
    fn new(code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into() }
    }

    /// The key was revoked before, maybe for another reason; that stands.
    pub fn already_revoked() -> Self {
        Self::new("ALREADY_REVOKED", "the key was revoked before; the first reason and comment stand")
    }

    /// A bulk revocation leaves out the key that it is done with.
    pub fn own_key_left() -> Self {
        Self::new(
            "OWN_KEY_LEFT",
            "your own key matches too and is left out; revoke it by itself when you are done",
        )
    }

    /// The key lost a role.
    pub fn role_removed() -> Self {
        Self::new(
            "ROLE_REMOVED",
            "callers that rely on the scopes of a role that was taken away are refused from now on",
        )
    }

    /// No key of the organization works any more.
    pub fn keys_switched_off() -> Self {
        Self::new(
            "KEYS_SWITCHED_OFF",
            "from now on every key of this organization and of those below it is refused; management keys can still manage",
        )
    }

    /// There are more keys than the new quota allows.
    pub fn over_quota(most: u64, taken: u64) -> Self {
        Self::new(
            "OVER_QUOTA",
            format!(
                "the workspace has {taken} keys, more than {most}; they stay, and no new one can be created until fewer are left"
            ),
        )
    }

    /// A second rotation during an overlap ends the older secret.
    pub fn overlap_cut_short() -> Self {
        Self::new(
            "OVERLAP_CUT_SHORT",
            "an earlier rotation still overlapped; its old secret stopped now, since a key has two secrets at most",
        )
    }
}

/// `0.0.0.0/0` or `::/0` among the networks.
pub fn open_networks(networks: &[IpNet]) -> Vec<Warning> {
    networks
        .iter()
        .filter(|network| network.prefix_len() == 0)
        .map(|network| {
            let family = if matches!(network, IpNet::V4(_)) { "IPv4" } else { "IPv6" };
            Warning::new(
                "OPEN_NETWORK",
                format!("{network} allows every {family} address; leave it out unless that is meant"),
            )
        })
        .collect()
}

/// Scopes that were there and are not covered any more.
pub fn removed_scopes(before: &[Scope], after: &[Scope]) -> Vec<Warning> {
    before
        .iter()
        .filter(|scope| !after.iter().any(|kept| implies(kept, scope)))
        .map(|scope| {
            Warning::new("SCOPE_REMOVED", format!("callers that rely on {scope} are refused from now on"))
        })
        .collect()
}

/// Whether `wide` covers all that `narrow` covers. Answers no for some pairs that do, such as `a/**` and
/// `a/b`: a warning too many is better than one too few.
fn implies(wide: &Scope, narrow: &Scope) -> bool {
    let action = wide.action == ScopeAction::Any || wide.action == narrow.action;
    action && (wide.resource.as_str() == "*" || wide.resource == narrow.resource)
}

/// Networks that were allowed and are not any more.
pub fn removed_networks(before: &[IpNet], after: &[IpNet]) -> Vec<Warning> {
    if after.is_empty() {
        return Vec::new();
    }
    if before.is_empty() {
        return vec![Warning::new(
            "ADDRESS_REMOVED",
            "the key was usable from every address until now; callers outside the given networks are refused from now on",
        )];
    }
    before
        .iter()
        .filter(|network| !after.iter().any(|kept| kept.contains(*network)))
        .map(|network| {
            Warning::new("ADDRESS_REMOVED", format!("callers in {network} may be refused from now on"))
        })
        .collect()
}
