//! Declared bucket outputs: from rows that were committed in a hidden topic to objects, each row in exactly one.
//!
//! ```text
//! record path ─▶ rows topic ─▶ gather by partition ─▶ stage objects ─▶ one transaction: manifest record + position
//!                                                                            manifests topic ─▶ publish: staged ─▶ final key
//! ```
//!
//! Rows join the record path's own transaction. A sink, a member of a group of its own, gathers them until a roll, writes each object
//! under a staging name that is never used twice, and commits the rows' position together with a manifest record that names what
//! was staged. Whoever owns that partition of the manifests topic publishes it and commits after that. So a crash before the commit
//! leaves only staged objects that nobody names, which are swept; one after it leaves a record that is read again, and publishing
//! is idempotent. An object's key comes from its first row's place in the rows topic, never from where a batch was cut.
//! What is published is deleted from the hidden topics now and then; nothing else deletes there, whatever its age.
//! Must never: show an object of which a row is not committed, or one row in two objects.

mod commit;
mod manifest;
mod publish;
mod roll;
mod thread;
mod trim;

use crate::flow::Tools;
use crate::pipeline::state::PipelineState;
use bulkhead_bucket::rows::Schema;
use bulkhead_core::assignment::PipelineAssignment;
use bulkhead_core::bucket::BucketOutput;
use bulkhead_core::manifest::{OutputSpec, StageSpec, Target};
use bulkhead_core::name::BucketName;
use bulkhead_core::scope::{GroupId, OutputPath, PhysicalTopic, TenantScope};
use parking_lot::{Condvar, Mutex};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// One declared bucket output of a pipeline.
#[derive(Clone)]
pub(crate) struct SinkSpec {
    pub(crate) rows: PhysicalTopic,
    pub(crate) manifests: PhysicalTopic,
    pub(crate) group: GroupId,
    pub(crate) output: BucketOutput,
    pub(crate) schema: Schema,
    assignment: Arc<PipelineAssignment>,
    stage: usize,
    port: usize,
}

impl SinkSpec {
    /// All bucket outputs of a pipeline.
    pub(crate) fn all(assignment: &Arc<PipelineAssignment>) -> Vec<SinkSpec> {
        let scope = TenantScope::assume(assignment.key.tenant.clone());
        let mut all = Vec::new();
        for (stage, of) in assignment.spec.stages.iter().enumerate() {
            for (port, output) in of.outputs.iter().enumerate() {
                let Target::Bucket(declared) = &output.target else { continue };
                let path = path(assignment, of, output);
                all.push(SinkSpec {
                    rows: scope.rows_topic(&path, &declared.columns),
                    manifests: scope.manifests_topic(&path),
                    group: scope.sink_group(&path),
                    schema: Schema::new(declared),
                    output: (**declared).clone(),
                    assignment: assignment.clone(),
                    stage,
                    port,
                });
            }
        }
        all
    }

    /// The output's bucket, or the one that it had when an object was staged.
    fn bucket(&self, tools: &Tools, name: &BucketName) -> bulkhead_bucket::OutputBucket {
        let scope = TenantScope::assume(self.assignment.key.tenant.clone());
        let stage = &self.assignment.spec.stages[self.stage];
        tools.buckets.output(&scope, &path(&self.assignment, stage, &stage.outputs[self.port]), name)
    }
}

fn path<'a>(assignment: &'a PipelineAssignment, stage: &'a StageSpec, output: &'a OutputSpec) -> OutputPath<'a> {
    OutputPath { pipeline: assignment.path(), stage: &stage.name, output: &output.name }
}

/// What a sink's thread is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Run,
    /// Write what there is, and end then or at this time.
    Finish(Instant),
    /// End now. What is not committed is read again by the next.
    Stop,
}

/// The order, for those who wait for a change.
struct Orders {
    order: Mutex<Order>,
    changed: Condvar,
}

impl Orders {
    fn get(&self) -> Order {
        *self.order.lock()
    }

    fn set(&self, order: Order) {
        *self.order.lock() = order;
        self.changed.notify_all();
    }

    /// Waits, unless the order changes before.
    fn wait(&self, time: Duration) {
        let mut order = self.order.lock();
        if *order == Order::Run {
            let _timed_out = self.changed.wait_for(&mut order, time);
        }
    }
}

/// A running sink.
pub(crate) struct Sink {
    orders: Arc<Orders>,
    thread: Option<JoinHandle<()>>,
}

impl Sink {
    /// Starts the sink's thread. Its topics exist.
    ///
    /// # Panics
    /// Where the system gives no thread.
    pub(crate) fn start(spec: SinkSpec, state: &Arc<PipelineState>, tools: &Arc<Tools>) -> Self {
        let orders = Arc::new(Orders { order: Mutex::new(Order::Run), changed: Condvar::new() });
        let thread = thread::SinkThread::new(spec, state.clone(), tools.clone(), orders.clone());
        let spawned =
            std::thread::Builder::new().name(format!("sink-{}", state.key.pipeline)).spawn(move || thread.run());
        Self { orders, thread: Some(spawned.expect("the system gives a thread")) }
    }

    /// Tells it to write what there is, for at most this long.
    pub(crate) fn finish(&self, time: Duration) {
        self.orders.set(Order::Finish(Instant::now() + time));
    }

    /// Waits for its end, which it was told of, or is now.
    pub(crate) fn join(mut self) {
        self.end();
    }

    fn end(&mut self) {
        if self.orders.get() == Order::Run {
            self.orders.set(Order::Stop);
        }
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("a sink's thread panicked");
        }
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.end();
    }
}
