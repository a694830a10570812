//! Checkpoints, tiles and proofs, and who may have them.
//!
//! Hashes tell nothing of what they were made from, so checkpoints, tiles and proofs of consistency are for whoever
//! may read a trail. A proof of inclusion is for whoever may read that event. The entries are of all tenants: they
//! are for those alone who may read all trails there are.

use std::sync::Arc;

use keyledger_schema::event::TrailPart;
use keyledger_schema::grant::{Place, Right};
use keyledger_schema::{EventId, Stream};

use super::reads::Look;
use super::told::Told;
use super::{Service, lacking};
use crate::audit::tile::{Tile, write_bundle};
use crate::audit::tlog_proof::TlogProof;
use crate::audit::tree::{Hash, leaf_hash};
use crate::caller::Caller;
use crate::error::{Error, Result};
use crate::readmodel::Entry;
use crate::sequencer::{Signed, TreeLog, Unanswered};
use crate::store::Direction;

/// Where an event stands in the tree, and what proves it.
#[derive(Clone, Debug)]
pub struct Inclusion {
    /// Its number in the log.
    pub log_index: u64,
    /// The hash of its stored bytes as a leaf.
    pub leaf_hash: Hash,
    /// The size of the tree that the proof is of.
    pub tree_size: u64,
    /// The way to the root, from the leaf's sibling upwards.
    pub hashes: Vec<Hash>,
    /// The root of that tree.
    pub root: Hash,
    /// The checkpoint of that tree; none for another size than that of the newest.
    pub signed: Option<Arc<Signed>>,
    /// The stored bytes.
    pub entry: Arc<[u8]>,
}

impl Inclusion {
    /// The same as a file (C2SP tlog-proof), where there is a checkpoint.
    pub fn file(&self) -> Option<String> {
        let signed = self.signed.as_ref()?;
        let (index, hashes) = (self.log_index, self.hashes.clone());
        Some(TlogProof { extra: None, index, hashes, checkpoint: signed.note.clone() }.to_string())
    }
}

/// What shows that the log only grew.
#[derive(Clone, Debug)]
pub struct Consistency {
    /// The smaller size.
    pub from: u64,
    /// The larger one.
    pub to: u64,
    /// The hashes of RFC 9162 §2.1.4.
    pub hashes: Vec<Hash>,
    /// The roots of both trees.
    pub roots: (Hash, Hash),
}

/// What whoever asks the tree is told when there is no answer.
fn unanswered(field: &'static str) -> impl Fn(Unanswered) -> Error {
    move |why| match why {
        Unanswered::Beyond => Error::invalid(
            field,
            "the signed tree is not as large as that; ask for at most the size of the newest checkpoint",
        ),
        Unanswered::Stopped(_) => Error::unavailable(
            "no checkpoint is signed any more: the log does not fit what was signed before, or the tree cannot be \
             kept; the operator finds the reason in the server's log. Keys work and change as before",
        ),
        Unanswered::Behind => Error::unavailable(
            "the tree has not caught up with the log yet; try again, which after a long time without it takes minutes",
        ),
        Unanswered::Busy => Error::unavailable("too many questions about the log wait already; try again"),
        Unanswered::Failed => {
            Error::unavailable("the tree gives no answer now; try again, and tell the operator if it lasts")
        }
    }
}

impl Service {
    /// The tree over the log.
    pub fn tree(&self) -> Result<&Arc<TreeLog>> {
        self.tree.as_ref().ok_or_else(|| Error::unavailable("this node keeps no tree over the log"))
    }

    /// Refuses whoever may read no trail at all.
    pub fn require_some_trail(&self, caller: &Caller) -> Result<()> {
        let family = self.tenants.family(caller.organization);
        let any = family.iter().any(|tenant| self.sight(caller, Right::ReadTrail, tenant.state.id).is_ok());
        if any { Ok(()) } else { Err(lacking(Right::ReadTrail)) }
    }

    /// Refuses whoever may not read all trails that there are.
    pub fn require_all_trails(&self, caller: &Caller) -> Result<()> {
        self.require_some_trail(caller)?;
        let mut roots = self.tenants.organizations().into_iter().filter(|known| known.parent.is_none());
        let all = roots
            .all(|root| self.may(caller, Right::ReadTrail, Place { organization: root.id, workspace: None }));
        if all {
            Ok(())
        } else {
            Err(Error::new(
                crate::error::Code::Forbidden,
                "the entries of the log are of all organizations on this server; only who may read the trails of all \
                 of them gets them. Ask for proofs of the events of your own, or for a bundle",
            ))
        }
    }

    /// A signed checkpoint over everything that is in the log now.
    pub async fn checkpoint(&self, caller: &Caller) -> Result<Arc<Signed>> {
        self.require_some_trail(caller)?;
        self.tree()?.current().await.map_err(unanswered("minPosition"))
    }

    /// The newest signed checkpoint, for anybody.
    pub async fn newest_checkpoint(&self) -> Result<Arc<Signed>> {
        self.tree()?.checkpoint(0).await.map_err(unanswered("size"))
    }

    /// The hashes of a tile, for anybody.
    pub async fn tile(&self, tile: Tile) -> Result<Vec<Hash>> {
        let hashes = self.tree()?.tile(tile).await.map_err(unanswered("tile"))?;
        hashes.ok_or_else(no_tile)
    }

    /// A bundle of entries.
    pub async fn entries(&self, caller: &Caller, tile: Tile) -> Result<Vec<u8>> {
        self.require_all_trails(caller)?;
        let mut filter = Told::default();
        filter.tell("log", Some("entries"));
        let place = Place { organization: caller.organization, workspace: None };
        // Whoever follows the log would else find only what they wrote by following it.
        let look = Look { filter, nothing_new: true, ..Look::at(TrailPart::Events, place) };
        self.looked(caller, look).await?;
        let _place = self.entry_bundles.try_acquire().map_err(|_| {
            Error::new(
                crate::error::Code::TooManyRequests,
                "too many bundles of entries are being read at once; wait for one to end",
            )
        })?;
        let entries = self.tree()?.entries(tile).await.map_err(unanswered("tile"))?;
        write_bundle(&entries.ok_or_else(no_tile)?).map_err(|error| {
            tracing::error!(%error, "a bundle of entries cannot be written");
            Error::internal()
        })
    }

    /// The proof that an event is in the log: of the newest checkpoint, which is made if it does not cover the
    /// event, or of the tree of an earlier one.
    pub async fn inclusion(&self, caller: &Caller, id: EventId, tree_size: Option<u64>) -> Result<Inclusion> {
        let entry = self.read_model.entry(id).await.map_err(|error| super::keys::query_failed(&error))?;
        let seen = entry.filter(|entry| {
            entry.organization.is_some_and(|organization| {
                self.may(caller, Right::ReadTrail, Place { organization, workspace: entry.workspace })
            })
        });
        let seen = seen.ok_or_else(|| Error::not_found("eventId", "event"))?;
        let inclusion = self.inclusion_of(&seen, tree_size).await?;
        if let Some(organization) = seen.organization {
            let mut filter = Told::default();
            filter.tell("proofOf", Some(id));
            let place = Place { organization, workspace: seen.workspace };
            let look = Look { key: seen.key, filter, shown: Some(1), ..Look::at(TrailPart::Events, place) };
            self.looked(caller, look).await?;
        }
        Ok(inclusion)
    }

    pub(super) async fn inclusion_of(&self, found: &Entry, tree_size: Option<u64>) -> Result<Inclusion> {
        let log_index = found.log_index;
        if tree_size.is_some_and(|size| size <= log_index) {
            let message = format!(
                "a tree of this size does not hold the event, whose number in the log is {log_index}; ask for a \
                 larger one, or leave it out"
            );
            return Err(Error::invalid("treeSize", message));
        }
        let entry = self.stored(found.stream, found.revision).await?;
        let tree = self.tree()?;
        let newest = tree.checkpoint(log_index + 1).await.map_err(unanswered("treeSize"))?;
        let size = tree_size.unwrap_or(newest.checkpoint.size);
        let hashes = tree.inclusion(&entry, log_index, size).await.map_err(unanswered("treeSize"))?;
        let (root, signed) = if size == newest.checkpoint.size {
            (newest.checkpoint.root, Some(newest))
        } else {
            (tree.root(size).await.map_err(unanswered("treeSize"))?, None)
        };
        Ok(Inclusion {
            log_index,
            leaf_hash: leaf_hash(&entry),
            tree_size: size,
            hashes,
            root,
            signed,
            entry,
        })
    }

    /// The stored bytes of an event.
    async fn stored(&self, stream: Stream, revision: u64) -> Result<Arc<[u8]>> {
        let found = self.store.read_stream(&stream.to_string(), Some(revision), Direction::Forward, 1).await;
        let found = found.map_err(|error| super::writer::read_failed(&error))?;
        found.into_iter().next().map(|event| event.bytes).ok_or_else(Error::internal)
    }

    /// The proof that the log of one size is the start of that of another: of the newest checkpoint when no second
    /// one is named.
    pub async fn consistency(&self, caller: &Caller, from: u64, to: Option<u64>) -> Result<Consistency> {
        self.require_some_trail(caller)?;
        let tree = self.tree()?;
        let newest = tree.checkpoint(0).await.map_err(unanswered("to"))?.checkpoint.size;
        let to = to.unwrap_or(newest);
        if from > to {
            return Err(Error::invalid("from", format!("from is the smaller size, at most {to}")));
        }
        let answer = async {
            let roots = (tree.root(from).await?, tree.root(to).await?);
            Ok((tree.consistency(from, to).await?, roots))
        };
        let (hashes, roots) = answer.await.map_err(unanswered("to"))?;
        Ok(Consistency { from, to, hashes, roots })
    }
}

fn no_tile() -> Error {
    Error::not_found("tile", "tile in the signed tree")
}
