//! Reading the whole log page by page: `read_all` and subscriptions, the same for every store whose
//! positions are 1, 2, 3 … and which announces its newest position on a watch channel.
//!
//! Invariants: a feed's place moves only when a page has arrived, so a dropped or failed `next` loses
//! nothing; it never passes the announced head, so nothing is seen before it is durable. A feed holds
//! no events between two calls, however slow its consumer is.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::watch;

use super::{Delivery, Filter, ReadError, Recorded, Subscription};

/// The most events that are looked at for one page.
pub(super) const PAGE_EVENTS: usize = 2_048;
/// A page is closed when its payloads reach this many bytes.
pub(super) const PAGE_BYTES: usize = 4 * 1024 * 1024;

/// A stretch of the log.
pub(super) struct Page {
    /// Its events that pass the filter, in log order.
    pub(super) events: Vec<Recorded>,
    /// The last position looked at; always after the place the page was asked from.
    pub(super) through: u64,
}

/// A log that can be read in pages.
pub(super) trait Pages: Send + Sync + 'static {
    /// Events strictly after `after`, not beyond `head`, at most `max`. Called with `after < head`
    /// and `max > 0` only.
    fn page(
        &self,
        after: u64,
        head: u64,
        filter: &Arc<Filter>,
        max: usize,
    ) -> BoxFuture<'static, Result<Page, ReadError>>;
}

/// Reads up to `max` events in as many pages as that takes.
pub(super) async fn read_all(
    pages: Arc<impl Pages>,
    after: u64,
    head: u64,
    filter: Filter,
    max: usize,
) -> Result<Vec<Recorded>, ReadError> {
    let filter = Arc::new(filter);
    let mut events = Vec::new();
    let mut after = after;
    while after < head && events.len() < max {
        let mut page = pages.page(after, head, &filter, max - events.len()).await?;
        after = page.through;
        if events.is_empty() {
            events = page.events;
        } else {
            events.append(&mut page.events);
        }
    }
    Ok(events)
}

/// A subscription over pages.
pub(super) struct Feed<P> {
    pages: Arc<P>,
    head: watch::Receiver<u64>,
    filter: Arc<Filter>,
    after: u64,
    /// Where the end of the log was when this feed last set out for it.
    looked: Option<u64>,
    caught_up: bool,
}

impl<P: Pages> Feed<P> {
    /// A feed that starts strictly after `after`; 0 is the very beginning.
    pub(super) fn new(pages: Arc<P>, head: watch::Receiver<u64>, after: u64, filter: Filter) -> Self {
        Self { pages, head, filter: Arc::new(filter), after, looked: None, caught_up: false }
    }

    async fn deliver(&mut self) -> Result<Delivery, ReadError> {
        loop {
            let head = *self.head.borrow_and_update();
            if !self.caught_up && self.reached(head) {
                self.caught_up = true;
                return Ok(Delivery::CaughtUp);
            }
            if self.after < head {
                let page = self.pages.page(self.after, head, &self.filter, PAGE_EVENTS).await?;
                self.after = page.through;
                if !page.events.is_empty() {
                    return Ok(Delivery::Events(page.events));
                }
            } else {
                let closed = |_| ReadError::Unavailable("the store is closed".into());
                self.head.changed().await.map_err(closed)?;
            }
        }
    }

    /// Whether the end of the log has been reached. While others append, its very end may never be:
    /// what counts is the end that the feed set out for, unless a whole page has come since.
    fn reached(&mut self, head: u64) -> bool {
        let target = *self.looked.get_or_insert(head);
        if self.after < target {
            return false;
        }
        self.looked = Some(head);
        head.saturating_sub(self.after) <= PAGE_EVENTS as u64
    }
}

impl<P: Pages> Subscription for Feed<P> {
    fn next(&mut self) -> BoxFuture<'_, Result<Delivery, ReadError>> {
        self.deliver().boxed()
    }
}
