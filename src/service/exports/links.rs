//! Addresses that hand out an export without a key, for a few minutes: for browsers and for tools that cannot send
//! headers.
//!
//! Invariants: an address gives what its key may read when it is used, never more than when it was made, and nothing
//! once that key's secret is no longer valid, or the token that it was asked for with. Whoever has it can use it, so it is neither logged nor kept.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keyledger_schema::{KeyId, Source, Timestamp};

use super::events::EventsAsked;
use crate::caller::{Caller, Token};
use crate::error::{Code, Error, Result};
use crate::export::Format;
use crate::service::Service;
use crate::service::keys::query_failed;
use crate::service::told::Told;

/// Where exports of events are.
pub const PATH: &str = "/v1/audit/export";
/// How long an address is good.
pub const LIFETIME: Duration = Duration::from_mins(5);
/// What stands between what is signed and the signature.
const SIGNATURE: &str = "&signature=";

/// An address and its end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Link {
    /// Path and query, to be resolved against wherever the server was reached.
    pub url: String,
    /// From then on it is no longer good.
    pub expires_at: Timestamp,
}

/// What everybody is told whose address is not good, whatever the reason.
fn refused() -> Error {
    Error::new(
        Code::Unauthenticated,
        "the address is not valid, is no longer valid, or its key may not do this; ask for a new one",
    )
}

/// Of whoever's key is no longer valid, the same; of anything else, what it is.
pub fn or_refused(error: Error) -> Error {
    if error.code == Code::Unauthenticated { refused() } else { error }
}

/// Whether a query is that of a signed address.
pub fn is_signed(query: &str) -> bool {
    query.contains(SIGNATURE)
}

impl Service {
    /// Makes an address for what the caller may have now.
    pub async fn export_link(&self, caller: &Caller, asked: EventsAsked, format: Format) -> Result<Link> {
        let (organization, _) = self.events_query(caller, &asked).await?;
        let asked = EventsAsked { organization: Some(organization), ..asked };
        let token = caller.token.as_deref();
        let expires_at = self.now().plus(LIFETIME);
        let expires_at = token.map_or(expires_at, |token| expires_at.min(token.expires_at));
        let mut told = Told::default();
        told.tell("format", Some(format.name()));
        asked.tell(&mut told);
        told.tell("key", Some(caller.key));
        told.tell("token", token.map(|token| token.id));
        told.tell("epoch", token.map(|token| token.epoch));
        told.tell("signer", token.map(|token| &token.kid));
        told.tell("expires", Some(expires_at));
        let signed = format!("{PATH}?{}", told.text());
        let signature = self.master.links().sign(&caller.credential, &signed);
        let url = format!("{signed}{SIGNATURE}{}", URL_SAFE_NO_PAD.encode(signature));
        Ok(Link { url, expires_at })
    }

    /// In whose name the address with this query may be used. That the key still may what it might when its grants
    /// were read is for the caller to find out.
    pub async fn caller_of_link(&self, query: &str, source: Source) -> Result<Caller> {
        let (signed, signature) = query.rsplit_once(SIGNATURE).ok_or_else(refused)?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| refused())?;
        let value = |name: &str| {
            let mut pairs = signed.split('&').filter_map(|pair| pair.split_once('='));
            pairs.find(|(found, _)| *found == name).map(|(_, value)| value)
        };
        let key: KeyId = value("key").and_then(|text| text.parse().ok()).ok_or_else(refused)?;
        let expires_at: Timestamp =
            value("expires").and_then(|text| text.parse().ok()).ok_or_else(refused)?;
        let token = match value("token").zip(value("signer")) {
            None => None,
            Some((id, kid)) => {
                let id = id.parse().map_err(|_| refused())?;
                let epoch = value("epoch").and_then(|text| text.parse().ok()).ok_or_else(refused)?;
                Some(Arc::new(Token { id, epoch, kid: kid.into(), expires_at }))
            }
        };
        let row = self.read_model.key(key).await.map_err(|error| query_failed(&error))?;
        let state = row.map(|row| row.state).ok_or_else(refused)?;
        let address = format!("{PATH}?{signed}");
        let links = self.master.links();
        // With the secret it was asked with it ends, too.
        let secrets = [
            Some(state.secret.record.hash),
            state.previous_secret.as_ref().map(|previous| previous.record.hash),
        ];
        let credential =
            secrets.into_iter().flatten().find(|hash| links.is_signed(hash, &address, &signature));
        let credential = credential.filter(|_| self.now() < expires_at).ok_or_else(refused)?;
        Ok(Caller {
            credential,
            token,
            key,
            organization: state.organization,
            workspace: state.workspace,
            grants: Arc::from(&*state.grants),
            email: Arc::from(&**state.email),
            source,
            request: keyledger_schema::RequestId::from_uuid(self.edge.uuid()),
        })
    }
}
