//! The program: reads the command line, sets up logging, dispatches, gives the exit code.

use std::io::{self, Write};
use std::process::ExitCode;

use keyledger::app::LogKeyChange;
use keyledger::cli::audit_args::AuditorCommand;
use keyledger::cli::log_args::LogCommand;
use keyledger::cli::{self, Command, Exit, Failure, failure};
use keyledger::config::{CommonFlags, Config, LogFormat};
use keyledger::{app, edge::Edge};
use serde_json::json;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let exit = match cli::parse(std::env::args_os()) {
        Ok(cli) => run(&cli.command),
        Err(exit) => exit,
    };
    exit.into()
}

fn run(command: &Command) -> Exit {
    let mut out = io::stdout();
    match command {
        Command::Init(args) => told(init(args), args.json),
        Command::Recover(args) => told(recover(args), args.json),
        Command::Serve(args) => told(serve(args), false),
        Command::Key(args) if args.command.needs_no_key() => {
            cli::run_without_key(&args.connection, &mut out, |client, out| {
                cli::key::run(&args.command, client, &Edge::default(), out)
            })
        }
        Command::Key(args) => cli::run(&args.connection, &mut out, |client, out| {
            cli::key::run(&args.command, client, &Edge::default(), out)
        }),
        Command::Workspace(args) => cli::run(&args.connection, &mut out, |client, out| {
            cli::workspace::run(&args.command, client, out)
        }),
        Command::Organization(args) => cli::run(&args.connection, &mut out, |client, out| {
            cli::organization::run(&args.command, client, out)
        }),
        Command::Role(args) => {
            cli::run(&args.connection, &mut out, |client, out| cli::role::run(&args.command, client, out))
        }
        Command::Identity(args) => {
            cli::run(&args.connection, &mut out, |client, out| cli::identity::run(&args.command, client, out))
        }
        Command::Erase(args) => {
            cli::run(&args.connection, &mut out, |client, out| cli::erase::run(args, client, out))
        }
        Command::Credits(args) => {
            cli::run(&args.connection, &mut out, |client, out| cli::credits::run(&args.command, client, out))
        }
        Command::Usage(args) => cli::run(&args.connection, &mut out, |client, out| {
            cli::usage::run(&args.command, client, &Edge::default(), out)
        }),
        Command::Audit(args) => match &args.command {
            cli::AuditCommand::Log(command) => log_command(command, &mut out),
            cli::AuditCommand::Export(args) => cli::run(&args.connection, &mut out, |client, out| {
                cli::audit_export::run(args, client, &Edge::default(), out)
            }),
            cli::AuditCommand::Auditor(command) => auditor(command, &mut out),
        },
        Command::Report(args) => cli::run(&args.connection, &mut out, |client, out| {
            cli::report::run(args, client, &Edge::default(), out)
        }),
        Command::Verify(args) => {
            cli::run(&args.connection, &mut out, |client, out| cli::verify::run(args, client, out))
        }
        Command::Token(args) => {
            let json = args.command.json();
            let out = &mut cli::Output::new(&mut out, json);
            told(cli::token::run(&args.command, &Edge::default(), out), json)
        }
        Command::Completions(args) => told(cli::completions(args.shell, &mut out), false),
        Command::Whoami(args) => cli::run(&args.connection, &mut out, cli::account::whoami),
    }
}

fn auditor(command: &AuditorCommand, out: &mut io::Stdout) -> Exit {
    match command {
        AuditorCommand::Verify(args) => {
            let checked = cli::audit_verify::Given::of(args).and_then(|given| {
                let out = &mut cli::Output::new(out, args.json);
                match (&args.bundle, &args.data_dir) {
                    (Some(bundle), _) => cli::audit_verify::run(bundle, &given, out),
                    (None, Some(directory)) => app::audit::verify(directory, &given, out),
                    (None, None) => Err(Failure::usage("name a bundle, or a data directory with --data-dir")),
                }
            });
            told(checked, args.json)
        }
        AuditorCommand::Bundle(args) if args.data_dir.is_some() => {
            let json = args.connection.json;
            told(app::whole_log::bundle(args, &mut cli::Output::new(out, json)), json)
        }
        AuditorCommand::Bundle(args) => cli::run(&args.connection, out, |client, out| {
            cli::audit_bundle::run(args, client, &Edge::default(), out)
        }),
    }
}

fn log_command(command: &LogCommand, out: &mut dyn Write) -> Exit {
    match command {
        LogCommand::Checkpoint(args) => cli::run(&args.connection, out, cli::log::checkpoint),
        LogCommand::Proof(args) => {
            cli::run(&args.connection, out, |client, out| cli::log::proof(args, client, out))
        }
        LogCommand::LogKeys(args) => cli::run(&args.connection, out, cli::log::keys),
        LogCommand::RotateLogKey(args) => {
            told(change_log_keys(&args.settings, LogKeyChange::Rotate, args.json, out), args.json)
        }
        LogCommand::RetireLogKey(args) => {
            let change = LogKeyChange::Retire(args.generation);
            told(change_log_keys(&args.settings, change, args.json, out), args.json)
        }
    }
}

fn change_log_keys(
    settings: &CommonFlags,
    change: LogKeyChange,
    as_json: bool,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let config = Config::for_directory(settings, std::env::vars_os()).map_err(wrong_settings)?;
    log(config.log_format, config.log_level)?;
    let state = app::change_log_keys(&config, change).map_err(failed)?;
    cli::log::told(&state, &mut cli::Output::new(out, as_json))
}

fn told(result: Result<(), Failure>, as_json: bool) -> Exit {
    match result {
        Ok(()) => Exit::Done,
        Err(failure) => failure::report(&failure, as_json),
    }
}

fn init(args: &cli::InitArgs) -> Result<(), Failure> {
    let config = Config::for_directory(&args.settings, std::env::vars_os()).map_err(wrong_settings)?;
    log(config.log_format, config.log_level)?;
    let organization = args.organization.as_deref().unwrap_or(app::DEFAULT_ORGANIZATION);
    app::init(&config, Edge::default(), organization, |founded| show(founded, args.json)).map_err(failed)
}

fn recover(args: &cli::RecoverArgs) -> Result<(), Failure> {
    let config = Config::for_directory(&args.settings, std::env::vars_os()).map_err(wrong_settings)?;
    log(config.log_format, config.log_level)?;
    app::recover(&config, &args.organization, |recovered| show(recovered, args.json)).map_err(failed)
}

fn show(founded: &app::Founded, as_json: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if as_json {
        let ids = json!({
            "organizationId": founded.organization,
            "workspaceId": founded.workspace,
            "rootKey": founded.root_key.expose(),
        });
        writeln!(out, "{ids:#}")?;
    } else {
        writeln!(out, "organization  {}", founded.organization)?;
        writeln!(out, "workspace     {}", founded.workspace)?;
        writeln!(out, "root key      {}", founded.root_key.expose())?;
        writeln!(
            out,
            "\nThe root key is shown this once. It may do everything in its organization: store it now, in a\n\
             secret manager, and use it to create keys that may do less. Back up the master key too, apart\n\
             from the data: without it no secret can be verified."
        )?;
    }
    out.flush()
}

fn serve(args: &cli::ServeArgs) -> Result<(), Failure> {
    let config = Config::for_server(&args.settings, std::env::vars_os()).map_err(wrong_settings)?;
    log(config.log_format, config.log_level)?;
    app::serve(&config).map_err(failed)
}

#[allow(clippy::needless_pass_by_value, reason = "it is handed to map_err")]
fn wrong_settings(error: keyledger::config::Error) -> Failure {
    Failure::new(Exit::Usage, "CONFIGURATION", error.to_string())
}

#[allow(clippy::needless_pass_by_value, reason = "it is handed to map_err")]
fn failed(error: app::Error) -> Failure {
    match &error {
        app::Error::Config(_) => Failure::new(Exit::Usage, "CONFIGURATION", error.to_string()),
        app::Error::Refused(refusal) => {
            Failure::from_server(refusal.code.as_str(), &refusal.message, refusal.field.as_deref())
        }
        _ => Failure::new(Exit::Failed, "FAILED", error.to_string()),
    }
}

/// Log lines go to standard error. `RUST_LOG`, where it is set, decides which. The web server's own lines
/// about its threads are left out unless details are asked for.
fn log(format: LogFormat, level: LevelFilter) -> Result<(), Failure> {
    let filter = match std::env::var("RUST_LOG") {
        Ok(directives) if !directives.is_empty() => EnvFilter::try_new(&directives).map_err(|error| {
            Failure::new(
                Exit::Usage,
                "CONFIGURATION",
                format!(
                    "the environment variable RUST_LOG is {directives:?}: {error}; write keyledger=debug,warn"
                ),
            )
        })?,
        _ if level == LevelFilter::INFO => EnvFilter::new("info,actix_server=warn"),
        _ => EnvFilter::new(level.to_string()),
    };
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    match format {
        LogFormat::Text => lines.with_ansi(io::IsTerminal::is_terminal(&io::stderr())).init(),
        LogFormat::Json => lines.json().flatten_event(true).with_ansi(false).init(),
    }
    Ok(())
}
