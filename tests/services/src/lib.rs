//! Real services for tests: installs them where they are missing, starts them on loopback, and ends them with the test.
//!
//! A service that cannot be installed or started is a failure with a reason, never a skipped test.
//! Must never: listen on anything but 127.0.0.1, or outlive the process that started it.

mod admin;
mod broker;
mod browser;
mod folder;
mod install;
mod kafka;
mod keycloak;
mod ports;
mod postgres;
mod prometheus;
mod s3;
mod scratch;
mod spawner;

pub use admin::{Acl, CLUSTER, Operation, Resource};
pub use browser::Browser;
pub use install::KAFKA;
pub use install::kafka as install_kafka;
pub use install::keycloak as install_keycloak;
pub use install::postgres as postgres_programs;
pub use install::prometheus as install_prometheus;
pub use install::s3 as install_s3;
pub use kafka::{ADMIN_PASSWORD, ADMIN_USER, Kafka};
pub use keycloak::{KEYCLOAK_ADMIN, KEYCLOAK_PASSWORD, Keycloak};
pub use postgres::{POSTGRES_ADMIN, POSTGRES_OWNER, POSTGRES_PASSWORD, POSTGRES_SERVER, Postgres};
pub use prometheus::Prometheus;
pub use s3::{S3, S3_BUCKET, S3_PASSWORD, S3_USER};
pub use scratch::ScratchDatabase;
pub use spawner::spawn;
