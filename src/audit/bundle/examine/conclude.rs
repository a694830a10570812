//! What follows from all files together, and what does not.

use std::time::Duration;

use keyledger_schema::{Stream, Timestamp};

use super::super::super::heads::Map;
use super::super::super::note::VerifierKey;
use super::super::super::streams::{End, Sight};
use super::super::super::verdict::{Check, Fault};
use super::super::description::{Description, Scope};
use super::super::manifest;
use super::{Examiner, LogKeys, fault, misplaced};

/// An honest server commits to the ends of streams right before it makes a bundle.
const PROMPT: Duration = Duration::from_mins(1);

impl Examiner<'_> {
    /// The stream that the bundle is about is in here. Everything else that is left out whole could be unknown.
    fn own_stream(&mut self) -> Result<(), Fault> {
        let Some(inside) = &self.inside else { return Ok(()) };
        let description = &inside.description;
        let own = match description.scope {
            Scope::Key { key_id, .. } => Stream::Key(key_id),
            Scope::Workspace { workspace_id, .. } => Stream::Workspace(workspace_id),
            Scope::Organization { organization_id } => Stream::Organization(organization_id),
            Scope::Log => return Ok(()),
        };
        if self.streams.ends().contains_key(&own) {
            return Ok(());
        }
        let (first, end) = (description.first_index, description.end_index);
        if (first, end) == (0, inside.checkpoint.size) {
            return Err(fault(
                Check::Completeness,
                format!("no event of {own} is in the bundle that is about it"),
            ));
        }
        self.report.warnings.push(format!(
            "NO EVENT OF {own} IS IN HERE. That there was none from log index {first} up to {end} is not proved."
        ));
        Ok(())
    }

    /// Streams end where they were committed to.
    fn complete(&mut self) -> Result<(), Fault> {
        self.own_stream()?;
        let Some(inside) = &self.inside else { return Ok(()) };
        let whole_log = inside.description.scope == Scope::Log;
        let last = self.last_commitment.as_ref().map(|commitment| commitment.tree_size);
        if whole_log && last != inside.description.heads_size {
            return Err(fault(
                Check::Completeness,
                "bundle.json does not name the last commitment of the log",
            ));
        }
        let Some(size) = inside.description.heads_size else {
            let why = if whole_log {
                "the log had not committed to any end yet"
            } else if inside.description.to.is_some() {
                "the bundle has no proofs of ends, since it ends at a moment that was asked for (--to)"
            } else {
                "the bundle has no proofs of ends"
            };
            let to_the_end = inside.description.end_index == inside.checkpoint.size;
            if matches!(inside.description.scope, Scope::Key { .. }) && to_the_end {
                return Err(fault(
                    Check::Completeness,
                    "the bundle of a key does not name a commitment to where its stream ends",
                ));
            }
            self.report.leaves_open(format!("That no event follows the last one of each stream: {why}."));
            self.report.warnings.push(
                "THE ENDS OF STREAMS ARE NOT PROVED: events may be missing at the end of each, such as a revocation."
                    .to_owned(),
            );
            return Ok(());
        };
        let root = self.committed_root()?;
        let to_prove = self.heads.take().unwrap_or_else(|| self.heads_to_prove());
        if whole_log {
            let mut map = Map::default();
            for (stream, head) in &to_prove {
                map.set(stream, head);
            }
            if map.root() != root {
                return Err(fault(Check::Completeness, "the streams do not end where the log committed to"));
            }
            self.proved_heads = to_prove.len() as u64;
        } else if let Some((stream, _)) = to_prove.first_key_value() {
            return Err(fault(
                Check::Completeness,
                format!("no proof under heads/ tells where {stream} ends"),
            ));
        }
        let Some((_, at)) = &self.commitment else { return Ok(()) };
        let what = format!("streams had no further event when the log had {size} entries, at {at}");
        self.report.proves(Check::Completeness, self.proved_heads, what);
        let made_at = inside.description.made_at;
        if !whole_log && *at < made_at.minus(PROMPT) {
            self.report.warnings.push(format!(
                "THE ENDS OF STREAMS ARE PROVED ONLY FOR {at}, and the bundle was made at {made_at}: later events may be \
                 missing at the end of each, such as a revocation. Ask for a new bundle."
            ));
        }
        if size < inside.checkpoint.size {
            let none = if whole_log { "" } else { ", and that the log committed to no later ends of them" };
            self.report
                .leaves_open(format!("That streams have no further event from log index {size} on{none}."));
        }
        let later = |end: &&End| end.committed.is_none_or(|committed| committed.revision < end.revision);
        let sight = |stream: &Stream| inside.description.sight(stream);
        let ends = self.streams.ends().iter().filter(|(stream, _)| sight(stream) != Sight::Some);
        let later = ends.filter(|(_, end)| later(end)).count();
        if later > 0 && !whole_log {
            self.report.leaves_open(format!(
                "Where {later} streams end that have events in here from log index {size} on."
            ));
        }
        Ok(())
    }

    pub(super) fn finish(&mut self) -> Result<(), Fault> {
        if !self.states.is_empty() {
            return Err(fault(Check::View, "a key that the entries tell of is missing under views/"));
        }
        let Some(inside) = &mut self.inside else { return Err(misplaced(manifest::LIST)) };
        let size = inside.checkpoint.size;
        inside.forest.prove(&inside.checkpoint.root)?;
        let entries = self.streams.events();
        if inside.description.scope == Scope::Log && entries != size {
            return Err(fault(Check::Tree, format!("there are {entries} entries in a log of {size}")));
        }
        self.report.proves(
            Check::Tree,
            entries,
            format!(
                "entries in the tree of {size} whose root is in the checkpoint, by {} tiles",
                inside.forest.tiles()
            ),
        );
        let keys: Vec<VerifierKey> = self.log_keys.files.values().chain(self.trusted).cloned().collect();
        for earlier in [inside.previous.as_ref(), self.since].into_iter().flatten() {
            let size = earlier.checkpoint().size;
            let root = inside.forest.root(size).ok_or_else(|| {
                let what = format!(
                    "the earlier checkpoint cannot be compared, which says nothing about the log: the bundle has not \
                     the tiles that show what the tree of {size} entries was. Ask for a bundle that is made with \
                     --since {size}"
                );
                fault(Check::Comparison, what)
            })?;
            earlier.agrees(&keys, &root)?;
            let what = "entries that were there at the earlier checkpoint, and are as they were";
            self.report.proves(Check::Consistency, size, what);
        }
        self.streams.each_id_once()?;
        let streams = self.streams.ends().len();
        let what = format!("links between events in {streams} streams; no revision missing, no id twice");
        self.report.proves(Check::Chain, self.streams.links(), what);
        self.complete()?;
        self.report.proves(Check::View, self.trail.rows(), "rows of the trail say what the entries say");
        self.report.proves(Check::View, self.shown, "keys are as their events made them");
        self.report.proves(Check::Event, entries, "entries are events that belong here");
        self.log_keys()?;
        self.limits();
        Ok(())
    }

    /// The keys in the archive are those that the log introduced, and what signed was in use.
    fn log_keys(&mut self) -> Result<(), Fault> {
        let Some(inside) = &self.inside else { return Ok(()) };
        let LogKeys { files, added, retired } = &self.log_keys;
        let wrong = |what: String| fault(Check::LogKeys, what);
        for (expected, generation) in (1..).zip(added.keys()) {
            if *generation != expected {
                return Err(wrong(format!("no event introduces the log's key of generation {expected}")));
            }
        }
        for (generation, (key, origin)) in added {
            if *origin != inside.checkpoint.origin {
                return Err(wrong(format!("key {generation} was introduced for another log")));
            }
            if files.get(generation).is_none_or(|file| file.to_string() != **key) {
                return Err(wrong(format!("keys/{generation} is not the key that the log introduced")));
            }
        }
        if let Some(unknown) = files.keys().find(|generation| !added.contains_key(generation)) {
            return Err(wrong(format!("no event introduces keys/{unknown}")));
        }
        let in_use: Vec<VerifierKey> = files
            .iter()
            .filter(|(generation, _)| !retired.contains(generation))
            .map(|(_, key)| key.clone())
            .collect();
        let signed = inside.note.verify(&in_use);
        signed
            .map_err(|_| wrong("the checkpoint is not signed with a key that the log has in use".into()))?;
        self.report.proves(
            Check::LogKeys,
            added.len() as u64,
            "keys of the log, introduced by its own events",
        );
        Ok(())
    }

    fn limits(&mut self) {
        let Some(inside) = &self.inside else { return };
        let (size, scope) = (inside.checkpoint.size, inside.description.scope);
        let disclosed = self.disclosed.len();
        let partial = (inside.description.first_index, inside.description.end_index) != (0, size);
        let report = &mut self.report;
        report.leaves_open(format!("What happened after the {size} entries of the checkpoint."));
        report.leaves_open(
            "That everybody is shown the same log: compare the checkpoint with one that somebody else has, or verify \
             again later with --since.",
        );
        report.leaves_open(
            "That what was recorded is true: that clocks were right, and that whoever held a secret was who it was \
             given to.",
        );
        report.leaves_open(format!(
            "What personal data says that cannot be read here: the bundle discloses the data keys of {disclosed} \
             subjects; others were erased or left out, and read as [unreadable]."
        ));
        if scope != Scope::Log {
            report.leaves_open("That there is no further stream: this bundle is not of the whole log.");
            report.leaves_open(
                "That all is here of streams that are shown in part: refusals, reads and exports (audit-…) where they are \
                 not of this scope alone, verifications (usage-…), and the log's own (log-…).",
            );
            report.leaves_open(
                "That no signing key of the log was retired: only the events that introduced them are needed here. Give \
                 with --key only those that are in use.",
            );
        }
        match scope {
            Scope::Key { .. } | Scope::Workspace { .. } => report.leaves_open(
                "Anything about verifications: their events (usage.recorded) are of a whole organization, and only in \
                 its bundle.",
            ),
            Scope::Log => report.leaves_open(
                "Which names, addresses and comments the entries hold: the bundle of a whole log discloses no data \
                 keys, so they read as [unreadable].",
            ),
            Scope::Organization { .. } => {}
        }
        if partial {
            let Description { first_index, end_index, from, to, .. } = &inside.description;
            let period = match (from, to) {
                (None, None) => String::new(),
                (from, to) => {
                    let moment = |at: &Option<Timestamp>| at.map_or_else(|| "…".into(), |at| at.to_string());
                    format!(", and that these are all of the period {} to {}", moment(from), moment(to))
                }
            };
            report.leaves_open(format!(
                "What happened before log index {first_index} and from {end_index} on, in the streams that are in \
                 here{period}."
            ));
        }
        if self.since.is_none() && inside.previous.is_none() {
            report.leaves_open(
                "That earlier checkpoints said the same: none was given. Keep this one, and give it next time with \
                 --since.",
            );
        }
    }
}
