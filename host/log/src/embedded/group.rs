//! Consumer groups of the embedded log: who owns which partition, and who is to let go.
//!
//! A partition moves only after its owner has acknowledged, or has left: then nothing that the owner read can still commit.
//! Must never: let two members own a partition at once.

use super::assign::{TopicPartition, Wishes, balance};
use super::topics::Topic;
use crate::wake::Waker;
use parking_lot::{Mutex, MutexGuard};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// All groups that have members.
#[derive(Debug, Default)]
pub(super) struct Groups(Mutex<BTreeMap<String, Arc<Group>>>);

/// A group.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) name: String,
    state: Mutex<GroupState>,
}

/// What a group knows. Who holds its lock stops partitions from moving.
#[derive(Debug, Default)]
pub(super) struct GroupState {
    last_member: u64,
    last_epoch: u64,
    members: BTreeMap<u64, Member>,
    owners: BTreeMap<TopicPartition, Owner>,
}

#[derive(Debug)]
struct Member {
    topics: Vec<Arc<Topic>>,
    changes: VecDeque<Change>,
    waker: Arc<Waker>,
}

#[derive(Debug, Clone, Copy)]
struct Owner {
    member: u64,
    epoch: u64,
    revoking: bool,
}

/// What a member is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// It owns this now.
    Granted(TopicPartition, u64),
    /// It is to let go of this.
    Revoked(TopicPartition),
}

impl Groups {
    /// Joins; the member learns what it owns from [`Group::take_changes`].
    pub(super) fn join(&self, name: &str, topics: Vec<Arc<Topic>>, waker: &Arc<Waker>) -> (Arc<Group>, u64) {
        let mut groups = self.0.lock();
        let new = || Arc::new(Group { name: name.to_owned(), state: Mutex::default() });
        let group = Arc::clone(groups.entry(name.to_owned()).or_insert_with(new));
        let mut state = group.state.lock();
        state.last_member += 1;
        let member = state.last_member;
        state.members.insert(member, Member { topics, changes: VecDeque::new(), waker: Arc::clone(waker) });
        state.rebalance();
        drop(state);
        (group, member)
    }

    /// Leaves, with all that the member owns.
    pub(super) fn leave(&self, group: &Group, member: u64) {
        let mut groups = self.0.lock();
        let mut state = group.state.lock();
        state.members.remove(&member);
        state.owners.retain(|_, owner| owner.member != member);
        state.rebalance();
        if state.members.is_empty() {
            groups.remove(&group.name);
        }
    }

    /// Runs `work` if the group has no members, with none joining meanwhile.
    pub(super) fn while_empty<T>(&self, name: &str, work: impl FnOnce() -> T) -> Option<T> {
        let groups = self.0.lock();
        (!groups.contains_key(name)).then(work)
    }

    /// Takes a deleted topic from all who own partitions of it.
    pub(super) fn forget_topic(&self, topic: i64) {
        for group in self.0.lock().values() {
            let mut state = group.state.lock();
            state.owners.retain(|(t, _), _| *t != topic);
            state.members.values().for_each(|member| member.waker.wake());
        }
    }
}

impl Group {
    /// Stops partitions of this group from moving as long as the guard lives.
    pub(super) fn hold(&self) -> MutexGuard<'_, GroupState> {
        self.state.lock()
    }

    /// What happened to a member since it last asked.
    pub(super) fn take_changes(&self, member: u64) -> VecDeque<Change> {
        self.state.lock().members.get_mut(&member).map(|m| std::mem::take(&mut m.changes)).unwrap_or_default()
    }

    /// The member lets go of these.
    pub(super) fn acknowledge(&self, member: u64, partitions: impl IntoIterator<Item = TopicPartition>) {
        let mut state = self.state.lock();
        for partition in partitions {
            if state.owners.get(&partition).is_some_and(|owner| owner.member == member && owner.revoking) {
                state.owners.remove(&partition);
            }
        }
        state.rebalance();
    }
}

impl GroupState {
    /// Whether the member still owns the partition in this epoch. It does until it acknowledges a revoke.
    pub(super) fn owns(&self, member: u64, partition: TopicPartition, epoch: u64) -> bool {
        self.owners.get(&partition).is_some_and(|owner| owner.member == member && owner.epoch == epoch)
    }

    /// Grants what is free, and asks for what another should have.
    fn rebalance(&mut self) {
        let wishes: Wishes = self.members.iter().map(|(id, member)| (*id, member.wishes())).collect();
        let owners = self.owners.iter().map(|(partition, owner)| (*partition, owner.member));
        for (partition, member) in balance(&wishes, owners) {
            match self.owners.get_mut(&partition) {
                None => {
                    self.last_epoch += 1;
                    let epoch = self.last_epoch;
                    self.owners.insert(partition, Owner { member, epoch, revoking: false });
                    self.tell(member, Change::Granted(partition, epoch));
                }
                Some(owner) if owner.member != member && !owner.revoking => {
                    owner.revoking = true;
                    let from = owner.member;
                    self.tell(from, Change::Revoked(partition));
                }
                Some(_) => {}
            }
        }
    }

    fn tell(&mut self, member: u64, change: Change) {
        let member = self.members.get_mut(&member).expect("only members own and get partitions");
        member.changes.push_back(change);
        member.waker.wake();
    }
}

impl Member {
    fn wishes(&self) -> std::collections::BTreeSet<TopicPartition> {
        let live = self.topics.iter().filter(|topic| !topic.is_gone());
        live.flat_map(|topic| (0..topic.partitions()).map(|p| (topic.id, p))).collect()
    }
}
