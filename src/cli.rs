//! The command line: what can be typed, and which exit code follows.
//!
//! `init` and `serve` open a data directory; `completions` prints a script; every other command is a client
//! of a running server. `main` dispatches.
//!
//! Invariants: no secret is taken from an argument, because the arguments of a process are visible to
//! every user of its machine. Text that came from a server passes [`output::clean`] before it reaches a
//! terminal. Results go to standard output; errors, warnings and questions go to standard error.

use std::ffi::OsString;
use std::io::Write;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

use crate::config::{CommonFlags, ServerFlags};

pub mod account;
pub mod audit_args;
pub mod audit_bundle;
pub mod audit_export;
pub mod audit_verify;
pub mod begun;
pub mod client;
pub mod confirm;
pub mod consequences;
pub mod credits;
pub mod erase;
pub mod export;
pub mod failure;
pub mod identity;
pub mod identity_args;
pub mod import;
pub mod key;
pub mod key_args;
pub mod key_list;
pub mod key_show;
pub mod leak;
pub mod log;
pub mod log_args;
pub mod organization;
pub mod organization_args;
pub mod output;
pub mod pages;
pub mod part;
pub mod policy;
pub mod progress;
pub mod queries;
pub mod report;
pub mod revoke_many;
pub mod role;
pub mod role_args;
pub mod secret_input;
pub mod signing_keys;
pub mod simulate;
pub mod simulate_args;
pub mod table;
pub mod token;
pub mod told;
pub mod trail;
pub mod usage;
pub mod usage_args;
pub mod value;
pub mod verify;
pub mod workspace;
pub mod workspace_args;

pub use failure::{Exit, Failure};
pub use output::Output;

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  refused or failed
  2  wrong usage or settings; nothing was tried
  3  the server could not be reached or cannot answer now; repeat later
  4  the management key is missing, invalid or not allowed to do this
  5  there is no such thing here
  6  sent, but no answer came: the outcome is unknown
  10 to 21  audit verify: what does not hold, see there

Documentation: docs/command-line.md and docs/configuration.md";

/// API keys whose database is their audit trail.
#[derive(Parser, Debug)]
#[command(name = "keyledger", version, after_help = EXIT_CODES)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Make an organization in a data directory and show its root key once
    Init(InitArgs),
    /// Make a new administrator's key for an organization that nobody can manage any more
    Recover(RecoverArgs),
    /// Run the server
    Serve(ServeArgs),
    /// Create, show, change and revoke keys, and read their trails
    Key(key_args::KeyArgs),
    /// Show and change organizations and what they demand of their keys
    Organization(organization_args::OrganizationArgs),
    /// List and change workspaces
    Workspace(workspace_args::WorkspaceArgs),
    /// Show and change roles: named sets of scopes that keys can hold
    Role(role_args::RoleArgs),
    /// Show and change identities: somebody of your own, whose keys share rate limits and credits
    Identity(identity_args::IdentityArgs),
    /// Make the personal data of a key or an identity unreadable for good
    Erase(erase::EraseArgs),
    /// Show, set and adjust the credits of keys and identities
    Credits(identity_args::CreditsArgs),
    /// Show and export how often keys were verified
    Usage(usage_args::UsageArgs),
    /// Show and prove what is in the log, keep its signing keys, hand it to auditors and check what was handed out
    Audit(AuditArgs),
    /// Show or write reports for auditors: key activity, access review, broken rules
    Report(report::ReportArgs),
    /// Narrow a token by yourself, or see what it says; no server is needed
    Token(token::TokenArgs),
    /// Ask whether a secret is valid, as a service would
    Verify(VerifyArgs),
    /// Show which key is in use and what it may do
    Whoami(WhoamiArgs),
    /// Print a script that completes commands and flags in a shell
    Completions(CompletionsArgs),
}

/// Arguments of `init`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  keyledger init --data-dir ./keyledger-data
  keyledger init --data-dir ./keyledger-data --organization \"Acme Ltd\" --json | jq -r .rootKey > root.key

The server must not be running on the data directory. Repeated with another organization's name, it
adds that organization as a second tenant.")]
pub struct InitArgs {
    /// Name of the organization [default: default]
    #[arg(long, value_name = "NAME", value_parser = value::name)]
    pub organization: Option<String>,
    /// Print one JSON object: organizationId, workspaceId, rootKey
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would show it as help")]
    pub settings: CommonFlags,
}

/// Arguments of `recover`.
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  keyledger recover --data-dir ./keyledger-data --organization default

The server must not be running on the data directory. The new key is an organization administrator, whatever
the organization's policy and quotas say; the trail tells that the operator made it.")]
pub struct RecoverArgs {
    /// Id, slug or name of the organization
    #[arg(long, value_name = "ORGANIZATION")]
    pub organization: String,
    /// Print one JSON object: organizationId, workspaceId, rootKey
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would show it as help")]
    pub settings: CommonFlags,
}

/// Arguments of `serve`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  keyledger serve
  keyledger serve --data-dir /var/lib/keyledger --listen 0.0.0.0:8080 --trusted-proxy 10.0.0.0/8
  KEYLEDGER_MASTER_KEY=$(cat /run/secrets/master-key) keyledger serve --config /etc/keyledger.toml

The first line on standard output is: listening on http://ADDRESS. On a new data directory the
organization, the workspace and the root key follow; the root key is shown this once.
SIGTERM and SIGINT stop the server after it has answered what it accepted.")]
pub struct ServeArgs {
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would show it as help")]
    pub settings: ServerFlags,
}

/// How to reach the server, and how to print.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Connection")]
pub struct Connection {
    /// Server to talk to; https unless it is on this machine
    #[arg(long, value_name = "URL", env = "KEYLEDGER_URL", default_value = "http://127.0.0.1:8080")]
    #[arg(global = true, hide_env_values = true)]
    pub url: String,

    /// File that holds the management key; - is standard input [default: KEYLEDGER_KEY]
    ///
    /// Without this flag the environment variable KEYLEDGER_KEY holds the key. There is no flag for the
    /// key itself: the arguments of a process are visible to every user of its machine, and shells keep
    /// them in their history.
    #[arg(long, value_name = "FILE", global = true)]
    pub key_file: Option<String>,

    /// Send the management key over plain http to another machine
    ///
    /// Whoever is on the way can then read it. For private networks that are encrypted otherwise.
    #[arg(long, env = "KEYLEDGER_INSECURE_HTTP", hide_env_values = true, global = true)]
    pub insecure_http: bool,

    /// Print the answer as JSON, and errors as JSON on standard error
    #[arg(long, global = true)]
    pub json: bool,
}

/// Arguments of `verify`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  keyledger verify --action read --resource customers/42 < client.key
  keyledger verify --file client.key --environment production --ip 203.0.113.7 --json

Exit code 0 says that the key is valid, 1 that it is not. Like every verification it is recorded.")]
pub struct VerifyArgs {
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would show it as help")]
    pub secret: key_args::SecretArgs,
    /// What the holder wants to do: read, write or admin
    #[arg(long, value_name = "ACTION")]
    pub action: Option<ActionArgument>,
    /// On what, such as customers/42; needs --action
    #[arg(long, value_name = "RESOURCE", requires = "action")]
    pub resource: Option<String>,
    /// Where the key is used: production, staging or development
    #[arg(long, short, value_name = "ENVIRONMENT", value_parser = key_args::environment)]
    pub environment: Option<keyledger_schema::Environment>,
    /// The address that the holder calls from
    #[arg(long, value_name = "IP")]
    pub ip: Option<std::net::IpAddr>,
    /// How many calls this one counts as: 0 to 1000000 [default: 1]
    #[arg(long, value_name = "N")]
    pub cost: Option<u32>,
    /// What it is filed under in statistics; may be repeated
    #[arg(long = "tag", value_name = "TAG")]
    pub tags: Vec<String>,
    /// Only this rate limit applies, by its name; may be repeated
    #[arg(long = "limit", value_name = "NAME")]
    pub limits: Vec<String>,
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would show it as help")]
    pub connection: Connection,
}

/// An action to verify.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
#[allow(missing_docs, reason = "clap would show it as help")]
pub enum ActionArgument {
    Read,
    Write,
    Admin,
}

impl ActionArgument {
    /// As verifications have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
        }
    }
}

/// Arguments of `audit`.
#[derive(Args, Debug)]
pub struct AuditArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: AuditCommand,
}

/// What to do with the log.
#[derive(Subcommand, Debug)]
pub enum AuditCommand {
    /// Checkpoints, proofs and keys.
    #[command(flatten)]
    Log(log_args::LogCommand),
    /// Write events to a file
    Export(Box<audit_export::AuditExportArgs>),
    /// What auditors are given.
    #[command(flatten)]
    Auditor(audit_args::AuditorCommand),
}

/// Arguments of `whoami`.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  KEYLEDGER_KEY=$(cat root.key) keyledger whoami")]
pub struct WhoamiArgs {
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would show it as help")]
    pub connection: Connection,
}

/// Arguments of `completions`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  keyledger completions bash > ~/.local/share/bash-completion/completions/keyledger
  keyledger completions zsh > ~/.zfunc/_keyledger
  keyledger completions fish > ~/.config/fish/completions/keyledger.fish")]
pub struct CompletionsArgs {
    /// For which shell
    pub shell: ShellArgument,
}

/// A shell that completes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
#[allow(missing_docs, reason = "clap would show it as help")]
pub enum ShellArgument {
    Bash,
    Zsh,
    Fish,
}

/// Prints what a shell needs to complete commands and flags.
pub fn completions(shell: ShellArgument, out: &mut dyn Write) -> Result<(), Failure> {
    use clap_complete::aot::{Shell, generate};
    let shell = match shell {
        ShellArgument::Bash => Shell::Bash,
        ShellArgument::Zsh => Shell::Zsh,
        ShellArgument::Fish => Shell::Fish,
    };
    // The generator panics where it cannot write, so it writes to memory.
    let mut script = Vec::new();
    generate(shell, &mut Cli::command(), "keyledger", &mut script);
    Ok(out.write_all(&script)?)
}

/// Reads the arguments. Help and version are printed here; either way out carries the exit code.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Cli, Exit> {
    let arguments: Vec<_> = arguments.into_iter().collect();
    Cli::try_parse_from(&arguments).map_err(|error| {
        if !error.use_stderr() {
            return if error.print().is_ok() { Exit::Done } else { Exit::Failed };
        }
        // The parser failed, so whether JSON was asked for has to be read off the arguments.
        let json = arguments.iter().take_while(|argument| *argument != "--").any(|it| it == "--json");
        if json {
            let text = error.to_string();
            let message = text.strip_prefix("error: ").unwrap_or(&text);
            let message = message.split("\n\nUsage:").next().unwrap_or(message);
            let message = message.split("\n\nFor more information").next().unwrap_or(message).trim();
            failure::report(&Failure::usage(message.to_owned()), true)
        } else {
            // Nothing is left to do when standard error is closed.
            let _ = error.print();
            Exit::Usage
        }
    })
}

/// Runs a client command and reports its failure.
pub fn run(
    connection: &Connection,
    out: &mut dyn Write,
    command: impl FnOnce(&client::Client, &mut Output<'_>) -> Result<(), Failure>,
) -> Exit {
    run_with(client::Client::new(connection, std::env::var_os("KEYLEDGER_KEY")), connection, out, command)
}

/// The same for a command that needs no management key.
pub fn run_without_key(
    connection: &Connection,
    out: &mut dyn Write,
    command: impl FnOnce(&client::Client, &mut Output<'_>) -> Result<(), Failure>,
) -> Exit {
    run_with(client::Client::without_key(connection), connection, out, command)
}

fn run_with(
    client: Result<client::Client, Failure>,
    connection: &Connection,
    out: &mut dyn Write,
    command: impl FnOnce(&client::Client, &mut Output<'_>) -> Result<(), Failure>,
) -> Exit {
    let result = client.and_then(|client| {
        command(&client, &mut Output::new(out, connection.json))?;
        client.finish()
    });
    match result {
        Ok(()) => Exit::Done,
        Err(failure) => failure::report(&failure, connection.json),
    }
}

#[cfg(test)]
mod tests;
