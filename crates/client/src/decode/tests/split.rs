use super::*;

type Split = Result<(Vec<String>, Option<String>), SplitError>;

fn split_with(mut splitter: RowSplitter, body: &[u8], chunk: usize) -> Split {
    let mut rows = Vec::new();
    for chunk in body.chunks(chunk) {
        splitter.push(chunk);
        while let Some(row) = splitter.next_row()? {
            rows.push(String::from_utf8_lossy(row).into_owned());
        }
    }
    Ok((rows, splitter.finish()?.next_link))
}

/// Splits the body in chunks of every small size and at once; all must agree.
fn split(body: &str) -> Split {
    let whole = split_with(RowSplitter::new(1000), body.as_bytes(), usize::MAX);
    for chunk in 1..=17 {
        let parts = split_with(RowSplitter::new(1000), body.as_bytes(), chunk);
        match (&whole, &parts) {
            // What is shown of the body may depend on how much of it has come.
            (Err(a), Err(b)) => {
                assert_eq!(std::mem::discriminant(a), std::mem::discriminant(b), "{chunk}: {body}")
            }
            _ => assert_eq!(whole, parts, "{chunk}: {body}"),
        }
    }
    whole
}

fn rows(body: &str) -> Vec<String> {
    split(body).unwrap().0
}

#[test]
fn a_bare_array() {
    assert_eq!(rows("[]"), [""; 0]);
    assert_eq!(rows(" [ ] \n"), [""; 0]);
    assert_eq!(rows(r#"[{"a":"}\"]"},{},{"b":[{}]}]"#), [r#"{"a":"}\"]"}"#, "{}", r#"{"b":[{}]}"#]);
    assert_eq!(rows("\u{FEFF}\r\n[ { \"a\" : 1 }\n,\t{} ]\n"), ["{ \"a\" : 1 }", "{}"]);
}

#[test]
fn an_envelope_with_members_in_any_order() {
    let link = "https://erp/x?$skip=1";
    for name in ["@odata.nextLink", "odata.nextLink", "@nextLink"] {
        for body in [
            format!(r#"{{"@odata.context":"a\"]","value":[{{"a":1}},{{}}],"{name}":"{link}"}}"#),
            format!(
                r#"{{"{name}":"{link}","n":1,"o":{{"value":[{{}}]}},"l":[1,"]"],"value":[{{"a":1}},{{}}]}}"#
            ),
            format!(
                r#" {{ "value" : [ {{"a":1}} , {{}} ] , "t" : true , "{name}" : "{}" }} "#,
                link.replace('/', r"\/")
            ),
        ] {
            assert_eq!(
                split(&body),
                Ok((vec![r#"{"a":1}"#.into(), "{}".into()], Some(link.into()))),
                "{body}"
            );
        }
    }
    for none in ["null", r#""""#, r#"" ""#] {
        assert_eq!(
            split(&format!(r#"{{"value":[],"@odata.nextLink":{none}}}"#)),
            Ok((vec![], None)),
            "{none}"
        );
    }
    assert_eq!(rows(r#"{"v\u0061lue":[{}]}"#), ["{}"]);
}

#[test]
fn an_empty_body_is_not_an_empty_list() {
    for body in ["", "  \r\n", "\u{FEFF}"] {
        assert_eq!(split(body), Err(SplitError::Empty));
    }
}

#[test]
fn html_is_not_json() {
    let page = "<!DOCTYPE html><html>".to_owned() + &"é".repeat(500);
    let Err(SplitError::NotJson(start)) = split(&page) else { panic!() };
    assert_eq!(start, page.chars().take(80).collect::<String>());
    for body in ["oops", "\"text\"", "null", "\u{FEFF}x", "]"] {
        assert!(matches!(split(body), Err(SplitError::NotJson(_))), "{body}");
    }
}

#[test]
fn an_object_without_value_is_shown_to_the_caller() {
    let body = r#"{"message":"An error has occurred.","exceptionMessage":"x"}"#;
    assert_eq!(split(body), Err(SplitError::NoRows(body.into())));
    assert_eq!(split("{}"), Err(SplitError::NoRows("{}".into())));
    for body in [r#"{"value":null}"#, r#"{"value":{"a":[]}}"#, r#"{"value":"[]"}"#, r#"{"error":{"code":1}}"#]
    {
        assert_eq!(split(body), Err(SplitError::NoRows(body.into())));
    }
    let long = format!(r#"{{"message":"m","stackTrace":"{}"}}"#, "x".repeat(200_000));
    let Err(SplitError::NoRows(head)) = split_with(RowSplitter::new(1000), long.as_bytes(), 1000) else {
        panic!()
    };
    assert_eq!(head, long[..64 << 10]);
}

#[test]
fn an_error_beside_the_rows_is_not_overlooked() {
    for body in
        [r#"{"value":[{}],"error":{"message":"m"}}"#, r#"{"odata.error":{"message":"m"},"value":[{}]}"#]
    {
        assert_eq!(split(body), Err(SplitError::Reported(r#"{"message":"m"}"#.into())));
    }
    assert_eq!(rows(r#"{"value":[{}],"error":null}"#), ["{}"]);
}

#[test]
fn rows_must_be_objects() {
    for body in ["[1]", "[{},null]", r#"["{}"]"#, "[[{}]]", r#"{"value":[[]]}"#] {
        assert!(matches!(split(body), Err(SplitError::NotAnObject(_))), "{body}");
    }
}

#[test]
fn every_truncation_is_found() {
    for body in [
        r#"{"@odata.context":"c\\","n":12,"value":[{"a":"b\"c"},{"d":[1,{}]}],"@odata.nextLink":"l"}"#,
        r#"[{"a":"b\"c"},{"d":[1,{}]}]"#,
    ] {
        for end in 1..body.len() {
            assert_eq!(split(&body[..end]), Err(SplitError::Truncated), "{}", &body[..end]);
        }
    }
}

#[test]
fn nothing_may_follow_the_end() {
    for body in ["[]x", "[{}][]", r#"{"value":[]}{}"#, "[]]"] {
        assert!(matches!(split(body), Err(SplitError::TrailingGarbage(_))), "{body}");
    }
}

#[test]
fn broken_structure_is_malformed() {
    for body in [
        "[,]",
        "[{},]",
        "[{}{}]",
        "[{}}",
        r#"{"value":[{}}"#,
        r#"{"value":[{}]]"#,
        "{1:2}",
        r#"{"a":1,}"#,
        r#"{"a":}"#,
        r#"{"a" 1}"#,
        r#"{"a":1 "b":2}"#,
        r#"{"value":[],"value":[]}"#,
        r#"{"value":[],"@odata.nextLink":5}"#,
        r#"{"\q":1}"#,
        r#"{"value":[{}]{"error":"late"}}"#,
    ] {
        assert!(matches!(split(body), Err(SplitError::Malformed { .. })), "{body}: {:?}", split(body));
    }
}

#[test]
fn rows_have_a_largest_size() {
    let row = |len: usize| format!(r#"{{"a":"{}"}}"#, "x".repeat(len - 8));
    assert_eq!(rows(&format!("[{},{}]", row(1000), row(999))).len(), 2);
    assert_eq!(split(&format!("[{}]", row(1001))), Err(SplitError::RowTooLarge { limit: 1000 }));
    // Found before the row is complete.
    let mut splitter = RowSplitter::new(1000);
    splitter.push(&format!("[{}", row(5000)).as_bytes()[..1500]);
    assert_eq!(splitter.next_row(), Err(SplitError::RowTooLarge { limit: 1000 }));
}

#[test]
fn large_members_of_the_envelope_do_not_fill_the_memory() {
    let large = "x".repeat(300_000);
    let feed = |body: String| {
        let mut splitter = RowSplitter::new(1000);
        let mut most = 0;
        for chunk in body.as_bytes().chunks(1000) {
            splitter.push(chunk);
            while splitter.next_row()?.is_some() {}
            most = most.max(splitter.buffered());
        }
        splitter.finish().map(|_| most)
    };
    assert!(feed(format!(r#"{{"a":"{large}","value":[{{}}]}}"#)).unwrap() < 70_000);
    assert_eq!(
        feed(format!(r#"{{"value":[],"odata.nextLink":"{large}"}}"#)),
        Err(SplitError::EnvelopeTooLarge)
    );
    assert_eq!(feed(format!(r#"{{"{large}":1,"value":[]}}"#)), Err(SplitError::EnvelopeTooLarge));
}

#[test]
fn the_buffer_holds_one_row_and_one_chunk() {
    let body = format!("[{}]", vec![format!(r#"{{"a":"{}"}}"#, "x".repeat(900)); 1000].join(","));
    let mut splitter = RowSplitter::new(1000);
    let mut rows = 0;
    for chunk in body.as_bytes().chunks(100) {
        splitter.push(chunk);
        while splitter.next_row().unwrap().is_some() {
            rows += 1;
        }
        assert!(splitter.buffered() <= 1010);
    }
    assert_eq!(rows, 1000);
}

#[test]
fn nesting_has_an_end() {
    let deep = |depth: usize| format!(r#"[{{"a":{}{}}}]"#, "[".repeat(depth), "]".repeat(depth));
    assert_eq!(rows(&deep(127)).len(), 1);
    assert_eq!(split(&deep(128)), Err(SplitError::TooDeep));
    assert_eq!(split(&format!(r#"{{"a":{}"#, "[".repeat(129))), Err(SplitError::TooDeep));
}

#[test]
fn a_single_row() {
    let single = |body: &str| split_with(RowSplitter::single(1000), body.as_bytes(), 3);
    let row = r#"{"@odata.context":"c","value":[1]}"#;
    assert_eq!(single(&format!("\u{FEFF} {row}\n")), Ok((vec![row.into()], None)));
    assert_eq!(single(""), Err(SplitError::Empty));
    assert!(matches!(single("[{}]"), Err(SplitError::NotAnObject(_))));
    assert!(matches!(single("{}{}"), Err(SplitError::TrailingGarbage(_))));
    assert!(matches!(single("<html>"), Err(SplitError::NotJson(_))));
    assert_eq!(single(r#"{"a":"#), Err(SplitError::Truncated));
}

#[test]
fn asking_twice_and_pushing_nothing_does_no_harm() {
    let body = r#"{"a\\\"b":"c\\\"","value":[{"a":"\\\""}]}"#;
    let mut splitter = RowSplitter::new(1000);
    let mut rows = 0;
    for byte in body.as_bytes() {
        splitter.push(&[*byte]);
        for _ in 0..3 {
            rows += usize::from(splitter.next_row().unwrap().is_some());
            splitter.push(b"");
        }
    }
    assert_eq!((rows, splitter.finish().unwrap()), (1, Envelope::default()));
}

#[test]
fn finishing_with_rows_left_is_an_error() {
    let mut splitter = RowSplitter::new(1000);
    splitter.push(b"[{},{}]");
    splitter.next_row().unwrap();
    assert_eq!(splitter.finish(), Err(SplitError::Truncated));
}
