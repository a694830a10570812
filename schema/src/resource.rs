//! The resource that a request names: `customers/42/invoices`.
//!
//! Segments separated by `/`. One slash in front and one behind are dropped, since paths of URLs have
//! them. Segments are compared byte by byte: no percent-decoding and no case folding, so that two
//! spellings never mean the same resource here and different ones in the API behind.

use std::fmt;

/// The longest resource or resource filter, in bytes.
pub const MAX_BYTES: usize = 512;
/// The most segments of a resource or resource filter.
pub const MAX_SEGMENTS: usize = 32;

/// Why a text is not a resource or a resource filter.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Error {
    /// Longer than [`MAX_BYTES`].
    #[error("a resource has at most {MAX_BYTES} bytes, this one has {0}")]
    TooLong(usize),
    /// More segments than [`MAX_SEGMENTS`].
    #[error("a resource has at most {MAX_SEGMENTS} segments, this one has {0}")]
    TooManySegments(usize),
    /// `a//b`.
    #[error("a resource has no empty segments: write a/b, not a//b")]
    EmptySegment,
    /// `a/../b`: some servers would resolve it.
    #[error("the segments . and .. are not allowed: name the resource itself")]
    DotSegment,
    /// White space, control characters, quotes, backslashes, or non-ASCII letters.
    #[error(
        "the character {0:?} is not allowed in a resource: use visible ASCII without \" and \\, percent-encode the rest"
    )]
    Character(char),
    /// `*` inside a segment, or in a request's resource.
    #[error(
        "* stands for a whole segment of a scope, and ** for any depth at its end; neither is part of a name"
    )]
    Wildcard,
}

/// Drops one slash in front and one behind.
pub(crate) fn trim(text: &str) -> &str {
    let text = text.strip_prefix('/').unwrap_or(text);
    text.strip_suffix('/').unwrap_or(text)
}

pub(crate) fn check_size(text: &str) -> Result<(), Error> {
    if text.len() > MAX_BYTES {
        return Err(Error::TooLong(text.len()));
    }
    let segments = text.split('/').count();
    if segments > MAX_SEGMENTS {
        return Err(Error::TooManySegments(segments));
    }
    Ok(())
}

pub(crate) fn check_segment(segment: &str) -> Result<(), Error> {
    if segment.is_empty() {
        return Err(Error::EmptySegment);
    }
    if segment == "." || segment == ".." {
        return Err(Error::DotSegment);
    }
    for character in segment.chars() {
        match character {
            '*' => return Err(Error::Wildcard),
            '"' | '\\' => return Err(Error::Character(character)),
            '\u{21}'..='\u{7e}' => {}
            _ => return Err(Error::Character(character)),
        }
    }
    Ok(())
}

/// A checked resource of a request. The empty one is the root of everything.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Resource<'a>(&'a str);

impl<'a> Resource<'a> {
    /// The root: no segments. Only scopes on everything cover it.
    pub const ROOT: Self = Self("");

    /// Checks a text.
    pub fn parse(text: &'a str) -> Result<Self, Error> {
        check_size(text)?;
        let text = trim(text);
        if !text.is_empty() {
            text.split('/').try_for_each(check_segment)?;
        }
        Ok(Self(text))
    }

    /// The segments from left to right.
    pub fn segments(self) -> impl Iterator<Item = &'a str> {
        self.0.split('/').filter(|segment| !segment.is_empty())
    }

    /// Canonical text: no slash in front or behind.
    pub const fn as_str(self) -> &'a str {
        self.0
    }
}

impl fmt::Display for Resource<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}
