//! Looks at a request's document before the library does, whose own limits come after work that a small
//! document can make endless: its parser recurses as deep as a text nests, and it follows a fragment once for
//! every place that spreads it, which doubles with each fragment that spreads another one twice.
//!
//! Invariant: the time taken here is proportional to the text.

use std::collections::HashMap;

use async_graphql::parser::types::{ExecutableDocument, Selection, SelectionSet};
use async_graphql::{Name, Request, ServerError};

use super::MAX_COMPLEXITY;
use super::answer::{self, invalid};

/// The longest document, in bytes. Large values belong into variables.
const MAX_BYTES: usize = 128 * 1024;
/// The deepest nesting of braces, brackets and parentheses.
const MAX_NESTING: usize = 64;
/// The most fragments of a document.
const MAX_FRAGMENTS: usize = 100;
/// The deepest nesting of selections, those of fragments where they are spread included.
const MAX_DEPTH: usize = 32;

/// Refuses what would take too long to look at.
pub(super) fn check(request: &mut Request) -> Result<(), ServerError> {
    if request.query.len() > MAX_BYTES {
        let message = format!("a document has at most {MAX_BYTES} bytes; put large values into variables");
        return Err(invalid("query", message));
    }
    if nesting(request.query.as_bytes()) > MAX_NESTING {
        return Err(invalid("query", format!("a document nests at most {MAX_NESTING} deep; flatten it")));
    }
    let document = request.parsed_query().map_err(answer::in_our_words)?;
    if document.fragments.len() > MAX_FRAGMENTS {
        return Err(invalid("query", format!("a document has at most {MAX_FRAGMENTS} fragments; use fewer")));
    }
    let mut fragments = Fragments { document, sizes: HashMap::new() };
    for (_, operation) in document.operations.iter() {
        let size = fragments.selections(&operation.node.selection_set.node, 0)?;
        if size.fields > MAX_COMPLEXITY {
            return Err(too_large());
        }
    }
    // The library follows those that no operation uses, too.
    for name in document.fragments.keys() {
        fragments.fragment(name, 0)?;
    }
    Ok(())
}

/// How deep brackets of any kind nest, as the lexer sees them (GraphQL, October 2021, §2.1).
fn nesting(text: &[u8]) -> usize {
    let (mut depth, mut deepest, mut at) = (0_usize, 0, 0);
    while let Some(&byte) = text.get(at) {
        match byte {
            b'{' | b'[' | b'(' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' | b')' => depth = depth.saturating_sub(1),
            b'#' => at += text[at..].iter().take_while(|byte| !matches!(byte, b'\n' | b'\r')).count(),
            b'"' => at += string(&text[at..]) - 1,
            _ => {}
        }
        at += 1;
    }
    deepest
}

/// The length of the string that a text begins with, quotes included; all of it when it does not end.
fn string(text: &[u8]) -> usize {
    let block = text.starts_with(b"\"\"\"");
    let mut at = if block { 3 } else { 1 };
    while at < text.len() {
        let rest = &text[at..];
        if block {
            if rest.starts_with(b"\\\"\"\"") {
                at += 4;
                continue;
            }
            if rest.starts_with(b"\"\"\"") {
                return at + 3;
            }
        } else {
            match rest[0] {
                b'\\' => {
                    at += 2;
                    continue;
                }
                // A line's end ends a faulty string, too: nothing can hide behind it.
                b'"' | b'\n' | b'\r' => return at + 1,
                _ => {}
            }
        }
        at += 1;
    }
    text.len()
}

/// What a selection set amounts to with its fragments in place.
#[derive(Clone, Copy, Default)]
struct Size {
    fields: usize,
    depth: usize,
}

struct Fragments<'a> {
    document: &'a ExecutableDocument,
    /// None while a fragment is being looked at.
    sizes: HashMap<&'a Name, Option<Size>>,
}

impl<'a> Fragments<'a> {
    fn selections(&mut self, set: &'a SelectionSet, above: usize) -> Result<Size, ServerError> {
        if above > MAX_DEPTH {
            return Err(too_deep());
        }
        let mut total = Size::default();
        for selection in &set.items {
            let (own, inner) = match &selection.node {
                Selection::Field(field) => (1, self.selections(&field.node.selection_set.node, above + 1)?),
                Selection::InlineFragment(inline) => {
                    (1, self.selections(&inline.node.selection_set.node, above + 1)?)
                }
                Selection::FragmentSpread(spread) => {
                    (1, self.fragment(&spread.node.fragment_name.node, above + 1)?)
                }
            };
            total.fields = total.fields.saturating_add(own).saturating_add(inner.fields);
            total.depth = total.depth.max(inner.depth + 1);
        }
        if above + total.depth > MAX_DEPTH {
            return Err(too_deep());
        }
        Ok(total)
    }

    /// A fragment is looked at once, however often it is spread.
    fn fragment(&mut self, name: &'a Name, above: usize) -> Result<Size, ServerError> {
        match self.sizes.get(name) {
            Some(Some(size)) => return Ok(*size),
            Some(None) => return Err(invalid("query", format!("the fragment {name} spreads itself"))),
            None => {}
        }
        // An unknown fragment is the library's to refuse.
        let Some(fragment) = self.document.fragments.get(name) else { return Ok(Size::default()) };
        self.sizes.insert(name, None);
        let size = self.selections(&fragment.node.selection_set.node, above)?;
        self.sizes.insert(name, Some(size));
        Ok(size)
    }
}

fn too_large() -> ServerError {
    let message = format!("the document selects more than {MAX_COMPLEXITY} fields; ask for less at once");
    invalid("query", message)
}

fn too_deep() -> ServerError {
    invalid("query", format!("selections nest at most {MAX_DEPTH} deep; ask for less at once"))
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    fn checked(query: impl Into<String>) -> Result<(), String> {
        check(&mut Request::new(query)).map_err(|error| error.message)
    }

    #[test]
    fn brackets_count_where_the_language_has_them() {
        for (text, deepest) in [
            ("{ a { b(c: [1]) } }", 4),
            (r#"{ a(b: "{{{[[[") }"#, 2),
            (r#"{ a(b: "\"{{{") }"#, 2),
            ("{ a # {{{\n { b } }", 2),
            ("{ a(b: \"\"\"{{ \\\"\"\" {{\"\"\") { c } }", 2),
            ("\"unfinished {{\n{{{", 3),
            ("}}}{", 1),
            ("\"", 0),
            ("\"\"\"", 0),
            ("\"\\", 0),
        ] {
            assert_eq!(nesting(text.as_bytes()), deepest, "{text}");
        }
    }

    #[test]
    fn fragments_count_wherever_they_are_spread() {
        let bomb = |levels: usize| {
            let mut text = "{ ...F0 }".to_owned();
            for level in 0..levels {
                write!(text, " fragment F{level} on Query {{ ...F{0} ...F{0} }}", level + 1).unwrap();
            }
            text + &format!(" fragment F{levels} on Query {{ viewer {{ keyId }} }}")
        };
        assert_eq!(checked(bomb(8)), Ok(()));
        assert!(checked(bomb(25)).unwrap_err().contains("fields"));
        assert!(checked(bomb(40)).unwrap_err().contains("deep"));
    }

    #[test]
    fn fragments_that_spread_themselves_are_refused() {
        for text in [
            "{ ...A } fragment A on Query { ...A }",
            "{ ...A } fragment A on Query { ...B } fragment B on Query { viewer { keyId } ...A }",
        ] {
            assert!(checked(text).unwrap_err().contains("spreads itself"), "{text}");
        }
    }

    #[test]
    fn a_shared_fragment_may_be_shallow_in_one_place_and_too_deep_in_another() {
        let deep = "a { ".repeat(29) + "...F" + &" }".repeat(29);
        let text = format!("{{ ...F {deep} }} fragment F on Query {{ a {{ a {{ a {{ a }} }} }} }}");
        assert!(checked(text).unwrap_err().contains("deep"));
    }

    #[test]
    fn depth_and_length_of_the_text_are_bounded() {
        assert!(checked(format!("{{ key(id: {}1{}) {{ id }} }}", "[".repeat(63), "]".repeat(63))).is_err());
        assert!(checked("[".repeat(100_000)).unwrap_err().contains("nests"));
        assert!(checked(" ".repeat(MAX_BYTES + 1)).unwrap_err().contains("bytes"));
    }
}
