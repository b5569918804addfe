//! A body gives the same rows however it is cut.

#![no_main]

use acumatica_client::decode::{Batch, Cell, Column, ColumnType, RowDecoder, RowSplitter};
use acumatica_client_fuzz::bounded;
use libfuzzer_sys::fuzz_target;

/// The way to the rows, or the beginning of it.
const DETAIL: [&str; 2] = ["Details", "Allocations"];

const COLUMNS: [(&str, ColumnType); 25] = [
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
    ("Details", ColumnType::Json),
    ("Details/A", ColumnType::Int4),
    ("Details/C", ColumnType::Text),
    ("Details/id", ColumnType::Uuid),
    ("Details/*", ColumnType::Json),
    ("Details/Allocations", ColumnType::Json),
    ("Details/Allocations/B", ColumnType::Numeric),
    ("Details/Allocations/E/F", ColumnType::Text),
    ("Details/Allocations/*", ColumnType::Json),
];

/// Values that every row has, in columns without a field.
const CONSTANTS: [(ColumnType, &str); 2] = [(ColumnType::Text, "MAIN"), (ColumnType::Numeric, "1.50")];

/// The columns that a body is read with: all of one row can seldom be decoded, so each by itself too.
fn columns(which: u8) -> Vec<Column> {
    let of = |&(path, ty): &(&str, ColumnType)| Column {
        name: path.into(),
        path: path.split('/').map(str::to_owned).collect(),
        ty,
    };
    let mut columns: Vec<Column> = match COLUMNS.get(usize::from(which)) {
        Some(column) => vec![of(column)],
        None => COLUMNS.iter().map(of).collect(),
    };
    let constant = |(ty, text): (ColumnType, &str)| Column { name: text.into(), path: Vec::new(), ty };
    columns.extend(CONSTANTS.map(constant));
    columns
}

/// What there is to see of a body: the rows of each record and its identity, those that cannot be decoded as errors;
/// whether the body came to its end; and what the decoder met.
fn read(body: &[u8], chunk: usize, columns: &[Column], detail: &[String]) -> Vec<String> {
    let mut splitter = RowSplitter::new(1 << 20);
    let mut decoder = RowDecoder::of_detail(columns, &[vec!["id".to_owned()]], detail);
    for (at, (ty, text)) in CONSTANTS.into_iter().enumerate() {
        decoder.set_constant(columns.len() - CONSTANTS.len() + at, ty, text.to_owned());
    }
    let mut batch = Batch::new(columns.len());
    let mut seen = Vec::new();
    let mut is_whole = true;
    'body: for chunk in body.chunks(chunk) {
        splitter.push(chunk);
        loop {
            let record = match splitter.next_row() {
                Ok(Some(record)) => record,
                Ok(None) => break,
                // What it shows of the body depends on the pieces.
                Err(_) => {
                    is_whole = false;
                    break 'body;
                }
            };
            let before = batch.len();
            if let Err(error) = decoder.decode(record, &mut batch) {
                assert_eq!(batch.len(), before);
                seen.push(format!("{error:?}"));
            }
            seen.extend((before..batch.len()).map(|at| shown(&batch, at)));
            seen.push(format!("{:?}", decoder.identity()));
        }
        batch.clear();
    }
    seen.push((is_whole && splitter.finish().is_ok()).to_string());
    let mut never_met: Vec<usize> = decoder.never_met().collect();
    never_met.sort_unstable();
    seen.push(format!("{never_met:?} {}", decoder.has_met_all()));
    seen
}

fn shown(batch: &Batch, row: usize) -> String {
    let cell = |cell: &Cell| match *cell {
        Cell::Text(span) => format!("{:?}", batch.text(span)),
        Cell::Uuid(at) => format!("{:?}", batch.uuid(at)),
        other => format!("{other:?}"),
    };
    batch.row(row).iter().map(cell).collect::<Vec<_>>().join(" ")
}

fuzz_target!(|data: &[u8]| {
    let [chunk, which, body @ ..] = data else { return };
    let columns = columns(which % 32);
    let detail: Vec<String> =
        DETAIL.iter().take(usize::from(which / 32)).map(|step| step.to_string()).collect();
    bounded(data, |_| {
        let pieces = read(body, usize::from(*chunk).max(1), &columns, &detail);
        let whole = read(body, body.len().max(1), &columns, &detail);
        assert_eq!(pieces, whole);
    });
});
