//! `keyledger audit`: which part of it does what.

use super::audit_args::AuditCommand;
use super::client::Client;
use super::{Failure, Output, audit_bundle};
use crate::edge::Edge;

/// Runs a command that talks to a server.
pub fn run(
    command: &AuditCommand,
    client: &Client,
    edge: &Edge,
    out: &mut Output<'_>,
) -> Result<(), Failure> {
    match command {
        AuditCommand::Bundle(args) => audit_bundle::run(args, client, edge, out),
        // Needs no server, and is dispatched before one is looked for.
        AuditCommand::Verify(_) => Ok(()),
    }
}
