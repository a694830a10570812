//! Tokens: whether a text is one that a key of an organization signed, and what it says.
//!
//! form → name of the signing key → signature → claims and scopes → issuer. What follows depends on the moment and
//! on the token's key, and is decided in [`decision`](super::decision) each time.
//!
//! Invariants:
//! - What a token says is not looked at before its signature was good, but for the name of the key that is to check
//!   it, and that key has to be one of the organization that the token names, by the issuer of that organization
//!   (RFC 8725 §3.8).
//! - A signature that was good is remembered for as long as no signing key changes, and nothing but that it was good
//!   and what the text says. So remembering saves work and never changes an answer.

mod known;

use std::sync::Arc;

use keyledger_schema::{Scope, VerificationCode};

use self::known::Cache;
use super::decision::Presented;
use super::directory::Entry;
use super::intern::{ALLOCATION_BYTES, ARC_BYTES};
use crate::caller;
use crate::token::biscuit::{self, Narrowed};
use crate::token::keyring::PublicKey;
use crate::token::{Claims, Keyring, jwt};
use keyledger_schema::Timestamp;

/// A token whose signature was good.
#[derive(Debug)]
pub struct Signed {
    /// What it says.
    pub claims: Claims,
    /// The scopes among that.
    pub scopes: Box<[Scope]>,
    kid: Box<str>,
    signer: Arc<PublicKey>,
    narrowed: Option<Narrowed>,
}

impl Signed {
    /// Whether its holders added checks of their own.
    pub fn is_narrowed(&self) -> bool {
        self.narrowed.is_some()
    }

    /// Memory that it takes, in bytes.
    fn bytes(&self) -> usize {
        let audience = self.claims.aud.all();
        let texts = self.claims.iss.len() + self.claims.scope.len() + self.kid.len();
        let audience: usize = audience.iter().map(|one| one.len() + 16 + ALLOCATION_BYTES).sum();
        let scope = |scope: &Scope| size_of::<Scope>() + scope.resource.as_str().len() + ALLOCATION_BYTES;
        let scopes: usize = self.scopes.iter().map(scope).sum();
        let narrowed = self.narrowed.as_ref().map_or(0, Narrowed::bytes);
        narrowed + size_of::<Self>() + ARC_BYTES + 5 * ALLOCATION_BYTES + texts + audience + scopes
    }

    /// As somebody who calls with it.
    pub(super) fn of_caller(&self) -> caller::Token {
        let Claims { jti: id, epoch, .. } = self.claims;
        caller::Token { id, epoch, kid: self.kid.clone(), expires_at: self.claims.expires_at() }
    }
}

/// Reads tokens.
pub(super) struct Tokens {
    keyring: Arc<Keyring>,
    cache: Cache,
}

impl Tokens {
    /// With these public keys.
    pub(super) fn new(keyring: Arc<Keyring>) -> Self {
        Self { keyring, cache: Cache::default() }
    }

    /// What signatures are checked with.
    pub(super) fn keyring(&self) -> &Arc<Keyring> {
        &self.keyring
    }

    /// The token that a text is. Otherwise what is answered: `MALFORMED` for what is no token of ours by its form,
    /// `NOT_FOUND` for one that nobody here signed.
    pub(super) fn read(&self, text: &str) -> Result<Arc<Signed>, VerificationCode> {
        // Asked first: what is found out after a change is not remembered as if it had been before it.
        let edition = self.keyring.edition();
        let name = *blake3::hash(text.as_bytes()).as_bytes();
        let signed = if let Some(signed) = self.cache.find(&name, edition) {
            signed
        } else {
            let signed = Arc::new(self.check(text)?);
            self.cache.put(name, &signed, edition);
            signed
        };
        let Claims { iss, org, .. } = &signed.claims;
        if self.keyring.issuers.is(iss, *org) { Ok(signed) } else { Err(VerificationCode::NotFound) }
    }

    fn check(&self, text: &str) -> Result<Signed, VerificationCode> {
        let nobodys = VerificationCode::NotFound;
        if let Some(unchecked) = jwt::Unchecked::parse(text) {
            let signer = self.keyring.find(unchecked.kid()).ok_or(nobodys)?;
            let claims = unchecked.claims(&signer.key).ok_or(nobodys)?;
            return signed(unchecked.kid(), signer, claims, None);
        }
        let unchecked = biscuit::Unchecked::parse(text).ok_or(VerificationCode::Malformed)?;
        // Several keys can have one number.
        let signer = self.keyring.numbered(unchecked.number()).into_iter().find_map(|(kid, signer)| {
            unchecked.claims(&signer.key).map(|(claims, narrowed)| (kid, signer, claims, narrowed))
        });
        let (kid, signer, claims, narrowed) = signer.ok_or(nobodys)?;
        signed(&kid, signer, claims, narrowed)
    }

    /// A token as it is judged: shown to somebody who is this audience, or to Keyledger itself.
    pub(super) fn presented<'a>(&self, token: &'a Signed, audience: Option<&'a str>) -> Presented<'a> {
        let claims = &token.claims;
        let for_asker = match audience {
            Some(audience) => claims.aud.contains(audience),
            None => claims.aud.all().iter().any(|one| self.keyring.issuers.is(one, claims.org)),
        };
        Presented {
            claims,
            scopes: &token.scopes,
            signer_revoked: token.signer.revoked,
            for_asker,
            narrowed: token.narrowed.as_ref(),
            audience: audience.unwrap_or(&claims.iss),
        }
    }

    /// Whether a token that somebody began to call with is still good, its key aside.
    pub(super) fn stands(&self, token: &caller::Token, entry: &Entry, now: Timestamp) -> bool {
        now < token.expires_at
            && !entry.has_revoked(token.id, token.epoch)
            && self.keyring.find(&token.kid).is_some_and(|signer| !signer.revoked)
    }
}

/// A token that a key signed, if it says what it may: of the key's own organization, and scopes that are ones.
fn signed(
    kid: &str,
    signer: Arc<PublicKey>,
    claims: Claims,
    narrowed: Option<Narrowed>,
) -> Result<Signed, VerificationCode> {
    let nobodys = VerificationCode::NotFound;
    let scopes = claims.scopes().map(str::parse).collect::<Result<Box<[Scope]>, _>>();
    let scopes = scopes.map_err(|_| nobodys)?;
    if claims.org != signer.organization || claims.sub != claims.client_id {
        return Err(nobodys);
    }
    Ok(Signed { claims, scopes, kid: kid.into(), signer, narrowed })
}

#[cfg(test)]
mod tests;
