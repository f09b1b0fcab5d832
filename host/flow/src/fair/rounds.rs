//! Deficit round-robin over tenants: whose work runs next, by what they have burnt and what they weigh. No locks, no clock, no threads.
//!
//! Time is rounds. In each, every tenant that has work may burn its *quantum*, which is one yield interval for a tenant of the usual
//! weight; what it burns beyond that it owes, and what it leaves it keeps. A tenant without work keeps what its rounds would have
//! brought, up to [`SAVED_ROUNDS`] of them; and one that comes back with something saved goes before those that were there all along. So
//! a tenant within its share hardly waits, however many others are at work, and over time none of them gets less than its weight says.
//! What a turn costs is known when it is over: until then it counts as much as the tenant's turns did lately. It is the fuel that was burnt;
//! but what fuel does not see, such as a guest that touches page after page or makes the host copy much, is time of the thread, and a turn
//! costs a fuel for each nanosecond at least, which is a third of what honest guests burn in one.
//!
//! Nobody waits while a thread has nothing to do: where all that have work owe something, as many rounds pass at once as it takes.
//! Must never: let the length of one tenant's queue matter to another, forget what is owed because its tenant paused, or take more than
//! a few steps for each turn.

use bulkhead_core::name::TenantId;
use bulkhead_core::tenant_limits::usual_weight;
use bulkhead_engine::YIELD_INTERVAL_FUEL;
use std::collections::{BTreeMap, HashMap, VecDeque};

/// What a tenant of the weight that is given unasked may burn in a round.
const QUANTUM: i64 = YIELD_INTERVAL_FUEL as i64;
/// Rounds that a tenant without work may save up: some ten milliseconds of a core.
const SAVED_ROUNDS: u64 = 64;
/// The most that a turn may be charged with, or be given back: nobody is to wait for years.
const COST_MAX: i64 = 1_000 * QUANTUM;

/// What a turn came to.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Spent {
    /// Fuel that was burnt; less than nothing where earlier turns were charged with too much.
    pub(crate) fuel: i64,
    /// Nanoseconds that the thread was busy.
    pub(crate) busy_ns: i64,
}

impl Spent {
    /// What it costs.
    pub(crate) fn cost(self) -> i64 {
        let unseen = self.busy_ns.saturating_sub(self.fuel.max(0)).max(0);
        self.fuel.saturating_add(unseen).clamp(-COST_MAX, COST_MAX)
    }
}

/// A tenant's turn, to be given back to [`Rounds::ended`].
pub(super) struct Turn<W> {
    pub(super) tenant: TenantId,
    pub(super) work: W,
    /// What it was charged with before anybody knew.
    pub(super) advance: i64,
}

/// See the module's documentation.
pub(super) struct Rounds<W> {
    accounts: HashMap<TenantId, Account<W>>,
    /// Tenants that came with something saved.
    fresh: VecDeque<TenantId>,
    /// Those that have not had their turn in this round.
    now: VecDeque<TenantId>,
    /// Those that wait for the next.
    later: VecDeque<TenantId>,
    round: u64,
    /// Whether anybody ran in this round.
    ran: bool,
    weights: BTreeMap<TenantId, u64>,
    /// How many accounts there may be until those that nothing is known of are closed.
    sweep_at: usize,
}

struct Account<W> {
    waiting: VecDeque<W>,
    running: u32,
    /// What may be burnt; less than nothing is owed.
    credit: i64,
    /// The round up to which it was given its quantum.
    round: u64,
    quantum: i64,
    /// What a turn costs, of late.
    expected: i64,
    /// Whether it is in one of the lists.
    listed: bool,
}

impl<W> Account<W> {
    /// A tenant of which nothing is known has as much as one that has long been away.
    fn new(round: u64, quantum: i64) -> Self {
        let credit = quantum * SAVED_ROUNDS as i64;
        Self { waiting: VecDeque::new(), running: 0, credit, round, quantum, expected: QUANTUM, listed: false }
    }

    /// Gives it what the rounds since it was last looked at have brought.
    fn grant(&mut self, round: u64) {
        let rounds = std::mem::replace(&mut self.round, round).abs_diff(round);
        let brought = self.quantum.saturating_mul(i64::try_from(rounds).unwrap_or(i64::MAX));
        self.give(brought);
    }

    /// The most that it may save up.
    fn saved(&self) -> i64 {
        self.quantum * SAVED_ROUNDS as i64
    }

    /// Gives it so much, or takes it; what it has beyond [`Account::saved`], of a larger weight, stays and does not grow.
    fn give(&mut self, fuel: i64) {
        self.credit = self.credit.saturating_add(fuel).min(self.credit.max(self.saved()));
    }

    /// Rounds after which it may run.
    fn rounds_left(&self, round: u64) -> u64 {
        let owed = 1_i64.saturating_sub(self.credit).max(0).unsigned_abs();
        owed.div_ceil(self.quantum.unsigned_abs()).saturating_sub(round - self.round)
    }

    /// Whether nothing is lost by closing it.
    fn is_whole(&self, round: u64) -> bool {
        let rounds = i64::try_from(round - self.round).unwrap_or(i64::MAX);
        !self.listed
            && self.running == 0
            && self.credit.saturating_add(self.quantum.saturating_mul(rounds)) >= self.saved()
    }
}

impl<W> Default for Rounds<W> {
    fn default() -> Self {
        Self {
            accounts: HashMap::new(),
            fresh: VecDeque::new(),
            now: VecDeque::new(),
            later: VecDeque::new(),
            round: 0,
            ran: false,
            weights: BTreeMap::new(),
            sweep_at: 64,
        }
    }
}

impl<W> Rounds<W> {
    /// Takes over what tenants weigh; those that are not named weigh as usual.
    pub(super) fn weigh(&mut self, weights: BTreeMap<TenantId, u64>) {
        self.weights = weights;
        for (tenant, account) in &mut self.accounts {
            account.grant(self.round);
            account.quantum = quantum(&self.weights, tenant);
        }
    }

    /// Puts work behind its tenant's other work.
    pub(super) fn push(&mut self, tenant: &TenantId, work: W) {
        if !self.accounts.contains_key(tenant) {
            self.sweep();
            let account = Account::new(self.round, quantum(&self.weights, tenant));
            self.accounts.insert(tenant.clone(), account);
        }
        let account = self.accounts.get_mut(tenant).expect("it is there or was just made");
        account.waiting.push_back(work);
        if !std::mem::replace(&mut account.listed, true) {
            account.grant(self.round);
            let list = if account.credit > 0 { &mut self.fresh } else { &mut self.later };
            list.push_back(tenant.clone());
        }
    }

    /// Takes the work whose turn it is. Each must be followed by [`Rounds::ended`].
    pub(super) fn next(&mut self) -> Option<Turn<W>> {
        loop {
            if let Some(tenant) = self.fresh.pop_front() {
                match self.take(&tenant) {
                    // Those that came with something saved alternate.
                    Some((work, advance)) => {
                        self.fresh.push_back(tenant.clone());
                        return Some(Turn { tenant, work, advance });
                    }
                    None => self.put_off(tenant),
                }
            } else if let Some(tenant) = self.now.pop_front() {
                match self.take(&tenant) {
                    Some((work, advance)) => {
                        self.now.push_front(tenant.clone());
                        return Some(Turn { tenant, work, advance });
                    }
                    None => self.put_off(tenant),
                }
            } else if self.later.is_empty() {
                return None;
            } else {
                self.turn();
            }
        }
    }

    /// A turn of a tenant is over: what was charged in advance, and what it costs.
    pub(super) fn ended(&mut self, tenant: &TenantId, advance: i64, cost: i64) {
        let Some(account) = self.accounts.get_mut(tenant) else { return };
        let cost = cost.clamp(-COST_MAX, COST_MAX);
        account.running = account.running.saturating_sub(1);
        account.give(advance - cost);
        account.expected = ((3 * account.expected + cost.max(1)) / 4).clamp(1, 4 * QUANTUM);
    }

    /// Takes all work away.
    pub(super) fn clear(&mut self) -> Vec<W> {
        (self.fresh, self.now, self.later) = Default::default();
        self.accounts.drain().flat_map(|(_, account)| account.waiting).collect()
    }

    /// Work of a tenant, where it has any and may run.
    fn take(&mut self, tenant: &TenantId) -> Option<(W, i64)> {
        let account = self.accounts.get_mut(tenant)?;
        account.grant(self.round);
        if account.credit <= 0 {
            return None;
        }
        let work = account.waiting.pop_front()?;
        account.running += 1;
        account.credit -= account.expected;
        self.ran = true;
        Some((work, account.expected))
    }

    /// A tenant has had its turn in this round.
    fn put_off(&mut self, tenant: TenantId) {
        let Some(account) = self.accounts.get_mut(&tenant) else { return };
        if account.waiting.is_empty() {
            account.listed = false;
        } else {
            self.later.push_back(tenant);
        }
    }

    /// Begins the next round in which anybody may run.
    fn turn(&mut self) {
        // Most often that is the next one; to know better, all have to be looked at.
        let rounds = if std::mem::take(&mut self.ran) {
            1
        } else {
            let left =
                self.later.iter().filter_map(|tenant| self.accounts.get(tenant)).map(|a| a.rounds_left(self.round));
            left.min().unwrap_or(1).max(1)
        };
        self.round += rounds;
        std::mem::swap(&mut self.now, &mut self.later);
    }

    /// Closes the accounts of those that have been away for so long that nothing is to be remembered.
    fn sweep(&mut self) {
        if self.accounts.len() >= self.sweep_at {
            let round = self.round;
            self.accounts.retain(|_, account| !account.is_whole(round));
            self.sweep_at = (2 * self.accounts.len()).max(64);
        }
    }
}

fn quantum(weights: &BTreeMap<TenantId, u64>, tenant: &TenantId) -> i64 {
    let (usual, all) = (usual_weight(), QUANTUM.unsigned_abs());
    let weight = weights.get(tenant).copied().unwrap_or(usual);
    i64::try_from(all.saturating_mul(weight) / usual).unwrap_or(i64::MAX).clamp(1, 1_000 * QUANTUM)
}

#[cfg(test)]
#[path = "rounds_tests.rs"]
mod tests;
