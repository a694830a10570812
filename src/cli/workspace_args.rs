//! What can be typed behind `keyledger workspace`.

use clap::{Args, Subcommand};
use keyledger_schema::{OrganizationId, WorkspaceId};
use serde_json::Value;

use super::Connection;
use super::value;

/// Arguments of `workspace`.
#[derive(Args, Debug)]
pub struct WorkspaceArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: WorkspaceCommand,
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would show it as help")]
    pub connection: Connection,
}

/// What to do with workspaces.
#[derive(Subcommand, Debug)]
pub enum WorkspaceCommand {
    /// List the workspaces that you may see
    #[command(after_help = "Example:\n  keyledger workspace list --limit 0")]
    List {
        /// Those of this organization [default: your own]
        #[arg(long, value_name = "ORG_ID")]
        organization: Option<OrganizationId>,
        /// Show at most so many; 0 is all
        #[arg(long, value_name = "N", default_value_t = 50)]
        limit: usize,
    },
    /// Create a workspace
    #[command(after_help = "Example:\n  keyledger workspace create billing")]
    Create {
        /// Its name
        #[arg(value_parser = value::name)]
        name: String,
        /// Organization of the workspace [default: your own]
        #[arg(long, value_name = "ORG_ID")]
        organization: Option<OrganizationId>,
    },
    /// Call a workspace otherwise
    #[command(after_help = "Example:\n  keyledger workspace rename ws_01h455vb4pex5vsknk084sn02q invoices")]
    Rename {
        /// Id of the workspace
        #[arg(value_name = "WS_ID")]
        id: WorkspaceId,
        /// Its new name
        #[arg(value_parser = value::name)]
        name: String,
    },
    /// Set how many keys a workspace may have that are neither revoked nor deleted nor expired
    #[command(after_help = "\
Examples:
  keyledger workspace quota ws_01h455vb4pex5vsknk084sn02q 100
  keyledger workspace quota ws_01h455vb4pex5vsknk084sn02q unlimited")]
    Quota {
        /// Id of the workspace
        #[arg(value_name = "WS_ID")]
        id: WorkspaceId,
        /// So many, or unlimited
        #[arg(value_name = "N", value_parser = value::quota)]
        max_keys: Value,
    },
}
