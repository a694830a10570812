//! `bundle.json`: what a bundle is of.

use keyledger_schema::{KeyId, OrganizationId, Stream, Timestamp, WorkspaceId};
use serde::{Deserialize, Serialize};

use super::super::event::Seen;
use super::super::streams::Sight;

/// The name of the format.
pub const FORMAT: &str = "keyledger-bundle@v1";

/// Which entries.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Scope {
    /// The trail of a key.
    Key {
        /// Its organization.
        organization_id: OrganizationId,
        /// The key.
        key_id: KeyId,
    },
    /// What happened in a workspace.
    Workspace {
        /// Its organization.
        organization_id: OrganizationId,
        /// The workspace.
        workspace_id: WorkspaceId,
    },
    /// What happened in an organization.
    Organization {
        /// The organization.
        organization_id: OrganizationId,
    },
    /// Every entry.
    Log,
}

impl Scope {
    /// Whether an entry belongs here. What the log says of itself belongs everywhere, since it proves the rest.
    pub fn holds(&self, event: &Seen) -> bool {
        let of = |organization| event.organization == Some(organization);
        match *self {
            Self::Log => true,
            _ if matches!(event.stream, Stream::Log(_)) => event.organization.is_none(),
            Self::Key { organization_id, key_id } => of(organization_id) && event.key() == Some(key_id),
            Self::Workspace { organization_id, workspace_id } => {
                of(organization_id) && event.workspace == Some(workspace_id)
            }
            Self::Organization { organization_id } => of(organization_id),
        }
    }

    /// Whether all events of a stream belong here, if one of them does.
    pub const fn is_whole(&self, stream: &Stream) -> bool {
        matches!(
            (self, stream),
            (Self::Log, _)
                | (Self::Key { .. }, Stream::Key(_))
                | (Self::Workspace { .. }, Stream::Key(_) | Stream::Workspace(_))
                | (
                    Self::Organization { .. },
                    Stream::Key(_)
                        | Stream::Workspace(_)
                        | Stream::Identity(_)
                        | Stream::Organization(_)
                        | Stream::Audit(_),
                )
        )
    }
}

/// What a bundle is of.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Description {
    /// [`FORMAT`].
    pub format: Box<str>,
    /// The log.
    pub origin: Box<str>,
    /// The number of entries that the checkpoint is about.
    pub tree_size: u64,
    /// When the bundle was made.
    pub made_at: Timestamp,
    /// Which entries are in it.
    pub scope: Scope,
    /// Those from this log index on, but for what the log says of itself.
    pub first_index: u64,
    /// Those before this one.
    pub end_index: u64,
    /// The ends of all streams were committed to when the log had so many entries, and streams in here are complete
    /// up to there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heads_size: Option<u64>,
    /// The moment that the first index was looked up for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// The moment that the end was looked up for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Timestamp>,
}

impl Description {
    /// As it stands in the file.
    pub fn write(&self) -> Vec<u8> {
        // A struct of texts and numbers has a JSON form.
        let mut text = serde_json::to_vec_pretty(self).unwrap_or_default();
        text.push(b'\n');
        text
    }

    /// Reads the file, and says what is wrong with it.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        let read: Self = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if *read.format != *FORMAT {
            return Err(format!("its format is not {FORMAT}; use the version of keyledger that made it"));
        }
        if read.first_index > read.end_index || read.end_index > read.tree_size {
            return Err("its entries do not lie within the tree".into());
        }
        if read.heads_size.is_some_and(|size| size > read.end_index) {
            return Err("streams cannot be complete beyond the end of its entries".into());
        }
        Ok(read)
    }

    /// How much of a stream is in it.
    pub fn sight(&self, stream: &Stream) -> Sight {
        match (self.scope.is_whole(stream), self.first_index) {
            (true, 0) => Sight::Whole,
            (true, _) => Sight::Stretch,
            (false, _) => Sight::Some,
        }
    }

    /// Whether an entry at a log index belongs here.
    pub fn holds(&self, index: u64, event: &Seen) -> bool {
        let in_time = (self.first_index..self.end_index).contains(&index);
        let of_the_log = matches!(event.stream, Stream::Log(_)) && self.scope != Scope::Log;
        (in_time || of_the_log) && index < self.tree_size && self.scope.holds(event)
    }
}
