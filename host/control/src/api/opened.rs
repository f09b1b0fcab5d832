//! Sealed dead letters, opened for whoever may read the topic that they are in.
//!
//! A worker seals them under the key of its pipeline where the log does not seal what it keeps; what reads records of a topic here shows them
//! as the records that they were. One that does not open stays as it is, and its evidence says that it is sealed.
//! Must never: open anything but a letter of the scope's own tenant at the place that it was sealed for.

use super::App;
use crate::problem::Problem;
use crate::store::Store;
use bulkhead_core::assignment::PipelineKey;
use bulkhead_core::columns::RecordBatch;
use bulkhead_core::dead_letter::{HEADER_PREFIX, Letter, SEALED};
use bulkhead_core::name::TopicName;
use bulkhead_core::scope::TenantScope;
use bulkhead_vault::{LetterPlace, PipelineKeys, TenantKeys};
use std::collections::BTreeMap;

/// The records of a batch of this topic, with the letters among them opened. Costs a look at the headers' names, where there are any.
pub(super) async fn opened(
    app: &App,
    store: &Store,
    scope: &TenantScope,
    topic: &TopicName,
    batch: RecordBatch,
) -> Result<RecordBatch, Problem> {
    let (names, sealed) = (&batch.headers.names, format!("{HEADER_PREFIX}{SEALED}"));
    if !(0..names.len()).any(|i| names.get(i) == sealed.as_bytes()) {
        return Ok(batch);
    }
    let Some(keys) = store.tenant_keys_if_any(scope, app.vault()).await? else { return Ok(batch) };
    let mut opening = Opening { keys: &keys, topic, pipelines: BTreeMap::new() };
    let mut opened = RecordBatch { topic: batch.topic, partition: batch.partition, ..RecordBatch::default() };
    for i in 0..batch.len() {
        if opening.push(&batch, i, &mut opened).is_none() {
            opened.push_row(&batch, i);
        }
    }
    Ok(opened)
}

struct Opening<'a> {
    keys: &'a TenantKeys,
    topic: &'a TopicName,
    /// Those that were derived already.
    pipelines: BTreeMap<PipelineKey, PipelineKeys>,
}

impl Opening<'_> {
    /// Adds a row opened; `None` where it is no sealed letter, or does not open.
    fn push(&mut self, batch: &RecordBatch, i: usize, opened: &mut RecordBatch) -> Option<()> {
        let (letter, _) = Letter::read(batch.headers.row(i)).filter(|(letter, _)| letter.sealed)?;
        let key =
            PipelineKey { tenant: self.keys.tenant().clone(), project: letter.project?, pipeline: letter.pipeline };
        let keys = self.pipelines.entry(key).or_insert_with_key(|key| self.keys.of_pipeline(key));
        let place = LetterPlace { topic: self.topic, source: &letter.source };
        let (at, value) = ((batch.offsets[i], batch.timestamps[i]), batch.values.get(i)?);
        keys.open_letter(place, value, at, opened).ok()
    }
}
