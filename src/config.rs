//! What the server is told from outside: flags, environment, file, defaults.
//!
//! A setting is taken from the first of four sources that has it: a flag, a variable `KEYLEDGER_…`, the
//! file, the default. A list is taken whole from one source; lists are never merged. Every source gives
//! text ([`layer::Layer`]), and one place here turns text into values, so a bound cannot depend on where
//! a value came from.
//!
//! Invariants: a name that nobody knows is an error and never ignored, since a misspelled security
//! setting would silently be the default. No error and no `Debug` shows the master key. This module reads
//! files and what it is handed; it does not read the environment itself.

use std::ffi::OsString;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;
use keyledger_schema::event::UsageMode;
use tracing::level_filters::LevelFilter;

pub mod environment;
pub mod error;
pub mod file;
pub mod flags;
pub mod layer;
pub mod master_key;

pub use error::Error;
pub use flags::{CommonFlags, ServerFlags};
pub use master_key::MasterKeySource;

use environment::Environment;
use layer::{Layer, Layers, Origin, Setting};

/// Where the log, the read model and the master key live unless told otherwise.
pub const DEFAULT_DATA_DIR: &str = "./keyledger-data";
/// Where the server listens unless told otherwise.
pub const DEFAULT_LISTEN: &str = "127.0.0.1:8080";
/// Days that the verification log is kept unless told otherwise.
pub const DEFAULT_VERIFICATION_LOG_DAYS: u16 = 90;
/// The longest name of a log.
const MAX_LOG_ORIGIN_BYTES: usize = 200;
/// The longest public URL.
const MAX_PUBLIC_URL_BYTES: usize = 200;
/// The master key's file inside the data directory.
pub const MASTER_KEY_FILE_NAME: &str = "master.key";

/// How log lines look.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Everything that the server is told from outside, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the log, the read model and, unless told otherwise, the master key live.
    pub data_dir: PathBuf,
    /// Where the API is served. Port 0 is any free port.
    pub listen: SocketAddr,
    /// A second listener, on a loopback address, whose callers verify without a key of their own.
    pub open_listen: Option<SocketAddr>,
    /// How verifications are recorded.
    pub usage: UsageMode,
    /// Proxies whose `X-Forwarded-For` is believed. None unless told otherwise.
    pub trusted_proxies: Vec<IpNet>,
    /// How many days the verification log is kept.
    pub verification_log_days: u16,
    /// What the log is called in checkpoints; made from its id when it has none.
    pub log_origin: Option<String>,
    /// Whether everybody may have checkpoints and tiles of hashes.
    pub public_log: bool,
    /// Where clients reach the API; the address that it listens on when none.
    pub public_url: Option<String>,
    /// Where the master key comes from.
    pub master_key: MasterKeySource,
    /// How log lines look.
    pub log_format: LogFormat,
    /// The least severe lines that are logged.
    pub log_level: LevelFilter,
}

impl Config {
    /// The defaults, for a data directory.
    pub fn in_directory(data_dir: impl Into<PathBuf>) -> Self {
        let data_dir = data_dir.into();
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            open_listen: None,
            usage: UsageMode::Strict,
            trusted_proxies: Vec::new(),
            verification_log_days: DEFAULT_VERIFICATION_LOG_DAYS,
            log_origin: None,
            public_log: false,
            public_url: None,
            master_key: MasterKeySource::File(data_dir.join(MASTER_KEY_FILE_NAME)),
            log_format: LogFormat::Text,
            log_level: LevelFilter::INFO,
            data_dir,
        }
    }

    /// Settings for commands that open the data directory but serve nothing.
    pub fn for_directory(
        flags: &CommonFlags,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, Error> {
        Self::load(flags.config.as_deref(), flags.layer(), variables)
    }

    /// Settings for the server.
    pub fn for_server(
        flags: &ServerFlags,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, Error> {
        Self::load(flags.common.config.as_deref(), flags.layer(), variables)
    }

    /// Layers the sources and checks every value.
    fn load(
        file: Option<&str>,
        flags: Layer,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, Error> {
        let environment = Environment::read(variables)?;
        let file = file.map(PathBuf::from).or(environment.file);
        let from_file = file.as_deref().map(file::read).transpose()?.unwrap_or_default();
        let layers = Layers { flags, environment: environment.layer, file, from_file };

        let data_dir = layers.value(Setting::DataDir, path)?.unwrap_or_else(|| DEFAULT_DATA_DIR.into());
        let mut config = Self::in_directory(data_dir);
        if let Some(listen) = layers.value(Setting::Listen, socket_address)? {
            config.listen = listen;
        }
        config.open_listen = layers.value(Setting::OpenListen, loopback_address)?;
        if let Some(open) = config.open_listen
            && open == config.listen
            && open.port() != 0
        {
            return Err(Error::SameListener(open));
        }
        if let Some(usage) = layers.value(Setting::Usage, usage_mode)? {
            config.usage = usage;
        }
        config.trusted_proxies = layers.values(Setting::TrustedProxies, proxy_network)?;
        if let Some(days) = layers.value(Setting::VerificationLogDays, verification_log_days)? {
            config.verification_log_days = days;
        }
        config.log_origin = layers.value(Setting::LogOrigin, log_origin)?;
        if let Some(public) = layers.value(Setting::PublicLog, public_log)? {
            config.public_log = public;
        }
        config.public_url = layers.value(Setting::PublicUrl, public_url)?;
        if let Some(format) = layers.value(Setting::LogFormat, log_format)? {
            config.log_format = format;
        }
        if let Some(level) = layers.value(Setting::LogLevel, log_level)? {
            config.log_level = level;
        }
        config.master_key = match (layers.origin_of(Setting::MasterKeyFile), environment.master_key) {
            (Some(Origin::Variable(_)), Some(_)) => return Err(Error::TwoMasterKeys),
            // A flag outranks the variable; the file does not.
            (None | Some(Origin::File(..)), Some(key)) => MasterKeySource::Environment(key),
            _ => layers.value(Setting::MasterKeyFile, path)?.map_or(config.master_key, MasterKeySource::File),
        };
        Ok(config)
    }
}

fn path(text: &str) -> Result<PathBuf, &'static str> {
    if text.is_empty() || text.contains('\0') || layer::looks_secret(text) {
        return Err("expected a path");
    }
    Ok(text.into())
}

fn socket_address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse().map_err(
        |_| "expected an IP address and a port from 0 to 65535, such as 127.0.0.1:8080, 0.0.0.0:8080 or [::1]:8080",
    )
}

fn loopback_address(text: &str) -> Result<SocketAddr, &'static str> {
    let address = socket_address(text)?;
    if address.ip().to_canonical().is_loopback() {
        Ok(address)
    } else {
        Err("expected a loopback address, 127.0.0.0/8 or ::1, such as 127.0.0.1:8081: callers of this \
             listener need no key, so no other machine may reach it")
    }
}

fn usage_mode(text: &str) -> Result<UsageMode, &'static str> {
    match text {
        "strict" => Ok(UsageMode::Strict),
        "relaxed" => Ok(UsageMode::Relaxed),
        _ => Err("expected strict (recorded before the answer) or relaxed (within a second after it)"),
    }
}

fn proxy_network(text: &str) -> Result<IpNet, &'static str> {
    let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).map_err(
        |_| "expected the address or network of a proxy, such as 10.0.0.7, 10.0.0.0/8 or fd00::/8",
    )?;
    if network.prefix_len() == 0 {
        return Err(
            "expected a prefix length of at least 1: trusting every address would let any client choose \
             the address it is seen with; name the networks that your proxies are in",
        );
    }
    Ok(network.trunc())
}

fn verification_log_days(text: &str) -> Result<u16, &'static str> {
    let days = text.parse().ok().filter(|days| (1..=3_650).contains(days));
    days.ok_or("expected a number of days from 1 to 3650")
}

/// As C2SP tlog-checkpoint recommends it, and as names of keys must be (C2SP signed-note).
fn log_origin(text: &str) -> Result<String, &'static str> {
    let plain = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'+');
    if plain
        && !text.contains("://")
        && (1..=MAX_LOG_ORIGIN_BYTES).contains(&text.len())
        && !layer::looks_secret(text)
    {
        Ok(text.to_owned())
    } else {
        Err(
            "expected a name like a URL without its scheme, such as log.example.com/keys and not https://log.example.com/keys: \
             1 to 200 visible ASCII characters without +",
        )
    }
}

fn public_log(text: &str) -> Result<bool, &'static str> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("expected true (everybody may fetch checkpoints and tiles of hashes) or false"),
    }
}

/// What an issuer may be (RFC 8414 §2), and `http` for what stays on one machine or behind a proxy.
fn public_url(text: &str) -> Result<String, &'static str> {
    const EXPECTED: &str = "expected a URL such as https://keys.example.com or https://example.com/keys: http or https, a \
                            host in lower case, and no user, query, fragment or slash at its end; at most 200 characters";
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).ok_or(EXPECTED)?;
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let of_path = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let mut segments = path.split('/').skip(1);
    let plain = segments.all(|part| !matches!(part, "" | "." | "..") && part.bytes().all(of_path));
    if plain && is_authority(authority) && text.len() <= MAX_PUBLIC_URL_BYTES && !layer::looks_secret(text) {
        Ok(text.to_owned())
    } else {
        Err(EXPECTED)
    }
}

/// A name or an address, and maybe a port.
fn is_authority(text: &str) -> bool {
    let in_brackets = text.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    let (host_fits, port) = if let Some((address, rest)) = in_brackets {
        (address.parse::<Ipv6Addr>().is_ok(), rest)
    } else {
        let (host, port) = text.split_at(text.find(':').unwrap_or(text.len()));
        let of_label = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        (host.split('.').all(|label| !label.is_empty() && label.bytes().all(of_label)), port)
    };
    let is_port = |digits: &str| {
        digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.parse::<u16>().is_ok_and(|port| port > 0)
    };
    host_fits && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port))
}

fn log_format(text: &str) -> Result<LogFormat, &'static str> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err("expected text or json"),
    }
}

fn log_level(text: &str) -> Result<LevelFilter, &'static str> {
    match text {
        "off" => Ok(LevelFilter::OFF),
        "error" => Ok(LevelFilter::ERROR),
        "warn" => Ok(LevelFilter::WARN),
        "info" => Ok(LevelFilter::INFO),
        "debug" => Ok(LevelFilter::DEBUG),
        "trace" => Ok(LevelFilter::TRACE),
        _ => Err("expected off, error, warn, info, debug or trace"),
    }
}

#[cfg(test)]
mod tests;
