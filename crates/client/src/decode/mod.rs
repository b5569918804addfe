//! Decodes the bytes of a response into typed columns, without an intermediate tree.
//!
//! [`RowSplitter`] finds the rows in the body while it arrives. [`RowDecoder`] reads the wanted fields of each row and
//! appends them to a [`Batch`]. Other fields are skipped.
//!
//! ```
//! use acumatica_client::decode::*;
//! let columns = [FieldColumn { name: "city".into(), path: vec!["Address".into(), "City".into()], ty: ColumnType::Text }];
//! let (mut decoder, mut batch) = (RowDecoder::new(&columns, &[]), Batch::new(1));
//! let mut splitter = RowSplitter::new(1 << 20);
//! for chunk in [r#"[{"Address":{"Ci"#, r#"ty":{"value":"Köln"}}}]"#] {
//!     splitter.push(chunk.as_bytes());
//!     while let Some(row) = splitter.next_row().unwrap() {
//!         decoder.decode(row, &mut batch).unwrap();
//!     }
//! }
//! assert_eq!(splitter.finish().unwrap().next_link, None);
//! let Cell::Text(span) = batch.row(0)[0] else { panic!() };
//! assert_eq!(batch.text(span), "Köln");
//! ```

mod batch;
mod coded;
mod content;
mod error;
mod reported;
mod row;
mod scan;
mod split;
#[cfg(test)]
mod tests;
mod time;
mod value;

pub use acumatica_pushdown::ColumnType;
pub use batch::{Batch, Cell, Span};
pub(crate) use content::content;
pub use error::{DecodeError, DecodeErrorKind};
pub use row::RowDecoder;
pub(crate) use row::place;
pub use split::{Envelope, RowSplitter, SplitError};
pub(crate) use time::shows_day;

/// A column and the field that fills it.
#[derive(Clone, Debug)]
pub struct FieldColumn {
    /// For messages only.
    pub name: String,
    /// The names on the way to the field, such as `["ShipToAddress", "City"]`, in the case of the remote side. `["*"]`
    /// is the whole row; an empty path belongs to a column without a field.
    pub path: Vec<String>,
    /// The type that the field is decoded to.
    pub ty: ColumnType,
}
