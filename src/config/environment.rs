//! Settings from the environment: variables that start with `KEYLEDGER_`.
//!
//! Unknown names are refused. Not ours to judge, and let through: what the command line's client reads,
//! what tests and benches read, and what Kubernetes adds for a service that is called keyledger.

use std::ffi::OsString;
use std::path::PathBuf;

use super::error::Error;
use super::layer::{Layer, Setting};
use crate::secret::{MasterKey, parse_master_key};

const PREFIX: &str = "KEYLEDGER_";
/// Names the configuration file.
pub const CONFIG: &str = "KEYLEDGER_CONFIG";
/// Holds the master key itself.
pub const MASTER_KEY: &str = "KEYLEDGER_MASTER_KEY";
/// Read by the client commands, and of no meaning to the server.
pub const CLIENT: [&str; 3] = ["KEYLEDGER_URL", "KEYLEDGER_KEY", "KEYLEDGER_INSECURE_HTTP"];
const TOLERATED_PREFIXES: [&str; 2] = ["KEYLEDGER_TEST_", "KEYLEDGER_BENCH_"];

/// What the environment says.
#[derive(Debug, Default)]
pub struct Environment {
    /// The settings that have one value in every source.
    pub layer: Layer,
    /// Where the configuration file is.
    pub file: Option<PathBuf>,
    /// The master key, if it is given here.
    pub master_key: Option<MasterKey>,
}

/// The names that the server reads, for errors.
pub(super) fn known_names() -> String {
    let mut names: Vec<_> = Setting::ALL.map(Setting::variable).to_vec();
    names.extend([CONFIG, MASTER_KEY]);
    names.sort_unstable();
    names.join(", ")
}

/// Whether Kubernetes made this variable for a service whose name starts with keyledger.
fn is_service_link(name: &str, value: &str) -> bool {
    let protocol = ["_TCP", "_UDP", "_SCTP"].iter().any(|protocol| name.contains(protocol));
    name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || (name.ends_with("_PORT") && value.contains("://"))
        || (name.contains("_PORT_") && protocol)
}

impl Environment {
    /// Reads the variables that are ours.
    pub fn read(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Result<Self, Error> {
        let mut read = Self::default();
        for (name, value) in variables {
            let name = name.to_string_lossy().into_owned();
            if !name.starts_with(PREFIX)
                || CLIENT.contains(&name.as_str())
                || TOLERATED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
            {
                continue;
            }
            let Some(value) = value.to_str() else {
                return Err(Error::UnusableVariable { name, problem: "not UTF-8" });
            };
            let setting = Setting::ALL.into_iter().find(|setting| setting.variable() == name);
            if setting.is_none() && ![CONFIG, MASTER_KEY].contains(&name.as_str()) {
                if is_service_link(&name, value) {
                    continue;
                }
                return Err(Error::UnknownVariable { name });
            }
            // An empty master key that counted as none would be replaced by a new one.
            if value.trim().is_empty() && setting != Some(Setting::TrustedProxies) {
                return Err(Error::UnusableVariable { name, problem: "empty" });
            }
            match setting {
                Some(setting) => read.layer.set(setting, value),
                None if name == CONFIG => read.file = Some(value.into()),
                None => {
                    read.master_key = Some(parse_master_key(value).ok_or(Error::MasterKeyVariable)?);
                }
            }
        }
        Ok(read)
    }
}

impl Layer {
    fn set(&mut self, setting: Setting, value: &str) {
        let slot = match setting {
            Setting::TrustedProxies => {
                let list = value.split(',').map(str::trim).filter(|item| !item.is_empty());
                self.trusted_proxies = Some(list.map(str::to_owned).collect());
                return;
            }
            Setting::DataDir => &mut self.data_dir,
            Setting::Listen => &mut self.listen,
            Setting::OpenListen => &mut self.open_listen,
            Setting::Usage => &mut self.usage,
            Setting::VerificationLogDays => &mut self.verification_log_days,
            Setting::LogOrigin => &mut self.log_origin,
            Setting::PublicLog => &mut self.public_log,
            Setting::PublicUrl => &mut self.public_url,
            Setting::MasterKeyFile => &mut self.master_key_file,
            Setting::LogFormat => &mut self.log_format,
            Setting::LogLevel => &mut self.log_level,
        };
        *slot = Some(value.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Environment, Error> {
        Environment::read(variables.iter().map(|(name, value)| (name.into(), value.into())))
    }

    #[test]
    fn a_misspelled_variable_is_refused_with_the_known_names() {
        let shown = read(&[("KEYLEDGER_TRUSTED_PROXY", "10.0.0.0/8")]).unwrap_err().to_string();
        assert!(shown.starts_with("unknown environment variable KEYLEDGER_TRUSTED_PROXY;"), "{shown}");
        assert!(shown.contains("KEYLEDGER_TRUSTED_PROXIES"), "{shown}");
    }

    #[test]
    fn variables_of_clients_tests_and_kubernetes_are_let_through() {
        let services = [
            ("PATH", "/bin"),
            ("KEYLEDGER_URL", "http://localhost"),
            ("KEYLEDGER_KEY", ""),
            ("KEYLEDGER_TEST_SEED", "1"),
            ("KEYLEDGER_BENCH_KEYS", "1"),
            ("KEYLEDGER_SERVICE_HOST", "10.0.0.1"),
            ("KEYLEDGER_SERVICE_PORT", "8080"),
            ("KEYLEDGER_SERVICE_PORT_HTTP", "8080"),
            ("KEYLEDGER_PORT", "tcp://10.0.0.1:8080"),
            ("KEYLEDGER_PORT_8080_TCP", "tcp://10.0.0.1:8080"),
            ("KEYLEDGER_PORT_8080_TCP_ADDR", "10.0.0.1"),
            ("KEYLEDGER_API_SERVICE_HOST", "10.0.0.1"),
        ];
        assert!(read(&services).is_ok());
        assert!(read(&[("KEYLEDGER_PORT", "8080")]).is_err(), "somebody means the port to listen on");
    }

    #[test]
    fn the_master_key_is_read_and_never_shown() {
        let key = "0f".repeat(32);
        let environment = read(&[("KEYLEDGER_MASTER_KEY", &key)]).unwrap();
        assert!(environment.master_key.is_some());
        assert!(!format!("{environment:?}").contains("0f0f"));
        let shown = read(&[("KEYLEDGER_MASTER_KEY", "0f0f0f")]).unwrap_err();
        assert!(!format!("{shown} {shown:?}").contains("0f0f"), "{shown}");
    }

    #[test]
    fn an_empty_variable_is_refused_except_for_an_empty_list() {
        for name in ["KEYLEDGER_MASTER_KEY", "KEYLEDGER_LISTEN", "KEYLEDGER_CONFIG"] {
            let shown = read(&[(name, " ")]).unwrap_err().to_string();
            assert!(shown.contains(name) && shown.contains("empty"), "{shown}");
        }
        let environment = read(&[("KEYLEDGER_TRUSTED_PROXIES", "")]).unwrap();
        assert_eq!(environment.layer.trusted_proxies, Some(vec![]));
    }
}
