//! The data keys with which personal data in a bundle can be read. They stand before the first entries that need
//! them. Of whatever is erased, lost or withheld there is none, and which of these it is nobody can tell who has the
//! bundle only: all of it reads as unreadable.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;

use keyledger_schema::sealing::{Held, Unreadable, subjects};
use keyledger_schema::{DataKey, DataKeys, Hex32, Subject};
use serde::{Deserialize, Serialize};

/// What is disclosed, and to whom a disclosure was considered.
#[derive(Default)]
pub(super) struct Disclosed {
    keys: HashMap<Subject, DataKey>,
    considered: HashSet<Subject>,
    parts: u32,
}

impl DataKeys for Disclosed {
    fn data_key(&self, subject: Subject) -> Result<Held, Unreadable> {
        Ok(self.keys.get(&subject).cloned().map_or(Held::Absent, Held::Key))
    }
}

/// A line of the file.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Line {
    /// The id of whose data it is.
    id: String,
    /// One byte for the kind, then the id's 16 bytes, as it stands in sealed values.
    subject: String,
    data_key: Hex32,
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u32>> = text.chars().map(|digit| digit.to_digit(16)).collect();
    let digits = digits.filter(|digits| digits.len().is_multiple_of(2))?;
    digits.chunks(2).map(|pair| u8::try_from(pair[0] << 4 | pair[1]).ok()).collect()
}

impl Disclosed {
    /// The number of the next part.
    pub(super) const fn next_part(&self) -> u32 {
        self.parts + 1
    }

    /// Takes from whoever has them the keys for what is sealed in some entries, and gives those that are new as lines.
    pub(super) fn add<'a>(
        &mut self,
        entries: impl Iterator<Item = &'a [u8]>,
        from: &dyn DataKeys,
    ) -> Result<Vec<u8>, Unreadable> {
        let mut lines = Vec::new();
        for text in entries.filter_map(|entry| std::str::from_utf8(entry).ok()) {
            for subject in subjects(text) {
                if !self.considered.insert(subject) {
                    continue;
                }
                let Held::Key(key) = from.data_key(subject)? else { continue };
                let line = Line {
                    id: subject.to_string(),
                    subject: hex(&subject.to_bytes()),
                    data_key: Hex32(*key.expose()),
                };
                // A struct of texts has a JSON form.
                lines.extend(serde_json::to_vec(&line).unwrap_or_default());
                lines.push(b'\n');
                self.keys.insert(subject, key);
            }
        }
        if !lines.is_empty() {
            self.parts += 1;
        }
        Ok(lines)
    }

    /// Reads such lines; none if that is not what they are.
    pub(super) fn read(&mut self, lines: &[u8]) -> Option<()> {
        self.parts += 1;
        for line in std::str::from_utf8(lines).ok()?.strip_suffix('\n')?.split('\n') {
            let line: Line = serde_json::from_str(line).ok()?;
            let subject = Subject::from_bytes(&unhex(&line.subject)?)?;
            let fits = subject.to_string() == line.id && hex(&subject.to_bytes()) == line.subject;
            let twice = self.keys.insert(subject, DataKey::new(line.data_key.0)).is_some();
            if !fits || twice {
                return None;
            }
        }
        Some(())
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }
}
