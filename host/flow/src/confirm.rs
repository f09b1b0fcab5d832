//! One record through a pipeline's stages, each run alone as a verdict's evidence is: what a developer's machine does with a dead letter.
//!
//! A dead letter holds the record of the log, whatever stage could not handle it. So the stages before that one run too, on what each made
//! of it; where one of them depends on the time or on chance, what it makes here is what it made where the verdict was confirmed, not
//! necessarily what it made live.
//! Must never: write anything, or differ from a worker in how a stage is called.

use crate::graph::Graph;
use crate::pipeline::source::stage_config;
use crate::stage_call::{Piece, RunningStage, rejected};
use crate::work::Spent;
use bulkhead_core::code::Code;
use bulkhead_core::columns::{Action, RecordBatch};
use bulkhead_core::fault::{Fault, GuestFault, GuestFaultKind, HostFault};
use bulkhead_core::manifest::PipelineSpec;
use bulkhead_core::name::{ModuleDigest, ProjectId, StageName, TopicName};
use bulkhead_core::scope::{PipelinePath, TenantScope};
use bulkhead_core::secret::Secrets;
use bulkhead_engine::{GuestLog, Module};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// A run of one stage on one record.
#[derive(Debug, Clone)]
pub struct StageRun {
    /// Which stage.
    pub stage: StageName,
    /// Its fuel, that of starting it left out.
    pub fuel: u64,
    /// What was wrong with it.
    pub fault: Option<GuestFault>,
}

/// What is needed to run a pipeline's stages on one record.
pub struct Alone<'a> {
    /// Whose pipeline it is.
    pub scope: &'a TenantScope,
    /// In which project.
    pub project: &'a ProjectId,
    /// The pipeline.
    pub spec: &'a PipelineSpec,
    /// Its modules.
    pub modules: &'a HashMap<ModuleDigest, Module>,
    /// Where the stages' lines go.
    pub log: Arc<dyn GuestLog>,
    /// Bytes of one record that each topic takes; a topic that is missing takes any.
    pub topic_limits: &'a BTreeMap<TopicName, u64>,
    /// Secrets, by the project's name for them.
    pub secrets: &'a Secrets,
}

impl Alone<'_> {
    /// Runs `record`, a batch of one whose topic is an index into the pipeline's inputs, through the stages until one cannot handle what
    /// it is given. The last run holds the verdict; where none has a fault, the record passes alone.
    ///
    /// # Errors
    /// Where no record is to blame: a module that is missing, or does not start; [`Code::BucketNotHere`] where a stage reaches buckets;
    /// [`Code::SecretNotHere`] where one is granted a secret that is not in `secrets`.
    pub async fn run(&self, record: RecordBatch) -> Result<Vec<StageRun>, Fault> {
        // Nothing is written, so it is no making of the pipeline.
        let path = PipelinePath { project: self.project, pipeline: &self.spec.name, incarnation: "" };
        let graph = Graph::new(self.scope, path, self.spec, self.stages()?);
        let mut runs = Vec::new();
        let mut feeds = graph.entry(Arc::new(record));
        for (at, stage) in graph.stages.iter().enumerate() {
            for batch in std::mem::take(&mut feeds[at]).into_iter().map(|feeding| feeding.batch) {
                for row in 0..batch.len() {
                    let alone = Arc::new(batch.select([row]));
                    let (run, piece) = self.stage(&stage.running, at, alone).await?;
                    let ends = run.fault.is_some();
                    runs.push(run);
                    if ends {
                        return Ok(runs);
                    }
                    stage.pass_on(&piece, None, &mut feeds);
                }
            }
        }
        Ok(runs)
    }

    fn stages(&self) -> Result<Vec<RunningStage>, Fault> {
        let ready = self.spec.stages.iter().map(|stage| {
            let module = self.modules.get(&stage.module).ok_or_else(|| {
                let message = format!("the module {} of stage `{}` is missing", stage.module, stage.name);
                HostFault::new(Code::ModuleMissing, message)
            })?;
            if !stage.buckets.is_empty() {
                let message = format!("stage `{}` reaches buckets, of which this machine has none", stage.name);
                return Err(HostFault::new(Code::BucketNotHere, message).into());
            }
            let secrets = crate::secrets::granted_here(stage, self.secrets)?;
            let ready = module.stage(stage_config(self.spec, stage), self.log.clone())?.with_secrets(secrets);
            Ok(RunningStage::new(stage, ready, usize::MAX, Default::default()))
        });
        ready.collect()
    }

    async fn stage(
        &self,
        stage: &RunningStage,
        at: usize,
        alone: Arc<RecordBatch>,
    ) -> Result<(StageRun, Piece), Fault> {
        let told = |fuel, fault| StageRun { stage: stage.name.clone(), fuel, fault };
        let nothing = |batch| Piece { batch, rows: None, outputs: Default::default() };
        let ran = match stage.confirm(&alone, None, &mut Spent::default()).await {
            Ok(ran) => ran,
            Err(failure) => match failure.fault {
                Fault::Guest(fault) if fault.kind != GuestFaultKind::Init => {
                    return Ok((told(failure.fuel, Some(fault)), nothing(alone)));
                }
                other => return Err(other),
            },
        };
        let refused = ran.outcome.exceptions.into_iter().next().map(|exception| match exception.action {
            Action::DeadLetter => GuestFault::new(GuestFaultKind::Rejected, exception.reason),
            Action::Retry => rejected(&exception.reason, stage.limits.retries),
        });
        let piece = Piece { batch: alone, rows: None, outputs: ran.outcome.outputs };
        let fault = refused.or_else(|| self.too_large(at, &piece));
        Ok((told(ran.fuel, fault), piece))
    }

    /// What the topics would say.
    fn too_large(&self, at: usize, piece: &Piece) -> Option<GuestFault> {
        use bulkhead_core::columns::record_bytes;
        use bulkhead_core::manifest::Target;
        (0..piece.outputs.len()).find_map(|i| {
            let Target::Topic(topic) = &self.spec.stages[at].outputs[usize::from(piece.outputs.to[i])].target else {
                return None;
            };
            let max = usize::try_from(*self.topic_limits.get(topic)?).unwrap_or(usize::MAX);
            let key = piece.outputs.key(i, &piece.batch);
            let bytes = record_bytes(key, piece.outputs.values.get(i), piece.outputs.headers(i, &piece.batch));
            (bytes > max).then(|| crate::topics::refused_output(bytes, max))
        })
    }
}
