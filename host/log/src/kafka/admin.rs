//! Topics and groups, as the cluster's admin interface shows them.
//!
//! Must never: say that a topic is not there because a broker did not answer.

use super::client::Client;
use super::errors::GONE;
use super::native::{ErrorCode, NativeError, NativeEvent, c_name, code, text};
use crate::{Keep, LogError, TopicInfo, TopicSpec};
use bulkhead_core::code::Code;
use rdkafka::bindings as rd;
use rdkafka::bindings::rd_kafka_resp_err_t as E;
use std::collections::BTreeSet;
use std::ffi::{CStr, CString, c_char};
use std::ptr;
use std::time::{Duration, Instant};

/// How long an admin request may take.
pub(super) const ADMIN_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the broker that the client takes for the controller may take to describe topics before it is looked for anew.
const DESCRIBE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long all brokers may take to learn that a topic is there, or is not.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(30);
const SETTLE_POLL: Duration = Duration::from_millis(20);
/// Kafka's own default, for a user who may not see a topic's settings.
const DEFAULT_MAX_RECORD_BYTES: usize = 1_048_588;

// As in librdkafka's header, with codes as numbers.
unsafe extern "C" {
    fn rd_kafka_topic_result_error(result: *const rd::rd_kafka_topic_result_t) -> ErrorCode;
    fn rd_kafka_ConfigResource_error(resource: *const rd::rd_kafka_ConfigResource_t) -> ErrorCode;
}

/// A topic's partitions as the brokers see them now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) partitions: i32,
    pub(super) leaderless: BTreeSet<i32>,
}

/// What a topic is made with, whatever the brokers' defaults are. Records may have timestamps of long ago, by which Kafka would roll
/// segments without end and delete them at once; so where nobody asks for them, it puts its own. Deleted records take place until
/// their segment is full.
fn settings(keep: Keep) -> &'static [(&'static CStr, &'static CStr)] {
    match keep {
        Keep::Default => &[],
        Keep::Latest => &[(c"cleanup.policy", c"compact")],
        Keep::UntilDeleted => &[
            (c"cleanup.policy", c"delete"),
            (c"retention.ms", c"-1"),
            (c"retention.bytes", c"-1"),
            (c"message.timestamp.type", c"LogAppendTime"),
            (c"segment.bytes", c"67108864"),
        ],
    }
}

/// Makes a topic, and waits until it can be used.
pub(super) fn create_topic(client: &Client, topic: &str, spec: &TopicSpec) -> Result<(), LogError> {
    let name = c_name(topic);
    let limit = spec.max_record_bytes.map(|bytes| c_name(&bytes.to_string()));
    let doing = format!("creating topic {topic}");
    // SAFETY: the new topic is ours and destroyed once, after the request has copied it; strings live until then.
    let event = unsafe {
        let new =
            rd::rd_kafka_NewTopic_new(name.as_ptr(), spec.partitions, spec.replicas.unwrap_or(-1), ptr::null_mut(), 0);
        if new.is_null() {
            return Err(LogError::new(Code::BadRequest, format!("{doing}: partitions or replicas out of range")));
        }
        if let Some(limit) = &limit {
            rd::rd_kafka_NewTopic_set_config(new, c"max.message.bytes".as_ptr(), limit.as_ptr());
        }
        for (setting, value) in settings(spec.keep) {
            rd::rd_kafka_NewTopic_set_config(new, setting.as_ptr(), value.as_ptr());
        }
        let api = rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_CREATETOPICS;
        let event = client.request(&doing, api, ADMIN_TIMEOUT, |rk, options, queue| {
            let mut list = [new];
            rd::rd_kafka_CreateTopics(rk, list.as_mut_ptr(), 1, options, queue);
        });
        rd::rd_kafka_NewTopic_destroy(new);
        event?
    };
    // SAFETY: a successful answer to this request holds this result.
    topic_result(&event, client, &doing, |event, count| unsafe {
        rd::rd_kafka_CreateTopics_result_topics(rd::rd_kafka_event_CreateTopics_result(event), count)
    })?;
    settle(client, topic, |shape| {
        shape.is_some_and(|shape| shape.partitions == spec.partitions && shape.leaderless.is_empty())
    })
}

/// Deletes a topic, and waits until it is gone.
pub(super) fn delete_topic(client: &Client, topic: &str) -> Result<(), LogError> {
    let name = c_name(topic);
    let doing = format!("deleting topic {topic}");
    // SAFETY: the deletion is ours and destroyed once, after the request has copied it.
    let event = unsafe {
        let delete = rd::rd_kafka_DeleteTopic_new(name.as_ptr());
        let api = rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DELETETOPICS;
        let event = client.request(&doing, api, ADMIN_TIMEOUT, |rk, options, queue| {
            let mut list = [delete];
            rd::rd_kafka_DeleteTopics(rk, list.as_mut_ptr(), 1, options, queue);
        });
        rd::rd_kafka_DeleteTopic_destroy(delete);
        event?
    };
    // SAFETY: a successful answer to this request holds this result.
    let result = topic_result(&event, client, &doing, |event, count| unsafe {
        rd::rd_kafka_DeleteTopics_result_topics(rd::rd_kafka_event_DeleteTopics_result(event), count)
    });
    match result {
        Err(error) if error.code == Code::TopicGone => Ok(()),
        Err(error) => Err(error),
        Ok(()) => settle(client, topic, |shape| shape.is_none()),
    }
}

fn topic_result(
    event: &NativeEvent,
    client: &Client,
    doing: &str,
    results: impl FnOnce(*mut rd::rd_kafka_event_t, *mut usize) -> *mut *const rd::rd_kafka_topic_result_t,
) -> Result<(), LogError> {
    let mut count = 0;
    let results = results(event.as_ptr(), &mut count);
    if count == 0 {
        return Ok(());
    }
    // SAFETY: there is at least one result, which lives as long as the event.
    let (found, words) =
        unsafe { (rd_kafka_topic_result_error(*results), rd::rd_kafka_topic_result_error_string(*results)) };
    if found == 0 {
        return Ok(());
    }
    let error = NativeError::of(found);
    let words = text(words);
    let error = if words.is_empty() { error } else { NativeError { text: words, ..error } };
    Err(client.error(doing, &error))
}

/// Waits until every broker shows a topic so. A cluster spreads its metadata within moments, but the next request may go to the
/// broker that learns of it last.
fn settle(client: &Client, topic: &str, done: impl Fn(Option<&Shape>) -> bool) -> Result<(), LogError> {
    let until = Instant::now() + SETTLE_TIMEOUT;
    let mut waiting = brokers(client)?;
    loop {
        // A broker that does not answer serves nobody.
        waiting.retain(|broker| {
            shapes_at(client, &[topic], Some(*broker), ADMIN_TIMEOUT).is_ok_and(|shapes| !done(shapes[0].as_ref()))
        });
        if waiting.is_empty() {
            return Ok(());
        }
        if Instant::now() >= until {
            let text = format!("topic {topic}: the change was accepted, but is not in effect after {SETTLE_TIMEOUT:?}");
            return Err(LogError::new(Code::LogUnavailable, text));
        }
        std::thread::sleep(SETTLE_POLL);
    }
}

/// The ids of all brokers.
fn brokers(client: &Client) -> Result<Vec<i32>, LogError> {
    each_broker(client, |broker| Some(broker.id))
}

/// Where each broker says that it is reached.
pub(super) fn broker_addresses(client: &Client) -> Result<Vec<(String, u16)>, LogError> {
    each_broker(client, |broker| Some((text(broker.host), u16::try_from(broker.port).ok()?)))
}

fn each_broker<T>(
    client: &Client,
    look: impl Fn(&rd::rd_kafka_metadata_broker) -> Option<T>,
) -> Result<Vec<T>, LogError> {
    let mut metadata = ptr::null();
    // SAFETY: on success the metadata is ours, is read while live, and is destroyed once.
    unsafe {
        let failed =
            rd::rd_kafka_metadata(client.rk(), 0, ptr::null_mut(), &mut metadata, super::native::millis(ADMIN_TIMEOUT));
        client.serve(Duration::ZERO);
        NativeError::check(code(failed)).map_err(|error| client.error("listing brokers", &error))?;
        let count = usize::try_from((*metadata).broker_cnt).unwrap_or(0);
        let found = (0..count).filter_map(|i| look(&*(*metadata).brokers.add(i))).collect();
        rd::rd_kafka_metadata_destroy(metadata);
        Ok(found)
    }
}

/// The shape of each topic; `None` where there is none.
pub(super) fn shapes(client: &Client, topics: &[&str]) -> Result<Vec<Option<Shape>>, LogError> {
    match shapes_at(client, topics, None, DESCRIBE_TIMEOUT) {
        Err(error) if error.code == Code::LogUnavailable => {
            // The client waits for the controller that it knows, though it be gone; what a broker says of the cluster names another.
            brokers(client)?;
            shapes_at(client, topics, None, ADMIN_TIMEOUT)
        }
        shapes => shapes,
    }
}

/// [`shapes`] as one broker sees them.
fn shapes_at(
    client: &Client,
    topics: &[&str],
    broker: Option<i32>,
    timeout: Duration,
) -> Result<Vec<Option<Shape>>, LogError> {
    if topics.is_empty() {
        return Ok(Vec::new());
    }
    let names: Vec<CString> = topics.iter().map(|topic| c_name(topic)).collect();
    let mut pointers: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
    // SAFETY: the collection is ours and destroyed once, after the request has copied it; names live until then.
    let event = unsafe {
        let collection = rd::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len());
        let api = rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS;
        let event = client.request("describing topics", api, timeout, |rk, options, queue| {
            if let Some(broker) = broker {
                rd::rd_kafka_AdminOptions_set_broker(options, broker, ptr::null_mut(), 0);
            }
            rd::rd_kafka_DescribeTopics(rk, collection, options, queue);
        });
        rd::rd_kafka_TopicCollection_destroy(collection);
        event?
    };
    let mut shapes = vec![None; topics.len()];
    // SAFETY: a successful answer to this request holds this result, which lives as long as the event.
    unsafe {
        let mut count = 0;
        let result = rd::rd_kafka_event_DescribeTopics_result(event.as_ptr());
        let found = rd::rd_kafka_DescribeTopics_result_topics(result, &mut count);
        for i in 0..count {
            let topic = *found.add(i);
            let name = text(rd::rd_kafka_TopicDescription_name(topic));
            let shape = match NativeError::look(rd::rd_kafka_TopicDescription_error(topic)) {
                None => Some(read_shape(topic)),
                Some(error) if error.code == 0 => Some(read_shape(topic)),
                Some(error) if GONE.contains(&error.code) => None,
                Some(error) => return Err(client.error(&format!("describing topic {name}"), &error)),
            };
            for place in (0..topics.len()).filter(|place| topics[*place] == name) {
                shapes[place] = shape.clone();
            }
        }
    }
    Ok(shapes)
}

unsafe fn read_shape(topic: *const rd::rd_kafka_TopicDescription_t) -> Shape {
    let mut leaderless = BTreeSet::new();
    let mut count = 0;
    // SAFETY: the caller's description is live, and so are its parts.
    unsafe {
        let partitions = rd::rd_kafka_TopicDescription_partitions(topic, &mut count);
        for i in 0..count {
            let partition = *partitions.add(i);
            let leader = rd::rd_kafka_TopicPartitionInfo_leader(partition);
            if leader.is_null() || rd::rd_kafka_Node_id(leader) < 0 {
                leaderless.insert(rd::rd_kafka_TopicPartitionInfo_partition(partition));
            }
        }
    }
    Shape { partitions: i32::try_from(count).unwrap_or(i32::MAX), leaderless }
}

/// What a topic is like; `None` where there is none.
pub(super) fn describe(client: &Client, topic: &str) -> Result<Option<TopicInfo>, LogError> {
    let Some(shape) = shapes(client, &[topic])?.remove(0) else { return Ok(None) };
    let Some(max_record_bytes) = max_record_bytes(client, topic)? else { return Ok(None) };
    Ok(Some(TopicInfo { partitions: shape.partitions, max_record_bytes, leaderless: shape.leaderless }))
}

/// The topic's `max.message.bytes`; `None` where the topic is gone.
fn max_record_bytes(client: &Client, topic: &str) -> Result<Option<usize>, LogError> {
    let name = c_name(topic);
    let doing = format!("reading the settings of topic {topic}");
    // SAFETY: the resource is ours and destroyed once, after the request has copied it; the result lives as long as the event.
    unsafe {
        let resource =
            rd::rd_kafka_ConfigResource_new(rd::rd_kafka_ResourceType_t::RD_KAFKA_RESOURCE_TOPIC, name.as_ptr());
        let api = rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS;
        let event = client.request(&doing, api, ADMIN_TIMEOUT, |rk, options, queue| {
            let mut list = [resource];
            rd::rd_kafka_DescribeConfigs(rk, list.as_mut_ptr(), 1, options, queue);
        });
        rd::rd_kafka_ConfigResource_destroy(resource);
        let event = event?;
        let mut count = 0;
        let result = rd::rd_kafka_event_DescribeConfigs_result(event.as_ptr());
        let found = rd::rd_kafka_DescribeConfigs_result_resources(result, &mut count);
        if count == 0 {
            return Ok(None);
        }
        match rd_kafka_ConfigResource_error(*found) {
            0 => Ok(Some(read_limit(*found))),
            denied if denied == code(E::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED) => {
                Ok(Some(DEFAULT_MAX_RECORD_BYTES))
            }
            gone if GONE.contains(&gone) => Ok(None),
            other => Err(client.error(&doing, &NativeError::of(other))),
        }
    }
}

unsafe fn read_limit(resource: *const rd::rd_kafka_ConfigResource_t) -> usize {
    let mut count = 0;
    // SAFETY: the caller's resource is live, and so are its parts.
    unsafe {
        let entries = rd::rd_kafka_ConfigResource_configs(resource, &mut count);
        for i in 0..count {
            let entry = *entries.add(i);
            if text(rd::rd_kafka_ConfigEntry_name(entry)) == "max.message.bytes" {
                return text(rd::rd_kafka_ConfigEntry_value(entry)).parse().unwrap_or(DEFAULT_MAX_RECORD_BYTES);
            }
        }
    }
    DEFAULT_MAX_RECORD_BYTES
}

/// The names of all topics that this user may see and that begin so, sorted.
pub(super) fn topics(client: &Client, prefix: &str) -> Result<Vec<String>, LogError> {
    let mut metadata = ptr::null();
    // SAFETY: on success the metadata is ours, is read while live, and is destroyed once.
    unsafe {
        let failed =
            rd::rd_kafka_metadata(client.rk(), 1, ptr::null_mut(), &mut metadata, super::native::millis(ADMIN_TIMEOUT));
        client.serve(Duration::ZERO);
        NativeError::check(code(failed)).map_err(|error| client.error("listing topics", &error))?;
        let count = usize::try_from((*metadata).topic_cnt).unwrap_or(0);
        let names = (0..count).map(|i| text((*(*metadata).topics.add(i)).topic));
        let mut names: Vec<String> = names.filter(|name| name.starts_with(prefix)).collect();
        rd::rd_kafka_metadata_destroy(metadata);
        names.sort();
        Ok(names)
    }
}

/// The names of all groups that this user may see and that begin so, sorted.
pub(super) fn groups(client: &Client, prefix: &str) -> Result<Vec<String>, LogError> {
    let mut list = ptr::null();
    // SAFETY: on success the list is ours, is read while live, and is destroyed once.
    unsafe {
        let failed =
            rd::rd_kafka_list_groups(client.rk(), ptr::null(), &mut list, super::native::millis(ADMIN_TIMEOUT));
        client.serve(Duration::ZERO);
        NativeError::check(code(failed)).map_err(|error| client.error("listing groups", &error))?;
        let count = usize::try_from((*list).group_cnt).unwrap_or(0);
        let names = (0..count).map(|i| text((*(*list).groups.add(i)).group));
        let mut names: Vec<String> = names.filter(|name| name.starts_with(prefix)).collect();
        rd::rd_kafka_group_list_destroy(list);
        names.sort();
        Ok(names)
    }
}

/// Forgets a group.
pub(super) fn delete_group(client: &Client, group: &str) -> Result<(), LogError> {
    let name = c_name(group);
    let doing = format!("deleting group {group}");
    // SAFETY: the deletion is ours and destroyed once, after the request has copied it; the result lives as long as the event.
    let result = unsafe {
        let delete = rd::rd_kafka_DeleteGroup_new(name.as_ptr());
        let api = rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DELETEGROUPS;
        let event = client.request(&doing, api, ADMIN_TIMEOUT, |rk, options, queue| {
            let mut list = [delete];
            rd::rd_kafka_DeleteGroups(rk, list.as_mut_ptr(), 1, options, queue);
        });
        rd::rd_kafka_DeleteGroup_destroy(delete);
        let event = event?;
        let mut count = 0;
        let result = rd::rd_kafka_event_DeleteGroups_result(event.as_ptr());
        let groups = rd::rd_kafka_DeleteGroups_result_groups(result, &mut count);
        if count == 0 { None } else { NativeError::look(rd::rd_kafka_group_result_error(*groups)) }
    };
    match result {
        None => Ok(()),
        Some(error) if error.code == 0 || error.code == code(E::RD_KAFKA_RESP_ERR_GROUP_ID_NOT_FOUND) => Ok(()),
        Some(error) => Err(client.error(&doing, &error)),
    }
}
