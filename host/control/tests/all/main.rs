//! Control over a real socket with real metadata, keys and object store; only the two ports are small stand-ins in memory,
//! which is what ports are for.
//!
//! One binary, a module for each thing that a user would miss.

mod audit;
mod cleanup;
mod client;
mod conditions;
mod dead_letters;
mod description;
mod harness;
mod logs;
mod pipelines;
mod ports;
mod problems;
mod projects;
mod records;
mod repeats;
mod restart;
mod revisions;
mod starts;
mod streams;
mod tags;
mod tenants;
mod tokens;
mod uploads;
mod walls;
mod workers;
