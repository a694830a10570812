//! Pages of a list, taken from either end or from a cursor. A page is found by the place of its
//! neighbour, never by counting rows, so rows that come or go elsewhere neither repeat nor hide one.

use rusqlite::types::Value as Param;

use super::cursor::{self, Cursor, List};

/// The most items of one page; larger requests get this many.
pub const MAX_PAGE: usize = 1_000;
/// The most items of a page for whoever has to look at all of them.
pub const MAX_BULK_PAGE: usize = 5_000;

/// Rising or falling.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Sequence {
    /// The smallest first.
    Ascending,
    /// The largest first.
    Descending,
}

/// Which stretch of a list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Window {
    /// The first items after a cursor, or of the whole list.
    First {
        /// How many, at most [`MAX_PAGE`].
        count: usize,
        /// A cursor of an item before the page.
        after: Option<String>,
    },
    /// The last items before a cursor, or of the whole list. In the list's order all the same.
    Last {
        /// How many, at most [`MAX_PAGE`].
        count: usize,
        /// A cursor of an item after the page.
        before: Option<String>,
    },
}

impl Window {
    /// The start of the list.
    pub const fn first(count: usize) -> Self {
        Self::First { count, after: None }
    }

    /// Whether the page is taken from the end.
    pub const fn is_backward(&self) -> bool {
        matches!(self, Self::Last { .. })
    }

    /// How many items the page has at most.
    pub(super) fn count(&self) -> usize {
        self.count_up_to(MAX_PAGE)
    }

    /// The same of a list whose pages may be of another size.
    pub(super) fn count_up_to(&self, max: usize) -> usize {
        let (Self::First { count, .. } | Self::Last { count, .. }) = *self;
        count.min(max)
    }

    fn cursor(&self) -> Option<&str> {
        match self {
            Self::First { after, .. } => after.as_deref(),
            Self::Last { before, .. } => before.as_deref(),
        }
    }

    /// The place the page is next to.
    pub(super) fn place(&self, list: List) -> Result<Option<Cursor>, cursor::Error> {
        self.cursor().map(|text| Cursor::read(text, list)).transpose()
    }

    /// In which sequence rows are looked at, starting from the page's near end.
    pub(super) fn scan(&self, sequence: Sequence) -> Sequence {
        match (sequence, self.is_backward()) {
            (Sequence::Ascending, false) | (Sequence::Descending, true) => Sequence::Ascending,
            (Sequence::Descending, false) | (Sequence::Ascending, true) => Sequence::Descending,
        }
    }
}

impl Sequence {
    /// For `ORDER BY`.
    pub(super) const fn keyword(self) -> &'static str {
        match self {
            Self::Ascending => "ASC",
            Self::Descending => "DESC",
        }
    }

    /// Between a row and a place that it comes after.
    pub(super) const fn beyond(self) -> &'static str {
        match self {
            Self::Ascending => ">",
            Self::Descending => "<",
        }
    }
}

/// An item and its place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Item<T> {
    /// For the window of the next page.
    pub cursor: String,
    /// What stands there.
    pub node: T,
}

/// A stretch of a list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Page<T> {
    /// In the list's order.
    pub items: Vec<Item<T>>,
    /// Whether items follow. For a page before a cursor: true, as the cursor's item did.
    pub has_next: bool,
    /// Whether items come before. For a page after a cursor: true, as the cursor's item did.
    pub has_previous: bool,
    /// How many items the whole list has, if that was asked.
    pub total: Option<u64>,
    /// From where to go backward, where that is not the first item: a search that finds little may end before
    /// the page is full, or even without any item, though there is more.
    pub start_cursor: Option<String>,
    /// From where to go forward, where that is not the last item.
    pub end_cursor: Option<String>,
}

impl<T> Page<T> {
    /// Of an empty list.
    pub(super) fn empty(count: bool) -> Self {
        let total = count.then_some(0);
        Self {
            items: Vec::new(),
            has_next: false,
            has_previous: false,
            total,
            start_cursor: None,
            end_cursor: None,
        }
    }

    /// From rows in the sequence of [`Window::scan`]; one more than the page has tells that more follow.
    pub(super) fn of(items: Vec<Item<T>>, window: &Window, total: Option<u64>) -> Self {
        Self::of_up_to(items, window, window.count(), total)
    }

    /// The same with at most `count` items.
    pub(super) fn of_up_to(
        mut items: Vec<Item<T>>,
        window: &Window,
        count: usize,
        total: Option<u64>,
    ) -> Self {
        let more = items.len() > count;
        items.truncate(count);
        let came_from = window.cursor().is_some();
        let (has_next, has_previous) = if window.is_backward() {
            items.reverse();
            (came_from, more)
        } else {
            (more, came_from)
        };
        Self { items, has_next, has_previous, total, start_cursor: None, end_cursor: None }
    }
}

/// A condition under construction: SQL with numbered parameters, and their values. Input goes only into
/// the values.
#[derive(Default)]
pub(super) struct Condition {
    pub(super) sql: String,
    pub(super) params: Vec<Param>,
}

impl Condition {
    /// Binds a value and returns its parameter.
    pub(super) fn bind(&mut self, value: impl Into<Param>) -> String {
        self.params.push(value.into());
        format!("?{}", self.params.len())
    }

    /// Binds values and returns their parameters, separated by commas.
    pub(super) fn bind_all(&mut self, values: impl IntoIterator<Item = Param>) -> String {
        let parameters: Vec<_> = values.into_iter().map(|value| self.bind(value)).collect();
        parameters.join(", ")
    }

    /// Demands this too.
    pub(super) fn and(&mut self, sql: &str) {
        if !self.sql.is_empty() {
            self.sql.push_str(" AND ");
        }
        self.sql.push_str(sql);
    }
}
