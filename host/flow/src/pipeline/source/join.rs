//! The start of a membership: modules and secrets are loaded, topics are there or made, and the group is joined.
//!
//! Must never: begin at another position than the one that was committed, where there is one.

use super::super::park::Quiet;
use super::super::partition::Run;
use super::super::state::Incarnation;
use super::{Live, SourceThread};
use crate::graph::Graph;
use crate::parking::Turn;
use crate::sink::{Sink, SinkSpec};
use crate::stage_call::RunningStage;
use crate::state::partition::StateTools;
use crate::usage;
use crate::uses::StageUses;
use bulkhead_core::assignment::{Phase, PipelineAssignment};
use bulkhead_core::code::Code;
use bulkhead_core::fault::{Fault, HostFault};
use bulkhead_core::manifest::{Feed, PipelineSpec, StageSpec};
use bulkhead_core::scope::{PhysicalTopic, TenantScope};
use bulkhead_core::secret::Secrets;
use bulkhead_engine::StageConfig;
use bulkhead_log::{Keep, LogError, ReaderInput, ReaderSpec, TopicSpec};
use bulkhead_vault::PipelineKeys;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

impl SourceThread {
    /// Joins the group, with all that a run needs.
    pub(super) fn join(&self, assignment: &Arc<PipelineAssignment>, turn: Option<Turn>) -> Result<Live, LogError> {
        let scope = TenantScope::assume(assignment.key.tenant.clone());
        let spec = &assignment.spec;
        let stages = self.tools.runtime.block_on(self.load(assignment))?;
        let graph = Graph::new(&scope, assignment.path(), spec, stages);
        let inputs = self.inputs(&scope, assignment)?;
        let dead_letters = scope.topic(&spec.dead_letter);
        for topic in graph.targets().chain([&dead_letters]) {
            self.require(topic)?;
        }
        let keys = self.keys(assignment)?;
        let state = self.state_tools(&scope, assignment, keys.as_ref())?;
        let sinks = SinkSpec::all(assignment);
        for sink in &sinks {
            self.make_sink_topics(sink, &inputs)?;
        }
        let usage = scope.usage_topic();
        self.make_hidden(&usage, &usage::TOPIC)?;
        let group = scope.group(&assignment.key.project, &assignment.key.pipeline);
        let (consumer, queue_bytes) = self.state.tenant.memory.consumer(self.tools.config.buffer_bytes / 2);
        let reader = self.tools.log.reader(ReaderSpec { group, inputs, batch: spec.batch, queue_bytes })?;
        let run = Run {
            assignment: assignment.clone(),
            graph,
            dead_letters: Arc::new([Some(dead_letters)]),
            usage: Arc::new([Some(usage)]),
            topics: self.tools.topics.clone(),
            config: self.tools.config.clone(),
            state,
            seal: keys.filter(|_| spec.dead_letter_sealed),
            uses: StageUses::all(&self.state.uses, assignment.revision, spec),
        };
        self.state.say(Phase::Running, None);
        Ok(Live {
            incarnation: Arc::new(Incarnation::new(self.state.clone(), reader.membership())),
            reader,
            run: Arc::new(run),
            partitions: HashMap::new(),
            leaving: Vec::new(),
            runtime: self.tools.runtime.clone(),
            paused: false,
            full_since: None,
            looked_at: Instant::now(),
            asked: None,
            poll_failures: 0,
            log_away: false,
            _consumer: consumer,
            sinks: sinks.into_iter().map(|sink| Sink::start(sink, &self.state, &self.tools)).collect(),
            quiet: Quiet::new(turn, self.pipeline.keep.swap(false, Ordering::AcqRel)),
        })
    }

    /// What to read. A partition that has had a position, as far as control or this worker knows, must still have one; unless its
    /// topic went, which took the positions with it.
    fn inputs(&self, scope: &TenantScope, assignment: &PipelineAssignment) -> Result<Vec<ReaderInput>, LogError> {
        let mut inputs = Vec::new();
        for input in &assignment.spec.inputs {
            let topic = scope.topic(&input.topic);
            if let Err(gone) = self.require(&topic) {
                if gone.code == Code::TopicGone {
                    self.state.update(|status| drop(status.initialised.remove(&input.topic)));
                }
                return Err(gone);
            }
            let mut initialised = assignment.initialised.get(&input.topic).cloned().unwrap_or_default();
            initialised.extend(self.state.status().initialised.get(&input.topic).into_iter().flatten());
            inputs.push(ReaderInput { topic, start: input.start, initialised });
        }
        Ok(inputs)
    }

    /// What keeping state takes, where a stage has any. Control made the topic before this worker heard of it.
    fn state_tools(
        &self,
        scope: &TenantScope,
        assignment: &PipelineAssignment,
        keys: Option<&Arc<PipelineKeys>>,
    ) -> Result<Option<StateTools>, LogError> {
        if !assignment.spec.has_state() {
            return Ok(None);
        }
        let topic = scope.state_topic(&assignment.key.project, &assignment.key.pipeline);
        self.require(&topic).map_err(|error| match error.code {
            Code::TopicGone => LogError::new(Code::StateLost, error.message),
            _ => error,
        })?;
        let (log, disks) = (self.tools.log.clone(), self.tools.disks.of(scope.tenant()));
        Ok(Some(StateTools { log, disks, topic, keys: keys.cloned() }))
    }

    /// What seals that which the log does not.
    fn keys(&self, assignment: &Arc<PipelineAssignment>) -> Result<Option<Arc<PipelineKeys>>, LogError> {
        if assignment.key_version == 0 {
            return Ok(None);
        }
        let keys = self.tools.runtime.block_on(self.tools.secrets.keys(assignment.clone()));
        keys.map(Some).map_err(|fault| LogError::new(fault.code, fault.message))
    }

    fn require(&self, topic: &PhysicalTopic) -> Result<(), LogError> {
        match self.tools.runtime.block_on(self.tools.topics.get(topic))? {
            Some(_) => Ok(()),
            None => Err(LogError::new(Code::TopicGone, format!("there is no topic `{topic}`"))),
        }
    }

    /// The hidden topics of a bucket output, with as many partitions as the input that has most, so that rows keep their source's
    /// order. What waits in them was committed, so nothing goes from them by age; they go with the pipeline.
    fn make_sink_topics(&self, sink: &SinkSpec, inputs: &[ReaderInput]) -> Result<(), LogError> {
        let mut partitions = 1;
        for input in inputs {
            let info = self.tools.runtime.block_on(self.tools.topics.get(&input.topic))?;
            partitions = info.map_or(partitions, |info| partitions.max(info.partitions));
        }
        let spec = TopicSpec { partitions, max_record_bytes: None, replicas: None, keep: Keep::UntilDeleted };
        [&sink.rows, &sink.manifests].into_iter().try_for_each(|topic| self.make_hidden(topic, &spec))
    }

    /// A topic that no tenant declares, unless it is there.
    fn make_hidden(&self, topic: &PhysicalTopic, spec: &TopicSpec) -> Result<(), LogError> {
        if self.tools.runtime.block_on(self.tools.topics.get(topic))?.is_some() {
            return Ok(());
        }
        match self.tools.log.create_topic(topic, spec) {
            // Another worker was quicker.
            Err(error) if error.code == Code::Conflict => {}
            made => made?,
        }
        self.tools.topics.forget(topic);
        Ok(())
    }

    async fn load(&self, assignment: &Arc<PipelineAssignment>) -> Result<Vec<RunningStage>, LogError> {
        let ours = |fault: HostFault| LogError::new(fault.code, fault.message);
        let secrets = match assignment.spec.secrets().is_empty() {
            true => Secrets::new(),
            false => self.tools.secrets.fetch(assignment.clone()).await.map_err(ours)?,
        };
        let mut stages = Vec::new();
        for stage in &assignment.spec.stages {
            let module = self.tools.modules.load(&assignment.key.tenant, stage.module).await;
            let config = stage_config(&assignment.spec, stage);
            let sink = self.tools.guest_log(&self.state, &stage.name);
            let ready = module.and_then(|module| module.stage(config, sink)).map_err(|fault| match fault {
                Fault::Guest(fault) => LogError::new(fault.kind.code(), fault.message),
                Fault::Host(fault) => ours(fault),
            })?;
            let ready = ready.with_buckets(crate::bucket::granted(&self.tools, assignment, stage, &self.state.uses));
            let granted = crate::secrets::granted(stage, &secrets, Code::SecretUnavailable).map_err(ours)?;
            let ready = ready.with_secrets(granted).with_memory(self.state.tenant.memory.guests.clone());
            let count = self.state.stage_count(&stage.name);
            stages.push(RunningStage::new(stage, ready, self.tools.config.recycle_bytes, count).of(&self.state));
        }
        Ok(stages)
    }
}

/// What a stage of `spec` is told of itself, and may use; its modules may be named in either way.
pub fn stage_config<M>(spec: &PipelineSpec<M>, stage: &StageSpec<M>) -> StageConfig {
    let input = |feed: &Feed| match feed {
        Feed::Input(i) => spec.inputs[*i].topic.to_string(),
        Feed::Output { stage, output } => {
            format!("{}.{}", spec.stages[*stage].name, spec.stages[*stage].outputs[*output].name)
        }
    };
    StageConfig {
        pipeline: spec.name.to_string(),
        stage: stage.name.to_string(),
        inputs: stage.inputs.iter().map(input).collect(),
        outputs: stage.outputs.iter().map(|output| output.name.to_string()).collect(),
        settings: stage.settings.clone(),
        limits: stage.limits,
        grants: stage.grants(),
        scratch: stage.scratch.map(|scratch| scratch.max_bytes),
    }
}
