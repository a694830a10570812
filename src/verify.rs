//! Verification: the hot path.
//!
//! parse and checksum → keyed hash → directory → decision → rate limits and credits → record → answer. Every step
//! before the record is in memory and takes well below a microsecond.
//!
//! A [token](tokens) takes the same way but for its beginning: form → signature, or the memory that it was good →
//! the directory's entry of the key and secret that it names → decision, with what the token itself allows.
//!
//! Invariants:
//! - Nothing is looked up for a text that is not a well-formed secret or a token, unless it can be an imported one and
//!   keys were imported.
//! - Nothing about a key is told before its secret, or the signature of its token, matched. A key that the asker may
//!   not verify is answered and recorded exactly as a secret that nobody has, by the same steps in the same order, and
//!   spends none of its rate limits and credits.
//! - A token is good for nothing that its key is not good for in that moment.
//! - Nothing is answered that is not recorded; see [`recorder`] for when.
//!
//! Architecture invariant: this module changes no key and knows no transport. It takes no lock that is
//! held during I/O, and writes no log line per request.

mod callers;
pub mod decision;
pub mod directory;
mod entry;
pub mod exchange;
#[cfg(test)]
mod fixture;
mod intern;
mod introspection;
pub mod limits;
pub mod meter;
pub mod mint;
pub mod realm;
pub mod recorder;
pub mod replay;
pub mod tags;
pub mod tokens;

use std::sync::Arc;

use keyledger_schema::grant::Right;
use keyledger_schema::{KeyId, Means, OrganizationId, SecretScheme, Timestamp, VerificationCode};

pub use self::callers::unauthenticated;
use self::decision::{Request, decide};
use self::directory::{Directory, Entry};
pub use self::introspection::Inquiry;
use self::limits::{Charge, NoSuchLimit};
use self::meter::Checked;
use self::recorder::{Detail, Recorder, Use};
use self::tags::Tags;
use self::tokens::{Signed, Tokens};
use crate::caller::Token;
use crate::edge::Edge;
use crate::error::Error;
use crate::secret::{self, Foreign, SecretHasher, WellFormed};
use crate::token::{self, Keyring};

/// The longest audience that can be asked for, in bytes.
pub const MAX_AUDIENCE_BYTES: usize = 255;

/// What is asked.
#[derive(Clone, Copy)]
pub struct Question<'a> {
    /// The text that the holder presented.
    pub key: &'a str,
    /// What the holder wants to do with it.
    pub request: Request<'a>,
    /// What it spends of rate limits and credits.
    pub charge: Charge<'a>,
    /// What it is filed under.
    pub tags: &'a Tags,
    /// For whom a token has to be; for Keyledger itself if it is not said. Of a secret it asks nothing.
    pub audience: Option<&'a str>,
}

/// An audience as it can be asked for.
pub fn audience(text: &str) -> Result<&str, Error> {
    if (1..=MAX_AUDIENCE_BYTES).contains(&text.len()) {
        return Ok(text);
    }
    let message =
        format!("an audience has 1 to {MAX_AUDIENCE_BYTES} bytes; leave it out for Keyledger itself");
    Err(Error::invalid("audience", message))
}

/// Who asks.
#[derive(Clone, Debug)]
pub enum Asker {
    /// A management key whose secret was checked, or that token of it.
    Key(Arc<Entry>, Option<Arc<Token>>),
    /// Whoever holds a key, about that key only.
    Holder(Arc<Entry>),
    /// Whoever reaches a listener that is open to its host.
    Open,
}

impl Asker {
    fn key(&self) -> Option<KeyId> {
        match self {
            Self::Key(entry, _) | Self::Holder(entry) => Some(entry.key),
            Self::Open => None,
        }
    }

    fn organization(&self) -> Option<OrganizationId> {
        match self {
            Self::Key(entry, _) | Self::Holder(entry) => Some(entry.organization()),
            Self::Open => None,
        }
    }

    fn may_verify(&self, entry: &Entry) -> bool {
        match self {
            Self::Key(asker, _) => asker.may(Right::Verify, entry),
            Self::Holder(holder) => holder.key == entry.key,
            Self::Open => true,
        }
    }
}

/// What is answered. It is recorded already.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Whether the key may, and if not, why.
    pub code: VerificationCode,
    /// The key whose secret matched; none for [`VerificationCode::NotFound`] and
    /// [`VerificationCode::Malformed`].
    pub entry: Option<Arc<Entry>>,
    /// The token of that key, if one was presented instead of its secret.
    pub token: Option<Arc<Signed>>,
    /// What its rate limits and credits said; none when it has none, or was refused before.
    pub checked: Option<Checked>,
}

/// A key that somebody presented.
#[derive(Clone, Debug)]
pub struct Held {
    /// The key, and which of its secrets it was or was exchanged for the token.
    pub entry: Arc<Entry>,
    /// The token, if it was one.
    pub token: Option<Arc<Signed>>,
}

impl Held {
    fn means(&self) -> Option<Means> {
        self.token.as_ref().map(|_| Means::Token)
    }
}

impl From<Arc<Entry>> for Held {
    fn from(entry: Arc<Entry>) -> Self {
        Self { entry, token: None }
    }
}

/// What is found out before it is recorded.
struct Finding {
    code: VerificationCode,
    held: Option<Held>,
    checked: Result<Option<Checked>, NoSuchLimit>,
}

/// See the head of this module.
pub struct Verifier {
    hasher: SecretHasher,
    directory: Arc<Directory>,
    tokens: Tokens,
    recorder: Recorder,
    edge: Edge,
}

impl Verifier {
    /// From its parts.
    pub fn new(
        hasher: SecretHasher,
        directory: Arc<Directory>,
        keyring: Arc<Keyring>,
        recorder: Recorder,
        edge: Edge,
    ) -> Self {
        Self { hasher, directory, tokens: Tokens::new(keyring), recorder, edge }
    }

    /// What it looks keys up in.
    pub fn directory(&self) -> &Arc<Directory> {
        &self.directory
    }

    /// What it checks the signatures of tokens with.
    pub fn keyring(&self) -> &Arc<Keyring> {
        self.tokens.keyring()
    }

    /// What it records with.
    pub fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    /// Answers a question, once the answer is recorded. Fails with [`Code::Unavailable`](crate::error::Code::Unavailable) when it cannot be, and
    /// with [`Code::InvalidInput`](crate::error::Code::InvalidInput) when it chose a rate limit that the key does not have. That tells that the
    /// key is good, so it is recorded too: as a refusal by its limits.
    pub async fn verify(&self, asked: &Question<'_>, by: &Asker) -> Result<Answer, Error> {
        self.up_to_date()?;
        let now = self.edge.now();
        let by = &self.asker_now(by, now)?;
        let Finding { code, held, checked } = self.answer(asked, by, now);
        let used = Use {
            action: asked.request.access.map(|(action, _)| action),
            ip: asked.request.address.map(|address| address.to_canonical()),
            // Anybody can send what no key stands behind: of that nothing is kept that a sender chooses.
            detail: held.as_ref().and_then(|_| detail(asked, &checked)),
            ..used(code, held.as_ref(), by)
        };
        self.recorder.record(used, now).await?;
        let (entry, token) = held.map(|held| (held.entry, held.token)).unzip();
        Ok(Answer { code, entry, token: token.flatten(), checked: checked? })
    }

    fn answer(&self, asked: &Question<'_>, by: &Asker, now: Timestamp) -> Finding {
        let (mut code, held) = self.judge(asked.key, by, |entry, token| {
            let token = token.map(|token| self.tokens.presented(token, asked.audience));
            decide(entry, token.as_ref(), &asked.request, now)
        });
        let mut checked = Ok(None);
        if code == VerificationCode::Valid
            && let Some(held) = &held
        {
            checked = spend(&held.entry, &asked.charge, now);
            code = match &checked {
                Err(NoSuchLimit) => VerificationCode::RateLimited,
                Ok(checked) => checked.as_ref().map_or(code, Checked::code),
            };
        }
        Finding { code, held, checked }
    }

    /// What a text is, apart from what it would spend; and the key, where the asker may be told of one.
    fn judge(
        &self,
        text: &str,
        by: &Asker,
        decide: impl FnOnce(&Entry, Option<&Signed>) -> VerificationCode,
    ) -> (VerificationCode, Option<Held>) {
        let (nobodys, found) = self.presented(text, |found| mine(found, |entry| by.may_verify(entry)));
        let Some(held) = found else { return (nobodys, None) };
        // Decided before it is known whether the asker may be told, so that time does not tell either. Limits come
        // after that: whoever may not ask must not use up the key for those who may.
        match decide(&held.entry, held.token.as_deref()) {
            VerificationCode::NotFound => (nobodys, None),
            _ if !by.may_verify(&held.entry) => (nobodys, None),
            code => (code, Some(held)),
        }
    }

    /// The key that a text is a secret or a token of; and what is answered if it were nobody's, which is also what
    /// somebody is told who may not know.
    ///
    /// Keys of which a digest was brought can be several with one secret: who imports a digest does not prove
    /// to know the secret. `choose` decides between them. Whoever has the text comes first.
    fn presented(
        &self,
        text: &str,
        choose: impl FnOnce(&mut dyn Iterator<Item = Arc<Entry>>) -> Option<Arc<Entry>>,
    ) -> (VerificationCode, Option<Held>) {
        let (nobodys, formed) = match self.read(text) {
            Ok(token) => return (VerificationCode::NotFound, self.of_token(token)),
            Err(no_token) => no_token,
        };
        let found = self.foremost(text, formed).or_else(|| choose(&mut self.by_digest(text)));
        (nobodys, found.map(Held::from))
    }

    /// Every key that has this secret, whatever became of it since, for somebody who says besides which one is meant;
    /// and what is answered if it is none of them. A token is no secret: otherwise one would lead to the next for ever.
    fn keys_with<'a>(&'a self, secret: &'a str) -> (VerificationCode, impl Iterator<Item = Arc<Entry>> + 'a) {
        let (nobodys, formed) = match self.read(secret) {
            Ok(_) => (VerificationCode::NotFound, None),
            Err((nobodys, formed)) => (nobodys, Some(formed)),
        };
        let all =
            formed.map(|formed| self.foremost(secret, formed).into_iter().chain(self.by_digest(secret)));
        (nobodys, all.into_iter().flatten())
    }

    /// The token that a text is. Otherwise what is answered if it is nobody's secret either, and the form of ours if it
    /// has that.
    fn read<'a>(&self, text: &'a str) -> Result<Arc<Signed>, (VerificationCode, Option<WellFormed<'a>>)> {
        if token::looks_like_one(text) {
            // Keys of other services can look like this, too, and can have been imported.
            return self.tokens.read(text).map_err(|code| (code, None));
        }
        let formed = WellFormed::parse(text);
        Err((if formed.is_some() { VerificationCode::NotFound } else { VerificationCode::Malformed }, formed))
    }

    /// The key that was made here with this secret, or that somebody brought the secret of.
    fn foremost(&self, text: &str, formed: Option<WellFormed<'_>>) -> Option<Arc<Entry>> {
        match formed {
            Some(secret) => self.directory.find(&self.hasher.hash(secret)),
            None => self.imported(SecretScheme::Text, text),
        }
    }

    /// The keys of which a digest of this text was brought.
    fn by_digest<'a>(&'a self, text: &'a str) -> impl Iterator<Item = Arc<Entry>> + 'a {
        let digests = [SecretScheme::Sha256, SecretScheme::Blake3];
        digests.into_iter().filter_map(|scheme| self.imported(scheme, text))
    }

    /// The key of a token, as long as the secret that was exchanged for it is one.
    fn of_token(&self, token: Arc<Signed>) -> Option<Held> {
        let entry = self.directory.of_key(token.claims.sub, token.claims.secret)?;
        (entry.organization() == token.claims.org).then(|| Held { entry, token: Some(token) })
    }

    /// The key whose secret was imported by this scheme. Costs nothing where none ever was.
    fn imported(&self, scheme: SecretScheme, text: &str) -> Option<Arc<Entry>> {
        if !self.directory.has_imported(scheme) {
            return None;
        }
        let text = Foreign::parse(text)?;
        self.directory.find(&self.hasher.hash_foreign(scheme, text))
    }

    /// Who asks, as it is now: its question may have taken seconds to arrive.
    fn asker_now(&self, by: &Asker, now: Timestamp) -> Result<Asker, Error> {
        let Asker::Key(known, token) = by else { return Ok(by.clone()) };
        let entry = self.directory.find(&known.hash).ok_or_else(unauthenticated)?;
        // Nearly always nothing changed. Otherwise all that a change can take away is looked at again.
        let stands = Arc::ptr_eq(&entry, known)
            || !(entry.revoked || entry.disabled || entry.expired(now) || entry.secret_ended(now))
                && entry.holder().may_somewhere(Right::Verify);
        let stands = stands && token.as_ref().is_none_or(|token| self.tokens.stands(token, &entry, now));
        if stands { Ok(Asker::Key(entry, token.clone())) } else { Err(unauthenticated()) }
    }

    /// A directory that no longer follows the log may not know of a revocation.
    fn up_to_date(&self) -> Result<(), Error> {
        if self.directory.abandoned() {
            return Err(Error::unavailable(
                "this node no longer follows the log and so verifies nothing; the operator has to restart it",
            ));
        }
        Ok(())
    }
}

/// Of several keys the first that somebody may know of: a stranger who imports the digest of a secret does not
/// take it from its owner. The first of all if there is none, so that as much is done for it.
fn mine(mut found: &mut dyn Iterator<Item = Arc<Entry>>, may: impl Fn(&Entry) -> bool) -> Option<Arc<Entry>> {
    let first = found.next()?;
    if may(&first) { Some(first) } else { Iterator::find(&mut found, |entry| may(entry)).or(Some(first)) }
}

/// What is recorded of an answer, whatever was asked.
fn used(code: VerificationCode, held: Option<&Held>, by: &Asker) -> Use {
    let organization = held.map(|held| held.entry.organization());
    Use {
        organization: organization.or_else(|| by.organization()),
        by: by.key(),
        key: held.map(|held| held.entry.key),
        secret: held.map(|held| held.entry.secret_version),
        means: held.and_then(Held::means),
        code,
        action: None,
        ip: None,
        detail: None,
    }
}

fn spend(entry: &Entry, charge: &Charge<'_>, now: Timestamp) -> Result<Option<Checked>, NoSuchLimit> {
    let nanos = u64::try_from(now.micros()).unwrap_or(0).saturating_mul(1_000);
    meter::charge(entry.meter().map(Arc::as_ref), entry.identity().map(Arc::as_ref), charge, nanos)
}

/// Whether a secret or a token of anybody stands in a text, or this secret, which may have been imported.
pub fn reveals(text: &str, secret: &str) -> bool {
    WellFormed::is_in(text)
        || secret::in_any_reading(text, |text| Foreign::parse(secret).is_some() && text.contains(secret))
}

/// What is recorded beyond what every record has; nothing for most verifications.
fn detail(asked: &Question<'_>, checked: &Result<Option<Checked>, NoSuchLimit>) -> Option<Box<Detail>> {
    let resource =
        asked.request.access.map(|(_, resource)| resource.as_str()).filter(|text| !text.is_empty());
    // Whoever puts a secret into a path does not get it into the log.
    let resource = resource.filter(|text| !reveals(text, asked.key));
    let spent = checked.as_ref().ok().and_then(Option::as_ref).map_or([None; 2], |checked| checked.spent);
    let detail = Detail {
        resource: resource.map(Box::from),
        tags: asked.tags.clone(),
        cost: asked.charge.cost,
        spent,
    };
    (!detail.is_plain()).then(|| Box::new(detail))
}
