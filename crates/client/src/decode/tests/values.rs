use super::*;
use ColumnType::*;

fn reads(ty: ColumnType, cases: &[(&str, &str)]) {
    for (value, expected) in cases {
        assert_eq!(one(ty, value).as_deref(), Ok(*expected), "{value} as {ty}");
    }
}

fn fails(ty: ColumnType, kind: DecodeErrorKind, cases: &[&str]) {
    for value in cases {
        assert_eq!(one(ty, value), Err(kind), "{value} as {ty}");
    }
}

const ALL: [ColumnType; 12] =
    [Bool, Int2, Int4, Int8, Float4, Float8, Numeric, Text, Date, Timestamp, TimestampTz, Uuid];

#[test]
fn null_is_null_for_every_type() {
    for ty in ALL {
        reads(ty, &[("null", "NULL")]);
    }
    assert_eq!(row(&[("F", Json)], r#"{"F":null}"#).unwrap(), ["NULL"]);
}

#[test]
fn an_empty_string_is_text_only() {
    reads(Text, &[(r#""""#, ""), (r#""  ""#, "  ")]);
    for ty in ALL.into_iter().filter(|&ty| ty != Text) {
        fails(ty, DecodeErrorKind::Syntax(ty), &[r#""""#, r#""  ""#]);
    }
}

#[test]
fn text_is_unescaped() {
    reads(
        Text,
        &[
            (r#""\"\\\/\b\f\n\r\t""#, "\"\\/\u{8}\u{c}\n\r\t"),
            (r#""a\u00e9\uD83D\ude00z""#, "aé😀z"),
            (r#""MAIN      ""#, "MAIN      "),
            ("\"tab\there\"", "tab\there"),
        ],
    );
    fails(Text, DecodeErrorKind::Malformed("an escape"), &[r#""\x""#]);
    fails(
        Text,
        DecodeErrorKind::Malformed("four hexadecimal digits"),
        &[r#""\u12g4""#, r#""\u+123""#, r#""\u12""#],
    );
}

#[test]
fn text_takes_numbers_and_booleans_as_written() {
    reads(Text, &[("30.0000", "30.0000"), ("-1E+5", "-1E+5"), ("true", "true"), ("false", "false")]);
    fails(Text, DecodeErrorKind::Syntax(Text), &["1.2.3", "-", "0x10"]);
}

#[test]
fn half_a_surrogate_pair_is_an_error() {
    let halves = [
        r#""\ud83d""#,
        r#""\ud83dx""#,
        r#""\ude00""#,
        r#""\ud83d\u0041""#,
        r#""\ud83d\ud83d""#,
        r#""\ud83d\ue000""#,
    ];
    fails(Text, DecodeErrorKind::LoneSurrogate, &halves);
}

#[test]
fn nul_has_its_own_error() {
    fails(Text, DecodeErrorKind::NulCharacter, &[r#""a\u0000b""#, "\"a\0b\""]);
    let error = row(&[("F", Json)], "{\"F\":[\"\0\"]}").unwrap_err();
    assert_eq!((error.kind, error.column), (DecodeErrorKind::NulCharacter, Some(0)));
}

#[test]
fn text_must_be_utf8_if_wanted() {
    for broken in [&b"\"a\xFF\""[..], b"\"\xC3\"", b"\"\\n\xED\xA0\x80\""] {
        assert_eq!(one(Text, broken), Err(DecodeErrorKind::InvalidUtf8));
    }
    let text = b"{\"F\":[\"\xFF\"],\"G\":\"\xFF\",\"\xFF\":1,\"H\":1}";
    assert_eq!(row(&[("F", Json)], text).unwrap_err().kind, DecodeErrorKind::InvalidUtf8);
    assert_eq!(row(&[("H", Int2)], text).unwrap(), ["1"]);
}

#[test]
fn numeric_keeps_every_digit() {
    let long = format!("{}.{}", "9".repeat(500), "0".repeat(500));
    reads(
        Numeric,
        &[
            ("30.0000", "30.0000"),
            (r#""1999.000000""#, "1999.000000"),
            (r#"" -1.50 ""#, "-1.50"),
            ("1e-400", "1e-400"),
            (
                "12345678901234567890.123456789012345678901234567890",
                "12345678901234567890.123456789012345678901234567890",
            ),
            (r#""\u0031""#, "1"),
            (&long, &long),
        ],
    );
    let bad = [
        "\"1,5\"",
        "\"1 000\"",
        "\"NaN\"",
        "\".\"",
        "\"1e\"",
        "\"1e+\"",
        "\"--1\"",
        "\"1e5x\"",
        "1..2",
        "\"€ 5\"",
    ];
    fails(Numeric, DecodeErrorKind::Syntax(Numeric), &bad);
    fails(Numeric, DecodeErrorKind::Boolean(Numeric), &["true"]);
}

#[test]
fn integers_are_integral_and_in_range() {
    reads(
        Int2,
        &[("32767", "32767"), ("-32768", "-32768"), ("5.0000", "5"), ("1e3", "1000"), (r#""5""#, "5")],
    );
    reads(
        Int2,
        &[
            ("0.00e99999999999999999999", "0"),
            ("1200e-2", "12"),
            ("-0", "0"),
            ("0.5e1", "5"),
            (r#"" 7 ""#, "7"),
        ],
    );
    reads(Int4, &[("2147483647", "2147483647"), ("-2147483648", "-2147483648")]);
    reads(
        Int8,
        &[("9223372036854775807", "9223372036854775807"), ("-9223372036854775808", "-9223372036854775808")],
    );
    reads(Int8, &[("000000000000000000000000012", "12")]);
    for (ty, values) in [
        (Int2, ["32768", "-32769", "4e4"]),
        (Int4, ["2147483648", "-2147483649", "1e10"]),
        (Int8, ["9223372036854775808", "-9223372036854775809", "1e9999999999999999999999"]),
    ] {
        fails(ty, DecodeErrorKind::OutOfRange(ty), &values);
        fails(ty, DecodeErrorKind::Fraction(ty), &["1.5", "1e-1", r#""0.0001""#, "5e-99999999999999999999"]);
        fails(ty, DecodeErrorKind::Syntax(ty), &[r#""x""#, r#""1,000""#, r#""+""#]);
        fails(ty, DecodeErrorKind::Boolean(ty), &["true"]);
    }
}

#[test]
fn floats_are_rounded_once() {
    reads(
        Float8,
        &[("0.1", "0.1"), (r#""1e300""#, "1e300"), ("-0.0", "-0.0"), ("5", "5.0"), ("0e-999", "0.0")],
    );
    reads(Float8, &[(r#""NaN""#, "NaN"), (r#""INF""#, "inf"), (r#""-INF""#, "-inf")]);
    reads(Float4, &[("0.1", "0.10000000149011612"), ("3.4e38", "3.3999999521443642e38")]);
    // Halfway between two float4 once it has been rounded to float8, just above it before.
    reads(Float4, &[("1.000000059604644775390625000001", "1.0000001192092896")]);
    fails(Float4, DecodeErrorKind::OutOfRange(Float4), &["1e39", "-1e39", "1e-60"]);
    fails(Float8, DecodeErrorKind::OutOfRange(Float8), &["1e309", "-1e309", "1e-400"]);
    fails(Float8, DecodeErrorKind::Syntax(Float8), &[r#""inf""#, r#""infinity""#, r#""nan""#, r#""1_0""#]);
}

#[test]
fn booleans() {
    for yes in ["true", "1", r#""true""#, r#""True""#, r#""TRUE""#, r#""1""#] {
        reads(Bool, &[(yes, "true")]);
    }
    for no in ["false", "0", r#""false""#, r#""False""#, r#""0""#] {
        reads(Bool, &[(no, "false")]);
    }
    fails(Bool, DecodeErrorKind::OutOfRange(Bool), &["2", "-1", "1.0"]);
    fails(Bool, DecodeErrorKind::Syntax(Bool), &[r#""yes""#, r#""2""#]);
}

#[test]
fn dates_are_the_day_as_written() {
    reads(
        Date,
        &[
            (r#""1970-01-01""#, "day 0"),
            (r#""2023-12-14T00:00:00+00:00""#, "day 19705"),
            (r#""2023-12-14T00:00:00.000-12:00""#, "day 19705"),
            (r#""2023-12-14T00:00:00+14:00""#, "day 19705"),
            (r#""2023-12-14T00:00:00""#, "day 19705"),
            // "Never", as sites of other zones write it.
            (r#""1900-01-01T00:00:00+00:00""#, "day -25567"),
            (r#""1900-01-01T03:00:00+03:00""#, "day -25567"),
            (r#""1899-12-31T19:00:00-05:00""#, "day -25567"),
            (r#""0001-01-01""#, "day -719162"),
            (r#""9999-12-31""#, "day 2932896"),
            (r#""2024-02-29""#, "day 19782"),
            (r#""\/Date(1657670400000)\/""#, "day 19186"),
            (r#""/Date(-86400000)/""#, "day -1"),
        ],
    );
    fails(
        Date,
        DecodeErrorKind::TimeOfDay(Date),
        &[
            r#""2023-12-14T23:59:59-12:00""#,
            r#""2023-12-14T00:00:00.001Z""#,
            r#""2023-12-14T21:00:00Z""#,
            r#""2023-12-14 05:50""#,
            r#""1900-01-01T04:00:00+03:00""#,
            r#""/Date(-1)/""#,
        ],
    );
    fails(
        Date,
        DecodeErrorKind::OutOfRange(Date),
        &[r#""2023-02-29""#, r#""2023-13-01""#, r#""2023-00-10""#, r#""0000-01-01""#],
    );
    fails(
        Date,
        DecodeErrorKind::Syntax(Date),
        &[r#""12/14/2023 19:57:08""#, r#""2023-1-1""#, r#""20231214""#, r#""12023-12-14""#],
    );
    fails(Date, DecodeErrorKind::Number(Date), &["20231214"]);
    fails(Date, DecodeErrorKind::Boolean(Date), &["true"]);
}

#[test]
fn timestamps_become_utc() {
    // 2023-12-14 00:00 UTC
    const DAY: i64 = 1_702_512_000_000_000;
    const SECOND: i64 = 1_000_000;
    const HOUR: i64 = 3600 * SECOND;
    let at = DAY + 17 * HOUR + 20 * 60 * SECOND + 45 * SECOND;
    for (text, expected) in [
        ("2023-12-14T17:20:45.16+00:00", at + 160_000),
        ("2023-12-14T17:20:45Z", at),
        ("2023-12-14t17:20:45z", at),
        ("2023-12-14 17:20:45", at),
        (" 2023-12-14T17:20:45 ", at),
        ("2023-12-14T17:20:45+05:30", at - 5 * HOUR - HOUR / 2),
        ("2023-12-14T17:20:45-0800", at + 8 * HOUR),
        ("2023-12-14T17:20:45+01", at - HOUR),
        ("2023-12-14T17:20Z", at - 45 * SECOND),
        ("2023-12-14", DAY),
        ("2023-12-14T17:20:45.123456499", at + 123_456),
        ("2023-12-14T17:20:45.1234565", at + 123_457),
        ("2023-12-14T17:20:45.999999999", at + SECOND),
        ("2023-12-14T24:00:00", DAY + 24 * HOUR),
        ("2023-12-14T23:59:60", DAY + 24 * HOUR),
        (r"\/Date(1702512000001)\/", DAY + 1000),
        ("0001-01-01T00:00:00", -62_135_596_800_000_000),
        ("9999-12-31T23:59:59.999999", 253_402_300_799_999_999),
    ] {
        for ty in [Timestamp, TimestampTz] {
            reads(ty, &[(&format!("\"{text}\""), &format!("{expected} µs"))]);
        }
    }
    for text in [
        "2023-12-14T24:00:01",
        "2023-12-14T25:00:00",
        "2023-12-14T10:60:00",
        "2023-12-14T10:00:61",
        "2023-02-30T10:00:00",
        "2023-12-14T10:00:00+16:00",
        "2023-12-14T10:00:00+10:60",
        "0000-12-14T10:00:00",
        "/Date(9223372036854775807)/",
        "/Date(99999999999999999999)/",
        "/Date(253402300800000)/",
        "/Date(-62135596800001)/",
    ] {
        fails(Timestamp, DecodeErrorKind::OutOfRange(Timestamp), &[&format!("\"{text}\"")]);
    }
    for text in [
        "2023-12-14T",
        "2023-12-14T10",
        "2023-12-14T10:00:00.",
        "2023-12-14T10:00:00.1234567890",
        "2023-12-14T10:00:00X",
        "2023-12-14T10:00:00+1",
        "2023-12-14T10:00:00+01:",
        "2023-12-14T10:00:00Zx",
        "/Date()/",
        "/Date(x)/",
        "/Date(1",
        "12/14/2023 19:57:08",
        "2023-12-14T1o:00:00",
        "now",
        "infinity",
    ] {
        fails(TimestampTz, DecodeErrorKind::Syntax(TimestampTz), &[&format!("\"{text}\"")]);
    }
    fails(Timestamp, DecodeErrorKind::Number(Timestamp), &["1702512000001"]);
}

#[test]
fn uuids_of_any_case_and_dress() {
    let uuid = "6a3f0e52-9a7b-ee11-8d3c-00155d0a1b2c";
    let bare = uuid.replace('-', "");
    for text in [
        uuid,
        &bare,
        &uuid.to_uppercase(),
        &format!("{{{uuid}}}"),
        &format!("{{{bare}}}"),
        &format!(" {uuid} "),
    ] {
        reads(Uuid, &[(&format!("\"{text}\""), uuid)]);
    }
    let urn = format!("\"urn:uuid:{uuid}\"");
    fails(Uuid, DecodeErrorKind::Syntax(Uuid), &[r#""6a3f0e52""#, r#""{}""#, &urn, &format!("\"{uuid}0\"")]);
    fails(Uuid, DecodeErrorKind::Number(Uuid), &["12345678901234567890123456789012"]);
}

#[test]
fn objects_and_arrays_belong_into_jsonb() {
    for ty in ALL {
        fails(ty, DecodeErrorKind::Array(ty), &["[]", r#"[{"value":1}]"#]);
        fails(ty, DecodeErrorKind::Object(ty), &[r#"{"id":"x","City":{"value":"y"}}"#]);
    }
    assert!(DecodeErrorKind::Object(Text).hint().unwrap().contains("jsonb"));
    assert!(DecodeErrorKind::ThroughArray.hint().unwrap().contains("jsonb"));
}

#[test]
fn messages_are_worded_like_those_of_postgresql() {
    assert_eq!(DecodeErrorKind::OutOfRange(Int2).to_string(), "value out of range for type smallint");
    assert_eq!(
        DecodeErrorKind::Syntax(TimestampTz).to_string(),
        "invalid input syntax for type timestamp with time zone"
    );
}
