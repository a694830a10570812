//! Scopes: an action and a resource filter, written `read:customers/42/**`.
//!
//! ```text
//! scope    = action ":" filter
//! action   = "read" / "write" / "admin" / "*"
//! filter   = "" / "*" / segment *( "/" segment ) [ "/" "**" ] / "**"
//! segment  = "*" / 1*visible-ascii-without-"*"-"/"-quote-backslash
//! ```
//!
//! `*` is exactly one segment. `**` at the end is any depth, none included: `a/**` covers `a`, `a/b` and
//! `a/b/c`. The filters "", `*` and `**` alone are everything and are written `*`. No action implies
//! another.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::action::Action;
use crate::resource::{self, Resource};

/// Why a text is not a scope.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Error {
    /// No colon.
    #[error("a scope is an action, a colon and a resource filter, such as read:customers/42/**")]
    NoAction,
    /// An action of another name.
    #[error("the action of a scope is one of read, write, admin, *")]
    Action,
    /// `a/**/b`.
    #[error("** stands only at the end of a resource filter")]
    DepthNotAtEnd,
    /// See [`resource::Error`].
    #[error(transparent)]
    Resource(#[from] resource::Error),
}

/// The action of a scope.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ScopeAction {
    /// This action only.
    Only(Action),
    /// Every action, written `*`.
    Any,
}

impl ScopeAction {
    /// Whether the scope's action covers the request's.
    pub fn covers(self, action: Action) -> bool {
        match self {
            Self::Any => true,
            Self::Only(only) => only == action,
        }
    }

    /// Whether it covers every action that another one covers.
    pub fn includes(self, other: Self) -> bool {
        self == Self::Any || self == other
    }

    /// As written in scopes.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Only(action) => action.as_str(),
            Self::Any => "*",
        }
    }
}

impl FromStr for ScopeAction {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        if text == "*" {
            return Ok(Self::Any);
        }
        text.parse().map(Self::Only).map_err(|_| Error::Action)
    }
}

/// A resource filter in canonical spelling.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ResourceFilter(Box<str>);

impl ResourceFilter {
    /// As written in scopes; everything is `*`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the filter covers a resource. Allocates nothing.
    pub fn covers(&self, resource: Resource<'_>) -> bool {
        if &*self.0 == "*" {
            return true;
        }
        let mut wanted = resource.segments();
        for pattern in self.0.split('/') {
            if pattern == "**" {
                return true;
            }
            match wanted.next() {
                Some(segment) if pattern == "*" || pattern == segment => {}
                _ => return false,
            }
        }
        wanted.next().is_none()
    }

    /// Whether it covers every resource that another filter covers.
    pub fn includes(&self, other: &Self) -> bool {
        if &*self.0 == "*" {
            return true;
        }
        if &*other.0 == "*" {
            return false;
        }
        let mut narrower = other.0.split('/');
        for pattern in self.0.split('/') {
            if pattern == "**" {
                return true;
            }
            match narrower.next() {
                // It may end here, and this one goes on.
                None | Some("**") => return false,
                Some(segment) if pattern == "*" || pattern == segment => {}
                Some(_) => return false,
            }
        }
        narrower.next().is_none()
    }
}

impl FromStr for ResourceFilter {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        resource::check_size(text)?;
        let text = resource::trim(text);
        if matches!(text, "" | "*" | "**") {
            return Ok(Self("*".into()));
        }
        let mut segments = text.split('/').peekable();
        while let Some(segment) = segments.next() {
            match segment {
                "**" if segments.peek().is_some() => return Err(Error::DepthNotAtEnd),
                "*" | "**" => {}
                name => resource::check_segment(name)?,
            }
        }
        Ok(Self(text.into()))
    }
}

/// What a key's holder may do in the API that the key is for.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Scope {
    /// Which actions.
    pub action: ScopeAction,
    /// On which resources.
    pub resource: ResourceFilter,
}

impl Scope {
    /// Whether the scope allows an action on a resource.
    pub fn covers(&self, action: Action, resource: Resource<'_>) -> bool {
        self.action.covers(action) && self.resource.covers(resource)
    }

    /// Whether the scope allows all that another one allows.
    pub fn includes(&self, other: &Self) -> bool {
        self.action.includes(other.action) && self.resource.includes(&other.resource)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.action.as_str(), self.resource.as_str())
    }
}

impl FromStr for Scope {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        let (action, resource) = text.split_once(':').ok_or(Error::NoAction)?;
        Ok(Self { action: action.parse()?, resource: resource.parse()? })
    }
}

impl Serialize for Scope {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Scope {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Scope;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a scope like read:customers/42/**")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Scope, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn covers(scope: &str, action: Action, resource: &str) -> bool {
        scope.parse::<Scope>().unwrap().covers(action, Resource::parse(resource).unwrap())
    }

    #[test]
    fn filters_cover_what_the_table_says() {
        let table = [
            ("*", "", true),
            ("*", "a/b/c", true),
            ("", "a", true),
            ("**", "", true),
            ("/", "a", true),
            ("a", "a", true),
            ("a", "/a/", true),
            ("a", "", false),
            ("a", "b", false),
            ("a", "a/b", false),
            ("a/b", "a", false),
            ("a/*", "a", false),
            ("a/*", "a/b", true),
            ("a/*", "a/b/c", false),
            ("a/*/c", "a/b/c", true),
            ("a/*/c", "a/b/d", false),
            ("*/b", "a/b", true),
            ("*/b", "b", false),
            ("a/**", "a", true),
            ("a/**", "a/b", true),
            ("a/**", "a/b/c/d", true),
            ("a/**", "", false),
            ("a/**", "ab", false),
            ("a/*/**", "a", false),
            ("a/*/**", "a/b", true),
            ("*/*", "a/b", true),
            ("A", "a", false),
            ("a%2Fb", "a/b", false),
        ];
        for (filter, resource, expected) in table {
            assert_eq!(
                covers(&format!("read:{filter}"), Action::Read, resource),
                expected,
                "{filter} on {resource}"
            );
        }
    }

    #[test]
    fn no_action_implies_another() {
        for held in Action::ALL {
            for wanted in Action::ALL {
                assert_eq!(covers(&format!("{held}:*"), wanted, "a"), held == wanted);
                assert!(covers("*:*", wanted, "a"));
            }
        }
    }

    #[test]
    fn malformed_scopes_are_refused_with_the_reason() {
        use resource::Error as R;
        let long = format!("read:{}", "a".repeat(513));
        let deep = format!("read:{}", vec!["a"; 33].join("/"));
        let table = [
            ("read", Error::NoAction),
            ("delete:a", Error::Action),
            ("READ:a", Error::Action),
            ("read:a/**/b", Error::DepthNotAtEnd),
            ("read:a//b", R::EmptySegment.into()),
            ("read:a*", R::Wildcard.into()),
            ("read:a/***", R::Wildcard.into()),
            ("read:a/../b", R::DotSegment.into()),
            ("read:a b", R::Character(' ').into()),
            ("read:a\u{0}", R::Character('\u{0}').into()),
            ("read:käse", R::Character('ä').into()),
            (&long, R::TooLong(513).into()),
            (&deep, R::TooManySegments(33).into()),
        ];
        for (text, expected) in table {
            assert_eq!(text.parse::<Scope>(), Err(expected), "{text}");
        }
    }

    #[test]
    fn a_request_cannot_name_a_wildcard() {
        for text in ["*", "a/*", "**", "a/**"] {
            assert_eq!(Resource::parse(text), Err(resource::Error::Wildcard));
        }
    }

    /// The naive reference: expand by recursion over vectors.
    fn reference(pattern: &[&str], wanted: &[&str]) -> bool {
        match (pattern, wanted) {
            ([], []) | (["**"], _) => true,
            ([first, pattern @ ..], [segment, wanted @ ..]) => {
                (*first == "*" || first == segment) && reference(pattern, wanted)
            }
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn matching_agrees_with_a_naive_reference(
            pattern in prop::collection::vec(prop::sample::select(vec!["a", "b", "*"]), 1..5),
            open in any::<bool>(),
            wanted in prop::collection::vec(prop::sample::select(vec!["a", "b", "c"]), 0..6),
        ) {
            let mut pattern = pattern;
            if open { pattern.push("**"); }
            let expected = pattern == ["*"] || reference(&pattern, &wanted);
            prop_assert_eq!(covers(&format!("write:{}", pattern.join("/")), Action::Write, &wanted.join("/")), expected);
        }

        #[test]
        fn a_scope_includes_exactly_those_that_allow_nothing_else(
            wide in "(read|\\*):([ab*](/[ab*]){0,3})?(/\\*\\*)?",
            narrow in "(read|\\*):([ab*](/[ab*]){0,3})?(/\\*\\*)?",
        ) {
            let (wide, narrow): (Scope, Scope) = (wide.parse().unwrap(), narrow.parse().unwrap());
            // Of names that stand in no filter one is as good as another, and five segments are one more than any
            // filter has.
            let names = ["a", "b", "c"];
            let mut paths = vec![String::new()];
            for _ in 0..5 {
                let longer: Vec<_> = paths.iter().flat_map(|path| names.map(|name| format!("{path}/{name}"))).collect();
                paths.extend(longer);
                paths.sort_unstable();
                paths.dedup();
            }
            let beyond = paths.iter().any(|path| Action::ALL.into_iter().any(|action| {
                let resource = Resource::parse(path).unwrap();
                narrow.covers(action, resource) && !wide.covers(action, resource)
            }));
            prop_assert_eq!(wide.includes(&narrow), !beyond, "{} {}", wide, narrow);
        }

        #[test]
        fn a_parsed_scope_is_its_own_canonical_text(text in "(read|write|admin|\\*):[ab*/]{0,12}") {
            if let Ok(scope) = text.parse::<Scope>() {
                let again = scope.to_string();
                prop_assert_eq!(again.parse::<Scope>().unwrap(), scope);
            }
        }

        #[test]
        fn parsing_never_panics(text in ".*") {
            let _ = text.parse::<Scope>();
            let _ = Resource::parse(&text);
        }
    }
}
