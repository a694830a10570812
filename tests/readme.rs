//! The README and the documents do what they say: the tour runs, links lead somewhere, every code has its
//! entry, and tables say what the code does.

#![allow(clippy::unwrap_used, reason = "a test stops where something is not as it should be")]

#[path = "readme/links.rs"]
mod links;
#[path = "readme/page.rs"]
mod page;
#[path = "readme/tables.rs"]
mod tables;
#[path = "readme/tour.rs"]
mod tour;
