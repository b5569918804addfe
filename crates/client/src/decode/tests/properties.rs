use super::*;
use proptest::prelude::*;
use serde_json::{Map, Value};

/// The splitter and decoder on `body`, in chunks of the given sizes.
fn decode(columns: &[FieldColumn], body: &[u8], cuts: &[usize]) -> Result<Vec<Vec<String>>, String> {
    let (mut splitter, mut decoder) = (RowSplitter::new(1 << 20), RowDecoder::new(columns, &[]));
    let mut batch = Batch::new(columns.len());
    let mut cuts = cuts.iter().cycle();
    let mut rest = body;
    while !rest.is_empty() {
        let cut = cuts.next().map_or(rest.len(), |&cut| cut.clamp(1, rest.len()));
        let (chunk, after) = rest.split_at(cut);
        splitter.push(chunk);
        rest = after;
        while let Some(row) = splitter.next_row().map_err(|error| error.to_string())? {
            decoder.decode(row, &mut batch).map_err(|error| error.to_string())?;
        }
    }
    splitter.finish().map_err(|error| error.to_string())?;
    Ok((0..batch.len()).map(|i| batch.row(i).iter().map(|&cell| show(&batch, cell)).collect()).collect())
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[^\0]{0,40}".prop_map(Value::from),
        r#"([a-z"\\/{}\[\],:]|\PC){0,40}"#.prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 20, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec(("[a-f\"\\\\é]{0,6}", inner), 0..5)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// Writes an object with its members in the given order, spaced or not, escaped or not.
fn write(members: &[(String, Value)], spaced: bool, escaped: bool) -> String {
    let space = if spaced { " \n" } else { "" };
    let one = |value: &Value| {
        let text =
            if spaced { serde_json::to_string_pretty(value) } else { serde_json::to_string(value) }.unwrap();
        match escaped {
            false => text,
            // Outside ASCII there are only strings.
            true => text.chars().fold(String::new(), |mut out, c| {
                match c.is_ascii() {
                    true => out.push(c),
                    false => {
                        c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| out += &format!("\\u{unit:04X}"))
                    }
                }
                out
            }),
        }
    };
    let members: Vec<_> = members
        .iter()
        .map(|(name, value)| {
            format!("{space}{}{space}:{space}{}{space}", one(&name.clone().into()), one(value))
        })
        .collect();
    format!("{{{}{space}}}", members.join(","))
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

const NAMES: [&str; 6] = ["a", "b", "c\"", "é", "value", "type"];

/// What serde_json says a column of type text or jsonb holds. `None` if the decoder is to refuse the value.
fn oracle(row: &Map<String, Value>, name: &str, text: bool) -> Option<String> {
    let value = row.get(name).unwrap_or(&Value::Null);
    match value {
        Value::Null => Some("NULL".into()),
        _ if !text => Some(value.to_string()),
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        Value::Array(_) => None,
        Value::Object(fields) => match fields.get("value") {
            Some(Value::Object(inner)) => inner.is_empty().then(|| "NULL".into()),
            Some(_) => oracle(fields, "value", true),
            None if fields.keys().all(|name| matches!(&name[..], "type" | "error")) => Some("NULL".into()),
            None => None,
        },
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn rows_decode_to_what_serde_json_says(
        rows in prop::collection::vec(
            prop::collection::vec((prop::sample::select(&NAMES[..]), json(), any::<bool>()), 0..8), 0..8
        ),
        spaced in any::<bool>(), escaped in any::<bool>(), enveloped in any::<bool>(),
        cuts in prop::collection::vec(1usize..90, 1..20),
    ) {
        let rows: Vec<Vec<(String, Value)>> = rows.into_iter().map(|row| row.into_iter().map(|(name, value, wrap)| {
            (name.to_owned(), if wrap { serde_json::json!({ "value": value }) } else { value })
        }).collect()).collect();
        let texts: Vec<_> = rows.iter().map(|row| write(row, spaced, escaped)).collect();
        let array = format!("[{}]", texts.join(","));
        let body = if enveloped { format!(r#"{{"@odata.context":"x","value":{array}}}"#) } else { array };
        // Both keep the last of duplicates. Not parsed, for serde_json may miss the last digit of a float.
        let maps: Vec<Map<String, Value>> = rows.iter().map(|row| row.iter().cloned().collect()).collect();

        // jsonb: every value at once, compared as values.
        let columns: Vec<_> = NAMES.iter().map(|name| FieldColumn { name: "".into(), path: vec![(*name).into()], ty: ColumnType::Json }).collect();
        let decoded = decode(&columns, body.as_bytes(), &cuts).unwrap();
        prop_assert_eq!(decoded.len(), rows.len());
        for (cells, map) in decoded.iter().zip(&maps) {
            for (cell, name) in cells.iter().zip(NAMES) {
                match (&cell[..], oracle(map, name, false).unwrap()) {
                    ("NULL", expected) => prop_assert_eq!("NULL", expected),
                    (cell, expected) => prop_assert_eq!(parsed(cell), parsed(&expected)),
                }
            }
        }

        // text: one row at a time, since a value may be refused.
        for ((text, map), row) in texts.iter().zip(&maps).zip(&rows) {
            let names = |wanted| row.iter().filter(|(name, _)| name == wanted).count();
            for name in NAMES {
                let column = [FieldColumn { name: "".into(), path: vec![name.into()], ty: ColumnType::Text }];
                let mut batch = Batch::new(1);
                let result = RowDecoder::new(&column, &[]).decode(text.as_bytes(), &mut batch);
                match oracle(map, name, true) {
                    // Of duplicates the first may be refused although the last would do.
                    Some(_) if result.is_err() && names(name) > 1 => {}
                    Some(expected) => {
                        prop_assert!(result.is_ok(), "{:?} in {}", result, text);
                        prop_assert_eq!(show(&batch, batch.row(0)[0]), expected);
                    }
                    None => prop_assert!(result.is_err(), "{} in {}", name, text),
                }
            }
        }
    }

    #[test]
    fn numbers_decode_to_what_rust_says(int in any::<i64>(), float in any::<f64>(), scale in 0usize..5) {
        let text = format!("{int}.{}", "0".repeat(scale + 1));
        prop_assert_eq!(one(ColumnType::Int8, &text), Ok(int.to_string()));
        if float.is_finite() {
            prop_assert_eq!(one(ColumnType::Float8, format!("{float:e}")), Ok(format!("{float:?}")));
            prop_assert_eq!(one(ColumnType::Float8, format!("\"{float}\"")), Ok(format!("{float:?}")));
        }
        match i16::try_from(int % 40_000) {
            Ok(small) => prop_assert_eq!(one(ColumnType::Int2, small.to_string()), Ok(small.to_string())),
            Err(_) => prop_assert!(one(ColumnType::Int2, (int % 40_000).to_string()).is_err()),
        }
    }

    #[test]
    fn timestamps_decode_to_what_chrono_says(micros in -62_135_596_800_000_000i64..253_402_300_800_000_000, minutes in -900i64..900) {
        let utc = chrono::DateTime::from_timestamp_micros(micros).unwrap();
        let local = utc.naive_utc() + chrono::Duration::minutes(minutes);
        prop_assume!((1..=9999).contains(&chrono::Datelike::year(&local)));
        let sign = if minutes < 0 { '-' } else { '+' };
        let (hours, rest) = (minutes.abs() / 60, minutes.abs() % 60);
        let text = format!("\"{}{sign}{hours:02}:{rest:02}\"", local.format("%Y-%m-%dT%H:%M:%S%.6f"));
        prop_assert_eq!(one(ColumnType::TimestampTz, &text), Ok(format!("{micros} µs")));
        let day = (local.date() - chrono::NaiveDate::default()).num_days();
        let midnight = format!("\"{}T00:00:00{sign}{hours:02}:{rest:02}\"", local.format("%Y-%m-%d"));
        prop_assert_eq!(one(ColumnType::Date, midnight), Ok(format!("day {day}")));
        if micros.rem_euclid(60_000_000) != 0 {
            prop_assert_eq!(one(ColumnType::Date, &text), Err(DecodeErrorKind::TimeOfDay(ColumnType::Date)));
        }
    }

    #[test]
    fn arbitrary_bytes_neither_panic_nor_loop(
        bytes in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..300),
            r#"([\[\]{},:"\\ 0-9eE.+u-]|"value":|"a":|null|true|\{"value":|\\u|[a-e]){0,80}"#.prop_map(String::into_bytes),
        ],
        cuts in prop::collection::vec(1usize..40, 0..10),
    ) {
        use ColumnType::*;
        let types = [Bool, Int2, Int4, Int8, Float4, Float8, Numeric, Text, Date, Timestamp, TimestampTz, Interval, Bytes, Uuid, Json];
        let mut columns: Vec<_> = types.iter().map(|&ty| column("a", ty)).collect();
        columns.extend([column("a/b", Text), column("*", Json)]);
        _ = decode(&columns, &bytes, &cuts);
        for before in [&b""[..], b"[{\"a\":", b"{\"value\":["] {
            _ = decode(&columns, &[before, &bytes].concat(), &cuts);
        }
        for ty in types {
            _ = row(&[("a", ty)], &bytes);
            _ = row(&[("a", ty), ("a/b", ty)], [b"{\"a\":", &bytes[..], b"}"].concat());
        }
        let mut single = RowSplitter::single(100);
        single.push(&bytes);
        while let Ok(Some(_)) = single.next_row() {}
        _ = single.finish();
    }

    /// A body damaged in one place gives the rows before it and then an error, or other rows; never fewer in silence.
    #[test]
    fn a_cut_body_is_never_complete(count in 1usize..30, cut in 0usize..1000) {
        let body = format!("[{}]", vec![r#"{"a":"x\"","b":[{}]}"#; count].join(","));
        let cut = cut.min(body.len() - 1);
        prop_assert!(decode(&[column("a", ColumnType::Text)], &body.as_bytes()[..cut], &[7, 3]).is_err());
    }
}
