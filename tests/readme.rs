//! The README and the documents do what they say: the tour runs, links lead somewhere, every code has its
//! entry, and tables say what the code does.

#[path = "readme/links.rs"]
mod links;
#[path = "readme/page.rs"]
mod page;
#[path = "readme/tables.rs"]
mod tables;
#[path = "readme/tour.rs"]
mod tour;
