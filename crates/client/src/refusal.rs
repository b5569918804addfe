//! What a server refuses: which condition or column it is about.

use std::collections::HashSet;

use crate::decode::Column;
use crate::error::{Error, ErrorKind};
use crate::request::ScanRequest;

/// Whether a failure may come from a condition or an order that the server cannot apply.
pub(crate) fn may_be_of_condition(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Empty | ErrorKind::CannotOptimize | ErrorKind::Server)
}

/// The fields of a condition that a refusal is about: those that it names, else all.
pub(crate) fn blamed(fields: &[String], error: &Error) -> Vec<String> {
    let words = words(error);
    let named = |field: &&String| field.rsplit('/').next().is_some_and(|name| words.contains(name));
    let named: Vec<String> = fields.iter().filter(named).cloned().collect();
    if named.is_empty() { fields.to_vec() } else { named }
}

/// The columns that show some fields, or else the fields.
pub(crate) fn columns_of(request: &ScanRequest, fields: &[String]) -> Vec<String> {
    let column = |field: &String| {
        let column = request.columns.iter().find(|column| column.path.join("/") == *field);
        column.map_or_else(|| field.clone(), |column| column.name.clone())
    };
    fields.iter().map(column).collect()
}

pub(crate) fn listed(columns: &[String]) -> String {
    let names: Vec<String> = columns.iter().map(|name| format!("\"{name}\"")).collect();
    format!("column{} {}", if names.len() == 1 { "" } else { "s" }, names.join(", "))
}

/// A list that the server cannot put together: the error names the columns that are to be left out.
pub(crate) fn unreadable(request: &ScanRequest, error: Error) -> Error {
    let words = words(&error);
    let named = |column: &&Column| column.path.last().is_some_and(|name| words.contains(name.as_str()));
    let columns: Vec<String> =
        request.columns.iter().filter(named).map(|column| column.name.clone()).collect();
    match columns.is_empty() {
        true if request.own_filter.is_some() && error.hint.is_none() => {
            error.hint("Check the option \"filter\" of the table, which is sent as it stands.")
        }
        true => error,
        false => error.hint(format!(
            "Leave {} out of the query, or ask for single records by their key.",
            listed(&columns)
        )),
    }
}

/// The names in `… cause the error: InventoryID: View Filter has BQL delegate`, among other words.
fn words(error: &Error) -> HashSet<&str> {
    let text =
        error.detail.as_deref().filter(|_| error.kind == ErrorKind::CannotOptimize).unwrap_or_default();
    text.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == '.')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::ColumnType;
    use crate::request::tests::request;

    fn error(fields: &str) -> Error {
        Error::new(ErrorKind::CannotOptimize, "the server cannot read these fields in a list").detail(
            format!("Optimization cannot be performed.The following fields cause the error: {fields}"),
        )
    }

    #[test]
    fn the_fields_that_a_refusal_names_are_blamed_else_all() {
        let fields = ["Balance".to_owned(), "Linked/Owner".to_owned(), "Status".to_owned()];
        let one = error("Owner: View Filter has BQL delegate");
        assert_eq!(blamed(&fields, &one), ["Linked/Owner"]);
        assert_eq!(blamed(&fields, &error("Elsewhere: View Filter has BQL delegate")), fields);
        assert_eq!(blamed(&fields, &Error::new(ErrorKind::Empty, "nothing").detail("Status")), fields);
    }

    #[test]
    fn columns_are_named_as_the_table_calls_them() {
        let mut request =
            request("StockItem", &[("Balance", ColumnType::Numeric), ("A", ColumnType::Text)], &[]);
        request.columns[0].name = "bal".into();
        let hint = unreadable(&request, error("Balance: View has BQL delegate")).hint.unwrap();
        assert!(hint.starts_with("Leave column \"bal\" out of the query"), "{hint}");
    }
}
