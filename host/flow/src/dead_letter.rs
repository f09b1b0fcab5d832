//! Dead letters: the record as it came, with the evidence of why it could not be handled in its headers.
//!
//! Key, value, timestamp and headers are the source record's; what Bulkhead adds are headers beginning with `bulkhead-`, all
//! text. Where that would not fit the dead-letter topic, the value is left out and `bulkhead-value-bytes` says how large it was; the
//! coordinates still lead to it.
//! Must never: hold anything of the host or another tenant; coordinates are in the tenant's own names.

use crate::graph::Dead;
use bulkhead_core::columns::{INHERIT_KEY, INHERIT_TIMESTAMP, Outputs, RecordBatch};
use bulkhead_core::name::{ModuleDigest, TopicName};

/// Prefix of every header that is added.
pub const HEADER_PREFIX: &str = "bulkhead-";
/// Bytes kept of the message and of the backtrace, so that a dead letter stays a record.
const TEXT_BYTES_MAX: usize = 4096;
/// Room for headers when deciding whether the value still fits.
const EVIDENCE_BYTES: usize = 3 * TEXT_BYTES_MAX;

/// Where a record came from and what judged it.
pub(crate) struct Evidence<'a> {
    pub(crate) pipeline: &'a str,
    pub(crate) revision: u64,
    pub(crate) stage: &'a str,
    pub(crate) module: &'a ModuleDigest,
    pub(crate) topic: &'a TopicName,
}

/// Adds the dead letter of row `row` of `batch` to `outputs`, whose only target is the dead-letter topic.
pub(crate) fn push(
    outputs: &mut Outputs,
    batch: &RecordBatch,
    row: u32,
    dead: &Dead,
    from: &Evidence<'_>,
    limit: usize,
) {
    let i = row as usize;
    let at = outputs.len();
    let value = batch.values.get(i);
    let key_bytes = batch.keys.get(i).map_or(0, <[u8]>::len);
    let header_bytes: usize = batch.headers.row(i).map(|(n, v)| n.len() + v.map_or(0, <[u8]>::len) + 8).sum();
    let room = limit.saturating_sub(EVIDENCE_BYTES);
    let keep_headers = header_bytes + key_bytes <= room;
    let keep_value = value.map_or(0, <[u8]>::len) + key_bytes + if keep_headers { header_bytes } else { 0 } <= room;
    outputs.source.push(row);
    outputs.to.push(0);
    outputs.inherit.push(INHERIT_KEY | INHERIT_TIMESTAMP);
    outputs.keys.push(None);
    outputs.values.push(if keep_value { value } else { None });
    outputs.timestamps.push(batch.timestamps[i]);
    if keep_headers {
        for (name, value) in batch.headers.row(i) {
            outputs.headers.push(name, value);
        }
    }
    let mut add = |name: &str, value: &str| {
        outputs.headers.push(format!("{HEADER_PREFIX}{name}").as_bytes(), Some(value.as_bytes()));
    };
    let fault = &dead.fault;
    add("code", fault.kind.code().id());
    add("kind", fault.kind.as_str());
    add("reason", cut(&fault.message));
    add("fuel", &dead.fuel.to_string());
    add("pipeline", from.pipeline);
    add("revision", &from.revision.to_string());
    add("stage", from.stage);
    add("module", &from.module.to_string());
    add("topic", from.topic.as_str());
    add("partition", &batch.partition.to_string());
    add("offset", &batch.offsets[i].to_string());
    if !fault.backtrace.is_empty() {
        add("backtrace", cut(&fault.backtrace.join("\n")));
    }
    if !keep_value {
        add("value-bytes", &value.map_or(0, <[u8]>::len).to_string());
    }
    outputs.headers.end_row(at);
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(TEXT_BYTES_MAX)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use bulkhead_core::fault::{GuestFault, GuestFaultKind};

    fn letter(value: &[u8], limit: usize) -> (Outputs, RecordBatch) {
        let mut batch = RecordBatch { partition: 3, ..RecordBatch::default() };
        batch.push(41, 1, Some(b"k"), Some(b"other"), []);
        batch.push(42, 7, Some(b"k"), Some(value), [(&b"mine"[..], Some(&b"1"[..]))]);
        let fault = GuestFault { kind: GuestFaultKind::Trap, message: "é".repeat(9000), backtrace: vec!["f".into()] };
        let dead = Dead { stage: 0, fault, fuel: 12 };
        let (topic, module) = ("orders".parse().unwrap(), ModuleDigest::of(b"m"));
        let from = Evidence { pipeline: "p", revision: 2, stage: "s", module: &module, topic: &topic };
        let mut outputs = Outputs::default();
        push(&mut outputs, &batch, 1, &dead, &from, limit);
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
    }

    #[test]
    fn what_does_not_fit_is_left_out_and_said() {
        let (outputs, _) = letter(&vec![0; 20_000], 20_000);
        assert_eq!(outputs.values.get(0), None);
        assert_eq!(header(&outputs, "bulkhead-value-bytes").as_deref(), Some("20000"));
        assert!(outputs.bytes() < 20_000, "{}", outputs.bytes());
    }
}
