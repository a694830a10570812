//! `keyledger audit bundle --data-dir`: the whole log as a bundle, read in place.
//!
//! It never discloses data keys: those would be of all organizations at once. Names and addresses cannot be read in it.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;

use keyledger_projections::{KeyState, LogState};
use keyledger_schema::{Envelope, LogId, NoDataKeys, Stream};

use super::audit::{failed, last_checkpoint, last_commitment, read, still};
use super::identity;
use crate::audit::bundle::{Description, Entry, FORMAT, Maker, MakerError, Scope};
use crate::audit::note::{Note, Signer};
use crate::audit::tile::{FULL, Kind, Tile, combine, tiles};
use crate::audit::tree::{Hash, leaf_hash};
use crate::cli::audit_args::BundleArgs;
use crate::cli::audit_bundle::Target;
use crate::cli::{Exit, Failure, Output, progress};
use crate::config::{CommonFlags, Config};
use crate::edge::Edge;
use crate::secret::MasterKey;
use crate::store::sqlite::LogSnapshot;

/// So many bytes are written at once.
const READY: usize = 1024 * 1024;

fn unmade(what: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Failed, "INPUT", format!("the bundle cannot be made: {what}"))
}

fn unwritten(error: &std::io::Error) -> Failure {
    Failure::new(Exit::Failed, "OUTPUT", format!("the bundle cannot be written: {error}"))
}

/// Writes the bundle of the whole log of a data directory.
pub fn bundle(args: &BundleArgs, out: &mut Output<'_>) -> Result<(), Failure> {
    let text = |path: &std::path::PathBuf| path.display().to_string();
    let flags = CommonFlags {
        data_dir: args.data_dir.as_ref().map(text),
        master_key_file: args.master_key_file.as_ref().map(text),
        ..CommonFlags::default()
    };
    let edge = Edge::default();
    let config = Config::for_directory(&flags, std::env::vars_os())
        .map_err(|error| Failure::new(Exit::Usage, "CONFIGURATION", error.to_string()))?;
    // What was signed first, then the log: it then has all that was signed for.
    let signed = last_checkpoint(&config.data_dir)?;
    let signed = signed.ok_or_else(|| unmade("nothing was signed yet; start the server once"))?;
    let (note, checkpoint) = read(&signed).map_err(unmade)?;
    let log = LogSnapshot::open(&config.data_dir).map_err(|error| failed(&error))?;
    let master = identity::master_key(&config, true, &edge).map_err(unmade)?;
    let keys = log_keys(&log)?;
    let size = checkpoint.size;
    if size > log.size() {
        return Err(unmade("the log has fewer entries than its checkpoint was signed for"));
    }
    let description = Description {
        format: FORMAT.into(),
        origin: checkpoint.origin.clone(),
        tree_size: size,
        made_at: edge.now(),
        scope: Scope::Log,
        first_index: 0,
        end_index: size,
        heads_size: last_commitment(&log, size)?.map(|commitment| commitment.tree_size),
        from: None,
        to: None,
    };
    let verifiers: BTreeMap<u32, String> =
        keys.keys.iter().map(|key| (key.generation, key.verifier_key.to_string())).collect();
    let maker = Maker::new(description, &note.to_string(), None, &verifiers, Arc::new(NoDataKeys));
    let mut maker = maker.map_err(unmade)?;
    let mut target = Target::create(&args.output, args.force)?;
    let bar = progress::items(size, "events", out.is_json());
    entries(&log, size, &mut maker, &mut target, &mut |done| bar.set_position(done))?;
    for (key, revision) in maker.keys_to_show() {
        let events = log.stream(&Stream::Key(key).to_string(), revision).map_err(|error| failed(&error))?;
        let mut state = None;
        for bytes in events {
            state = KeyState::fold(state, &maker.open(&bytes).map_err(unmade)?);
        }
        maker.key(&state.ok_or_else(|| unmade(format!("{key} was never issued")))?);
        hand_over(&mut maker, &mut target, READY)?;
    }
    let log_id = LogId::from_uuid(log.log_id());
    let signers = signers(&keys, &master, log_id, &checkpoint.origin)?;
    let signers: Vec<&Signer> = signers.iter().collect();
    maker.finish(|text| Note::sign(text, &signers)).map_err(unmade)?;
    hand_over(&mut maker, &mut target, 0)?;
    bar.finish_and_clear();
    still(&log)?;
    target.finish(out)
}

/// The log's keys as its own stream tells them.
fn log_keys(log: &LogSnapshot) -> Result<LogState, Failure> {
    let stream = Stream::Log(LogId::from_uuid(log.log_id())).to_string();
    let events = log.of_types(&stream, "log.key_").map_err(|error| failed(&error))?;
    events
        .iter()
        .try_fold(LogState::default(), |state, bytes| Ok(state.fold(&Envelope::open(bytes).map_err(unmade)?)))
}

fn signers(keys: &LogState, master: &MasterKey, log: LogId, origin: &str) -> Result<Vec<Signer>, Failure> {
    let signer = |generation, verifier_key: &str| {
        let signer = Signer::new(origin, master.log_key(log, generation)).map_err(unmade)?;
        if signer.verifier().to_string() == verifier_key {
            Ok(signer)
        } else {
            Err(unmade("the master key is not the one that the log's keys are derived from"))
        }
    };
    keys.active().map(|key| signer(key.generation, &key.verifier_key)).collect()
}

fn hand_over(maker: &mut Maker, target: &mut Target, at_least: usize) -> Result<(), Failure> {
    if maker.ready() < at_least {
        return Ok(());
    }
    target.write_all(&maker.take()).map_err(|error| unwritten(&error))
}

/// Entries and tiles. Of the levels above, 32 bytes are kept for each 256 entries.
fn entries(
    log: &LogSnapshot,
    size: u64,
    maker: &mut Maker,
    target: &mut Target,
    progress: &mut dyn FnMut(u64),
) -> Result<(), Failure> {
    let mut row: Vec<Hash> = Vec::new();
    let (mut hashes, mut held): (Vec<Hash>, Vec<Entry<Vec<u8>>>) = (Vec::new(), Vec::new());
    let mut result = Ok(());
    log.events(|event| {
        if event.index >= size {
            return false;
        }
        hashes.push(leaf_hash(event.bytes));
        held.push(Entry { index: event.index, bytes: event.bytes.to_vec() });
        if hashes.len() == usize::from(FULL) || event.index + 1 == size {
            let width = u16::try_from(hashes.len()).unwrap_or(FULL);
            let tile = Tile { kind: Kind::Hashes(0), index: event.index / u64::from(FULL), width };
            maker.tile(tile, &hashes);
            result = maker.entries(tile, &held).map_err(|error: MakerError| unmade(error));
            if result.is_ok() {
                result = hand_over(maker, target, READY);
            }
            progress(event.index);
            held.clear();
            if width == FULL {
                row.extend(combine(std::mem::take(&mut hashes)));
            }
            hashes.clear();
        }
        result.is_ok()
    })
    .map_err(|error| failed(&error))?;
    result?;
    let mut above = tiles(size).filter(|tile| tile.kind != Kind::Hashes(0)).peekable();
    while let Some(Tile { kind, .. }) = above.peek().copied() {
        let mut next = Vec::new();
        for chunk in row.chunks(usize::from(FULL)) {
            let Some(tile) = above.next_if(|tile| tile.kind == kind) else { break };
            maker.tile(tile, chunk);
            if chunk.len() == usize::from(FULL) {
                next.extend(combine(chunk.to_vec()));
            }
        }
        row = next;
    }
    Ok(())
}
