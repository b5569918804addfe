use super::*;
use ColumnType::*;

#[test]
fn wrappers_without_value_are_null() {
    for empty in [
        "{}",
        "{ }",
        r#"{"value":null}"#,
        r#"{"error":"e"}"#,
        r#"{"type":"CustomStringField"}"#,
        r#"{"value":{}}"#,
    ] {
        assert_eq!(row(&[("F", Text)], format!(r#"{{"F":{empty}}}"#)).unwrap(), ["NULL"], "{empty}");
    }
}

#[test]
fn a_drop_down_gives_its_description_and_by_path_its_id() {
    let columns = [("Status", Text), ("Status/id", Text), ("Status/description", Text)];
    let text = r#"{"Status":{"value":{"id":"CL","description":"Completed"}}}"#;
    assert_eq!(row(&columns, text).unwrap(), ["Completed", "CL", "Completed"]);
    assert_eq!(row(&columns[..1], text).unwrap(), ["Completed"]);
    assert_eq!(row(&columns[1..2], text).unwrap(), ["CL"]);
    for none in [r#"{"Status":{"value":null}}"#, r#"{"Status":{}}"#, r#"{"Status":null}"#, "{}"] {
        assert_eq!(row(&columns, none).unwrap(), ["NULL"; 3], "{none}");
    }
    let error = row(&columns[..1], r#"{"Status":{"value":{"id":"CL"}}}"#).unwrap_err();
    assert_eq!(error.kind, DecodeErrorKind::Object(Text));
}

#[test]
fn a_wrapper_is_unwrapped_once() {
    let error = row(&[("F", Int4)], r#"{"F":{"value":{"value":1}}}"#).unwrap_err();
    assert_eq!(error.kind, DecodeErrorKind::Object(Int4));
    let deep = r#"{"F":{"value":{"value":{"id":1}}}}"#;
    assert_eq!(row(&[("F/id", Int4)], deep).unwrap(), ["NULL"]);
}

#[test]
fn a_field_may_be_called_value() {
    let text = r#"{"value":{"value":1},"F":{"value":2}}"#;
    assert_eq!(row(&[("value", Int4), ("F/value", Int4)], text).unwrap(), ["1", "2"]);
    assert_eq!(row(&[("F", Int4)], r#"{"value":5,"F":2}"#).unwrap(), ["2"]);
}

#[test]
fn paths_go_through_linked_entities() {
    let columns = [
        ("MainContact/Address/City", Text),
        ("MainContact/Email", Text),
        ("MainContact", Json),
        ("ID", Text),
    ];
    let contact = r#"{"id":"1", "Address":{"City":{"value":"Köln"}},"Email":{}}"#;
    let text = format!(r#"{{"ID":"C1","MainContact":{contact}}}"#);
    assert_eq!(row(&columns, &text).unwrap(), ["Köln", "NULL", contact, "C1"]);
    assert_eq!(row(&columns, r#"{"MainContact":null}"#).unwrap(), ["NULL"; 4]);
    assert_eq!(row(&columns, r#"{"MainContact":{"Address":null}}"#).unwrap()[0], "NULL");
    assert_eq!(
        row(
            &[("custom/Document/UsrX", Text)],
            r#"{"custom":{"Document":{"UsrX":{"type":"CustomStringField","value":"x"}}}}"#
        )
        .unwrap(),
        ["x"]
    );
}

#[test]
fn paths_do_not_go_through_arrays_or_scalars() {
    let columns = [("Ok", Int4), ("Details/Qty", Int4)];
    for (value, kind) in [
        ("[]", DecodeErrorKind::ThroughArray),
        (r#"[{"Qty":1}]"#, DecodeErrorKind::ThroughArray),
        (r#"{"value":[]}"#, DecodeErrorKind::ThroughArray),
        ("1", DecodeErrorKind::ThroughScalar),
        (r#""x""#, DecodeErrorKind::ThroughScalar),
        (r#"{"value":"x"}"#, DecodeErrorKind::ThroughScalar),
    ] {
        let error = row(&columns, format!(r#"{{"Details":{value},"Ok":1}}"#)).unwrap_err();
        assert_eq!((error.kind, error.column), (kind, Some(1)), "{value}");
    }
}

#[test]
fn json_is_kept_as_received() {
    for value in
        [r#"[ {"Qty":{"value":1.50}} , {} ]"#, r#"{"value":"x"}"#, "{}", "30.0000", r#""a\u00e9""#, "true"]
    {
        assert_eq!(row(&[("F", Json)], format!(r#"{{"a":1, "F" : {value} ,"z":[]}}"#)).unwrap(), [value]);
    }
}

#[test]
fn a_star_is_the_whole_row() {
    let text = r#"{"a":1, "b":{"c":2}}"#;
    assert_eq!(row(&[("*", Json), ("b/c", Int2)], format!(" {text}\n")).unwrap(), [text, "2"]);
    assert_eq!(row(&[("*", Text)], text).unwrap_err().kind, DecodeErrorKind::Object(Text));
}

#[test]
fn members_come_in_any_order_and_may_be_missing() {
    let columns = [column("a", Int4), column("b", Int4), column("c", Int4)];
    let mut decoder = RowDecoder::new(&columns, &[]);
    let mut batch = Batch::new(3);
    for (text, expected) in [
        (r#"{"a":1,"b":2,"c":3}"#, ["1", "2", "3"]),
        (r#"{"c":3,"x":9,"b":2,"a":1}"#, ["1", "2", "3"]),
        (r#"{"b":2}"#, ["NULL", "2", "NULL"]),
        (r#"{}"#, ["NULL", "NULL", "NULL"]),
        (r#"{"a" : 1 , "b":2,"y":{},"c":3}"#, ["1", "2", "3"]),
        (r#"{"\u0061":1,"b\u0000":4,"A":5}"#, ["1", "NULL", "NULL"]),
        (r#"{"b":2,"a":1,"c":3}"#, ["1", "2", "3"]),
    ] {
        batch.clear();
        // The first time the order is learned, the second time it is used.
        for _ in 0..2 {
            decoder.decode(text.as_bytes(), &mut batch).unwrap();
            let last = batch.row(batch.len() - 1);
            assert_eq!(last.iter().map(|&cell| show(&batch, cell)).collect::<Vec<_>>(), expected, "{text}");
        }
    }
}

#[test]
fn ever_new_names_do_not_pile_up_and_wanted_ones_are_still_found() {
    let (mut decoder, mut batch) = (RowDecoder::new(&[column("a", Int4)], &[]), Batch::new(1));
    for i in 0..10_000 {
        decoder.decode(format!(r#"{{"x{i}":0,"a":{i},"y{i}":0}}"#).as_bytes(), &mut batch).unwrap();
        assert_eq!(batch.row(i)[0], Cell::Int(i as i64));
    }
    assert!(decoder.members() < 5_000);
}

#[test]
fn of_duplicates_the_last_one_counts() {
    let columns = [("a", Int4), ("b/c", Int4), ("b/d", Int4)];
    let text = r#"{"a":1,"b":{"c":1,"c":2,"d":7},"a":5,"b":{"d":3}}"#;
    assert_eq!(row(&columns, text).unwrap(), ["5", "NULL", "3"]);
    assert_eq!(row(&columns, r#"{"a":1,"b":{"c":1},"a":null,"b":null}"#).unwrap(), ["NULL"; 3]);
}

#[test]
fn one_field_may_fill_several_columns() {
    let text = r#"{"F":{"value":"5"}}"#;
    assert_eq!(row(&[("F", Int4), ("F", Text), ("F", Json)], text).unwrap(), ["5", "5", r#"{"value":"5"}"#]);
}

#[test]
fn unknown_members_are_skipped_whatever_is_in_them() {
    let text =
        r#"{"s":"}]\"","n":-1e5,"o":{"a":[1,{"}":"]"}]},"l":[[],{}],"w":{"value":"\\"},"x":nonsense,"F":7}"#;
    assert_eq!(row(&[("F", Int4)], text).unwrap(), ["7"]);
}

#[test]
fn broken_rows_are_malformed() {
    for text in [
        "",
        " ",
        "[]",
        "1",
        "{",
        r#"{"F""#,
        r#"{"F":"#,
        r#"{"F":1"#,
        r#"{"F":1,"#,
        r#"{"F":1,}"#,
        r#"{"F":1}}"#,
        r#"{"F":1}{}"#,
        r#"{"F" 1}"#,
        r#"{F:1}"#,
        r#"{"F":1 "G":2}"#,
        r#"{"F":"x}"#,
        r#"{"F":tru}"#,
        r#"{"F":nul}"#,
        r#"{"F":nullx}"#,
        r#"{"G":}"#,
        r#"{"G":[}}"#,
        r#"{"F":{"value":1]}"#,
        r#"{"F":{"value":1"#,
        r#"{"F":NaN}"#,
        r#"{"G":{"a":1]}"#,
        r#"{,}"#,
        r#"{"F":+1}"#,
    ] {
        let error = row(&[("F", Text)], text).unwrap_err();
        assert!(matches!(error.kind, DecodeErrorKind::Malformed(_)), "{text}: {error}");
        assert_eq!(error.column, None, "{text}");
    }
}

#[test]
fn errors_name_the_column_and_show_the_value() {
    let columns = [("a", Text), ("b", Int2)];
    let long = "ä".repeat(100);
    let error = row(&columns, format!(r#"{{"a":"x","b":"{long}"}}"#)).unwrap_err();
    assert_eq!(
        error,
        DecodeError { column: Some(1), kind: DecodeErrorKind::Syntax(Int2), value: "ä".repeat(60) }
    );
    let error = row(&columns, r#"{"b":70000,"a":[1]}"#).unwrap_err();
    assert_eq!(
        error,
        DecodeError { column: Some(1), kind: DecodeErrorKind::OutOfRange(Int2), value: "70000".into() }
    );
    let error = row(&columns, r#"{"b":1,"a":[1]}"#).unwrap_err();
    assert_eq!(error.value, "[1]}");
    assert_eq!(row(&columns, b"{\"a\":\"\xFFx\"}").unwrap_err().value, "\u{FFFD}x");
}

#[test]
fn an_error_leaves_the_batch_as_it_was() {
    let columns = [column("a", Text), column("u", Uuid), column("b", Int2)];
    let (mut decoder, mut batch) = (RowDecoder::new(&columns, &[]), Batch::new(3));
    decoder.decode(br#"{"a":"one","b":1}"#, &mut batch).unwrap();
    let before = batch.bytes();
    for broken in [r#"{"u":"6a3f0e529a7bee118d3c00155d0a1b2c","a":"two","b":"x"}"#, r#"{"a":"two""#] {
        decoder.decode(broken.as_bytes(), &mut batch).unwrap_err();
        assert_eq!((batch.len(), batch.bytes()), (1, before));
    }
    decoder.decode(br#"{"a":"three","b":3}"#, &mut batch).unwrap();
    assert_eq!(batch.len(), 2);
    assert_eq!(show(&batch, batch.row(0)[0]), "one");
    assert_eq!(show(&batch, batch.row(1)[0]), "three");
}

#[test]
fn a_batch_counts_its_bytes_and_rows() {
    let (mut decoder, mut batch) = (RowDecoder::new(&[column("a", Text)], &[]), Batch::new(1));
    assert!(batch.is_empty());
    decoder.decode(br#"{"a":"12345"}"#, &mut batch).unwrap();
    assert_eq!((batch.len(), batch.bytes()), (1, 16 + 5));
    batch.clear();
    assert_eq!((batch.len(), batch.bytes(), batch.is_empty()), (0, 0, true));
    // SELECT count(*)
    let (mut decoder, mut batch) = (RowDecoder::new(&[], &[]), Batch::new(0));
    for _ in 0..3 {
        decoder.decode(br#"{"a":"12345"}"#, &mut batch).unwrap();
    }
    assert_eq!((batch.len(), batch.row(2)), (3, &[][..]));
}

#[test]
fn identity_fields_cannot_run_together() {
    let mut decoder =
        RowDecoder::new(&[column("a", Text)], &[vec!["a".into()], vec!["k".into(), "b".into()]]);
    let mut batch = Batch::new(1);
    let mut identity = |text: &str| {
        let result = decoder.decode(text.as_bytes(), &mut batch);
        (decoder.identity().map(<[u8]>::to_vec), result.is_ok())
    };
    let first = identity(r#"{"a":"SO","k":{"b":"1"}}"#);
    assert!(first.1);
    assert_eq!(first.0.as_deref(), Some(&b"\x02\0\0\0SO\x01\0\0\x001"[..]));
    assert_ne!(identity(r#"{"a":"S","k":{"b":"O1"}}"#).0, first.0);
    assert_eq!(identity(r#"{"k":{"b":{"value":"\u0031"}},"a":{"value":"SO"}}"#).0, first.0);
    assert_eq!(identity(r#"{"k":{"b":1},"a":"SO"}"#).0, first.0);
    // The key of an outer join holds NULL, which tells rows apart as well as any value.
    let null = identity(r#"{"a":"SO","k":{"b":{}}}"#).0;
    assert!(null.is_some());
    assert_ne!(identity(r#"{"a":"SO","k":{"b":""}}"#).0, null);
    for missing in [r#"{"a":"SO"}"#, r#"{"a":"SO","k":null}"#, r#"{"k":{"b":"1"}}"#] {
        assert_eq!(identity(missing).0, None, "{missing}");
    }
}

#[test]
fn identity_is_known_after_an_error_too() {
    let mut decoder = RowDecoder::new(&[column("a", Int2)], &[vec!["z".into()]]);
    decoder.decode(br#"{"a":"x","z":"K1"}"#, &mut Batch::new(1)).unwrap_err();
    assert!(decoder.identity().is_some());
    let mut decoder = RowDecoder::new(&[], &[]);
    decoder.decode(b"{}", &mut Batch::new(0)).unwrap();
    assert_eq!(decoder.identity(), None);
}

#[test]
fn a_megabyte_of_text() {
    let text = "ab\\\\\\\"ü".repeat(150_000);
    assert_eq!(
        row(&[("F", Text)], format!(r#"{{"G":"{text}","F":{{"value":"{text}"}}}}"#)).unwrap()[0],
        "ab\\\"ü".repeat(150_000)
    );
}

#[test]
fn a_thousand_columns() {
    let names: Vec<String> = (0..1000).map(|i| format!("Field{i}")).collect();
    let columns: Vec<_> = names.iter().rev().map(|name| (&name[..], Int4)).collect();
    let members: Vec<_> = names.iter().enumerate().map(|(i, name)| format!(r#""{name}":{i}"#)).collect();
    let cells = row(&columns, format!("{{{}}}", members.join(","))).unwrap();
    assert!(cells.iter().rev().enumerate().all(|(i, cell)| *cell == i.to_string()));
}

#[test]
fn nesting_is_bounded() {
    let deep = |depth: usize| format!(r#"{{"G":{}{}}}"#, "[".repeat(depth), "]".repeat(depth));
    assert!(row(&[("F", Text)], deep(128)).is_ok());
    assert_eq!(row(&[("F", Text)], deep(129)).unwrap_err().kind, DecodeErrorKind::TooDeep);
    // Neither wrappers nor paths may eat the stack.
    let wrappers = format!(r#"{{"F":{}"#, r#"{"value":"#.repeat(100_000));
    assert!(row(&[("F", Text)], &wrappers).is_err());
    assert!(row(&[("F/id", Text)], &wrappers).is_err());
}

#[test]
fn a_row_taken_back_leaves_nothing() {
    let mut decoder = RowDecoder::new(&[column("a", Text), column("u", Uuid)], &[]);
    let mut batch = Batch::new(2);
    decoder.decode(br#"{"a":"first","u":"00000000-0000-0000-0000-000000000001"}"#, &mut batch).unwrap();
    let before = batch.bytes();
    decoder.decode(br#"{"a":"second","u":"00000000-0000-0000-0000-000000000002"}"#, &mut batch).unwrap();
    batch.pop();
    assert_eq!((batch.len(), batch.bytes()), (1, before));
}
