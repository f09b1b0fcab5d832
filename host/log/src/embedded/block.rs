//! How a run of records is stored: one blob of columns, with a checksum.
//!
//! The blob holds the columns as they are in memory, so that reading is a few copies. The checksum covers the place it is stored
//! at too, so that a blob which strayed to another row is found out.
//! Must never: give records of a blob whose checksum does not fit.

use super::topics::Topic;
use crate::{AtRest, LogError, RunPlace};
use bulkhead_core::code::Code;
use bulkhead_core::columns::{BytesColumn, Headers, NullColumn, RecordBatch};
use std::sync::Arc;

/// Offsets follow each other.
const VERSION: u8 = 1;
/// Offsets have gaps, where records were compacted away, and are written down.
const VERSION_GAPS: u8 = 2;
/// The blob is one of the above, sealed.
const SEALED: u8 = 3;
const CHECKSUM_BYTES: usize = 4;

/// How blobs are made and read: sealed, where the log was opened with something to seal by. Those from before are read too.
#[derive(Debug, Default)]
pub(super) struct Blocks(pub(super) Option<Arc<dyn AtRest>>);

impl Blocks {
    /// Whether records of this topic could be written.
    pub(super) fn check(&self, topic: &Topic) -> Result<(), LogError> {
        self.0.as_ref().map_or(Ok(()), |at_rest| at_rest.check(&topic.name))
    }

    /// The blob of these records of a topic.
    pub(super) fn encode(&self, topic: &Topic, place: Place, batch: &RecordBatch) -> Result<Vec<u8>, LogError> {
        let plain = encode(place, batch);
        let Some(at_rest) = &self.0 else { return Ok(plain) };
        let mut blob = at_rest.seal(place.of(topic), &plain)?;
        blob.insert(0, SEALED);
        Ok(blob)
    }

    /// The records of a blob; `topic` of the batch is left 0.
    ///
    /// # Errors
    /// [`Code::LogCorrupt`]; what opening it says, where it is sealed.
    pub(super) fn decode(&self, topic: &Topic, place: Place, blob: &[u8]) -> Result<RecordBatch, LogError> {
        match (blob.split_first(), &self.0) {
            (Some((&SEALED, sealed)), Some(at_rest)) => decode(place, &at_rest.open(place.of(topic), sealed)?),
            (Some((&SEALED, _)), None) => {
                let text =
                    format!("the records of topic {} are sealed, and the log was opened without keys", topic.name);
                Err(LogError::new(Code::LogUnavailable, text))
            }
            _ => decode(place, blob),
        }
    }
}

/// Where a blob is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// The topic's number.
    pub(super) topic: i64,
    /// Partition.
    pub(super) partition: i32,
    /// Offset of the first record.
    pub(super) base: i64,
}

impl Place {
    fn of(self, topic: &Topic) -> RunPlace<'_> {
        let Self { topic: number, partition, base } = self;
        RunPlace { topic: &topic.name, number, partition, base }
    }
}

/// The blob of these records.
fn encode(place: Place, batch: &RecordBatch) -> Vec<u8> {
    let mut out = Vec::with_capacity(batch.bytes() + 128);
    let gaps = batch.offsets.windows(2).any(|pair| pair[1] != pair[0] + 1);
    out.push(if gaps { VERSION_GAPS } else { VERSION });
    put_len(&mut out, batch.len());
    if gaps {
        batch.offsets.iter().for_each(|offset| out.extend_from_slice(&offset.to_le_bytes()));
    }
    for timestamp in &batch.timestamps {
        out.extend_from_slice(&timestamp.to_le_bytes());
    }
    put_nullable(&mut out, &batch.keys);
    put_nullable(&mut out, &batch.values);
    put_ends(&mut out, &batch.headers.record_ends);
    put_ends(&mut out, &batch.headers.names.ends);
    put_bytes(&mut out, &batch.headers.names.data);
    put_nullable(&mut out, &batch.headers.values);
    let checksum = checksum(place, &out);
    out.extend_from_slice(&checksum.to_le_bytes());
    out
}

/// The records of a blob; `topic` of the batch is left 0.
///
/// # Errors
/// [`Code::LogCorrupt`].
fn decode(place: Place, blob: &[u8]) -> Result<RecordBatch, LogError> {
    read(place, blob).ok_or_else(|| {
        let Place { topic, partition, base } = place;
        LogError::new(
            Code::LogCorrupt,
            format!(
                "stored records of topic number {topic}, partition {partition} from offset {base} on fail their check"
            ),
        )
    })
}

fn read(place: Place, blob: &[u8]) -> Option<RecordBatch> {
    let (body, stored) = blob.split_at_checked(blob.len().checked_sub(CHECKSUM_BYTES)?)?;
    if checksum(place, body).to_le_bytes() != stored {
        return None;
    }
    let mut input = Input(body);
    let version = input.take(1)?[0];
    let rows = input.len()?;
    let offsets = match version {
        VERSION => (place.base..place.base.checked_add(i64::try_from(rows).ok()?)?).collect(),
        VERSION_GAPS => input.numbers(rows)?,
        _ => return None,
    };
    let timestamps = input.numbers(rows)?;
    let keys = input.nullable()?;
    let values = input.nullable()?;
    let record_ends = input.ends()?;
    let names = BytesColumn { ends: input.ends()?, data: input.bytes()? };
    let headers = Headers { record_ends, names, values: input.nullable()? };
    let whole = keys.len() == rows && values.len() == rows && headers.names.len() == headers.values.len();
    (whole && input.0.is_empty()).then_some(RecordBatch {
        topic: 0,
        partition: place.partition,
        offsets,
        timestamps,
        keys,
        values,
        headers,
    })
}

fn checksum(place: Place, body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&place.topic.to_le_bytes());
    hasher.update(&place.partition.to_le_bytes());
    hasher.update(&place.base.to_le_bytes());
    hasher.update(body);
    hasher.finalize()
}

fn put_len(out: &mut Vec<u8>, len: usize) {
    out.extend_from_slice(&u32::try_from(len).expect("a column is far below 4 GiB").to_le_bytes());
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_len(out, bytes.len());
    out.extend_from_slice(bytes);
}

fn put_ends(out: &mut Vec<u8>, ends: &[u32]) {
    put_len(out, ends.len());
    for end in ends {
        out.extend_from_slice(&end.to_le_bytes());
    }
}

fn put_nullable(out: &mut Vec<u8>, column: &NullColumn) {
    put_ends(out, &column.ends);
    put_bytes(out, &column.nulls);
    put_bytes(out, &column.data);
}

/// What is left to read; every read says `None` past the end.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn len(&mut self) -> Option<usize> {
        let bytes: [u8; 4] = self.take(4)?.try_into().ok()?;
        usize::try_from(u32::from_le_bytes(bytes)).ok()
    }

    fn numbers(&mut self, count: usize) -> Option<Vec<i64>> {
        Some(self.take(count.checked_mul(8)?)?.as_chunks().0.iter().map(|b| i64::from_le_bytes(*b)).collect())
    }

    fn bytes(&mut self) -> Option<Vec<u8>> {
        let len = self.len()?;
        Some(self.take(len)?.to_vec())
    }

    fn ends(&mut self) -> Option<Vec<u32>> {
        let len = self.len()?;
        Some(self.take(len.checked_mul(4)?)?.as_chunks().0.iter().map(|b| u32::from_le_bytes(*b)).collect())
    }

    fn nullable(&mut self) -> Option<NullColumn> {
        Some(NullColumn { ends: self.ends()?, nulls: self.bytes()?, data: self.bytes()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place = Place { topic: 3, partition: 1, base: 40 };

    fn sample() -> RecordBatch {
        let mut batch = RecordBatch { partition: 1, ..RecordBatch::default() };
        batch.push(40, 7, Some(b"k"), None, []);
        batch.push(41, -1, None, Some(b""), [(&b"h"[..], None), (&b"h"[..], Some(&b"v"[..]))]);
        batch
    }

    #[test]
    fn records_come_back_as_they_were() {
        assert_eq!(decode(PLACE, &encode(PLACE, &sample())).unwrap(), sample());
        let mut gaps = sample();
        gaps.offsets = vec![40, 52];
        assert_eq!(decode(PLACE, &encode(PLACE, &gaps)).unwrap(), gaps);
        let empty = RecordBatch { partition: 1, ..RecordBatch::default() };
        assert_eq!(decode(PLACE, &encode(PLACE, &empty)).unwrap(), empty);
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let blob = encode(PLACE, &sample());
        for i in 0..blob.len() * 8 {
            let mut broken = blob.clone();
            broken[i / 8] ^= 1 << (i % 8);
            assert_eq!(decode(PLACE, &broken).unwrap_err().code, Code::LogCorrupt, "bit {i}");
        }
        for len in 0..blob.len() {
            assert!(decode(PLACE, &blob[..len]).is_err(), "cut to {len}");
        }
    }

    #[test]
    fn a_blob_in_another_place_is_noticed() {
        let blob = encode(PLACE, &sample());
        assert!(decode(Place { base: 41, ..PLACE }, &blob).is_err());
        assert!(decode(Place { topic: 4, ..PLACE }, &blob).is_err());
    }
}
