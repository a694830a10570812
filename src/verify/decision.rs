//! What is answered to a verification whose secret matched. Pure.
//!
//! The order is part of the interface: a client that fails two checks is told the first.
//!
//! 1. the secret's overlap is over, or the token is not one yet: `NOT_FOUND`, as if it had never been one
//! 2. `REVOKED`, then `EXPIRED`, then `DISABLED`, the order of `KeyState::status`
//! 3. of a token `TOKEN_REVOKED`, then `TOKEN_EXPIRED`, then `WRONG_AUDIENCE`
//! 4. `WRONG_ENVIRONMENT`
//! 5. `IP_NOT_ALLOWED`
//! 6. `KEYS_DISABLED`, the switch of its organization and of those above
//! 7. `INSUFFICIENT_SCOPE`, of the key or of the token, or what a holder narrowed the token to
//! 8. `RATE_LIMITED`, then `CREDITS_EXHAUSTED`, which the verifier asks [`meter`](super::meter) about: a call that
//!    any check refuses spends nothing
//!
//! The first five are about the key itself, and a key that manages Keyledger passes them too. The switch
//! is not one of them: whoever switched an organization's keys off must be able to switch them on again.
//!
//! What became of the key comes before what became of the token: whoever is told that a token expired gets another
//! one, which only a key can have that is still good.
//!
//! Architecture invariant: no clock, no I/O, no state. Grants never count here: they are about
//! Keyledger, scopes are about the user's own API.

use std::net::IpAddr;

use keyledger_schema::event::address_allowed;
use keyledger_schema::resource::Resource;
use keyledger_schema::{Action, Environment, Scope, Timestamp, VerificationCode};

use super::entry::Entry;
use crate::error::Error;
use crate::token::Claims;
use crate::token::biscuit::{self, Narrowed};

/// By so much the clock of whoever made a token may be ahead, in seconds. For its end there is no such leeway.
const LEEWAY_SECONDS: i64 = 5;

/// A token whose signature is good, presented instead of its key's secret.
#[derive(Clone, Copy, Debug)]
pub struct Presented<'a> {
    /// What it says.
    pub claims: &'a Claims,
    /// The scopes among that.
    pub scopes: &'a [Scope],
    /// Whether the tokens of the key that signed it were revoked.
    pub signer_revoked: bool,
    /// Whether it is for whoever it was presented to.
    pub for_asker: bool,
    /// What its holders narrowed it to.
    pub narrowed: Option<&'a Narrowed>,
    /// Whoever it was presented to.
    pub audience: &'a str,
}

impl Presented<'_> {
    /// Not good yet (RFC 7519 §4.1.5).
    fn comes_later(&self, now: Timestamp) -> bool {
        let begins = self.claims.nbf.max(self.claims.iat).saturating_sub(LEEWAY_SECONDS);
        begins.saturating_mul(1_000_000) > now.micros()
    }

    fn standing(&self, entry: &Entry, now: Timestamp) -> VerificationCode {
        if self.signer_revoked || entry.has_revoked(self.claims.jti, self.claims.epoch) {
            return VerificationCode::TokenRevoked;
        }
        // RFC 7519 §4.1.4.
        if self.claims.expires_at() <= now {
            return VerificationCode::TokenExpired;
        }
        if self.for_asker { VerificationCode::Valid } else { VerificationCode::WrongAudience }
    }

    fn covers(&self, action: Action, resource: Resource<'_>) -> bool {
        self.scopes.iter().any(|scope| scope.covers(action, resource))
    }

    /// Whether all checks hold that its holders added.
    fn passes(&self, request: &Request<'_>, now: Timestamp) -> bool {
        let Some(narrowed) = self.narrowed else { return true };
        let access = request.access;
        narrowed.allow(&biscuit::Request {
            now,
            action: access.map(|(action, _)| action),
            resource: access.map(|(_, resource)| resource.as_str()).filter(|resource| !resource.is_empty()),
            address: request.address,
            audience: Some(self.audience),
        })
    }
}

/// What the holder of a key wants to do with it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Request<'a> {
    /// Where; not checked when it is not said.
    pub environment: Option<Environment>,
    /// From which address; a key that may be used from some networks only is refused without it.
    pub address: Option<IpAddr>,
    /// What; no scope is needed when it is not said.
    pub access: Option<(Action, Resource<'a>)>,
}

impl<'a> Request<'a> {
    /// The access that texts ask for. An action alone is on [`Resource::ROOT`], which only scopes on
    /// everything cover; a resource alone is a mistake, since no action would be checked.
    pub fn access(
        action: Option<&str>,
        resource: Option<&'a str>,
    ) -> Result<Option<(Action, Resource<'a>)>, Error> {
        match (action, resource) {
            (None, None) => Ok(None),
            (None, Some(_)) => Err(Error::invalid(
                "action",
                "a resource without an action would not be checked; name the action: read, write or admin",
            )),
            (Some(action), resource) => {
                let action = action
                    .parse()
                    .map_err(|_| Error::invalid("action", "the action is one of read, write, admin"))?;
                let resource = resource
                    .map_or(Ok(Resource::ROOT), Resource::parse)
                    .map_err(|error| Error::invalid("resource", error.to_string()))?;
                Ok(Some((action, resource)))
            }
        }
    }

    /// The environment that a text names.
    pub fn environment(text: Option<&str>) -> Result<Option<Environment>, Error> {
        text.map(str::parse).transpose().map_err(|_| {
            Error::invalid("environment", "the environment is one of production, staging, development")
        })
    }
}

/// What is answered to a key's secret, or to a token of it.
pub fn decide(
    entry: &Entry,
    token: Option<&Presented<'_>>,
    request: &Request<'_>,
    now: Timestamp,
) -> VerificationCode {
    let code = identity(entry, token, request, now);
    if code != VerificationCode::Valid {
        return code;
    }
    if !entry.realm().keys_enabled() {
        return VerificationCode::KeysDisabled;
    }
    // What the key lost since, no token of it has; and no token has more than it says.
    let covered = request.access.is_none_or(|(action, resource)| {
        entry.covers(action, resource) && token.is_none_or(|token| token.covers(action, resource))
    });
    // Last, since it takes longer than all before it.
    let passes = covered && token.is_none_or(|token| token.passes(request, now));
    if passes { VerificationCode::Valid } else { VerificationCode::InsufficientScope }
}

/// Whether the key is good here and now, whatever its holder wants to do with it.
pub fn identity(
    entry: &Entry,
    token: Option<&Presented<'_>>,
    request: &Request<'_>,
    now: Timestamp,
) -> VerificationCode {
    if entry.secret_ended(now) || token.is_some_and(|token| token.comes_later(now)) {
        return VerificationCode::NotFound;
    }
    if entry.revoked {
        return VerificationCode::Revoked;
    }
    if entry.expired(now) {
        return VerificationCode::Expired;
    }
    if entry.disabled {
        return VerificationCode::Disabled;
    }
    let of_token = token.map_or(VerificationCode::Valid, |token| token.standing(entry, now));
    if of_token != VerificationCode::Valid {
        return of_token;
    }
    if request.environment.is_some_and(|environment| environment != entry.environment) {
        return VerificationCode::WrongEnvironment;
    }
    if !address_allowed(entry.networks(), request.address) {
        return VerificationCode::IpNotAllowed;
    }
    VerificationCode::Valid
}

/// What to do about a refusal, for the person who reads the answer.
pub const fn remedy(code: VerificationCode) -> &'static str {
    match code {
        VerificationCode::Valid => "the key may do this",
        VerificationCode::NotFound => {
            "no key that you may verify has this secret or signed token; check that it was copied whole and belongs to your organization"
        }
        VerificationCode::Malformed => {
            "this is not a key: its form or its checksum is wrong; copy it again, whole and without spaces"
        }
        VerificationCode::Revoked => "the key was revoked for good; ask its owner for a new one",
        VerificationCode::Expired => {
            "the key is past its expiry date; create a new key with a later expiry date"
        }
        VerificationCode::Disabled => "the key is switched off; its owner can enable it again",
        VerificationCode::KeysDisabled => {
            "all keys of this organization are switched off by its policy; its administrators can switch them on again"
        }
        VerificationCode::RateLimited => {
            "the key, or its identity, is used more often than the limits allow; try again later"
        }
        VerificationCode::CreditsExhausted => {
            "fewer credits are left than this call costs; wait for a refill, if there is one, or ask for more"
        }
        VerificationCode::TokenExpired => "the token is past its expiry date; exchange the key for a new one",
        VerificationCode::TokenRevoked => {
            "the token, or the key that signed it, was revoked; exchange the key for a new one"
        }
        VerificationCode::WrongAudience => {
            "the token is for somebody else; say for whom as audience, or exchange the key for a token with this resource"
        }
        VerificationCode::WrongEnvironment => {
            "the key belongs to another environment; use the key that was created for this one"
        }
        VerificationCode::IpNotAllowed => {
            "the key may not be used from this address; add its network to the key, or send the client's address as ip"
        }
        VerificationCode::InsufficientScope => {
            "none of the key's scopes, or of the token's, covers this action on this resource, or whoever handed the token on narrowed it; add a scope, or use another key or token"
        }
    }
}

#[cfg(test)]
mod tests;
