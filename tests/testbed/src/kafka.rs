//! Kafka as Bulkhead is given it: a login of its own with the permissions that it needs, and no more.
//!
//! Must never: make Bulkhead a super user, or put a password on a command line.

use anyhow::{Context, Result};
use bulkhead_test_services::{Acl, CLUSTER, Kafka, Operation, Resource};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// How a process logs in.
#[derive(Debug, Clone)]
pub struct KafkaLogin {
    /// `host:port` of brokers, joined by commas.
    pub bootstrap: String,
    /// The user.
    pub user: String,
    /// A file that holds its password.
    pub password_file: PathBuf,
    /// `consumer` or `classic`.
    pub protocol: String,
}

impl KafkaLogin {
    /// Makes the user `bulkhead` on this cluster, with [`bulkhead_acls`] for these tenants, and a file with its password in
    /// `folder`.
    ///
    /// # Errors
    /// Where the file cannot be written.
    ///
    /// # Panics
    /// Where the cluster refuses.
    pub fn for_bulkhead(kafka: &Kafka, tenants: &[&str], folder: &Path) -> Result<Self> {
        const USER: &str = "bulkhead";
        const PASSWORD: &str = "bulkhead-secret";
        kafka.add_user_with(USER, PASSWORD, &bulkhead_acls(tenants));
        let password_file = folder.join("kafka-password");
        let mut file =
            std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&password_file)?;
        file.write_all(PASSWORD.as_bytes()).with_context(|| format!("writing {}", password_file.display()))?;
        Ok(Self { bootstrap: kafka.bootstrap(), user: USER.into(), password_file, protocol: "consumer".into() })
    }

    /// The same with another group protocol: `consumer` or `classic`.
    pub fn protocol(mut self, protocol: &str) -> Self {
        protocol.clone_into(&mut self.protocol);
        self
    }

    pub(crate) fn arguments(&self) -> Vec<String> {
        let file = self.password_file.display().to_string();
        [
            ["--log", "kafka"],
            ["--kafka-bootstrap", &self.bootstrap],
            ["--kafka-user", &self.user],
            ["--kafka-password-file", &file],
            ["--kafka-group-protocol", &self.protocol],
        ]
        .concat()
        .into_iter()
        .map(str::to_owned)
        .collect()
    }
}

/// What Bulkhead's user must be allowed for these tenants: their topics, those of their stages' state, of their bucket outputs and of their usage, its own
/// groups and transactional ids, the topic of workers' slots, and what topics take.
pub fn bulkhead_acls(tenants: &[&str]) -> Vec<Acl> {
    let prefixed = |resource, name: &str, operation| Acl { resource, name: name.to_owned(), prefixed: true, operation };
    let mut acls = Vec::new();
    let hidden = ["", "_bulkhead.state.", "_bulkhead.rows.", "_bulkhead.manifests.", "_bulkhead.usage."];
    for prefix in tenants.iter().flat_map(|tenant| hidden.map(|kind| format!("{kind}{tenant}."))) {
        for operation in
            [Operation::Read, Operation::Write, Operation::Create, Operation::Delete, Operation::DescribeConfigs]
        {
            acls.push(prefixed(Resource::Topic, &prefix, operation));
        }
    }
    for operation in [Operation::Read, Operation::Delete] {
        acls.push(prefixed(Resource::Group, "_bulkhead.", operation));
    }
    for operation in [Operation::Read, Operation::Create] {
        acls.push(Acl::exact(Resource::Topic, "_bulkhead.slots", operation));
    }
    acls.push(prefixed(Resource::TransactionalId, "_bulkhead.", Operation::Write));
    acls.push(Acl::exact(Resource::Cluster, CLUSTER, Operation::Describe));
    acls
}
