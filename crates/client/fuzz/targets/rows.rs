//! A body gives the same rows however it is cut.

#![no_main]

use acumatica_client::decode::{Batch, Cell, Column, ColumnType, RowDecoder, RowSplitter};
use acumatica_client_fuzz::bounded;
use libfuzzer_sys::fuzz_target;

const COLUMNS: [(&str, ColumnType); 16] = [
    ("A", ColumnType::Bool),
    ("A", ColumnType::Int2),
    ("B", ColumnType::Int4),
    ("B", ColumnType::Int8),
    ("B", ColumnType::Float4),
    ("B", ColumnType::Float8),
    ("B", ColumnType::Numeric),
    ("C", ColumnType::Text),
    ("D", ColumnType::Date),
    ("D", ColumnType::Timestamp),
    ("D", ColumnType::TimestampTz),
    ("id", ColumnType::Uuid),
    ("E", ColumnType::Json),
    ("E/F", ColumnType::Text),
    ("E/F/G", ColumnType::Text),
    ("*", ColumnType::Json),
];

/// The columns that a body is read with: all of one row can seldom be decoded, so each by itself too.
fn columns(which: u8) -> Vec<Column> {
    let of = |&(path, ty): &(&str, ColumnType)| Column {
        name: path.into(),
        path: path.split('/').map(str::to_owned).collect(),
        ty,
    };
    match COLUMNS.get(usize::from(which)) {
        Some(column) => vec![of(column)],
        None => COLUMNS.iter().map(of).collect(),
    }
}

/// The rows, those that cannot be decoded as errors, and whether the body came to its end.
fn read(body: &[u8], chunk: usize, columns: &[Column]) -> (Vec<String>, bool) {
    let mut splitter = RowSplitter::new(1 << 20);
    let mut decoder = RowDecoder::new(columns, &[vec!["id".to_owned()]]);
    let mut batch = Batch::new(columns.len());
    let mut rows = Vec::new();
    for chunk in body.chunks(chunk) {
        splitter.push(chunk);
        loop {
            match splitter.next_row() {
                Ok(Some(row)) => rows.push(match decoder.decode(row, &mut batch) {
                    Ok(()) => shown(&batch),
                    Err(error) => format!("{error:?}"),
                }),
                Ok(None) => break,
                Err(_) => return (rows, false),
            }
        }
        batch.clear();
    }
    (rows, splitter.finish().is_ok())
}

/// The row decoded last.
fn shown(batch: &Batch) -> String {
    let cell = |cell: &Cell| match *cell {
        Cell::Text(span) => format!("{:?}", batch.text(span)),
        Cell::Uuid(at) => format!("{:?}", batch.uuid(at)),
        other => format!("{other:?}"),
    };
    batch.row(batch.len() - 1).iter().map(cell).collect::<Vec<_>>().join(" ")
}

fuzz_target!(|data: &[u8]| {
    let [chunk, which, body @ ..] = data else { return };
    let columns = columns(which % 32);
    bounded(data, |_| {
        let pieces = read(body, usize::from(*chunk).max(1), &columns);
        let whole = read(body, body.len().max(1), &columns);
        assert_eq!(pieces, whole);
    });
});
