//! JSON lines and CSV.
//!
//! A timestamp is its milliseconds, as in the other direction.
//! Must never: write a line that is not whole.

use super::EncodeError;
use crate::rows::{Cell, Row, Schema};
use bytes::Bytes;

pub(super) fn jsonl<'a>(schema: &Schema, rows: impl Iterator<Item = &'a Row>) -> Result<Bytes, EncodeError> {
    let names: Vec<String> = schema
        .columns()
        .iter()
        .map(|column| serde_json::to_string(&column.name).map_err(|error| EncodeError(error.to_string())))
        .collect::<Result<_, _>>()?;
    let mut out = Vec::new();
    for row in rows {
        for (i, cell) in row.iter().enumerate() {
            out.push(if i == 0 { b'{' } else { b',' });
            out.extend_from_slice(names.get(i).ok_or_else(too_wide)?.as_bytes());
            out.push(b':');
            let written = match cell {
                Cell::Null => serde_json::to_writer(&mut out, &()),
                Cell::Text(text) => serde_json::to_writer(&mut out, text),
                Cell::Int(number) => serde_json::to_writer(&mut out, number),
                Cell::Double(number) => serde_json::to_writer(&mut out, number),
                Cell::Bool(yes) => serde_json::to_writer(&mut out, yes),
            };
            written.map_err(|error| EncodeError(error.to_string()))?;
        }
        out.extend_from_slice(b"}\n");
    }
    Ok(out.into())
}

pub(super) fn csv<'a>(schema: &Schema, rows: impl Iterator<Item = &'a Row>) -> Result<Bytes, EncodeError> {
    let failed = |error: csv::Error| EncodeError(error.to_string());
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(schema.columns().iter().map(|column| &column.name)).map_err(failed)?;
    for row in rows {
        let texts = row.iter().map(|cell| match cell {
            Cell::Null => String::new(),
            Cell::Text(text) => text.clone(),
            Cell::Int(number) => number.to_string(),
            Cell::Double(number) => number.to_string(),
            Cell::Bool(yes) => yes.to_string(),
        });
        writer.write_record(texts).map_err(failed)?;
    }
    Ok(writer.into_inner().map_err(|error| EncodeError(error.to_string()))?.into())
}

fn too_wide() -> EncodeError {
    EncodeError("a row has more cells than there are columns".to_owned())
}
