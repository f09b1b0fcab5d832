//! The real process, end to end: `bulkhead serve` as a child, its HTTP API as a tenant uses it, its log embedded or a real Kafka.
//!
//! A module for each topic. Each test has tenants of its own; hosts and brokers are shared where a test does not stop them.
//! Must never: reach past what users have, or take the absence of something for a proof without a neighbour that shows time has passed.

mod apart;
mod audits;
mod brokers;
mod bucketed;
mod buckets;
mod changes;
mod commands;
mod corpus;
mod dashboards;
mod dead_letters;
mod delays;
mod deletion;
mod developer;
mod erasure;
mod erasure_elsewhere;
mod examples;
mod faults;
mod identity;
mod isolation;
mod kafka;
mod life;
mod limits;
mod local;
mod manifests;
mod neighbour;
mod parked;
mod private;
mod restarts;
mod scenes;
mod scratch;
mod sealed;
mod secrets;
mod shared;
mod shell;
mod slots;
mod snapshots;
mod starts;
mod state;
mod storm;
mod streams;
mod tls;
mod tokens;
mod top;
mod topics;
mod uploads;
mod usage;
mod workers;
