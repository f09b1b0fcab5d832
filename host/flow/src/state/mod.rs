//! The keys and values of stages: one store for each stage and source partition.
//!
//! The truth is the *changelog*: one compacted topic for each pipeline, written in the lane's transaction with the outputs and the
//! position, so state is what the committed records made of it, exactly once. What is here is a cache of it, made anew at each
//! assignment of a partition ([`changelog::restore`]) and dropped with it. Control makes the topic when a manifest first grants state, and
//! deletes it with the pipeline; a worker never does, so one that vanished is [`StateLost`](bulkhead_core::code::Code::StateLost), and never
//! an empty start.
//!
//! Writes pass through three layers ([`stage`]): those of the call under way, which vanish if it fails; those of the batch, which
//! vanish if any of its records turned out dead or asked for a retry, for the graph then runs again on the others, so that what
//! commits is as if those had never been; and the local view ([`local`]), which later batches see before the commit, because held
//! outputs are committed in order or the incarnation ends, and the view with it.
//!
//! What names a store in the changelog is stage, input topic and source partition, as a prefix of each key. So a revision that keeps
//! a stage's name keeps its state, whatever its module; what a renamed or removed stage left, or one whose input was taken away, stays
//! in the topic unused until a stage of that name, reading that topic, comes again or the pipeline is deleted. A source topic that gets
//! more partitions changes nothing for those that were there: a partition's changes go to its number modulo the changelog's.
//! Must never: let a write be seen that may not commit, or take the local view for the truth after an assignment.

pub(crate) mod alone;
pub(crate) mod changelog;
pub(crate) mod disk;
mod local;
pub(crate) mod partition;
mod ranges;
pub(crate) mod stage;

use bulkhead_core::limits::STATE_ENTRY_BYTES;

/// What an entry counts.
fn entry_bytes(key: usize, value: usize) -> u64 {
    key as u64 + value as u64 + STATE_ENTRY_BYTES
}
