//! A key's secret is exchanged for a token (RFC 6749 §4.4).
//!
//! All that holds for a verification holds here: the same checks in the same order, the same limits and credits, and
//! a record of every outcome before it is answered. Besides, the client names the key that it believes to hold the
//! secret of; a secret that is another key's is answered and recorded as one that is nobody's. A request that asks for
//! no token in any way that is understood is recorded as `MALFORMED` and checks nothing.
//!
//! Invariants:
//! - A token allows nothing that its key does not allow now: scopes that are asked for narrow, and never widen.
//! - A token ends before its key does, and before the secret does that was exchanged for it.
//! - A token is told apart from those that are made after a revocation of all by what it says, not by when it was made:
//!   one that was begun before is revoked, however late it is answered.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use keyledger_schema::{Environment, KeyId, Means, Scope, Timestamp, TokenId, VerificationCode};

use super::decision::{Request, decide, remedy};
use super::limits::Charge;
use super::meter::Checked;
use super::mint::Mint;
use super::recorder::{Detail, Use};
use super::tokens::Signed;
use super::{Asker, Entry, Held, Verifier, spend, used};
use crate::error::{Code, Error};
use crate::token::Claims;
use crate::token::claims::Audience;

/// The longest list of scopes of a token, in bytes as the claim has it.
pub const MAX_SCOPE_BYTES: usize = 4 * 1024;

/// What a token looks like.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Form {
    /// Signed claims (RFC 9068).
    #[default]
    Jwt,
    /// One that its holders can narrow. It never acts on Keyledger itself.
    Biscuit,
}

/// What is asked for.
#[derive(Debug)]
pub struct Exchange {
    /// In which form.
    pub form: Form,
    /// The key that the client says it is; none if what it says is not the id of a key.
    pub client: Option<KeyId>,
    /// From which address.
    pub address: Option<IpAddr>,
    /// Where the key is to be used; not checked when it is not said.
    pub environment: Option<Environment>,
    /// All that the token is to allow; what the key allows if it is not said.
    pub scopes: Option<Vec<Scope>>,
    /// For whom the token is to be (RFC 8707); for the issuer when empty.
    pub audience: Vec<Box<str>>,
}

/// A token, made and recorded.
#[derive(Debug)]
pub struct Issued {
    /// What it says.
    pub claims: Claims,
    /// It itself.
    pub token: String,
}

/// Why there is no token. It is recorded already.
#[derive(Debug)]
pub struct Refusal {
    /// As a verification would say it.
    pub code: VerificationCode,
    /// What is wrong and what to do about it, for people.
    pub message: Cow<'static, str>,
    /// After so many seconds it is worth another try, if ever.
    pub retry_after_seconds: Option<u64>,
}

impl Refusal {
    fn new(code: VerificationCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into(), retry_after_seconds: None }
    }
}

impl From<VerificationCode> for Refusal {
    fn from(code: VerificationCode) -> Self {
        Self::new(code, remedy(code))
    }
}

/// What is found out before it is recorded.
struct Found {
    entry: Option<Arc<Entry>>,
    checked: Option<Checked>,
    outcome: Result<Issued, Refusal>,
}

const NOT_TOLD: &str =
    "the client id or the secret is wrong; check that both were copied whole and belong together";

impl Verifier {
    /// Exchanges a secret for a token. Fails where it cannot be recorded or signed; a refusal is no failure.
    pub async fn exchange(
        &self,
        mint: &Mint,
        secret: &str,
        asked: Exchange,
    ) -> Result<Result<Issued, Refusal>, Error> {
        self.up_to_date()?;
        let now = self.edge.now();
        let address = asked.address;
        let Found { entry, checked, outcome } = self.found(mint, secret, asked, now)?;
        let spent = checked.as_ref().map_or([None; 2], |checked| checked.spent);
        let detail = Detail { cost: 1, spent, resource: None, tags: super::tags::Tags::default() };
        let code = outcome.as_ref().map_or_else(|refusal| refusal.code, |_| VerificationCode::Valid);
        let held = entry.map(Held::from);
        let used = Use {
            means: Some(Means::Exchange),
            ip: address.map(|address| address.to_canonical()),
            detail: (!detail.is_plain()).then(|| Box::new(detail)),
            ..used(code, held.as_ref(), &Asker::Open)
        };
        self.recorder.record(used, now).await?;
        Ok(outcome)
    }

    /// Records that somebody asked for a token in a way that cannot be answered: for the first of these clients that has
    /// its secret, otherwise for nobody. Whatever became of the key since, it was this key's holder who asked.
    pub async fn not_exchanged(
        &self,
        mut clients: impl Iterator<Item = (Option<KeyId>, &str)>,
        address: Option<IpAddr>,
    ) -> Result<(), Error> {
        self.up_to_date()?;
        let now = self.edge.now();
        let found = clients.find_map(|(client, secret)| {
            self.authenticated(client, secret).1.filter(|entry| !entry.secret_ended(now))
        });
        let used = Use {
            means: Some(Means::Exchange),
            ip: address.map(|address| address.to_canonical()),
            ..used(VerificationCode::Malformed, found.map(Held::from).as_ref(), &Asker::Open)
        };
        self.recorder.record(used, now).await
    }

    fn found(&self, mint: &Mint, secret: &str, asked: Exchange, now: Timestamp) -> Result<Found, Error> {
        let (nobodys, found) = self.authenticated(asked.client, secret);
        let nothing = || Found { entry: None, checked: None, outcome: Err(Refusal::new(nobodys, NOT_TOLD)) };
        let Some(entry) = found else { return Ok(nothing()) };
        let request = Request { environment: asked.environment, address: asked.address, access: None };
        let code = decide(&entry, None, &request, now);
        if code == VerificationCode::NotFound {
            return Ok(nothing());
        }
        let refused = |entry, refusal| Ok(Found { entry: Some(entry), checked: None, outcome: Err(refusal) });
        if code != VerificationCode::Valid {
            return refused(entry, code.into());
        }
        let narrowed = asked.scopes.is_some();
        let scope = match scope_of(&entry, asked.scopes) {
            Ok(scope) => scope,
            Err(refusal) => return refused(entry, refusal),
        };
        let (lifetime, generation) = entry.realm().signs(now).ok_or_else(|| {
            Error::unavailable(
                "the organization has no key to sign tokens with; its administrator has to rotate its signing key",
            )
        })?;
        let iat = seconds(now);
        let exp = ends(&entry, iat.saturating_add(lifetime.into()));
        if exp <= iat {
            // What has less than a second left is over: a token says no smaller time.
            let secret_ends = entry.secret_expires_at().is_some_and(|at| seconds(at) <= iat);
            let expired = || refused(entry, VerificationCode::Expired.into());
            return if secret_ends { Ok(nothing()) } else { expired() };
        }
        // The charge names no limits, so there are none that the key lacks.
        let checked = spend(&entry, &Charge::default(), now).map_err(Error::from)?;
        let code = checked.as_ref().map_or(VerificationCode::Valid, Checked::code);
        if code != VerificationCode::Valid {
            let retry_after_seconds = checked.as_ref().and_then(Checked::retry_after_seconds);
            let refusal = Refusal { retry_after_seconds, ..code.into() };
            return Ok(Found { entry: Some(entry), checked, outcome: Err(refusal) });
        }
        let issuer = mint.keyring.issuers.of(entry.organization()).into_boxed_str();
        let for_issuer = asked.audience.iter().all(|audience| *audience == issuer);
        let aud = if for_issuer { Audience::One(issuer.clone()) } else { Audience::new(asked.audience) };
        let claims = Claims {
            aud,
            iss: issuer,
            sub: entry.key,
            exp,
            nbf: iat,
            iat,
            jti: TokenId::from_uuid(self.edge.uuid()),
            client_id: entry.key,
            scope,
            org: entry.organization(),
            workspace: entry.workspace,
            env: entry.environment,
            secret: entry.secret_version,
            epoch: entry.epoch(),
            grants: asked.form == Form::Jwt && for_issuer && !narrowed && entry.management().is_some(),
        };
        let token = match asked.form {
            Form::Jwt => mint.sign(&claims, generation)?,
            Form::Biscuit => mint.sign_biscuit(&claims, generation, &self.edge.random())?,
        };
        Ok(Found { entry: Some(entry), checked, outcome: Ok(Issued { claims, token }) })
    }

    /// The key that a client is, if the secret is that key's.
    fn authenticated(&self, client: Option<KeyId>, secret: &str) -> (VerificationCode, Option<Arc<Entry>>) {
        let (nobodys, mut all) = self.keys_with(secret);
        (nobodys, all.find(|entry| Some(entry.key) == client))
    }

    /// Every key that has this secret now: keys of which a digest was brought can be several with one.
    pub fn holders(&self, secret: &str) -> Result<Vec<KeyId>, Error> {
        self.up_to_date()?;
        let now = self.edge.now();
        let (_, all) = self.keys_with(secret);
        Ok(all.filter(|entry| !entry.secret_ended(now)).map(|entry| entry.key).collect())
    }

    /// The key that a client is, whatever became of it since: it may be disabled, expired or revoked, and the address
    /// does not matter. Fails with [`Code::Unauthenticated`] where the secret is not that key's; that is recorded.
    pub async fn client(
        &self,
        client: Option<KeyId>,
        secret: &str,
        address: Option<IpAddr>,
    ) -> Result<Arc<Entry>, Error> {
        self.up_to_date()?;
        let now = self.edge.now();
        let (nobodys, found) = self.authenticated(client, secret);
        if let Some(entry) = found.filter(|entry| !entry.secret_ended(now)) {
            return Ok(entry);
        }
        let ip = address.map(|address| address.to_canonical());
        self.recorder.record(Use { ip, ..used(nobodys, None, &Asker::Open) }, now).await?;
        Err(Error::new(Code::Unauthenticated, NOT_TOLD))
    }
}

impl Verifier {
    /// A token of an organization of this server, whatever became of it since.
    pub fn signed(&self, token: &str) -> Option<Arc<Signed>> {
        self.tokens.read(token).ok()
    }
}

/// The claim of a token that allows this; all that the key allows when it is not said.
fn scope_of(entry: &Entry, asked: Option<Vec<Scope>>) -> Result<Box<str>, Refusal> {
    let code = VerificationCode::InsufficientScope;
    let scopes = match asked {
        None => entry.all_scopes(),
        Some(mut asked) => {
            if let Some(at) = asked.iter().position(|scope| !entry.includes(scope)) {
                // What was asked for is not repeated: it may be a secret in the wrong place.
                let message = format!(
                    "none of the key's scopes covers number {} of the scopes that were asked for; ask for less, or leave scope out for all that the key may do",
                    at + 1
                );
                return Err(Refusal::new(code, message));
            }
            asked.sort_unstable();
            asked.dedup();
            asked
        }
    };
    let texts: Vec<String> = scopes.iter().map(ToString::to_string).collect();
    let text = texts.join(" ");
    if text.len() > MAX_SCOPE_BYTES {
        let message = format!(
            "the scopes of a token have at most {MAX_SCOPE_BYTES} bytes, and these have {}; name fewer of them with scope",
            text.len()
        );
        return Err(Refusal::new(code, message));
    }
    Ok(text.into())
}

/// Whole seconds since 1970.
fn seconds(at: Timestamp) -> i64 {
    at.micros().div_euclid(1_000_000)
}

/// When a token ends, given when it would at the latest.
fn ends(entry: &Entry, latest: i64) -> i64 {
    let others = [entry.expires_at(), entry.secret_expires_at()];
    others.into_iter().flatten().map(seconds).fold(latest, i64::min)
}
