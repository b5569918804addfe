//! What the user is told if the server does not do a part of a request: all texts of these notices.
//!
//! Nothing is told of pages by key ([`Topic::Keyset`](crate::metadata::learnt::Topic::Keyset)): pages by position bring the
//! same rows, and no option of the user makes a difference.

use acumatica_pushdown::Filter;

use crate::error::{Error, ErrorKind};
use crate::read::refusal::{columns_of, listed};
use crate::report::Notice;
use crate::request::ScanRequest;

/// A part of a request that the server does not do. Fields are paths with slashes.
#[derive(Debug)]
pub(crate) enum Refused<'a> {
    /// It could not filter by these fields, for this reason.
    Filter(&'a [String], &'a str),
    /// By a condition on these fields it did not find a row that exists.
    Doubted(&'a [String]),
    /// It could not sort the rows in the order of the request.
    Order(&'a Error),
    /// It could not count the rows, or skip the first of them.
    CountOrSkip(&'a Error),
    /// It could not apply `$select`; the text says why.
    Select(&'a str),
    /// No row has these fields, and no definition tells whether they exist.
    Missing(&'a [String]),
}

impl Refused<'_> {
    /// What the user is told of a request. It says what PostgreSQL does instead, and which option spares the attempt.
    pub fn notice(&self, request: &ScanRequest) -> Notice {
        let target = &request.target;
        let columns = |fields: &[String]| listed(&columns_of(request, fields));
        let filtered_here = |columns: &str| {
            format!(
                "The rows were filtered here. Set the option pushdown of {columns} to off: then the server is not asked."
            )
        };
        let (message, hint) = match *self {
            Self::Filter(fields, why) => {
                let columns = columns(fields);
                (format!("the server could not filter {target} by {columns}: {why}"), filtered_here(&columns))
            }
            Self::Doubted(fields) => {
                let columns = columns(fields);
                (
                    format!(
                        "the server is not trusted to filter {target} by {columns}: it did not find a row that exists"
                    ),
                    filtered_here(&columns),
                )
            }
            Self::Order(why) => {
                let fields: Vec<&str> = request.order.iter().map(|by| by.field.as_str()).collect();
                (
                    format!("the server could not sort {target} by {}: {why}", fields.join(", ")),
                    "The rows were sorted here. Set the option pushdown of the columns to off: then the server is not asked."
                        .to_owned(),
                )
            }
            Self::CountOrSkip(why) => {
                let what = if request.count { "count" } else { "leave out the first rows of" };
                let all = fields_of(request);
                let mut hint = "The rows were read and counted here.".to_owned();
                if !all.is_empty() {
                    hint += &format!(
                        " Set the option pushdown of {} to off if that is why: then the server is not asked.",
                        columns(&all)
                    );
                }
                (format!("the server could not {what} {target}: {why}"), hint)
            }
            Self::Select(why) => {
                (format!("the server {why}"), format!("All fields of {target} were asked for instead."))
            }
            Self::Missing(fields) => {
                let (verb, pronoun) = if fields.len() == 1 { ("is", "it") } else { ("are", "they") };
                (
                    format!(
                        "{} {verb} NULL: no row of {target} has {pronoun}, and no definition can be read that says \
                         whether the field exists",
                        columns(fields)
                    ),
                    "Check the option \"field\": names are case-sensitive. The fields of features that are switched off \
                     are missing in all rows."
                        .to_owned(),
                )
            }
        };
        Notice { is_warning: false, message, hint }
    }

    /// The same as the end of a scan: the extension issues the notice when it has done what the server did not do.
    pub fn ends(&self, request: &ScanRequest) -> Error {
        let kind = match self {
            Self::Order(_) => ErrorKind::CannotOrder,
            _ => ErrorKind::RowsOnly,
        };
        let Notice { message, hint, .. } = self.notice(request);
        Error::new(kind, message).hint(hint)
    }
}

/// The fields of the conditions and of the order.
fn fields_of(request: &ScanRequest) -> Vec<String> {
    let mut fields: Vec<String> = request.filter.iter().flat_map(Filter::paths).collect();
    for by in &request.order {
        if !fields.contains(&by.field) {
            fields.push(by.field.clone());
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::ColumnType;
    use crate::request::tests::{equal, request};
    use crate::request::{Order, Surface};

    fn ordered(fields: &[&str]) -> ScanRequest {
        let mut request =
            request("X", &[("Margin", ColumnType::Numeric), ("Total", ColumnType::Numeric)], &[]);
        request.target.surface = Surface::GenericInquiry;
        request.columns[0].name = "profit".into();
        let by = |field: &&str| Order { field: (*field).into(), descending: false, nulls_apart: false };
        request.order = fields.iter().map(by).collect();
        request
    }

    #[test]
    fn what_the_server_does_not_do_is_told_with_what_is_done_instead() {
        let why = Error::new(ErrorKind::Empty, "an empty answer");
        let request = ScanRequest { filter: Some(equal("Total", "1")), ..ordered(&["Margin", "Total"]) };
        let fields = ["Margin".to_owned(), "Other".to_owned()];
        let told = |refused: Refused| {
            let Notice { is_warning, message, hint } = refused.notice(&request);
            assert!(!is_warning);
            (message, hint)
        };
        let (message, hint) = told(Refused::Filter(&fields, "no"));
        assert_eq!(
            message,
            "the server could not filter generic inquiry \"X\" by columns \"profit\", \"Other\": no"
        );
        assert!(hint.starts_with("The rows were filtered here.") && hint.contains("\"profit\""), "{hint}");
        let (message, hint) = told(Refused::Order(&why));
        assert_eq!(
            message,
            "the server could not sort generic inquiry \"X\" by Margin, Total: an empty answer"
        );
        assert!(hint.starts_with("The rows were sorted here."), "{hint}");
        let (message, hint) = told(Refused::CountOrSkip(&why));
        assert!(message.starts_with("the server could not leave out the first rows of generic"), "{message}");
        assert!(hint.contains("columns \"Total\", \"profit\" to off"), "{hint}");
        assert!(told(Refused::Doubted(&fields[..1])).0.contains("by column \"profit\": it did not find"));
        assert_eq!(told(Refused::Select("could not")).0, "the server could not");
        assert!(told(Refused::Missing(&fields[..1])).0.starts_with("column \"profit\" is NULL: no row of"));
    }

    #[test]
    fn the_extension_tells_of_an_order_and_of_a_count() {
        let why = Error::new(ErrorKind::Server, "no");
        for (refused, kind) in [
            (Refused::Order(&why), ErrorKind::CannotOrder),
            (Refused::CountOrSkip(&why), ErrorKind::RowsOnly),
        ] {
            let (end, notice) = (refused.ends(&ordered(&["Margin"])), refused.notice(&ordered(&["Margin"])));
            assert_eq!((end.kind, end.message, end.hint), (kind, notice.message, Some(notice.hint)));
        }
    }
}
