//! How a query looks at the cells of one organization: which of them it counts, and in which groups.
//!
//! Whatever groups are told apart by has a number here. Numbers mean the same in all organizations of a query;
//! [`Values`] knows what. They follow the order in which keys were issued and values first occurred, so that
//! they are the same whenever the same is asked.

use std::hash::Hash;

use hashbrown::HashMap;
use keyledger_schema::{
    Action, Environment, IdentityId, KeyId, Means, OrganizationId, RoleId, VerificationCode, WorkspaceId,
};
use rusqlite::{Connection, params};

use super::tally::{Chosen, Numbers};
use super::{Dimension, DimensionValue, UsageFilter, UsageQuery};
use crate::readmodel::catalog::{Attributes, Catalog, Names};
use crate::readmodel::usage::cells::Cell;
use crate::readmodel::usage::ordinals;
use crate::readmodel::usage::rollup::Facet;
use crate::readmodel::usage::values::{self as words, ValueKind};

/// Gives values numbers from 1 on; 0 stands for none.
struct Numbered<T> {
    numbers: HashMap<T, u32>,
    values: Vec<T>,
}

impl<T> Default for Numbered<T> {
    fn default() -> Self {
        Self { numbers: HashMap::new(), values: Vec::new() }
    }
}

impl<T: Clone + Eq + Hash> Numbered<T> {
    #[allow(clippy::cast_possible_truncation, reason = "there are fewer than 2^32 of anything")]
    fn number(&mut self, value: &T) -> u32 {
        *self.numbers.entry_ref(value).or_insert_with(|| {
            self.values.push(value.clone());
            self.values.len() as u32
        })
    }

    fn value(&self, number: u32) -> Option<T> {
        self.values.get((number as usize).checked_sub(1)?).cloned()
    }
}

/// Numbers of a catalog, in which others are numbered that this query has met.
struct Renumbered(Vec<Option<u32>>);

impl Renumbered {
    fn new(count: usize) -> Self {
        Self(vec![None; count])
    }

    fn number(&mut self, number: u32, new: impl FnOnce() -> u32) -> u32 {
        match self.0.get_mut(number as usize) {
            Some(known) => *known.get_or_insert_with(new),
            None => 0,
        }
    }
}

/// What the numbers of groups stand for.
#[derive(Default)]
pub(super) struct Values {
    /// Those of the query, with the number that comes before that of the first key of each.
    organizations: Vec<(OrganizationId, u32)>,
    workspaces: Numbered<WorkspaceId>,
    identities: Numbered<IdentityId>,
    roles: Numbered<RoleId>,
    /// Used if there are several organizations; else numbers are those of the dictionary.
    dictionary: Numbered<Box<[u8]>>,
}

impl Values {
    pub(super) fn new(catalog: &Catalog, organizations: &[OrganizationId]) -> Self {
        let mut before = 0u32;
        let organizations = organizations.iter().map(|&id| {
            let base = before;
            before = before.saturating_add(catalog.count(id));
            (id, base)
        });
        Self { organizations: organizations.collect(), ..Self::default() }
    }

    /// What a number of a dimension stands for.
    pub(super) fn resolve(
        &self,
        connection: &Connection,
        dimension: Dimension,
        number: u32,
    ) -> rusqlite::Result<DimensionValue> {
        let index = (number as usize).checked_sub(1);
        Ok(match dimension {
            Dimension::Organization => DimensionValue::Organization(self.organizations[number as usize].0),
            Dimension::Workspace => DimensionValue::Workspace(self.workspaces.value(number)),
            Dimension::Environment => {
                DimensionValue::Environment(index.and_then(|index| Environment::ALL.get(index).copied()))
            }
            Dimension::Key => DimensionValue::Key(self.key(connection, number)?),
            Dimension::Identity => DimensionValue::Identity(self.identities.value(number)),
            Dimension::Role => DimensionValue::Role(self.roles.value(number)),
            Dimension::Outcome => {
                let code = VerificationCode::ALL.get(number as usize);
                DimensionValue::Outcome(code.copied().unwrap_or(VerificationCode::Valid))
            }
            Dimension::Action => {
                DimensionValue::Action(index.and_then(|index| Action::ALL.get(index).copied()))
            }
            Dimension::Means => DimensionValue::Means(index.and_then(|index| Means::ALL.get(index).copied())),
            Dimension::Tag => {
                let text = self.word(connection, ValueKind::Tag, number)?;
                DimensionValue::Tag(text.and_then(|text| Some(std::str::from_utf8(&text).ok()?.into())))
            }
            Dimension::Address => {
                let bytes = self.word(connection, ValueKind::Address, number)?;
                DimensionValue::Address(bytes.and_then(|bytes| words::address_of(&bytes)))
            }
        })
    }

    fn key(&self, connection: &Connection, number: u32) -> rusqlite::Result<Option<KeyId>> {
        let after = self.organizations.partition_point(|(_, base)| *base < number);
        let Some((organization, base)) = after.checked_sub(1).map(|n| self.organizations[n]) else {
            return Ok(None);
        };
        Ok(ordinals::key(connection, organization, number - base)?.map(|(key, _)| key))
    }

    /// What a number of the dictionary stands for.
    fn word(
        &self,
        connection: &Connection,
        kind: ValueKind,
        number: u32,
    ) -> rusqlite::Result<Option<Box<[u8]>>> {
        if number == 0 {
            return Ok(None);
        }
        match self.organizations[..] {
            [(organization, _)] => {
                let value = words::value(connection, Some(organization), kind, number)?;
                Ok(value.map(Vec::into_boxed_slice))
            }
            _ => Ok(self.dictionary.value(number)),
        }
    }
}

impl Values {
    /// What keys have in a dimension, by ordinal.
    fn of_keys(&mut self, dimension: Dimension, names: &Names, attributes: &[Attributes]) -> Source {
        let mut numbers = Vec::with_capacity(attributes.len() + 1);
        numbers.push(0);
        match dimension {
            Dimension::Workspace => {
                let mut known = Renumbered::new(names.workspaces.len());
                numbers.extend(attributes.iter().map(|of_key| {
                    known.number(of_key.workspace, || {
                        let id = names.workspaces[of_key.workspace as usize];
                        id.map_or(0, |id| self.workspaces.number(&id))
                    })
                }));
            }
            Dimension::Identity => {
                let mut known = Renumbered::new(names.identities.len());
                numbers.extend(attributes.iter().map(|of_key| {
                    known.number(of_key.identity, || {
                        let id = names.identities[of_key.identity as usize];
                        id.map_or(0, |id| self.identities.number(&id))
                    })
                }));
            }
            Dimension::Role => {
                let mut sets = vec![None; names.roles.len()];
                for of_key in attributes {
                    if let Some(set @ None) = sets.get_mut(of_key.roles as usize) {
                        let roles = names.roles[of_key.roles as usize].as_deref().unwrap_or_default();
                        *set = Some(roles.iter().map(|id| self.roles.number(id)).collect());
                    }
                }
                numbers.extend(attributes.iter().map(|of_key| of_key.roles));
                let sets = sets.into_iter().map(Option::unwrap_or_default).collect();
                return Source::OfKeyMany(numbers, sets);
            }
            _ => numbers.extend(attributes.iter().map(|of_key| of_key.environment as u32 + 1)),
        }
        Source::OfKey(numbers)
    }

    /// What cells have in the dimension of tags or addresses.
    fn words(
        &mut self,
        connection: &Connection,
        organization: OrganizationId,
        kind: ValueKind,
    ) -> rusqlite::Result<Source> {
        if self.organizations.len() == 1 {
            return Ok(Source::Value);
        }
        let mut statement = connection.prepare_cached(
            "SELECT number, value FROM usage_values WHERE org = ?1 AND kind = ?2 ORDER BY number",
        )?;
        let mut rows = statement.query(params![organization.uuid().into_bytes(), kind as u8])?;
        let mut numbers = vec![0];
        while let Some(row) = rows.next()? {
            let number = row.get::<_, u32>(0)? as usize;
            numbers.resize(number.max(numbers.len() - 1) + 1, 0);
            numbers[number] = self.dictionary.number(&row.get_ref(1)?.as_blob()?.into());
        }
        Ok(Source::OfValue(numbers))
    }
}

fn conditions_on_places(filter: &UsageFilter) -> bool {
    filter.sight.is_some() || filter.workspace.is_some() || filter.environment.is_some()
}

/// Whether what belongs to this workspace and environment meets the conditions on them.
fn lets_through(filter: &UsageFilter, workspace: WorkspaceId, environment: Environment) -> bool {
    filter.sight.as_ref().is_none_or(|sight| sight.contains(&workspace))
        && filter.workspace.is_none_or(|id| id == workspace)
        && filter.environment.is_none_or(|of| of == environment)
}

/// Where the number of a cell in a dimension comes from.
enum Source {
    Constant(u32),
    /// The key's ordinal and the number before that of the organization's first key.
    Ordinal(u32),
    /// By ordinal.
    OfKey(Vec<u32>),
    /// By ordinal which set, and the sets.
    OfKeyMany(Vec<u32>, Vec<Box<[u32]>>),
    /// The facet's value.
    Value,
    /// By the facet's value.
    OfValue(Vec<u32>),
    Code,
    Action,
    Means,
}

fn at(numbers: &[u32], index: u32) -> u32 {
    numbers.get(index as usize).copied().unwrap_or(0)
}

impl Source {
    #[inline]
    fn one(&self, cell: &Cell) -> u32 {
        let place = &cell.place;
        match self {
            Self::Constant(number) => *number,
            Self::Ordinal(_) if place.ord == 0 => 0,
            Self::Ordinal(base) => base.saturating_add(place.ord),
            Self::OfKey(numbers) | Self::OfKeyMany(numbers, _) => at(numbers, place.ord),
            Self::Value => place.value,
            Self::OfValue(numbers) => at(numbers, place.value),
            #[allow(clippy::cast_possible_truncation, reason = "there are few codes")]
            Self::Code => place.kind.code_index() as u32,
            Self::Action => place.kind.action().map_or(0, |action| action as u32 + 1),
            #[allow(clippy::cast_possible_truncation, reason = "there are few means")]
            Self::Means => place.kind.means_index() as u32,
        }
    }

    /// The numbers of a cell: one, but for roles.
    #[inline]
    fn each(&self, cell: &Cell, mut each: impl FnMut(u32)) {
        match self {
            Self::OfKeyMany(numbers, sets) => {
                let set = sets.get(at(numbers, cell.place.ord) as usize);
                match set {
                    Some(set) if !set.is_empty() => set.iter().for_each(|number| each(*number)),
                    _ => each(0),
                }
            }
            one => each(one.one(cell)),
        }
    }

    /// Whether a key can be in one of the groups that were chosen.
    fn may(&self, ord: u32, dimension: usize, chosen: &Chosen) -> bool {
        match self {
            Self::Ordinal(_) if ord == 0 => chosen.has(dimension, 0),
            Self::Ordinal(base) => chosen.has(dimension, base.saturating_add(ord)),
            Self::OfKey(numbers) => chosen.has(dimension, at(numbers, ord)),
            Self::OfKeyMany(numbers, sets) => match sets.get(at(numbers, ord) as usize) {
                Some(set) if !set.is_empty() => set.iter().any(|number| chosen.has(dimension, *number)),
                _ => chosen.has(dimension, 0),
            },
            Self::Constant(number) => chosen.has(dimension, *number),
            Self::Value | Self::OfValue(_) | Self::Code | Self::Action | Self::Means => true,
        }
    }

    const fn is_of_key(&self) -> bool {
        matches!(self, Self::Ordinal(_) | Self::OfKey(_) | Self::OfKeyMany(..))
    }
}

/// Which of the facet's values.
enum Which {
    All,
    One(u32),
    Those(Vec<bool>),
}

/// The facet whose cells tell what is asked.
pub(super) fn facet(filter: &UsageFilter, group_by: &[Dimension]) -> Facet {
    let of_key = !filter.keys.is_empty() || filter.identity.is_some() || filter.role.is_some();
    let has = |dimension| group_by.contains(&dimension);
    if filter.tag.is_some() || has(Dimension::Tag) {
        Facet::Tags
    } else if filter.address.is_some() || has(Dimension::Address) {
        Facet::Addresses
    } else if of_key || has(Dimension::Key) || has(Dimension::Identity) || has(Dimension::Role) {
        Facet::Keys
    } else {
        Facet::Places
    }
}

/// How many values a dimension has, if they are few.
pub(super) fn width(dimension: Dimension) -> Option<usize> {
    match dimension {
        Dimension::Environment => Some(1 + Environment::ALL.len()),
        Dimension::Outcome => Some(VerificationCode::ALL.len()),
        Dimension::Action => Some(1 + Action::ALL.len()),
        Dimension::Means => Some(1 + Means::ALL.len()),
        _ => None,
    }
}

pub(super) struct Lens {
    pub(super) organization: OrganizationId,
    pub(super) facet: Facet,
    /// By their place among all.
    codes: [bool; VerificationCode::ALL.len()],
    /// No action first.
    actions: [bool; Action::ALL.len() + 1],
    /// The secret first.
    means: [bool; Means::ALL.len() + 1],
    /// The keys that are counted, by ordinal, no key first; none for all.
    keys: Option<Vec<bool>>,
    values: Which,
    /// In the order of the query.
    sources: Vec<Source>,
}

impl Lens {
    /// For the organization that is the n-th of the query's.
    pub(super) fn new(
        connection: &Connection,
        catalog: &Catalog,
        query: &UsageQuery,
        n: usize,
        group_by: &[Dimension],
        values: &mut Values,
    ) -> rusqlite::Result<Self> {
        let filter = &query.filter;
        let organization = query.organizations[n];
        let facet = facet(filter, group_by);
        let mut lens = Self {
            organization,
            facet,
            codes: VerificationCode::ALL
                .map(|code| filter.outcomes.is_empty() || filter.outcomes.contains(&code)),
            actions: [None, Some(Action::Read), Some(Action::Write), Some(Action::Admin)]
                .map(|action| filter.action.is_none() || filter.action == action),
            means: [None, Some(Means::Exchange), Some(Means::Token), Some(Means::Introspection)]
                .map(|means| filter.means.is_none() || filter.means == means),
            keys: None,
            values: Which::All,
            sources: Vec::with_capacity(group_by.len()),
        };
        let sources = if facet == Facet::Places {
            lens.of_places(connection, filter, group_by, values)?
        } else {
            lens.of_keys(connection, catalog, filter, group_by, values)?
        };
        let word = match (&filter.tag, filter.address) {
            (Some(tag), _) => Some((ValueKind::Tag, tag.as_bytes().to_vec())),
            (None, Some(address)) => Some((ValueKind::Address, words::address_bytes(address))),
            (None, None) => None,
        };
        if let Some((kind, word)) = word {
            lens.values = match words::number(connection, Some(organization), kind, &word)? {
                Some(number) => Which::One(number),
                None => Which::Those(Vec::new()),
            };
        }
        let mut sources = sources.into_iter();
        for dimension in group_by {
            lens.sources.push(match dimension {
                Dimension::Organization => Source::Constant(u32::try_from(n).unwrap_or(u32::MAX)),
                Dimension::Key => Source::Ordinal(values.organizations[n].1),
                Dimension::Outcome => Source::Code,
                Dimension::Action => Source::Action,
                Dimension::Means => Source::Means,
                Dimension::Tag => values.words(connection, organization, ValueKind::Tag)?,
                Dimension::Address => values.words(connection, organization, ValueKind::Address)?,
                Dimension::Workspace | Dimension::Environment | Dimension::Identity | Dimension::Role => {
                    sources.next().unwrap_or(Source::Constant(0))
                }
            });
        }
        Ok(lens)
    }

    /// Conditions on workspaces and environments, and what cells have in these dimensions, by place.
    fn of_places(
        &mut self,
        connection: &Connection,
        filter: &UsageFilter,
        group_by: &[Dimension],
        values: &mut Values,
    ) -> rusqlite::Result<Vec<Source>> {
        let places = words::places(connection, self.organization)?;
        let size = places.iter().map(|(number, ..)| *number as usize + 1).max().unwrap_or(1);
        if conditions_on_places(filter) {
            let mut those = vec![false; size];
            for (number, workspace, environment) in &places {
                those[*number as usize] = lets_through(filter, *workspace, *environment);
            }
            self.values = Which::Those(those);
        }
        let mut sources = Vec::new();
        for dimension in group_by {
            let mut numbers = vec![0; size];
            for (number, workspace, environment) in &places {
                numbers[*number as usize] = match dimension {
                    Dimension::Workspace => values.workspaces.number(workspace),
                    Dimension::Environment => *environment as u32 + 1,
                    _ => continue,
                };
            }
            if matches!(dimension, Dimension::Workspace | Dimension::Environment) {
                sources.push(Source::OfValue(numbers));
            }
        }
        Ok(sources)
    }

    /// Conditions on keys, and what cells have in the dimensions that keys tell, by ordinal.
    fn of_keys(
        &mut self,
        connection: &Connection,
        catalog: &Catalog,
        filter: &UsageFilter,
        group_by: &[Dimension],
        values: &mut Values,
    ) -> rusqlite::Result<Vec<Source>> {
        let count = catalog.count(self.organization) as usize + 1;
        if !filter.keys.is_empty() {
            let mut keys = vec![false; count];
            for key in &filter.keys {
                let ord = ordinals::of(connection, self.organization, *key)?;
                if let Some(counted) = ord.and_then(|ord| keys.get_mut(ord as usize)) {
                    *counted = true;
                }
            }
            self.keys = Some(keys);
        }
        let of_key = |dimension: &&Dimension| {
            use Dimension::{Environment, Identity, Role, Workspace};
            matches!(dimension, Workspace | Environment | Identity | Role)
        };
        let dimensions: Vec<_> = group_by.iter().filter(of_key).copied().collect();
        let conditions = conditions_on_places(filter) || filter.identity.is_some() || filter.role.is_some();
        if dimensions.is_empty() && !conditions {
            return Ok(Vec::new());
        }

        let mut attributes = Vec::with_capacity(count);
        catalog.attributes(self.organization, 1..u32::MAX, |_, of_key| attributes.push(of_key));
        let names = catalog.names(self.organization);
        if conditions {
            // No key is in no workspace, and has neither identity nor role.
            let keys = self.keys.get_or_insert_with(|| vec![true; count]);
            keys[0] = false;
            let holds: Vec<bool> = names
                .roles
                .iter()
                .map(|set| filter.role.is_none_or(|role| set.as_ref().is_some_and(|set| set.contains(&role))))
                .collect();
            for (counted, of_key) in keys.iter_mut().skip(1).zip(&attributes) {
                let workspace = names.workspaces.get(of_key.workspace as usize).copied().flatten();
                let identity = names.identities.get(of_key.identity as usize).copied().flatten();
                *counted &= workspace.is_some_and(|id| lets_through(filter, id, of_key.environment))
                    && holds.get(of_key.roles as usize).is_some_and(|holds| *holds)
                    && filter.identity.is_none_or(|id| identity == Some(id));
            }
        }
        Ok(dimensions.into_iter().map(|dimension| values.of_keys(dimension, &names, &attributes)).collect())
    }

    /// Looks at the groups that were chosen only. Tells whether that may leave out keys.
    pub(super) fn choose(&mut self, chosen: &Chosen, catalog: &Catalog) -> bool {
        if self.facet == Facet::Places || !self.sources.iter().any(Source::is_of_key) {
            return false;
        }
        let count = catalog.count(self.organization) as usize + 1;
        let keys = self.keys.get_or_insert_with(|| vec![true; count]);
        for (ord, counted) in (0..).zip(keys) {
            *counted = *counted && self.sources.iter().zip(0..).all(|(source, n)| source.may(ord, n, chosen));
        }
        true
    }

    /// The chunks of so many ordinals that have cells which are counted; none for all.
    pub(super) fn chunks(&self, size: u32) -> Option<Vec<u32>> {
        let keys = self.keys.as_ref()?;
        let chunks = (0..).zip(keys.chunks(size as usize));
        Some(chunks.filter(|(_, keys)| keys.contains(&true)).map(|(chunk, _)| chunk).collect())
    }

    /// Whether a cell is counted.
    #[inline]
    pub(super) fn lets_through(&self, cell: &Cell) -> bool {
        let place = &cell.place;
        self.codes[place.kind.code_index()]
            && self.actions[place.kind.action().map_or(0, |action| action as usize + 1)]
            && self.means[place.kind.means_index()]
            && self.keys.as_ref().is_none_or(|keys| keys.get(place.ord as usize).is_some_and(|key| *key))
            && match &self.values {
                Which::All => true,
                Which::One(value) => place.value == *value,
                Which::Those(those) => those.get(place.value as usize).is_some_and(|value| *value),
            }
    }

    /// The groups of a cell.
    #[inline]
    pub(super) fn groups(&self, cell: &Cell, mut each: impl FnMut(Numbers)) {
        match &self.sources[..] {
            [] => {}
            [only] => only.each(cell, |number| each([number, 0])),
            [first, second, ..] => first.each(cell, |a| second.each(cell, |b| each([a, b]))),
        }
    }
}
