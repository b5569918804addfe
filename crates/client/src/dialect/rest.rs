//! Contract REST, contract 4 and 5: lists of business entities, their details, and inquiry forms (docs/acumatica.md
//! section 2).

use acumatica_pushdown::{Dialect, Literal, Writing};
use percent_encoding::utf8_percent_encode;

use super::{
    Content, Listing, MAX_QUERY, More, RecordAddress, filters, fits, is_long, longest, query, sent_length,
    writing,
};
use crate::decode::{ColumnType, place};
use crate::encode::{QUERY, encode_segment, fits_path};
use crate::error::{Error, ErrorKind, Result};
use crate::request::{ScanRequest, Target};

/// Members that a record has without being requested. In `$select` they are unknown fields.
const SYSTEM: [&str; 6] = ["id", "rowNumber", "note", "custom", "error", "_links"];
/// A member that comes only if it is expanded, although it is no object.
const FILES: &str = "files";
/// The member that has the custom fields of a record, by view and name.
const CUSTOM: &str = "custom";
/// The member that has the value of a field.
const VALUE: &str = "value";
/// The whole record.
const WHOLE: &str = "*";

/// The most custom fields in one request: if very many are requested, the server may return nothing (docs/acumatica.md
/// section 2).
const MOST_CUSTOM: usize = 50;

/// Endpoints from this version on use contract 5, which is OData 4.01.
const CONTRACT_5: u32 = 26;

/// The requested fields of one object, and the objects and details within it.
#[derive(Default)]
struct Wanted {
    /// In the order in which they were added, each name once.
    fields: Vec<String>,
    inner: Vec<(String, Wanted)>,
    /// The object is requested as a whole, so its fields are not listed.
    whole: bool,
}

impl Wanted {
    fn field(&mut self, name: &str) {
        if !self.fields.iter().any(|field| field == name) {
            self.fields.push(name.to_owned());
        }
    }

    fn object(&mut self, name: &str) -> &mut Wanted {
        let at = self.inner.iter().position(|(inner, _)| inner == name).unwrap_or_else(|| {
            self.inner.push((name.to_owned(), Wanted::default()));
            self.inner.len() - 1
        });
        &mut self.inner[at].1
    }

    fn at(&mut self, path: &[String]) -> &mut Wanted {
        path.iter().fold(self, |holder, name| holder.object(name))
    }

    /// Whether no field of it is requested.
    fn is_plain(&self) -> bool {
        self.whole || self.fields.is_empty() && self.inner.is_empty()
    }
}

/// The requested fields, by the objects that have them.
struct Asked {
    wanted: Wanted,
    /// Custom fields with their views, and their columns.
    custom: Vec<(String, usize)>,
    /// The columns whose field every record, or every row of the detail, has.
    expected: Vec<usize>,
}

impl Asked {
    fn of(request: &ScanRequest, contract_5: bool) -> Result<Self> {
        let mut asked = Self { wanted: Wanted::default(), custom: Vec::new(), expected: Vec::new() };
        let _ = asked.wanted.at(&request.target.detail);
        for (index, column) in request.columns.iter().enumerate() {
            let Some((last, objects)) = column.path.split_last() else {
                return Err(Error::new(
                    ErrorKind::Definition,
                    format!("column \"{}\" has no field", column.name),
                ));
            };
            let wanted = &mut asked.wanted;
            let is_text = matches!(column.ty, ColumnType::Text | ColumnType::Unpadded);
            match (last.as_str(), objects) {
                (WHOLE, _) => wanted.at(objects).whole = true,
                (name, [inner @ .., kind, view]) if kind == CUSTOM => {
                    let _ = wanted.at(inner);
                    asked.custom.push((format!("{view}.{name}"), index));
                }
                // The code of a drop-down. In a column of type uuid it is the id of a linked entity.
                ("id", [outer @ .., field]) if contract_5 && is_text => {
                    wanted.at(outer).field(field);
                    asked.expected.push(index);
                }
                // A drop-down with several values (`StringMultiSelectValue`), as a list of codes and labels. It is a
                // field, and cannot be expanded.
                (VALUE, [outer @ .., field]) if contract_5 && column.ty == ColumnType::Json => {
                    let holder = wanted.at(outer);
                    if !request.findings.left_out.contains(&index) {
                        holder.field(field);
                        asked.expected.push(index);
                    }
                }
                (name, _) if SYSTEM.contains(&name) => {
                    let _ = wanted.at(objects);
                }
                (_, _) if column.ty == ColumnType::Json => wanted.at(objects).object(last).whole = true,
                _ if request.findings.left_out.contains(&index) => {
                    let _ = wanted.at(objects);
                }
                _ => {
                    wanted.at(objects).field(last);
                    if last != FILES {
                        asked.expected.push(index);
                    }
                }
            }
        }
        asked.expected.retain(|index| !request.findings.vouched.contains(index));
        Ok(asked)
    }
}

/// The list of an entity or its details.
///
/// # Errors
/// A column's path is empty, or there is no room for the custom fields of contract 5.
pub(crate) fn listing(request: &ScanRequest, endpoint: &str, version: &str) -> Result<Listing> {
    let contract_5 = is_contract_5(&request.target, version);
    let Asked { mut wanted, custom, expected } = Asked::of(request, contract_5)?;
    let everything = wanted.whole || request.findings.whole;
    let key = key(request);
    // The key must be in the rows: it tells them apart across pages.
    key.iter().for_each(|field| wanted.field(field));
    let (mut select, expand) = select_and_expand(wanted, contract_5, request.findings.whole);
    // Without a field of the record, `$select` would be empty, or name only what is expanded.
    if select.is_empty() {
        select.extend(request.key.iter().take(1).cloned());
    }
    if everything {
        select.clear();
    }
    // A condition need not be sent: it is left out if the address would be too long.
    let parts = Parts {
        select: &select,
        key: &key,
        expand: &expand,
        filter: "",
        contract_5,
        longest: longest(request),
    };
    let plain = parts.queries(&custom, everything);
    let rest = plain.as_ref().map_or(MAX_QUERY, |(query, _)| sent_length(query));
    // The further requests for custom fields have the condition, too, and must not be refused behind the first.
    let has_more = plain.as_ref().is_none_or(|(_, more)| !more.is_empty());
    let limited = if has_more { request.with_short_addresses() } else { request.clone() };
    let writing = writing(&limited, dialect(&request.target, version), rest);
    let filters = filters(request, &writing);
    let last = filters.len() - 1;
    let (query, more, filter) = filters
        .into_iter()
        .enumerate()
        .find_map(|(at, filter)| {
            let (query, more) = Parts { filter: &filter, longest: longest(&limited), ..parts }
                .queries(&custom, everything)?;
            (at == last || fits(&limited, &query)).then_some((query, more, filter))
        })
        .ok_or_else(|| {
            Error::new(
                ErrorKind::Definition,
                format!("the custom fields of {} do not fit into a request", request.target),
            )
            .hint("Select fewer linked entities and details beside them.")
        })?;
    let path = path(request, endpoint, version);
    let record = match more.as_slice() {
        [] => plain.and_then(|(query, _)| record(request, &path, query)),
        // Several requests for one record would save nothing.
        _ => None,
    };
    Ok(Listing {
        record,
        path,
        is_long: is_long(&limited, &query),
        query,
        body: None,
        filter,
        writing,
        more,
        // The id comes without being selected, but entities without NoteID get a new one in each answer.
        content: if key.is_empty() { Content::OfRecord } else { Content::Unneeded },
        identity: match key.is_empty() {
            true => vec![vec!["id".to_owned()]],
            false => key.into_iter().map(|field| vec![field]).collect(),
        },
        expected,
        single: false,
        pageable: true,
        // The order of records is not documented.
        keyset: None,
    })
}

/// The fields that identify records, if all that the table names are fields of the record itself; else none.
fn key(request: &ScanRequest) -> Vec<String> {
    let paths = request.key.iter().map(|field| field.split('/').map(str::to_owned).collect::<Vec<_>>());
    // The key of a detail is that of the record with the fields that identify its rows.
    let of_record: Vec<Vec<String>> =
        paths.filter(|path| place(path, &request.target.detail).0 == 0).collect();
    let is_field = |path: &Vec<String>| {
        path.len() == 1 && path[0] != WHOLE && path[0] != FILES && !SYSTEM.contains(&path[0].as_str())
    };
    match of_record.iter().all(is_field) {
        true => of_record.into_iter().flatten().collect(),
        false => Vec::new(),
    }
}

/// The record that the condition names by its whole key, or by its id. The address has the key in the order of the
/// form, which may differ from that of the table: if the record is not found, the list is read.
fn record(request: &ScanRequest, list: &str, query: String) -> Option<RecordAddress> {
    let filter = request.filter.as_ref()?;
    let value = |path: &[String]| match filter.value_of(path)? {
        // A number could stand for several keys: 123 and 000123.
        Literal::Text(text) if is_segment(text) => Some(text.clone()),
        Literal::Uuid(id) if path == ["id"] => Some(id.clone()),
        Literal::Shown(text) => Some(text.clone()),
        _ => None,
    };
    // The table's own condition could exclude the record.
    if request.own_filter.is_some() || request.is_final() {
        return None;
    }
    let id = vec!["id".to_owned()];
    let key: Vec<Vec<String>> = match value(&id) {
        Some(_) => vec![id],
        None => request.key.iter().map(|field| field.split('/').map(str::to_owned).collect()).collect(),
    };
    let key: Vec<(Vec<String>, String)> =
        key.into_iter().map(|path| value(&path).map(|value| (path, value))).collect::<Option<_>>()?;
    let certain = key.iter().any(|(path, _)| path[0] == "id");
    let segments: Vec<String> = key.iter().map(|(_, value)| encode_segment(value)).collect();
    (!key.is_empty()).then(|| RecordAddress {
        path: format!("{list}/{}", segments.join("/")),
        query,
        key,
        certain,
    })
}

/// Whether a text can be a segment of an address, where `..` has a meaning and outer spaces are lost.
fn is_segment(text: &str) -> bool {
    fits_path(text) && text.trim() == text && !text.starts_with('.') && !text.ends_with('.')
}

/// The parts of the queries of a list.
#[derive(Clone, Copy)]
struct Parts<'a> {
    /// Empty for all fields.
    select: &'a [String],
    /// The fields that identify records; empty if only the content does.
    key: &'a [String],
    expand: &'a str,
    filter: &'a str,
    contract_5: bool,
    /// The characters that a query may have.
    longest: usize,
}

impl Parts<'_> {
    /// The query of the list, and those for the custom fields that do not fit into it. In contract 5 custom fields
    /// stand in `$select`, and are lost without it: `None` if it would be too long.
    fn queries(&self, custom: &[(String, usize)], everything: bool) -> Option<(String, Vec<More>)> {
        let stands = |query: &String| !self.contract_5 || query.starts_with("$select=");
        let mut chunks = in_chunks(custom).into_iter().peekable();
        let fits = |(names, _): &(Vec<&str>, Vec<usize>)| {
            !(self.contract_5 && everything) && stands(&self.query(self.select, names))
        };
        let first = chunks.next_if(fits).map(|(names, _)| names).unwrap_or_default();
        let select = if self.contract_5 && !self.key.is_empty() { self.key } else { self.select };
        let more = chunks.map(|(names, columns)| {
            let query = Some(self.query(select, &names)).filter(stands)?;
            Some(More { query, columns })
        });
        Some((self.query(self.select, &first), more.collect::<Option<_>>()?))
    }

    fn query(&self, select: &[String], custom: &[&str]) -> String {
        let (inside, beside) =
            if self.contract_5 { (custom, [].as_slice()) } else { ([].as_slice(), custom) };
        let select: Vec<&str> = select.iter().map(String::as_str).chain(inside.iter().copied()).collect();
        let custom = beside.join(",");
        let others = [("$expand", self.expand), ("$custom", &custom), ("$filter", self.filter)];
        query(&select.join(","), &others, self.longest)
    }
}

/// Custom fields and their columns, in portions that fit into a request.
fn in_chunks(custom: &[(String, usize)]) -> Vec<(Vec<&str>, Vec<usize>)> {
    let mut chunks: Vec<(Vec<&str>, Vec<usize>)> = Vec::new();
    let mut length = 0;
    for (name, column) in custom {
        let added = utf8_percent_encode(name, QUERY).to_string().len() + 1;
        match chunks.last_mut() {
            Some((names, columns)) if names.len() < MOST_CUSTOM && length + added <= MAX_QUERY / 2 => {
                names.push(name);
                columns.push(*column);
                length += added;
            }
            _ => {
                chunks.push((vec![name], vec![*column]));
                length = added;
            }
        }
    }
    chunks
}

/// An inquiry form with the values of its parameters. It has no paging, and `$select` would not help: besides the
/// results, the answer is one record.
pub(crate) fn form(
    request: &ScanRequest,
    endpoint: &str,
    version: &str,
    call: &[Option<Literal>],
) -> Result<Listing> {
    let contract_5 = is_contract_5(&request.target, version);
    let Asked { wanted, expected, .. } = Asked::of(request, contract_5)?;
    let (_, expand) = select_and_expand(wanted, contract_5, false);
    let given = request.parameters.iter().zip(call).filter_map(|(parameter, value)| {
        let name = serde_json::Value::from(parameter.name.as_str());
        Some(format!("{name}:{{\"value\":{}}}", value.as_ref()?.json()))
    });
    Ok(Listing {
        path: path(request, endpoint, version),
        query: query("", &[("$expand", &expand)], MAX_QUERY),
        body: Some(format!("{{{}}}", given.collect::<Vec<_>>().join(","))),
        filter: String::new(),
        writing: Writing::plain(dialect(&request.target, version)),
        is_long: false,
        record: None,
        more: Vec::new(),
        identity: Vec::new(),
        content: Content::Unneeded,
        expected,
        single: true,
        pageable: false,
        keyset: None,
    })
}

fn path(request: &ScanRequest, endpoint: &str, version: &str) -> String {
    let (endpoint, name) = (encode_segment(endpoint), encode_segment(&request.target.name));
    format!("entity/{endpoint}/{}/{name}", encode_version(version))
}

/// Whether a path leads to a custom field.
pub(crate) fn is_custom(path: &[String]) -> bool {
    matches!(path, [.., kind, _, _] if kind == CUSTOM)
}

/// Whether an endpoint uses contract 5: by the option of the table, else by the version, which begins with the year in
/// Acumatica's own endpoints.
fn is_contract_5(target: &Target, version: &str) -> bool {
    let year = || version.split('.').next()?.parse::<u32>().ok();
    match target.contract {
        Some(contract) => contract >= 5,
        None => year().is_some_and(|year| year >= CONTRACT_5),
    }
}

/// The dialect of an endpoint of this version.
pub(crate) fn dialect(target: &Target, version: &str) -> Dialect {
    if is_contract_5(target, version) { Dialect::Contract5 } else { Dialect::Contract4 }
}

/// `$select` and `$expand`; with `whole`, all fields of expanded objects.
fn select_and_expand(wanted: Wanted, contract_5: bool, whole: bool) -> (Vec<String>, String) {
    if !contract_5 {
        let (mut select, mut expand) = (Vec::new(), Vec::new());
        flat("", &wanted, &mut select, &mut expand);
        return (select, expand.join(","));
    }
    // In OData 4.01 expanded objects need not be selected too.
    let expand = |all: bool| {
        let inner = wanted.inner.iter().map(|(name, inner)| nested(name, inner, all));
        inner.collect::<Vec<_>>().join(",")
    };
    let narrow = expand(false);
    // Fields that would make the address too long are not listed, as in `$select`.
    let expand = if whole || narrow.len() > MAX_QUERY / 2 { expand(true) } else { narrow };
    (wanted.fields, expand)
}

/// Contract 4: paths in `$select`, and each object on the way in `$expand`. An expanded detail that is not in
/// `$select`, too, is silently empty.
fn flat(prefix: &str, wanted: &Wanted, select: &mut Vec<String>, expand: &mut Vec<String>) {
    select.extend(wanted.fields.iter().map(|field| format!("{prefix}{field}")));
    for (name, inner) in &wanted.inner {
        let path = format!("{prefix}{name}");
        expand.push(path.clone());
        if inner.is_plain() {
            select.push(path.clone());
            // Nested objects must still be expanded, but are selected with the whole object.
            flat(&format!("{path}/"), inner, &mut Vec::new(), expand);
        } else {
            flat(&format!("{path}/"), inner, select, expand);
        }
    }
}

/// Contract 5: `MainContact($select=Email;$expand=Address($select=City))`; with `all`, each object with all its fields.
fn nested(name: &str, wanted: &Wanted, all: bool) -> String {
    let mut options = Vec::new();
    if !all && !wanted.is_plain() && !wanted.fields.is_empty() {
        options.push(format!("$select={}", wanted.fields.join(",")));
    }
    if !wanted.inner.is_empty() {
        let inner: Vec<String> = wanted.inner.iter().map(|(name, inner)| nested(name, inner, all)).collect();
        options.push(format!("$expand={}", inner.join(",")));
    }
    if options.is_empty() { name.to_owned() } else { format!("{name}({})", options.join(";")) }
}

/// Leaves the placeholder of EXPLAIN readable.
fn encode_version(version: &str) -> String {
    if version.starts_with('<') { version.to_owned() } else { encode_segment(version) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::tests::{equal, request};

    fn url(columns: &[(&str, ColumnType)], version: &str) -> String {
        listing(&request("SalesOrder", columns, &["OrderNbr"]), "Default", version).unwrap().query
    }

    #[test]
    fn an_expanded_detail_is_also_selected() {
        use ColumnType::*;
        assert_eq!(
            url(&[("OrderNbr", Text), ("Details", Json), ("id", Uuid)], "24.200.001"),
            "$select=OrderNbr,Details&$expand=Details"
        );
    }

    #[test]
    fn expand_only_what_is_asked_for() {
        use ColumnType::*;
        assert_eq!(url(&[("OrderNbr", Text)], "24.200.001"), "$select=OrderNbr");
        assert_eq!(
            url(
                &[("A", Text), ("MainContact/Email", Text), ("MainContact/Address/City", Text)],
                "24.200.001"
            ),
            "$select=A,OrderNbr,MainContact/Email,MainContact/Address/City&$expand=MainContact,MainContact/Address"
        );
        assert_eq!(
            url(&[("MainContact", Json), ("MainContact/Address/City", Text)], "24.200.001"),
            "$select=OrderNbr,MainContact&$expand=MainContact,MainContact/Address"
        );
    }

    #[test]
    fn contract_5_nests() {
        use ColumnType::*;
        assert_eq!(
            url(
                &[
                    ("A", Text),
                    ("MainContact/Email", Text),
                    ("MainContact/Address/City", Text),
                    ("Details", Json)
                ],
                "26.200.001"
            ),
            "$select=A,OrderNbr&$expand=MainContact($select=Email;$expand=Address($select=City)),Details"
        );
    }

    #[test]
    fn custom_fields_are_asked_for_in_requests_that_work() {
        let names: Vec<String> = (0..120).map(|i| format!("custom/Document/Usr{i:03}")).collect();
        let columns: Vec<_> = names.iter().map(|name| (name.as_str(), ColumnType::Text)).collect();
        let request = request("SalesOrder", &columns, &["OrderNbr"]);
        let listing = listing(&request, "Default", "24.200.001").unwrap();
        assert!(listing.query.starts_with("$select=OrderNbr&$custom=Document.Usr000,"), "{}", listing.query);
        assert!(listing.query.ends_with("Document.Usr049"), "{}", listing.query);
        assert_eq!(listing.more.iter().map(|more| more.columns.len()).collect::<Vec<_>>(), [50, 20]);
        assert!(listing.more[1].query.ends_with("Document.Usr119"), "{:?}", listing.more[1]);
    }

    /// Issue 2.7.
    #[test]
    fn issue_2_7_a_drop_down_of_several_is_selected_and_not_expanded() {
        let columns =
            [("Owners/value", ColumnType::Json), ("A", ColumnType::Text), ("Lines", ColumnType::Json)];
        let request = request("Case", &columns, &[]);
        let listing = listing(&request, "Default", "26.200.001").unwrap();
        assert_eq!(listing.query, "$select=Owners,A&$expand=Lines");
        // If no row has it, it is looked up like any other field.
        assert_eq!(listing.expected, [0, 1]);
    }

    #[test]
    fn custom_fields_of_contract_5_never_go_with_a_select_that_is_left_out() {
        let columns = [("*", ColumnType::Json), ("custom/Document/UsrA", ColumnType::Text)];
        let request = request("SalesOrder", &columns, &["OrderNbr"]);
        let listing = listing(&request, "Default", "26.200.001").unwrap();
        assert_eq!(listing.query, "");
        assert_eq!(listing.more.len(), 1);
        assert_eq!(listing.more[0].query, "$select=OrderNbr,Document.UsrA");
    }

    #[test]
    fn a_condition_gives_way_to_custom_fields_of_contract_5() {
        use acumatica_pushdown::{Comparison, Field, Filter, Slack, Test};
        let names: Vec<String> =
            (0..40).map(|i| format!("custom/Document/UsrANameThatIsAsLongAsTheyComeHere{i:03}")).collect();
        let columns: Vec<_> = names.iter().map(|name| (name.as_str(), ColumnType::Text)).collect();
        let mut request = request("SalesOrder", &columns, &["OrderNbr"]);
        request.findings.short = true;
        let field =
            Field { path: vec!["OrderTotal".into()], ty: ColumnType::Numeric, vouched: false, key: false };
        let part = |i: usize| {
            let value = Literal::Integer(i.to_string());
            let test = Test::Compare { comparison: Comparison::Gt, value, slack: Slack::default() };
            Filter::Test(field.clone(), test)
        };
        for (version, parts, filtered) in [("24.200.001", 28, true), ("26.200.001", 45, false)] {
            request.filter = Some(Filter::Or((0..parts).map(part).collect()));
            let listing = listing(&request, "Default", version).unwrap();
            assert_eq!(!listing.filter.is_empty(), filtered, "{version}");
            let queries = std::iter::once(&listing.query).chain(listing.more.iter().map(|more| &more.query));
            let asked: usize = queries.map(|query| query.matches("Document.Usr").count()).sum();
            assert_eq!(asked, names.len(), "{version}");
        }
    }

    #[test]
    fn system_members_are_never_selected() {
        use ColumnType::*;
        assert_eq!(url(&[("id", Uuid), ("note", Text)], "24.200.001"), "$select=OrderNbr");
        assert_eq!(
            url(&[("A", Text), ("files", Json)], "24.200.001"),
            "$select=A,OrderNbr,files&$expand=files"
        );
    }

    #[test]
    fn a_record_is_asked_for_by_its_address_only_if_the_key_can_stand_in_one() {
        let mut request = request("Customer", &[("CustomerName", ColumnType::Text)], &["CustomerID"]);
        let mut record = |key: &str, own: Option<&str>| {
            request.filter = Some(equal("CustomerID", key));
            request.own_filter = own.map(Into::into);
            listing(&request, "Default", "24.200.001").unwrap().record.map(|record| record.path)
        };
        assert_eq!(record("Ab 1", None).as_deref(), Some("entity/Default/24.200.001/Customer/Ab%201"));
        for key in ["", " A", "A ", "CUST/1", "a\\b", "5%", "A.", ".", "a:b", "A&B", "x\n"] {
            assert_eq!(record(key, None), None, "{key:?}");
        }
        // An address would not apply the table's own condition.
        assert_eq!(record("Ab 1", Some("Status eq 'Active'")), None);
    }
}
