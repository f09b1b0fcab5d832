//! What a reader of columns may rely on, and every way in which a guest can break it.

use super::*;

fn batch() -> RecordBatch {
    let mut batch = RecordBatch::default();
    batch.push(5, 100, Some(b"k0"), Some(b"v0"), []);
    batch.push(7, 101, None, Some(b""), [(&b"h"[..], Some(&b"1"[..])), (b"h", None)]);
    batch.push(8, 102, Some(b""), None, []);
    batch
}

#[test]
fn null_and_empty_stay_different() {
    let batch = batch();
    assert_eq!(batch.keys.get(1), None);
    assert_eq!(batch.keys.get(2), Some(&b""[..]));
    assert_eq!(batch.values.get(1), Some(&b""[..]));
    assert_eq!(batch.values.get(2), None);
}

#[test]
fn headers_stay_with_their_record() {
    let batch = batch();
    assert_eq!(batch.headers.row(0).len(), 0);
    assert_eq!(batch.headers.row(1).collect::<Vec<_>>(), [(&b"h"[..], Some(&b"1"[..])), (b"h", None)]);
    assert_eq!(batch.headers.row(2).len(), 0);
    let selected = batch.select([1]);
    assert_eq!(selected.headers.row(0).len(), 2);
    assert_eq!(selected.offsets, [7]);
}

fn good() -> Outputs {
    let mut outputs = Outputs::default();
    outputs.push(0, 0, 1, Some(b"a"), Some(b"b"));
    outputs.push(2, 1, 2, None, None);
    outputs
}

#[test]
fn inherited_parts_come_from_the_source_row() {
    let batch = batch();
    let mut outputs = good();
    outputs.inherit = vec![INHERIT_KEY | INHERIT_TIMESTAMP, INHERIT_HEADERS];
    outputs.source = vec![0, 1];
    assert_eq!(outputs.check(3, 2), Ok(()));
    assert_eq!(outputs.key(0, &batch), Some(&b"k0"[..]));
    assert_eq!(outputs.timestamp(0, &batch), 100);
    assert_eq!(outputs.timestamp(1, &batch), 2);
    assert_eq!(outputs.headers(1, &batch).len(), 2);
    assert_eq!(outputs.headers(0, &batch).len(), 0);
}

#[test]
fn every_broken_column_is_refused() {
    type Break = fn(&mut Outputs);
    let breaks: [(&str, Break); 15] = [
        ("to short", |o| o.to.truncate(1)),
        ("inherit long", |o| o.inherit.push(0)),
        ("source falls", |o| o.source = vec![2, 0]),
        ("source outside", |o| o.source = vec![0, 3]),
        ("port outside", |o| o.to[0] = 2),
        ("unknown bit", |o| o.inherit[0] = 8),
        ("values short", |o| o.values.ends.truncate(1)),
        ("values past data", |o| o.values.ends = vec![9, 9]),
        ("values fall", |o| o.values.ends = vec![1, 0]),
        ("values data unclaimed", |o| o.values.data.push(0)),
        ("keys one row", |o| o.keys.ends.truncate(1)),
        ("nulls short", |o| o.keys.nulls = vec![0, 0]),
        ("timestamps one row", |o| o.timestamps.truncate(1)),
        ("header names without values", |o| o.headers.names.push(b"x")),
        ("header rows missing", |o| o.headers.push(b"x", None)),
    ];
    assert_eq!(good().check(3, 2), Ok(()));
    for (name, break_it) in breaks {
        let mut outputs = good();
        break_it(&mut outputs);
        assert!(outputs.check(3, 2).is_err(), "{name} was accepted");
    }
}

#[test]
fn retaining_keeps_each_row_whole() {
    let mut outputs = good();
    outputs.headers.push(b"a", Some(b"1"));
    outputs.headers.end_row(1);
    outputs.retain(|source| source == 2);
    assert_eq!(outputs.check(3, 2), Ok(()));
    assert_eq!((outputs.len(), outputs.to[0], outputs.timestamps[0]), (1, 1, 2));
    assert_eq!(outputs.values.get(0), None);
    assert_eq!(outputs.headers.row(0).collect::<Vec<_>>(), [(&b"a"[..], Some(&b"1"[..]))]);
}

#[test]
fn a_bitmap_once_begun_has_a_bit_for_each_later_row() {
    let mut column = NullColumn::default();
    column.push(None);
    for _ in 0..16 {
        column.push(Some(b"x"));
    }
    assert_eq!(column.nulls, [1, 0, 0]);
    column.check("column").unwrap();
}
