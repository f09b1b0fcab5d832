//! Room for a tenant's guests: how many instances there may be, and how much memory they may use together.
//!
//! An instance takes its place before it starts and gives it back when it is dropped. It counts with as much memory as its stage may use, so
//! that no guest fails because others have grown. Whoever finds no room drops instances of the same tenant that wait for work, then waits
//! for one to end; a partition holds one place at a time, so none waits for another in a circle.
//! Must never: let an idle instance keep a place from one that has work, or count a place of one that is gone.

use bulkhead_engine::Instance;
use parking_lot::Mutex;
use std::pin::pin;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// See the module's documentation.
#[derive(Default)]
pub(crate) struct Room {
    taken: Mutex<Taken>,
    freed: Notify,
    /// Instances that wait for work, of each stage of the tenant.
    idle: Mutex<Vec<Weak<Idle>>>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Taken {
    instances: u64,
    bytes: u64,
    instances_max: u64,
    bytes_max: u64,
}

impl Taken {
    /// Which limit leaves no room for one of so many bytes. One alone always has room: a limit that was lowered since must not stop a
    /// pipeline for ever.
    fn full(&self, bytes: u64) -> Option<Full> {
        match () {
            () if self.instances == 0 => None,
            () if self.instances >= self.instances_max => Some(Full::Instances),
            () if self.bytes + bytes > self.bytes_max => Some(Full::Memory),
            () => None,
        }
    }
}

/// What there is no more of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    Instances,
    Memory,
}

/// A place of an instance, until dropped.
pub(crate) struct Place {
    room: Arc<Room>,
    bytes: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        {
            let mut taken = self.room.taken.lock();
            taken.instances -= 1;
            taken.bytes -= self.bytes;
        }
        self.room.freed.notify_waiters();
    }
}

/// An instance in its place.
pub(crate) struct Placed {
    pub(crate) instance: Instance,
    // After the instance: its place is free when it is gone.
    pub(crate) _place: Option<Place>,
}

/// Instances of one stage that wait for their next batch, with when they came back.
#[derive(Default)]
pub(crate) struct Idle(Mutex<Vec<(Instant, Placed)>>);

impl Idle {
    /// The one that came back last.
    pub(crate) fn pop(&self) -> Option<Placed> {
        self.0.lock().pop().map(|(_, placed)| placed)
    }

    pub(crate) fn push(&self, placed: Placed) {
        self.0.lock().push((Instant::now(), placed));
    }

    /// Lets go of those that waited longer, and says how many bytes the others hold.
    pub(crate) fn trim(&self, longest: Duration) -> usize {
        let mut idle = self.0.lock();
        idle.retain(|(since, _)| since.elapsed() < longest);
        idle.iter().map(|(_, placed)| placed.instance.memory_bytes()).sum()
    }

    /// Lets go of the one that waits longest. Whether there was one.
    fn evict(&self) -> bool {
        let mut idle = self.0.lock();
        let oldest = (!idle.is_empty()).then(|| idle.remove(0));
        drop(idle);
        oldest.is_some()
    }
}

impl Room {
    pub(crate) fn set(&self, instances: u64, bytes: u64) {
        {
            let mut taken = self.taken.lock();
            (taken.instances_max, taken.bytes_max) = (instances, bytes);
        }
        self.freed.notify_waiters();
    }

    /// A stage of the tenant, whose idle instances make room for others.
    pub(crate) fn join(&self, idle: &Arc<Idle>) {
        let mut all = self.idle.lock();
        all.retain(|idle| idle.strong_count() > 0);
        all.push(Arc::downgrade(idle));
    }

    /// Instances, and the bytes that they may use.
    pub(crate) fn used(&self) -> (u64, u64) {
        let taken = self.taken.lock();
        (taken.instances, taken.bytes)
    }

    /// Waits for a place. `waited` is told for how long, and which limit there is no room by.
    pub(crate) async fn enter(self: &Arc<Self>, bytes: u64, waited: impl Fn(Full, Duration)) -> Place {
        loop {
            let mut freed = pin!(self.freed.notified());
            freed.as_mut().enable();
            let full = match self.try_enter(bytes) {
                Ok(place) => return place,
                Err(full) => full,
            };
            if self.evict() {
                continue;
            }
            let since = Instant::now();
            // Woken now and then, so that the wait is told while it lasts.
            let _woken = tokio::time::timeout(super::TOLD_EVERY, freed).await;
            waited(full, since.elapsed());
        }
    }

    /// Lets go of every instance that waits for work.
    pub(crate) fn drop_idle(&self) {
        while self.evict() {}
    }

    fn try_enter(self: &Arc<Self>, bytes: u64) -> Result<Place, Full> {
        let mut taken = self.taken.lock();
        if let Some(full) = taken.full(bytes) {
            return Err(full);
        }
        taken.instances += 1;
        taken.bytes += bytes;
        Ok(Place { room: self.clone(), bytes })
    }

    fn evict(&self) -> bool {
        let all: Vec<_> = self.idle.lock().iter().filter_map(Weak::upgrade).collect();
        all.iter().any(|idle| idle.evict())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[tokio::test]
    async fn a_place_is_waited_for_and_one_alone_always_has_room() {
        let room = Arc::new(Room::default());
        room.set(2, 100);
        let enter = |bytes| {
            let room = room.clone();
            async move { room.enter(bytes, |_, _| ()).await }
        };
        let first = enter(60).await;
        let mut second = Box::pin(enter(70));
        assert!(second.as_mut().now_or_never().is_none(), "130 bytes of 100");
        let small = enter(40).await;
        assert_eq!(room.used(), (2, 100));
        drop(first);
        assert!(second.as_mut().now_or_never().is_none(), "40 bytes of 100, and then 70");
        drop(small);
        let second = second.await;
        assert_eq!(room.used(), (1, 70));
        room.set(1, 1);
        assert!(Box::pin(enter(1)).now_or_never().is_none());
        drop(second);
        let _alone = enter(60).await;
    }
}
