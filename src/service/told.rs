//! Which part of something was asked for, as events tell it: the query of a URL.

use std::fmt::Write as _;

use keyledger_schema::Means;

use super::analytics::{Selection, VerificationsAsked, Window};

/// Names and values, in the order in which they are told.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Told(String);

impl Told {
    /// Adds a value, if there is one.
    pub fn tell(&mut self, name: &str, value: Option<impl ToString>) {
        let Some(value) = value else { return };
        if !self.0.is_empty() {
            self.0.push('&');
        }
        self.0.push_str(name);
        self.0.push('=');
        for byte in value.to_string().bytes() {
            if byte.is_ascii_alphanumeric() || b"-._~,:".contains(&byte) {
                self.0.push(byte.into());
            } else {
                // Writing to a string cannot fail.
                let _ = write!(self.0, "%{byte:02X}");
            }
        }
    }

    /// Adds values with commas between, if there are any.
    pub fn list(&mut self, name: &str, values: impl Iterator<Item = String>) {
        let values: Vec<String> = values.collect();
        self.tell(name, (!values.is_empty()).then(|| values.join(",")));
    }

    /// Adds whose verifications are meant.
    pub(super) fn selection(&mut self, selection: &Selection) {
        let filter = &selection.filter;
        self.tell("includeBelow", selection.below.then_some(true));
        self.tell("workspaceId", filter.workspace);
        self.tell("environment", filter.environment);
        self.list("keyIds", filter.keys.iter().map(ToString::to_string));
        self.tell("identityId", filter.identity);
        self.tell("roleId", filter.role);
        self.list("outcomes", filter.outcomes.iter().map(ToString::to_string));
        self.tell("action", filter.action);
        self.tell("means", filter.means.map(Means::as_str));
        self.tell("tag", filter.tag.as_deref());
        self.tell("address", filter.address);
    }

    /// Adds which part of the verification log is meant.
    pub(super) fn verifications(&mut self, asked: &VerificationsAsked) {
        self.tell("from", asked.from);
        self.tell("to", asked.to);
        self.selection(&asked.selection);
        self.tell("resourcePrefix", asked.resource_prefix.as_deref());
    }

    /// Adds where in a list a page stands.
    pub fn window(&mut self, window: &Window) {
        match window {
            Window::First { after, .. } => self.tell("after", after.as_deref()),
            Window::Last { before, .. } => {
                self.tell("last", Some(true));
                self.tell("before", before.as_deref());
            }
        }
    }

    /// All of it.
    pub fn text(self) -> String {
        self.0
    }
}
