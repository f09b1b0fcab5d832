//! Buckets on a real folder and a real S3 server, and objects read back by other readers than the writers.

mod formats;
mod links;
mod server_errors;
mod stores;
mod support;
