//! What one source says, and which source wins.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Deserializer};

use super::error::Error;
use crate::secret::{WellFormed, parse_master_key};

/// A setting, by all its names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Setting {
    /// The data directory.
    DataDir,
    /// The listener.
    Listen,
    /// The open listener.
    OpenListen,
    /// The usage mode.
    Usage,
    /// The trusted proxies.
    TrustedProxies,
    /// How many days the verification log is kept.
    VerificationLogDays,
    /// The log's name.
    LogOrigin,
    /// Whether the log's hashes are public.
    PublicLog,
    /// Where clients reach the server.
    PublicUrl,
    /// The master key's file.
    MasterKeyFile,
    /// The log format.
    LogFormat,
    /// The log level.
    LogLevel,
}

impl Setting {
    /// Every setting.
    pub const ALL: [Self; 12] = [
        Self::DataDir,
        Self::Listen,
        Self::OpenListen,
        Self::Usage,
        Self::TrustedProxies,
        Self::VerificationLogDays,
        Self::LogOrigin,
        Self::PublicLog,
        Self::PublicUrl,
        Self::MasterKeyFile,
        Self::LogFormat,
        Self::LogLevel,
    ];

    /// In the file.
    pub const fn key(self) -> &'static str {
        match self {
            Self::DataDir => "data_dir",
            Self::Listen => "listen",
            Self::OpenListen => "open_listen",
            Self::Usage => "usage",
            Self::TrustedProxies => "trusted_proxies",
            Self::VerificationLogDays => "verification_log_days",
            Self::LogOrigin => "log_origin",
            Self::PublicLog => "public_log",
            Self::PublicUrl => "public_url",
            Self::MasterKeyFile => "master_key_file",
            Self::LogFormat => "log_format",
            Self::LogLevel => "log_level",
        }
    }

    /// On the command line.
    pub const fn flag(self) -> &'static str {
        match self {
            Self::DataDir => "--data-dir",
            Self::Listen => "--listen",
            Self::OpenListen => "--open-listen",
            Self::Usage => "--usage",
            Self::TrustedProxies => "--trusted-proxy",
            Self::VerificationLogDays => "--verification-log-days",
            Self::LogOrigin => "--log-origin",
            Self::PublicLog => "--public-log",
            Self::PublicUrl => "--public-url",
            Self::MasterKeyFile => "--master-key-file",
            Self::LogFormat => "--log-format",
            Self::LogLevel => "--log-level",
        }
    }

    /// In the environment.
    pub const fn variable(self) -> &'static str {
        match self {
            Self::DataDir => "KEYLEDGER_DATA_DIR",
            Self::Listen => "KEYLEDGER_LISTEN",
            Self::OpenListen => "KEYLEDGER_OPEN_LISTEN",
            Self::Usage => "KEYLEDGER_USAGE",
            Self::TrustedProxies => "KEYLEDGER_TRUSTED_PROXIES",
            Self::VerificationLogDays => "KEYLEDGER_VERIFICATION_LOG_DAYS",
            Self::LogOrigin => "KEYLEDGER_LOG_ORIGIN",
            Self::PublicLog => "KEYLEDGER_PUBLIC_LOG",
            Self::PublicUrl => "KEYLEDGER_PUBLIC_URL",
            Self::MasterKeyFile => "KEYLEDGER_MASTER_KEY_FILE",
            Self::LogFormat => "KEYLEDGER_LOG_FORMAT",
            Self::LogLevel => "KEYLEDGER_LOG_LEVEL",
        }
    }
}

/// Where a value came from, named as its user knows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Origin {
    /// The command line.
    Flag(&'static str),
    /// The environment.
    Variable(&'static str),
    /// The file.
    File(PathBuf, &'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => write!(f, "the flag {flag}"),
            Self::Variable(name) => write!(f, "the environment variable {name}"),
            Self::File(file, key) => write!(f, "the setting {key} in the file {}", file.display()),
        }
    }
}

/// The settings of one source as text, not yet checked. The names of the fields are those of the file.
#[derive(Clone, Default, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(missing_docs, reason = "see Setting")]
pub struct Layer {
    pub data_dir: Option<String>,
    pub listen: Option<String>,
    pub open_listen: Option<String>,
    pub usage: Option<String>,
    pub trusted_proxies: Option<Vec<String>>,
    #[serde(deserialize_with = "number")]
    pub verification_log_days: Option<String>,
    pub log_origin: Option<String>,
    #[serde(deserialize_with = "truth")]
    pub public_log: Option<String>,
    pub public_url: Option<String>,
    pub master_key_file: Option<String>,
    pub log_format: Option<String>,
    pub log_level: Option<String>,
}

/// A number may stand in quotes or without.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected a number")]
    enum Number {
        Text(String),
        Number(i64),
    }
    Ok(Some(match Number::deserialize(deserializer)? {
        Number::Text(text) => text,
        Number::Number(number) => number.to_string(),
    }))
}

/// So may true and false.
fn truth<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected true or false")]
    enum Truth {
        Text(String),
        Truth(bool),
    }
    Ok(Some(match Truth::deserialize(deserializer)? {
        Truth::Text(text) => text,
        Truth::Truth(truth) => truth.to_string(),
    }))
}

impl Layer {
    /// The texts of a setting; nothing when this source is silent about it.
    pub fn texts(&self, setting: Setting) -> Option<&[String]> {
        let one = match setting {
            Setting::TrustedProxies => return self.trusted_proxies.as_deref(),
            Setting::DataDir => &self.data_dir,
            Setting::Listen => &self.listen,
            Setting::OpenListen => &self.open_listen,
            Setting::Usage => &self.usage,
            Setting::VerificationLogDays => &self.verification_log_days,
            Setting::LogOrigin => &self.log_origin,
            Setting::PublicLog => &self.public_log,
            Setting::PublicUrl => &self.public_url,
            Setting::MasterKeyFile => &self.master_key_file,
            Setting::LogFormat => &self.log_format,
            Setting::LogLevel => &self.log_level,
        };
        one.as_ref().map(std::slice::from_ref)
    }
}

/// The three sources before the defaults.
#[derive(Debug)]
pub(super) struct Layers {
    pub(super) flags: Layer,
    pub(super) environment: Layer,
    /// Where `from_file` was read, if there is a file.
    pub(super) file: Option<PathBuf>,
    pub(super) from_file: Layer,
}

impl Layers {
    fn find(&self, setting: Setting) -> Option<(Origin, &[String])> {
        let flag = || Some((Origin::Flag(setting.flag()), self.flags.texts(setting)?));
        let variable = || Some((Origin::Variable(setting.variable()), self.environment.texts(setting)?));
        let file = || {
            let file = self.file.clone()?;
            Some((Origin::File(file, setting.key()), self.from_file.texts(setting)?))
        };
        flag().or_else(variable).or_else(file)
    }

    /// Which source decides.
    pub(super) fn origin_of(&self, setting: Setting) -> Option<Origin> {
        self.find(setting).map(|(origin, _)| origin)
    }

    /// All values of a list; none when every source is silent.
    pub(super) fn values<T>(
        &self,
        setting: Setting,
        parse: fn(&str) -> Result<T, &'static str>,
    ) -> Result<Vec<T>, Error> {
        let Some((origin, texts)) = self.find(setting) else { return Ok(Vec::new()) };
        texts
            .iter()
            .map(|text| {
                parse(text).map_err(|expected| Error::Value {
                    origin: origin.clone(),
                    shown: show(text),
                    expected,
                })
            })
            .collect()
    }

    /// The value of a setting that has one.
    pub(super) fn value<T>(
        &self,
        setting: Setting,
        parse: fn(&str) -> Result<T, &'static str>,
    ) -> Result<Option<T>, Error> {
        Ok(self.values(setting, parse)?.pop())
    }
}

/// Whether a text could be a secret or the master key in the wrong place.
pub(super) fn looks_secret(text: &str) -> bool {
    parse_master_key(text).is_some() || WellFormed::parse(text.trim()).is_some()
}

/// A value as an error may show it: quoted, escaped, cut, and never a secret.
fn show(text: &str) -> String {
    const LONGEST: usize = 60;
    if looks_secret(text) {
        return "a value that looks like a secret and is not shown".into();
    }
    let mut cut: String = text.chars().take(LONGEST).collect();
    if cut.len() < text.len() {
        cut.push('…');
    }
    format!("{cut:?}")
}
