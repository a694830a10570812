//! Values typed on the command line.

use std::io::Read;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;
use std::{fs, io};

use ipnet::IpNet;
use keyledger_schema::{GrantRole, Metadata, OrganizationId, Timestamp, WorkspaceId};
use serde_json::{Value, json};

use super::Failure;

/// A name: not blank.
pub fn name(text: &str) -> Result<String, &'static str> {
    let text = text.trim();
    if text.is_empty() { Err("a name has at least one visible character") } else { Ok(text.to_owned()) }
}

/// A prefix of secrets.
pub fn prefix(text: &str) -> Result<String, &'static str> {
    if crate::secret::is_prefix(text) {
        Ok(text.to_owned())
    } else {
        Err("a prefix has 1 to 16 of a-z and 0-9, a letter first")
    }
}

/// An address or a network.
pub fn cidr(text: &str) -> Result<String, &'static str> {
    text.parse::<IpNet>()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
        .map(|network| network.to_string())
        .map_err(|_| "expected an address or a network, such as 203.0.113.7, 203.0.113.0/24 or 2001:db8::/32")
}

/// A length of time: a number and one of s, m, h, d, w.
pub fn duration(text: &str) -> Result<Duration, &'static str> {
    const EXPECTED: &str = "expected a whole number and one of s, m, h, d, w, such as 30m, 24h or 90d";
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let unit = match text.bytes().last() {
        Some(b's') => 1,
        Some(b'm') => 60,
        Some(b'h') => 3_600,
        Some(b'd') => 86_400,
        Some(b'w') => 7 * 86_400,
        _ => return Err(EXPECTED),
    };
    let digits = &text[..text.len() - 1];
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(EXPECTED);
    }
    let seconds = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    seconds.map(Duration::from_secs).ok_or("this is longer than can be counted")
}

/// A moment, or a length of time from now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Moment {
    /// So far from now.
    Away(Duration),
    /// Then.
    At(Timestamp),
}

impl FromStr for Moment {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(length) = duration(text) {
            return Ok(Self::Away(length));
        }
        text.parse().map(Self::At).map_err(
            |_| "expected a length of time such as 12h or 90d, or a moment such as 2027-01-31T00:00:00Z",
        )
    }
}

impl Moment {
    /// Lengths count into the future.
    pub fn ahead_of(self, now: Timestamp) -> Timestamp {
        match self {
            Self::Away(length) => now.plus(length),
            Self::At(at) => at,
        }
    }

    /// Lengths count into the past.
    pub fn before(self, now: Timestamp) -> Timestamp {
        match self {
            Self::Away(length) => {
                let micros = i64::try_from(length.as_micros()).unwrap_or(i64::MAX);
                Timestamp::from_micros(now.micros().saturating_sub(micros))
            }
            Self::At(at) => at,
        }
    }
}

/// A grant as it is typed: `verifier@workspace:ws_…`, `auditor@organization`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GrantArgument {
    role: GrantRole,
    on: GrantPlace,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum GrantPlace {
    /// The caller's.
    OwnOrganization,
    Organization(OrganizationId),
    Workspace(WorkspaceId),
}

impl FromStr for GrantArgument {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        const FORM: &str = "a grant is a role, @ and a place: verifier@workspace:ws_…, auditor@organization or \
                            auditor@organization:org_…";
        let (role, place) = text.split_once('@').ok_or(FORM)?;
        let role = role.replace('-', "_");
        let role = GrantRole::ALL.into_iter().find(|known| known.as_str() == role).ok_or_else(|| {
            let known = GrantRole::ALL.map(|role| role.as_str().replace('_', "-"));
            format!("the role of a grant is one of {}", known.join(", "))
        })?;
        let on = match place.split_once(':') {
            None if place == "organization" => GrantPlace::OwnOrganization,
            Some(("organization", id)) => {
                GrantPlace::Organization(id.parse().map_err(|e: keyledger_schema::id::Error| e.to_string())?)
            }
            Some(("workspace", id)) => {
                GrantPlace::Workspace(id.parse().map_err(|e: keyledger_schema::id::Error| e.to_string())?)
            }
            _ => return Err(FORM.into()),
        };
        Ok(Self { role, on })
    }
}

impl GrantArgument {
    /// Whether the caller's organization has to be known to send it.
    pub fn needs_organization(self) -> bool {
        self.on == GrantPlace::OwnOrganization
    }

    /// As GraphQL wants it. `own` is the id of the caller's organization.
    pub fn to_input(self, own: &Value) -> Value {
        let role = self.role.as_str().to_uppercase();
        match self.on {
            GrantPlace::OwnOrganization => json!({ "role": role, "organizationId": own }),
            GrantPlace::Organization(id) => json!({ "role": role, "organizationId": id }),
            GrantPlace::Workspace(id) => json!({ "role": role, "workspaceId": id }),
        }
    }
}

/// Metadata: JSON, `@file`, or `@-` for standard input.
pub fn metadata(text: &str) -> Result<Value, Failure> {
    let unreadable = |error: io::Error| Failure::usage(format!("--metadata {text} cannot be read: {error}"));
    let json = match text.strip_prefix('@') {
        None => text.to_owned(),
        Some("-") => {
            let mut json = String::new();
            io::stdin().read_to_string(&mut json).map_err(unreadable)?;
            json
        }
        Some(path) => fs::read_to_string(path).map_err(unreadable)?,
    };
    let value: Value = serde_json::from_str(&json).map_err(|error| {
        Failure::usage(format!("--metadata is not JSON: {error}; write {{\"team\": \"x\"}} or @FILE"))
    })?;
    let metadata =
        Metadata::from_value(value).map_err(|error| Failure::usage(format!("--metadata: {error}")))?;
    Ok(metadata.to_value())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_have_a_unit() {
        for (text, seconds) in [("0", 0), ("45s", 45), ("30m", 1_800), ("24h", 86_400), ("90d", 7_776_000)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(duration("2w"), duration("14d"));
        for text in ["", "d", "90", "-1d", "1.5h", "1y", "+3d", "1é", "99999999999999999999d"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_moment_is_a_length_or_a_date() {
        let now: Timestamp = "2026-11-21T00:00:00Z".parse().unwrap();
        let at = |text: &str| text.parse::<Moment>().unwrap();
        assert_eq!(at("1d").ahead_of(now).to_string(), "2026-11-22T00:00:00.000000Z");
        assert_eq!(at("1d").before(now).to_string(), "2026-11-20T00:00:00.000000Z");
        assert_eq!(at("99999w").before(now).micros(), 0);
        assert_eq!(at("2027-01-31T01:00:00+01:00").before(now).to_string(), "2027-01-31T00:00:00.000000Z");
        assert!("tomorrow".parse::<Moment>().is_err());
    }

    #[test]
    fn a_grant_is_a_role_and_a_place() {
        let workspace = "ws_01h455vb4pex5vsknk084sn02q";
        let input = |text: &str| text.parse::<GrantArgument>().unwrap().to_input(&json!("org_own"));
        assert_eq!(
            input(&format!("workspace-manager@workspace:{workspace}")),
            json!({ "role": "WORKSPACE_MANAGER", "workspaceId": workspace })
        );
        assert_eq!(input("auditor@organization"), json!({ "role": "AUDITOR", "organizationId": "org_own" }));
        let other = "org_01h455vb4pex5vsknk084sn02q";
        assert_eq!(
            input(&format!("organization_administrator@organization:{other}"))["organizationId"],
            json!(other)
        );
        for text in
            ["auditor", "king@organization", "auditor@", "auditor@workspace", "auditor@workspace:org_1"]
        {
            assert!(text.parse::<GrantArgument>().is_err(), "{text}");
        }
    }

    #[test]
    fn addresses_become_networks() {
        assert_eq!(cidr("203.0.113.7").unwrap(), "203.0.113.7/32");
        assert_eq!(cidr("2001:db8::/32").unwrap(), "2001:db8::/32");
        assert!(cidr("example.com").is_err());
    }

    #[test]
    fn metadata_comes_from_the_argument_or_a_file() {
        assert_eq!(metadata(r#"{"team":"x"}"#).unwrap(), json!({ "team": "x" }));
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("m.json");
        fs::write(&path, r#"{"a": 1}"#).unwrap();
        assert_eq!(metadata(&format!("@{}", path.display())).unwrap(), json!({ "a": 1 }));
        for text in ["[]", "{", "@/nowhere"] {
            assert_eq!(metadata(text).unwrap_err().code, "USAGE", "{text}");
        }
    }
}
