//! Values typed on the command line.

use std::io::Read;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;
use std::{fs, io};

use ipnet::IpNet;
use keyledger_schema::{
    Environment, GrantRole, Metadata, OrganizationId, RoleId, Scope, Timestamp, WorkspaceId,
};
use serde_json::{Value, json};

use super::Failure;

/// Sets a field of an input if there is a value. What is left out is not sent: null could mean "none".
pub fn set(input: &mut Value, field: &str, value: Option<impl serde::Serialize>) {
    if let Some(value) = value {
        input[field] = json!(value);
    }
}

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

/// A role by its id or its name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RoleArgument {
    /// `role_…`.
    Id(RoleId),
    /// Without regard to case.
    Name(String),
}

impl FromStr for RoleArgument {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map_or_else(|_| name(text).map(Self::Name), |id| Ok(Self::Id(id)))
    }
}

/// So many requests in so much time: `600/60s`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RateArgument {
    limit: u64,
    seconds: u64,
}

impl FromStr for RateArgument {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FORM: &str = "a rate is a number of requests, / and a length of time: 600/60s, 10000/24h";
        let (limit, time) = text.split_once('/').ok_or(FORM)?;
        if limit.is_empty() || !limit.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(FORM);
        }
        let seconds = duration(time).map_err(|_| FORM)?.as_secs();
        if seconds == 0 {
            return Err(FORM);
        }
        Ok(Self { limit: limit.parse().map_err(|_| FORM)?, seconds })
    }
}

impl RateArgument {
    fn to_input(self) -> Value {
        json!({ "limit": self.limit, "windowSeconds": self.seconds })
    }
}

/// A named rate: `api=600/60s`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RateLimitArgument {
    name: String,
    rate: RateArgument,
}

impl FromStr for RateLimitArgument {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FORM: &str = "a rate limit is a name, = and a rate, such as api=600/60s; the name is 1 to 32 of \
                            a-z, 0-9, _ and -";
        let (name, rate) = text.split_once('=').ok_or(FORM)?;
        let fits = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-');
        if !(1..=32).contains(&name.len()) || !name.bytes().all(fits) {
            return Err(FORM);
        }
        Ok(Self { name: name.to_owned(), rate: rate.parse()? })
    }
}

impl RateLimitArgument {
    /// As GraphQL wants it.
    pub fn to_input(&self) -> Value {
        let mut input = self.rate.to_input();
        input["name"] = self.name.as_str().into();
        input
    }
}

/// As GraphQL wants a scope.
pub fn scope_input(scope: &Scope) -> Value {
    let action = match scope.action.as_str() {
        "*" => "ANY".into(),
        action => action.to_uppercase(),
    };
    json!({ "action": action, "resource": scope.resource.as_str() })
}

/// A scope and how people call it: `read:customers/**=Customer Read`. Nothing behind the sign takes the
/// name away.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ScopeNameArgument {
    /// Which one.
    pub scope: Scope,
    /// Its name.
    pub name: Option<String>,
}

impl FromStr for ScopeNameArgument {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        // A resource may contain the sign; a name hardly does.
        let (scope, name) = text.rsplit_once('=').ok_or(
            "a scope's name is the scope, = and the name, such as 'read:customers/**=Customer Read'",
        )?;
        let scope = scope.parse().map_err(|error: keyledger_schema::scope::Error| error.to_string())?;
        let name = name.trim();
        Ok(Self { scope, name: (!name.is_empty()).then(|| name.to_owned()) })
    }
}

/// A rule of a policy as GraphQL wants it: null takes the rule away.
fn rule(text: &str, value: impl FnOnce(&str) -> Result<Value, &'static str>) -> Result<Value, String> {
    if text == "unset" {
        return Ok(Value::Null);
    }
    value(text).map_err(|message| format!("{message}; or unset, which takes the rule away"))
}

/// `on`, `off` or `unset`.
pub fn switch_rule(text: &str) -> Result<Value, String> {
    rule(text, |text| match text {
        "on" => Ok(true.into()),
        "off" => Ok(false.into()),
        _ => Err("expected on or off"),
    })
}

/// `yes`, `no` or `unset`.
pub fn demand_rule(text: &str) -> Result<Value, String> {
    rule(text, |text| match text {
        "yes" => Ok(true.into()),
        "no" => Ok(false.into()),
        _ => Err("expected yes or no"),
    })
}

/// A length of time in seconds, or `unset`.
pub fn length_rule(text: &str) -> Result<Value, String> {
    rule(text, |text| duration(text).map(|length| length.as_secs().into()))
}

/// A length of time in minutes, or `unset`.
pub fn minutes_rule(text: &str) -> Result<Value, String> {
    rule(text, |text| match duration(text)?.as_secs() {
        seconds if seconds.is_multiple_of(60) => Ok((seconds / 60).into()),
        _ => Err("expected whole minutes, such as 30m or 24h"),
    })
}

/// A rate, or `unset`.
pub fn rate_rule(text: &str) -> Result<Value, String> {
    rule(text, |text| text.parse().map(RateArgument::to_input))
}

/// Environments with commas between, or `unset`.
pub fn environments_rule(text: &str) -> Result<Value, String> {
    rule(text, |text| {
        let one = |text: &str| {
            let environment = text.trim().parse::<Environment>();
            environment.map(|environment| Value::from(environment.as_str().to_uppercase()))
        };
        text.split(',')
            .map(one)
            .collect::<Result<_, _>>()
            .map_err(|_| "expected production, staging or development, with commas between")
    })
}

/// A number of keys, or null for `unlimited`.
pub fn quota(text: &str) -> Result<Value, &'static str> {
    if text == "unlimited" {
        return Ok(Value::Null);
    }
    text.parse::<u64>().map(Value::from).map_err(|_| "expected a number of keys, or unlimited")
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
    fn rates_are_requests_in_a_time() {
        let limit = |text: &str| text.parse::<RateLimitArgument>().map(|limit| limit.to_input());
        assert_eq!(
            limit("api=600/60s").unwrap(),
            json!({ "name": "api", "limit": 600, "windowSeconds": 60 })
        );
        assert_eq!(limit("per-day=10000/24h").unwrap()["windowSeconds"], 86_400);
        for text in ["api", "api=600", "=600/60s", "API=1/1s", "api=+1/1s", "api=1/0", "api=/1s", "a=1/x"] {
            assert!(limit(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_role_is_an_id_or_a_name() {
        let id = "role_01h455vb4pex5vsknk084sn02q";
        assert_eq!(id.parse(), Ok(RoleArgument::Id(id.parse().unwrap())));
        assert_eq!("Support ".parse(), Ok(RoleArgument::Name("Support".into())));
        assert!(" ".parse::<RoleArgument>().is_err());
    }

    #[test]
    fn a_scope_is_named_behind_the_last_sign() {
        let named = |text: &str| text.parse::<ScopeNameArgument>().unwrap();
        let both = named("read:a=b=Customer Read");
        assert_eq!(
            (both.scope.to_string().as_str(), both.name.as_deref()),
            ("read:a=b", Some("Customer Read"))
        );
        assert_eq!(named("read:a=").name, None);
        assert!("read:a".parse::<ScopeNameArgument>().is_err());
        assert!("fly:a=x".parse::<ScopeNameArgument>().is_err());
    }

    #[test]
    fn rules_are_set_or_taken_away() {
        assert_eq!(switch_rule("off"), Ok(json!(false)));
        assert_eq!(demand_rule("yes"), Ok(json!(true)));
        assert_eq!(length_rule("30d"), Ok(json!(2_592_000)));
        assert_eq!(minutes_rule("2h"), Ok(json!(120)));
        assert_eq!(rate_rule("1000/60s"), Ok(json!({ "limit": 1000, "windowSeconds": 60 })));
        assert_eq!(environments_rule("production, staging"), Ok(json!(["PRODUCTION", "STAGING"])));
        for parse in [switch_rule, demand_rule, length_rule, minutes_rule, rate_rule, environments_rule] {
            assert_eq!(parse("unset"), Ok(Value::Null));
            assert!(parse("soon").unwrap_err().contains("unset"));
            assert!(parse("").is_err());
        }
        assert!(minutes_rule("90s").is_err());
        assert_eq!((quota("10"), quota("unlimited")), (Ok(json!(10)), Ok(Value::Null)));
        assert!(quota("-1").is_err());
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
