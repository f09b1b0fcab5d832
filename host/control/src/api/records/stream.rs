//! Records as a stream of events, from one partition or from all, resumable by the id of its last event.
//!
//! An id is the position of each partition, `0:12,1:3`: where to go on after this event. Only committed records are read.
//! Must never: pass over a record, or show one twice within a stream.

use super::line;
use crate::api::App;
use crate::api::opened::opened;
use crate::api::sse::{Events, event};
use crate::api::topics::missing;
use crate::port::TopicDescription;
use crate::problem::Problem;
use crate::store::Store;
use bulkhead_core::columns::RecordBatch;
use bulkhead_core::limits::BatchLimits;
use bulkhead_core::manifest::Start;
use bulkhead_core::name::TopicName;
use bulkhead_core::scope::TenantScope;
use std::fmt::Write as _;

/// What is read at a time: small, because a stream holds it while its reader is slow.
const LIMITS: BatchLimits = BatchLimits { records: 200, bytes: 128 << 10, linger_ms: 0 };
/// One record, to find where a time begins.
const ONE: BatchLimits = BatchLimits { records: 1, ..LIMITS };

/// A topic's records as they come.
pub(super) struct Tail {
    app: App,
    scope: TenantScope,
    topic: TopicName,
    /// Partitions of the topic at the start of the stream.
    partitions: usize,
    /// Each partition that is read, with where to go on.
    positions: Vec<(i32, i64)>,
    /// The place in `positions` to look at first, so that a busy partition does not keep out the others.
    turn: usize,
    told: bool,
}

impl Tail {
    /// Finds where to begin.
    ///
    /// # Errors
    /// Where the log does not answer, or `resume` is no id of this topic.
    pub(super) async fn start(
        app: &App,
        scope: &TenantScope,
        topic: TopicName,
        partition: Option<i32>,
        described: &TopicDescription,
        start: Start,
        resume: Option<&str>,
    ) -> Result<Self, Problem> {
        let wanted: Vec<i32> = partition.map_or_else(|| (0..described.partitions).collect(), |one| vec![one]);
        let positions = match resume {
            Some(id) => resumed(id, &wanted)?,
            None => {
                let mut positions = Vec::with_capacity(wanted.len());
                for partition in wanted {
                    let end = described.ends.get(partition as usize).copied().unwrap_or(0).max(0);
                    let next = match start {
                        Start::Earliest => 0,
                        Start::Latest => end,
                        Start::Offset(offset) => offset.min(end),
                        Start::TimeMs(_) => {
                            let (batch, next) = app.topics().read(scope, &topic, partition, start, &ONE).await?;
                            batch.offsets.first().copied().unwrap_or(next)
                        }
                    };
                    positions.push((partition, next));
                }
                positions
            }
        };
        let partitions = described.ends.len();
        Ok(Self { app: app.clone(), scope: scope.clone(), topic, partitions, positions, turn: 0, told: false })
    }

    fn id(&self) -> String {
        let positions: Vec<_> = self.positions.iter().map(|(partition, next)| format!("{partition}:{next}")).collect();
        positions.join(",")
    }

    /// Records as events; the position of `place` moves with each.
    fn events(&mut self, place: usize, batch: &RecordBatch, next: i64) -> String {
        let mut text = String::new();
        let partition = self.positions[place].0;
        for i in 0..batch.len() {
            self.positions[place].1 = batch.offsets[i] + 1;
            let mut record = line::show(batch, i, usize::MAX);
            record.insert("partition".to_owned(), partition.into());
            event(&mut text, &self.id(), "record", &serde_json::Value::Object(record).to_string());
        }
        self.positions[place].1 = next;
        text
    }
}

impl Events for Tail {
    async fn next(&mut self, store: &Store) -> Result<Option<String>, Problem> {
        if !std::mem::replace(&mut self.told, true) {
            // An id without data is kept by the reader and shown to nobody.
            let mut text = String::new();
            _ = write!(text, "id: {}\n\n", self.id());
            return Ok(Some(text));
        }
        let ends = self.app.topics().ends(&self.scope, &self.topic).await?;
        if ends.len() != self.partitions {
            return Err(missing(&self.topic));
        }
        for step in 0..self.positions.len() {
            let place = (self.turn + step) % self.positions.len();
            let (partition, from) = self.positions[place];
            let end = ends[partition as usize];
            if (0..from).contains(&end) {
                return Err(Problem::not_found(format!(
                    "record {from} of partition {partition}: the topic was made again"
                )));
            }
            if end <= from {
                continue;
            }
            let read = self.app.topics().read(&self.scope, &self.topic, partition, Start::Offset(from), &LIMITS);
            let (batch, next) = read.await?;
            let batch = opened(&self.app, store, &self.scope, &self.topic, batch).await?;
            let text = self.events(place, &batch, next);
            if !text.is_empty() {
                self.turn = place + 1;
                return Ok(Some(text));
            }
        }
        Ok(None)
    }
}

/// The positions that an id of an earlier stream tells.
fn resumed(id: &str, wanted: &[i32]) -> Result<Vec<(i32, i64)>, Problem> {
    let pair = |text: &str| {
        let (partition, next) = text.split_once(':')?;
        Some((partition.parse().ok()?, next.parse().ok().filter(|next| *next >= 0)?))
    };
    let positions: Option<Vec<(i32, i64)>> = id.split(',').map(pair).collect();
    let fits = |found: &Vec<(i32, i64)>| found.iter().map(|(partition, _)| partition).eq(wanted);
    positions.filter(fits).ok_or_else(|| {
        Problem::bad_request("`Last-Event-ID` is not of a stream of these partitions; leave it out to start afresh")
    })
}
