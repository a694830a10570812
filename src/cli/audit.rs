//! `keyledger audit`: what is done with the audit trail as a whole.

use clap::{Args, Subcommand};

use super::audit_export::{self, AuditExportArgs};
use super::client::Client;
use super::{Connection, Failure, Output};
use crate::edge::Edge;

/// Arguments of `audit`.
#[derive(Args, Debug)]
pub struct AuditArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: AuditCommand,
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would show it as help")]
    pub connection: Connection,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub enum AuditCommand {
    /// Write events to a file
    Export(Box<AuditExportArgs>),
}

/// Runs a command about the trail that asks a server.
pub fn run(
    command: &AuditCommand,
    client: &Client,
    edge: &Edge,
    out: &mut Output<'_>,
) -> Result<(), Failure> {
    match command {
        AuditCommand::Export(args) => audit_export::run(args, client, edge, out),
    }
}
