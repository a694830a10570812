//! `keyledger audit verify --data-dir`: the log on this machine's disk, read in place.

use std::fs;
use std::path::Path;
use std::sync::mpsc::sync_channel;
use std::thread;

use keyledger_schema::event::{Event, HeadsCommitted};
use keyledger_schema::{Envelope, LogId, Stream};

use crate::audit::checkpoint::Checkpoint;
use crate::audit::log::{Followed, Leaves, compare};
use crate::audit::note::{MAX_NOTE_BYTES, Note};
use crate::audit::verdict::{Check, Fault, Report};
use crate::cli::audit_verify::{Given, tell};
use crate::cli::{Exit, Failure, Output, progress};
use crate::config::{CommonFlags, Config};
use crate::edge::Stopwatch;
use crate::secret::MasterKey;
use crate::store::sqlite::{LogSnapshot, OpenError};
use crate::vault;

/// The file with the last signed checkpoint.
const CHECKPOINT: &str = "checkpoint";
/// Bytes of events that are handed from one thread to the other at once.
const BATCH: usize = 512 * 1024;
/// So many of these wait at most.
const WAITING: usize = 4;

pub(super) fn failed(error: &OpenError) -> Failure {
    Failure::new(Exit::Failed, "INPUT", error.to_string())
}

/// Refuses what was read while a server began to write.
pub(super) fn still(log: &LogSnapshot) -> Result<(), Failure> {
    if log.is_unchanged() {
        return Ok(());
    }
    let message =
        "a server was started on the data directory while it was read; repeat this, the server may run";
    Err(Failure::new(Exit::Failed, "INPUT", message))
}

/// The last signed checkpoint of a data directory; none where nothing was signed yet.
pub(super) fn last_checkpoint(directory: &Path) -> Result<Option<Vec<u8>>, Failure> {
    let path = directory.join(CHECKPOINT);
    match fs::metadata(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Ok(about) if about.len() > MAX_NOTE_BYTES as u64 => {}
        _ => {
            if let Ok(bytes) = fs::read(&path) {
                return Ok(Some(bytes));
            }
        }
    }
    Err(Failure::new(Exit::Failed, "INPUT", format!("{} cannot be read", path.display())))
}

/// The last commitment to the ends of streams among the first entries of the log.
pub(super) fn last_commitment(log: &LogSnapshot, before: u64) -> Result<Option<HeadsCommitted>, Failure> {
    let stream = Stream::Log(LogId::from_uuid(log.log_id())).to_string();
    let bytes = log.last_of(&stream, "log.heads_committed", before).map_err(|error| failed(&error))?;
    // What cannot be read is found when all events are.
    let event = bytes.and_then(|bytes| Envelope::open(&bytes).ok()).map(|envelope| envelope.event);
    Ok(event.and_then(|event| match event {
        Event::HeadsCommitted(data) => Some(data),
        _ => None,
    }))
}

/// Events on their way from one thread to the other.
#[derive(Default)]
struct Batch {
    first: u64,
    bytes: Vec<u8>,
    /// Stream, revision, and where the bytes end.
    events: Vec<(Box<str>, u64, usize)>,
}

impl Batch {
    fn follow(&self, followed: &mut Followed) -> Result<(), Fault> {
        let mut start = 0;
        for ((stream, revision, end), index) in self.events.iter().zip(self.first..) {
            followed.follow(index, (stream, *revision), &self.bytes[start..*end])?;
            start = *end;
        }
        Ok(())
    }
}

/// Checks the log of a data directory and tells what it proves.
pub fn verify(directory: &Path, given: &Given, out: &mut Output<'_>) -> Result<(), Failure> {
    let shown = directory.display().to_string();
    // Before the log is looked at: it then has all that was signed for.
    let signed = last_checkpoint(directory)?;
    let log = LogSnapshot::open(directory).map_err(|error| failed(&error))?;
    let bar = progress::items(log.size(), "events", out.is_json());
    let watch = Stopwatch::start();
    let mut report = Report::default();
    let mut bytes = 0;
    let checked = check(&log, signed.as_deref(), given, &mut report, &mut |index, read| {
        bytes = read;
        bar.set_position(index);
    });
    // What a writer made of it meanwhile is no damage.
    let checked = checked.or_else(|failure| still(&log).and(Err(failure)))?;
    bar.finish_and_clear();
    still(&log)?;
    if let Err(fault) = checked {
        report.faults.push(fault);
    }
    vault(directory, &mut report);
    tell(&shown, bytes, watch.elapsed(), &report, out)
}

/// What became of the data keys beside the log. They are no part of what is signed.
fn vault(directory: &Path, report: &mut Report) {
    let lost = |what: String| {
        Fault::new(
            Check::Vault,
            format!(
                "{what}. Nothing is wrong with the log: what they seal reads as [unreadable]. Restore vault.db from its backup"
            ),
        )
    };
    let condition = match vault::examine(directory, master_key(directory).as_ref()) {
        Ok(Some(condition)) => condition,
        Ok(None) => {
            report.leaves_open("That personal data can be read: there is no vault in the data directory.");
            return;
        }
        Err(error) => return report.faults.push(lost(format!("the data keys cannot be read: {error}"))),
    };
    if !condition.is_whole() {
        let whose = condition.subjects.join(", ");
        let file =
            condition.file.map_or_else(String::new, |said| format!("; SQLite says of the file: {said}"));
        let what = format!("{} of the data keys in the vault are lost: {whose}{file}", condition.lost);
        return report.faults.push(lost(what));
    }
    let what =
        format!("data keys in the vault are whole; those of {} subjects were erased", condition.erased);
    report.proves(Check::Vault, condition.whole, what);
    if !condition.opened {
        report.leaves_open(
            "That the data keys in the vault can be used: the master key is not at hand, so they were not opened.",
        );
    }
}

/// The master key of a data directory, if it is where `serve` would look for it.
fn master_key(directory: &Path) -> Option<MasterKey> {
    let flags = CommonFlags { data_dir: Some(directory.display().to_string()), ..CommonFlags::default() };
    Config::for_directory(&flags, std::env::vars_os()).ok()?.master_key.read().ok()?
}

/// The inner result is what does not hold.
fn check(
    log: &LogSnapshot,
    signed: Option<&[u8]>,
    given: &Given,
    report: &mut Report,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Result<(), Fault>, Failure> {
    let checkpoint = match signed.map(read) {
        None => None,
        Some(Ok(signed)) => Some(signed),
        Some(Err(fault)) => return Ok(Err(fault)),
    };
    let since = given.since.as_ref().map(|since| since.checkpoint().size);
    let wanted =
        checkpoint.as_ref().map(|(_, checkpoint)| checkpoint.size).into_iter().chain(since).collect();
    let mut leaves = Leaves::new(wanted);
    let mut followed = Followed::new(last_commitment(log, log.size())?);
    let read = read_all(log, &mut leaves, &mut followed, progress)?;
    Ok(read.and_then(|()| conclude(checkpoint.as_ref(), given, &leaves, &mut followed, report)))
}

pub(super) fn read(signed: &[u8]) -> Result<(Note, Checkpoint), Fault> {
    let wrong = |what: String| Fault::new(Check::Signature, format!("the checkpoint: {what}"));
    let note = Note::parse(signed).map_err(|error| wrong(error.to_string()))?;
    let checkpoint = Checkpoint::parse(note.text()).map_err(|error| wrong(error.to_string()))?;
    Ok((note, checkpoint))
}

/// One thread reads and hashes for the tree, the other follows the streams. The inner result is what does not hold.
fn read_all(
    log: &LogSnapshot,
    leaves: &mut Leaves,
    followed: &mut Followed,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Result<(), Fault>, Failure> {
    thread::scope(|scope| {
        let (send, receive) = sync_channel::<Batch>(WAITING);
        let chains = scope.spawn(move || receive.iter().try_for_each(|batch| batch.follow(followed)));
        let (mut batch, mut read) = (Batch::default(), 0_u64);
        let all = log.events(|event| {
            leaves.push(event.bytes);
            read += event.bytes.len() as u64;
            batch.bytes.extend_from_slice(event.bytes);
            batch.events.push((event.stream.into(), event.revision, batch.bytes.len()));
            if batch.bytes.len() < BATCH {
                return true;
            }
            progress(event.index, read);
            let next = Batch { first: event.index + 1, ..Batch::default() };
            // Nobody takes it any more once something does not hold.
            send.send(std::mem::replace(&mut batch, next)).is_ok()
        });
        let _ = send.send(batch);
        drop(send);
        progress(log.size(), read);
        let holds = chains.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        match all {
            Ok(()) => Ok(holds),
            // That is what is looked for, and no failure of looking.
            Err(OpenError::Damaged { what, .. }) => Ok(holds.and(Err(Fault::new(Check::Chain, what)))),
            Err(error) => Err(failed(&error)),
        }
    })
}

fn conclude(
    checkpoint: Option<&(Note, Checkpoint)>,
    given: &Given,
    leaves: &Leaves,
    followed: &mut Followed,
    report: &mut Report,
) -> Result<(), Fault> {
    let keys = if given.keys.is_empty() {
        report.warnings.push(
            "No verifier key was given, so those in the log itself were used. That shows that the log fits together, \
             and NOT that it is the one that others were shown: give the key that they have with --key."
                .to_owned(),
        );
        followed.keys_in_use(leaves.size())
    } else {
        given.keys.clone()
    };
    if let Some((note, checkpoint)) = checkpoint {
        let signers = note.verify(&keys);
        let signers =
            signers.map_err(|error| Fault::new(Check::Signature, format!("the checkpoint: {error}")))?;
        let names: Vec<String> = signers.iter().map(ToString::to_string).collect();
        let what = format!("signatures of the checkpoint, by {}", names.join(" and "));
        report.proves(Check::Signature, names.len() as u64, what);
        compare(checkpoint, leaves, report)?;
        followed.signed_in_use(note, checkpoint)?;
    } else if given.keys.is_empty() {
        report.leaves_open(
            "That the entries are what was signed for: there is no signed checkpoint in the data directory.",
        );
    } else {
        // Whoever gives a key wants to know that something is signed with it.
        let what = "a verifier key was given, and there is no signed checkpoint in the data directory: put the file \
                    `checkpoint` back from its backup, or give an earlier checkpoint with --since and no key";
        return Err(Fault::new(Check::Signature, what.to_owned()));
    }
    if let Some(other) = given.keys.iter().find(|key| !followed.keys().contains(key)) {
        let what = format!("the log never introduced the key that was given: {other}");
        return Err(Fault::new(Check::LogKeys, what));
    }
    if let Some(since) = &given.since {
        let size = since.checkpoint().size;
        let root = leaves.root(size).ok_or_else(|| {
            let what = format!("the log has {} entries, and the earlier checkpoint {size}", leaves.size());
            Fault::new(Check::Consistency, what)
        })?;
        let known: Vec<_> = followed.keys().into_iter().chain(given.keys.iter().cloned()).collect();
        since.agrees(&known, root)?;
        let what = "entries that were there at the earlier checkpoint, and are as they were";
        report.proves(Check::Consistency, size, what);
    }
    followed.finish(report)?;
    report.leaves_open(
        "That everybody was shown this log: compare its checkpoint with one that somebody else has.",
    );
    report.leaves_open(
        "That what was recorded is true: that clocks were right, and that whoever held a secret was who it was given \
         to.",
    );
    Ok(())
}
