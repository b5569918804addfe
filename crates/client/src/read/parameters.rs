//! Parameters of inquiries: which are required, and whether the server applied them.

use std::collections::HashMap;
use std::fmt::Display;

use acumatica_pushdown::{Literal, plain};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::decode::{Batch, Cell, ColumnType, FieldColumn, RowDecoder};
use crate::error::{Error, ErrorKind, Result};
use crate::request::{Parameter, ScanRequest};

/// Checks the parameters before a call of a generic inquiry.
///
/// # Errors
/// A required parameter has no value. A form is called all the same, since the parameter may have a default.
pub(crate) fn check_given(request: &ScanRequest, call: &[Option<Literal>]) -> Result<()> {
    match missing(request, call) {
        Some(parameter) if !request.target.form => Err(required(request, &[parameter])),
        _ => Ok(()),
    }
}

/// Checks the parameters after a form has shown no rows, since it does not report a missing parameter.
///
/// # Errors
/// A required parameter, or every parameter, has no value.
pub(crate) fn check_empty(request: &ScanRequest, call: &[Option<Literal>]) -> Result<()> {
    let all: Vec<&Parameter> = request.parameters.iter().collect();
    match missing(request, call) {
        Some(parameter) => Err(required(request, &[parameter])),
        None if !all.is_empty() && call.iter().all(Option::is_none) => Err(required(request, &all)),
        None => Ok(()),
    }
}

fn missing<'a>(request: &'a ScanRequest, call: &[Option<Literal>]) -> Option<&'a Parameter> {
    let given = call.iter().chain(std::iter::repeat(&None));
    request.parameters.iter().zip(given).find(|(p, value)| p.required && value.is_none()).map(|(p, _)| p)
}

fn required(request: &ScanRequest, missing: &[&Parameter]) -> Error {
    let quoted = |parameter: &Parameter| format!("\"{}\"", parameter.name);
    let (names, all): (Vec<String>, Vec<String>) =
        (missing.iter().copied().map(quoted).collect(), request.parameters.iter().map(quoted).collect());
    let (message, which) = match names.as_slice() {
        [name] => (format!("{} needs a value for the parameter {name}", request.target), "it"),
        _ => (format!("{} shows nothing without a parameter", request.target), "one of them"),
    };
    Error::new(ErrorKind::ParameterMissing, message)
        .detail(format!("Parameters of foreign table \"{}\": {}.", request.table, all.join(", ")))
        .hint(format!("Set {which} in WHERE, as column = value, column IN (…), or by joining on the column."))
}

/// A decoder for the rows of one call. The columns of parameters hold the values of the call.
pub(crate) fn decoder(
    request: &ScanRequest,
    call: &[Option<Literal>],
    identity: &[Vec<String>],
) -> RowDecoder {
    let mut columns = request.columns.clone();
    let given = request
        .parameters
        .iter()
        .zip(call)
        .filter_map(|(parameter, value)| Some((parameter.column?, value.as_ref()?)));
    let given: Vec<(usize, &Literal)> = given.collect();
    for (column, _) in &given {
        columns[*column].path.clear();
    }
    if !request.target.form {
        // A field of the rows may have the name of a parameter.
        for column in request.parameters.iter().filter_map(|parameter| parameter.column) {
            columns[column].path.clear();
        }
    }
    let mut decoder = RowDecoder::of_detail(&columns, identity, &request.target.detail);
    for (column, value) in given {
        let text = value.text();
        decoder.set_constant(column, columns[column].ty, text);
    }
    decoder
}

/// Checks that a form shows the values of the call: it ignores parameters that it does not know (docs/acumatica.md
/// section 2), and its results would be those of other values.
///
/// # Errors
/// A parameter is missing in the answer, or has another value.
pub(crate) fn check_echo(request: &ScanRequest, call: &[Option<Literal>], record: &[u8]) -> Result<()> {
    let unreadable = |reason: &dyn Display| {
        Error::new(ErrorKind::Protocol, format!("could not read the parameters of {}", request.target))
            .detail(reason.to_string())
    };
    let fields: HashMap<String, &RawValue> =
        serde_json::from_slice(record).map_err(|error| unreadable(&error))?;
    for (parameter, value) in request.parameters.iter().zip(call) {
        let Some(text) = value.as_ref().map(Literal::text) else { continue };
        let ty = parameter.column.map_or(ColumnType::Text, |column| request.columns[column].ty);
        let column = |path| FieldColumn { name: parameter.name.clone(), path, ty };
        let Some(field) = fields.get(&parameter.name) else {
            return Err(Error::new(
                ErrorKind::UnknownField,
                format!("{} has no parameter \"{}\"", request.target, parameter.name),
            ));
        };
        let refused = || {
            let name = &parameter.name;
            let error = Error::new(
                ErrorKind::Server,
                format!("{} did not accept the parameter \"{name}\"", request.target),
            );
            refusal(field).map(|refusal| error.detail(refusal))
        };
        if let Some(shown) = shown_text(field)
            && let Some(value) = value
            && is_same_day(value, &shown)
        {
            match refused() {
                Some(error) => return Err(error),
                None => continue,
            }
        }
        let (mut sent, mut shown) = (Batch::new(1), Batch::new(1));
        let mut constant = RowDecoder::new(&[column(Vec::new())], &[]);
        constant.set_constant(0, ty, text);
        constant.decode(b"{}", &mut sent).map_err(|error| unreadable(&error))?;
        // Only this field is decoded, since the results beside it may be many.
        let field_alone = format!("{{\"field\":{field}}}");
        let mut echo = RowDecoder::new(&[column(vec!["field".to_owned()])], &[]);
        echo.decode(field_alone.as_bytes(), &mut shown).map_err(|error| unreadable(&error))?;
        if let Some(error) = refused() {
            return Err(error);
        }
        if !same(&sent, &shown) {
            return Err(Error::new(
                ErrorKind::Protocol,
                format!("{} did not apply the parameter \"{}\"", request.target, parameter.name),
            )
            .detail(format!("It was given {}, and shows {}.", readable(&sent), readable(&shown)))
            .hint("Check that the value is one that the form accepts."));
        }
    }
    Ok(())
}

/// The error that a form shows beside a parameter.
fn refusal(field: &RawValue) -> Option<String> {
    #[derive(Deserialize)]
    struct Field {
        error: String,
    }
    let Field { error } = serde_json::from_str(field.get()).ok()?;
    Some(error).filter(|text| !text.is_empty())
}

/// The value that a form shows for a parameter, if it is a text.
fn shown_text(field: &RawValue) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Field {
        Bare(String),
        Wrapped { value: String },
    }
    match serde_json::from_str(field.get()).ok()? {
        Field::Bare(text) | Field::Wrapped { value: text } => Some(text),
    }
}

/// Whether a form shows the given day as midnight in the zone of the site: `6/7/2016` is shown as
/// `2016-06-07T00:00:00+03:00` (the vendor's recorded answers). A timestamp is compared in this way only if it is
/// midnight.
fn is_same_day(given: &Literal, shown: &str) -> bool {
    let (day, time) = match given {
        Literal::Date(day) => (day.as_str(), ""),
        Literal::Timestamp(moment) => match moment.split_once('T') {
            Some((day, time)) => (day, time),
            None => return false,
        },
        _ => return false,
    };
    let is_midnight = |time: &str| {
        let clock = time.split(['+', '-', 'Z']).next().unwrap_or(time);
        clock.bytes().all(|byte| matches!(byte, b'0' | b':' | b'.' | b'T'))
    };
    shown.strip_prefix(day).is_some_and(|rest| {
        (rest.is_empty() || rest.starts_with('T')) && is_midnight(rest) && is_midnight(time)
    })
}

/// Compares text as SQL Server does, without case and trailing spaces; compares numbers by value.
fn same(sent: &Batch, shown: &Batch) -> bool {
    match (sent.row(0)[0], shown.row(0)[0]) {
        (Cell::Text(one), Cell::Text(other)) => {
            let (one, other) = (sent.text(one), shown.text(other));
            one.trim_end().to_lowercase() == other.trim_end().to_lowercase() || plain(one) == plain(other)
        }
        (Cell::Uuid(one), Cell::Uuid(other)) => sent.uuid(one) == shown.uuid(other),
        (one, other) => one == other,
    }
}

fn readable(batch: &Batch) -> String {
    match batch.row(0)[0] {
        Cell::Text(span) => format!("\"{}\"", batch.text(span)),
        Cell::Null => "nothing".to_owned(),
        other => format!("{other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::tests::request;

    fn form(value: Option<Literal>) -> (ScanRequest, Vec<Option<Literal>>) {
        let mut request =
            request("Form", &[("Item", ColumnType::Text), ("Results/Qty", ColumnType::Numeric)], &[]);
        request.target.form = true;
        request.target.detail = vec!["Results".into()];
        request.parameters = vec![Parameter { name: "Item".into(), column: Some(0), required: true }];
        (request, vec![value])
    }

    #[test]
    fn what_was_given_must_be_shown() {
        let (request, call) = form(Some(Literal::Text("aa ".into())));
        let check = |record: &str| check_echo(&request, &call, record.as_bytes()).map_err(|error| error.kind);
        assert_eq!(check(r#"{"Item":{"value":"AA"},"Results":[]}"#), Ok(()));
        assert_eq!(check(r#"{"Item":{},"Results":[]}"#), Err(ErrorKind::Protocol));
        assert_eq!(check(r#"{"Item":{"value":"BB"}}"#), Err(ErrorKind::Protocol));
        assert_eq!(check(r#"{"Results":[]}"#), Err(ErrorKind::UnknownField));
        assert_eq!(check(r#"{"Item":{"value":"aa","error":"not found"}}"#), Err(ErrorKind::Server));
    }

    #[test]
    fn a_day_is_shown_in_the_zone_of_the_site() {
        let day = || Literal::Date("2016-06-07".into());
        let moment = |text: &str| Literal::Timestamp(text.into());
        let check = |ty, value: Literal, shown: &str| {
            let (mut request, call) = form(Some(value));
            request.columns[0].ty = ty;
            let record = format!(r#"{{"Item":{{"value":"{shown}"}},"Results":[]}}"#);
            check_echo(&request, &call, record.as_bytes()).map_err(|error| error.kind)
        };
        use ColumnType::{Date, TimestampTz};
        let other = Err(ErrorKind::Protocol);
        for zone in ["+03:00", "-08:00", "+00:00", "Z", "+14:00", ""] {
            assert_eq!(check(Date, day(), &format!("2016-06-07T00:00:00{zone}")), Ok(()), "{zone}");
            assert_eq!(check(Date, day(), &format!("2016-06-06T00:00:00{zone}")), other, "{zone}");
            let midnight = moment("2016-06-07T00:00:00");
            assert_eq!(check(TimestampTz, midnight, &format!("2016-06-07T00:00:00{zone}")), Ok(()), "{zone}");
        }
        assert_eq!(check(Date, day(), "2016-06-07"), Ok(()));
        assert_eq!(check(Date, day(), "2016-06-071"), other);
        assert_eq!(check(TimestampTz, moment("2016-06-06T21:00:00"), "2016-06-07T00:00:00+03:00"), Ok(()));
        assert_eq!(check(TimestampTz, moment("2016-06-07T10:00:00"), "2016-06-07T00:00:00+03:00"), other);
        assert_eq!(check(TimestampTz, moment("2016-06-07T00:00:00"), "2016-06-06T00:00:00-05:00"), other);
        // The body has no zone, so the site cannot turn the day into another one.
        assert_eq!(day().json(), r#""2016-06-07T00:00:00""#);
    }

    #[test]
    fn an_empty_form_without_its_parameter_is_an_error() {
        let (request, call) = form(None);
        assert!(check_given(&request, &call).is_ok());
        let error = check_empty(&request, &call).unwrap_err();
        assert!(error.message.contains("\"Item\""), "{error}");
        let (request, call) = form(Some(Literal::Text("x".into())));
        assert!(check_empty(&request, &call).is_ok());
    }

    #[test]
    fn a_generic_inquiry_is_not_called_without_it() {
        let (mut request, call) = form(None);
        request.target.form = false;
        assert_eq!(check_given(&request, &call).unwrap_err().kind, ErrorKind::ParameterMissing);
    }

    #[test]
    fn rows_show_the_parameter_as_it_was_given() {
        let (request, call) = form(Some(Literal::Text("aa ".into())));
        let mut batch = Batch::new(2);
        let record = br#"{"Item":{"value":"AA"},"Results":[{"Qty":{"value":1.5}},{"Qty":{}}]}"#;
        decoder(&request, &call, &[]).decode(record, &mut batch).unwrap();
        assert_eq!(batch.len(), 2);
        let Cell::Text(span) = batch.row(1)[0] else { panic!() };
        assert_eq!((batch.text(span), batch.row(1)[1]), ("aa ", Cell::Null));
    }
}
