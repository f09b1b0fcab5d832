//! Parquet, by the `parquet` crate's own column writers: for flat rows of five types, Arrow would be a heavy way round.
//!
//! Must never: write columns of different lengths into one row group.

use super::EncodeError;
use crate::rows::{Cell, Row, Schema};
use bulkhead_core::bucket::{Column, ColumnType};
use bytes::Bytes;
use parquet::basic::{Compression, LogicalType, Repetition, TimeUnit, Type as Physical};
use parquet::column::writer::ColumnWriter;
use parquet::data_type::ByteArray;
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::Type;
use std::sync::Arc;

/// Rows of a row group at most.
const GROUP_ROWS: usize = 100_000;

pub(super) fn parquet<'a>(schema: &Schema, rows: impl Iterator<Item = &'a Row> + Clone) -> Result<Bytes, EncodeError> {
    write(schema, rows).map_err(|error| EncodeError(error.to_string()))
}

fn write<'a>(schema: &Schema, rows: impl Iterator<Item = &'a Row> + Clone) -> Result<Bytes, ParquetError> {
    let fields = schema.columns().iter().map(field).collect::<Result<Vec<_>, _>>()?;
    let root = Type::group_type_builder("row").with_fields(fields).build()?;
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let mut writer = SerializedFileWriter::new(Vec::new(), Arc::new(root), Arc::new(properties))?;
    let all = rows.clone().count();
    for start in (0..all).step_by(GROUP_ROWS) {
        let mut group = writer.next_row_group()?;
        let mut index = 0;
        while let Some(mut column) = group.next_column()? {
            let spec = &schema.columns()[index];
            let cells = rows.clone().skip(start).take(GROUP_ROWS).map(|row| &row[index]);
            fill(spec, cells, column.untyped())?;
            column.close()?;
            index += 1;
        }
        group.close()?;
    }
    Ok(writer.into_inner()?.into())
}

fn field(column: &Column) -> Result<Arc<Type>, ParquetError> {
    let (physical, logical) = match column.kind {
        ColumnType::String => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        ColumnType::Int64 => (Physical::INT64, None),
        ColumnType::Double => (Physical::DOUBLE, None),
        ColumnType::Boolean => (Physical::BOOLEAN, None),
        ColumnType::Timestamp => (Physical::INT64, Some(LogicalType::timestamp(true, TimeUnit::MILLIS))),
    };
    let repetition = if column.nullable { Repetition::OPTIONAL } else { Repetition::REQUIRED };
    let field =
        Type::primitive_type_builder(&column.name, physical).with_repetition(repetition).with_logical_type(logical);
    Ok(Arc::new(field.build()?))
}

fn fill<'a>(
    spec: &Column,
    cells: impl Iterator<Item = &'a Cell> + Clone,
    writer: &mut ColumnWriter<'_>,
) -> Result<(), ParquetError> {
    let levels: Option<Vec<i16>> =
        spec.nullable.then(|| cells.clone().map(|cell| i16::from(*cell != Cell::Null)).collect());
    let levels = levels.as_deref();
    match writer {
        ColumnWriter::ByteArrayColumnWriter(writer) => {
            let values: Vec<ByteArray> = cells
                .filter_map(|cell| if let Cell::Text(text) = cell { Some(text.as_str().into()) } else { None })
                .collect();
            writer.write_batch(&values, levels, None)?;
        }
        ColumnWriter::Int64ColumnWriter(writer) => {
            let values: Vec<i64> =
                cells.filter_map(|cell| if let Cell::Int(number) = cell { Some(*number) } else { None }).collect();
            writer.write_batch(&values, levels, None)?;
        }
        ColumnWriter::DoubleColumnWriter(writer) => {
            let values: Vec<f64> =
                cells.filter_map(|cell| if let Cell::Double(number) = cell { Some(*number) } else { None }).collect();
            writer.write_batch(&values, levels, None)?;
        }
        ColumnWriter::BoolColumnWriter(writer) => {
            let values: Vec<bool> =
                cells.filter_map(|cell| if let Cell::Bool(yes) = cell { Some(*yes) } else { None }).collect();
            writer.write_batch(&values, levels, None)?;
        }
        _ => return Err(ParquetError::General("a column of a type that is never made".to_owned())),
    }
    Ok(())
}
