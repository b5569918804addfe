//! How fast responses become columns: `cargo bench -p acumatica-client --bench decode`.

use acumatica_client::decode::{Batch, ColumnType, FieldColumn, RowDecoder, RowSplitter};
use std::fmt::Write;
use std::hint::black_box;
use std::time::Instant;

const ROWS: usize = 20_000;
const RUNS: usize = 11;
/// What arrives from a TLS connection at a time.
const CHUNK: usize = 16 << 10;

fn main() {
    use ColumnType::*;
    let (gi, rest) = (inquiry(), entity());
    println!("medians of {RUNS} runs over {ROWS} rows in chunks of {CHUNK} bytes, one core");
    bench("generic inquiry, split only", &gi, None);
    bench("generic inquiry, 14 of 14 columns", &gi, Some(&FIELDS));
    bench("generic inquiry, 2 of 14 columns", &gi, Some(&[FIELDS[0], FIELDS[9]]));
    bench("generic inquiry, no column", &gi, Some(&[]));
    bench("entity, split only", &rest, None);
    let linked = [FIELDS.to_vec(), vec![("ShipToAddress/City", Text), ("id", Uuid)]].concat();
    bench("entity, 16 of 16 columns", &rest, Some(&linked));
    bench("entity, details as jsonb", &rest, Some(&[("OrderNbr", Text), ("Details", Json)]));
    bench("entity, 2 of 16 columns", &rest, Some(&[("OrderNbr", Text), ("OrderTotal", Numeric)]));
}

const FIELDS: [(&str, ColumnType); 14] = [
    ("OrderType", ColumnType::Text),
    ("OrderNbr", ColumnType::Text),
    ("Status", ColumnType::Text),
    ("CustomerID", ColumnType::Text),
    ("CustomerName", ColumnType::Text),
    ("Description", ColumnType::Text),
    ("Date", ColumnType::Date),
    ("LastModified", ColumnType::TimestampTz),
    ("OrderedQty", ColumnType::Numeric),
    ("OrderTotal", ColumnType::Numeric),
    ("LineNbr", ColumnType::Int4),
    ("Hold", ColumnType::Bool),
    ("NoteID", ColumnType::Uuid),
    ("Weight", ColumnType::Float8),
];

/// The values of [`FIELDS`] in a row.
fn values(row: usize) -> [String; 14] {
    [
        r#""SO""#.into(),
        format!(r#""SO{row:06}""#),
        r#""Completed""#.into(),
        format!(r#""C{:06}""#, row % 1000),
        format!(r#""Zażółć Trading Company No. {}""#, row % 1000),
        r#""Monthly delivery, see \"Terms\" in the contract""#.into(),
        r#""2023-12-14T00:00:00+00:00""#.into(),
        format!(r#""2023-12-14T17:20:{:02}.163+00:00""#, row % 60),
        format!("{}.0000", row % 97),
        format!("{}.{:04}", row * 7, row % 10_000),
        format!("{}", row % 50),
        format!("{}", row.is_multiple_of(3)),
        format!(r#""6a3f0e52-9a7b-ee11-8d3c-{row:012x}""#),
        format!("{}.25", row % 13),
    ]
}

fn inquiry() -> String {
    let mut body =
        r#"{"@odata.context":"https://erp/t/Co/api/odata/gi/$metadata#Orders","value":["#.to_owned();
    for row in 0..ROWS {
        body += if row == 0 { "{" } else { ",{" };
        for (i, ((name, _), value)) in FIELDS.iter().zip(values(row)).enumerate() {
            write!(body, r#"{}"{name}":{value}"#, if i == 0 { "" } else { "," }).unwrap();
        }
        body += "}";
    }
    body + "]}"
}

fn entity() -> String {
    let mut body = "[".to_owned();
    for row in 0..ROWS {
        body += if row == 0 { "{" } else { ",{" };
        write!(body, r#""id":"6a3f0e52-9a7b-ee11-8d3c-{row:012x}","rowNumber":{row},"note":{{"value":""}}"#)
            .unwrap();
        for ((name, _), value) in FIELDS.iter().zip(values(row)) {
            write!(body, r#","{name}":{{"value":{value}}}"#).unwrap();
        }
        body +=
            r#","ShipToAddress":{"id":"d1","City":{"value":"Kraków"},"State":{},"custom":{}},"Details":["#;
        for line in 0..3 {
            let comma = if line == 0 { "" } else { "," };
            write!(body, r#"{comma}{{"InventoryID":{{"value":"AALEGO500"}},"Qty":{{"value":{line}.0000}}}}"#)
                .unwrap();
        }
        body += r#"],"custom":{},"_links":{"self":"/site/entity/Default/24.200.001/SalesOrder/x"}}"#;
    }
    body + "]"
}

fn bench(what: &str, body: &str, fields: Option<&[(&str, ColumnType)]>) {
    let columns: Vec<FieldColumn> = fields
        .unwrap_or_default()
        .iter()
        .map(|&(name, ty)| FieldColumn {
            name: name.into(),
            path: name.split('/').map(str::to_owned).collect(),
            ty,
        })
        .collect();
    let mut batch = Batch::new(columns.len());
    let mut seconds: Vec<f64> = (0..RUNS)
        .map(|_| {
            let start = Instant::now();
            let rows = run(body, fields.map(|_| RowDecoder::new(&columns, &[])), &mut batch);
            assert_eq!(rows, ROWS);
            start.elapsed().as_secs_f64()
        })
        .collect();
    seconds.sort_by(f64::total_cmp);
    let median = seconds[RUNS / 2];
    let (megabytes, rows) = (body.len() as f64 / 1e6 / median, ROWS as f64 / 1e6 / median);
    println!("{what:36} {megabytes:6.0} MB/s {rows:6.2} M rows/s");
}

fn run(body: &str, mut decoder: Option<RowDecoder>, batch: &mut Batch) -> usize {
    batch.clear();
    let mut splitter = RowSplitter::new(1 << 20);
    let mut rows = 0;
    for chunk in body.as_bytes().chunks(CHUNK) {
        splitter.push(chunk);
        while let Some(row) = splitter.next_row().expect("the body is well-formed") {
            rows += 1;
            match &mut decoder {
                Some(decoder) => decoder.decode(row, batch).expect("the row fits its columns"),
                None => _ = black_box(row),
            }
        }
        // As a scan does, which hands its batches on.
        if batch.bytes() > 1 << 20 {
            black_box(&batch);
            batch.clear();
        }
    }
    splitter.finish().expect("the body is complete");
    rows
}
