//! Writes as many lines to stdout and stderr at a bad record as its value says, and a mebibyte without any end of line.

use crate::{Batch, Guest, Outcome};
use std::io::Write;

pub const GUEST: Guest = Guest::new(process);

fn process(batch: Batch) -> Outcome {
    crate::shared::each(&batch, |_, value, _| {
        let lines: usize = std::str::from_utf8(&value[1..]).unwrap().parse().unwrap();
        let (mut out, mut err) = (std::io::stdout(), std::io::stderr());
        out.write_all(&vec![b'x'; 1 << 20]).unwrap();
        for line in 0..lines {
            writeln!(out, "\u{1b}[2J out {line}").unwrap();
            writeln!(err, "err {line}").unwrap();
        }
    })
}
