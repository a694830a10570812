//! Introspection: somebody asks what a token is, and uses nothing of it (RFC 7662).

use std::net::IpAddr;

use ipnet::IpNet;
use keyledger_schema::{Means, VerificationCode};

use super::decision::{Request, decide};
use super::recorder::Use;
use super::{Answer, Asker, Verifier, used};
use crate::error::Error;
use crate::token;

/// What is asked about a token.
#[derive(Clone, Copy)]
pub struct Inquiry<'a> {
    /// The text that was presented to whoever asks.
    pub token: &'a str,
    /// For whom it has to be; anybody if it is not said, as the answer tells for whom it is.
    pub audience: Option<&'a str>,
    /// From which address it was presented; anywhere if it is not said.
    pub address: Option<IpAddr>,
}

impl Verifier {
    /// Tells whether a token is good, by the same checks as a verification that asks for no access. The token is
    /// active if the answer is [`VerificationCode::Valid`], and must not be told of otherwise (RFC 7662 §2.2). It is
    /// recorded before, and spends neither limits nor credits. The secret of a key is no token.
    pub async fn introspect(&self, asked: &Inquiry<'_>, by: &Asker) -> Result<Answer, Error> {
        self.up_to_date()?;
        let now = self.edge.now();
        let by = &self.asker_now(by, now)?;
        let (code, held) = if token::looks_like_one(asked.token) {
            self.judge(asked.token, by, |entry, token| {
                let mut token = token.map(|token| self.tokens.presented(token, asked.audience));
                if let (Some(token), None) = (&mut token, asked.audience) {
                    token.for_asker = true;
                    token.audience = token.claims.aud.all().first().map_or(token.audience, |first| first);
                }
                let anywhere = || entry.networks().first().map(IpNet::addr);
                let request = Request { address: asked.address.or_else(anywhere), ..Request::default() };
                decide(entry, token.as_ref(), &request, now)
            })
        } else {
            (VerificationCode::Malformed, None)
        };
        // An imported secret can look like a token.
        let secret = held.as_ref().is_some_and(|held| held.token.is_none());
        let (code, held) = if secret { (VerificationCode::Malformed, None) } else { (code, held) };
        let used = Use {
            means: Some(Means::Introspection),
            ip: asked.address.map(|address| address.to_canonical()),
            ..used(code, held.as_ref(), by)
        };
        self.recorder.record(used, now).await?;
        let (entry, token) = held.map(|held| (held.entry, held.token)).unzip();
        Ok(Answer { code, entry, token: token.flatten(), checked: None })
    }
}
