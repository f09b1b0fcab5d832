//! Records that were written again to their source so that one pipeline handles them once more.
//!
//! Such a record names its pipeline in a header. It enters by the source topic, not by a topic of its own: a pipeline's state and
//! order belong to the source's partitions, and a second way in would meet another partition's state, or its owner on another worker.
//! Every pipeline of that topic meets it; those that are not meant pass over it. Programs outside Bulkhead see the header too.
//! Must never: show the header to a stage, or pass over a record that names nobody else.

use bulkhead_core::assignment::PipelineKey;
use bulkhead_core::columns::RecordBatch;
use bulkhead_core::dead_letter::REPLAY_OF;

/// What of a batch is for this pipeline, without the header. Costs a look at the headers' names, where there are any.
pub(crate) fn sift(batch: RecordBatch, pipeline: &PipelineKey) -> RecordBatch {
    let names = &batch.headers.names;
    if names.is_empty() || !(0..names.len()).any(|i| names.get(i) == REPLAY_OF.as_bytes()) {
        return batch;
    }
    let mine = format!("{}/{}/", pipeline.project, pipeline.pipeline);
    let mut sifted = RecordBatch { topic: batch.topic, partition: batch.partition, ..RecordBatch::default() };
    for i in 0..batch.len() {
        // The last one counts: a record that brings such a header of its own got ours after it.
        let named = batch.headers.row(i).filter(|(name, _)| *name == REPLAY_OF.as_bytes()).last();
        match named {
            None => sifted.push_row(&batch, i),
            Some((_, meant)) if meant.is_some_and(|meant| meant.starts_with(mine.as_bytes())) => {
                let own = batch.headers.row(i).filter(|(name, _)| *name != REPLAY_OF.as_bytes());
                sifted.push(batch.offsets[i], batch.timestamps[i], batch.keys.get(i), batch.values.get(i), own);
            }
            Some(_) => {}
        }
    }
    sifted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replayed_record_is_for_its_pipeline_alone_and_comes_as_it_was() {
        let key = |pipeline: &str| PipelineKey {
            tenant: "acme".parse().unwrap(),
            project: "default".parse().unwrap(),
            pipeline: pipeline.parse().unwrap(),
        };
        let mut batch = RecordBatch { topic: 1, partition: 2, ..RecordBatch::default() };
        batch.push(4, 1, Some(b"a"), Some(b"x"), []);
        let replay = (REPLAY_OF.as_bytes(), Some(&b"default/p/0-7"[..]));
        batch.push(5, 2, Some(b"b"), Some(b"y"), [(&b"own"[..], None), replay]);
        batch.push(6, 3, None, Some(b"z"), [(&b"own"[..], None)]);

        let mine = sift(batch.clone(), &key("p"));
        assert_eq!((mine.offsets.as_slice(), mine.topic, mine.partition), (&[4, 5, 6][..], 1, 2));
        assert_eq!(mine.headers.row(1).collect::<Vec<_>>(), [(&b"own"[..], None)]);
        assert_eq!((mine.keys.get(1), mine.values.get(1), mine.timestamps[1]), (Some(&b"b"[..]), Some(&b"y"[..]), 2));
        for other in ["p2", "q"] {
            assert_eq!(sift(batch.clone(), &key(other)).offsets, [4, 6], "{other}");
        }
    }
}
