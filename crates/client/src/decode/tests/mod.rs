//! One test for each promise of the decoder.

mod properties;
mod rows;
mod split;
mod values;

use super::*;

fn column(path: &str, ty: ColumnType) -> FieldColumn {
    FieldColumn { name: path.into(), path: path.split('/').map(str::to_owned).collect(), ty }
}

fn show(batch: &Batch, cell: Cell) -> String {
    match cell {
        Cell::Null => "NULL".into(),
        Cell::Bool(value) => value.to_string(),
        Cell::Int(value) => value.to_string(),
        Cell::Float(value) => format!("{value:?}"),
        Cell::Date(days) => format!("day {days}"),
        Cell::Timestamp(micros) => format!("{micros} µs"),
        Cell::Text(span) => batch.text(span).into(),
        Cell::Uuid(index) => uuid::Uuid::from_bytes(*batch.uuid(index)).to_string(),
    }
}

/// The cells of one row, by path and type.
fn row(columns: &[(&str, ColumnType)], row: impl AsRef<[u8]>) -> Result<Vec<String>, DecodeError> {
    let columns: Vec<_> = columns.iter().map(|&(path, ty)| column(path, ty)).collect();
    let mut batch = Batch::new(columns.len());
    RowDecoder::new(&columns, &[]).decode(row.as_ref(), &mut batch)?;
    Ok(batch.row(0).iter().map(|&cell| show(&batch, cell)).collect())
}

/// One value, given as JSON, in a column of type `ty`: the same bare and wrapped.
fn one(ty: ColumnType, value: impl AsRef<[u8]>) -> Result<String, DecodeErrorKind> {
    let read = |before: &str, after: &str| {
        let text = [before.as_bytes(), value.as_ref(), after.as_bytes()].concat();
        row(&[("F", ty)], text).map(|mut cells| cells.remove(0)).map_err(|error| error.kind)
    };
    let bare = read(r#"{"F":"#, "}");
    assert_eq!(read(r#"{"F":{"value":"#, "}}"), bare, "wrapped");
    assert_eq!(
        read(r#"{ "F" : { "error" : "e", "value" : "#, r#" , "type" : "T" } }"#),
        bare,
        "wrapped at length"
    );
    bare
}
