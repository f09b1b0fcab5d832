//! Users, ACLs and topics of a test cluster, by librdkafka's admin interface.
//!
//! `rdkafka` wraps neither SCRAM credentials nor ACLs, so this file calls the C functions; a JVM for each of Kafka's own tools
//! would cost two seconds a call.
//! Must never: return before the cluster answered.

use anyhow::{Context, Result, bail, ensure};
use rdkafka::bindings as rd;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use std::ffi::{CStr, CString, c_char};
use std::fmt;
use std::ptr;
use std::thread::sleep;
use std::time::{Duration, Instant};

const CALL_TIMEOUT_MS: i32 = 60_000;
const RETRY: Duration = Duration::from_millis(50);
/// The least that Kafka takes; tests need no more.
const SCRAM_ITERATIONS: i32 = 4096;

/// Something that a user is allowed.
#[derive(Debug, Clone)]
pub struct Acl {
    /// The kind of thing.
    pub resource: Resource,
    /// Its name, or how its name begins.
    pub name: String,
    /// Whether `name` is how names begin.
    pub prefixed: bool,
    /// What may be done.
    pub operation: Operation,
}

impl Acl {
    /// Everything with all things whose name begins so.
    pub fn prefix(resource: Resource, prefix: &str) -> Self {
        Self { resource, name: prefix.to_owned(), prefixed: true, operation: Operation::All }
    }

    fn pattern(&self) -> rd::rd_kafka_ResourcePatternType_t {
        if self.prefixed {
            rd::rd_kafka_ResourcePatternType_t::RD_KAFKA_RESOURCE_PATTERN_PREFIXED
        } else {
            rd::rd_kafka_ResourcePatternType_t::RD_KAFKA_RESOURCE_PATTERN_LITERAL
        }
    }

    /// One operation with one thing.
    pub fn exact(resource: Resource, name: &str, operation: Operation) -> Self {
        Self { resource, name: name.to_owned(), prefixed: false, operation }
    }
}

/// A kind of thing that ACLs speak of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    /// Topics.
    Topic,
    /// Consumer groups.
    Group,
    /// Transactional ids.
    TransactionalId,
    /// The cluster; its name is [`CLUSTER`].
    Cluster,
}

/// The name of the cluster in ACLs.
pub const CLUSTER: &str = "kafka-cluster";

/// What may be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Everything.
    All,
    /// Read.
    Read,
    /// Write.
    Write,
    /// See that it is there.
    Describe,
    /// Make.
    Create,
    /// Delete.
    Delete,
    /// See its settings.
    DescribeConfigs,
}

/// A client that may do everything.
pub(crate) struct Admin(BaseConsumer);

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Admin")
    }
}

impl Admin {
    pub(crate) fn new(config: &ClientConfig) -> Result<Self> {
        Ok(Self(quiet(config).create().context("cannot make an admin client")?))
    }

    fn raw(&self) -> *mut rd::rd_kafka_t {
        self.0.client().native_ptr()
    }

    pub(crate) fn wait_for_brokers(&self, brokers: usize, timeout: Duration) -> Result<()> {
        let until = Instant::now() + timeout;
        loop {
            match self.0.fetch_metadata(None, timeout) {
                Ok(metadata) if metadata.brokers().len() == brokers => return Ok(()),
                _ if Instant::now() < until => sleep(RETRY),
                Ok(metadata) => bail!("{} of {brokers} brokers serve", metadata.brokers().len()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    pub(crate) fn wait_for_login(config: &ClientConfig, timeout: Duration) -> Result<()> {
        let until = Instant::now() + timeout;
        loop {
            // A client that was refused waits longer and longer; a new one asks at once.
            let client: BaseConsumer = quiet(config).create()?;
            match client.fetch_metadata(None, Duration::from_secs(2)) {
                Ok(_) => return Ok(()),
                Err(_) if Instant::now() < until => sleep(RETRY),
                Err(error) => return Err(error.into()),
            }
        }
    }

    pub(crate) fn leader_of(&self, topic: &str, partition: i32, timeout: Duration) -> Result<Option<usize>> {
        let metadata = self.0.fetch_metadata(Some(topic), timeout)?;
        let found = metadata.topics().iter().flat_map(|t| t.partitions()).find(|p| p.id() == partition);
        Ok(found.and_then(|p| usize::try_from(p.leader()).ok()).filter(|leader| *leader > 0))
    }

    pub(crate) fn create_topic(
        &self,
        topic: &str,
        partitions: i32,
        copies: i32,
        config: &[(&str, &str)],
    ) -> Result<()> {
        let name = CString::new(topic)?;
        let pairs: Vec<_> =
            config.iter().map(|(k, v)| Ok((CString::new(*k)?, CString::new(*v)?))).collect::<Result<_>>()?;
        // SAFETY: the strings live through the calls, which copy them; the new topic is destroyed once, after the call.
        unsafe {
            let new = rd::rd_kafka_NewTopic_new(name.as_ptr(), partitions, copies, ptr::null_mut(), 0);
            ensure!(!new.is_null(), "the topic is not valid");
            for (key, value) in &pairs {
                rd::rd_kafka_NewTopic_set_config(new, key.as_ptr(), value.as_ptr());
            }
            let mut list = [new];
            let result = self.call(
                |rk, queue| rd::rd_kafka_CreateTopics(rk, list.as_mut_ptr(), 1, ptr::null(), queue),
                |event| {
                    let mut count = 0;
                    let results = rd::rd_kafka_CreateTopics_result_topics(
                        rd::rd_kafka_event_CreateTopics_result(event),
                        &mut count,
                    );
                    let result = *results;
                    check(rd::rd_kafka_topic_result_error(result), rd::rd_kafka_topic_result_error_string(result))
                },
            );
            rd::rd_kafka_NewTopic_destroy(new);
            result
        }
    }

    pub(crate) fn create_acl(&self, user: &str, acl: &Acl) -> Result<()> {
        let name = CString::new(acl.name.as_str())?;
        let principal = CString::new(format!("User:{user}"))?;
        // SAFETY: the strings live through the call, which copies them; the binding is destroyed once, after the call.
        unsafe {
            let binding = rd::rd_kafka_AclBinding_new(
                acl.resource.native(),
                name.as_ptr(),
                acl.pattern(),
                principal.as_ptr(),
                c"*".as_ptr(),
                acl.operation.native(),
                rd::rd_kafka_AclPermissionType_t::RD_KAFKA_ACL_PERMISSION_TYPE_ALLOW,
                ptr::null_mut(),
                0,
            );
            ensure!(!binding.is_null(), "the ACL is not valid");
            let mut list = [binding];
            let result = self.call(
                |rk, queue| rd::rd_kafka_CreateAcls(rk, list.as_mut_ptr(), 1, ptr::null(), queue),
                |event| {
                    let mut count = 0;
                    let results =
                        rd::rd_kafka_CreateAcls_result_acls(rd::rd_kafka_event_CreateAcls_result(event), &mut count);
                    check_error(rd::rd_kafka_acl_result_error(*results))
                },
            );
            rd::rd_kafka_AclBinding_destroy(binding);
            result
        }
    }

    pub(crate) fn delete_acl(&self, user: &str, acl: &Acl) -> Result<()> {
        let name = CString::new(acl.name.as_str())?;
        let principal = CString::new(format!("User:{user}"))?;
        // SAFETY: the strings live through the call, which copies them; the filter is destroyed once, after the call.
        unsafe {
            let filter = rd::rd_kafka_AclBindingFilter_new(
                acl.resource.native(),
                name.as_ptr(),
                acl.pattern(),
                principal.as_ptr(),
                c"*".as_ptr(),
                acl.operation.native(),
                rd::rd_kafka_AclPermissionType_t::RD_KAFKA_ACL_PERMISSION_TYPE_ALLOW,
                ptr::null_mut(),
                0,
            );
            ensure!(!filter.is_null(), "the ACL is not valid");
            let mut list = [filter];
            let result = self.call(
                |rk, queue| rd::rd_kafka_DeleteAcls(rk, list.as_mut_ptr(), 1, ptr::null(), queue),
                |event| {
                    let mut count = 0;
                    let responses = rd::rd_kafka_DeleteAcls_result_responses(
                        rd::rd_kafka_event_DeleteAcls_result(event),
                        &mut count,
                    );
                    check_error(rd::rd_kafka_DeleteAcls_result_response_error(*responses))?;
                    let mut matched = 0;
                    rd::rd_kafka_DeleteAcls_result_response_matching_acls(*responses, &mut matched);
                    ensure!(matched > 0, "there is no such ACL");
                    Ok(())
                },
            );
            rd::rd_kafka_AclBinding_destroy(filter);
            result
        }
    }

    pub(crate) fn set_topic_config(&self, topic: &str, name: &str, value: &str) -> Result<()> {
        let (topic, name, value) = (CString::new(topic)?, CString::new(name)?, CString::new(value)?);
        // SAFETY: the strings live through the calls, which copy them; the resource is destroyed once, after the call.
        unsafe {
            let resource =
                rd::rd_kafka_ConfigResource_new(rd::rd_kafka_ResourceType_t::RD_KAFKA_RESOURCE_TOPIC, topic.as_ptr());
            ensure!(!resource.is_null(), "the topic is not valid");
            let refused = rd::rd_kafka_ConfigResource_add_incremental_config(
                resource,
                name.as_ptr(),
                rd::rd_kafka_AlterConfigOpType_t::RD_KAFKA_ALTER_CONFIG_OP_TYPE_SET,
                value.as_ptr(),
            );
            let mut list = [resource];
            let result = check_error(refused).and_then(|()| {
                self.call(
                    |rk, queue| rd::rd_kafka_IncrementalAlterConfigs(rk, list.as_mut_ptr(), 1, ptr::null(), queue),
                    |event| {
                        let mut count = 0;
                        let results = rd::rd_kafka_IncrementalAlterConfigs_result_resources(
                            rd::rd_kafka_event_IncrementalAlterConfigs_result(event),
                            &mut count,
                        );
                        check(
                            rd::rd_kafka_ConfigResource_error(*results),
                            rd::rd_kafka_ConfigResource_error_string(*results),
                        )
                    },
                )
            });
            rd::rd_kafka_ConfigResource_destroy(resource);
            result
        }
    }

    pub(crate) fn upsert_user(&self, user: &str, password: &str) -> Result<()> {
        let name = CString::new(user)?;
        // SAFETY: name and password live through the call, which copies them; the alteration is destroyed once, after the call.
        unsafe {
            let alteration = rd::rd_kafka_UserScramCredentialUpsertion_new(
                name.as_ptr(),
                rd::rd_kafka_ScramMechanism_t::RD_KAFKA_SCRAM_MECHANISM_SHA_512,
                SCRAM_ITERATIONS,
                password.as_ptr(),
                password.len(),
                ptr::null(),
                0,
            );
            ensure!(!alteration.is_null(), "the user is not valid");
            let mut list = [alteration];
            let result = self.call(
                |rk, queue| rd::rd_kafka_AlterUserScramCredentials(rk, list.as_mut_ptr(), 1, ptr::null(), queue),
                |event| {
                    let mut count = 0;
                    let result = rd::rd_kafka_event_AlterUserScramCredentials_result(event);
                    let responses = rd::rd_kafka_AlterUserScramCredentials_result_responses(result, &mut count);
                    check_error(rd::rd_kafka_AlterUserScramCredentials_result_response_error(*responses))
                },
            );
            rd::rd_kafka_UserScramCredentialAlteration_destroy(alteration);
            result
        }
    }

    /// Makes a request, waits for its answer, and hands it to `read`.
    fn call(
        &self,
        request: impl FnOnce(*mut rd::rd_kafka_t, *mut rd::rd_kafka_queue_t),
        read: impl FnOnce(*mut rd::rd_kafka_event_t) -> Result<()>,
    ) -> Result<()> {
        // SAFETY: queue and event are made here and destroyed here, in order; `read` sees only a whole event without an error.
        unsafe {
            let queue = rd::rd_kafka_queue_new(self.raw());
            request(self.raw(), queue);
            let event = rd::rd_kafka_queue_poll(queue, CALL_TIMEOUT_MS);
            let result = if event.is_null() {
                Err(anyhow::anyhow!("the cluster did not answer in time"))
            } else {
                check(rd::rd_kafka_event_error(event), rd::rd_kafka_event_error_string(event))
                    .and_then(|()| read(event))
            };
            if !event.is_null() {
                rd::rd_kafka_event_destroy(event);
            }
            rd::rd_kafka_queue_destroy(queue);
            result
        }
    }
}

impl Resource {
    fn native(self) -> rd::rd_kafka_ResourceType_t {
        match self {
            Self::Topic => rd::rd_kafka_ResourceType_t::RD_KAFKA_RESOURCE_TOPIC,
            Self::Group => rd::rd_kafka_ResourceType_t::RD_KAFKA_RESOURCE_GROUP,
            // What Kafka calls the cluster here, librdkafka calls a broker.
            Self::Cluster => rd::rd_kafka_ResourceType_t::RD_KAFKA_RESOURCE_BROKER,
            Self::TransactionalId => rd::rd_kafka_ResourceType_t::RD_KAFKA_RESOURCE_TRANSACTIONAL_ID,
        }
    }
}

impl Operation {
    fn native(self) -> rd::rd_kafka_AclOperation_t {
        match self {
            Self::All => rd::rd_kafka_AclOperation_t::RD_KAFKA_ACL_OPERATION_ALL,
            Self::Read => rd::rd_kafka_AclOperation_t::RD_KAFKA_ACL_OPERATION_READ,
            Self::Write => rd::rd_kafka_AclOperation_t::RD_KAFKA_ACL_OPERATION_WRITE,
            Self::Describe => rd::rd_kafka_AclOperation_t::RD_KAFKA_ACL_OPERATION_DESCRIBE,
            Self::Create => rd::rd_kafka_AclOperation_t::RD_KAFKA_ACL_OPERATION_CREATE,
            Self::Delete => rd::rd_kafka_AclOperation_t::RD_KAFKA_ACL_OPERATION_DELETE,
            Self::DescribeConfigs => rd::rd_kafka_AclOperation_t::RD_KAFKA_ACL_OPERATION_DESCRIBE_CONFIGS,
        }
    }
}

/// librdkafka's own log lines would drown a test's; what matters comes back as an error.
fn quiet(config: &ClientConfig) -> ClientConfig {
    let mut config = config.clone();
    config.set("log_level", "0");
    config
}

fn check(code: rd::rd_kafka_resp_err_t, words: *const c_char) -> Result<()> {
    if code == rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
        return Ok(());
    }
    bail!("{}", text(words).unwrap_or_else(|| format!("{code:?}")))
}

fn check_error(error: *const rd::rd_kafka_error_t) -> Result<()> {
    if error.is_null() {
        return Ok(());
    }
    // SAFETY: the error belongs to an event that is still there.
    unsafe { check(rd::rd_kafka_error_code(error), rd::rd_kafka_error_string(error)) }
}

fn text(words: *const c_char) -> Option<String> {
    if words.is_null() {
        return None;
    }
    // SAFETY: librdkafka gives terminated strings, which live as long as the event they came with.
    Some(unsafe { CStr::from_ptr(words) }.to_string_lossy().into_owned())
}
