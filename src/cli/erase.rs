//! `keyledger erase …`.

use clap::{Args, ValueEnum};
use keyledger_schema::{IdentityId, KeyId};
use serde_json::{Value, json};

use super::client::Client;
use super::output::clean;
use super::table::text;
use super::{Connection, Failure, Output, confirm, queries, told};

/// Arguments of `erase`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  keyledger erase key_01jd8xqnfsfe7vb5y3j2m0k7ha --reason request
  keyledger erase idn_01jd8xqnfsfe7vb5y3j2m0k7ha --reason retention --yes

A key has to be revoked, deleted or expired first, an identity deleted. Needs a grant as organization
administrator. The events stay, and what they prove; see docs/personal-data.md.")]
pub struct EraseArgs {
    /// Id of the key, or of the identity, whose keys are erased with it
    #[arg(value_name = "ID")]
    pub id: SubjectArgument,
    /// Why, for the trail
    #[arg(long, value_enum)]
    pub reason: ReasonArgument,
    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would show it as help")]
    pub connection: Connection,
}

/// Whose personal data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "clap would show it as help")]
pub enum SubjectArgument {
    Key(KeyId),
    Identity(IdentityId),
}

impl std::str::FromStr for SubjectArgument {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let key = text.parse().map(Self::Key);
        key.or_else(|_| text.parse().map(Self::Identity))
            .map_err(|_| "expected the id of a key or of an identity: key_… or idn_…")
    }
}

impl std::fmt::Display for SubjectArgument {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Key(id) => id.fmt(f),
            Self::Identity(id) => id.fmt(f),
        }
    }
}

/// Why.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
#[allow(missing_docs, reason = "clap would show it as help")]
pub enum ReasonArgument {
    /// The person asked for it
    Request,
    /// It has been kept for as long as it may be
    Retention,
    /// Something else
    Other,
}

/// Does it.
pub fn run(args: &EraseArgs, client: &Client, out: &mut Output<'_>) -> Result<(), Failure> {
    const WHAT: &str = "Erasing personal data cannot be undone";
    confirm::require(args.yes, WHAT)?;
    if !args.yes {
        confirm::ask(&clean(&format!("{WHAT}: names, addresses and metadata of {}. Go on?", args.id)))?;
    }
    let reason = match args.reason {
        ReasonArgument::Request => "REQUEST",
        ReasonArgument::Retention => "RETENTION",
        ReasonArgument::Other => "OTHER",
    };
    let input = json!({ "id": args.id.to_string(), "reason": reason });
    let data = client.call(queries::ERASE_SUBJECT, &json!({ "input": input }))?;
    if out.is_json() {
        return out.json(&data);
    }
    let payload = &data["eraseSubject"];
    for line in lines(payload) {
        out.line(line)?;
    }
    told::warn(payload, out);
    Ok(())
}

/// What is erased now, a line each.
fn lines(payload: &Value) -> Vec<String> {
    let nothing = payload["events"].as_array().is_some_and(Vec::is_empty);
    let done = if nothing { "was erased already:" } else { "erased" };
    let keys = payload["keys"].as_array().into_iter().flatten();
    let identity = Some(&payload["identity"]).filter(|identity| !identity.is_null());
    keys.chain(identity)
        .filter_map(|subject| text(&subject["id"]))
        .map(|id| clean(&format!("{done} {id}")).into_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_subject_is_told() {
        let payload = json!({ "events": [{}], "keys": [{ "id": "key_1" }, { "id": "key_2" }], "identity": { "id": "idn_1" } });
        assert_eq!(lines(&payload), ["erased key_1", "erased key_2", "erased idn_1"]);
        let payload = json!({ "events": [], "keys": [{ "id": "key_1" }], "identity": null });
        assert_eq!(lines(&payload), ["was erased already: key_1"]);
    }

    #[test]
    fn only_keys_and_identities_are_subjects() {
        assert!("key_01h455vb4pex5vsknk084sn02q".parse::<SubjectArgument>().is_ok());
        assert!("idn_01h455vb4pex5vsknk084sn02q".parse::<SubjectArgument>().is_ok());
        for other in ["", "org_01h455vb4pex5vsknk084sn02q", "customer-7"] {
            assert!(other.parse::<SubjectArgument>().is_err(), "{other}");
        }
    }
}
