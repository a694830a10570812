//! A bundle: an archive with which somebody who has neither a server nor a network checks what the log says of a key,
//! of a workspace, of an organization, or all of it.
//!
//! | File | What it holds |
//! |---|---|
//! | `README.txt` | how to check it |
//! | `bundle.json` | what it is a bundle of: [`Description`] |
//! | `checkpoint` | size and root of the tree, signed (C2SP tlog-checkpoint) |
//! | `previous-checkpoint` | an earlier one that the tree goes on from, if one was given |
//! | `keys/<generation>` | each verifier key of the log (C2SP signed-note) |
//! | `data-keys/<n>.jsonl` | what personal data in the entries behind it is sealed with, if it may be read |
//! | `tile/0/<N>`, then `entries/<N>` | hashes of 256 entries, then those in scope: [`scoped_entries`] |
//! | `tile/entries/<N>` | all of them instead, in a bundle of the whole log (C2SP tlog-tiles) |
//! | `views/trail-<n>.csv` | the entries before it, for people |
//! | `tile/<L>/<N>` | hashes that lead from there to the root |
//! | `views/keys-<n>.jsonl` | each key as its events made it |
//! | `heads/<n>.jsonl` | proofs of where each stream ended: [`heads`](super::heads) |
//! | `MANIFEST` | SHA-256 of each file before it, as `sha256sum -c` reads it |
//! | `MANIFEST.note` | the hash of the manifest, signed (C2SP signed-note) |
//!
//! They stand in this order, so that both making and checking a bundle read and write once from front to back.
//! [`Maker`] writes it, [`manifest`] checks the archive and its signatures, [`Examiner`] what is in it.
//!
//! Architecture invariant: as all of `audit`, nothing in here knows a file, a clock or a server. Making and checking
//! share what an entry looks like in the trail and a key in its view, and nothing else: a bundle is checked from its
//! bytes alone.

pub mod archive;
mod description;
mod disclosure;
mod examine;
mod hashes;
mod make;
pub mod manifest;
mod readme;
mod view;

pub use self::description::{Description, FORMAT, Scope};
pub use self::examine::{Examiner, scoped_entries};
pub use self::hashes::needed;
pub use self::make::{Entry, Maker, MakerError};

use std::io::{self, Read};

use self::archive::Stopped;
use self::manifest::Trust;
use super::earlier::Earlier;
use super::note::VerifierKey;
use super::verdict::Report;

/// Checks a bundle, which is read twice at the same time: once for the archive and its signatures, once for what is
/// in it. `progress` is told how many bytes of the second one were read. Fails only where the bundle cannot be read.
pub fn verify<R: Read + Send>(
    archive: R,
    contents: R,
    trusted: &[VerifierKey],
    since: Option<&Earlier>,
    progress: &mut dyn FnMut(u64),
) -> io::Result<Report> {
    let (whole, inside) = std::thread::scope(|scope| {
        let whole = scope.spawn(move || manifest::check(archive, Trust(trusted), &mut |_| {}));
        let inside = match Examiner::new(since, trusted) {
            Ok(examiner) => examiner.examine(contents, progress),
            Err(fault) => Err(fault.into()),
        };
        (whole.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), inside)
    });
    let mut report = Report::default();
    for part in [whole, inside] {
        match part {
            Ok(part) => report.merge(part),
            Err(Stopped::Fault(fault)) => report.merge(Report { faults: vec![fault], ..Report::default() }),
            Err(Stopped::Io(error)) => return Err(error),
        }
    }
    Ok(report)
}

/// The largest checkpoint, verifier key or description that is read.
const MAX_SMALL: u64 = 64 * 1024;

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod forgeries;
#[cfg(test)]
mod tests;
