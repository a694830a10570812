//! Settings from the command line. Values stay text here: bounds are checked in one place for all sources.
//!
//! The environment's names stand in the help texts by hand instead of clap's `env`, which would hide
//! from errors whether a value was typed or inherited.

use clap::Args;

use super::layer::Layer;

/// Flags of every command that opens the data directory.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Settings")]
pub struct CommonFlags {
    /// Configuration file (TOML) [env: KEYLEDGER_CONFIG] [default: none]
    ///
    /// Flags outrank the environment, the environment outranks the file.
    #[arg(long, value_name = "FILE")]
    pub config: Option<String>,

    /// Directory of the log and the read model; made if it does not exist
    /// [env: KEYLEDGER_DATA_DIR] [default: ./keyledger-data]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<String>,

    /// File that holds the master key as 64 hexadecimal digits
    /// [env: KEYLEDGER_MASTER_KEY_FILE] [default: master.key in the data directory]
    ///
    /// Made with mode 0600 if a new data directory is set up without one. Back it up apart from the data:
    /// without it no issued secret can be verified. KEYLEDGER_MASTER_KEY may hold the digits instead; no
    /// flag does, because the arguments of a process are visible to every user of the machine.
    #[arg(long, value_name = "FILE")]
    pub master_key_file: Option<String>,

    /// Form of the log lines on standard error: text or json
    /// [env: KEYLEDGER_LOG_FORMAT] [default: text]
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<String>,

    /// Least severe log lines shown: off, error, warn, info, debug or trace
    /// [env: KEYLEDGER_LOG_LEVEL] [default: info]
    ///
    /// RUST_LOG, where it is set, decides instead and can tell modules apart: keyledger=debug,warn.
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,
}

/// Flags of the server.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Settings")]
pub struct ServerFlags {
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would show it as help")]
    pub common: CommonFlags,

    /// Address and port of the API; port 0 is any free one
    /// [env: KEYLEDGER_LISTEN] [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<String>,

    /// Second listener whose callers verify without a management key
    /// [env: KEYLEDGER_OPEN_LISTEN] [default: none]
    ///
    /// For a sidecar: loopback addresses only. It serves /v1/verify, /v1/authorize and the health checks.
    #[arg(long, value_name = "ADDR")]
    pub open_listen: Option<String>,

    /// How verifications are recorded: strict or relaxed
    /// [env: KEYLEDGER_USAGE] [default: strict]
    ///
    /// strict: on stable storage before the answer. relaxed: within a second after it; after a crash the
    /// possible gap is declared in the log.
    #[arg(long, value_name = "MODE")]
    pub usage: Option<String>,

    /// Address or network of a proxy whose X-Forwarded-For is believed; may be repeated
    /// [env: KEYLEDGER_TRUSTED_PROXIES, separated by commas] [default: none]
    #[arg(long = "trusted-proxy", value_name = "CIDR")]
    pub trusted_proxies: Vec<String>,

    /// Days that recorded verifications can be listed and exported, 1 to 3650
    /// [env: KEYLEDGER_VERIFICATION_LOG_DAYS] [default: 90]
    ///
    /// Counted back from the newest verification. What is older stays in the log and in all counts.
    #[arg(long, value_name = "DAYS")]
    pub verification_log_days: Option<String>,

    /// Name of the log in its checkpoints, like a URL without its scheme
    /// [env: KEYLEDGER_LOG_ORIGIN] [default: made from the log's id]
    ///
    /// Fixed when the server is started for the first time: those who check the log know it by this name.
    #[arg(long, value_name = "NAME")]
    pub log_origin: Option<String>,

    /// Whether everybody may fetch checkpoints and tiles of hashes: true or false
    /// [env: KEYLEDGER_PUBLIC_LOG] [default: false]
    ///
    /// Hashes tell nothing of what was logged but how much. The entries are never public.
    #[arg(long, value_name = "BOOL")]
    pub public_log: Option<String>,

    /// URL below which clients reach the API: the issuer of tokens
    /// [env: KEYLEDGER_PUBLIC_URL] [default: http:// and the address of the API]
    ///
    /// Scheme, host, port and path, without a slash at its end. When it changes, tokens that are out
    /// are no longer good.
    #[arg(long, value_name = "URL")]
    pub public_url: Option<String>,
}

impl CommonFlags {
    pub(super) fn layer(&self) -> Layer {
        Layer {
            data_dir: self.data_dir.clone(),
            master_key_file: self.master_key_file.clone(),
            log_format: self.log_format.clone(),
            log_level: self.log_level.clone(),
            ..Layer::default()
        }
    }
}

impl ServerFlags {
    pub(super) fn layer(&self) -> Layer {
        Layer {
            listen: self.listen.clone(),
            open_listen: self.open_listen.clone(),
            usage: self.usage.clone(),
            verification_log_days: self.verification_log_days.clone(),
            log_origin: self.log_origin.clone(),
            public_log: self.public_log.clone(),
            public_url: self.public_url.clone(),
            trusted_proxies: (!self.trusted_proxies.is_empty()).then(|| self.trusted_proxies.clone()),
            ..self.common.layer()
        }
    }
}
