//! Error objects in the place of rows.
//!
//! A server that fails after it has begun an answer of status 200 can only write the error into it: OData calls that an
//! in-stream error (OData JSON Format 4.01, section 19), and Web API writes the same object as for other failures. Such
//! an object must not pass for a row without values. But a row may have members of the same names: the contract REST
//! puts an `error` beside the fields of a record (captures: csharp-422-bill), and a field may be called `Message`.

use serde_json::{Map, Value};

/// Names of members that errors have. [`is_report`] decides whether an object with one of them is an error.
pub(super) fn is_suspect(name: &str) -> bool {
    const NAMES: [&str; 7] = [
        "error",
        "odata.error",
        "@odata.error",
        "message",
        "exceptionMessage",
        "exceptionType",
        "messageDetail",
    ];
    NAMES.iter().any(|suspect| name.eq_ignore_ascii_case(suspect))
}

/// Whether an object in the place of a row is an error. `asked` knows the fields that were requested.
#[cold]
pub(super) fn is_report(object: &[u8], asked: impl Fn(&str) -> bool) -> bool {
    let Ok(Value::Object(members)) = serde_json::from_slice(object) else { return false };
    let named = |wanted: &str| {
        let mut found = members.iter().filter(|(name, value)| {
            name.eq_ignore_ascii_case(wanted) && !value.is_null() && *value != &Value::from("")
        });
        found.next()
    };
    if named("odata.error").or_else(|| named("@odata.error")).is_some() {
        return true;
    }
    if named("error").is_some_and(|(_, error)| error.as_object().is_some_and(is_odata_error)) {
        return true;
    }
    let told = |wanted: &str| named(wanted).is_some_and(|(name, value)| value.is_string() && !asked(name));
    // A row does not contain the class of an exception, even if the server had begun to write a row.
    if told("exceptionMessage") && (told("exceptionType") || told("message")) {
        return true;
    }
    let is_row = members.iter().any(|(name, value)| is_of_row(name, value, &asked));
    if !is_row {
        return members.keys().any(|name| is_suspect(name) && !asked(name));
    }
    // Fields of the contract REST are objects. A text that is no member of every record is no field.
    told("message") && members.values().any(is_field_object)
}

/// `{"code":"…","message":"…"}`, of version 3 with the message as `{"lang":"…","value":"…"}`.
fn is_odata_error(error: &Map<String, Value>) -> bool {
    let message = match error.get("message") {
        Some(Value::String(_)) => true,
        Some(Value::Object(message)) => message.contains_key("lang"),
        _ => false,
    };
    let code = error.get("code").is_some_and(|code| code.is_string() || code.is_number());
    (message || code) && !error.contains_key("id")
}

/// Whether a member is one that rows have and errors do not.
fn is_of_row(name: &str, value: &Value, asked: &impl Fn(&str) -> bool) -> bool {
    // Members of every record (docs/acumatica.md section 2). An error may have an `id` as well.
    const SYSTEM: [&str; 4] = ["rowNumber", "note", "custom", "_links"];
    SYSTEM.contains(&name)
        || name != "id" && !is_suspect(name) && (asked(name) || is_field_object(value))
        || is_suspect(name) && asked(name)
}

/// `{}` and `{"value":…}`, as the contract REST writes fields.
fn is_field_object(value: &Value) -> bool {
    value.as_object().is_some_and(|field| field.is_empty() || field.contains_key("value"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(object: &str, asked: &[&str]) -> bool {
        is_report(object.as_bytes(), |name| asked.contains(&name))
    }

    #[test]
    fn issue_12_3_2_what_is_an_error_and_no_row() {
        for object in [
            r#"{"error":{"code":"","message":"boom"}}"#,
            r#"{"odata.error":{"code":"","message":{"lang":"en-US","value":"boom"}}}"#,
            r#"{"@odata.error":"boom"}"#,
            r#"{"error":{"code":"500","message":{"lang":"en","value":"boom"}}}"#,
            r#"{"OrderNbr":"1","error":{"code":"","message":"boom"}}"#,
            r#"{"OrderNbr":{"value":"1"},"message":"boom","exceptionMessage":"x"}"#,
            r#"{"OrderNbr":{"value":"1"},"message":"boom"}"#,
            r#"{"message":"An error has occurred.","exceptionMessage":"boom","exceptionType":"X","stackTrace":""}"#,
            r#"{"message":"boom"}"#,
            r#"{"Message":"boom"}"#,
            r#"{"id":"x","message":"boom"}"#,
            r#"{"error":"boom","error_description":"x"}"#,
            r#"{"exceptionType":"boom"}"#,
        ] {
            assert!(report(object, &["OrderNbr", "id"]), "{object}");
        }
    }

    #[test]
    fn issue_12_3_2_what_is_a_row_although_it_has_such_members() {
        for (object, asked) in [
            // Validation texts beside the fields.
            (
                r#"{"id":"x","rowNumber":1,"error":"Inserting raised an error","Amount":{"value":1}}"#,
                &["Amount"],
            ),
            (r#"{"id":"x","rowNumber":1,"error":"Inserting raised an error","note":null}"#, &["Absent"]),
            // Fields of these names, asked for or not.
            (r#"{"id":"x","Message":{"value":"hello"}}"#, &["Message"]),
            (r#"{"id":"x","error":{"value":"hello"},"Amount":{}}"#, &["Amount"]),
            (r#"{"Message":"hello"}"#, &["Message"]),
            (r#"{"Amount":1,"Message":"hello"}"#, &["Amount"]),
            (r#"{"Amount":1,"error":"hello"}"#, &["Amount"]),
            (r#"{"Amount":1,"error":null,"message":null}"#, &["Amount"]),
            // A linked entity.
            (
                r#"{"Amount":{"value":1},"error":{"id":"x","message":{"value":"y"},"code":{"value":"z"}}}"#,
                &["Amount"],
            ),
        ] {
            assert!(!report(object, asked), "{object}");
        }
    }
}
