//! What can be typed behind `keyledger role`.

use clap::{ArgGroup, Args, Subcommand};
use keyledger_schema::{OrganizationId, Scope};

use super::Connection;
use super::value::{self, RoleArgument, ScopeNameArgument};

/// Arguments of `role`.
#[derive(Args, Debug)]
pub struct RoleArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: RoleCommand,
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would show it as help")]
    pub connection: Connection,
}

/// What to do with roles.
#[derive(Subcommand, Debug)]
pub enum RoleCommand {
    /// List the roles of an organization
    #[command(after_help = "Example:\n  keyledger role list")]
    List {
        /// Those of this organization [default: your own]
        #[arg(long, value_name = "ORG_ID")]
        organization: Option<OrganizationId>,
    },
    /// Show everything about a role
    #[command(after_help = "Example:\n  keyledger role show support")]
    Show {
        #[command(flatten)]
        #[allow(missing_docs, reason = "clap would show it as help")]
        role: WhichRole,
    },
    /// Define a role: a named set of scopes that keys can hold
    Create(CreateRoleArgs),
    /// Change a role, at once for all keys that hold it
    Update(UpdateRoleArgs),
    /// Take away a role that no key holds
    #[command(after_help = "Example:\n  keyledger role delete support")]
    Delete {
        #[command(flatten)]
        #[allow(missing_docs, reason = "clap would show it as help")]
        role: WhichRole,
        /// Only if nobody changed the role since this revision, which role show tells
        #[arg(long, value_name = "N")]
        if_revision: Option<u64>,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
}

/// A role that exists.
#[derive(Args, Debug)]
pub struct WhichRole {
    /// Id or name of the role
    #[arg(value_name = "ROLE")]
    pub role: RoleArgument,
    /// Organization in which the name is looked up [default: your own]
    #[arg(long, value_name = "ORG_ID")]
    pub organization: Option<OrganizationId>,
}

/// Arguments of `role create`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  keyledger role create support --scope 'read:customers/**' --scope 'write:tickets/**'
  keyledger role create support --display-name \"Customer Support\" --scope-name 'read:customers/**=Customer Read'")]
pub struct CreateRoleArgs {
    /// Its name, unique in the organization without regard to case
    #[arg(value_parser = value::name)]
    pub name: String,
    /// What its holders may do in your API: ACTION:RESOURCE; may be repeated
    #[arg(long = "scope", short, value_name = "SCOPE")]
    pub scopes: Vec<Scope>,
    /// A scope and how people call it: SCOPE=NAME; may be repeated
    #[arg(long = "scope-name", value_name = "SCOPE=NAME")]
    pub scope_names: Vec<ScopeNameArgument>,
    /// How people call it [default: its name]
    #[arg(long, value_name = "NAME", value_parser = value::name)]
    pub display_name: Option<String>,
    /// What it is for, at most 500 characters
    #[arg(long, value_name = "TEXT")]
    pub description: Option<String>,
    /// Organization of the role [default: your own]
    #[arg(long, value_name = "ORG_ID")]
    pub organization: Option<OrganizationId>,
}

/// Arguments of `role update`.
#[derive(Args, Debug)]
#[command(group = ArgGroup::new("change").required(true).multiple(true))]
#[command(after_help = "\
Examples:
  keyledger role update support --scope 'read:customers/**' --scope 'read:tickets/**'
  keyledger role update support --scope-name 'read:tickets/**=Ticket Read'
  keyledger role update support --no-display-name --if-revision 7

Scopes are replaced, not added to; those that stay keep their names. --scope-name alone adds a scope or
names one, and leaves the others as they are.")]
pub struct UpdateRoleArgs {
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would show it as help")]
    pub role: WhichRole,
    /// New name
    #[arg(long, group = "change", value_parser = value::name)]
    pub name: Option<String>,
    /// New name for people
    #[arg(long, value_name = "NAME", group = "change", value_parser = value::name)]
    pub display_name: Option<String>,
    /// Take the name for people away
    #[arg(long, group = "change", conflicts_with = "display_name")]
    pub no_display_name: bool,
    /// New word on what it is for
    #[arg(long, value_name = "TEXT", group = "change")]
    pub description: Option<String>,
    /// Take the word on what it is for away
    #[arg(long, group = "change", conflicts_with = "description")]
    pub no_description: bool,
    /// New scopes in place of all old ones; may be repeated
    #[arg(long = "scope", short, value_name = "SCOPE", group = "change")]
    pub scopes: Vec<Scope>,
    /// Take every scope away
    #[arg(long, group = "change", conflicts_with_all = ["scopes", "scope_names"])]
    pub no_scopes: bool,
    /// A scope and how people call it: SCOPE=NAME, or SCOPE= for no name; may be repeated
    #[arg(long = "scope-name", value_name = "SCOPE=NAME", group = "change")]
    pub scope_names: Vec<ScopeNameArgument>,
    /// Only if nobody changed the same fields since this revision, which role show tells
    #[arg(long, value_name = "N")]
    pub if_revision: Option<u64>,
}
