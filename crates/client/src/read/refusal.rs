//! Finds out which condition or column a refusal of the server is about.

use crate::error::{Error, ErrorKind};
use crate::request::ScanRequest;

/// Whether a failure may come from a condition or an order that the server cannot apply.
pub(crate) fn may_be_of_condition(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Empty | ErrorKind::CannotOptimize | ErrorKind::Server)
}

/// Whether a failure may come from the length of the address: IIS answers 404 with a page
/// (<https://learn.microsoft.com/en-us/iis/configuration/system.webserver/security/requestfiltering/requestlimits/>), others 400 or
/// 414. That firewalls and proxies may answer 403, or close the connection, is ours.
pub(crate) fn may_be_of_length(kind: ErrorKind) -> bool {
    may_be_of_condition(kind)
        || matches!(
            kind,
            ErrorKind::NotFound
                | ErrorKind::Protocol
                | ErrorKind::ConnectionLost
                | ErrorKind::Blocked
                | ErrorKind::Forbidden
                | ErrorKind::UnknownField
        )
}

/// Those of `fields` that a refusal names.
pub(crate) fn named(fields: &[String], error: &Error) -> Vec<String> {
    let words = words(error);
    fields.iter().filter(|field| words.iter().any(|word| is_named(field, word))).cloned().collect()
}

/// Whether a word names the field, or a part of it, or an object that has it. The words are paths with dots
/// (docs/acumatica.md section 2); a single name may be that of a field in a linked entity.
fn is_named(field: &str, word: &str) -> bool {
    let dotted = field.replace('/', ".");
    let within = |whole: &str, part: &str| {
        part.strip_prefix(whole).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    within(&dotted, word)
        || within(word, &dotted)
        || !word.contains('.') && field.rsplit('/').next().is_some_and(|name| name == word)
}

/// The columns of some fields; a field without a column stands for itself.
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

/// The error for a list that the server cannot read: the hint names the columns to leave out.
pub(crate) fn unreadable(request: &ScanRequest, error: Error) -> Error {
    let fields: Vec<String> = request.columns.iter().map(|column| column.path.join("/")).collect();
    let columns = columns_of(request, &named(&fields, &error));
    match columns.is_empty() {
        true if request.own_filter.is_some() && error.hint.is_none() => {
            error.hint("Check the option \"filter\" of the table, which is sent as it stands.")
        }
        true if error.kind == ErrorKind::CannotOptimize => error.hint(
            "The error is about the whole form, or one of its views. Ask for single records by their key, or import a generic \
             inquiry that shows the same.",
        ),
        true => error,
        false => error.hint(format!(
            "Leave {} out of the query, or ask for single records by their key.",
            listed(&columns)
        )),
    }
}

/// The fields that a refusal names: in `… The following fields cause the error: Adjust.DisplayRefNbr: View Filter has
/// BQL delegate` the words before a colon, in other refusals the words in quotes. `There is a BqlDelegate in view
/// Features` names none.
fn words(error: &Error) -> Vec<&str> {
    let text = error.detail.as_deref().unwrap_or_default();
    match error.kind {
        ErrorKind::CannotOptimize => {
            let list = text.split_once("cause the error:").map_or("", |(_, list)| list);
            list.split_whitespace().filter_map(|word| word.strip_suffix(':')).collect()
        }
        ErrorKind::UnknownField | ErrorKind::Server => {
            let quoted = |quote: char| text.split(quote).skip(1).step_by(2);
            quoted('\'').chain(quoted('"')).collect()
        }
        _ => Vec::new(),
    }
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
    fn the_fields_that_a_refusal_names_are_blamed() {
        let fields = ["Balance".to_owned(), "Linked/Owner".to_owned(), "Status".to_owned()];
        assert_eq!(named(&fields, &error("Owner: View Filter has BQL delegate")), ["Linked/Owner"]);
        assert_eq!(named(&fields, &error("Elsewhere: View Status has BQL delegate")), [""; 0]);
        let quoted = |text: &str| Error::new(ErrorKind::UnknownField, "unknown").detail(text);
        let property = quoted("Could not find a property named 'Status' on type 'GI.Row'.");
        assert_eq!(named(&fields, &property), ["Status"]);
        assert_eq!(named(&fields, &quoted("The given key was not present in the dictionary.")), [""; 0]);
        assert_eq!(named(&fields, &Error::new(ErrorKind::Empty, "nothing").detail("'Status'")), [""; 0]);
    }

    /// Issue 12, 2.8: what real servers write.
    #[test]
    fn refusals_write_paths_with_dots_or_name_no_field() {
        let real = error(
            "ApplicationHistory.DisplayDocType: View Adjustments_History has BQL delegate ApplicationHistory.DisplayRefNbr: \
             View Adjustments_History has BQL delegate ApplicationDate: Field ApplicationDate is marked as non-optimizable",
        );
        let fields = [
            "Type",
            "ApplicationHistory",
            "ApplicationHistory/DisplayDocType",
            "ApplicationHistory/AmountPaid",
        ];
        let fields =
            fields.map(str::to_owned).into_iter().chain(["ApplicationDate".to_owned()]).collect::<Vec<_>>();
        assert_eq!(
            named(&fields, &real),
            ["ApplicationHistory", "ApplicationHistory/DisplayDocType", "ApplicationDate"]
        );
        let whole = Error::new(ErrorKind::CannotOptimize, "x")
            .detail("Optimization cannot be performed.There is a BqlDelegate in view Features");
        assert_eq!(named(&["Features".to_owned()], &whole), [""; 0]);
        let request = request("Features", &[("Features", ColumnType::Text)], &[]);
        let hint = unreadable(&request, whole).hint.unwrap();
        assert!(!hint.contains("\"Features\"") && hint.contains("single records by their key"), "{hint}");
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
