//! The read model: whatever happens to its file or its process, it shows what the log says.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "readmodel/world.rs"]
mod world;

#[path = "readmodel/analytics.rs"]
mod analytics;
#[path = "readmodel/following.rs"]
mod following;
#[path = "readmodel/isolation.rs"]
mod isolation;
#[path = "readmodel/lists.rs"]
mod lists;
#[path = "readmodel/pages.rs"]
mod pages;
#[path = "readmodel/rebuilding.rs"]
mod rebuilding;
#[path = "readmodel/restarting.rs"]
mod restarting;
#[path = "readmodel/searching.rs"]
mod searching;
#[path = "readmodel/waiting.rs"]
mod waiting;
