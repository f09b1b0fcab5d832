//! A Kafka cluster for tests: one broker, or three, with SCRAM logins and ACLs.
//!
//! Must never: leave a process or a folder behind.

use crate::admin::{Acl, Admin};
use crate::broker::{Node, NodePlan, Plan};
use crate::folder::RunFolder;
use crate::{install, ports};
use anyhow::{Result, ensure};
use rdkafka::config::ClientConfig;
use std::sync::Mutex;
use std::time::Duration;

/// The super user of every test cluster.
pub const ADMIN_USER: &str = "admin";
/// Its password; for tests only.
pub const ADMIN_PASSWORD: &str = "admin-secret";

/// Another process may take a port between the look and the start; then everything is tried again with others.
const ATTEMPTS: u32 = 3;
const METADATA_TIMEOUT: Duration = Duration::from_secs(60);

/// A running cluster; it ends with this value, or with the process. Brokers are numbered from 1.
#[derive(Debug)]
pub struct Kafka {
    plan: Plan,
    nodes: Mutex<Vec<Slot>>,
    admin: Admin,
    // Last, so that the processes are gone when it is removed.
    _folder: RunFolder,
}

#[derive(Debug)]
struct Slot {
    node: Option<Node>,
    starts: u32,
}

impl Kafka {
    /// Installs Kafka where it is missing and starts a cluster of this many brokers.
    ///
    /// # Panics
    /// With the reason, where Kafka cannot be installed or does not start. A test then fails, as it should.
    pub fn start(brokers: usize) -> Self {
        Self::try_start(brokers).unwrap_or_else(|error| panic!("no Kafka to test against: {error:#}"))
    }

    /// As [`Kafka::start`].
    ///
    /// # Errors
    /// Where Kafka cannot be installed or does not start.
    pub fn try_start(brokers: usize) -> Result<Self> {
        Self::try_start_with(install::KAFKA, brokers, &[])
    }

    /// As [`Kafka::try_start`], with this release of Kafka.
    ///
    /// # Errors
    /// Where it cannot be installed or does not start.
    pub fn try_start_release(version: &str, brokers: usize) -> Result<Self> {
        Self::try_start_with(version, brokers, &[])
    }

    /// As [`Kafka::try_start`], with more settings of the brokers, such as `("log.retention.ms", "1000")`.
    ///
    /// # Errors
    /// As [`Kafka::try_start`].
    pub fn try_start_set(brokers: usize, settings: &[(&str, &str)]) -> Result<Self> {
        Self::try_start_with(install::KAFKA, brokers, settings)
    }

    fn try_start_with(version: &str, brokers: usize, settings: &[(&str, &str)]) -> Result<Self> {
        let settings: String = settings.iter().map(|(name, value)| format!("{name}={value}\n")).collect();
        ensure!((1..=9).contains(&brokers), "a cluster has 1 to 9 brokers");
        let libs = install::kafka(version)?;
        let mut attempt = 1;
        loop {
            match Self::attempt(&libs, brokers, &settings) {
                Err(error) if attempt < ATTEMPTS && format!("{error:#}").contains("Address already in use") => {
                    attempt += 1
                }
                result => return result,
            }
        }
    }

    fn attempt(libs: &std::path::Path, brokers: usize, settings: &str) -> Result<Self> {
        let folder = RunFolder::new()?;
        let ports = ports::free(2 * brokers);
        let nodes = (0..brokers)
            .map(|i| NodePlan {
                id: i32::try_from(i).expect("few brokers") + 1,
                port: ports[2 * i],
                controller_port: ports[2 * i + 1],
                directory_id: kafka_uuid(),
            })
            .collect();
        let plan = Plan {
            libs: libs.to_owned(),
            folder: folder.path().to_owned(),
            cluster_id: kafka_uuid(),
            nodes,
            admin: (ADMIN_USER, ADMIN_PASSWORD),
            settings: settings.to_owned(),
        };
        std::thread::scope(|scope| {
            let formats: Vec<_> = plan.nodes.iter().map(|node| scope.spawn(|| plan.format(node))).collect();
            formats.into_iter().try_for_each(|format| format.join().expect("formatting does not panic"))
        })?;
        let mut slots = Vec::new();
        for node in &plan.nodes {
            slots.push(Slot { node: Some(Node::spawn(&plan, node, 0)?), starts: 1 });
        }
        for slot in &mut slots {
            slot.node.as_mut().expect("just started").wait_started()?;
        }
        let admin = Admin::new(&client(&bootstrap(&plan), ADMIN_USER, ADMIN_PASSWORD))?;
        admin.wait_for_brokers(brokers, METADATA_TIMEOUT)?;
        Ok(Self { plan, nodes: Mutex::new(slots), admin, _folder: folder })
    }

    /// Where the files of all its brokers are.
    pub fn files(&self) -> &std::path::Path {
        &self.plan.folder
    }

    /// `host:port` of every broker, joined by commas.
    pub fn bootstrap(&self) -> String {
        bootstrap(&self.plan)
    }

    /// A client configuration that logs in as this user.
    pub fn client(&self, user: &str, password: &str) -> ClientConfig {
        client(&self.bootstrap(), user, password)
    }

    /// A client configuration that may do everything.
    pub fn admin_client(&self) -> ClientConfig {
        self.client(ADMIN_USER, ADMIN_PASSWORD)
    }

    /// Allows something. Do it before [`Kafka::add_user`], which waits until the brokers know.
    ///
    /// # Panics
    /// Where the cluster refuses.
    pub fn add_acl(&self, user: &str, acl: &Acl) {
        self.admin.create_acl(user, acl).expect("the ACL is created");
    }

    /// Takes back what [`Kafka::add_acl`] allowed.
    ///
    /// # Panics
    /// Where the cluster refuses, or it was not allowed.
    pub fn remove_acl(&self, user: &str, acl: &Acl) {
        self.admin.delete_acl(user, acl).expect("the ACL is deleted");
    }

    /// Sets one of a topic's settings, for instance `max.message.bytes`.
    ///
    /// # Panics
    /// Where the cluster refuses.
    pub fn set_topic_config(&self, topic: &str, name: &str, value: &str) {
        self.admin.set_topic_config(topic, name, value).expect("the setting is set");
    }

    /// Makes a user, and waits until it can log in at every running broker.
    ///
    /// # Panics
    /// Where that does not happen.
    pub fn add_user(&self, user: &str, password: &str) {
        self.admin.upsert_user(user, password).expect("the user is created");
        let running: Vec<usize> = {
            let nodes = self.lock();
            (0..nodes.len()).filter(|i| nodes[*i].node.is_some()).collect()
        };
        for i in running {
            let bootstrap = format!("127.0.0.1:{}", self.plan.nodes[i].port);
            Admin::wait_for_login(&client(&bootstrap, user, password), METADATA_TIMEOUT).expect("the user can log in");
        }
    }

    /// Makes a user with these permissions.
    ///
    /// # Panics
    /// Where the cluster refuses.
    pub fn add_user_with(&self, user: &str, password: &str, acls: &[Acl]) {
        for acl in acls {
            self.add_acl(user, acl);
        }
        self.add_user(user, password);
    }

    /// Makes a topic; `config` holds pairs such as `("max.message.bytes", "2000")`.
    ///
    /// # Panics
    /// Where the cluster refuses.
    pub fn create_topic(&self, topic: &str, partitions: i32, copies: i32, config: &[(&str, &str)]) {
        self.admin.create_topic(topic, partitions, copies, config).expect("the topic is created");
    }

    /// The broker that leads this partition, if any does.
    ///
    /// # Panics
    /// Where no broker answers.
    pub fn leader_of(&self, topic: &str, partition: i32) -> Option<usize> {
        self.admin.leader_of(topic, partition, METADATA_TIMEOUT).expect("a broker answers")
    }

    /// The process id of a broker that runs, for measurements.
    pub fn process_id(&self, broker: usize) -> Option<u32> {
        self.lock()[broker - 1].node.as_ref().map(Node::id)
    }

    /// Kills a broker at once, as a machine that loses its power.
    pub fn kill9(&self, broker: usize) {
        if let Some(node) = self.lock()[broker - 1].node.take() {
            node.kill9();
        }
    }

    /// Stops a broker in good order: it hands over what it leads.
    pub fn stop(&self, broker: usize) {
        if let Some(node) = self.lock()[broker - 1].node.take() {
            node.stop();
        }
    }

    /// Starts a broker that was stopped or killed, with its data, and waits until it serves.
    ///
    /// # Panics
    /// Where it does not start.
    pub fn start_broker(&self, broker: usize) {
        let mut nodes = self.lock();
        let slot = &mut nodes[broker - 1];
        if slot.node.is_some() {
            return;
        }
        let mut node = Node::spawn(&self.plan, &self.plan.nodes[broker - 1], slot.starts).expect("the broker starts");
        slot.starts += 1;
        node.wait_started().expect("the broker starts");
        slot.node = Some(node);
    }

    /// Stops a broker's process in its tracks: its connections stay open and nothing answers.
    pub fn freeze(&self, broker: usize) {
        if let Some(node) = &self.lock()[broker - 1].node {
            node.signal(libc::SIGSTOP);
        }
    }

    /// Undoes [`Kafka::freeze`].
    pub fn thaw(&self, broker: usize) {
        if let Some(node) = &self.lock()[broker - 1].node {
            node.signal(libc::SIGCONT);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Slot>> {
        self.nodes.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        // The data goes too, so nothing is worth an orderly end.
        for slot in self.lock().iter_mut() {
            if let Some(node) = slot.node.take() {
                node.kill9();
            }
        }
    }
}

fn bootstrap(plan: &Plan) -> String {
    plan.nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)).collect::<Vec<_>>().join(",")
}

fn client(bootstrap: &str, user: &str, password: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", bootstrap)
        .set("security.protocol", "SASL_PLAINTEXT")
        .set("sasl.mechanism", "SCRAM-SHA-512")
        .set("sasl.username", user)
        .set("sasl.password", password);
    config
}

/// 16 random bytes as Kafka writes its ids: base64 for URLs, without padding, not beginning with a dash.
fn kafka_uuid() -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    // The top six bits stay below the alphabet's dash.
    let value: u128 = rand::random::<u128>() >> 1;
    let mut text: String = (0..21).map(|i| char::from(ALPHABET[(value >> (122 - 6 * i)) as usize & 63])).collect();
    text.push(char::from(ALPHABET[(value as usize & 3) << 4]));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_22_characters_and_do_not_look_like_options() {
        for _ in 0..200 {
            let id = kafka_uuid();
            assert_eq!(id.len(), 22);
            assert!(!id.starts_with('-'), "{id}");
        }
    }
}
