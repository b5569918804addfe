//! What the rows that a check reads show about dates.

use std::collections::HashMap;

use serde_json::Value;

use crate::decode::shows_day;

/// The fields that show dates with times, and whether all of these are midnight, so that the field holds days.
pub type DayFields = HashMap<String, bool>;

/// The date fields in an answer; none if it cannot be read.
pub(crate) fn day_fields(body: &[u8]) -> DayFields {
    let body = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body);
    let answer = serde_json::from_slice(body).unwrap_or(Value::Null);
    let rows = match &answer {
        Value::Object(members) => members.get("value").and_then(Value::as_array),
        other => other.as_array(),
    };
    let mut found = DayFields::new();
    for (name, value) in rows.into_iter().flatten().filter_map(Value::as_object).flatten() {
        if let Some(day) = value.as_str().and_then(|text| shows_day(text.as_bytes())) {
            *found.entry(name.clone()).or_insert(true) &= day;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_that_only_ever_show_midnight_hold_days() {
        let body = br#"{"value":[
            {"A":"2022-11-02T00:00:00+03:00","B":"2022-11-02T00:00:00Z","C":"1900-01-01T03:00:00+03:00","D":"x","E":5},
            {"A":"2022-11-03T00:00:00","B":"2022-11-02T05:50:00Z","C":null,"D":null}]}"#;
        let expected = [("A".to_owned(), true), ("B".to_owned(), false)];
        assert_eq!(day_fields(body), DayFields::from(expected));
        assert!(day_fields(b"").is_empty() && day_fields(b"{").is_empty() && day_fields(b"[1]").is_empty());
    }
}
