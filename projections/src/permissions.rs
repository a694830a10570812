//! What a key's holder may do, from its own scopes and its roles as they are.

use std::collections::{BTreeMap, HashMap, HashSet};

use keyledger_schema::{RoleId, Scope};

use crate::key::KeyState;
use crate::organization::RoleState;

/// A scope that a key has, and from where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Effective {
    /// What it allows.
    pub scope: Scope,
    /// How the organization calls it.
    pub display_name: Option<Box<str>>,
    /// Whether the key has it by itself.
    pub own: bool,
    /// The names of the roles that give it.
    pub by_roles: Vec<Box<str>>,
}

/// How an organization calls scopes: as the first of its roles that has a name for it does.
pub type ScopeNames = HashMap<Scope, Box<str>>;

/// The names that the roles of an organization give to scopes.
pub fn scope_names(roles: &BTreeMap<RoleId, RoleState>) -> ScopeNames {
    let mut names = ScopeNames::new();
    for scope in roles.values().flat_map(|role| &role.definition.scopes) {
        if let Some(name) = &scope.display_name {
            names.entry(scope.scope.clone()).or_insert_with(|| name.clone());
        }
    }
    names
}

/// A key's roles that there are.
fn held<'a>(
    state: &'a KeyState,
    roles: &'a BTreeMap<RoleId, RoleState>,
) -> impl Iterator<Item = &'a RoleState> {
    state.roles.iter().filter_map(|id| roles.get(id))
}

/// All scopes of a key, sorted, each once. `roles` and `names` are those of its organization.
pub fn effective(
    state: &KeyState,
    roles: &BTreeMap<RoleId, RoleState>,
    names: &ScopeNames,
) -> Vec<Effective> {
    let mut found: BTreeMap<&Scope, (bool, Vec<Box<str>>)> = BTreeMap::new();
    for scope in &state.scopes {
        found.entry(scope).or_default().0 = true;
    }
    for role in held(state, roles) {
        for scope in &role.definition.scopes {
            found.entry(&scope.scope).or_default().1.push(role.definition.name.clone());
        }
    }
    found
        .into_iter()
        .map(|(scope, (own, by_roles))| Effective {
            scope: scope.clone(),
            display_name: names.get(scope).cloned(),
            own,
            by_roles,
        })
        .collect()
}

/// What a key may do in a few words: its roles by their display names, then its own scopes by theirs.
pub fn summary(state: &KeyState, roles: &BTreeMap<RoleId, RoleState>, names: &ScopeNames) -> Vec<String> {
    let by_role = held(state, roles).map(|role| {
        let definition = &role.definition;
        definition.display_name.as_deref().unwrap_or(&definition.name).to_owned()
    });
    let own = state
        .scopes
        .iter()
        .map(|scope| names.get(scope).map_or_else(|| scope.to_string(), ToString::to_string));
    let mut lines: Vec<String> = by_role.chain(own).collect();
    let mut seen = HashSet::new();
    lines.retain(|line| seen.insert(line.clone()));
    lines
}
