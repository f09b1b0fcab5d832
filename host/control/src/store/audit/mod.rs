//! The audit's chains in the database: appended to, read, pruned behind a signed checkpoint.
//!
//! Each chain has a row that holds its end. An append takes that row first, so that two processes which append to one chain take turns and
//! neither leaves a gap. The tables refuse that a line is changed, and that one goes other than by [`prune`].
//! Must never: change a line, or show a tenant lines of another, an earlier tenant of its name included: these went with it.

mod append;
mod checkpoints;
mod prune;
mod read;
mod topic;

pub(crate) use checkpoints::ChainEnd;
pub(crate) use read::AuditFilter;
pub(crate) use topic::AuditTopic;
