//! The tree over real logs, against ct-merkle, which we did not write; restarts, damage, and logs that are not what
//! they were.

use std::fs;

use ct_merkle::mem_backed_tree::MemoryBackedTree;
use ct_merkle::{ConsistencyProof, InclusionProof, RootHash};
use keyledger_schema::codec::Outcome;
use keyledger_schema::event::{Event, LogKeyAdded, LogKeyRetired};
use keyledger_schema::{Actor, Envelope, EventId, NodeId, Source, Stream, Timestamp};
use sha2::Sha256;
use tokio::runtime::Runtime;
use uuid::Uuid;

use super::*;
use crate::audit::note::{Signer, VerifierKey};
use crate::audit::tile::{bundles, tiles};
use crate::store::memory::MemoryStore;
use crate::store::sqlite::{Options, SqliteStore};
use crate::store::{Direction, Expected, NewEvent};
use crate::stream_head::StreamHead;
use crate::test_keys::Keys;

const ORIGIN: &str = "log.example/a";

type Theirs = MemoryBackedTree<Sha256, Vec<u8>>;

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn private(generation: u32) -> SigningKey {
    SigningKey::from_bytes(&[u8::try_from(generation).unwrap(); 32])
}

fn verifier(generation: u32) -> VerifierKey {
    Signer::new(ORIGIN, private(generation)).unwrap().verifier().clone()
}

fn tree_of(directory: &Path, store: &Arc<dyn EventStore>) -> Arc<TreeLog> {
    TreeLog::open(directory, Arc::clone(store), Arc::new(private)).unwrap()
}

fn id_of(stream: &str, revision: u64) -> Uuid {
    let hash = blake3::hash(format!("{stream} {revision}").as_bytes());
    Uuid::from_slice(&hash.as_bytes()[..16]).unwrap()
}

/// Appends events to a stream of their own, so many at once as the store takes.
async fn append(store: &dyn EventStore, stream: &str, count: usize) {
    let mut left = count;
    while left > 0 {
        let some = left.min(1_000);
        left -= some;
        let last = store.read_stream(stream, None, Direction::Backward, 1).await.unwrap();
        let next = last.first().map_or(0, |event| event.revision + 1);
        let events = (0..some as u64).map(|n| NewEvent {
            id: id_of(stream, next + n),
            event_type: "test.event".into(),
            bytes: format!("{stream} {}", next + n).into_bytes().into(),
        });
        let expected = Expected::after(next.checked_sub(1));
        store.append(stream, expected, events.collect()).await.unwrap();
    }
}

async fn append_to_log(store: &dyn EventStore, event: Event) {
    let stream = Stream::Log(LogId::from_uuid(store.log_id()));
    let last = store.read_stream(&stream.to_string(), None, Direction::Backward, 1).await.unwrap();
    let head =
        last.first().map_or_else(StreamHead::default, |last| StreamHead::at(last.revision, &last.bytes));
    let envelope = Envelope {
        id: EventId::from_uuid(Uuid::from_u128(u128::from(head.next_revision()) << 64 | 7)),
        stream,
        revision: head.next_revision(),
        at: Timestamp::from_micros(1_000_000),
        organization: None,
        workspace: None,
        actor: Actor::node(NodeId::from_uuid(Uuid::from_u128(1))),
        source: Source::default(),
        request: None,
        cause: None,
        outcome: Outcome::Success,
        prev: head.prev(),
        event,
    };
    let new = NewEvent {
        id: envelope.id.uuid(),
        event_type: envelope.event.type_name().into(),
        bytes: envelope.seal(&Keys::default()).unwrap().bytes.into(),
    };
    store.append(&stream.to_string(), head.expected(), vec![new]).await.unwrap();
}

async fn add_key(store: &dyn EventStore, generation: u32) {
    let verifier_key = verifier(generation).to_string().into();
    append_to_log(store, Event::LogKeyAdded(LogKeyAdded { generation, origin: ORIGIN.into(), verifier_key }))
        .await;
}

/// The tree that another implementation makes of a log.
async fn theirs(store: &dyn EventStore) -> Theirs {
    let mut tree = Theirs::new();
    for event in store.read_all(None, Filter::All, usize::MAX).await.unwrap() {
        tree.push(event.bytes.to_vec());
    }
    tree
}

fn root_hash(root: Hash, size: u64) -> RootHash<Sha256> {
    RootHash::new(root.into(), size)
}

fn in_memory() -> (tempfile::TempDir, Arc<dyn EventStore>) {
    (tempfile::tempdir().unwrap(), Arc::new(MemoryStore::new()))
}

#[test]
fn the_tree_is_that_of_another_implementation_and_so_are_its_proofs() {
    let (directory, store) = in_memory();
    runtime().block_on(async {
        add_key(&*store, 1).await;
        let tree = tree_of(directory.path(), &store);
        let mut seen: Vec<Arc<Signed>> = Vec::new();
        for more in [0, 1, 253, 1, 1, 700, 67_000] {
            append(&*store, "key-a", more).await;
            let signed = tree.current().await.unwrap();
            let theirs = theirs(&*store).await;
            let size = signed.checkpoint.size;
            assert_eq!(size, theirs.len());
            assert_eq!(signed.checkpoint.root[..], theirs.root().as_bytes()[..]);
            let read = Checkpoint::open(signed.note.as_bytes(), ORIGIN, &[verifier(1)]).unwrap();
            assert_eq!(read, signed.checkpoint);
            for index in [0, size / 2, size - 1] {
                let entry = theirs.get(usize::try_from(index).unwrap()).unwrap();
                let path = tree.inclusion(entry, index, size).await.unwrap();
                let proof = InclusionProof::try_from_bytes(path.concat()).unwrap();
                root_hash(read.root, size).verify_inclusion(entry, index, &proof).unwrap();
            }
            for earlier in &seen {
                let old = &earlier.checkpoint;
                let path = tree.consistency(old.size, size).await.unwrap();
                let proof = ConsistencyProof::try_from_bytes(path.concat()).unwrap();
                root_hash(read.root, size)
                    .verify_consistency(&root_hash(old.root, old.size), &proof)
                    .unwrap();
                assert_eq!(tree.root(old.size).await.unwrap(), old.root);
            }
            seen.push(signed);
        }
    });
}

#[test]
fn tiles_and_bundles_hold_the_whole_log_and_nothing_beyond_the_checkpoint() {
    let (directory, store) = in_memory();
    runtime().block_on(async {
        add_key(&*store, 1).await;
        append(&*store, "key-a", 66_000).await;
        let tree = tree_of(directory.path(), &store);
        let size = tree.current().await.unwrap().checkpoint.size;
        let mut leaves = Vec::new();
        for tile in tiles(size) {
            let hashes = tree.tile(tile).await.unwrap().unwrap();
            assert_eq!(hashes.len(), usize::from(tile.width));
            if tile.kind == Kind::Hashes(0) {
                leaves.extend(hashes);
            } else {
                let below: Vec<Hash> = match tile.kind {
                    Kind::Hashes(1) => leaves
                        .as_chunks::<256>()
                        .0
                        .iter()
                        .map(|c| crate::audit::tile::combine(c.to_vec()).unwrap())
                        .collect(),
                    _ => continue,
                };
                let start = usize::try_from(tile.index).unwrap() * 256;
                assert_eq!(hashes, below[start..start + hashes.len()]);
            }
        }
        let mut entries = Vec::new();
        for bundle in bundles(size) {
            entries.extend(tree.entries(bundle).await.unwrap().unwrap());
        }
        let hashed: Vec<Hash> = entries.iter().map(|entry| leaf_hash(entry)).collect();
        assert!(hashed == leaves, "entries hash to the leaves");
        // Every narrower tile is the start of the wider one.
        for width in [1, 2, 255] {
            let tile = Tile { kind: Kind::Hashes(0), index: 3, width };
            let start = 3 * 256;
            assert_eq!(tree.tile(tile).await.unwrap().unwrap(), leaves[start..start + usize::from(width)]);
            let bundle = Tile { kind: Kind::Entries, ..tile };
            assert_eq!(tree.entries(bundle).await.unwrap().unwrap().len(), usize::from(width));
        }
        for beyond in [
            Tile { kind: Kind::Hashes(0), index: size / 256, width: 256 },
            Tile { kind: Kind::Entries, index: size / 256, width: 256 },
            Tile { kind: Kind::Hashes(2), index: 0, width: 2 },
            Tile { kind: Kind::Hashes(9), index: 0, width: 1 },
            Tile { kind: Kind::Hashes(0), index: u64::MAX, width: 256 },
        ] {
            let found = match beyond.kind {
                Kind::Entries => tree.entries(beyond).await.unwrap().is_some(),
                Kind::Hashes(_) => tree.tile(beyond).await.unwrap().is_some(),
            };
            assert!(!found, "{beyond}");
        }
        assert_eq!(tree.root(size + 1).await, Err(Unanswered::Beyond));
        assert_eq!(tree.inclusion(b"x", size, size).await, Err(Unanswered::Beyond));
        assert_eq!(tree.inclusion(b"x", 0, size + 1).await, Err(Unanswered::Beyond));
        assert_eq!(tree.consistency(2, 1).await, Err(Unanswered::Beyond));
        assert_eq!(tree.consistency(1, size + 1).await, Err(Unanswered::Beyond));
        // What is not in the tree at that place is never proved.
        assert_eq!(tree.inclusion(b"x", 0, size).await, Err(Unanswered::Failed));
    });
}

#[test]
fn a_checkpoint_is_on_the_disk_when_it_is_shown_and_comes_back_after_a_restart() {
    let (directory, store) = in_memory();
    let shown = runtime().block_on(async {
        add_key(&*store, 1).await;
        append(&*store, "key-a", 300).await;
        let tree = tree_of(directory.path(), &store);
        let shown = tree.current().await.unwrap();
        let stored = fs::read_to_string(directory.path().join(CHECKPOINT_FILE_NAME)).unwrap();
        assert_eq!(*stored, *shown.note);
        shown
    });
    for kept in [true, false] {
        if !kept {
            fs::remove_file(directory.path().join(FILE_NAME)).unwrap();
        }
        let tree = tree_of(directory.path(), &store);
        let again = runtime().block_on(tree.checkpoint(0)).unwrap();
        assert_eq!(again, shown, "nothing new is signed without news");
    }
    runtime().block_on(append(&*store, "key-a", 1));
    let tree = tree_of(directory.path(), &store);
    let next = runtime().block_on(tree.current()).unwrap().checkpoint.clone();
    let (old, path) = (&shown.checkpoint, runtime().block_on(tree.consistency(301, 302)).unwrap());
    assert_eq!((old.size, next.size), (301, 302));
    proof::verify_consistency(old.size, &old.root, next.size, &next.root, &path).unwrap();
}

#[test]
fn a_damaged_tree_is_made_anew() {
    let (directory, store) = in_memory();
    let expected = runtime().block_on(async {
        add_key(&*store, 1).await;
        append(&*store, "key-a", 1_000).await;
        tree_of(directory.path(), &store).current().await.unwrap()
    });
    let path = directory.path().join(FILE_NAME);
    let spoil = |sql: &str| {
        let connection = Connection::open(&path).unwrap();
        assert!(connection.execute(sql, []).unwrap() > 0, "{sql}");
    };
    for sql in [
        "UPDATE tiles SET hashes = zeroblob(8192) WHERE place = 1",
        "UPDATE tiles SET position = position + 1 WHERE place = 0",
        "DELETE FROM tiles WHERE place = 2",
        "UPDATE tiles SET place = place + 1 WHERE place >= (1 << 56)",
        "UPDATE meta SET size = size - 1",
        "UPDATE meta SET position = position - 1",
        "UPDATE meta SET log = zeroblob(16)",
        "DELETE FROM meta",
    ] {
        spoil(sql);
        runtime().block_on(async {
            let tree = tree_of(directory.path(), &store);
            let signed = tree.current().await.unwrap();
            assert_eq!(signed, expected, "{sql}");
            let theirs = theirs(&*store).await;
            for index in (0..1_001).step_by(25) {
                tree.inclusion(theirs.get(index).unwrap(), index as u64, 1_001).await.unwrap();
            }
        });
    }
    for bytes in [&b""[..], b"not a database, and longer than a hundred bytes ", &[0; 4096]] {
        fs::remove_file(path.with_extension("db-wal")).ok();
        fs::remove_file(path.with_extension("db-shm")).ok();
        fs::write(&path, bytes.repeat(3)).unwrap();
        let signed = runtime().block_on(async { tree_of(directory.path(), &store).current().await.unwrap() });
        assert_eq!(signed, expected);
    }
}

#[test]
fn keys_overlap_until_the_older_one_is_retired() {
    let (directory, store) = in_memory();
    runtime().block_on(async {
        add_key(&*store, 1).await;
        let tree = tree_of(directory.path(), &store);
        let signers = |signed: &Signed| -> Vec<bool> {
            let opens =
                |generation| Checkpoint::open(signed.note.as_bytes(), ORIGIN, &[verifier(generation)]);
            [1, 2].map(|generation| opens(generation).is_ok()).to_vec()
        };
        assert_eq!(signers(&tree.current().await.unwrap()), [true, false]);
        add_key(&*store, 2).await;
        assert_eq!(signers(&tree.current().await.unwrap()), [true, true]);
        append_to_log(&*store, Event::LogKeyRetired(LogKeyRetired { generation: 1 })).await;
        assert_eq!(signers(&tree.current().await.unwrap()), [false, true]);
        assert_eq!(tree.keys().active().count(), 1);
    });
    // What only the retired key signed is still believed after a restart.
    let tree = tree_of(directory.path(), &store);
    assert_eq!(signed_size(&tree), 3);
}

fn signed_size(tree: &TreeLog) -> u64 {
    runtime().block_on(tree.current()).unwrap().checkpoint.size
}

/// Why a tree stopped, once it has.
fn why_stopped(tree: &TreeLog) -> String {
    let refused = runtime().block_on(tree.checkpoint(0));
    let Err(Unanswered::Stopped(reason)) = refused else { panic!("{refused:?}") };
    assert_eq!(tree.stopped().as_deref(), Some(&*reason));
    for asked in [
        runtime().block_on(tree.root(1)).err(),
        runtime().block_on(tree.current()).err(),
        runtime().block_on(tree.tile(Tile { kind: Kind::Hashes(0), index: 0, width: 1 })).err(),
        runtime().block_on(tree.consistency(1, 1)).err(),
    ] {
        assert_eq!(asked, Some(Unanswered::Stopped(Arc::clone(&reason))));
    }
    reason.to_string()
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

#[test]
fn nothing_is_signed_over_a_log_that_is_not_what_it_was() {
    let (live, backup) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let open = |directory: &Path| -> Arc<dyn EventStore> {
        Arc::new(SqliteStore::open(directory, Options::default()).unwrap())
    };
    let store = open(live.path());
    runtime().block_on(async {
        add_key(&*store, 1).await;
        append(&*store, "key-a", 20).await;
    });
    drop(store);
    copy(live.path(), backup.path());
    let store = open(live.path());
    runtime().block_on(append(&*store, "key-a", 20));
    let signed = {
        let tree = tree_of(live.path(), &store);
        runtime().block_on(tree.current()).unwrap()
    };
    drop(store);
    let checkpoint = live.path().join(CHECKPOINT_FILE_NAME);
    let before = fs::read(&checkpoint).unwrap();
    assert_eq!(before, signed.note.as_bytes());

    // The backup is put back: twenty events are gone. It makes no difference whether the tree went too.
    for tree_too in [false, true] {
        if tree_too {
            fs::remove_file(live.path().join(FILE_NAME)).unwrap();
        }
        copy(backup.path(), live.path());
        let store = open(live.path());
        let tree = tree_of(live.path(), &store);
        let reason = why_stopped(&tree);
        assert!(reason.contains("the log has 21 events, and a checkpoint over 41"), "{reason}");
        // The log itself goes on.
        runtime().block_on(append(&*store, "key-b", 1));
    }
    // It grows past the checkpoint again, with other events.
    copy(backup.path(), live.path());
    let store = open(live.path());
    runtime().block_on(append(&*store, "key-b", 50));
    let tree = tree_of(live.path(), &store);
    let reason = why_stopped(&tree);
    assert!(reason.contains("first 41 events of the log are others"), "{reason}");
    assert_eq!(fs::read(&checkpoint).unwrap(), before, "what was signed is kept");
}

#[test]
fn nothing_is_signed_when_the_last_checkpoint_cannot_be_believed() {
    let (directory, store) = in_memory();
    runtime().block_on(async {
        add_key(&*store, 1).await;
        tree_of(directory.path(), &store).current().await.unwrap();
    });
    let path = directory.path().join(CHECKPOINT_FILE_NAME);
    let good = fs::read_to_string(&path).unwrap();
    let foreign =
        Checkpoint::new(ORIGIN, 1, [7; 32]).sign(&[&Signer::new(ORIGIN, private(9)).unwrap()]).unwrap();
    let other =
        Checkpoint::new("other", 1, [7; 32]).sign(&[&Signer::new(ORIGIN, private(1)).unwrap()]).unwrap();
    for bad in ["", "x", &good[..good.len() - 2], &good.replace("\n1\n", "\n2\n")] {
        fs::write(&path, bad).unwrap();
        let reason = why_stopped(&tree_of(directory.path(), &store));
        assert!(reason.contains("last signed checkpoint"), "{reason}");
    }
    for bad in [foreign, other] {
        fs::write(&path, bad.to_string()).unwrap();
        assert!(why_stopped(&tree_of(directory.path(), &store)).contains("signed by another log"));
    }
    fs::write(&path, good).unwrap();
    assert_eq!(signed_size(&tree_of(directory.path(), &store)), 1);
    // Another master key would sign with other keys.
    let wrong: PrivateKeys = Arc::new(|generation| private(generation + 1));
    let tree = TreeLog::open(directory.path(), store, wrong).unwrap();
    assert!(why_stopped(&tree).contains("master key"));
}
