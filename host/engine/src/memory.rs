//! What one instance may hold: linear memory, tables, and the number of each.
//!
//! Must never: let the sum of an instance's memories pass its limit, or forget that a growth was denied (a trap after it is
//! [`OutOfMemory`](bulkhead_core::fault::GuestFaultKind::OutOfMemory), not a bug of the stage's logic).

use crate::settings::{CORE_INSTANCES_MAX, MEMORIES_MAX, TABLE_ENTRIES_MAX, TABLES_MAX};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use wasmtime::{Error, ResourceLimiter, Result};

/// Bytes of linear memory of all instances that count here, those that run and those that wait.
#[derive(Debug, Clone, Default)]
pub struct GuestBytes(Arc<AtomicU64>);

impl GuestBytes {
    /// How many there are now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    fn add(&self, bytes: usize) {
        self.0.fetch_add(bytes as u64, Ordering::AcqRel);
    }

    fn sub(&self, bytes: usize) {
        self.0.fetch_sub(bytes as u64, Ordering::AcqRel);
    }
}

/// Counts what the memories and tables of one store hold.
#[derive(Debug)]
pub(crate) struct MemoryMeter {
    limit_bytes: usize,
    /// Where it counts with others.
    all: GuestBytes,
    bytes: usize,
    table_entries: usize,
    /// What the growth under way will have added, should it fail after all.
    pending: Pending,
    denied: bool,
}

#[derive(Debug, Default)]
struct Pending {
    bytes: usize,
    table_entries: usize,
}

impl MemoryMeter {
    /// For an instance that may hold this much linear memory.
    pub(crate) fn new(limit_bytes: u64, all: GuestBytes) -> Self {
        let limit_bytes = usize::try_from(limit_bytes).unwrap_or(usize::MAX);
        Self { limit_bytes, all, bytes: 0, table_entries: 0, pending: Pending::default(), denied: false }
    }

    /// Bytes of linear memory now.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether a growth was denied since [`MemoryMeter::forgive`].
    pub(crate) fn denied(&self) -> bool {
        self.denied
    }

    /// A guest that went on to its next record got over the denial.
    pub(crate) fn forgive(&mut self) {
        self.denied = false;
    }
}

impl Drop for MemoryMeter {
    fn drop(&mut self) {
        self.all.sub(self.bytes);
    }
}

impl ResourceLimiter for MemoryMeter {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> Result<bool> {
        let more = desired.saturating_sub(current);
        if self.bytes.saturating_add(more) > self.limit_bytes {
            self.denied = true;
            return Ok(false);
        }
        self.bytes += more;
        self.all.add(more);
        self.pending.bytes = more;
        Ok(true)
    }

    fn memory_grow_failed(&mut self, _error: Error) -> Result<()> {
        let less = std::mem::take(&mut self.pending.bytes);
        self.bytes -= less;
        self.all.sub(less);
        self.denied = true;
        Ok(())
    }

    fn table_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> Result<bool> {
        let more = desired.saturating_sub(current);
        if self.table_entries.saturating_add(more) > TABLE_ENTRIES_MAX {
            self.denied = true;
            return Ok(false);
        }
        self.table_entries += more;
        self.pending.table_entries = more;
        Ok(true)
    }

    fn table_grow_failed(&mut self, _error: Error) -> Result<()> {
        self.table_entries -= std::mem::take(&mut self.pending.table_entries);
        self.denied = true;
        Ok(())
    }

    fn instances(&self) -> usize {
        CORE_INSTANCES_MAX as usize
    }

    fn tables(&self) -> usize {
        TABLES_MAX as usize
    }

    fn memories(&self) -> usize {
        MEMORIES_MAX as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_on_the_sum_and_a_failed_growth_gives_back() {
        let all = GuestBytes::default();
        let mut meter = MemoryMeter::new(100, all.clone());
        assert!(meter.memory_growing(0, 60, None).unwrap());
        assert!(!meter.memory_growing(0, 60, None).unwrap(), "a second memory passed the limit of both");
        assert!(meter.denied());
        meter.forgive();
        assert!(meter.memory_growing(60, 100, None).unwrap());
        meter.memory_grow_failed(Error::msg("no")).unwrap();
        assert_eq!((meter.bytes(), all.get()), (60, 60));
        assert!(meter.denied());
        drop(meter);
        assert_eq!(all.get(), 0);
    }
}
