//! What to read: plain data, all that a scan needs to be told.

use std::fmt;

use acumatica_pushdown::{Field, Filter, Literal, Test};
use reqwest::header::{ACCEPT_LANGUAGE, HeaderMap, HeaderName, HeaderValue};

use crate::decode::{ColumnType, FieldColumn};
use crate::error::{Error, ErrorKind, Result};

/// The three data surfaces of an instance (docs/acumatica.md section 1).
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
    /// What statements call it: with its schema, in quotes where it needs them.
    pub relation: String,
    /// Where the rows are.
    pub target: Target,
    /// The columns wanted, in the order of the cells of a row.
    pub columns: Vec<FieldColumn>,
    /// The fields that the server refuses in `$select` (docs/acumatica.md section 3).
    pub unselectable: Vec<String>,
    /// What the client finds out of the columns; nothing at first.
    pub findings: Findings,
    /// Remote names of the key, in order; empty if the table does not say.
    pub key: Vec<String>,
    /// What the fields of the key are decoded to, where columns say so.
    pub key_types: Vec<ColumnType>,
    /// What an inquiry form or a generic inquiry can be told; empty for everything else.
    pub parameters: Vec<Parameter>,
    /// The values of the parameters, in their order: the rows are those of all calls, one after the other.
    /// What has no parameters is called once, with nothing.
    pub calls: Vec<Vec<Option<Literal>>>,
    /// What the server may leave out. The rows must still be checked: it may keep more.
    pub filter: Option<Filter>,
    /// A condition in the server's own words, which the table stands for: it always applies.
    pub own_filter: Option<String>,
    /// In which order the rows are to come; OData only. Ties come in that of the key.
    pub order: Vec<Order>,
    /// So many rows are left out at the beginning. Then, as of `count`, nothing is checked again.
    pub offset: u64,
    /// Only how many rows there are is asked for, of data access classes: one row of one whole number, and no columns.
    pub count: bool,
    /// The headers of each request.
    pub context: Context,
    /// Most rows in one request.
    pub page_size: u32,
    /// Rows in the first request; it is small so that reading a few rows is cheap.
    pub first_page: u32,
}

impl ScanRequest {
    /// Whether the server does more than send rows. Nothing is checked again then, so no condition may be left out.
    pub(crate) fn is_final(&self) -> bool {
        self.count || self.offset > 0
    }

    /// The rows without a value of the field that they are ordered by, and the others, in the order in which they are
    /// wanted.
    pub(crate) fn with_nulls_apart(&self, by: &Order) -> Vec<Self> {
        let path = vec![by.field.clone()];
        let column = self.columns.iter().find(|column| column.path == path);
        let ty = column.map_or(ColumnType::Numeric, |column| column.ty);
        let field = Field { path, ty, vouched: true, key: false };
        let portion = |test, order: &[Order]| {
            let test = Filter::Test(field.clone(), test);
            // First, so that it is sent.
            let filter = Filter::And(std::iter::once(test).chain(self.filter.clone()).collect());
            Self { filter: Some(filter), order: order.to_vec(), ..self.clone() }
        };
        let rest = &self.order[1..];
        let together = [&[Order { nulls_apart: false, ..by.clone() }], rest].concat();
        let mut portions = vec![portion(Test::Null, rest), portion(Test::NotNull, &together)];
        if !by.descending {
            portions.reverse();
        }
        portions
    }

    /// A value that its column cannot hold, told with all that finds the record in the ERP: `column` is
    /// its index, `row` what a person would call the row, `value` the beginning of the value.
    pub fn unfit(&self, column: usize, row: &str, value: &str, why: impl fmt::Display) -> Error {
        let FieldColumn { name, path, .. } = &self.columns[column];
        let table = &self.table;
        let path = if path.is_empty() { std::slice::from_ref(name) } else { path.as_slice() };
        Error::new(
            ErrorKind::Value,
            format!("could not convert a value for column \"{name}\" of foreign table \"{table}\": {why}"),
        )
        .detail(format!("Row {row}, field \"{}\", value: {value}", path.join("/")))
    }

    /// What to do about a column of days that holds moments.
    pub(crate) fn as_moment(&self, column: usize) -> String {
        let name = self.columns[column].name.replace('"', "\"\"");
        format!(
            "Run: ALTER FOREIGN TABLE {} ALTER COLUMN \"{name}\" TYPE timestamp with time zone;",
            self.relation
        )
    }
}

/// What is known of the columns of a table beyond what it says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Columns, by index, that are NULL where rows lack their field: the definition has it, or cannot be asked.
    pub(crate) vouched: Vec<usize>,
    /// Columns, by index, that are not asked for: the server refuses them in `$select`, and no row has their field.
    pub(crate) left_out: Vec<usize>,
    /// The server refuses `$select` here, so it sends all fields.
    pub(crate) whole: bool,
    /// The keys, by the names of their fields, from which on the server refuses to begin a page.
    pub(crate) refused_keysets: Vec<String>,
}

/// A field that rows are ordered by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Remote name of the field.
    pub field: String,
    /// Whether the largest value comes first (`desc`).
    pub descending: bool,
    /// Rows without a value are to come at the other end than the server has them: first if it goes down, last if it
    /// goes up. Of the first field only; they are asked for apart.
    pub nulls_apart: bool,
}

/// A parameter of an inquiry.
#[derive(Clone, Debug)]
pub struct Parameter {
    /// Remote name, as the call writes it.
    pub name: String,
    /// Which of the columns shows it, by index.
    pub column: Option<usize>,
    /// Without it the inquiry has nothing to show.
    pub required: bool,
}

/// What decides which rows the server shows and how: the headers of each request (docs/acumatica.md section 2.4).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Context {
    /// Name of the branch (`PX-CbApiBranch`).
    pub branch: Option<String>,
    /// A culture such as `en-US`; it decides how the server words its labels and messages.
    pub locale: Option<String>,
    /// As `2024-12-31`.
    pub business_date: Option<String>,
    /// Adds archived records (`PX-ApiArchive: SHOW`).
    pub show_archived: bool,
    /// Data access classes only.
    pub show_deleted: bool,
}

impl Context {
    /// Names and values (docs/acumatica.md section 2).
    pub fn lines(&self) -> Vec<(&'static str, &str)> {
        let shown = |show: bool| show.then_some("SHOW");
        let all = [
            ("Accept-Language", self.locale.as_deref()),
            ("PX-CbApiBranch", self.branch.as_deref()),
            ("PX-CbApiBusinessDate", self.business_date.as_deref()),
            ("PX-ApiArchive", shown(self.show_archived)),
            ("PX-ApiDeleted", shown(self.show_deleted)),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }

    /// # Errors
    /// A value cannot stand in a header.
    pub(crate) fn headers(&self) -> Result<HeaderMap> {
        let mut headers = HeaderMap::new();
        for (name, text) in self.lines() {
            let value = HeaderValue::from_bytes(text.as_bytes()).map_err(|_| {
                Error::new(
                    ErrorKind::Definition,
                    format!("the value for the header {name} holds a control character"),
                )
                .hint("Check the options \"branch\" and \"locale\", and the settings of the same names.")
            })?;
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap_or(ACCEPT_LANGUAGE);
            headers.insert(name, value);
        }
        Ok(headers)
    }
}

/// A set of rows of an instance.
#[derive(Clone, Debug)]
pub struct Target {
    /// The interface that has it.
    pub surface: Surface,
    /// Entity, inquiry or DAC.
    pub name: String,
    /// Contract REST only: the name is that of an inquiry form.
    pub form: bool,
    /// Contract REST only: the path of the detail whose rows are wanted; of a form, that of its results. Empty for the
    /// records themselves.
    pub detail: Vec<String>,
    /// Contract REST only.
    pub endpoint_name: String,
    /// Contract REST only; unset, the newest that the instance lists.
    pub endpoint_version: Option<String>,
    /// Contract REST only: 4 or 5; unset, what the version tells.
    pub contract: Option<u32>,
    /// Generic inquiries only: what is called with parameters; unset, what the definitions say.
    pub function: Option<String>,
    /// Data access classes only: a setup class, which is one object and no list.
    pub singleton: bool,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.surface {
            Surface::Rest if self.form => "inquiry form",
            Surface::Rest => "entity",
            Surface::GenericInquiry => "generic inquiry",
            Surface::Dac => "data access class",
        };
        if !self.form && !self.detail.is_empty() {
            write!(f, "detail \"{}\" of ", self.detail.join("/"))?;
        }
        write!(f, "{kind} \"{}\"", self.name)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use acumatica_pushdown::{Comparison, Slack};

    /// The condition that a field of text is equal to a value.
    pub fn equal(field: &str, value: &str) -> Filter {
        let value = Literal::Text(value.into());
        let test = Test::Compare { comparison: Comparison::Eq, value, slack: Slack::default() };
        Filter::Test(
            Field { path: vec![field.into()], ty: ColumnType::Text, vouched: false, key: true },
            test,
        )
    }

    /// A request for columns whose names are their paths.
    pub fn request(name: &str, columns: &[(&str, ColumnType)], key: &[&str]) -> ScanRequest {
        ScanRequest {
            relation: "local".into(),
            table: name.to_lowercase(),
            target: Target {
                surface: Surface::Rest,
                name: name.into(),
                form: false,
                detail: Vec::new(),
                endpoint_name: "Default".into(),
                endpoint_version: None,
                contract: None,
                function: None,
                singleton: false,
            },
            columns: columns
                .iter()
                .map(|(path, ty)| FieldColumn {
                    name: (*path).into(),
                    path: path.split('/').map(Into::into).collect(),
                    ty: *ty,
                })
                .collect(),
            unselectable: Vec::new(),
            findings: Findings::default(),
            key: key.iter().map(|&field| field.into()).collect(),
            key_types: vec![ColumnType::Text; key.len()],
            parameters: Vec::new(),
            calls: vec![Vec::new()],
            filter: None,
            own_filter: None,
            order: Vec::new(),
            offset: 0,
            count: false,
            context: Context::default(),
            page_size: 10_000,
            first_page: 256,
        }
    }
}
