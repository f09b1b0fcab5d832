//! What both programs under fire share: a paced feed, a watch on committed output, a reader of whole topics, and a judge.
//!
//! `fire` shows exactly-once while workers and a broker are killed; `lane` shows what a hostile tenant costs its neighbours.
//! Must never: share code with the host about what is right; the judge compares with records that were computed outside.

#![forbid(unsafe_code)]

pub mod feed;
pub mod judge;
pub mod table;
pub mod topics;
pub mod watch;
