//! The positions of many groups at once: each coordinator is asked for all of its groups in one request (`OffsetFetch` since Kafka 3.0), on a
//! connection of its own, since librdkafka would take a client for each group.
//!
//! Nothing is waited for: a position that an open transaction may change is told as it was before it.
//! Must never: say that a group has no position because its coordinator did not answer.

use super::Shared;
use super::admin::broker_addresses;
use super::config;
use super::login::Login;
use super::wire::Connection;
use crate::{GroupTopics, LogError, PositionsAt};
use bulkhead_core::code::Code;
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use kafka_protocol::messages::offset_fetch_response::OffsetFetchResponseGroup;
use kafka_protocol::messages::{
    ApiKey, FindCoordinatorRequest, FindCoordinatorResponse, GroupId, OffsetFetchRequest, OffsetFetchResponse,
};
use kafka_protocol::protocol::StrBytes;
use std::collections::{BTreeMap, HashMap};

/// The first versions that take many groups.
const COORDINATOR_VERSION: i16 = 4;
const FETCH_VERSION: i16 = 8;
/// Groups of one request: an answer of some hundred kilobytes.
const GROUPS_MAX: usize = 1_000;

/// Each group's positions in its topics; `None` of a group that could not be asked, as none can where this login is not known here.
pub(super) fn of(shared: &Shared, groups: &[GroupTopics]) -> Result<Vec<Option<PositionsAt>>, LogError> {
    let Some(login) = Login::of(&config::admin(&shared.config)) else { return Ok(vec![None; groups.len()]) };
    let mut found = Vec::with_capacity(groups.len());
    for groups in groups.chunks(GROUPS_MAX) {
        let mut told = HashMap::new();
        for ((host, port), names) in coordinators(shared, &login, groups)? {
            match ask(&login, &host, port, &names) {
                Ok(answer) => told.extend(answer.groups.into_iter().map(|group| (group.group_id.to_string(), group))),
                Err(error) => tracing::debug!(target: "kafka", %error, "a coordinator did not tell positions"),
            }
        }
        found.extend(groups.iter().map(|(group, topics)| {
            let names: Vec<_> = topics.iter().map(|topic| topic.as_str()).collect();
            told.get(group.as_str()).and_then(|told| read(told, &names))
        }));
    }
    Ok(found)
}

/// The groups of each coordinator, by its address. A group without one, for the moment, is left out.
fn coordinators(
    shared: &Shared,
    login: &Login,
    groups: &[GroupTopics],
) -> Result<BTreeMap<(String, u16), Vec<StrBytes>>, LogError> {
    let names = groups.iter().map(|(group, _)| StrBytes::from_string(group.as_str().to_owned())).collect();
    let request = FindCoordinatorRequest::default().with_coordinator_keys(names);
    let mut answer = Err(LogError::new(Code::LogUnavailable, "there is no broker"));
    for (host, port) in broker_addresses(&shared.admin)? {
        answer = Connection::open(login, &host, port)
            .and_then(|mut broker| broker.call(ApiKey::FindCoordinator, COORDINATOR_VERSION, &request));
        if answer.is_ok() {
            break;
        }
    }
    let answer: FindCoordinatorResponse = answer?;
    let mut coordinators: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for found in answer.coordinators.into_iter().filter(|found| found.error_code == 0) {
        let Ok(port) = u16::try_from(found.port) else { continue };
        coordinators.entry((found.host.to_string(), port)).or_default().push(found.key);
    }
    Ok(coordinators)
}

fn ask(login: &Login, host: &str, port: u16, groups: &[StrBytes]) -> Result<OffsetFetchResponse, LogError> {
    let all_topics =
        |name: &StrBytes| OffsetFetchRequestGroup::default().with_group_id(GroupId(name.clone())).with_topics(None);
    let request = OffsetFetchRequest::default().with_groups(groups.iter().map(all_topics).collect());
    Connection::open(login, host, port)?.call(ApiKey::OffsetFetch, FETCH_VERSION, &request)
}

/// The positions in these topics; `None` where the coordinator says that it does not know.
fn read(told: &OffsetFetchResponseGroup, topics: &[&str]) -> Option<PositionsAt> {
    let mut positions = vec![BTreeMap::new(); topics.len()];
    if told.error_code != 0 {
        return None;
    }
    for topic in &told.topics {
        let Some(place) = topics.iter().position(|name| **name == *topic.name.0) else { continue };
        for partition in &topic.partitions {
            if partition.error_code != 0 {
                return None;
            }
            if partition.committed_offset >= 0 {
                positions[place].insert(partition.partition_index, partition.committed_offset);
            }
        }
    }
    Some(positions)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kafka_protocol::messages::TopicName;
    use kafka_protocol::messages::offset_fetch_response::{OffsetFetchResponsePartitions, OffsetFetchResponseTopics};

    fn group(error: i16, partitions: &[(&'static str, i32, i64, i16)]) -> OffsetFetchResponseGroup {
        let topics = partitions.iter().map(|(name, index, offset, error)| {
            let partition = OffsetFetchResponsePartitions::default()
                .with_partition_index(*index)
                .with_committed_offset(*offset)
                .with_error_code(*error);
            OffsetFetchResponseTopics::default()
                .with_name(TopicName(StrBytes::from_static_str(name)))
                .with_partitions(vec![partition])
        });
        OffsetFetchResponseGroup::default().with_error_code(error).with_topics(topics.collect())
    }

    #[test]
    fn what_is_not_known_is_not_taken_for_no_position() {
        let told = [("acme.a", 0, 7, 0), ("acme.b", 1, 3, 0), ("acme.a", 1, -1, 0)];
        let expected = vec![BTreeMap::from([(1, 3)]), BTreeMap::from([(0, 7)])];
        assert_eq!(read(&group(0, &told), &["acme.b", "acme.a"]), Some(expected));
        assert_eq!(read(&group(16, &told), &["acme.b"]), None, "it is no longer the coordinator");
        assert_eq!(read(&group(0, &[("acme.b", 0, -1, 3)]), &["acme.b"]), None);
    }
}
