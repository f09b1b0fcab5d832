//! A few places that tenants take turns at: who asks for many does not hold up who asks for one.
//!
//! A place that is free goes to the next tenant in turn, not to the next request. The last free place goes to a tenant only that has none: so a
//! tenant whose work takes minutes leaves one to the others, and pays for it where it is alone. In memory, and of this process.
//! Must never: lose a place, whatever becomes of who waits for it.

use bulkhead_core::name::TenantId;
use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use tokio::sync::oneshot;

/// The places. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Turns {
    state: Arc<Mutex<State>>,
}

/// A place, until dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    turns: Turns,
    whose: TenantId,
}

#[derive(Debug)]
struct State {
    places: usize,
    free: usize,
    held: HashMap<TenantId, usize>,
    /// Tenants that wait, in the order of their turns, each with its requests in theirs.
    waiting: VecDeque<(TenantId, VecDeque<oneshot::Sender<Turn>>)>,
}

impl Turns {
    /// So many places; at least one.
    pub(crate) fn new(places: usize) -> Self {
        let places = places.max(1);
        let state = State { places, free: places, held: HashMap::new(), waiting: VecDeque::new() };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// Waits for a place. Dropping the future gives up the wait.
    pub(crate) async fn take(&self, tenant: &TenantId) -> Turn {
        let (sender, turn) = oneshot::channel();
        {
            let mut state = self.state.lock();
            match state.waiting.iter_mut().find(|(waits, _)| waits == tenant) {
                Some((_, requests)) => requests.push_back(sender),
                None => state.waiting.push_back((tenant.clone(), VecDeque::from([sender]))),
            }
        }
        self.hand_out();
        match turn.await {
            Ok(turn) => turn,
            // Only `hand_out` has the other end, and it sends before it drops it.
            Err(_) => unreachable!("a request that waits keeps its place in the queue"),
        }
    }

    /// Gives free places to those whose turn it is.
    fn hand_out(&self) {
        // Where nobody takes it any more, dropping it gives the place back; so the lock must not be held.
        while let Some((sender, turn)) = self.next() {
            drop(sender.send(turn));
        }
    }

    fn next(&self) -> Option<(oneshot::Sender<Turn>, Turn)> {
        let mut state = self.state.lock();
        for (_, requests) in &mut state.waiting {
            requests.retain(|request| !request.is_closed());
        }
        state.waiting.retain(|(_, requests)| !requests.is_empty());
        let at = state.waiting.iter().position(|(tenant, _)| state.may_take(tenant))?;
        let (whose, mut requests) = state.waiting.remove(at)?;
        let sender = requests.pop_front()?;
        if !requests.is_empty() {
            state.waiting.push_back((whose.clone(), requests));
        }
        state.free -= 1;
        *state.held.entry(whose.clone()).or_default() += 1;
        Some((sender, Turn { turns: self.clone(), whose }))
    }
}

impl State {
    fn may_take(&self, tenant: &TenantId) -> bool {
        let spared = usize::from(self.places > 1 && self.held.contains_key(tenant));
        self.free > spared
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        {
            let mut state = self.turns.state.lock();
            state.free += 1;
            if let Some(held) = state.held.get_mut(&self.whose) {
                *held -= 1;
                if *held == 0 {
                    state.held.remove(&self.whose);
                }
            }
        }
        self.turns.hand_out();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    fn tenant(name: &str) -> TenantId {
        name.parse().unwrap()
    }

    #[test]
    fn a_tenant_with_a_hundred_requests_does_not_hold_up_one_with_a_single_one() {
        let turns = Turns::new(1);
        let (greedy, modest) = (tenant("greedy"), tenant("modest"));
        let mut under_way = Some(turns.take(&greedy).now_or_never().expect("a free place"));
        let mut many: Vec<_> = (0..100).map(|_| Box::pin(turns.take(&greedy))).collect();
        assert!(many.iter_mut().all(|wait| wait.now_or_never().is_none()));
        let mut one = Box::pin(turns.take(&modest));
        assert!((&mut one).now_or_never().is_none());
        drop(under_way.take());
        // The hundred were first, so one of them is next; then it is the other tenant's turn.
        let first = many.remove(0).now_or_never().expect("the first of the hundred");
        assert!((&mut one).now_or_never().is_none());
        drop(first);
        assert!(one.now_or_never().is_some(), "the single request is behind the hundred");
    }

    #[test]
    fn the_last_free_place_is_for_who_has_none() {
        let turns = Turns::new(2);
        let (greedy, modest) = (tenant("greedy"), tenant("modest"));
        let _held = turns.take(&greedy).now_or_never().expect("a free place");
        let mut second = Box::pin(turns.take(&greedy));
        assert!((&mut second).now_or_never().is_none(), "it took the last place");
        let other = turns.take(&modest).now_or_never();
        assert!(other.is_some(), "the other tenant waits for the first");
        drop(other);
        assert!((&mut second).now_or_never().is_none());
    }

    #[test]
    fn who_gave_up_costs_no_place() {
        let turns = Turns::new(1);
        let (a, b) = (tenant("a"), tenant("b"));
        let held = turns.take(&a).now_or_never().expect("a free place");
        let mut given_up = Box::pin(turns.take(&a));
        assert!((&mut given_up).now_or_never().is_none());
        let mut handed_and_dropped = Box::pin(turns.take(&b));
        assert!((&mut handed_and_dropped).now_or_never().is_none());
        drop(given_up);
        drop(held);
        // It was handed the place, and never looked.
        drop(handed_and_dropped);
        assert!(turns.take(&a).now_or_never().is_some(), "the place is lost");
    }
}
