//! Dead letters: the record as it came, with the evidence of why it could not be handled in its headers.
//!
//! Key, value, timestamp and headers are the source record's; what Bulkhead adds are headers beginning with `bulkhead-`, all
//! text, by the names in [`bulkhead_core::dead_letter`]. What would not fit the dead-letter topic is left out: first the record's own headers, then the value, whose size
//! `bulkhead-value-bytes` then says, then the key; `bulkhead-left-out` names all of that. Long texts are cut before that. The coordinates still lead to it.
//! Where it is sealed, all of that is its value, and outside is only what says nothing of the record's content
//! ([`names::OUTSIDE`]); it has no key then, and goes to the partition that its record came from, as far as there are so many.
//! Must never: hold anything of the host or another tenant; coordinates are in the tenant's own names.

use crate::graph::Dead;
use bulkhead_core::columns::{INHERIT_KEY, INHERIT_TIMESTAMP, Outputs, RecordBatch};
use bulkhead_core::dead_letter::{self as names, Coordinates, HEADER_PREFIX};
use bulkhead_core::name::{ModuleDigest, TopicName};
use bulkhead_log::record_bytes;
use bulkhead_vault::{LetterPlace, PipelineKeys, SEALED_LETTER_BYTES, VaultError};

/// Bytes kept of the message and of the backtrace, so that a dead letter stays a record.
const TEXT_BYTES_MAX: usize = 4096;

/// Where a record came from and what judged it.
pub(crate) struct Evidence<'a> {
    pub(crate) project: &'a str,
    pub(crate) pipeline: &'a str,
    pub(crate) revision: u64,
    pub(crate) stage: &'a str,
    pub(crate) module: &'a ModuleDigest,
    pub(crate) topic: &'a TopicName,
    /// With what it is sealed, and the topic that it goes to; `None` where it is left plain.
    pub(crate) seal: Option<(&'a PipelineKeys, &'a TopicName)>,
}

/// Adds the dead letter of row `row` of `batch` to `outputs`, whose only target is the dead-letter topic, which takes records of at
/// most `limit` bytes.
///
/// # Errors
/// Where it cannot be sealed.
pub(crate) fn push(
    outputs: &mut Outputs,
    batch: &RecordBatch,
    row: u32,
    dead: &Dead,
    from: &Evidence<'_>,
    limit: usize,
) -> Result<(), VaultError> {
    let Some((keys, topic)) = from.seal else {
        push_plain(outputs, batch, row, dead, from, limit);
        return Ok(());
    };
    let i = row as usize;
    let mut room = limit.saturating_sub(record_bytes(None, None, []) + SEALED_LETTER_BYTES);
    let mut outside = evidence(batch, i, dead, from, limit);
    outside.retain(|(name, _)| names::OUTSIDE.contains(name));
    outside.push((names::SEALED, "1".to_owned()));
    outside.retain(|(name, text)| {
        let fits = header_bytes(name, text) <= room;
        room -= if fits { header_bytes(name, text) } else { 0 };
        fits
    });
    let mut plain = Outputs::default();
    push_plain(&mut plain, batch, row, dead, from, room + record_bytes(None, None, []));
    let source = Coordinates { topic: from.topic.clone(), partition: batch.partition, offset: batch.offsets[i] };
    let place = LetterPlace { topic, source: &source };
    let value = keys.seal_letter(place, plain.key(0, batch), plain.values.get(0), plain.headers(0, batch))?;
    let at = outputs.len();
    outputs.push(row, 0, batch.timestamps[i], None, Some(&value));
    for (name, text) in &outside {
        outputs.headers.push(format!("{HEADER_PREFIX}{name}").as_bytes(), Some(text.as_bytes()));
    }
    outputs.headers.end_row(at);
    Ok(())
}

fn push_plain(outputs: &mut Outputs, batch: &RecordBatch, row: u32, dead: &Dead, from: &Evidence<'_>, limit: usize) {
    let i = row as usize;
    let at = outputs.len();
    let bytes = |cell: Option<&[u8]>| cell.map_or(0, <[u8]>::len);
    let mut room = limit.saturating_sub(record_bytes(None, None, []));
    let mut take = |bytes: usize| {
        let fits = bytes <= room;
        room -= if fits { bytes } else { 0 };
        fits
    };
    // Room for saying what is missing is found before anything takes it: what is not whole must not be taken for it.
    let may_name = take(header_bytes(names::LEFT_OUT, "key value headers"));
    let evidence = evidence(batch, i, dead, from, limit);
    let evidence: Vec<_> = evidence.into_iter().filter(|(name, text)| take(header_bytes(name, text))).collect();
    let value = batch.values.get(i);
    let said = (names::VALUE_BYTES, bytes(value).to_string());
    let said_bytes = header_bytes(said.0, &said.1);
    let keep_key = take(bytes(batch.keys.get(i)));
    let may_say = take(said_bytes);
    let keep_value = take(bytes(value));
    let own = batch.headers.row(i);
    let keep_headers = take(record_bytes(None, None, own) - record_bytes(None, None, []));

    outputs.source.push(row);
    outputs.to.push(0);
    outputs.inherit.push(INHERIT_TIMESTAMP | if keep_key { INHERIT_KEY } else { 0 });
    outputs.keys.push(None);
    outputs.values.push(if keep_value { value } else { None });
    outputs.timestamps.push(batch.timestamps[i]);
    if keep_headers {
        batch.headers.row(i).for_each(|(name, value)| outputs.headers.push(name, value));
    }
    let missing: Vec<_> = [("key", keep_key), ("value", keep_value), ("headers", keep_headers)]
        .into_iter()
        .filter_map(|(what, kept)| (!kept).then_some(what))
        .collect();
    let left_out = (names::LEFT_OUT, missing.join(" "));
    let left_out = (may_name && !missing.is_empty()).then_some(&left_out);
    for (name, text) in evidence.iter().chain((!keep_value && may_say).then_some(&said)).chain(left_out) {
        outputs.headers.push(format!("{HEADER_PREFIX}{name}").as_bytes(), Some(text.as_bytes()));
    }
    outputs.headers.end_row(at);
}

/// What is to be said, the most needed first.
fn evidence(
    batch: &RecordBatch,
    i: usize,
    dead: &Dead,
    from: &Evidence<'_>,
    limit: usize,
) -> Vec<(&'static str, String)> {
    let fault = &dead.fault;
    let texts = TEXT_BYTES_MAX.min(limit / 4);
    let mut all = vec![
        (names::CODE, fault.kind.code().id().to_owned()),
        (names::TOPIC, from.topic.to_string()),
        (names::PARTITION, batch.partition.to_string()),
        (names::OFFSET, batch.offsets[i].to_string()),
        (names::KIND, fault.kind.as_str().to_owned()),
        (names::STAGE, from.stage.to_owned()),
        (names::MODULE, from.module.to_string()),
        (names::PROJECT, from.project.to_owned()),
        (names::PIPELINE, from.pipeline.to_owned()),
        (names::REVISION, from.revision.to_string()),
        (names::REASON, cut(&fault.message, texts).to_owned()),
    ];
    all.extend(dead.fuel.map(|fuel| (names::FUEL, fuel.to_string())));
    if !fault.backtrace.is_empty() {
        all.push((names::BACKTRACE, cut(&fault.backtrace.join("\n"), texts).to_owned()));
    }
    all
}

/// What a header of ours counts against a topic's limit.
fn header_bytes(name: &str, text: &str) -> usize {
    let header = [(name.as_bytes(), Some(text.as_bytes()))];
    HEADER_PREFIX.len() + record_bytes(None, None, header) - record_bytes(None, None, [])
}

fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use bulkhead_core::assignment::PipelineKey;
    use bulkhead_core::dead_letter::Letter;
    use bulkhead_core::fault::{GuestFault, GuestFaultKind};
    use bulkhead_core::secret::{LentKey, LentKeys, SecretValue};
    use bulkhead_vault::KEY_BYTES;
    use std::collections::BTreeMap;

    fn letter(value: &[u8], limit: usize) -> (Outputs, RecordBatch) {
        letter_of(value, limit, None)
    }

    fn letter_of(value: &[u8], limit: usize, seal: Option<(&PipelineKeys, &TopicName)>) -> (Outputs, RecordBatch) {
        let mut batch = RecordBatch { partition: 3, ..RecordBatch::default() };
        batch.push(41, 1, Some(b"k"), Some(b"other"), []);
        batch.push(42, 7, Some(b"k"), Some(value), [(&b"mine"[..], Some(&b"1"[..]))]);
        let fault = GuestFault { kind: GuestFaultKind::Trap, message: "é".repeat(9000), backtrace: vec!["f".into()] };
        let dead = Dead { stage: 0, fault, fuel: Some(12) };
        let (topic, module) = ("orders".parse().unwrap(), ModuleDigest::of(b"m"));
        let from =
            Evidence { project: "d", pipeline: "p", revision: 2, stage: "s", module: &module, topic: &topic, seal };
        let mut outputs = Outputs::default();
        push(&mut outputs, &batch, 1, &dead, &from, limit).unwrap();
        outputs.check(2, 1).unwrap();
        (outputs, batch)
    }

    fn header(outputs: &Outputs, name: &str) -> Option<String> {
        let mut found = outputs.headers.row(0).filter(|(n, _)| *n == name.as_bytes());
        found.next().map(|(_, v)| String::from_utf8(v.unwrap().to_vec()).unwrap())
    }

    #[test]
    fn the_record_is_whole_and_the_evidence_leads_back_to_it() {
        let (outputs, batch) = letter(b"poison", 1 << 20);
        assert_eq!(outputs.values.get(0), Some(&b"poison"[..]));
        assert_eq!((outputs.key(0, &batch), outputs.timestamp(0, &batch)), (Some(&b"k"[..]), 7));
        for (name, value) in [
            ("mine", "1"),
            ("bulkhead-offset", "42"),
            ("bulkhead-partition", "3"),
            ("bulkhead-topic", "orders"),
            ("bulkhead-code", "BH0301"),
            ("bulkhead-fuel", "12"),
            ("bulkhead-stage", "s"),
            ("bulkhead-backtrace", "f"),
        ] {
            assert_eq!(header(&outputs, name).as_deref(), Some(value), "{name}");
        }
        let (read, own) = Letter::read(outputs.headers.row(0)).unwrap();
        assert_eq!((read.source.offset, read.fuel, read.complete, own), (42, Some(12), true, 1));
    }

    #[test]
    fn what_does_not_fit_is_left_out_and_said() {
        let (outputs, _) = letter(&vec![0; 20_000], 20_000);
        assert_eq!(outputs.values.get(0), None);
        assert_eq!(header(&outputs, "bulkhead-value-bytes").as_deref(), Some("20000"));
        assert_eq!(header(&outputs, "bulkhead-left-out").as_deref(), Some("value"));
        let read = Letter::read(outputs.headers.row(0)).unwrap().0;
        assert!(!read.complete);
    }

    fn keys() -> PipelineKeys {
        let [tenant, project, pipeline] = ["acme", "d", "p"];
        let key = PipelineKey {
            tenant: tenant.parse().unwrap(),
            project: project.parse().unwrap(),
            pipeline: pipeline.parse().unwrap(),
        };
        let lent = || LentKey { key: SecretValue::new(vec![7; KEY_BYTES]) };
        let versions = BTreeMap::from([(1, lent())]);
        PipelineKeys::lent(&key, &LentKeys { names: lent(), versions }).unwrap()
    }

    #[test]
    fn a_sealed_letter_shows_nothing_of_its_record_opens_to_the_plain_one_and_fits_its_topic() {
        let (keys, topic) = (keys(), "dead".parse().unwrap());
        for limit in (200..9_000).step_by(97).chain([19_000, 20_000, 1 << 20]) {
            let value = [b"poison".repeat(limit.min(20_000) / 12), vec![]].concat();
            let (outputs, batch) = letter_of(&value, limit, Some((&keys, &topic)));
            let headers: Vec<_> = outputs.headers(0, &batch).collect();
            let bytes = record_bytes(outputs.key(0, &batch), outputs.values.get(0), headers.iter().copied());
            assert!(bytes <= limit, "{bytes} bytes for a limit of {limit}");
            let sealed = outputs.values.get(0).unwrap();
            for shown in headers.iter().flat_map(|(_, value)| *value).chain([sealed]) {
                assert!(!shown.windows(6).any(|window| window == b"poison"), "at a limit of {limit}");
            }
            assert_eq!(
                (outputs.key(0, &batch), header(&outputs, "mine"), header(&outputs, "bulkhead-reason")),
                (None, None, None)
            );
            if limit < 1_000 {
                continue;
            }
            let (outside, own) = Letter::read(outputs.headers.row(0)).unwrap();
            assert!((outside.sealed, outside.complete, own) == (true, false, 0), "{outside:?}");
            let mut opened = RecordBatch::default();
            let place = LetterPlace { topic: &topic, source: &outside.source };
            keys.open_letter(place, sealed, (1, 2), &mut opened).unwrap();
            let inside = Letter::read(opened.headers.row(0)).unwrap().0;
            let own = opened.headers.row(0).any(|(name, _)| name == b"mine");
            let whole = own && opened.keys.get(0).is_some() && opened.values.get(0).is_some();
            assert_eq!((inside.sealed, inside.complete), (false, whole), "{inside:?}");
            if limit > 40_000 {
                assert_eq!((opened.keys.get(0), opened.values.get(0)), (Some(&b"k"[..]), Some(value.as_slice())));
                assert!(inside.reason.starts_with('é') && inside.source == outside.source, "{inside:?}");
            }
        }
    }

    #[test]
    fn a_dead_letter_always_fits_its_topic() {
        for limit in (120..9_000).step_by(97).chain([19_000, 20_000, 21_000]) {
            let (outputs, batch) = letter(&vec![0; limit / 2], limit);
            let bytes = record_bytes(outputs.key(0, &batch), outputs.values.get(0), outputs.headers(0, &batch));
            assert!(bytes <= limit, "{bytes} bytes for a limit of {limit}");
            if limit > 600 {
                assert_eq!(header(&outputs, "bulkhead-offset").as_deref(), Some("42"), "at a limit of {limit}");
            }
        }
    }
}
