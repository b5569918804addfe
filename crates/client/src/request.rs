//! What to read: plain data, all that a scan needs to be told.

use std::fmt;

use crate::decode::Column;
use crate::error::{Error, ErrorKind};

/// The three data surfaces of an instance (acumatica-api.md section 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Surface {
    /// Contract REST: business entities.
    Rest,
    /// OData: generic inquiries.
    GenericInquiry,
    /// OData: data access classes.
    Dac,
}

impl Surface {
    /// The fields by which a person finds a row: its key, else for an entity its id.
    pub fn row_name(self, key: &[String]) -> Vec<String> {
        match (key, self) {
            ([], Surface::Rest) => vec!["id".to_owned()],
            _ => key.to_vec(),
        }
    }
}

/// What to read.
#[derive(Clone, Debug)]
pub struct ScanRequest {
    /// What error messages call the table.
    pub table: String,
    pub target: Target,
    /// The columns wanted, in the order of the cells of a row.
    pub columns: Vec<Column>,
    /// Remote names of the key, in order; empty if the table does not say.
    pub key: Vec<String>,
    /// Most rows in one request.
    pub page_size: u32,
    /// Rows in the first request; it is small so that reading a few rows is cheap.
    pub first_page: u32,
}

impl ScanRequest {
    /// A value that its column cannot hold, told with all that finds the record in the ERP: `column` is
    /// its index, `row` what a person would call the row, `value` the beginning of the value.
    pub fn unfit(&self, column: usize, row: &str, value: &str, why: impl fmt::Display) -> Error {
        let Column { name, path, .. } = &self.columns[column];
        let table = &self.table;
        Error::new(
            ErrorKind::Value,
            format!("could not convert a value for column \"{name}\" of foreign table \"{table}\": {why}"),
        )
        .detail(format!("Row {row}, field \"{}\", value: {value}", path.join("/")))
    }
}

/// A set of rows of an instance.
#[derive(Clone, Debug)]
pub struct Target {
    pub surface: Surface,
    /// Entity, inquiry or DAC.
    pub name: String,
    /// Contract REST only.
    pub endpoint_name: String,
    /// Contract REST only; unset, the newest that the instance lists.
    pub endpoint_version: Option<String>,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.surface {
            Surface::Rest => "entity",
            Surface::GenericInquiry => "generic inquiry",
            Surface::Dac => "data access class",
        };
        write!(f, "{kind} \"{}\"", self.name)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::decode::ColumnType;

    /// A request for columns whose names are their paths.
    pub fn request(name: &str, columns: &[(&str, ColumnType)], key: &[&str]) -> ScanRequest {
        ScanRequest {
            table: name.to_lowercase(),
            target: Target {
                surface: Surface::Rest,
                name: name.into(),
                endpoint_name: "Default".into(),
                endpoint_version: None,
            },
            columns: columns
                .iter()
                .map(|(path, ty)| Column {
                    name: (*path).into(),
                    path: path.split('/').map(Into::into).collect(),
                    ty: *ty,
                })
                .collect(),
            key: key.iter().map(|&field| field.into()).collect(),
            page_size: 10_000,
            first_page: 256,
        }
    }
}
