//! A few places that tenants take turns at: who asks for many does not hold up who asks for one.
//!
//! A place that is free goes to the next tenant in turn, not to the next request. Some of the free places go to tenants only that have
//! none: so a tenant whose work takes minutes leaves these to the others, and pays for it where it is alone. [`Turns`] is that for futures;
//! [`Line`] and [`Seats`] are what it is made of, for who waits otherwise. In memory, and of this process. `W` says whose turn it is: a
//! tenant, as far as there are any.
//! Must never: lose a place, whatever becomes of who waits for it.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::hash::Hash;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};

/// Who waits: tenants in the order of their turns, what is each one's in its own order.
#[derive(Debug)]
pub struct Line<W, T> {
    waiting: HashMap<W, VecDeque<T>>,
    turns: VecDeque<W>,
}

impl<W, T> Default for Line<W, T> {
    fn default() -> Self {
        Self { waiting: HashMap::new(), turns: VecDeque::new() }
    }
}

impl<W: Clone + Eq + Hash, T> Line<W, T> {
    /// Stands at the end of its tenant's part.
    pub fn push(&mut self, whose: &W, one: T) {
        if !self.waiting.contains_key(whose) {
            self.turns.push_back(whose.clone());
        }
        self.waiting.entry(whose.clone()).or_default().push_back(one);
    }

    /// The next of the first tenant in turn that may go; that tenant's turn comes again after all others'.
    pub fn pop(&mut self, may: impl Fn(&W) -> bool) -> Option<(W, T)> {
        let at = self.turns.iter().position(may)?;
        let whose = self.turns.remove(at)?;
        let own = self.waiting.get_mut(&whose)?;
        let one = own.pop_front()?;
        if own.is_empty() {
            self.waiting.remove(&whose);
        } else {
            self.turns.push_back(whose.clone());
        }
        Some((whose, one))
    }

    /// Lets go of all that are not to be kept.
    pub fn retain(&mut self, keep: impl Fn(&T) -> bool) {
        self.waiting.retain(|_, own| {
            own.retain(&keep);
            !own.is_empty()
        });
        self.turns.retain(|whose| self.waiting.contains_key(whose));
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }
}

/// Which places are free, and who has the others.
#[derive(Debug)]
pub struct Seats<W> {
    free: usize,
    spared: usize,
    held: HashMap<W, usize>,
}

impl<W: Clone + Eq + Hash> Seats<W> {
    /// So many places, at least one; `spared` of them, at most all but one, are for tenants that have none.
    pub fn new(places: usize, spared: usize) -> Self {
        let places = places.max(1);
        Self { free: places, spared: spared.min(places - 1), held: HashMap::new() }
    }

    /// Whether there is a place for this tenant now.
    pub fn may_take(&self, whose: &W) -> bool {
        self.free > if self.held.contains_key(whose) { self.spared } else { 0 }
    }

    /// Takes a place, where there is one for this tenant.
    pub fn take(&mut self, whose: &W) -> bool {
        let may = self.may_take(whose);
        if may {
            self.free -= 1;
            *self.held.entry(whose.clone()).or_default() += 1;
        }
        may
    }

    /// Gives back a place that this tenant has.
    pub fn give_back(&mut self, whose: &W) {
        let Some(held) = self.held.get_mut(whose) else { return };
        self.free += 1;
        *held -= 1;
        if *held == 0 {
            self.held.remove(whose);
        }
    }
}

/// The places. Clones share them.
#[derive(Debug)]
pub struct Turns<W: Clone + Eq + Hash> {
    state: Arc<Mutex<State<W>>>,
}

impl<W: Clone + Eq + Hash> Clone for Turns<W> {
    fn clone(&self) -> Self {
        Self { state: self.state.clone() }
    }
}

#[derive(Debug)]
struct State<W: Clone + Eq + Hash> {
    seats: Seats<W>,
    line: Line<W, Weak<Mutex<Standing<W>>>>,
}

/// A place, until dropped.
pub struct Turn<W: Clone + Eq + Hash> {
    turns: Turns<W>,
    whose: W,
}

impl<W: Clone + Eq + Hash + fmt::Debug> fmt::Debug for Turn<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Turn").field(&self.whose).finish()
    }
}

/// What is known of one who waits.
#[derive(Debug)]
struct Standing<W: Clone + Eq + Hash> {
    turn: Option<Turn<W>>,
    waker: Option<Waker>,
}

/// One who waits, and where its place is put.
type Waiter<W> = Arc<Mutex<Standing<W>>>;

/// The wait for a place. Dropping it gives up the wait, and the place where there was one already.
#[derive(Debug)]
#[must_use = "it does nothing unless it is awaited"]
pub struct Wait<W: Clone + Eq + Hash>(Waiter<W>);

/// Nothing here leaves a thing half changed, whoever panics.
fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<W: Clone + Eq + Hash> Turns<W> {
    /// So many places, at least one; the last is for a tenant that has none.
    pub fn new(places: usize) -> Self {
        let state = State { seats: Seats::new(places, 1), line: Line::default() };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// Waits for a place, from now on.
    pub fn take(&self, whose: &W) -> Wait<W> {
        let standing = Arc::new(Mutex::new(Standing { turn: None, waker: None }));
        {
            let mut state = lock(&self.state);
            // Who gave up leaves nothing behind, however often.
            state.line.retain(|waits| waits.strong_count() > 0);
            state.line.push(whose, Arc::downgrade(&standing));
        }
        self.hand_out();
        Wait(standing)
    }

    /// Gives free places to those whose turn it is.
    fn hand_out(&self) {
        // Where nobody takes it any more, dropping it gives the place back; so the lock must not be held.
        while let Some((standing, turn)) = self.next() {
            let waker = {
                let mut standing = lock(&standing);
                standing.turn = Some(turn);
                standing.waker.take()
            };
            waker.into_iter().for_each(Waker::wake);
        }
    }

    fn next(&self) -> Option<(Waiter<W>, Turn<W>)> {
        let mut state = lock(&self.state);
        let State { seats, line } = &mut *state;
        loop {
            let (whose, waits) = line.pop(|whose| seats.may_take(whose))?;
            let Some(standing) = waits.upgrade() else { continue };
            seats.take(&whose);
            return Some((standing, Turn { turns: self.clone(), whose }));
        }
    }
}

impl<W: Clone + Eq + Hash> Future for Wait<W> {
    type Output = Turn<W>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Turn<W>> {
        let mut standing = lock(&self.0);
        match standing.turn.take() {
            Some(turn) => Poll::Ready(turn),
            None => {
                standing.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl<W: Clone + Eq + Hash> Drop for Turn<W> {
    fn drop(&mut self) {
        lock(&self.turns.state).seats.give_back(&self.whose);
        self.turns.hand_out();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::TenantId;

    fn tenant(name: &str) -> TenantId {
        name.parse().unwrap()
    }

    /// The place, where it is there.
    fn now(wait: &mut Wait<TenantId>) -> Option<Turn<TenantId>> {
        match Pin::new(wait).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(turn) => Some(turn),
            Poll::Pending => None,
        }
    }

    #[test]
    fn a_tenant_with_a_hundred_requests_does_not_hold_up_one_with_a_single_one() {
        let turns = Turns::new(1);
        let (greedy, modest) = (tenant("greedy"), tenant("modest"));
        let under_way = now(&mut turns.take(&greedy)).expect("a free place");
        let mut many: Vec<_> = (0..100).map(|_| turns.take(&greedy)).collect();
        assert!(many.iter_mut().all(|wait| now(wait).is_none()));
        let mut one = turns.take(&modest);
        assert!(now(&mut one).is_none());
        drop(under_way);
        // The hundred were first, so one of them is next; then it is the other tenant's turn.
        let first = now(&mut many[0]).expect("the first of the hundred");
        assert!(now(&mut one).is_none());
        drop(first);
        assert!(now(&mut one).is_some(), "the single request is behind the hundred");
    }

    #[test]
    fn the_last_free_place_is_for_who_has_none() {
        let turns = Turns::new(2);
        let (greedy, modest) = (tenant("greedy"), tenant("modest"));
        let _held = now(&mut turns.take(&greedy)).expect("a free place");
        let mut second = turns.take(&greedy);
        assert!(now(&mut second).is_none(), "it took the last place");
        let other = now(&mut turns.take(&modest));
        assert!(other.is_some(), "the other tenant waits for the first");
        drop(other);
        assert!(now(&mut second).is_none());
    }

    #[test]
    fn who_gave_up_costs_no_place() {
        let turns = Turns::new(1);
        let (a, b) = (tenant("a"), tenant("b"));
        let held = now(&mut turns.take(&a)).expect("a free place");
        let given_up = turns.take(&a);
        let handed_and_dropped = turns.take(&b);
        drop(given_up);
        drop(held);
        // It was handed the place, and never looked.
        drop(handed_and_dropped);
        assert!(now(&mut turns.take(&a)).is_some(), "the place is lost");
    }

    #[test]
    fn who_waits_is_woken() {
        struct Flag(std::sync::atomic::AtomicBool);
        impl std::task::Wake for Flag {
            fn wake(self: Arc<Self>) {
                self.0.store(true, std::sync::atomic::Ordering::Release);
            }
        }
        let (turns, flag) = (Turns::new(1), Arc::new(Flag(false.into())));
        let held = now(&mut turns.take(&tenant("a"))).expect("a free place");
        let mut waits = turns.take(&tenant("b"));
        let waker = flag.clone().into();
        assert!(Pin::new(&mut waits).poll(&mut Context::from_waker(&waker)).is_pending());
        drop(held);
        assert!(flag.0.load(std::sync::atomic::Ordering::Acquire));
        assert!(now(&mut waits).is_some());
    }

    #[test]
    fn who_may_not_go_keeps_its_turn_and_holds_up_nobody() {
        let mut line = Line::default();
        for (whose, what) in [("a", 1), ("a", 2), ("b", 3), ("c", 4), ("b", 5)] {
            line.push(&tenant(whose), what);
        }
        let without_a = |tenant: &TenantId| tenant.as_str() != "a";
        let mut next = |may: &dyn Fn(&TenantId) -> bool| line.pop(|tenant| may(tenant)).map(|(_, what)| what);
        assert_eq!([next(&without_a), next(&without_a)], [Some(3), Some(4)]);
        assert_eq!([next(&|_| true), next(&|_| true), next(&|_| true)], [Some(1), Some(5), Some(2)]);
        assert_eq!(next(&|_| true), None);
        assert!(line.is_empty());
    }
}
