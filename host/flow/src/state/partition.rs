//! All stores of one assignment of a partition.
//!
//! Must never: outlive the assignment.

use super::changelog::{self, Restored, Store};
use super::disk::Disks;
use super::stage::StageState;
use crate::pipeline::state::PipelineState;
use bulkhead_core::code::Code;
use bulkhead_core::columns::{Outputs, RecordBatch};
use bulkhead_core::fault::HostFault;
use bulkhead_core::manifest::PipelineSpec;
use bulkhead_core::scope::PhysicalTopic;
use bulkhead_log::{Block, Held, Log, LogError, Source};
use bulkhead_vault::PipelineKeys;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What a pipeline's partitions share to keep state.
#[derive(Clone)]
pub(crate) struct StateTools {
    pub(crate) log: Arc<dyn Log>,
    pub(crate) disks: Arc<Disks>,
    pub(crate) topic: PhysicalTopic,
    /// `None` where the log seals what it keeps.
    pub(crate) keys: Option<Arc<PipelineKeys>>,
}

/// How many entries each stage wrote, by its index.
pub(crate) type StageEntries = Vec<(usize, u64)>;

/// See the module's documentation.
pub(crate) struct PartitionState {
    /// For each stage that has state, its store.
    stages: Vec<Option<Arc<Store>>>,
    changes: Option<(StateTools, Arc<[Option<PhysicalTopic>]>)>,
    source: Source,
    pipeline: Arc<PipelineState>,
    /// Bytes that the pipeline was told of.
    told: u64,
}

impl PartitionState {
    /// Empty stores, for stages whose manifest grants state; no `tools` where none does.
    pub(crate) fn new(
        spec: &PipelineSpec,
        source: Source,
        tools: Option<&StateTools>,
        pipeline: Arc<PipelineState>,
    ) -> Self {
        let input = &spec.inputs[usize::from(source.topic)].topic;
        let stages = spec.stages.iter().map(|stage| {
            let (tools, granted) = (tools?, stage.state?);
            let state = Arc::new(StageState::new(granted.max_bytes, tools.disks.clone()));
            Some(Arc::new(Store::new(&stage.name, input, source.partition, state)))
        });
        let changes = tools.map(|tools| (tools.clone(), Arc::from([Some(tools.topic.clone())])));
        Self { stages: stages.collect(), changes, source, pipeline, told: 0 }
    }

    /// Whether no stage has any.
    pub(crate) fn is_none(&self) -> bool {
        self.changes.is_none()
    }

    /// The store of a stage.
    pub(crate) fn of(&self, stage: usize) -> Option<&Arc<StageState>> {
        self.stages[stage].as_ref().map(|store| &store.state)
    }

    fn stores(&self) -> impl Iterator<Item = &Arc<Store>> {
        self.stages.iter().flatten()
    }

    /// Fills the stores from the changelog.
    ///
    /// # Errors
    /// What the log says; [`Code::StateLost`] where the changelog is gone.
    pub(crate) async fn restore(&mut self) -> Result<Restored, LogError> {
        /// Ends the reading where the partition goes meanwhile.
        struct Stop(Arc<AtomicBool>);
        impl Drop for Stop {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Release);
            }
        }
        let Some((tools, _)) = self.changes.clone() else { return Ok(Restored::default()) };
        let stop = Stop(Arc::default());
        let (partition, stopped) = (self.source.partition, stop.0.clone());
        let stores: Vec<_> = self.stores().cloned().collect();
        let read = move || {
            let StateTools { log, topic, keys, .. } = &tools;
            changelog::restore(log.as_ref(), topic, partition, &stores, keys.as_deref(), &stopped)
        };
        let read = tokio::task::spawn_blocking(read).await;
        let restored = read.map_err(|_| LogError::new(Code::Internal, "restoring state panicked"))??;
        self.tell();
        Ok(restored)
    }

    /// Forgets all writes since the last batch that was accepted.
    pub(crate) fn discard(&self) {
        self.stores().for_each(|store| store.state.discard_batch());
    }

    /// The topic and partition that the batch's changes go to; `None` where there are none.
    pub(crate) fn target(&self) -> Option<(&PhysicalTopic, i32)> {
        let changed = self.stores().any(|store| store.state.has_changes());
        self.changes.as_ref().filter(|_| changed).map(|(tools, _)| (&tools.topic, self.source.partition))
    }

    /// The batch is to commit: gives what goes with it into the transaction, with how many entries each stage wrote, and shows the writes
    /// to the batches after it.
    ///
    /// # Errors
    /// Where the local store fails, or nothing can be sealed: the assignment has to begin anew.
    pub(crate) fn accept(&mut self) -> Result<Option<(Held, StageEntries)>, HostFault> {
        if self.target().is_none() {
            return Ok(None);
        }
        let Some((tools, targets)) = &self.changes else { return Ok(None) };
        let (mut outputs, mut entries) = (Outputs::default(), Vec::new());
        for (stage, store) in self.stages.iter().enumerate() {
            let Some(store) = store else { continue };
            let mut pushed = Ok(());
            store.state.accept(|writes| {
                entries.push((stage, writes.entries.len() as u64));
                pushed = store.push(&mut outputs, writes, tools.keys.as_deref());
            })?;
            pushed?;
        }
        let partition = self.source.partition;
        let batch = Arc::new(RecordBatch { partition, ..RecordBatch::default() });
        let block = Block { outputs, targets: targets.clone(), partition: Some(partition) };
        self.tell();
        Ok(Some((Held { batch, blocks: vec![block] }, entries)))
    }

    fn tell(&mut self) {
        let bytes = self.stores().map(|store| store.state.bytes()).sum();
        self.pipeline.state_bytes(std::mem::replace(&mut self.told, bytes), bytes);
    }
}

impl Drop for PartitionState {
    fn drop(&mut self) {
        self.pipeline.state_bytes(self.told, 0);
    }
}
