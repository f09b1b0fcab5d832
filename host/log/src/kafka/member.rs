//! What a writer needs of a group's member: who it is now, and what it still owns.
//!
//! Must never: let a position commit that the member read before it lost the partition.

use super::client::Client;
use super::native::Partitions;
use crate::{GroupPositions, Membership, Source};
use bulkhead_core::scope::{GroupId, PhysicalTopic};
use parking_lot::Mutex;
use rdkafka::bindings as rd;
use std::collections::HashMap;
use std::ptr::NonNull;
use std::sync::Arc;

/// A group's member, as shared with writers.
pub(super) struct Member {
    group: GroupId,
    topics: Vec<PhysicalTopic>,
    state: Mutex<State>,
}

struct State {
    /// `None` once the reader is closed.
    client: Option<Arc<Client>>,
    owned: HashMap<Source, u64>,
    last_epoch: u64,
}

impl Member {
    pub(super) fn new(group: GroupId, topics: Vec<PhysicalTopic>, client: Arc<Client>) -> Self {
        let state = Mutex::new(State { client: Some(client), owned: HashMap::new(), last_epoch: 0 });
        Self { group, topics, state }
    }

    /// Owns these from now on, each in an epoch of its own.
    pub(super) fn own(&self, sources: impl IntoIterator<Item = Source>) -> Vec<(Source, u64)> {
        let mut state = self.state.lock();
        let mut epochs = Vec::new();
        for source in sources {
            state.last_epoch += 1;
            let epoch = state.last_epoch;
            state.owned.insert(source, epoch);
            epochs.push((source, epoch));
        }
        epochs
    }

    /// Owns these no more.
    pub(super) fn disown(&self, sources: &[Source]) {
        let mut state = self.state.lock();
        state.owned.retain(|source, _| !sources.contains(source));
    }

    /// Owns nothing any more, and gives back the client.
    pub(super) fn close(&self) -> Option<Arc<Client>> {
        let mut state = self.state.lock();
        state.owned.clear();
        state.client.take()
    }

    /// Who the member is at this moment, if it may commit these positions.
    ///
    /// The order matters. The metadata is taken first: should the member be expelled afterwards, the broker knows that the metadata is
    /// old and refuses it. Should it have been expelled before, librdkafka has marked the assignment as lost, or the reader has
    /// given up these epochs, before the metadata could become that of a new membership.
    pub(super) fn metadata(&self, positions: &GroupPositions) -> Option<Metadata> {
        let client = self.state.lock().client.clone()?;
        let metadata = Metadata::of(&client)?;
        // SAFETY: the handle is live.
        let lost = unsafe { rd::rd_kafka_assignment_lost(client.rk()) } != 0;
        let state = self.state.lock();
        let owned = |(source, epoch, _): &(Source, u64, i64)| state.owned.get(source) == Some(epoch);
        (!lost && positions.positions.iter().all(owned)).then_some(metadata)
    }

    /// These positions as librdkafka wants them.
    pub(super) fn partitions(&self, positions: &GroupPositions) -> Partitions {
        let mut list = Partitions::new();
        for (source, _, position) in &positions.positions {
            list.add_stamped(self.topics[usize::from(source.topic)].as_str(), source.partition, *position);
        }
        list
    }
}

impl Membership for Member {
    fn group(&self) -> &GroupId {
        &self.group
    }

    fn topics(&self) -> &[PhysicalTopic] {
        &self.topics
    }

    fn owns(&self, source: Source, epoch: u64) -> bool {
        self.state.lock().owned.get(&source) == Some(&epoch)
    }

    fn as_any(&self) -> &(dyn std::any::Any + Send + Sync) {
        self
    }
}

/// A membership at one moment: group, member, generation.
pub(super) struct Metadata(NonNull<rd::rd_kafka_consumer_group_metadata_t>);

impl Metadata {
    /// `None` where the client is no member now. A broker checks nothing of a generation below 1, so such metadata must not be used.
    fn of(client: &Client) -> Option<Self> {
        // SAFETY: the handle is live; the metadata given is ours.
        unsafe {
            let metadata = Self(NonNull::new(rd::rd_kafka_consumer_group_metadata(client.rk()))?);
            (rd::rd_kafka_consumer_group_metadata_generation_id(metadata.as_ptr()) > 0).then_some(metadata)
        }
    }

    pub(super) fn as_ptr(&self) -> *mut rd::rd_kafka_consumer_group_metadata_t {
        self.0.as_ptr()
    }
}

impl Drop for Metadata {
    fn drop(&mut self) {
        // SAFETY: ours, and used no more.
        unsafe { rd::rd_kafka_consumer_group_metadata_destroy(self.0.as_ptr()) };
    }
}
