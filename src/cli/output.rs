//! What is printed, made safe for terminals.
//!
//! A name, a user agent or a comment was chosen by somebody else. Printed as it is, it could move the
//! cursor, retitle the window, or reorder what stands beside it, and so forge a trail. [`clean`] is for
//! people's text and shows a mark in place of such a character; [`escape_json`] loses nothing.

use std::borrow::Cow;
use std::fmt::{Display, Write as _};
use std::io::{self, Write};

use serde_json::Value;

use super::Failure;

/// Whether a character can change what a terminal shows besides itself: control characters (C0, DEL,
/// C1), line and paragraph separators, and what is invisible or changes direction (Unicode TR 36 §2.5,
/// TR 9 §2).
fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Text on one line that does to a terminal what it says and nothing else.
pub fn clean(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let replaced = text.chars().map(|character| match character {
        '\n' | '\t' => ' ',
        unsafe_one if is_unsafe(unsafe_one) => char::REPLACEMENT_CHARACTER,
        other => other,
    });
    Cow::Owned(replaced.collect())
}

/// The same JSON with every unsafe character written as `\uXXXX`. Line feeds between tokens stay.
pub fn escape_json(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for character in json.chars() {
        if character != '\n' && is_unsafe(character) {
            for unit in character.encode_utf16(&mut [0; 2]) {
                // Writing to a string cannot fail.
                let _ = write!(escaped, "\\u{unit:04x}");
            }
        } else {
            escaped.push(character);
        }
    }
    escaped
}

/// Where results go: standard output, or a test's buffer.
pub struct Output<'a> {
    out: &'a mut dyn Write,
    json: bool,
}

impl<'a> Output<'a> {
    /// For people, or as JSON.
    pub fn new(out: &'a mut dyn Write, json: bool) -> Self {
        Self { out, json }
    }

    /// Whether JSON was asked for.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Prints a value as indented JSON.
    pub fn json(&mut self, value: &Value) -> Result<(), Failure> {
        self.line(escape_json(&format!("{value:#}")))
    }

    /// Prints a line. What it shows of a server's text has been cleaned before.
    pub fn line(&mut self, line: impl Display) -> Result<(), Failure> {
        Ok(writeln!(self.out, "{line}")?)
    }

    /// For what is neither text for people nor JSON.
    pub fn raw(&mut self) -> &mut dyn Write {
        self.out
    }

    /// Tells something beside the result, on standard error; nothing when JSON was asked for, which
    /// holds it already.
    pub fn note(&self, note: impl Display) {
        if !self.json {
            // Nothing is left to do when standard error is closed.
            let _ = writeln!(io::stderr(), "{note}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nothing_that_moves_a_cursor_or_turns_text_around_is_printed() {
        assert_eq!(clean("Billing, Zürich 請求 🔑"), "Billing, Zürich 請求 🔑");
        assert_eq!(clean("\u{1b}]0;owned\u{7}"), "\u{fffd}]0;owned\u{fffd}");
        assert_eq!(clean("\u{9b}2J"), "\u{fffd}2J");
        assert_eq!(clean("a\rb\nc\td"), "a\u{fffd}b c d");
        assert_eq!(clean("user\u{202e}gpj.exe"), "user\u{fffd}gpj.exe");
        assert_eq!(clean("pay\u{200b}pal\u{feff}"), "pay\u{fffd}pal\u{fffd}");
    }

    #[test]
    fn json_is_escaped_without_loss() {
        let value = serde_json::json!({ "name": "\u{9b}2J\u{202e}\u{7f}\u{1b}\u{e0041}é\n" });
        let text = escape_json(&format!("{value:#}"));
        assert!(text.contains("\\u009b2J\\u202e\\u007f\\u001b\\udb40\\udc41é\\n"), "{text}");
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
    }

    proptest! {
        #[test]
        fn clean_text_stays_clean_and_as_long(text in ".*") {
            let cleaned = clean(&text);
            prop_assert!(!cleaned.chars().any(is_unsafe));
            prop_assert_eq!(cleaned.chars().count(), text.chars().count());
            prop_assert_eq!(clean(&cleaned).into_owned(), cleaned.clone().into_owned());
        }

        #[test]
        fn every_text_survives_as_json(text in any::<String>()) {
            let escaped = escape_json(&Value::from(text.clone()).to_string());
            prop_assert!(!escaped.chars().any(is_unsafe));
            prop_assert_eq!(serde_json::from_str::<String>(&escaped).unwrap(), text);
        }
    }
}
