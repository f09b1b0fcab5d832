//! A pipeline that is another worker's to look after, while it is parked here: see [`crate::parking`].
//!
//! Must never: join a group because of an order alone.

use super::{Body, Order, Pipeline};
use crate::parking::Row;
use bulkhead_core::assignment::{Phase, PipelineKey};
use bulkhead_core::manifest::Target;
use bulkhead_core::scope::{GroupId, TenantScope};
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl Pipeline {
    /// Its source thread, which is the caller and ends now, has not joined: another worker looks after it, as far as is known. Not where there
    /// is an order that it has not seen.
    pub(super) fn stand_by(self: &Arc<Self>, order: &Order) -> bool {
        let spec = &order.assignment.spec;
        let scope = self.scope();
        let ends = spec.inputs.iter().map(|input| (scope.topic(&input.topic), Box::default())).collect();
        let mut outputs = spec.stages.iter().flat_map(|stage| &stage.outputs);
        let to_bucket = outputs.any(|output| matches!(output.target, Target::Bucket(_)));
        let restless = order.assignment.ticks || to_bucket || self.tools.config.park_after.is_zero();
        self.settle(order.number, Body::Parked, || {
            // Somebody runs it, once it is known whose it is.
            let known = self.tools.parking.knows_slots();
            self.state.say(if known { Phase::Running } else { Phase::Starting }, None);
            self.state.update(|status| (status.parked, status.lag) = (known, None));
            self.watch(Row { pipeline: self.clone(), ends, restless });
        })
    }

    /// Has the row watched; nothing of the pipeline is at work.
    pub(super) fn watch(&self, row: Row) {
        self.state.metrics.rest();
        if !self.tools.parking.add(row) {
            self.state.update(|status| (status.standby, status.lag) = (true, None));
        }
    }

    /// Something came for it that its owner does not do, or not fast enough.
    pub(crate) fn help(self: &Arc<Self>) {
        self.helps.store(true, Ordering::Release);
        self.rouse(true);
    }

    /// While it is parked, this worker looks after it now, or does no longer; and all of it is done, or that is not known.
    pub(crate) fn turned(&self, owned: bool, done: bool) {
        let body = self.body.lock();
        if matches!(*body, Body::Parked) {
            let starting = self.state.status().phase == Phase::Starting;
            self.state.update(|status| {
                (status.parked, status.standby, status.lag) = (true, !owned, (owned && done).then_some(0));
            });
            if starting {
                self.state.say(Phase::Running, None);
            }
            self.told.store(false, Ordering::Release);
        }
    }

    /// The group that runs it.
    pub(crate) fn group(&self) -> GroupId {
        let PipelineKey { project, pipeline, .. } = &self.state.key;
        self.scope().group(project, pipeline)
    }

    fn scope(&self) -> TenantScope {
        TenantScope::assume(self.state.key.tenant.clone())
    }
}
