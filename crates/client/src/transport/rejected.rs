//! The messages about a record that a server did not accept (status 422, 400): those of the record, of its fields, and
//! of its lines.

use serde_json::{Map, Value};

/// The most messages that are read.
const MOST: usize = 20;
/// How deep objects may be nested.
const DEPTH: usize = 5;

/// `{"error":"…","Qty":{"value":…,"error":"…"},"Details":[{…}]}`, as recorded on 2023 R2, and `{"modelState":{"":["…"]}}`
/// beside `message`, as recorded for an empty body.
pub(crate) fn words(body: &str) -> Vec<String> {
    let mut told = Vec::new();
    if let Ok(record) = serde_json::from_str::<Map<String, Value>>(body) {
        if let Some(states) = record.get("modelState").and_then(Value::as_object) {
            let texts = states.iter().flat_map(|(name, texts)| {
                let texts = texts.as_array().map(Vec::as_slice).unwrap_or_default();
                texts.iter().filter_map(Value::as_str).map(move |text| of(name, text))
            });
            told.extend(texts);
        }
        collect(&record, "", DEPTH, &mut told);
    }
    told.truncate(MOST);
    told
}

fn collect(record: &Map<String, Value>, within: &str, depth: usize, told: &mut Vec<String>) {
    let error = record.get("error").and_then(Value::as_str);
    if depth == 0 || told.len() > MOST {
        return;
    }
    // An object with a value is a field; its name is put before its error.
    told.extend(error.filter(|text| !text.is_empty()).map(|text| of(within, text)));
    for (name, inner) in record {
        let name = if within.is_empty() { name.clone() } else { format!("{within}/{name}") };
        match inner {
            Value::Object(inner) => collect(inner, &name, depth - 1, told),
            Value::Array(lines) => {
                lines
                    .iter()
                    .filter_map(Value::as_object)
                    .for_each(|line| collect(line, &name, depth - 1, told));
            }
            _ => {}
        }
    }
}

fn of(name: &str, text: &str) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if name.is_empty() { text } else { format!("{name}: {text}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_that_is_not_accepted_says_why() {
        let body = r#"{"id":"x","error":"Inserting  'X' record raised at least one error.","Total":{"value":1},
            "Item":{"value":"A","error":"'A' cannot be found."},
            "Lines":[{"id":"y","Project":{"value":"P","error":"Project 'P  '\ncannot be found."},"Qty":{}},{"error":"Bad line"}]}"#;
        assert_eq!(
            words(body),
            [
                "Inserting 'X' record raised at least one error.",
                "Item: 'A' cannot be found.",
                "Lines/Project: Project 'P ' cannot be found.",
                "Lines: Bad line"
            ]
        );
    }

    #[test]
    fn a_body_that_is_not_valid_says_why() {
        let body = r#"{"message":"The request is invalid.","modelState":{"":["The body is empty."],"skip":["No number."]}}"#;
        assert_eq!(words(body), ["The body is empty.", "skip: No number."]);
        assert!(words("<html>").is_empty() && words("[1]").is_empty());
    }
}
