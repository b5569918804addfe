//! The remote dialects: the URL of a scan on each surface. Each dialect is in a file of its own; the result of all is a
//! [`Listing`].

pub(crate) mod endpoint;
pub(crate) mod odata;
pub(crate) mod rest;

use acumatica_pushdown::{Dialect, Literal, MOST_CHARACTERS, Writing, encoded_length, print};
use percent_encoding::utf8_percent_encode;

use crate::config::ODataVersion;
use crate::encode::{QUERY, encode_segment};
use crate::error::{Error, ErrorKind, Result};
use crate::instance::InstanceUrl;
use crate::request::{Parameter, ScanRequest, Surface, Target};

/// The longest query, as it is sent. IIS refuses more than 2,048 characters by default
/// (<https://learn.microsoft.com/en-us/iis/configuration/system.webserver/security/requestfiltering/requestlimits/>); the rest is
/// for `$top` and `$skip`.
const MAX_QUERY: usize = 2_000;
/// The same for servers that do not refuse it: that of IIS is a setting, and proxies take 8 KiB for the first line of a request
/// (<https://nginx.org/en/docs/http/ngx_http_core_module.html#large_client_header_buffers>).
const MAX_LONG_QUERY: usize = 7_500;

/// The characters that the condition of a further page may add to a long query.
const PADDING: usize = 240;

impl Surface {
    /// The path of the surface below the site, percent-encoded, without a slash at its end.
    ///
    /// # Errors
    /// The path has the tenant, and none is configured.
    pub(crate) fn root(self, version: ODataVersion, company: Option<&str>) -> Result<String> {
        let tenant = company.map(encode_segment);
        match (self, version, tenant) {
            (Surface::Rest, ..) => Ok("entity".into()),
            (Surface::GenericInquiry, ODataVersion::V3, Some(tenant)) => Ok(format!("odata/{tenant}")),
            (Surface::Dac, ODataVersion::V3, Some(tenant)) => Ok(format!("odatav4/{tenant}")),
            (Surface::GenericInquiry, ODataVersion::V3 | ODataVersion::V3OneTenant, _) => Ok("odata".into()),
            (Surface::Dac, ODataVersion::V3 | ODataVersion::V3OneTenant, _) => Ok("odatav4".into()),
            (Surface::GenericInquiry, _, Some(tenant)) => Ok(format!("t/{tenant}/api/odata/gi")),
            (Surface::Dac, _, Some(tenant)) => Ok(format!("t/{tenant}/api/odata/dac")),
            (Surface::GenericInquiry | Surface::Dac, _, None) => Err(company_required()),
        }
    }
}

/// The error for a layout of 2024 R2 and later, whose paths have the tenant.
pub(crate) fn company_required() -> Error {
    Error::new(ErrorKind::Definition, "the server option \"company\" is required for OData")
        .hint("Set it to the login name of the tenant: ALTER SERVER … OPTIONS (ADD company …).")
}

/// The address of a set of rows, without the page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listing {
    /// The path below the site, percent-encoded.
    pub path: String,
    /// `$select=…&$expand=…`, percent-encoded; may be empty.
    pub query: String,
    /// The body of a `PUT`; `None` for a `GET`.
    pub body: Option<String>,
    /// The condition in the query; empty if there is none.
    pub filter: String,
    /// How it is written.
    pub writing: Writing,
    /// The query is longer than every server takes. If the server refuses it, a shorter one can be sent.
    pub is_long: bool,
    /// The record that the condition names by its whole key, if it does.
    pub record: Option<RecordAddress>,
    /// Custom fields that do not fit into the request: further queries for the same rows.
    pub more: Vec<More>,
    /// The fields by which a row is recognised on another page; empty if there are none.
    pub identity: Vec<Vec<String>>,
    /// What is remembered of each row besides its identity.
    pub content: Content,
    /// The columns whose field every row has, by index. Fields of nested objects may be missing.
    pub expected: Vec<usize>,
    /// The answer is one record, not a list.
    pub single: bool,
    /// Whether `$top` and `$skip` cut the list in a stable order.
    pub pageable: bool,
    /// The key from which on rows can be requested, if rows come in its order and conditions on it use the same order.
    pub keyset: Option<Vec<KeyField>>,
}

/// What is remembered of the content of rows, to recognise them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// Nothing: the identity is a key, which is unique.
    Unneeded,
    /// All of the row: the key need not be unique, as that of an inquiry that joins or groups.
    OfRow,
    /// The content without ids: the identity is an id, which may change with each answer.
    OfRecord,
}

/// A record by its address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RecordAddress {
    pub path: String,
    /// The query of the list, without conditions and order.
    pub query: String,
    /// The key that the record must have: path and text of each field.
    pub key: Vec<(Vec<String>, String)>,
    /// If the record is not there, the list need not be read: no other record can meet the condition.
    pub certain: bool,
}

/// A field of a key whose values the server can compare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyField {
    pub name: String,
    pub is_text: bool,
}

/// A further request for the rows of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct More {
    /// `$select=…&$custom=…`, percent-encoded.
    pub query: String,
    /// The columns that it fills, by index.
    pub columns: Vec<usize>,
}

/// A page by position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Page {
    pub skip: u64,
    pub top: u64,
}

/// The condition for the rows from one on, in the order of the key: that row is the first of them. `None` if a value
/// cannot be written.
pub(crate) fn from_row(key: &[KeyField], values: &[String], dialect: Dialect) -> Option<String> {
    let literals: Vec<String> = key
        .iter()
        .zip(values)
        .map(|(field, value)| {
            let is_number =
                value.strip_prefix('-').unwrap_or(value).bytes().all(|byte| byte.is_ascii_digit());
            match field.is_text {
                true if value.trim().is_empty() || value.chars().any(char::is_control) => None,
                true => Some(Literal::Text(value.clone()).odata(dialect)),
                false => (is_number && !value.is_empty()).then(|| value.clone()),
            }
        })
        .collect::<Option<_>>()?;
    let last = key.len().checked_sub(1).filter(|_| literals.len() == key.len())?;
    // (A gt 1 or (A eq 1 and (B gt 2 or (B eq 2 and C ge 3))))
    let mut condition = format!("{} ge {}", key[last].name, literals[last]);
    for (field, value) in key[..last].iter().zip(&literals).rev() {
        let name = &field.name;
        condition = format!("({name} gt {value} or ({name} eq {value} and {condition}))");
    }
    Some(condition)
}

impl Listing {
    /// Path and query of one page below the site.
    pub fn page(&self, page: Page) -> String {
        let mut url = self.path_and_query();
        let separator = if self.query.is_empty() { '?' } else { '&' };
        url.push_str(&format!("{separator}$top={}", page.top));
        if page.skip > 0 {
            url.push_str(&format!("&$skip={}", page.skip));
        }
        url
    }

    /// The characters that the query of another page may have.
    pub fn longest(&self) -> usize {
        if self.is_long { sent_length(&self.query) + PADDING } else { MAX_QUERY }
    }

    /// The first address of a list. A long one is padded, so that no address of a further page is longer: if the server takes
    /// the first, it takes all.
    pub fn opening(&self, path_and_query: &str) -> String {
        // For `$top` and `$skip`, too.
        let spaces =
            if self.is_long { "%20".repeat((PADDING + PADDING / 4) / "%20".len()) } else { String::new() };
        path_and_query.replacen("$filter=", &format!("$filter={spaces}"), 1)
    }

    /// Path and query of the rows from a key on; `None` if the address would be too long.
    pub fn page_from(&self, from: &str, top: u64) -> Option<String> {
        let own = format!("$filter={}", utf8_percent_encode(&self.filter, QUERY));
        let all =
            if self.filter.is_empty() { from.to_owned() } else { format!("({}) and {from}", self.filter) };
        let all = format!("$filter={}", utf8_percent_encode(&all, QUERY));
        let query = match (self.filter.is_empty(), self.query.is_empty()) {
            (false, _) => self.query.replacen(&own, &all, 1),
            (true, true) => all,
            (true, false) => format!("{}&{all}", self.query),
        };
        let stands = query != self.query && sent_length(&query) <= self.longest();
        stands.then(|| self.with(&query).page(Page { skip: 0, top }))
    }

    /// The address of the record, as a list.
    pub fn of_record(&self, record: &RecordAddress) -> Self {
        Self {
            path: record.path.clone(),
            query: record.query.clone(),
            filter: String::new(),
            record: None,
            identity: record.key.iter().map(|(path, _)| path.clone()).collect(),
            content: Content::Unneeded,
            single: true,
            pageable: false,
            keyset: None,
            ..self.clone()
        }
    }

    /// Path and query of all rows from `skip` on, below the site, in one piece.
    pub fn whole(&self, skip: u64) -> String {
        let separator = if self.query.is_empty() { '?' } else { '&' };
        let skip = if skip > 0 { format!("{separator}$skip={skip}") } else { String::new() };
        self.path_and_query() + &skip
    }

    /// The address of the number of rows.
    pub fn counted(&self) -> Self {
        let path = format!("{}/$count", self.path);
        Self { path, ..self.with(&query("", &[("$filter", &self.filter)], MAX_QUERY)) }
    }

    /// The same list with another query.
    pub fn with(&self, query: &str) -> Self {
        Self { query: query.to_owned(), ..self.clone() }
    }

    /// Path and query of all rows below the site.
    pub fn path_and_query(&self) -> String {
        let separator = if self.query.is_empty() { "" } else { "?" };
        format!("{}{separator}{}", self.path, self.query)
    }
}

/// The conditions that a list can be sent with, the best first. The last one is the table's own condition, which must
/// be sent; the others need not be, since PostgreSQL checks the rows.
pub(crate) fn filters(request: &ScanRequest, writing: &Writing) -> Vec<String> {
    let asked = request.filter.as_ref().and_then(|filter| print(filter, writing));
    let own = request.own_filter.as_deref();
    let both = asked.map(|asked| own.map_or_else(|| asked.clone(), |own| format!("({own}) and {asked}")));
    both.into_iter().chain([own.unwrap_or_default().to_owned()]).collect()
}

/// How the conditions of a request are written beside the rest of its query, which has so many characters.
pub(crate) fn writing(request: &ScanRequest, dialect: Dialect, rest: usize) -> Writing {
    /// The name of the option, brackets, and the key from which on a page begins.
    const BESIDE: usize = 60;
    let own = request.own_filter.as_ref().map_or(0, |own| encoded_length(own));
    let room = longest(request).saturating_sub(rest + own + BESIDE);
    Writing { room: room.max(MOST_CHARACTERS), lists: request.findings.lists.clone(), dialect }
}

/// The characters that a query may have.
pub(crate) fn longest(request: &ScanRequest) -> usize {
    if request.findings.short { MAX_QUERY } else { MAX_LONG_QUERY }
}

pub(crate) fn fits(request: &ScanRequest, query: &str) -> bool {
    sent_length(query) <= longest(request)
}

/// Whether a query is longer than every server takes, and can be shorter.
pub(crate) fn is_long(request: &ScanRequest, query: &str) -> bool {
    !request.findings.short && sent_length(query) > MAX_QUERY
}

/// The characters that a query, which is percent-encoded but for quotes, takes in an address.
fn sent_length(query: &str) -> usize {
    query.len() + 2 * query.matches('\'').count()
}

/// Joins the options of a query. A `$select` that would make it too long is left out: then the server sends all fields,
/// and a field that does not exist is missing in the rows. Only conditions may use the room of a `longest` beyond what every
/// server takes.
pub(crate) fn query(select: &str, others: &[(&str, &str)], longest: usize) -> String {
    let part = |(name, value): &(&str, &str)| format!("{name}={}", utf8_percent_encode(value, QUERY));
    // A parameter may have an empty text.
    let kept = others.iter().filter(|(name, value)| !value.is_empty() || !name.starts_with('$'));
    let rest = kept.map(part).collect::<Vec<_>>().join("&");
    let select = part(&("$select", select));
    let filter =
        others.iter().find(|(name, _)| *name == "$filter").map_or(0, |filter| sent_length(&part(filter)));
    let all = sent_length(&select) + sent_length(&rest);
    let without_filter = all - filter;
    match (select.len() == "$select=".len(), rest.is_empty()) {
        _ if all > longest || without_filter > MAX_QUERY => rest,
        (true, _) => rest,
        (false, true) => select,
        (false, false) => format!("{select}&{rest}"),
    }
}

/// The placeholder in EXPLAIN for the function of an inquiry, if the table does not name it.
const FUNCTION: &str = "<function>";
/// The placeholder in EXPLAIN for the tenant, if each user's client ID names it.
pub const OWN_TENANT: &str = "<tenant>";

/// The dialect of the conditions on a set of rows. If only the instance knows its newest endpoint, the older contract
/// is assumed.
pub fn dialect_of(target: &Target, version: ODataVersion) -> Dialect {
    match target.surface {
        Surface::Rest => rest::dialect(target, target.endpoint_version.as_deref().unwrap_or_default()),
        surface => odata::dialect(surface, version),
    }
}

/// The list for one call, in an endpoint whose name and version are known.
///
/// # Errors
/// The definition of the table does not fit the surface.
pub(crate) fn rest_listing(
    request: &ScanRequest,
    endpoint: &str,
    version: &str,
    call: &[Option<Literal>],
) -> Result<Listing> {
    match request.target.form {
        true => rest::form(request, endpoint, version, call),
        false => rest::listing(request, endpoint, version),
    }
}

/// How conditions are written beside the columns and the order of a request. No request is sent.
///
/// # Errors
/// The definition of the table does not fit the surface.
pub(crate) fn writing_of(
    request: &ScanRequest,
    company: Option<&str>,
    version: ODataVersion,
) -> Result<Writing> {
    /// The key in `$orderby` and `$select`, if only the definition has it.
    const KEY: usize = 100;
    let request = ScanRequest { filter: None, ..request.clone() };
    let target = &request.target;
    let listing = match target.surface {
        Surface::Rest => {
            let version = target.endpoint_version.as_deref().unwrap_or_default();
            rest_listing(&request, &target.endpoint_name, version, &[])?
        }
        _ => odata::listing(&request, version, company, &request.key, &[])?,
    };
    let unknown = if request.key.is_empty() { KEY } else { 0 };
    Ok(writing(&request, dialect_of(target, version), sent_length(&listing.query) + unknown))
}

/// The first request of a scan for EXPLAIN. No request is sent: what only the server knows stands in angle brackets,
/// values that the query computes later in braces.
///
/// # Errors
/// The definition of the table does not fit the surface.
pub fn describe(
    instance: &InstanceUrl,
    company: Option<&str>,
    odata_version: ODataVersion,
    request: &ScanRequest,
) -> Result<String> {
    let target = &request.target;
    if let Some(by) = request.order.first().filter(|by| by.nulls_apart) {
        let portions = request.with_nulls_apart(by);
        let shown = portions.iter().map(|portion| describe(instance, company, odata_version, portion));
        return Ok(shown.collect::<Result<Vec<_>>>()?.join(", then "));
    }
    let listing = match target.surface {
        Surface::Rest => {
            let (name, version) = (&target.endpoint_name, target.endpoint_version.as_deref());
            rest_listing(request, name, version.unwrap_or("<newest>"), &[])?
        }
        _ => {
            let unknown_key = [String::from("<key>")];
            let declared = request.key.as_slice();
            let key = if declared.is_empty() { unknown_key.as_slice() } else { declared };
            let shown = |parameter: &Parameter| Some(Literal::Shown(format!("{{{}}}", parameter.name)));
            let call: Vec<_> = request.parameters.iter().map(shown).collect();
            let mut request = request.clone();
            request.target.function.get_or_insert_with(|| FUNCTION.to_owned());
            odata::listing(&request, odata_version, company, key, &call)?
        }
    };
    let first = Page { skip: request.offset, top: request.first_page.into() };
    let (method, rest) = match (&listing.body, &listing.record) {
        (Some(_), _) => ("PUT", listing.path_and_query()),
        (None, _) if request.count => ("GET", listing.counted().path_and_query()),
        (None, Some(record)) => ("GET", listing.of_record(record).path_and_query()),
        (None, None) if listing.single || request.in_one_piece => ("GET", listing.path_and_query()),
        (None, None) => ("GET", listing.page(first)),
    };
    let path = instance.path(&rest);
    let shown = |path: String, what: &str| path.replace(&encode_segment(what), what);
    Ok(format!("{method} {}", shown(shown(path, OWN_TENANT), FUNCTION)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_from_one_on_in_the_order_of_the_key() {
        let key = |name: &str, is_text| KeyField { name: name.into(), is_text };
        let keys = [key("A", true), key("B", false), key("C", true)];
        let from = |values: [&str; 3]| from_row(&keys, &values.map(str::to_owned), Dialect::Dac);
        assert_eq!(
            from(["S'O", "5", "x "]).unwrap(),
            "(A gt 'S''O' or (A eq 'S''O' and (B gt 5 or (B eq 5 and C ge 'x '))))"
        );
        // A value that is NULL or cannot be written has no place in the order.
        assert_eq!(from(["\0", "5", "x"]), None);
        assert_eq!(from(["a", "\0", "x"]), None);
        assert_eq!(from(["a", "5.0", "x"]), None);
        assert_eq!(from(["a", "5", " "]), None);
    }

    #[test]
    fn a_select_too_long_for_iis_is_left_out() {
        let long = "Field,".repeat(400);
        let query = |select, others| query(select, others, MAX_QUERY);
        assert_eq!(query(&long, &[("$expand", "Details")]), "$expand=Details");
        assert_eq!(query("A,B", &[("$expand", "Details"), ("$x", "")]), "$select=A,B&$expand=Details");
        assert_eq!(query("", &[]), "");
    }

    #[test]
    fn no_further_page_of_a_long_list_has_a_longer_address() {
        use crate::decode::ColumnType;
        let mut request = crate::request::tests::request("X", &[("A", ColumnType::Text)], &["A"]);
        let values = (0..120).map(|at| crate::request::tests::equal("A", &format!("VALUE{at:04}")));
        request.filter = Some(acumatica_pushdown::Filter::Or(values.collect()));
        let listing = odata::listing(&request, ODataVersion::V4, Some("T"), &["A".to_owned()], &[]);
        let listing = Listing { path: String::new(), ..listing.unwrap() };
        assert!(listing.is_long);
        let first = sent_length(&listing.opening(&listing.path_and_query()));
        let last = listing.page_from(&format!("A ge '{}'", "x".repeat(100)), 10_000).unwrap();
        assert!(sent_length(&last) <= first, "{last}");
        assert!(sent_length(&listing.page(Page { skip: 10_000_000, top: 10_000 })) <= first);
        assert_eq!(listing.page_from(&format!("A ge '{}'", "x".repeat(400)), 10), None);
        request.findings.short = true;
        let short = odata::listing(&request, ODataVersion::V4, Some("T"), &["A".to_owned()], &[]).unwrap();
        assert_eq!(short.opening(&short.path_and_query()), short.path_and_query());
        // The table's own condition is always sent: a server may take it as it is, and not a longer one.
        request.own_filter = Some("A eq 1 or ".repeat(150));
        let own = odata::listing(&request, ODataVersion::V4, Some("T"), &["A".to_owned()], &[]).unwrap();
        assert!(sent_length(&own.query) > MAX_QUERY && !own.is_long);
        assert_eq!(own.opening(&own.path_and_query()), own.path_and_query());
    }

    #[test]
    fn only_a_condition_makes_an_address_longer_than_every_server_takes() {
        let (fields, condition) = ("Field,".repeat(200), "A eq 1 or ".repeat(200));
        let long = query(&fields, &[("$filter", &condition)], MAX_LONG_QUERY);
        assert!(long.starts_with("$select=") && long.len() > MAX_QUERY);
        assert!(query(&fields, &[("$filter", &condition)], MAX_QUERY).starts_with("$filter="));
        assert_eq!(query(&fields.repeat(2), &[("$orderby", "A")], MAX_LONG_QUERY), "$orderby=A");
    }
}
