//! `keyledger token …`: what holders of tokens do by themselves. No server is asked.

use std::net::IpAddr;

use clap::{Args, Subcommand};
use serde_json::json;

use super::key_args::SecretArgs;
use super::output::clean;
use super::value::Moment;
use super::{ActionArgument, Exit, Failure, Output, secret_input};
use crate::edge::Edge;
use crate::token::biscuit::{self, Narrowing};

/// Arguments of `token`.
#[derive(Args, Debug)]
pub struct TokenArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: TokenCommand,
}

/// What to do with tokens.
#[derive(Subcommand, Debug)]
pub enum TokenCommand {
    /// Print a token that may do less than the one that is given, without asking a server
    Attenuate(Box<AttenuateArgs>),
    /// Print what a token says and how its holders narrowed it, without checking it
    Show(ShowArgs),
}

/// Arguments of `token attenuate`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  keyledger token attenuate --file token --expires 5m --action read --resource 'customers/42/**'
  keyledger token attenuate --ip 203.0.113.7 < token > narrower

It takes a biscuit, which an exchange with token_type=biscuit answers with. The new token allows what the old one
does, and only what is said here: several values of one flag are alternatives, flags add up. Whoever has it can
narrow it further, and cannot widen it again.")]
#[command(group = clap::ArgGroup::new("narrowing").required(true).multiple(true))]
pub struct AttenuateArgs {
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would show it as help")]
    pub token: SecretArgs,
    /// Good for so long, such as 5m, or until a moment (RFC 3339), and never longer than before
    #[arg(long, value_name = "WHEN", group = "narrowing")]
    pub expires: Option<Moment>,
    /// Only to do this: read, write or admin; may be repeated
    #[arg(long = "action", value_name = "ACTION", group = "narrowing")]
    pub actions: Vec<ActionArgument>,
    /// Only on this, such as customers/42, or customers/42/** for all below it too; may be repeated
    #[arg(long = "resource", value_name = "RESOURCE", group = "narrowing")]
    pub resources: Vec<String>,
    /// Only from this address; may be repeated
    #[arg(long = "ip", value_name = "IP", group = "narrowing")]
    pub addresses: Vec<IpAddr>,
    /// Only for this audience; may be repeated
    #[arg(long = "audience", value_name = "URL", group = "narrowing")]
    pub audiences: Vec<String>,
    /// Print one JSON object: token
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `token show`.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  keyledger token show --file token")]
pub struct ShowArgs {
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would show it as help")]
    pub token: SecretArgs,
    /// Print one JSON object: blocks
    #[arg(long)]
    pub json: bool,
}

impl TokenCommand {
    /// Whether JSON was asked for.
    pub fn json(&self) -> bool {
        match self {
            Self::Attenuate(args) => args.json,
            Self::Show(args) => args.json,
        }
    }
}

/// Does it.
pub fn run(command: &TokenCommand, edge: &Edge, out: &mut Output<'_>) -> Result<(), Failure> {
    match command {
        TokenCommand::Attenuate(args) => attenuate(args, edge, out),
        TokenCommand::Show(args) => show(args, out),
    }
}

fn attenuate(args: &AttenuateArgs, edge: &Edge, out: &mut Output<'_>) -> Result<(), Failure> {
    let token = secret_input::read(&args.token)?;
    let narrowed = narrowing(args, edge)?.of(&token, &edge.random());
    let narrowed = narrowed.map_err(|_| {
        Failure::usage(
            "this is no token that can be narrowed: it has to be a biscuit, and not sealed; exchange the key for one \
             with token_type=biscuit",
        )
    })?;
    if biscuit::Unchecked::parse(&narrowed).is_none() {
        let message =
            "the token would be too long, or have more blocks than anybody takes; begin with a fresh one";
        return Err(Failure::new(Exit::Failed, "TOO_LARGE", message));
    }
    if out.is_json() { out.json(&json!({ "token": narrowed })) } else { out.line(narrowed) }
}

fn narrowing(args: &AttenuateArgs, edge: &Edge) -> Result<Narrowing, Failure> {
    for resource in &args.resources {
        let fixed = resource.strip_suffix("/**").unwrap_or(resource);
        if fixed.is_empty() || fixed.contains('*') {
            return Err(Failure::usage(format!(
                "--resource {}: a part of a resource stands for itself here, and only /** at the end for what is \
                 below; name each resource",
                clean(resource)
            )));
        }
    }
    Ok(Narrowing {
        until: args.expires.map(|when| when.ahead_of(edge.now())),
        actions: args.actions.iter().map(|action| action.as_str()).collect(),
        resources: args.resources.iter().map(|resource| resource.as_str().into()).collect(),
        addresses: args.addresses.iter().copied().collect(),
        audiences: args.audiences.iter().map(|audience| audience.as_str().into()).collect(),
    })
}

fn show(args: &ShowArgs, out: &mut Output<'_>) -> Result<(), Failure> {
    let token = secret_input::read(&args.token)?;
    let blocks =
        biscuit::shown(&token).ok_or_else(|| Failure::usage("this is no biscuit: copy it again, whole"))?;
    if out.is_json() {
        return out.json(&json!({ "blocks": blocks }));
    }
    for (number, block) in blocks.iter().enumerate() {
        out.line(if number == 0 { "authority:".to_owned() } else { format!("block {number}:") })?;
        for line in block.lines() {
            out.line(format_args!("  {}", clean(line)))?;
        }
    }
    out.note("Nothing of this was checked: the server, or whoever has the public key, does that.");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use clap::Parser;

    fn typed(arguments: &[&str]) -> Result<Narrowing, Failure> {
        let arguments = ["keyledger", "token", "attenuate"].iter().chain(arguments);
        match Cli::try_parse_from(arguments).unwrap_or_else(|error| panic!("{error}")).command {
            Command::Token(TokenArgs { command: TokenCommand::Attenuate(args) }) => {
                narrowing(&args, &Edge::default())
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn flags_become_checks() {
        let all = typed(&[
            "--expires=2027-01-15T08:00:00Z",
            "--action=read",
            "--action=write",
            "--resource=customers/42/**",
            "--ip=203.0.113.7",
            "--audience=https://a.example",
        ]);
        let expected = Narrowing {
            until: "2027-01-15T08:00:00Z".parse().ok(),
            actions: ["read", "write"].into(),
            resources: ["customers/42/**".into()].into(),
            addresses: ["203.0.113.7".parse().unwrap()].into(),
            audiences: ["https://a.example".into()].into(),
        };
        assert_eq!(all.unwrap(), expected);
        for resource in ["*", "**", "/**", "customers/*/orders", "customers/**/x"] {
            assert_eq!(typed(&["--resource", resource]).unwrap_err().code, "USAGE", "{resource}");
        }
        assert!(Cli::try_parse_from(["keyledger", "token", "attenuate"]).is_err());
    }
}
