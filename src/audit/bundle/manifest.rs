//! The manifest and its signature: the archive is whole, and it is the log's.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Read;

use sha2::{Digest, Sha256};

use super::super::checkpoint::Checkpoint;
use super::super::note::{self, Note, VerifierKey};
use super::super::text;
use super::super::tree::Hash;
use super::super::verdict::{Check, Fault, Report};
use super::archive::{MAX_FILE, Reader, Stopped};
use super::{FORMAT, MAX_SMALL};

/// The list of files.
pub(super) const LIST: &str = "MANIFEST";
/// Its signature.
pub(super) const NOTE: &str = "MANIFEST.note";
/// Bytes that are read at once.
const PIECE: usize = 64 * 1024;
/// The most verifier keys in a bundle.
pub(super) const MAX_KEYS: usize = 1_000;

/// Appends the line of a file, as `sha256sum -c` reads it.
pub(super) fn line(list: &mut String, hash: &Hash, name: &str) {
    for byte in hash {
        // Writing to a string cannot fail.
        let _ = write!(list, "{byte:02x}");
    }
    list.push_str("  ");
    list.push_str(name);
    list.push('\n');
}

/// What is signed: the format, the log, how many files there are, and the hash of their list.
pub(super) fn text(origin: &str, files: u64, list: &Hash) -> String {
    format!("{FORMAT}\n{origin}\n{files}\n{}\n", text::base64(list))
}

/// What is signed with, as somebody who checks knows it.
#[derive(Clone, Copy, Debug)]
pub struct Trust<'a>(pub &'a [VerifierKey]);

/// What was kept of an archive.
#[derive(Default)]
struct Found {
    list: String,
    files: u64,
    bytes: u64,
    checkpoint: Vec<u8>,
    keys: BTreeMap<u32, Vec<u8>>,
    manifest: Option<Vec<u8>>,
    note: Option<Vec<u8>>,
}

/// Checks that an archive has one spelling, that the manifest names all its files, and that manifest and checkpoint
/// are signed with one of the keys that are trusted; without any, with one in the archive. `progress` is told how many
/// bytes were read.
pub fn check<R: Read>(input: R, trust: Trust<'_>, progress: &mut dyn FnMut(u64)) -> Result<Report, Stopped> {
    let mut report = Report::default();
    let checked = read(input, progress).and_then(|found| {
        report.proves(Check::Archive, found.files + 2, "files in an archive with one spelling");
        compare(&found, &mut report)?;
        signatures(&found, trust, &mut report)?;
        Ok(())
    });
    match checked {
        Ok(()) => Ok(report),
        Err(Stopped::Fault(fault)) => {
            report.faults.push(fault);
            Ok(report)
        }
        Err(stopped) => Err(stopped),
    }
}

fn unordered(name: &str) -> Stopped {
    Fault::new(Check::Archive, format!("{name} does not belong where it stands")).into()
}

fn read<R: Read>(input: R, progress: &mut dyn FnMut(u64)) -> Result<Found, Stopped> {
    let mut reader = Reader::new(input);
    let mut found = Found::default();
    let mut piece = vec![0; PIECE];
    while let Some((name, size)) = reader.next_file()? {
        if found.note.is_some() || (found.manifest.is_some() && name != NOTE) {
            return Err(unordered(&name));
        }
        let mut kept = Vec::new();
        match name.as_str() {
            LIST => {
                // It is as long as the list of what was read, or wrong.
                reader.contents(found.list.len() as u64, &mut kept).map_err(|_| other_manifest())?;
                found.manifest = Some(kept);
                continue;
            }
            NOTE => {
                reader.contents(MAX_SMALL, &mut kept)?;
                found.note = Some(kept);
                continue;
            }
            _ => {}
        }
        let key = name.strip_prefix("keys/").and_then(|generation| generation.parse().ok());
        if name == "checkpoint" || key.is_some() {
            reader.contents(MAX_SMALL, &mut kept)?;
            line(&mut found.list, &Sha256::digest(&kept).into(), &name);
            match key {
                Some(generation) if found.keys.len() < MAX_KEYS => {
                    found.keys.insert(generation, kept);
                }
                Some(_) => return Err(unordered(&name)),
                None => found.checkpoint = kept,
            }
        } else {
            if size > MAX_FILE {
                let what = format!("{name} has more than {MAX_FILE} bytes");
                return Err(Fault::new(Check::Archive, what).into());
            }
            let mut hasher = Sha256::new();
            loop {
                let read = reader.read(&mut piece)?;
                if read == 0 {
                    break;
                }
                hasher.update(&piece[..read]);
            }
            line(&mut found.list, &hasher.finalize().into(), &name);
        }
        found.files += 1;
        found.bytes += size;
        progress(reader.position());
    }
    progress(reader.position());
    Ok(found)
}

fn other_manifest() -> Stopped {
    Fault::new(Check::Manifest, format!("{LIST} does not name the files that are there")).into()
}

/// The manifest against what was read, and the note against the manifest.
fn compare(found: &Found, report: &mut Report) -> Result<(), Fault> {
    let fault = |what: String| Fault::new(Check::Manifest, what);
    let list = found.manifest.as_ref().ok_or_else(|| fault(format!("{LIST} is missing")))?;
    if list != found.list.as_bytes() {
        let wrong = list.split(|byte| *byte == b'\n').zip(found.list.lines());
        let wrong = wrong.into_iter().find(|(listed, read)| *listed != read.as_bytes());
        let name = wrong.and_then(|(_, read)| read.split_once("  ")).map_or("a file", |(_, name)| name);
        return Err(fault(format!("{LIST} has another hash or name for {name}, or names other files")));
    }
    if found.note.is_none() {
        return Err(fault(format!("{NOTE} is missing")));
    }
    report.proves(
        Check::Manifest,
        found.files,
        format!("files of {} bytes, each with its SHA-256", found.bytes),
    );
    Ok(())
}

/// The verifier key in a file.
pub(super) fn key(contents: &[u8]) -> Option<VerifierKey> {
    std::str::from_utf8(contents).ok()?.strip_suffix('\n')?.parse().ok()
}

fn signatures(found: &Found, trust: Trust<'_>, report: &mut Report) -> Result<(), Fault> {
    let fault = |what: String| Fault::new(Check::Signature, what);
    let own: Option<Vec<VerifierKey>> = found.keys.values().map(|contents| key(contents)).collect();
    let own = own.ok_or_else(|| Fault::new(Check::LogKeys, "a file under keys/ is no verifier key"))?;
    let trusted = if trust.0.is_empty() {
        report.warnings.push(
            "No verifier key was given, so the one inside the bundle was used. That shows that the bundle fits \
             together, and NOT whose it is: anybody can make one with a key of their own. Ask for the log's verifier \
             key by another way, and give it with --key."
                .to_owned(),
        );
        &own[..]
    } else {
        trust.0
    };
    let failed = |of: &str, error: &note::Error| match error {
        note::Error::Unsigned if !trust.0.is_empty() => {
            let retired = trust.0.iter().any(|key| own.contains(key));
            fault(if retired {
                format!(
                    "{of} is not signed with a key that was given with --key: the bundle names that key, but not as \
                     one that still signed. It was retired before; give the one in use, see keyledger audit log-keys"
                )
            } else {
                format!(
                    "{of} is not signed with a key that was given with --key, and the bundle does not know that key: \
                     it is another log's"
                )
            })
        }
        error => fault(format!("{of}: {error}")),
    };
    let note = Note::parse(&found.checkpoint).map_err(|error| fault(format!("checkpoint: {error}")))?;
    let signers = note.verify(trusted).map_err(|error| failed("the checkpoint", &error))?;
    let names: Vec<String> = signers.iter().map(ToString::to_string).collect();
    let checkpoint = Checkpoint::parse(note.text()).map_err(|error| fault(format!("checkpoint: {error}")))?;
    if signers.iter().any(|signer| signer.name() != &*checkpoint.origin) {
        return Err(fault("the checkpoint is of another log than the key that signed it".into()));
    }
    let bytes = found.note.as_deref().unwrap_or_default();
    let note = Note::parse(bytes).map_err(|error| fault(format!("{NOTE}: {error}")))?;
    let hash = Sha256::digest(found.manifest.as_deref().unwrap_or_default());
    let expected = self::text(&checkpoint.origin, found.files, &hash.into());
    // The signature first: of a false note it does not matter what it says.
    note.verify(trusted).map_err(|error| failed(NOTE, &error))?;
    // A signature that nobody knows could be anything. Every other change is found, so this one shall be, too.
    let known = note.verify(&own).map_err(|error| fault(format!("{NOTE}: {error}")))?;
    let signatures = note.signers().count();
    if known.len() != signatures {
        return Err(fault(format!("{NOTE} has a signature of a key that is not in the bundle")));
    }
    if note.text() != expected {
        return Err(Fault::new(Check::Manifest, format!("{NOTE} is about another manifest")));
    }
    report.proves(
        Check::Signature,
        names.len() as u64 + signatures as u64,
        format!("signatures of checkpoint and manifest, by {}", names.join(" and ")),
    );
    Ok(())
}
