//! Lists as Relay's cursor connections specification has them.

use async_graphql::SimpleObject;
use async_graphql::connection::PageInfo;

use super::answer::page_failed;
use super::consequence::ConsequenceNode;
use super::event::EventNode;
use super::identity::IdentityNode;
use super::key::KeyNode;
use super::report::{AccessNode, KeyActivityNode, ViolatorNode};
use super::scalar::Long;
use super::tenant::{OrganizationNode, WorkspaceNode};
use super::verification::VerificationNode;
use crate::error::{Error, Result};
use crate::readmodel::{Item, Page, QueryError, Window};

/// The most items in a page.
const MAX_PAGE: usize = 200;
/// Items in a page when neither `first` nor `last` is given.
pub(super) const DEFAULT_PAGE: usize = 50;

/// How many items a list may answer, for its cost.
pub(super) fn cost(first: Option<i32>, last: Option<i32>, child: usize) -> usize {
    let asked = first.or(last).and_then(|n| usize::try_from(n).ok()).unwrap_or(DEFAULT_PAGE);
    1 + asked.min(MAX_PAGE) * child
}

/// Arguments of every list.
#[derive(Default)]
pub(super) struct Slice {
    pub(super) first: Option<i32>,
    pub(super) after: Option<String>,
    pub(super) last: Option<i32>,
    pub(super) before: Option<String>,
}

impl Slice {
    /// The part of a list that is asked for: forward with `first` and `after`, backward with `last` and
    /// `before`, not both.
    pub(super) fn window(self) -> Result<Window> {
        let size = |field: &'static str, n: i32| match usize::try_from(n) {
            Ok(n) if (1..=MAX_PAGE).contains(&n) => Ok(n),
            _ => Err(Error::invalid(field, format!("a page has 1 to {MAX_PAGE} items, not {n}"))),
        };
        let mixed = || {
            Error::invalid(
                "last",
                "go forward with first and after, or backward with last and before, not both",
            )
        };
        match (self.first, self.last) {
            (Some(_), Some(_)) => Err(mixed()),
            (first, None) => {
                if self.before.is_some() && first.is_some() {
                    return Err(mixed());
                }
                if self.before.is_some() {
                    return Err(Error::invalid(
                        "last",
                        "say with last how many items before the cursor are wanted",
                    ));
                }
                let count = first.map_or(Ok(DEFAULT_PAGE), |n| size("first", n))?;
                Ok(Window::First { count, after: self.after })
            }
            (None, Some(last)) => {
                if self.after.is_some() {
                    return Err(mixed());
                }
                Ok(Window::Last { count: size("last", last)?, before: self.before })
            }
        }
    }
}

/// The part of a whole list that a window shows. Cursors are compared as they are: the list is in their
/// order.
pub(super) fn cut<T>(mut items: Vec<Item<T>>, window: &Window) -> Result<Page<T>> {
    let total = u64::try_from(items.len()).ok();
    let place = |cursor: &Option<String>| match cursor {
        None => Ok(None),
        Some(cursor) => match items.binary_search_by(|item| item.cursor.cmp(cursor)) {
            Ok(at) => Ok(Some(at)),
            Err(_) => Err(page_failed(&QueryError::Cursor, window.is_backward())),
        },
    };
    let (from, to) = match window {
        Window::First { count, after } => {
            let from = place(after)?.map_or(0, |at| at + 1);
            (from, items.len().min(from + count))
        }
        Window::Last { count, before } => {
            let to = place(before)?.unwrap_or(items.len());
            (to.saturating_sub(*count), to)
        }
    };
    let (has_previous, has_next) = (from > 0, to < items.len());
    items.truncate(to);
    items.drain(..from);
    Ok(Page { items, has_next, has_previous, total, start_cursor: None, end_cursor: None })
}

macro_rules! connections {
    ($($(#[$doc:meta])* $connection:ident $edge:ident $node:ident $($total:ident)?;)+) => {$(
        /// One item of a list and where it stands.
        #[derive(SimpleObject)]
        pub(crate) struct $edge {
            /// Where the item stands; give it as `after` or `before`.
            cursor: String,
            /// The item.
            node: $node,
        }

        $(#[$doc])*
        #[derive(SimpleObject)]
        pub(crate) struct $connection {
            /// Items with their cursors.
            edges: Vec<$edge>,
            /// The items alone.
            nodes: Vec<$node>,
            /// Whether there is more.
            page_info: PageInfo,
            $(
                /// How many items the whole list has; null when it was not asked for.
                $total: Option<Long>,
            )?
        }

        impl $connection {
            pub(super) fn new<T>(page: Page<T>, node: impl Fn(T) -> $node) -> Self {
                let edges: Vec<$edge> = page
                    .items
                    .into_iter()
                    .map(|item| $edge { cursor: item.cursor, node: node(item.node) })
                    .collect();
                Self {
                    nodes: edges.iter().map(|edge| edge.node.clone()).collect(),
                    page_info: PageInfo {
                        has_previous_page: page.has_previous,
                        has_next_page: page.has_next,
                        start_cursor: page
                            .start_cursor
                            .or_else(|| edges.first().map(|edge| edge.cursor.clone())),
                        end_cursor: page.end_cursor.or_else(|| edges.last().map(|edge| edge.cursor.clone())),
                    },
                    $($total: page.total.map(Long),)?
                    edges,
                }
            }
        }
    )+};
}

impl EventEdge {
    /// An event outside of a list.
    pub(super) fn new(cursor: String, node: EventNode) -> Self {
        Self { cursor, node }
    }
}

connections! {
    /// A list of keys.
    KeyConnection KeyEdge KeyNode total_count;
    /// A list of identities.
    IdentityConnection IdentityEdge IdentityNode total_count;
    /// A list of events.
    EventConnection EventEdge EventNode total_count;
    /// Events that follow from something, oldest first.
    ConsequenceConnection ConsequenceEdge ConsequenceNode;
    /// A list of organizations.
    OrganizationConnection OrganizationEdge OrganizationNode total_count;
    /// A list of workspaces.
    WorkspaceConnection WorkspaceEdge WorkspaceNode total_count;
    /// A stretch of the verification log. Its length is not counted.
    VerificationConnection VerificationEdge VerificationNode;
    /// A stretch of a report of key activity.
    KeyActivityConnection KeyActivityEdge KeyActivityNode total_count;
    /// A stretch of an access review.
    AccessReviewConnection AccessReviewEdge AccessNode total_count;
    /// A stretch of the keys that break the policy. Their number is not counted. A page may have fewer than were asked
    /// for, or none, although there are more.
    PolicyViolationConnection PolicyViolationEdge ViolatorNode;
}
