//! How many pipelines start at one time: each start is a thread, a consumer and questions to the log.
//!
//! A pipeline has a [`Turn`] from its thread's start until it has its first batch or knows that there is none. Those for which records wait
//! come before those that were only told to run; among each, tenants take turns, and a part of the turns is for tenants that have none:
//! a start waits for its modules to be compiled, which of many new ones takes long.
//! Must never: keep a turn from others for longer than a start takes, or let one tenant's starts have all of them.

use crate::pipeline::Pipeline;
use bulkhead_core::name::TenantId;
use bulkhead_core::turns::{Line, Seats};
use parking_lot::Mutex;
use std::sync::Arc;

/// One in so many turns is for tenants that have none.
const SPARED_PART: usize = 4;

/// See the module's documentation.
pub(crate) struct Gate {
    state: Mutex<State>,
}

struct State {
    seats: Seats<TenantId>,
    /// Something waits for these.
    woken: Line<TenantId, Arc<Pipeline>>,
    told: Line<TenantId, Arc<Pipeline>>,
}

/// The right to be starting, given back when it is dropped.
pub(crate) struct Turn {
    /// `None`: it was given back already.
    gate: Option<Arc<Gate>>,
    whose: TenantId,
}

impl Gate {
    pub(super) fn new(at_once: usize) -> Self {
        let seats = Seats::new(at_once, at_once / SPARED_PART);
        Self { state: Mutex::new(State { seats, woken: Line::default(), told: Line::default() }) }
    }

    /// Begins this pipeline now or when there is room. It waits for that already.
    pub(crate) fn enter(self: &Arc<Self>, pipeline: Arc<Pipeline>, woken: bool) {
        let whose = pipeline.state.key.tenant.clone();
        let mut state = self.state.lock();
        match woken {
            true => state.woken.push(&whose, pipeline),
            false => state.told.push(&whose, pipeline),
        }
        drop(state);
        self.fill();
    }

    /// Whether pipelines wait for their turn: who starts and finds nothing to do makes room at once.
    pub(crate) fn is_crowded(&self) -> bool {
        let state = self.state.lock();
        !state.woken.is_empty() || !state.told.is_empty()
    }

    fn fill(self: &Arc<Self>) {
        loop {
            let next = self.state.lock().next();
            let Some((whose, next)) = next else { return };
            // One that was stopped meanwhile gives its turn back, not by a drop, which would come here again.
            if let Err(mut turn) = next.begin(Turn { gate: Some(self.clone()), whose }) {
                turn.gate = None;
                self.state.lock().seats.give_back(&turn.whose);
            }
        }
    }
}

impl State {
    /// Gives the next a turn, where there is one for it.
    fn next(&mut self) -> Option<(TenantId, Arc<Pipeline>)> {
        let Self { seats, woken, told } = self;
        let may = |whose: &TenantId| seats.may_take(whose);
        let (whose, next) = woken.pop(may).or_else(|| told.pop(may))?;
        seats.take(&whose);
        Some((whose, next))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(gate) = self.gate.take() {
            gate.state.lock().seats.give_back(&self.whose);
            gate.fill();
        }
    }
}
