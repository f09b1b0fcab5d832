//! A dead letter that is sealed: the record as it would be in plain, its key, headers and evidence with it, as one value.
//!
//! It is tied to the dead-letter topic that it is in and to the place that its record came from, so that one letter cannot be put in
//! another's place. Before it is sealed it is laid out so, lengths as four bytes, big-endian; a null has the length `u32::MAX`:
//!
//! | | |
//! |---|---|
//! | key, value | length, bytes |
//! | each header, until the end | length of the name, name, length of the value, value |
//!
//! Must never: open as anything but the record that was sealed.

use crate::error::VaultError;
use crate::pipeline::PipelineKeys;
use crate::tenant::SEAL_BYTES;
use bulkhead_core::columns::RecordBatch;
use bulkhead_core::dead_letter::Coordinates;
use bulkhead_core::name::TopicName;

/// What a sealed letter's value has more than key, value and headers with ten bytes for each of these, as
/// [`record_bytes`](bulkhead_core::columns::record_bytes) counts them.
pub const SEALED_LETTER_BYTES: usize = SEAL_BYTES + 2 * LENGTH_BYTES;
const LENGTH_BYTES: usize = 4;
const NULL: u32 = u32::MAX;
const KIND: &str = "letter";

/// Where a letter belongs.
#[derive(Debug, Clone, Copy)]
pub struct LetterPlace<'a> {
    /// The dead-letter topic.
    pub topic: &'a TopicName,
    /// Where its record came from.
    pub source: &'a Coordinates,
}

impl LetterPlace<'_> {
    fn with<T>(&self, then: impl FnOnce(&[&[u8]]) -> T) -> T {
        let Coordinates { topic, partition, offset } = self.source;
        let (partition, offset) = (partition.to_be_bytes(), offset.to_be_bytes());
        then(&[self.topic.as_str().as_bytes(), topic.as_str().as_bytes(), &partition, &offset])
    }
}

impl PipelineKeys {
    /// The value of a sealed letter.
    ///
    /// # Errors
    /// Where the system has no random bytes.
    pub fn seal_letter<'a>(
        &self,
        place: LetterPlace<'_>,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: impl IntoIterator<Item = (&'a [u8], Option<&'a [u8]>)>,
    ) -> Result<Vec<u8>, VaultError> {
        let mut packed = zeroize::Zeroizing::new(Vec::new());
        push(&mut packed, key);
        push(&mut packed, value);
        for (name, value) in headers {
            push(&mut packed, Some(name));
            push(&mut packed, value);
        }
        place.with(|beside| self.seal(KIND, beside, &packed))
    }

    /// Adds to `batch` the record that was sealed as the letter of this place, under the letter's own offset and time.
    ///
    /// # Errors
    /// As [`PipelineKeys::open`].
    pub fn open_letter(
        &self,
        place: LetterPlace<'_>,
        sealed: &[u8],
        (offset, timestamp): (i64, i64),
        batch: &mut RecordBatch,
    ) -> Result<(), VaultError> {
        let packed = place.with(|beside| self.open(KIND, beside, sealed))?;
        let mut rest: &[u8] = &packed;
        let broken = || VaultError::sealed("a dead letter does not hold a record");
        let (key, value) = (pop(&mut rest).ok_or_else(broken)?, pop(&mut rest).ok_or_else(broken)?);
        let mut headers = Vec::new();
        while !rest.is_empty() {
            let name = pop(&mut rest).flatten().ok_or_else(broken)?;
            headers.push((name, pop(&mut rest).ok_or_else(broken)?));
        }
        batch.push(offset, timestamp, key, value, headers);
        Ok(())
    }
}

/// Cells are far shorter than 4 GiB: no batch is longer than some MiB.
fn push(packed: &mut Vec<u8>, cell: Option<&[u8]>) {
    let length = cell.map_or(NULL, |cell| cell.len() as u32);
    packed.extend_from_slice(&length.to_be_bytes());
    packed.extend_from_slice(cell.unwrap_or_default());
}

/// The next cell; `None` where there is none.
fn pop<'a>(rest: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    let (length, after) = rest.split_first_chunk::<LENGTH_BYTES>()?;
    let length = u32::from_be_bytes(*length);
    let (cell, after) = after.split_at_checked(if length == NULL { 0 } else { length as usize })?;
    *rest = after;
    Some((length != NULL).then_some(cell))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LocalMaster, Vault};
    use bulkhead_core::assignment::PipelineKey;
    use bulkhead_core::columns::record_bytes;
    use std::sync::Arc;

    fn keys() -> PipelineKeys {
        let vault = Vault::new(Arc::new(LocalMaster::generate().unwrap()), None);
        let key = PipelineKey {
            tenant: "acme".parse().unwrap(),
            project: "default".parse().unwrap(),
            pipeline: "p".parse().unwrap(),
        };
        let wrapped = vault.new_key(&key.tenant, 1).unwrap();
        vault.open(&key.tenant, vec![wrapped]).unwrap().of_pipeline(&key)
    }

    type Headers = Vec<(&'static [u8], Option<&'static [u8]>)>;

    #[test]
    fn a_letter_comes_back_as_the_record_that_it_was_at_its_own_place_only() {
        let keys = keys();
        let topic: TopicName = "dead".parse().unwrap();
        let source = Coordinates { topic: "orders".parse().unwrap(), partition: 3, offset: 41 };
        let place = LetterPlace { topic: &topic, source: &source };
        let none: Headers = Vec::new();
        let some: Headers = vec![(b"", None), (b"a", Some(b"")), (b"a", Some(b"b"))];
        for (key, value, headers) in
            [(None, None, none.clone()), (Some(&b""[..]), Some(&b"v"[..]), some), (None, Some(b""), none)]
        {
            let sealed = keys.seal_letter(place, key, value, headers.clone()).unwrap();
            let counted = record_bytes(key, value, headers.clone()) - record_bytes(None, None, []);
            assert!(sealed.len() <= counted + SEALED_LETTER_BYTES);
            let mut batch = RecordBatch::default();
            keys.open_letter(place, &sealed, (7, 9), &mut batch).unwrap();
            assert_eq!((batch.offsets.as_slice(), batch.timestamps.as_slice()), (&[7][..], &[9][..]));
            assert_eq!((batch.keys.get(0), batch.values.get(0)), (key, value));
            assert_eq!(batch.headers.row(0).collect::<Vec<_>>(), headers);
            let elsewhere = Coordinates { offset: 42, ..source.clone() };
            let elsewhere = LetterPlace { topic: &topic, source: &elsewhere };
            assert!(keys.open_letter(elsewhere, &sealed, (7, 9), &mut batch).is_err());
            assert_eq!(batch.len(), 1, "what does not open adds nothing");
        }
    }
}
