//! Who calls: secrets and tokens of management keys, and of whoever holds a key.

use std::net::IpAddr;
use std::sync::Arc;

use keyledger_schema::grant::Right;
use keyledger_schema::{RequestId, Source, Timestamp, VerificationCode};

use super::decision::{Request, identity};
use super::directory::Entry;
use super::recorder::Use;
use super::{Asker, Held, Verifier, mine, used};
use crate::caller::Caller;
use crate::error::{Code, Error};
use crate::token;

impl Verifier {
    /// Who holds a secret, whatever became of the key since: it may be disabled, expired or revoked, and the
    /// address does not matter. Fails with [`Code::Unauthenticated`] where it is no key's; that is recorded. A token
    /// is not enough: it must not do to its key what it could not do to itself.
    pub async fn holder(&self, text: &str, address: Option<IpAddr>) -> Result<Arc<Entry>, Error> {
        self.up_to_date()?;
        let now = self.edge.now();
        let (nobodys, found) = self.presented(text, only);
        if let Some(Held { entry, token: None }) = found
            && !entry.secret_ended(now)
        {
            return Ok(entry);
        }
        self.record_refused(None, nobodys, address, now).await?;
        let message = if token::looks_like_one(text) {
            "this needs the secret of the key; a token of it is not enough"
        } else {
            "no key has this secret; check that it was copied whole"
        };
        Err(Error::new(Code::Unauthenticated, message))
    }

    /// The key that a text is a secret or a token of, among those that somebody may know of. This is no use of the
    /// key, and is not recorded here.
    pub fn identify(&self, text: &str, may: impl Fn(&Entry) -> bool) -> Result<Option<Held>, Error> {
        self.up_to_date()?;
        let now = self.edge.now();
        let (_, found) = self.presented(text, |found| mine(found, &may));
        Ok(found.filter(|held| !held.entry.secret_ended(now) && may(&held.entry)))
    }

    /// Who presents this secret or token in order to ask. Fails with [`Code::Unauthenticated`] where it is not that
    /// of a management key which is valid here and now, and with [`Code::Forbidden`] where the key may
    /// verify nothing. Both are recorded.
    pub async fn asker(&self, bearer: &str, address: Option<IpAddr>) -> Result<Asker, Error> {
        let held = self.management_key(bearer, address).await?;
        if !held.entry.holder().may_somewhere(Right::Verify) {
            let code = VerificationCode::InsufficientScope;
            self.record_refused(Some(&held), code, address, self.edge.now()).await?;
            return Err(Error::new(
                Code::Forbidden,
                "your key may not verify keys; use one that holds the grant verifier, or give it to this one",
            ));
        }
        Ok(Asker::Key(held.entry, held.token.map(|token| Arc::new(token.of_caller()))))
    }

    /// Who presents this secret or token in order to manage keys. Fails with [`Code::Unauthenticated`] and one and
    /// the same message, whatever is wrong. The failure is recorded.
    pub async fn authenticate(&self, bearer: &str, source: Source) -> Result<Caller, Error> {
        let Held { entry, token } = self.management_key(bearer, source.ip.as_deref().copied()).await?;
        let management = entry.management().ok_or_else(unauthenticated)?;
        let token = token.map(|token| Arc::new(token.of_caller()));
        Ok(Caller {
            credential: entry.hash,
            key: entry.key,
            organization: entry.organization(),
            workspace: entry.workspace,
            grants: Arc::clone(&management.grants),
            email: Arc::clone(&management.email),
            source: Source { token: token.as_ref().map(|token| token.id), ..source },
            token,
            request: RequestId::from_uuid(self.edge.uuid()),
        })
    }

    /// Whether a caller is still who it was: its secret is still valid here and gives the same grants, and its token
    /// is still good if it called with one. A request may take seconds to arrive and do several things; none of them may follow a revocation that was answered.
    pub fn still_stands(&self, caller: &Caller) -> Result<(), Error> {
        self.up_to_date()?;
        let now = self.edge.now();
        let request = Request { address: caller.source.ip.as_deref().copied(), ..Request::default() };
        let stands = self.directory.find(&caller.credential).is_some_and(|entry| {
            entry.key == caller.key
                && identity(&entry, None, &request, now) == VerificationCode::Valid
                && entry.grants() == &*caller.grants
                && caller.token.as_ref().is_none_or(|token| self.tokens.stands(token, &entry, now))
        });
        if stands { Ok(()) } else { Err(unauthenticated()) }
    }

    async fn management_key(&self, bearer: &str, address: Option<IpAddr>) -> Result<Held, Error> {
        self.up_to_date()?;
        let now = self.edge.now();
        let request = Request { address, ..Request::default() };
        let (nobodys, found) = self.presented(bearer, only);
        let judged = found.map(|held| {
            let token = held.token.as_ref().map(|token| self.tokens.presented(token, None));
            (identity(&held.entry, token.as_ref(), &request, now), held)
        });
        let (code, held) = match judged {
            None | Some((VerificationCode::NotFound, _)) => (nobodys, None),
            Some((code, held)) => (code, Some(held)),
        };
        if code == VerificationCode::Valid
            && let Some(held) = held.as_ref().filter(|held| held.may_manage())
        {
            return Ok(held.clone());
        }
        // A valid key without grants is not one that may call: its scopes are about another API. The same goes for a
        // token that was narrowed.
        let code = if code == VerificationCode::Valid { VerificationCode::InsufficientScope } else { code };
        self.record_refused(held.as_ref(), code, address, now).await?;
        Err(unauthenticated())
    }

    /// Records that somebody presented a secret or a token in order to call, and may not.
    async fn record_refused(
        &self,
        held: Option<&Held>,
        code: VerificationCode,
        address: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<(), Error> {
        let ip = address.map(|address| address.to_canonical());
        self.recorder.record(Use { ip, ..used(code, held, &Asker::Open) }, now).await
    }
}

impl Held {
    fn may_manage(&self) -> bool {
        self.entry.management().is_some() && self.token.as_ref().is_none_or(|token| token.claims.grants)
    }
}

/// None of several keys: it cannot be known who means it, and a stranger may have made one of them.
fn only(found: &mut dyn Iterator<Item = Arc<Entry>>) -> Option<Arc<Entry>> {
    found.next().filter(|_| found.next().is_none())
}

/// The same for every reason, so that it tells nothing about a key.
pub fn unauthenticated() -> Error {
    Error::new(
        Code::Unauthenticated,
        "this needs a valid management key: send it as Authorization: Bearer <key>, from an address it may be used from",
    )
}
