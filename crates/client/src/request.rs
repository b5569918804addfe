//! The request for a scan, as plain data.

use std::fmt;
use std::sync::Arc;

use acumatica_pushdown::{Field, Filter, Literal, Test};
use reqwest::header::{ACCEPT_LANGUAGE, HeaderMap, HeaderName, HeaderValue};

use crate::allowance::Allowance;
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
    /// The fields that name a row in messages: its key, else for an entity its id.
    pub fn row_name(self, key: &[String]) -> Vec<String> {
        match (key, self) {
            ([], Surface::Rest) => vec!["id".to_owned()],
            _ => key.to_vec(),
        }
    }
}

/// The request for a scan.
#[derive(Clone, Debug)]
pub struct ScanRequest {
    /// The name of the table in error messages.
    pub table: String,
    /// The name of the table in statements: with its schema, in quotes if needed.
    pub relation: String,
    /// Where the rows are.
    pub target: Target,
    /// The columns wanted, in the order of the cells of a row.
    pub columns: Vec<FieldColumn>,
    /// The fields that the server refuses in `$select` (docs/acumatica.md section 3).
    pub unselectable: Vec<String>,
    /// What the client finds out about the columns; empty at first.
    pub findings: Findings,
    /// Remote names of the key, in order; empty if the table does not say.
    pub key: Vec<String>,
    /// The types that the fields of the key are decoded to, if they have columns.
    pub key_types: Vec<ColumnType>,
    /// The parameters of an inquiry form or a generic inquiry; empty for everything else.
    pub parameters: Vec<Parameter>,
    /// The values of the parameters for each call, in their order: the rows are those of all calls, one after the
    /// other. Without parameters there is one call without values.
    pub calls: Vec<Vec<Option<Literal>>>,
    /// The rows that the server may leave out are those that do not meet this. The executor must still check the rows:
    /// the server may send more.
    pub filter: Option<Filter>,
    /// The table's own condition, in the language of the server. It always applies.
    pub own_filter: Option<String>,
    /// The order of the rows; OData only. Ties are in the order of the key.
    pub order: Vec<Order>,
    /// How many rows are skipped at the beginning. If there are any, the executor does not check the rows, as with
    /// `count`.
    pub offset: u64,
    /// Only the number of rows is requested, of data access classes: the result is one row with one whole number, and
    /// no columns.
    pub count: bool,
    /// The count is an estimate for a planner: it need not be exact, and is that of the rows that the server would send.
    pub is_estimate: bool,
    /// The headers of each request.
    pub context: Context,
    /// Most rows in one request.
    pub page_size: u32,
    /// Rows in the first request; it is small so that reading a few rows is cheap.
    pub first_page: u32,
    /// The rows are expected to be few: the list is requested without `$top`. A server then sends all rows (docs/acumatica.md
    /// section 2), or a next link, so that no request for the rows behind the last one is needed.
    pub in_one_piece: bool,
    /// What this scan and others may still request and receive; `None` is no limit.
    pub allowance: Option<Arc<Allowance>>,
    /// The server was seen to send so many rows without `$top` and to have no more, in the same query.
    pub uncut: u64,
    /// Further requests for other values of the same conditions follow. So it pays to find out whether the server takes them in a
    /// shorter form.
    pub more_follow: bool,
}

impl ScanRequest {
    /// Whether the server does more than send rows. The executor does not check the result, so no condition may be left
    /// out.
    pub(crate) fn is_final(&self) -> bool {
        self.count || self.offset > 0
    }

    /// Takes a request of the allowance, before it is sent.
    ///
    /// # Errors
    /// There is none left.
    pub(crate) fn take_request(&self) -> Result<()> {
        self.allowance.as_ref().map_or(Ok(()), |allowance| allowance.take_request())
    }

    /// Takes received rows of the allowance.
    ///
    /// # Errors
    /// There are not as many left.
    pub(crate) fn take_rows(&self, rows: u64) -> Result<()> {
        self.allowance.as_ref().map_or(Ok(()), |allowance| allowance.take_rows(rows))
    }

    /// The same, in addresses that every server takes.
    pub(crate) fn with_short_addresses(&self) -> Self {
        Self { findings: Findings { short: true, ..self.findings.clone() }, ..self.clone() }
    }

    /// Two requests, in the order that is wanted: one for the rows in which the field of the order has no value, and
    /// one for the other rows.
    pub(crate) fn with_nulls_apart(&self, by: &Order) -> Vec<Self> {
        let path = vec![by.field.clone()];
        let column = self.columns.iter().find(|column| column.path == path);
        let ty = column.map_or(ColumnType::Numeric, |column| column.ty);
        let field = Field { path, ty, vouched: true, key: false };
        let portion = |test, order: &[Order]| {
            let test = Filter::Test(field.clone(), test);
            // The first condition, so that it is sent.
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

    /// The error for a value that its column cannot hold, with what is needed to find the record in the ERP: `column`
    /// is the index of the column, `row` the name of the row, `value` the beginning of the value.
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

    /// The hint for a column of type date that holds timestamps.
    pub(crate) fn as_moment(&self, column: usize) -> String {
        let name = self.columns[column].name.replace('"', "\"\"");
        format!(
            "Run: ALTER FOREIGN TABLE {} ALTER COLUMN \"{name}\" TYPE timestamp with time zone;",
            self.relation
        )
    }
}

/// What the client has found out about the columns of a table.
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
    /// The fields that the server compares with lists of values by `in`.
    pub(crate) lists: Vec<String>,
    /// The server refuses long addresses.
    pub(crate) short: bool,
}

/// A field of the order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Remote name of the field.
    pub field: String,
    /// Whether the largest value comes first (`desc`).
    pub descending: bool,
    /// Rows without a value come at the other end than the server has them: first if descending, last if ascending. For
    /// the first field only; these rows are requested separately.
    pub nulls_apart: bool,
}

/// A parameter of an inquiry.
#[derive(Clone, Debug)]
pub struct Parameter {
    /// Remote name, as the call writes it.
    pub name: String,
    /// The index of the column that shows it, if there is one.
    pub column: Option<usize>,
    /// Without it the inquiry shows nothing.
    pub required: bool,
}

/// The context of each request, as its headers (docs/acumatica.md section 2.4). It decides which rows the server shows,
/// and how.
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
    /// The names and values of the headers (docs/acumatica.md section 2).
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

    /// The headers.
    ///
    /// # Errors
    /// A value has a character that a header cannot have.
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
    /// Generic inquiries only: the function that takes the parameters; unset, the one of the definition.
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
            is_estimate: false,
            context: Context::default(),
            page_size: 10_000,
            first_page: 256,
            in_one_piece: false,
            allowance: None,
            uncut: 0,
            more_follow: false,
        }
    }
}
