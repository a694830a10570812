//! Verification: the hot path.
//!
//! parse and checksum → keyed hash → directory → decision → rate limits and credits → record → answer. Every step
//! before the record is in memory and takes well below a microsecond.
//!
//! Invariants:
//! - Nothing is looked up for a text that is not a well-formed secret, unless it can be an imported one and
//!   keys were imported.
//! - Nothing about a key is told before its secret matched. A key that the asker may not verify is
//!   answered and recorded exactly as a secret that nobody has, by the same steps in the same order, and
//!   spends none of its rate limits and credits.
//! - Nothing is answered that is not recorded; see [`recorder`] for when.
//!
//! Architecture invariant: this module changes no key and knows no transport. It takes no lock that is
//! held during I/O, and writes no log line per request.

pub mod decision;
pub mod directory;
mod entry;
#[cfg(test)]
mod fixture;
mod intern;
pub mod limits;
pub mod meter;
pub mod realm;
pub mod recorder;
pub mod replay;
pub mod tags;

use std::net::IpAddr;
use std::sync::Arc;

use keyledger_schema::grant::Right;
use keyledger_schema::{KeyId, OrganizationId, RequestId, SecretScheme, Source, Timestamp, VerificationCode};

use self::decision::{Request, decide, identity};
use self::directory::{Directory, Entry};
use self::limits::{Charge, NoSuchLimit};
use self::meter::Checked;
use self::recorder::{Detail, Recorder, Use};
use self::tags::Tags;
use crate::caller::Caller;
use crate::edge::Edge;
use crate::error::{Code, Error};
use crate::secret::{Foreign, SecretHasher, WellFormed};

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
}

/// Who asks.
#[derive(Clone, Debug)]
pub enum Asker {
    /// A management key whose secret was checked.
    Key(Arc<Entry>),
    /// Whoever reaches a listener that is open to its host.
    Open,
}

impl Asker {
    fn key(&self) -> Option<KeyId> {
        match self {
            Self::Key(entry) => Some(entry.key),
            Self::Open => None,
        }
    }

    fn organization(&self) -> Option<OrganizationId> {
        match self {
            Self::Key(entry) => Some(entry.organization()),
            Self::Open => None,
        }
    }

    fn may_verify(&self, entry: &Entry) -> bool {
        match self {
            Self::Key(asker) => asker.may(Right::Verify, entry),
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
    /// What its rate limits and credits said; none when it has none, or was refused before.
    pub checked: Option<Checked>,
}

/// What is found out before it is recorded.
struct Finding {
    code: VerificationCode,
    entry: Option<Arc<Entry>>,
    checked: Result<Option<Checked>, NoSuchLimit>,
}

/// See the head of this module.
pub struct Verifier {
    hasher: SecretHasher,
    directory: Arc<Directory>,
    recorder: Recorder,
    edge: Edge,
}

impl Verifier {
    /// From its parts.
    pub fn new(hasher: SecretHasher, directory: Arc<Directory>, recorder: Recorder, edge: Edge) -> Self {
        Self { hasher, directory, recorder, edge }
    }

    /// What it looks keys up in.
    pub fn directory(&self) -> &Arc<Directory> {
        &self.directory
    }

    /// What it records with.
    pub fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    /// Answers a question, once the answer is recorded. Fails with [`Code::Unavailable`] when it cannot be, and
    /// with [`Code::InvalidInput`] when it chose a rate limit that the key does not have. That tells that the
    /// key is good, so it is recorded too: as a refusal by its limits.
    pub async fn verify(&self, asked: &Question<'_>, by: &Asker) -> Result<Answer, Error> {
        self.up_to_date()?;
        let now = self.edge.now();
        let by = &self.asker_now(by, now)?;
        let Finding { code, entry, checked } = self.answer(asked, by, now);
        let used = Use {
            organization: entry
                .as_ref()
                .map_or_else(|| by.organization(), |entry| Some(entry.organization())),
            by: by.key(),
            key: entry.as_ref().map(|entry| entry.key),
            secret: entry.as_ref().map(|entry| entry.secret_version),
            means: None,
            code,
            action: asked.request.access.map(|(action, _)| action),
            ip: asked.request.address.map(|address| address.to_canonical()),
            // Anybody can send what no key stands behind: of that nothing is kept that a sender chooses.
            detail: entry.as_ref().and_then(|_| detail(asked, &checked)),
        };
        self.recorder.record(used, now).await?;
        Ok(Answer { code, entry, checked: checked? })
    }

    fn answer(&self, asked: &Question<'_>, by: &Asker, now: Timestamp) -> Finding {
        let (nobodys, found) = self.presented(asked.key, |found| mine(found, |entry| by.may_verify(entry)));
        let nothing = Finding { code: nobodys, entry: None, checked: Ok(None) };
        let Some(entry) = found else { return nothing };
        // Decided before it is known whether the asker may be told, so that time does not tell either. Limits come
        // after that: whoever may not ask must not use up the key for those who may.
        let mut code = match decide(&entry, &asked.request, now) {
            VerificationCode::NotFound => return nothing,
            _ if !by.may_verify(&entry) => return nothing,
            code => code,
        };
        let mut checked = Ok(None);
        if code == VerificationCode::Valid {
            checked = spend(&entry, &asked.charge, now);
            code = match &checked {
                Err(NoSuchLimit) => VerificationCode::RateLimited,
                Ok(checked) => checked.as_ref().map_or(code, Checked::code),
            };
        }
        Finding { code, entry: Some(entry), checked }
    }

    /// The key that a text is a secret of; and what is answered if it were nobody's, which is also what
    /// somebody is told who may not know.
    ///
    /// Keys of which a digest was brought can be several with one secret: who imports a digest does not prove
    /// to know the secret. `choose` decides between them. Whoever has the text comes first.
    fn presented(
        &self,
        text: &str,
        choose: impl FnOnce(&mut dyn Iterator<Item = Arc<Entry>>) -> Option<Arc<Entry>>,
    ) -> (VerificationCode, Option<Arc<Entry>>) {
        let (nobodys, found) = match WellFormed::parse(text) {
            Some(secret) => (VerificationCode::NotFound, self.directory.find(&self.hasher.hash(secret))),
            None => (VerificationCode::Malformed, self.imported(SecretScheme::Text, text)),
        };
        let found = found.or_else(|| {
            let digests = [SecretScheme::Sha256, SecretScheme::Blake3];
            choose(&mut digests.into_iter().filter_map(|scheme| self.imported(scheme, text)))
        });
        (nobodys, found)
    }

    /// The key whose secret was imported by this scheme. Costs nothing where none ever was.
    fn imported(&self, scheme: SecretScheme, text: &str) -> Option<Arc<Entry>> {
        if !self.directory.has_imported(scheme) {
            return None;
        }
        let text = Foreign::parse(text)?;
        self.directory.find(&self.hasher.hash_foreign(scheme, text))
    }

    /// Who holds a secret, whatever became of the key since: it may be disabled, expired or revoked, and the
    /// address does not matter. Fails with [`Code::Unauthenticated`] where it is no key's; that is recorded.
    pub async fn holder(&self, text: &str, address: Option<IpAddr>) -> Result<Arc<Entry>, Error> {
        self.up_to_date()?;
        let now = self.edge.now();
        let (nobodys, found) = self.presented(text, only);
        if let Some(entry) = found.filter(|entry| !entry.secret_ended(now)) {
            return Ok(entry);
        }
        self.record_refused(None, nobodys, address, now).await?;
        Err(Error::new(Code::Unauthenticated, "no key has this secret; check that it was copied whole"))
    }

    /// The key that a text is a secret of, among those that somebody may know of. This is no use of the key,
    /// and is not recorded here.
    pub fn identify(&self, text: &str, may: impl Fn(&Entry) -> bool) -> Result<Option<Arc<Entry>>, Error> {
        self.up_to_date()?;
        let now = self.edge.now();
        let (_, found) = self.presented(text, |found| mine(found, &may));
        Ok(found.filter(|entry| !entry.secret_ended(now) && may(entry)))
    }

    /// Who presents this secret in order to ask. Fails with [`Code::Unauthenticated`] where it is not that
    /// of a management key which is valid here and now, and with [`Code::Forbidden`] where the key may
    /// verify nothing. Both are recorded.
    pub async fn asker(&self, bearer: &str, address: Option<IpAddr>) -> Result<Asker, Error> {
        let entry = self.management_key(bearer, address).await?;
        if !entry.holder().may_somewhere(Right::Verify) {
            let code = VerificationCode::InsufficientScope;
            self.record_refused(Some(&entry), code, address, self.edge.now()).await?;
            return Err(Error::new(
                Code::Forbidden,
                "your key may not verify keys; use one that holds the grant verifier, or give it to this one",
            ));
        }
        Ok(Asker::Key(entry))
    }

    /// Who presents this secret in order to manage keys. Fails with [`Code::Unauthenticated`] and one and
    /// the same message, whatever is wrong. The failure is recorded.
    pub async fn authenticate(&self, bearer: &str, source: Source) -> Result<Caller, Error> {
        let entry = self.management_key(bearer, source.ip.as_deref().copied()).await?;
        let management = entry.management().ok_or_else(unauthenticated)?;
        Ok(Caller {
            credential: entry.hash,
            key: entry.key,
            organization: entry.organization(),
            workspace: entry.workspace,
            grants: Arc::clone(&management.grants),
            email: Arc::clone(&management.email),
            source,
            request: RequestId::from_uuid(self.edge.uuid()),
        })
    }

    /// Who asks, as it is now: its question may have taken seconds to arrive.
    fn asker_now(&self, by: &Asker, now: Timestamp) -> Result<Asker, Error> {
        let Asker::Key(known) = by else { return Ok(by.clone()) };
        let entry = self.directory.find(&known.hash).ok_or_else(unauthenticated)?;
        // Nearly always nothing changed. Otherwise all that a change can take away is looked at again.
        let stands = Arc::ptr_eq(&entry, known)
            || !(entry.revoked || entry.disabled || entry.expired(now) || entry.secret_ended(now))
                && entry.holder().may_somewhere(Right::Verify);
        if stands { Ok(Asker::Key(entry)) } else { Err(unauthenticated()) }
    }

    /// Whether a caller is still who it was: its secret is still valid here and gives the same grants. A request
    /// may take seconds to arrive and do several things; none of them may follow a revocation that was answered.
    pub fn still_stands(&self, caller: &Caller) -> Result<(), Error> {
        self.up_to_date()?;
        let request = Request { address: caller.source.ip.as_deref().copied(), ..Request::default() };
        let stands = self.directory.find(&caller.credential).is_some_and(|entry| {
            entry.key == caller.key
                && identity(&entry, &request, self.edge.now()) == VerificationCode::Valid
                && entry.grants() == &*caller.grants
        });
        if stands { Ok(()) } else { Err(unauthenticated()) }
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

    async fn management_key(&self, bearer: &str, address: Option<IpAddr>) -> Result<Arc<Entry>, Error> {
        self.up_to_date()?;
        let now = self.edge.now();
        let request = Request { address, ..Request::default() };
        let (nobodys, found) = self.presented(bearer, only);
        let (code, entry) = match found.map(|entry| (identity(&entry, &request, now), entry)) {
            None | Some((VerificationCode::NotFound, _)) => (nobodys, None),
            Some((code, entry)) => (code, Some(entry)),
        };
        if code == VerificationCode::Valid
            && let Some(entry) = entry.as_ref().filter(|entry| entry.management().is_some())
        {
            return Ok(Arc::clone(entry));
        }
        // A valid key without grants is not one that may call: its scopes are about another API.
        let code = if code == VerificationCode::Valid { VerificationCode::InsufficientScope } else { code };
        self.record_refused(entry.as_deref(), code, address, now).await?;
        Err(unauthenticated())
    }

    /// Records that somebody presented a secret in order to call, and may not.
    async fn record_refused(
        &self,
        entry: Option<&Entry>,
        code: VerificationCode,
        address: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<(), Error> {
        let used = Use {
            organization: entry.map(Entry::organization),
            by: None,
            key: entry.map(|entry| entry.key),
            secret: entry.map(|entry| entry.secret_version),
            means: None,
            code,
            action: None,
            ip: address.map(|address| address.to_canonical()),
            detail: None,
        };
        self.recorder.record(used, now).await
    }
}

/// Of several keys the first that somebody may know of: a stranger who imports the digest of a secret does not
/// take it from its owner. The first of all if there is none, so that as much is done for it.
fn mine(mut found: &mut dyn Iterator<Item = Arc<Entry>>, may: impl Fn(&Entry) -> bool) -> Option<Arc<Entry>> {
    let first = found.next()?;
    if may(&first) { Some(first) } else { Iterator::find(&mut found, |entry| may(entry)).or(Some(first)) }
}

/// None of several keys: it cannot be known who means it, and a stranger may have made one of them.
fn only(found: &mut dyn Iterator<Item = Arc<Entry>>) -> Option<Arc<Entry>> {
    found.next().filter(|_| found.next().is_none())
}

fn spend(entry: &Entry, charge: &Charge<'_>, now: Timestamp) -> Result<Option<Checked>, NoSuchLimit> {
    let nanos = u64::try_from(now.micros()).unwrap_or(0).saturating_mul(1_000);
    meter::charge(entry.meter().map(Arc::as_ref), entry.identity().map(Arc::as_ref), charge, nanos)
}

/// What is recorded beyond what every record has; nothing for most verifications.
fn detail(asked: &Question<'_>, checked: &Result<Option<Checked>, NoSuchLimit>) -> Option<Box<Detail>> {
    let resource =
        asked.request.access.map(|(_, resource)| resource.as_str()).filter(|text| !text.is_empty());
    // Whoever puts a secret into a path does not get it into the log.
    let resource = resource.filter(|text| !WellFormed::is_in(text) && !text.contains(asked.key));
    let spent = checked.as_ref().ok().and_then(Option::as_ref).map_or([None; 2], |checked| checked.spent);
    let detail = Detail {
        resource: resource.map(Box::from),
        tags: asked.tags.clone(),
        cost: asked.charge.cost,
        spent,
    };
    (!detail.is_plain()).then(|| Box::new(detail))
}

/// The same for every reason, so that it tells nothing about a key.
pub fn unauthenticated() -> Error {
    Error::new(
        Code::Unauthenticated,
        "this needs a valid management key: send it as Authorization: Bearer <key>, from an address it may be used from",
    )
}
