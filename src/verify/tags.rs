//! Tags: what a verifier files verifications under, to tell them apart in statistics.

use std::borrow::Cow;

use crate::error::Error;
use crate::secret::WellFormed;

/// The most tags of a verification.
pub const MAX_TAGS: usize = 8;
/// The longest tag, in bytes.
pub const MAX_TAG_BYTES: usize = 64;

/// Checked tags: sorted, without repetitions.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Tags(Box<[Box<str>]>);

impl Tags {
    /// Checks them.
    pub fn new(tags: &[Cow<'_, str>]) -> Result<Self, Error> {
        if tags.is_empty() {
            return Ok(Self::default());
        }
        if tags.len() > MAX_TAGS || !tags.iter().all(|tag| is_tag(tag)) {
            return Err(wrong_tags());
        }
        if tags.iter().any(|tag| WellFormed::is_in(tag)) {
            let message = "a tag is kept and shown; send no secret as one";
            return Err(Error::invalid("tags", message));
        }
        let mut tags: Vec<Box<str>> = tags.iter().map(|tag| Box::from(&**tag)).collect();
        tags.sort_unstable();
        tags.dedup();
        Ok(Self(tags.into()))
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|tag| &**tag)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn to_vec(&self) -> Vec<Box<str>> {
        self.0.to_vec()
    }
}

/// Whether a text can be a tag.
pub fn is_tag(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:/=@+".contains(&byte);
    (1..=MAX_TAG_BYTES).contains(&text.len()) && text.bytes().all(fits)
}

/// For what are no tags.
pub fn wrong_tags() -> Error {
    let message = format!(
        "tags is a list of at most {MAX_TAGS} texts of 1 to {MAX_TAG_BYTES} letters, digits and - . _ : / = @ +"
    );
    Error::invalid("tags", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_a_set_of_short_words() {
        let tags = |texts: &[&'static str]| {
            let texts: Vec<_> = texts.iter().map(|text| Cow::Borrowed(*text)).collect();
            Tags::new(&texts).map(|tags| tags.iter().map(String::from).collect::<Vec<_>>())
        };
        assert_eq!(tags(&[]), Ok(vec![]));
        assert_eq!(tags(&["b", "a/1", "b"]), Ok(vec!["a/1".to_owned(), "b".to_owned()]));
        for wrong in [&[""][..], &["a b"], &["ü"], &["a\""], &["a,b"], &["a"; 9]] {
            assert_eq!(tags(wrong).unwrap_err().field.unwrap(), "tags", "{wrong:?}");
        }
        assert!(is_tag(&"a".repeat(MAX_TAG_BYTES)) && !is_tag(&"a".repeat(MAX_TAG_BYTES + 1)));
    }
}
