//! Rows in and rows out, for guests that look at records one by one.

use crate::{Batch, BytesColumn, Headers, NullColumn, Outcome, Outputs, host};

/// The source's key, headers and timestamp.
pub const INHERIT_ALL: u8 = 7;

impl Batch {
    /// Number of records.
    pub fn len(&self) -> usize {
        self.offsets.len()
    }
}

impl NullColumn {
    /// The bytes of row `i`; empty where it is null.
    pub fn row(&self, i: usize) -> &[u8] {
        let start = if i == 0 { 0 } else { self.ends[i - 1] as usize };
        &self.data[start..self.ends[i] as usize]
    }

    /// Adds a row that is not null.
    pub fn push(&mut self, bytes: &[u8]) {
        self.data.extend_from_slice(bytes);
        self.ends.push(self.data.len() as u32);
    }
}

/// An outcome with no rows.
pub fn nothing() -> Outcome {
    let column = || NullColumn { data: vec![], ends: vec![], nulls: vec![] };
    let headers = Headers { record_ends: vec![], names: BytesColumn { data: vec![], ends: vec![] }, values: column() };
    let outputs = Outputs {
        source: vec![],
        to: vec![],
        inherit: vec![],
        keys: column(),
        values: column(),
        headers,
        timestamps: vec![],
    };
    Outcome { outputs, exceptions: vec![] }
}

impl Outputs {
    /// Adds a row that takes all but its value from the source.
    pub fn push(&mut self, source: usize, to: u16, value: &[u8]) {
        self.source.push(source as u32);
        self.to.push(to);
        self.inherit.push(INHERIT_ALL);
        self.values.push(value);
    }
}

/// Marks each record, gives those that begin with `!` to `bad`, and passes the others through.
pub fn each(batch: &Batch, mut bad: impl FnMut(usize, &[u8], &mut Outcome)) -> Outcome {
    let mut outcome = nothing();
    for i in 0..batch.len() {
        host::mark(i as u32);
        match batch.values.row(i) {
            value @ [b'!', ..] => bad(i, value, &mut outcome),
            value => outcome.outputs.push(i, 0, value),
        }
    }
    outcome
}
