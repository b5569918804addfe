//! Rows as JSON, and the errors for rows that cannot be read.

use crate::decode::{
    self, Batch, Cell, ColumnType, DecodeError, FieldColumn, RowDecoder, RowSplitter, SplitError,
};
use crate::error::{Error, ErrorKind};
use crate::request::ScanRequest;
use crate::transport::answer;

/// The largest row in bytes. A larger one does not come from an ERP.
pub(crate) const MAX_ROW_BYTES: usize = 256 * 1024 * 1024;

/// The rows of the body of a list.
pub(crate) fn rows_of(body: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut splitter = RowSplitter::new(MAX_ROW_BYTES);
    splitter.push(body);
    let mut rows = Vec::new();
    while let Some(row) = splitter.next_row().ok()? {
        rows.push(row.to_vec());
    }
    splitter.finish().ok().map(|_| rows)
}

/// The error for a body that is not a list of rows.
pub(crate) fn misshapen(what: &str, error: SplitError) -> Error {
    match error {
        SplitError::Empty => answer::empty(what),
        SplitError::NoRows(body) => answer::reported(what, &body),
        SplitError::Reported(error) => answer::reported(what, &format!("{{\"error\":{error}}}")),
        SplitError::TrailingGarbage(rest) if answer::is_told(&rest) => answer::reported(what, &rest),
        other => {
            Error::new(ErrorKind::Protocol, format!("could not read the answer of the server for {what}"))
                .detail(other)
                .hint("Run the query again. If it stays, a proxy may be cutting or changing answers.")
        }
    }
}

/// The error for a value that its column cannot hold.
pub(crate) fn unfit(request: &ScanRequest, row: &[u8], position: u64, error: DecodeError) -> Error {
    if error.kind == decode::DecodeErrorKind::Reported {
        return answer::reported(&request.target.to_string(), &error.value);
    }
    let Some(column) = error.column else {
        return Error::new(ErrorKind::Protocol, format!("could not read a row of {}", request.target))
            .detail(error.kind);
    };
    let hint = match error.kind {
        decode::DecodeErrorKind::TimeOfDay(_) => Some(request.as_moment(column)),
        kind => kind.hint().map(Into::into),
    };
    Error { hint, ..request.unfit(column, &row_key(request, row, position), &error.value, error.kind) }
}

/// The name of a row in messages: its key, else its id, else its position.
fn row_key(request: &ScanRequest, row: &[u8], position: u64) -> String {
    let fields = request.target.surface.row_name(&request.key);
    if fields.is_empty() {
        return format!("number {}", position + 1);
    }
    let text = |field: String| FieldColumn {
        path: field.split('/').map(Into::into).collect(),
        name: field,
        ty: ColumnType::Text,
    };
    let columns: Vec<FieldColumn> = fields.into_iter().map(text).collect();
    let mut batch = Batch::new(columns.len());
    let parts: Option<Vec<String>> = match RowDecoder::new(&columns, &[]).decode(row, &mut batch) {
        Ok(()) => batch
            .row(0)
            .iter()
            .map(|cell| match cell {
                Cell::Text(span) => Some(batch.text(*span).to_owned()),
                _ => None,
            })
            .collect(),
        Err(_) => None,
    };
    let parts = parts.filter(|parts| parts.iter().any(|part| !part.trim().is_empty()));
    parts.map_or_else(|| format!("number {}", position + 1), |parts| parts.join("/"))
}
