//! What a part of a file was begun with, kept beside it as `FILE.part.asked` until it is whole: going on with other
//! conditions would make one file of two exports.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use keyledger_schema::Timestamp;
use serde::{Deserialize, Serialize};

use super::Failure;
use super::output::clean;

/// The parameters of a request.
pub type Pairs = Vec<(String, String)>;

/// What is asked for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Asked {
    /// As the command says it: lengths of time are lengths here.
    pub said: Pairs,
    /// As the server is asked: they are moments, which stay what they were when the export is gone on with.
    pub sent: Pairs,
}

impl Asked {
    /// A moment that lengths of time count from where only the lengths matter.
    pub const ANY_TIME: Timestamp = Timestamp::from_micros(200_000_000_000_000_000);

    /// Parameters that were made with [`Self::ANY_TIME`], and those that are sent.
    pub fn new(said: Vec<(&str, String)>, sent: &[(&str, String)]) -> Self {
        let said = said.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Self { said, sent: sent.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect() }
    }
}

/// Where it is kept.
pub fn beside(part: &Path) -> PathBuf {
    let mut name = part.as_os_str().to_owned();
    name.push(".asked");
    name.into()
}

/// Keeps it. Addresses can stand in it, so it is for its owner only.
pub fn keep(part: &Path, asked: &Asked) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(beside(part))?;
    file.write_all(&serde_json::to_vec(asked)?)?;
    file.sync_all()
}

/// What a part was begun with, if it is what is asked for now.
pub fn recall(part: &Path, asked: &Asked) -> Result<Asked, Failure> {
    let shown = clean(&part.display().to_string()).into_owned();
    let kept = fs::read(beside(part)).ok().and_then(|bytes| serde_json::from_slice::<Asked>(&bytes).ok());
    let Some(kept) = kept else {
        let message = format!(
            "nothing tells what {shown} was begun with, since {shown}.asked is missing or damaged; delete both and \
             export anew"
        );
        return Err(Failure::usage(message));
    };
    let Some(name) = difference(&kept.said, &asked.said) else { return Ok(kept) };
    let said = |pairs: &Pairs| {
        let found =
            pairs.iter().find(|(other, _)| *other == name).map(|(_, value)| clean(value).into_owned());
        found.map_or_else(|| format!("without {name}"), |value| format!("with {name} {value}"))
    };
    Err(Failure::usage(format!(
        "{shown} was begun {}, and this would go on {}; repeat the options it was begun with, or delete it and export anew",
        said(&kept.said),
        said(&asked.said)
    )))
}

/// The first name that does not mean the same in both.
fn difference(one: &Pairs, other: &Pairs) -> Option<String> {
    let only = |of: &Pairs, other: &Pairs| {
        of.iter().find(|pair| !other.contains(pair)).map(|(name, _)| name.clone())
    };
    only(one, other).or_else(|| only(other, one))
}
