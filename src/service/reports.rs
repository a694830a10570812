//! Reports for auditors: what keys were issued, changed and revoked in a period (SOC 2 CC6.1 to CC6.3, PCI DSS 4.0
//! 10.2.1.5); who holds which access; which keys break the policy.
//!
//! A page of a report is read like any list. A whole report is an export: the event that tells of it is durable
//! before its first byte is handed out, and its rows are read some hundred at a time.

pub mod access;
pub mod activity;
mod columns;
mod file;
pub mod violations;

use keyledger_schema::grant::{Place, Right};
use keyledger_schema::{OrganizationId, Timestamp, WorkspaceId};

use super::Service;
use crate::caller::Caller;
use crate::error::{Error, Result};

pub use crate::readmodel::{Item, Page, Window};
pub use file::{Form, ReportFile};

/// Keys that are not used for so many days are shown as unused, unless the auditor says otherwise.
pub const UNUSED_DAYS: u32 = 90;
/// The most days that an auditor can say.
pub const MAX_UNUSED_DAYS: u32 = 3_650;

/// Which report.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Kind {
    /// What happened to keys in a period.
    KeyActivity,
    /// Who holds which access now.
    AccessReview,
    /// Which keys break the policy now.
    PolicyViolations,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::KeyActivity, Self::AccessReview, Self::PolicyViolations];

    /// As it is asked for.
    pub const fn name(self) -> &'static str {
        match self {
            Self::KeyActivity => "key-activity",
            Self::AccessReview => "access-review",
            Self::PolicyViolations => "policy-violations",
        }
    }

    /// For people.
    pub const fn title(self) -> &'static str {
        match self {
            Self::KeyActivity => "Key activity",
            Self::AccessReview => "Access review",
            Self::PolicyViolations => "Keys that break the policy",
        }
    }
}

/// Of what.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Asked {
    /// Of this organization; that of the workspace, or else the caller's own.
    pub organization: Option<OrganizationId>,
    /// Of this workspace only.
    pub workspace: Option<WorkspaceId>,
    /// Not before this moment. Of key activity only, and needed there.
    pub from: Option<Timestamp>,
    /// Before this moment; now when none. Of key activity only.
    pub to: Option<Timestamp>,
    /// Only these actions; all when empty. Of key activity only.
    pub actions: Vec<activity::Action>,
    /// Keys that were not used for so many days are unused. Of access reviews only.
    pub unused_days: Option<u32>,
}

/// What was asked, checked against what the caller may see.
#[derive(Clone, Debug)]
struct Scope {
    organization: OrganizationId,
    /// None for all of them.
    workspaces: Option<Vec<WorkspaceId>>,
    workspace: Option<WorkspaceId>,
    now: Timestamp,
}

impl Scope {
    fn place(&self) -> Place {
        Place { organization: self.organization, workspace: self.workspace }
    }
}

impl Service {
    /// The part of an organization that a report is of: for those who may read trails there.
    fn scope_of_report(&self, caller: &Caller, asked: &Asked) -> Result<Scope> {
        let fields = ("organizationId", "workspaceId");
        let organization = self.organization_of_list(caller, asked.organization, asked.workspace, fields)?;
        let sight = self.sight(caller, Right::ReadTrail, organization)?;
        let workspaces = match (asked.workspace, sight) {
            (None, sight) => sight,
            (Some(one), Some(seen)) if !seen.contains(&one) => {
                self.require(caller, Right::ReadTrail, Place { organization, workspace: Some(one) })?;
                Some(vec![one])
            }
            (Some(one), _) => Some(vec![one]),
        };
        Ok(Scope { organization, workspaces, workspace: asked.workspace, now: self.now() })
    }
}

impl Asked {
    /// The period, which key activity needs.
    fn period(&self, now: Timestamp) -> Result<(Timestamp, Timestamp)> {
        let from = self.from.ok_or_else(|| Error::invalid("from", "say from when on"))?;
        let to = self.to.unwrap_or(now);
        if from >= to {
            return Err(Error::invalid("to", "the end of the period must come after its start"));
        }
        Ok((from, to))
    }

    /// Refuses what would be ignored.
    fn check(&self, kind: Kind) -> Result<()> {
        let refuse = |field, what| Err(Error::invalid(field, format!("{what}; leave it out")));
        match kind {
            Kind::KeyActivity | Kind::PolicyViolations if self.unused_days.is_some() => {
                refuse("unusedDays", "only an access review tells what is unused")
            }
            Kind::AccessReview | Kind::PolicyViolations if self.from.is_some() => {
                refuse("from", "this report is of now and has no period")
            }
            Kind::AccessReview | Kind::PolicyViolations if self.to.is_some() => {
                refuse("to", "this report is of now and has no period")
            }
            Kind::AccessReview | Kind::PolicyViolations if !self.actions.is_empty() => {
                refuse("actions", "only key activity is about actions")
            }
            _ => Ok(()),
        }
    }

    fn unused_days(&self) -> Result<u32> {
        let days = self.unused_days.unwrap_or(UNUSED_DAYS);
        if (1..=MAX_UNUSED_DAYS).contains(&days) {
            return Ok(days);
        }
        let message = format!("expected 1 to {MAX_UNUSED_DAYS} days, not {days}");
        Err(Error::invalid("unusedDays", message))
    }
}
