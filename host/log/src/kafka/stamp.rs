//! The mark on positions that this host has committed: their metadata, which Kafka keeps beside them.
//!
//! Whoever may write a group's positions can move them: with any tool while the group has no member, and while it has one in a transaction
//! that names no member, which Kafka takes from everybody. Tools leave the metadata empty, and one that copies it leaves it with
//! another offset. So a position whose metadata is not made for it was moved from outside: going on from there would
//! double records, or pass over them.
//! It is a mark, not a seal: against who forges it on purpose stand the brokers' ACLs, as they do for the records themselves.
//! Must never: be left out where a position is committed.

use crate::LogError;
use bulkhead_core::code::Code;

/// What is kept beside this position.
pub(super) fn of(offset: i64) -> String {
    format!("bulkhead:{offset}")
}

/// Whether a position is one that this host committed.
///
/// # Errors
/// [`Code::PositionMoved`] where it is not.
pub(super) fn check(group: &str, found: &super::native::Partition) -> Result<(), LogError> {
    if found.metadata == of(found.offset).as_bytes() {
        return Ok(());
    }
    let text = format!(
        "partition {} of topic {}: the position {} of group {group} was not committed by Bulkhead",
        found.partition, found.topic, found.offset
    );
    Err(LogError::new(Code::PositionMoved, text))
}

#[cfg(test)]
mod tests {
    use super::super::native::Partitions;
    use super::*;

    #[test]
    fn only_what_was_stamped_for_its_offset_passes() {
        let mut list = Partitions::new();
        list.add("t", 0, 7);
        list.add_stamped("t", 1, 7);
        let [bare, mut stamped] = <[_; 2]>::try_from(list.read()).unwrap();
        assert_eq!(check("g", &bare).unwrap_err().code, Code::PositionMoved);
        assert_eq!(check("g", &stamped), Ok(()));
        stamped.offset = 5;
        assert_eq!(check("g", &stamped).unwrap_err().code, Code::PositionMoved);
    }
}
