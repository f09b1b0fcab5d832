//! How many pipelines start at one time: each start is a thread, a consumer and questions to the log.
//!
//! A pipeline has a [`Turn`] from its thread's start until it has its first batch or knows that there is none. Those for which records wait
//! come before those that were only told to run.
//! Must never: keep a turn from others for longer than a start takes.

use crate::pipeline::Pipeline;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;

/// See the module's documentation.
pub(crate) struct Gate {
    at_once: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    starting: usize,
    /// Something waits for these.
    woken: VecDeque<Arc<Pipeline>>,
    told: VecDeque<Arc<Pipeline>>,
}

/// The right to be starting, given back when it is dropped.
pub(crate) struct Turn(Arc<Gate>);

impl Gate {
    pub(super) fn new(at_once: usize) -> Self {
        Self { at_once: at_once.max(1), state: Mutex::default() }
    }

    /// Begins this pipeline now or when there is room. It waits for that already.
    pub(crate) fn enter(self: &Arc<Self>, pipeline: Arc<Pipeline>, woken: bool) {
        let mut state = self.state.lock();
        match woken {
            true => state.woken.push_back(pipeline),
            false => state.told.push_back(pipeline),
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
            let mut state = self.state.lock();
            if state.starting >= self.at_once {
                return;
            }
            let Some(next) = state.woken.pop_front().or_else(|| state.told.pop_front()) else { return };
            state.starting += 1;
            drop(state);
            // One that was stopped meanwhile gives its turn back, not by a drop, which would come here again.
            if let Err(turn) = next.begin(Turn(self.clone())) {
                std::mem::forget(turn);
                self.state.lock().starting -= 1;
            }
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.state.lock().starting -= 1;
        self.0.fill();
    }
}
