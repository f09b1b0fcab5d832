//! A pipeline's graph on one batch: every stage in order, in process, before anything commits.
//!
//! An output's source is always the record that came from the log. So a record that any stage cannot handle is dead as a
//! whole: none of its outputs, from whatever stage, is kept; and a retry cuts the whole graph's outputs at the source record.
//! Outputs of one stage keep the order of the source partition; where two stages write one topic, each keeps its own order.
//! Must never: return an output whose source record is dead or still to be retried.

use crate::stage_call::{Called, DeadRow, Piece, RunningStage};
use crate::state::partition::PartitionState;
use crate::work::{Spent, Work};
use bulkhead_bucket::rows::Schema;
use bulkhead_core::columns::{Outputs, RecordBatch};
use bulkhead_core::fault::{Fault, GuestFault, GuestFaultKind};
use bulkhead_core::limits::BatchLimits;
use bulkhead_core::manifest::{Feed, PipelineSpec, Target};
use bulkhead_core::scope::{OutputPath, PhysicalTopic, PipelinePath, TenantScope};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A pipeline's stages, ready to run, with where each one's outputs lead.
pub(crate) struct Graph {
    pub(crate) stages: Vec<GraphStage>,
    /// For each input of the pipeline, the stages that it feeds and the index under which they know it.
    entries: Vec<Vec<(usize, u16)>>,
    /// For each input of the pipeline, the stages that its records can reach and that act on time, with the index under which they know the
    /// first feed by which they do.
    tickers: Vec<Vec<(usize, u16)>>,
}

/// A stage and its edges.
pub(crate) struct GraphStage {
    pub(crate) running: RunningStage,
    /// Topic of each output; `None` where it leads elsewhere.
    targets: Arc<[Option<PhysicalTopic>]>,
    /// The topic in which rows for a bucket wait, of each output; `None` where it leads elsewhere.
    rows: Arc<[Option<PhysicalTopic>]>,
    /// What such rows hold.
    schemas: Vec<Option<Schema>>,
    /// Stage of each output, with the index under which that stage knows it; `None` where it leads elsewhere.
    next: Vec<Option<(usize, u16)>>,
}

/// Outputs of one stage's call, for topics.
pub(crate) struct Written {
    /// Index of the stage.
    pub(crate) stage: usize,
    pub(crate) batch: Arc<RecordBatch>,
    pub(crate) outputs: Outputs,
    pub(crate) targets: Arc<[Option<PhysicalTopic>]>,
    /// Row of the source batch for each row of `batch`; `None` where they are the same.
    origin: Option<Arc<[u32]>>,
}

impl Written {
    /// The row of the source batch that output `i` was made from.
    pub(crate) fn source_row(&self, i: usize) -> u32 {
        origin_of(self.origin.as_deref(), self.outputs.source[i])
    }
}

/// A record of the log that a stage could not handle.
#[derive(Debug, Clone)]
pub(crate) struct Dead {
    /// Index of the stage.
    pub(crate) stage: usize,
    pub(crate) fault: GuestFault,
    /// See [`DeadRow::fuel`].
    pub(crate) fuel: Option<u64>,
}

/// What came of a batch.
#[derive(Default)]
pub(crate) struct GraphRun {
    pub(crate) written: Vec<Written>,
    /// By row of the source batch.
    pub(crate) dead: BTreeMap<u32, Dead>,
    /// First row of the source batch to try again, with the stage that asked and its words.
    pub(crate) retry: Option<Retry>,
    pub(crate) work: Work,
}

/// A stage wants a record again.
#[derive(Debug, Clone)]
pub(crate) struct Retry {
    pub(crate) row: u32,
    pub(crate) stage: usize,
    pub(crate) reason: String,
}

/// A batch on its way into a stage.
pub(crate) struct Feeding {
    pub(crate) batch: Arc<RecordBatch>,
    origin: Option<Arc<[u32]>>,
}

fn origin_of(origin: Option<&[u32]>, row: u32) -> u32 {
    origin.map_or(row, |origin| origin[row as usize])
}

impl Graph {
    /// Joins ready stages, one for each of the manifest's, by the manifest's edges.
    pub(crate) fn new(
        scope: &TenantScope,
        path: PipelinePath<'_>,
        spec: &PipelineSpec,
        running: Vec<RunningStage>,
    ) -> Self {
        let index = |stage: usize, feed: Feed| {
            let at = spec.stages[stage].inputs.iter().position(|f| *f == feed).expect("a feed names its stage");
            u16::try_from(at).expect("inputs are limited to far fewer")
        };
        let entries = spec.inputs.iter().enumerate();
        let entries = entries.map(|(i, input)| input.to.iter().map(|to| (*to, index(*to, Feed::Input(i)))).collect());
        let tickers = (0..spec.inputs.len()).map(|input| {
            let ticking = reached(spec, input).into_iter().filter(|(stage, _)| running[*stage].stage.ticks());
            ticking.collect()
        });
        let tickers = tickers.collect();
        let stages = running.into_iter().enumerate().map(|(stage, running)| {
            let outputs = &spec.stages[stage].outputs;
            let targets = outputs.iter().map(|output| match &output.target {
                Target::Topic(topic) => Some(scope.topic(topic)),
                Target::Stage(_) | Target::Bucket(_) => None,
            });
            let name = &spec.stages[stage].name;
            let rows = outputs.iter().map(|output| match &output.target {
                Target::Bucket(bucket) => {
                    let path = OutputPath { pipeline: path, stage: name, output: &output.name };
                    Some(scope.rows_topic(&path, &bucket.columns))
                }
                Target::Topic(_) | Target::Stage(_) => None,
            });
            let schemas = outputs.iter().map(|output| match &output.target {
                Target::Bucket(bucket) => Some(Schema::new(bucket)),
                Target::Topic(_) | Target::Stage(_) => None,
            });
            let next = outputs.iter().enumerate().map(|(output, to)| match to.target {
                Target::Topic(_) | Target::Bucket(_) => None,
                Target::Stage(to) => Some((to, index(to, Feed::Output { stage, output }))),
            });
            GraphStage {
                running,
                targets: targets.collect(),
                rows: rows.collect(),
                schemas: schemas.collect(),
                next: next.collect(),
            }
        });
        Self { entries: entries.collect(), stages: stages.collect(), tickers }
    }

    /// The stages that tick for a partition of this input of the pipeline, with the index of the input that they are told.
    pub(crate) fn tickers(&self, input: u16) -> &[(usize, u16)] {
        &self.tickers[usize::from(input)]
    }

    /// Every topic of the tenant's that the graph writes.
    pub(crate) fn targets(&self) -> impl Iterator<Item = &PhysicalTopic> {
        self.stages.iter().flat_map(|stage| stage.targets.iter().flatten())
    }

    /// What each stage is given of a batch of the pipeline's input `batch.topic`, before any stage has run.
    pub(crate) fn entry(&self, batch: Arc<RecordBatch>) -> Vec<Vec<Feeding>> {
        let mut feeds: Vec<Vec<Feeding>> = self.stages.iter().map(|_| Vec::new()).collect();
        for (stage, index) in &self.entries[usize::from(batch.topic)] {
            let batch = if batch.topic == *index { batch.clone() } else { renamed(&batch, *index) };
            feeds[*stage].push(Feeding { batch, origin: None });
        }
        feeds
    }

    /// Runs a batch of the pipeline's input `batch.topic` through all stages. What they write to their state stays the batch's until it
    /// is accepted or discarded, which is for the caller; what an earlier run wrote that was neither is forgotten.
    ///
    /// # Errors
    /// Where no record is to blame; nothing of the batch is done then, and its fuel is added to `lost`.
    pub(crate) async fn run(
        &self,
        batch: &Arc<RecordBatch>,
        state: &PartitionState,
        lost: &mut Work,
    ) -> Result<GraphRun, Fault> {
        state.discard();
        let (feeds, mut run) = (self.entry(batch.clone()), GraphRun::default());
        let ran = self.run_stages(&mut run, feeds, state).await;
        run.unless_lost(ran, lost)
    }

    /// Tells a stage the time and runs what it puts out through the stages after it. `moment` is a batch of one empty record that says
    /// when and where, with the index under which the stage knows its input.
    ///
    /// # Errors
    /// Where the stage fails, or a stage after it cannot handle what it put out: no record is to blame, nothing is done, and its fuel is
    /// added to `lost`.
    pub(crate) async fn tick(
        &self,
        at: usize,
        moment: &Arc<RecordBatch>,
        state: &PartitionState,
        lost: &mut Work,
    ) -> Result<GraphRun, Fault> {
        state.discard();
        let mut run = GraphRun::default();
        let ran = self.tick_stages(&mut run, at, moment, state).await;
        run.unless_lost(ran, lost)
    }

    async fn tick_stages(
        &self,
        run: &mut GraphRun,
        at: usize,
        moment: &Arc<RecordBatch>,
        state: &PartitionState,
    ) -> Result<(), Fault> {
        let mut feeds: Vec<Vec<Feeding>> = self.stages.iter().map(|_| Vec::new()).collect();
        let stage = &self.stages[at];
        let now = (moment.topic, moment.partition, moment.timestamps[0]);
        let mut spent = Spent::default();
        let ticked = stage.running.tick(now, state.of(at), &mut spent).await;
        run.work.burn(at, &spent);
        let outputs = ticked.map_err(|failure| failure.fault)?;
        run.work.call(at, None, None, vec![0; outputs.len()]);
        let piece = Piece { batch: moment.clone(), rows: None, outputs };
        stage.pass_on(&piece, None, &mut feeds);
        run.keep(at, stage, piece, None);
        self.run_stages(run, feeds, state).await?;
        if let Some((_, dead)) = run.dead.pop_first() {
            return Err(dead.fault.into());
        }
        if let Some(retry) = &run.retry {
            let words = format!("asked for a retry of what a tick put out: {}", retry.reason);
            return Err(GuestFault::new(GuestFaultKind::Rejected, words).into());
        }
        Ok(())
    }

    async fn run_stages(
        &self,
        run: &mut GraphRun,
        mut feeds: Vec<Vec<Feeding>>,
        state: &PartitionState,
    ) -> Result<(), Fault> {
        for (at, stage) in self.stages.iter().enumerate() {
            for feeding in std::mem::take(&mut feeds[at]) {
                let origin = feeding.origin;
                let (given, mut spent) = (Some(feeding.batch.clone()), Spent::default());
                let called = stage.running.call(feeding.batch, state.of(at), &mut spent).await;
                run.work.burn(at, &spent);
                let called = called?;
                let made = called.pieces.iter().flat_map(|piece| {
                    piece.outputs.source.iter().map(|source| origin_of(origin.as_deref(), piece.row(*source)))
                });
                run.work.call(at, given, origin.clone(), made.collect());
                run.take_verdicts(at, &called, origin.as_deref());
                for piece in called.pieces {
                    stage.pass_on(&piece, origin.as_deref(), &mut feeds);
                    run.keep(at, stage, piece, origin.as_deref());
                }
            }
        }
        run.cut();
        Ok(())
    }
}

impl GraphStage {
    /// Makes the batches of the stages that this one feeds. A stage may make far more of a batch than it was given, so they are
    /// cut to what the contract allows.
    pub(crate) fn pass_on(&self, piece: &Piece, origin: Option<&[u32]>, feeds: &mut [Vec<Feeding>]) {
        for (to, next) in self.next.iter().enumerate() {
            let Some((stage, index)) = next else { continue };
            let new = || RecordBatch { topic: *index, partition: piece.batch.partition, ..RecordBatch::default() };
            let (mut batch, mut rows) = (new(), Vec::new());
            let outputs = &piece.outputs;
            for i in (0..outputs.len()).filter(|i| usize::from(outputs.to[*i]) == to) {
                let source = outputs.source[i];
                let value = outputs.values.get(i);
                let bytes = batch.bytes() + value.map_or(0, <[u8]>::len);
                let full = batch.len() >= BatchLimits::MAX.records as usize || bytes as u64 > BatchLimits::MAX.bytes;
                if full && !batch.is_empty() {
                    let batch = Arc::new(std::mem::replace(&mut batch, new()));
                    feeds[*stage].push(Feeding { batch, origin: Some(std::mem::take(&mut rows).into()) });
                }
                rows.push(origin_of(origin, piece.row(source)));
                batch.push(
                    piece.batch.offsets[source as usize],
                    outputs.timestamp(i, &piece.batch),
                    outputs.key(i, &piece.batch),
                    value,
                    outputs.headers(i, &piece.batch),
                );
            }
            if !batch.is_empty() {
                feeds[*stage].push(Feeding { batch: Arc::new(batch), origin: Some(rows.into()) });
            }
        }
    }
}

impl GraphRun {
    /// The run, or what it failed with; then all of its fuel is lost.
    fn unless_lost(self, ran: Result<(), Fault>, lost: &mut Work) -> Result<Self, Fault> {
        match ran {
            Ok(()) => Ok(self),
            Err(fault) => {
                self.lose(lost);
                Err(fault)
            }
        }
    }

    /// Nothing will come of the run: its fuel is added to `lost`.
    pub(crate) fn lose(self, lost: &mut Work) {
        let mut work = self.work;
        work.give_up();
        lost.add(work);
    }

    fn take_verdicts(&mut self, stage: usize, called: &Called, origin: Option<&[u32]>) {
        for DeadRow { row, fault, fuel } in &called.dead {
            let dead = Dead { stage, fault: fault.clone(), fuel: *fuel };
            self.dead.entry(origin_of(origin, *row)).or_insert(dead);
        }
        if let Some((row, reason)) = &called.retry {
            let row = origin_of(origin, *row);
            if self.retry.as_ref().is_none_or(|retry| row < retry.row) {
                self.retry = Some(Retry { row, stage, reason: reason.clone() });
            }
        }
    }

    fn keep(&mut self, at: usize, stage: &GraphStage, piece: Piece, origin: Option<&[u32]>) {
        self.keep_rows(at, stage, &piece, origin);
        if piece.outputs.is_empty() || stage.targets.iter().all(Option::is_none) {
            return;
        }
        let origin = origins(&piece, origin);
        let targets = stage.targets.clone();
        self.written.push(Written { stage: at, batch: piece.batch, outputs: piece.outputs, targets, origin });
    }

    /// Takes over the verdicts of a run on some rows of a batch, which `rows` names. Its outputs and state are void.
    pub(crate) fn take_over(&mut self, mut run: GraphRun, rows: &[u32]) {
        let dead = &run.dead;
        // The others are given to the stages again.
        run.work.settle(|row| dead.contains_key(&row), |_| false);
        run.work.give_up();
        self.work.add(std::mem::take(&mut run.work));
        self.dead.extend(run.dead.iter().map(|(row, dead)| (rows[*row as usize], dead.clone())));
        if let Some(retry) = &run.retry {
            let row = rows[retry.row as usize];
            self.retry = Some(Retry { row, ..retry.clone() });
            self.dead.retain(|dead, _| *dead < row);
        }
    }

    /// Rows 0 to `rows` are to commit, or what a tick put out where that is none: counts what the stages did for them.
    pub(crate) fn settle(&mut self, rows: usize) {
        let (ticked, dead) = (rows == 0, &self.dead);
        let commits = |row: u32| ticked || (row as usize) < rows;
        self.work.settle(commits, |row| commits(row) && !dead.contains_key(&row));
        self.dead.values().for_each(|dead| self.work.fault(dead.stage));
    }

    /// Whether a row is neither dead nor to be tried again.
    pub(crate) fn passes(&self, row: u32) -> bool {
        self.retry.as_ref().is_none_or(|retry| row < retry.row) && !self.dead.contains_key(&row)
    }

    /// Keeps what goes to buckets, without keys, so that rows wait in their source's partition. A row that does not fit its columns
    /// costs its record here, before anything is committed.
    fn keep_rows(&mut self, at: usize, stage: &GraphStage, piece: &Piece, origin: Option<&[u32]>) {
        if piece.outputs.is_empty() || stage.schemas.iter().all(Option::is_none) {
            return;
        }
        let mut rows = Outputs::default();
        for i in 0..piece.outputs.len() {
            let (source, to) = (piece.outputs.source[i], piece.outputs.to[i]);
            let Some(schema) = &stage.schemas[usize::from(to)] else { continue };
            let value = piece.outputs.values.get(i);
            match schema.row(value) {
                Ok(_) => rows.push(source, to, piece.outputs.timestamp(i, &piece.batch), None, value),
                Err(fault) => {
                    let fault = GuestFault::new(GuestFaultKind::RowRefused, fault.reason);
                    let row = origin_of(origin, piece.row(source));
                    self.dead.entry(row).or_insert(Dead { stage: at, fault, fuel: None });
                }
            }
        }
        if !rows.is_empty() {
            let (batch, origin) = (piece.batch.clone(), origins(piece, origin));
            self.written.push(Written { stage: at, batch, outputs: rows, targets: stage.rows.clone(), origin });
        }
    }

    /// Removes every output of records that are dead or to be retried.
    pub(crate) fn cut(&mut self) {
        if self.dead.is_empty() && self.retry.is_none() {
            return;
        }
        let until = self.retry.as_ref().map_or(u32::MAX, |retry| retry.row);
        self.dead.retain(|row, _| *row < until);
        let dead = &self.dead;
        for Written { outputs, origin, .. } in &mut self.written {
            outputs.retain(|source| {
                let row = origin_of(origin.as_deref(), source);
                row < until && !dead.contains_key(&row)
            });
        }
    }
}

/// The stages that an input's records can reach, each with the index of the first feed by which they do.
fn reached(spec: &PipelineSpec, input: usize) -> Vec<(usize, u16)> {
    let mut found: Vec<(usize, u16)> = Vec::new();
    // A stage is behind those that feed it.
    for (at, stage) in spec.stages.iter().enumerate() {
        let by = stage.inputs.iter().position(|feed| match feed {
            Feed::Input(i) => *i == input,
            Feed::Output { stage, .. } => found.iter().any(|(reached, _)| reached == stage),
        });
        if let Some(index) = by {
            found.push((at, index as u16));
        }
    }
    found
}

/// The row of the source batch for each row of a piece's batch.
fn origins(piece: &Piece, origin: Option<&[u32]>) -> Option<Arc<[u32]>> {
    match (&piece.rows, origin) {
        (None, None) => None,
        _ => Some((0..piece.batch.len() as u32).map(|i| origin_of(origin, piece.row(i))).collect()),
    }
}

/// The same records under another index.
fn renamed(batch: &RecordBatch, topic: u16) -> Arc<RecordBatch> {
    Arc::new(RecordBatch { topic, ..batch.clone() })
}
