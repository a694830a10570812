//! Tokens that their holders can narrow without asking anybody: biscuits (Eclipse Biscuit, specification 3.3).
//!
//! The first block, the authority block, says what the claims of a JWT say, one fact for each. It is signed with the
//! same key of the organization. Behind it whoever holds the token can add blocks with checks; all checks of all blocks
//! have to hold for a request ([`Narrowed::allow`]).
//!
//! Nobody can take a signature of the one form for one of the other: what is signed for a JWT begins with `eyJ`, and
//! what is signed for an authority block with the tag of the first field of a protobuf message, 0x0A.
//!
//! Invariants:
//! - What a token says is read from the authority block alone. Other blocks can hold checks and nothing else, see
//!   [`vet`]; a token with a block that tells facts of its own is none.
//! - Nothing that a holder adds takes longer to check than its length allows.
//! - A biscuit never acts on what Keyledger itself guards: it carries no grants.

mod facts;
mod vet;

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use biscuit_auth::builder::{Check, Fact, Term, fact};
use biscuit_auth::error::Token as Error;
use biscuit_auth::format::schema;
use biscuit_auth::{Algorithm, AuthorizerBuilder, AuthorizerLimits, Biscuit, KeyPair, PrivateKey, PublicKey};
use ed25519_dalek::{SigningKey, VerifyingKey};
use keyledger_schema::{Action, Timestamp};
use prost::Message;

use super::claims::Claims;
use super::{MAX_BYTES, jwk};

pub use self::vet::{MAX_BLOCKS, MAX_OPS, MAX_PREDICATES, MAX_QUERIES};

/// Writes padding, as the tools of the format do, and reads texts without it too.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Shorter than any token; longer than any secret that is made here.
const MIN_CHARS: usize = 200;

/// Where the engine stops, should it ever get so far: [`vet`] keeps it from that. The time is long enough for a thread
/// that has to wait for its turn.
const LIMITS: AuthorizerLimits =
    AuthorizerLimits { max_facts: 32, max_iterations: 4, max_time: Duration::from_secs(1) };

/// Makes a token. `next` are 32 fresh random bytes: the private key that lets its holder add a block.
pub fn mint(claims: &Claims, key: &SigningKey, next: &[u8; 32]) -> Result<String, Error> {
    let pair =
        |secret: &[u8]| PrivateKey::from_bytes(secret, Algorithm::Ed25519).map(|it| KeyPair::from(&it));
    let mut builder = Biscuit::builder().root_key_id(jwk::number(key.verifying_key().as_bytes()));
    for known in facts::of(claims) {
        builder = builder.fact(known)?;
    }
    // Whoever checks the token without asking here has to keep to its time as well.
    let (from, until) = (rfc3339(claims.nbf), rfc3339(claims.exp));
    let builder = builder.check(&*format!("check if time($time), $time >= {from}, $time < {until}"))?;
    let symbols = biscuit_auth::datalog::SymbolTable::new();
    let token = builder.build_with_key_pair(&pair(key.as_bytes())?, symbols, &pair(next)?)?;
    Ok(BASE64.encode(token.to_vec()?))
}

fn rfc3339(seconds: i64) -> String {
    let at = Timestamp::from_micros(seconds.saturating_mul(1_000_000));
    at.to_datetime().format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Seconds since 1970 as Datalog has them.
fn date(seconds: i64) -> Term {
    Term::Date(u64::try_from(seconds).unwrap_or_default())
}

/// Whether a text can be a token at all. Cheap for what is none.
pub fn looks_like_one(text: &str) -> bool {
    // The first field is the number of the root key, its tag is 0x08.
    (MIN_CHARS..=MAX_BYTES).contains(&text.len()) && text.starts_with('C') && decoded(text).is_some()
}

fn decoded(text: &str) -> Option<(Vec<u8>, schema::Biscuit)> {
    let bytes = BASE64.decode(text).ok()?;
    let container = schema::Biscuit::decode(&*bytes).ok()?;
    (container.root_key_id.is_some() && container.authority.signature.len() == 64)
        .then_some((bytes, container))
}

/// A token whose signatures were not checked yet: all that may be looked at is which key it names.
pub struct Unchecked {
    bytes: Vec<u8>,
    number: u32,
    narrowed: bool,
}

impl Unchecked {
    /// A token in its text form; none for what has another form, or blocks that hold more than a few plain checks.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > MAX_BYTES {
            return None;
        }
        let (bytes, container) = decoded(text)?;
        let number = container.root_key_id?;
        vet::blocks(&container.blocks).then_some(Self {
            bytes,
            number,
            narrowed: !container.blocks.is_empty(),
        })
    }

    /// The number of the key that it says it was signed with, see [`jwk::number`]. Several keys can have the same.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// What it says, if this key signed it and each further block is by a holder of what stands before it.
    pub fn claims(&self, key: &VerifyingKey) -> Option<(Claims, Option<Narrowed>)> {
        let root = PublicKey::from_bytes(key.as_bytes(), Algorithm::Ed25519).ok()?;
        let token = Biscuit::from(&self.bytes, root).ok()?;
        let claims = facts::read(&token)?;
        Some((claims, self.narrowed.then(|| Narrowed(Box::new(token)))))
    }
}

/// The blocks of a token as Datalog, for people. Nothing of it is checked. None for what is no token.
pub fn shown(text: &str) -> Option<Vec<String>> {
    let token = biscuit_auth::UnverifiedBiscuit::from(decoded(text.trim())?.0).ok()?;
    (0..token.block_count()).map(|number| token.print_block_source(number).ok()).collect()
}

/// What a request is, as checks ask for it.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The moment: `time(…)`.
    pub now: Timestamp,
    /// What is to be done: `action("read")`.
    pub action: Option<Action>,
    /// On what: `resource("customers/42")`.
    pub resource: Option<&'a str>,
    /// From where: `ip("203.0.113.7")`.
    pub address: Option<IpAddr>,
    /// Who asks: `audience("https://api.example")`.
    pub audience: Option<&'a str>,
}

impl Request<'_> {
    fn facts(&self) -> impl Iterator<Item = Fact> {
        let text = |name: &str, text: String| fact(name, &[Term::Str(text)]);
        let time = fact("time", &[date(self.now.micros().div_euclid(1_000_000))]);
        let action = self.action.map(|action| text("action", action.as_str().to_owned()));
        let resource = self.resource.map(|resource| text("resource", resource.to_owned()));
        let address = self.address.map(|address| text("ip", address.to_canonical().to_string()));
        let audience = self.audience.map(|audience| text("audience", audience.to_owned()));
        [Some(time), action, resource, address, audience].into_iter().flatten()
    }
}

/// The checks that holders added to a token.
pub struct Narrowed(Box<Biscuit>);

/// The token is as good as a secret, so nothing of it is shown.
impl fmt::Debug for Narrowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Narrowed").finish_non_exhaustive()
    }
}

impl Narrowed {
    /// Whether all of them hold. What cannot be decided does not hold: a check of the resource where none is named, or
    /// one that compares a number with a text.
    pub fn allow(&self, request: &Request<'_>) -> bool {
        self.try_allow(request).is_ok()
    }

    fn try_allow(&self, request: &Request<'_>) -> Result<usize, Error> {
        let mut authorizer = AuthorizerBuilder::new().policy("allow if true")?.set_limits(LIMITS);
        for known in request.facts() {
            authorizer = authorizer.fact(known)?;
        }
        authorizer.build(&self.0)?.authorize()
    }

    /// About how much memory it takes, in bytes: the token, and as much again for what was read out of it.
    pub fn bytes(&self) -> usize {
        self.0.serialized_size().map_or(MAX_BYTES, |size| 6 * size)
    }
}

/// What a holder can narrow a token to. Several values of one kind are alternatives; kinds add up.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Narrowing {
    /// It is good for so long at most: before this moment.
    pub until: Option<Timestamp>,
    /// For these actions only.
    pub actions: BTreeSet<&'static str>,
    /// For these resources only. One that ends in `/**` stands for what is before that and everything below it.
    pub resources: BTreeSet<Box<str>>,
    /// From these addresses only.
    pub addresses: BTreeSet<IpAddr>,
    /// For these audiences only.
    pub audiences: BTreeSet<Box<str>>,
}

impl Narrowing {
    /// The checks in Datalog. Values are put in as values, never as code.
    fn checks(&self) -> Result<Vec<Check>, Error> {
        let equal = |name: &str, values: &mut dyn Iterator<Item = String>| {
            let code = format!("check if {name}({{value}})");
            values.map(|value| with_value(&code, value)).collect::<Result<Vec<_>, _>>()
        };
        let mut resources = Vec::new();
        for pattern in &self.resources {
            let above = pattern.strip_suffix("/**");
            resources.push(with_value("check if resource({value})", above.unwrap_or(pattern).to_owned())?);
            if let Some(above) = above {
                let code = "check if resource($resource), $resource.starts_with({value})";
                resources.push(with_value(code, format!("{above}/"))?);
            }
        }
        let until = self.until.map(|until| {
            let until = rfc3339(until.micros().div_euclid(1_000_000));
            Check::try_from(&*format!("check if time($time), $time < {until}"))
        });
        let kinds = [
            until.transpose()?.into_iter().collect(),
            equal("action", &mut self.actions.iter().map(|&action| action.to_owned()))?,
            resources,
            equal("ip", &mut self.addresses.iter().map(|address| address.to_canonical().to_string()))?,
            equal("audience", &mut self.audiences.iter().map(ToString::to_string))?,
        ];
        Ok(kinds.into_iter().filter_map(one_of).collect())
    }

    /// The token with one more block. Needs nothing but the token; `next` are 32 fresh random bytes.
    pub fn of(&self, text: &str, next: &[u8; 32]) -> Result<String, Error> {
        let token = biscuit_auth::UnverifiedBiscuit::from(BASE64.decode(text.trim()).unwrap_or_default())?;
        let mut block = biscuit_auth::BlockBuilder::new();
        for check in self.checks()? {
            block = block.check(check)?;
        }
        let next = KeyPair::from(&PrivateKey::from_bytes(next, Algorithm::Ed25519)?);
        Ok(BASE64.encode(token.append_with_keypair(&next, block)?.to_vec()?))
    }
}

/// A check with a text where its code says `{value}`.
fn with_value(code: &str, value: String) -> Result<Check, Error> {
    let mut check = Check::try_from(code)?;
    check.set("value", Term::Str(value))?;
    Ok(check)
}

/// One check that holds where any of several does; none of none.
fn one_of(checks: Vec<Check>) -> Option<Check> {
    checks.into_iter().reduce(|mut all, one| {
        all.queries.extend(one.queries);
        all
    })
}

#[cfg(test)]
mod tests;
