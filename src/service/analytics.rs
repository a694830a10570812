//! Questions about recorded verifications: what they are asked of, and who may ask.
//!
//! Numbers are for those who may read keys. Verifications one by one are part of the trail, and addresses are
//! personal data: these are for those who may read trails. Whoever may do so in some workspaces only is answered
//! for these, and learns nothing of verifications that belong to no key.

use std::borrow::Cow;
use std::time::Duration;

use chrono_tz::Tz;
use keyledger_schema::event::TrailPart;
use keyledger_schema::grant::{Place, Right};
use keyledger_schema::resource::MAX_BYTES;
use keyledger_schema::{Means, OrganizationId, Timestamp, WorkspaceId};

use super::keys::place_of;
use super::reads::Look;
use super::told::Told;
use super::{Service, lacking};
use crate::caller::Caller;
use crate::decisions::limits;
use crate::error::{Error, Result};
use crate::readmodel::analytics::{UsageError, VerificationQuery};
use crate::readmodel::{Page, QueryError};

use crate::secret::WellFormed;

pub use crate::readmodel::analytics::{
    Counts, Dimension, DimensionValue, Granularity, Incomplete, UsageAnswer, UsageFilter, UsageGroup,
    UsageQuery, Verification,
};
pub use crate::readmodel::{Sequence, Window};

/// The most keys that one question names.
pub const MAX_KEYS: usize = 100;
/// The most dimensions that one question groups by.
pub const MAX_DIMENSIONS: usize = 2;
/// The most groups of one answer.
pub const MAX_GROUPS: usize = 1_000;
/// The most points of all series of one answer: buckets times groups.
pub const MAX_POINTS: u64 = 50_000;
/// The longest tag that can be asked for, in bytes.
pub const MAX_TAG_BYTES: usize = 64;

/// Dimensions as they are written over REST and in trails.
pub const DIMENSIONS: [(&str, Dimension); 11] = [
    ("organization", Dimension::Organization),
    ("workspace", Dimension::Workspace),
    ("environment", Dimension::Environment),
    ("key", Dimension::Key),
    ("identity", Dimension::Identity),
    ("role", Dimension::Role),
    ("outcome", Dimension::Outcome),
    ("action", Dimension::Action),
    ("means", Dimension::Means),
    ("tag", Dimension::Tag),
    ("address", Dimension::Address),
];

/// Means as they are written over REST and in trails.
pub const MEANS: [(&str, Means); 3] = [
    (Means::Exchange.as_str(), Means::Exchange),
    (Means::Token.as_str(), Means::Token),
    (Means::Introspection.as_str(), Means::Introspection),
];

/// Granularities as they are written over REST and in trails.
pub const GRANULARITIES: [(&str, Granularity); 4] = [
    ("minute", Granularity::Minute),
    ("hour", Granularity::Hour),
    ("day", Granularity::Day),
    ("month", Granularity::Month),
];

/// How long a bucket is, a change of the clocks aside.
pub(super) const fn nominal(granularity: Granularity) -> Duration {
    match granularity {
        Granularity::Minute => Duration::from_mins(1),
        Granularity::Hour => Duration::from_hours(1),
        Granularity::Day => Duration::from_hours(24),
        Granularity::Month => Duration::from_hours(24 * 28),
    }
}

/// How many buckets there are about, and not fewer.
pub(super) fn buckets(from: Timestamp, to: Timestamp, granularity: Granularity) -> u64 {
    to.since(from).as_secs() / nominal(granularity).as_secs() + 2
}

/// A time zone by its name.
pub fn zone(field: &'static str, name: &str) -> Result<Tz> {
    name.parse().map_err(|_| {
        Error::invalid(field, "there is no such time zone; use a name such as Europe/Berlin, or UTC")
    })
}

/// How the conditions of a filter are called where they came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Spelling {
    /// `filter.keyIds`
    GraphQl,
    /// `keyIds`
    Rest,
}

impl Spelling {
    /// The name of a condition.
    pub fn field(self, name: &'static str) -> Cow<'static, str> {
        match self {
            Self::GraphQl => format!("filter.{name}").into(),
            Self::Rest => name.into(),
        }
    }
}

/// Of whose verifications, and which.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Selection {
    /// Of this organization; that of the workspace, or else the caller's own, when none is named.
    pub organization: Option<OrganizationId>,
    /// Of those below it, too.
    pub below: bool,
    /// Which of them. What the caller may see is not looked at.
    pub filter: UsageFilter,
}

/// What is asked about totals and series.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UsageAsked {
    /// Which verifications.
    pub selection: Selection,
    /// See [`UsageQuery`].
    pub from: Timestamp,
    /// See [`UsageQuery`].
    pub to: Timestamp,
    /// See [`UsageQuery`].
    pub granularity: Granularity,
    /// See [`UsageQuery`].
    pub zone: Tz,
    /// See [`UsageQuery`].
    pub group_by: Vec<Dimension>,
    /// See [`UsageQuery`].
    pub top: usize,
    /// Whether the series of the whole are wanted.
    pub series: bool,
    /// Whether those of the groups are.
    pub group_series: bool,
}

/// What is asked about verifications one by one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VerificationsAsked {
    /// Which verifications. Those of one organization only.
    pub selection: Selection,
    /// See [`VerificationQuery`].
    pub resource_prefix: Option<Box<str>>,
    /// See [`VerificationQuery`].
    pub from: Option<Timestamp>,
    /// See [`VerificationQuery`].
    pub to: Option<Timestamp>,
    /// See [`VerificationQuery`].
    pub sequence: Sequence,
    /// See [`VerificationQuery`].
    pub window: Window,
}

/// A question about usage that failed.
pub(super) fn usage_failed(error: &UsageError) -> Error {
    let field = match error {
        UsageError::TagWithAddress | UsageError::TooManyGroups { .. } => "groupBy",
        UsageError::TooManyBuckets { .. } | UsageError::TooLongAgo { .. } => "granularity",
        UsageError::Empty => return ends_first("to"),
        UsageError::Query(error) => return query_failed(error, false),
    };
    Error::invalid(field, error.to_string())
}

/// The end of a stretch of time is not after its start.
fn ends_first(field: impl Into<Cow<'static, str>>) -> Error {
    Error::invalid(field, "the end is not after the start; name a later one")
}

/// A query of the read model that has no answer. `backward` tells which cursor it was asked with.
pub fn query_failed(error: &QueryError, backward: bool) -> Error {
    match error {
        QueryError::Cursor => Error::invalid(
            if backward { "before" } else { "after" },
            "the cursor was not made by this list in this order; start without one, or use one that it answered",
        ),
        QueryError::Busy => {
            Error::unavailable("too many queries are waiting on this node; try again in a moment")
        }
        QueryError::Failed => super::keys::query_failed(error),
    }
}

/// Refuses a secret in a text of a filter: what is exported stands in the trail with its filter.
fn no_secret(text: Option<&str>, field: Cow<'static, str>) -> Result<()> {
    if text.is_some_and(WellFormed::is_in) {
        return Err(Error::invalid(
            field,
            "this is the secret of a key; verify it to learn whose, and leave it out",
        ));
    }
    Ok(())
}

/// Refuses to look for uses among what is none: whoever asks what a token is uses no key.
pub fn uses_only(filter: &UsageFilter, spelling: Spelling) -> Result<()> {
    if filter.means == Some(Means::Introspection) {
        let message = "whoever asks what a token is does not use its key, so this is counted nowhere; look into the \
                       verification log, or name EXCHANGE or TOKEN";
        return Err(Error::invalid(spelling.field("means"), message));
    }
    Ok(())
}

/// The workspaces that are in both; none for all of them.
fn common(one: Option<Vec<WorkspaceId>>, other: Option<Vec<WorkspaceId>>) -> Option<Vec<WorkspaceId>> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.into_iter().filter(|id| other.contains(id)).collect()),
        (one, other) => one.or(other),
    }
}

impl Service {
    /// Totals and series of recorded verifications.
    pub async fn usage(&self, caller: &Caller, asked: UsageAsked, spelling: Spelling) -> Result<UsageAnswer> {
        let grouped = asked.group_series && !asked.group_by.is_empty();
        let lines = (u64::from(asked.series) + if grouped { asked.top as u64 } else { 0 }).max(1);
        let points = buckets(asked.from, asked.to, asked.granularity).saturating_mul(lines);
        if (asked.series || asked.group_series) && points > MAX_POINTS {
            let bound = format!("about {points} points, and an answer has at most {MAX_POINTS}");
            let remedy = "a shorter time or longer buckets, or for totals only";
            return Err(if grouped {
                let message = format!(
                    "series of {lines} times as many buckets are {bound}; ask for fewer groups with top, for {remedy}"
                );
                Error::invalid("top", message)
            } else {
                Error::invalid("granularity", format!("the series has {bound}; ask for {remedy}"))
            });
        }
        let query = self.usage_query(caller, asked, spelling).await?;
        self.read_model.usage(query).await.map_err(|error| usage_failed(&error))
    }

    /// A stretch of the verification log.
    pub async fn verifications(
        &self,
        caller: &Caller,
        asked: VerificationsAsked,
        spelling: Spelling,
    ) -> Result<Page<Verification>> {
        let mut told = (Told::default(), Told::default());
        told.0.verifications(&asked);
        told.1.window(&asked.window);
        let query = self.verification_query(caller, asked, spelling).await?;
        let backward = query.window.is_backward();
        let key = match query.filter.keys[..] {
            [key] => Some(key),
            _ => None,
        };
        // Those who may read the trail of one workspace see who reads it.
        let sight = match query.filter.sight.as_deref() {
            Some([workspace]) => Some(*workspace),
            _ => None,
        };
        let home = match key {
            Some(key) => self.read_model.key(key).await.map_err(|error| query_failed(&error, backward))?,
            None => None,
        };
        let workspace = home.map(|row| row.state.workspace).or(query.filter.workspace).or(sight);
        let place = Place { organization: query.organization, workspace };
        let page = self.read_model.verifications(query).await;
        let page = page.map_err(|error| query_failed(&error, backward))?;
        let look = Look {
            key,
            filter: told.0,
            page: told.1,
            shown: Some(page.items.len() as u64),
            nothing_new: page.items.is_empty(),
            ..Look::at(TrailPart::Verifications, place)
        };
        self.looked(caller, look).await?;
        Ok(page)
    }

    pub(super) async fn usage_query(
        &self,
        caller: &Caller,
        asked: UsageAsked,
        spelling: Spelling,
    ) -> Result<UsageQuery> {
        let UsageAsked { selection, from, to, granularity, zone, group_by, top, series, group_series } =
            asked;
        if from >= to {
            return Err(ends_first("to"));
        }
        if selection.filter.tag.is_some() && selection.filter.address.is_some() {
            let message = UsageError::TagWithAddress.to_string();
            return Err(Error::invalid(spelling.field("address"), message));
        }
        uses_only(&selection.filter, spelling)?;
        limits::at_most("groupBy", "dimensions", group_by.len(), MAX_DIMENSIONS)?;
        if group_by.len() == 2 && group_by[0] == group_by[1] {
            return Err(Error::invalid("groupBy", "a dimension is named twice; name it once"));
        }
        if !(1..=MAX_GROUPS).contains(&top) {
            return Err(Error::invalid("top", format!("top is 1 to {MAX_GROUPS}, not {top}")));
        }
        let addresses = selection.filter.address.is_some() || group_by.contains(&Dimension::Address);
        let rights: &[Right] =
            if addresses { &[Right::ReadKeys, Right::ReadTrail] } else { &[Right::ReadKeys] };
        let (organizations, filter) = self.chosen(caller, selection, rights, spelling).await?;
        let series = series || group_series;
        Ok(UsageQuery { organizations, filter, from, to, granularity, zone, group_by, top, series })
    }

    pub(super) async fn verification_query(
        &self,
        caller: &Caller,
        asked: VerificationsAsked,
        spelling: Spelling,
    ) -> Result<VerificationQuery> {
        let VerificationsAsked { selection, resource_prefix, from, to, sequence, window } = asked;
        no_secret(resource_prefix.as_deref(), spelling.field("resourcePrefix"))?;
        if resource_prefix.as_ref().is_some_and(|prefix| prefix.len() > MAX_BYTES) {
            let message = format!("a resource has at most {MAX_BYTES} bytes; give less of its beginning");
            return Err(Error::invalid(spelling.field("resourcePrefix"), message));
        }
        if from.zip(to).is_some_and(|(from, to)| from >= to) {
            return Err(ends_first(spelling.field("to")));
        }
        let selection = Selection { below: false, ..selection };
        let (organizations, filter) = self.chosen(caller, selection, &[Right::ReadTrail], spelling).await?;
        let organization = organizations.first().copied().ok_or_else(Error::internal)?;
        Ok(VerificationQuery { organization, filter, resource_prefix, from, to, sequence, window })
    }

    /// The organizations that are meant, and the filter with what the caller may see. Whatever the filter names
    /// is there for the caller, or does not exist.
    pub async fn chosen(
        &self,
        caller: &Caller,
        selection: Selection,
        rights: &[Right],
        spelling: Spelling,
    ) -> Result<(Vec<OrganizationId>, UsageFilter)> {
        let Selection { organization, below, mut filter } = selection;
        let field = |name| spelling.field(name);
        no_secret(filter.tag.as_deref(), field("tag"))?;
        if filter.tag.as_ref().is_some_and(|tag| tag.is_empty() || tag.len() > MAX_TAG_BYTES) {
            let message = format!("a tag has 1 to {MAX_TAG_BYTES} bytes; give a whole tag");
            return Err(Error::invalid(field("tag"), message));
        }
        if filter.keys.len() > MAX_KEYS {
            let message = format!("at most {MAX_KEYS} keys are allowed, these are {}", filter.keys.len());
            return Err(Error::invalid(field("keyIds"), message));
        }
        let workspace_field = match spelling {
            Spelling::GraphQl => "filter.workspaceId",
            Spelling::Rest => "workspaceId",
        };
        let fields = ("organizationId", workspace_field);
        let organization = self.organization_of_list(caller, organization, filter.workspace, fields)?;
        let mut organizations = vec![organization];
        filter.sight = self.common_sight(caller, rights, organization)?;
        if below {
            let family = self.tenants.family(organization);
            let children = family.iter().map(|tenant| tenant.state.id).filter(|id| *id != organization);
            for child in children {
                if let Some(sight) = &mut filter.sight {
                    // Whoever sees a part of the upper organization may see more or less of one below.
                    let Ok(seen) = self.common_sight(caller, rights, child) else { continue };
                    let all = || self.tenants.workspaces(child).iter().map(|one| one.id).collect();
                    sight.append(&mut seen.unwrap_or_else(all));
                }
                organizations.push(child);
            }
        }
        if let (Some(workspace), Some(sight)) = (filter.workspace, &filter.sight)
            && !sight.contains(&workspace)
        {
            return Err(lacking(rights.last().copied().unwrap_or(Right::ReadKeys)));
        }
        let may = |place: Place| rights.iter().all(|right| self.may(caller, *right, place));
        for id in &filter.keys {
            let row = self.read_model.key(*id).await.map_err(|error| query_failed(&error, false))?;
            let seen = row.is_some_and(|row| {
                organizations.contains(&row.state.organization) && may(place_of(&row.state))
            });
            if !seen {
                return Err(Error::not_found(field("keyIds"), "key"));
            }
        }
        if let Some(role) = filter.role {
            let has = |id: &OrganizationId| {
                self.tenants.organization(*id).is_some_and(|state| state.roles.contains_key(&role))
            };
            if !organizations.iter().any(has) {
                return Err(Error::not_found(field("roleId"), "role"));
            }
        }
        if let Some(identity) = filter.identity {
            let state = self.read_model.identity(identity).await;
            let state = state.map_err(|error| query_failed(&error, false))?;
            if !state.is_some_and(|state| organizations.contains(&state.organization)) {
                return Err(Error::not_found(field("identityId"), "identity"));
            }
        }
        Ok((organizations, filter))
    }

    /// The workspaces of an organization that a caller has all of some rights on: none for all of them.
    fn common_sight(
        &self,
        caller: &Caller,
        rights: &[Right],
        organization: OrganizationId,
    ) -> Result<Option<Vec<WorkspaceId>>> {
        let mut sight = None;
        for right in rights {
            sight = common(sight, self.sight(caller, *right, organization)?);
            if sight.as_ref().is_some_and(Vec::is_empty) {
                return Err(lacking(*right));
            }
        }
        Ok(sight)
    }
}
