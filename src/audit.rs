//! What lets an outsider check the log.

pub mod heads;
