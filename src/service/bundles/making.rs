//! Makes a bundle that has begun, step by step: entries tile by tile, the tiles above them, the keys, and where the streams
//! end.

use std::sync::Arc;

use keyledger_projections::KeyState;
use keyledger_schema::{Envelope, KeyId, Stream, sealing};

use super::{Bundle, PAGE, Step, broken, unmade};
use crate::audit::bundle::{self, needed};
use crate::audit::heads::Proof;
use crate::audit::note::{Note, Signer};
use crate::audit::tile::{FULL, Kind, Tile, hashes_at};
use crate::error::Result;
use crate::readmodel::{Entry, EntryQuery, MAX_PAGE, Window};
use crate::service::keys::query_failed;
use crate::store::Direction;

impl Bundle {
    /// Some more bytes; none when there are no more.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>> {
        while self.maker.ready() == 0 && !matches!(self.step, Step::Done) {
            self.step().await?;
        }
        let bytes = self.maker.take();
        Ok((!bytes.is_empty()).then_some(bytes))
    }

    async fn step(&mut self) -> Result<()> {
        match std::mem::replace(&mut self.step, Step::Done) {
            Step::Entries(query) => self.entries(query).await?,
            Step::Above(mut tiles) => {
                if let Some(tile) = tiles.pop_front() {
                    let hashes = self.hashes(tile).await?;
                    self.maker.tile(tile, &hashes);
                    self.step = Step::Above(tiles);
                } else {
                    self.step = Step::Keys(Box::new(self.maker.keys_to_show().into_iter()));
                }
            }
            Step::Keys(mut keys) => {
                if let Some((key, revision)) = keys.next() {
                    let state = self.state(key, revision).await?;
                    self.maker.key(&state);
                    self.step = Step::Keys(keys);
                } else {
                    self.step = Step::Heads(self.maker.heads_to_prove().into_iter());
                }
            }
            Step::Heads(mut heads) => {
                if let Some((stream, head)) = heads.next() {
                    let stream = stream.to_string();
                    let proof = self.ends.as_ref().and_then(|ends| ends.prove(&stream));
                    let Some(Proof::Included(proof)) = proof else {
                        return Err(broken(&format!("no proof tells where {stream} ends")));
                    };
                    self.maker.head(&stream, &head, &proof).map_err(unmade)?;
                    self.step = Step::Heads(heads);
                    return Ok(());
                }
                let signers: Vec<&Signer> = self.signers.iter().collect();
                self.maker.finish(|text| Note::sign(text, &signers)).map_err(unmade)?;
            }
            Step::Done => {}
        }
        Ok(())
    }

    /// A page of entries, in tiles as they become whole.
    async fn entries(&mut self, mut query: Box<EntryQuery>) -> Result<()> {
        let page = self.service.read_model.entries((*query).clone()).await;
        let page = page.map_err(|error| query_failed(&error))?;
        let last = page.items.last().map(|item| item.cursor.clone());
        let beyond = |entry: &Entry| entry.log_index >= self.description.end_index;
        let more = page.has_next && last.is_some() && !page.items.iter().any(|item| beyond(&item.node));
        let range = self.description.first_index..self.description.end_index;
        let in_time = page.items.iter().map(|item| item.node.log_index).filter(|index| range.contains(index));
        for index in in_time.collect::<Vec<_>>() {
            self.collect_own(Some(index)).await?;
            self.collect(index).await?;
        }
        if more {
            query.window = Window::First { count: MAX_PAGE, after: last };
            self.step = Step::Entries(query);
            return Ok(());
        }
        self.collect_own(None).await?;
        self.flush().await?;
        self.edges_before(u64::MAX).await?;
        let size = self.description.tree_size;
        let tiles = needed(size, self.since, std::mem::take(&mut self.tiles));
        self.step = Step::Above(tiles.into_iter().filter(|tile| tile.kind != Kind::Hashes(0)).collect());
        Ok(())
    }

    /// The log's own entries before another one.
    async fn collect_own(&mut self, before: Option<u64>) -> Result<()> {
        while let Some(index) =
            self.own.front().copied().filter(|own| before.is_none_or(|before| *own < before))
        {
            self.own.pop_front();
            self.collect(index).await?;
        }
        Ok(())
    }

    async fn collect(&mut self, index: u64) -> Result<()> {
        let tile = |index: u64| index / u64::from(FULL);
        if self.waiting.first().is_some_and(|first| tile(*first) != tile(index)) {
            self.flush().await?;
        }
        self.waiting.insert(index);
        Ok(())
    }

    /// Writes the tile that was collected.
    async fn flush(&mut self) -> Result<()> {
        let waiting = std::mem::take(&mut self.waiting);
        let Some(first) = waiting.first() else { return Ok(()) };
        let index = first / u64::from(FULL);
        self.edges_before(index).await?;
        if self.edges.front() == Some(&index) {
            self.edges.pop_front();
        }
        let tile = self.tile(index)?;
        let hashes = self.hashes(tile).await?;
        let all = self.tree.entries(Tile { kind: Kind::Entries, ..tile }).await;
        let all =
            all.map_err(|error| broken(&error))?.ok_or_else(|| broken(&"a tile of entries is missing"))?;
        let entry = |index: u64| {
            let at = usize::try_from(index % u64::from(FULL)).unwrap_or(usize::MAX);
            all.get(at).map(|bytes| bundle::Entry { index, bytes: Arc::clone(bytes) })
        };
        let entries: Vec<bundle::Entry<Arc<[u8]>>> = waiting.into_iter().filter_map(entry).collect();
        self.disclose(&entries).await?;
        self.maker.tile(tile, &hashes);
        self.maker.entries(tile, &entries).map_err(unmade)?;
        self.tiles.push(index);
        Ok(())
    }

    /// Lets the data keys through that entries need, as far as they are of the bundle's scope.
    async fn disclose(&mut self, entries: &[bundle::Entry<Arc<[u8]>>]) -> Result<()> {
        if !self.personal_data {
            return Ok(());
        }
        let texts = entries.iter().filter_map(|entry| std::str::from_utf8(&entry.bytes).ok());
        for subject in texts.flat_map(sealing::subjects) {
            if self.considered.insert(subject)
                && self.service.is_disclosed(&self.description.scope, subject).await?
            {
                self.within.allow(subject);
            }
        }
        Ok(())
    }

    async fn edges_before(&mut self, index: u64) -> Result<()> {
        while let Some(edge) = self.edges.front().copied().filter(|edge| *edge < index) {
            self.edges.pop_front();
            let tile = self.tile(edge)?;
            let hashes = self.hashes(tile).await?;
            self.maker.tile(tile, &hashes);
            self.tiles.push(edge);
        }
        Ok(())
    }

    /// A tile of level 0, as wide as it is in the tree of the bundle.
    fn tile(&self, index: u64) -> Result<Tile> {
        let all = hashes_at(0, self.description.tree_size);
        let width = all.saturating_sub(index * u64::from(FULL)).min(FULL.into());
        let width = u16::try_from(width).ok().filter(|width| *width > 0);
        let width = width.ok_or_else(|| broken(&"an entry lies beyond the tree"))?;
        Ok(Tile { kind: Kind::Hashes(0), index, width })
    }

    async fn hashes(&self, tile: Tile) -> Result<Vec<crate::audit::tree::Hash>> {
        let hashes = self.tree.tile(tile).await.map_err(|error| broken(&error))?;
        hashes.ok_or_else(|| broken(&format!("{tile} is missing")))
    }

    /// A key as its events up to a revision made it, read with what the bundle discloses.
    async fn state(&self, key: KeyId, last: u64) -> Result<KeyState> {
        let stream = Stream::Key(key).to_string();
        let (mut state, mut from) = (None, 0);
        while from <= last {
            let events = self.service.store.read_stream(&stream, Some(from), Direction::Forward, PAGE).await;
            let events = events.map_err(|error| broken(&error))?;
            let Some(end) = events.last().map(|event| event.revision) else { break };
            for event in events.iter().filter(|event| event.revision <= last) {
                let envelope: Envelope = self.maker.open(&event.bytes).map_err(|error| broken(&error))?;
                state = KeyState::fold(state, &envelope);
            }
            from = end + 1;
        }
        state.ok_or_else(|| broken(&format!("{stream} has no key")))
    }
}
