//! A queue between callers and the store's threads. Unlike a channel it can be closed while handles to
//! it live on in subscriptions, and a taker can have everything that waits in one go.
//!
//! Invariant: an item that was accepted is given to a taker or dropped; its asker sees the dropped
//! answer channel and never waits for ever.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

pub(super) struct Queue<T> {
    state: Mutex<State<T>>,
    filled: Condvar,
}

struct State<T> {
    waiting: VecDeque<T>,
    open: bool,
}

impl<T> Queue<T> {
    pub(super) fn new() -> Self {
        Self { state: Mutex::new(State { waiting: VecDeque::new(), open: true }), filled: Condvar::new() }
    }

    /// Adds an item; gives it back when the queue is closed.
    pub(super) fn push(&self, item: T) -> Result<(), T> {
        let mut state = self.state();
        if !state.open {
            return Err(item);
        }
        state.waiting.push_back(item);
        drop(state);
        self.filled.notify_one();
        Ok(())
    }

    /// Waits for an item. `None` when the queue is closed and empty.
    pub(super) fn pop(&self) -> Option<T> {
        self.filled_state().waiting.pop_front()
    }

    /// Waits for an item and takes those behind it too, as long as they fit. Takes none only when the
    /// queue is closed and empty.
    pub(super) fn pop_while(&self, batch: &mut Vec<T>, mut fits: impl FnMut(&T) -> bool) {
        let mut state = self.filled_state();
        while let Some(item) = state.waiting.pop_front_if(|item| batch.is_empty() | fits(item)) {
            batch.push(item);
        }
    }

    /// Takes no more items; those waiting are still given out.
    pub(super) fn close(&self) {
        self.state().open = false;
        self.filled.notify_all();
    }

    /// Takes no more items and drops those waiting.
    pub(super) fn abandon(&self) {
        let mut state = self.state();
        state.open = false;
        state.waiting.clear();
        drop(state);
        self.filled.notify_all();
    }

    fn filled_state(&self) -> MutexGuard<'_, State<T>> {
        self.filled
            .wait_while(self.state(), |state| state.open && state.waiting.is_empty())
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Abandons a queue when the thread that serves it ends in any way but the expected one.
pub(super) struct AbandonOnPanic<'a, T>(pub(super) &'a Queue<T>);

impl<T> Drop for AbandonOnPanic<'_, T> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.abandon();
        }
    }
}
