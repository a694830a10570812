//! The claims of a token as facts of its authority block.

use std::collections::BTreeSet;

use biscuit_auth::builder::{Fact, Term, fact};
use biscuit_auth::error::Token as Error;
use biscuit_auth::{AuthorizerBuilder, Biscuit};

use super::{LIMITS, date};
use crate::token::claims::{Audience, Claims};

/// The facts in the order in which [`Row`] has them, each with one value.
const NAMES: [&str; 13] = [
    "issuer",
    "key",
    "organization",
    "workspace",
    "environment",
    "token",
    "secret_version",
    "epoch",
    "audiences",
    "scope",
    "issued_at",
    "not_before",
    "expires_at",
];

/// The facts that say what claims say, but for grants.
pub(super) fn of(claims: &Claims) -> impl Iterator<Item = Fact> {
    let text = |text: &dyn ToString| Term::Str(text.to_string());
    let audiences: BTreeSet<Term> = claims.aud.all().iter().map(|one| text(one)).collect();
    let values = [
        text(&claims.iss),
        text(&claims.sub),
        text(&claims.org),
        text(&claims.workspace),
        text(&claims.env.as_str()),
        text(&claims.jti),
        Term::Integer(claims.secret.into()),
        Term::Integer(claims.epoch.into()),
        Term::Set(audiences),
        text(&claims.scope),
        date(claims.iat),
        date(claims.nbf),
        date(claims.exp),
    ];
    NAMES.into_iter().zip(values).map(|(name, value)| fact(name, &[value]))
}

/// One value of each fact.
struct Row([Term; NAMES.len()]);

impl TryFrom<Fact> for Row {
    type Error = Error;

    fn try_from(fact: Fact) -> Result<Self, Error> {
        let unfit = |_| Error::ConversionError("a fact has too few or too many values".into());
        fact.predicate.terms.try_into().map(Self).map_err(unfit)
    }
}

/// What a token says: the facts of its authority block. None for a token that says less, or more than one thing.
pub(super) fn read(token: &Biscuit) -> Option<Claims> {
    let variables: Vec<String> = NAMES.iter().map(|name| format!("${name}")).collect();
    let body: Vec<String> = NAMES.iter().map(|name| format!("{name}(${name})")).collect();
    let query = format!("claims({}) <- {}", variables.join(", "), body.join(", "));
    let mut authorizer = AuthorizerBuilder::new().set_limits(LIMITS).build(token).ok()?;
    // A query sees the facts of the authority block, and of the authorizer, which has none.
    let mut rows: Vec<Row> = authorizer.query(&*query).ok()?;
    let (Some(row), true) = (rows.pop(), rows.is_empty()) else { return None };
    row.claims()
}

fn text(term: Term) -> Option<String> {
    if let Term::Str(text) = term { Some(text) } else { None }
}

fn seconds(term: &Term) -> Option<i64> {
    if let Term::Date(seconds) = term { i64::try_from(*seconds).ok() } else { None }
}

impl Row {
    fn claims(self) -> Option<Claims> {
        let [iss, key, org, workspace, env, token, secret, epoch, audiences, scope, iat, nbf, exp] = self.0;
        let (Term::Integer(secret), Term::Integer(epoch)) = (secret, epoch) else { return None };
        let Term::Set(audiences) = audiences else { return None };
        let aud: Option<Vec<Box<str>>> =
            audiences.into_iter().map(|one| text(one).map(String::into_boxed_str)).collect();
        let sub = text(key)?.parse().ok()?;
        Some(Claims {
            iss: text(iss)?.into(),
            sub,
            aud: Audience::new(aud?),
            exp: seconds(&exp)?,
            nbf: seconds(&nbf)?,
            iat: seconds(&iat)?,
            jti: text(token)?.parse().ok()?,
            client_id: sub,
            scope: text(scope)?.into(),
            org: text(org)?.parse().ok()?,
            workspace: text(workspace)?.parse().ok()?,
            env: text(env)?.parse().ok()?,
            secret: u32::try_from(secret).ok()?,
            epoch: u32::try_from(epoch).ok()?,
            grants: false,
        })
    }
}
