//! Which member of a group should own which partition.
//!
//! Owners keep what they have as long as that is fair: as equal shares as the members' subscriptions allow.
//! Must never: give a partition to a member that did not subscribe to its topic.

use std::collections::{BTreeMap, BTreeSet};

/// A topic's number and a partition.
pub(super) type TopicPartition = (i64, i32);

/// The partitions that each member may have, by member.
pub(super) type Wishes = BTreeMap<u64, BTreeSet<TopicPartition>>;

/// The owner that each partition should have, from the owners that they have. Partitions that nobody wants are left out.
pub(super) fn balance(
    wishes: &Wishes,
    owners: impl IntoIterator<Item = (TopicPartition, u64)>,
) -> BTreeMap<TopicPartition, u64> {
    let mut shares: BTreeMap<u64, BTreeSet<TopicPartition>> = wishes.keys().map(|m| (*m, BTreeSet::new())).collect();
    let mut free: BTreeSet<TopicPartition> = wishes.values().flatten().copied().collect();
    for (partition, owner) in owners {
        if wishes.get(&owner).is_some_and(|wanted| wanted.contains(&partition)) && free.remove(&partition) {
            shares.entry(owner).or_default().insert(partition);
        }
    }
    for partition in free {
        let least = eligible(wishes, partition).min_by_key(|m| (shares[m].len(), *m));
        let member = least.expect("a partition is free only where somebody wants it");
        shares.entry(member).or_default().insert(partition);
    }
    // Each move lowers the sum of squares of the shares, so this ends.
    while let Some((partition, from, to)) = unfair(wishes, &shares) {
        shares.entry(from).or_default().remove(&partition);
        shares.entry(to).or_default().insert(partition);
    }
    shares.into_iter().flat_map(|(member, share)| share.into_iter().map(move |p| (p, member))).collect()
}

fn eligible(wishes: &Wishes, partition: TopicPartition) -> impl Iterator<Item = u64> {
    wishes.iter().filter(move |(_, wanted)| wanted.contains(&partition)).map(|(member, _)| *member)
}

/// A partition whose owner has at least two more than another member that could have it.
fn unfair(wishes: &Wishes, shares: &BTreeMap<u64, BTreeSet<TopicPartition>>) -> Option<(TopicPartition, u64, u64)> {
    for (owner, share) in shares {
        for partition in share.iter().rev() {
            let least = eligible(wishes, *partition).min_by_key(|m| (shares[m].len(), *m))?;
            if shares[&least].len() + 1 < share.len() {
                return Some((*partition, *owner, least));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partitions(topic: i64, count: i32) -> BTreeSet<TopicPartition> {
        (0..count).map(|p| (topic, p)).collect()
    }

    fn count(of: &BTreeMap<TopicPartition, u64>, member: u64) -> usize {
        of.values().filter(|m| **m == member).count()
    }

    #[test]
    fn shares_are_equal_and_a_newcomer_takes_as_few_as_needed() {
        let one = Wishes::from([(1, partitions(1, 5))]);
        let alone = balance(&one, []);
        assert_eq!(count(&alone, 1), 5);
        let two = Wishes::from([(1, partitions(1, 5)), (2, partitions(1, 5))]);
        let both = balance(&two, alone.clone());
        assert_eq!((count(&both, 1), count(&both, 2)), (3, 2));
        assert!(both.iter().filter(|(_, m)| **m == 1).all(|(p, _)| alone[p] == 1));
        assert_eq!(balance(&two, both.clone()), both, "nothing moves without a reason");
    }

    #[test]
    fn members_get_only_what_they_asked_for() {
        let wishes = Wishes::from([(1, partitions(1, 4)), (2, partitions(2, 1))]);
        let owners = balance(&wishes, [((2, 0), 1), ((9, 9), 2)]);
        assert_eq!(count(&owners, 1), 4);
        assert_eq!(owners[&(2, 0)], 2);
        assert_eq!(owners.len(), 5, "a partition that nobody wants has no owner");
    }
}
