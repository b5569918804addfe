//! OData, v3 and v4: lists of generic inquiries and DACs (docs/acumatica.md section 3).

use acumatica_pushdown::{Dialect, Literal, TypeCategory};

use super::{
    Content, KeyField, Listing, RecordAddress, filters, fits, is_long, longest, query, sent_length, writing,
};
use crate::config::ODataVersion;
use crate::decode::ColumnType;
use crate::encode::{encode_segment, fits_path};
use crate::error::{Error, ErrorKind, Result};
use crate::request::{Parameter, ScanRequest, Surface};

/// The list of a generic inquiry or DAC, ordered by `key`. Without a key there is no stable order for pages, and the
/// set is read in one piece.
///
/// # Errors
/// A column's path leads into another table, or the layout needs a company.
pub(crate) fn listing(
    request: &ScanRequest,
    version: ODataVersion,
    company: Option<&str>,
    key: &[String],
    call: &[Option<Literal>],
) -> Result<Listing> {
    if request.target.singleton {
        return singleton(request, version, company);
    }
    let mut select: Vec<&str> = Vec::new();
    let mut everything = false;
    let is_unselectable = |field: &String| request.unselectable.contains(field);
    let is_parameter =
        |index: usize| request.parameters.iter().any(|parameter| parameter.column == Some(index));
    for (index, column) in request.columns.iter().enumerate() {
        let field = match column.path.as_slice() {
            _ if is_parameter(index) => continue,
            [field] => field,
            path => {
                return Err(Error::new(
                    ErrorKind::Definition,
                    format!("column \"{}\" cannot be read through OData: its field is a path", column.name),
                )
                .detail(format!("The field is \"{}\".", path.join("/")))
                .hint("Paths lead to linked entities, which only tables of schema \"REST\" have."));
            }
        };
        // Without `$select` the server sends fields that cannot stand in it.
        everything |= field == "*" || is_unselectable(field) || request.findings.whole;
        if request.findings.left_out.contains(&index) {
            continue;
        }
        if !select.contains(&field.as_str()) {
            select.push(field);
        }
    }
    let order: Vec<&str> = key.iter().map(String::as_str).collect();
    everything |= key.iter().any(is_unselectable);
    for field in &order {
        // The key must be in the rows: it tells them apart across pages.
        if !select.contains(field) && !field.starts_with('<') {
            select.push(field);
        }
    }
    if everything {
        select.clear();
    }
    // It is not known whether the server sends fields that it refuses in `$select`.
    let is_expected = |at: usize| {
        let column = &request.columns[at];
        let known = column.path.iter().any(is_unselectable)
            || request.findings.vouched.contains(&at)
            || request.findings.left_out.contains(&at);
        column.ty != ColumnType::Json && !is_parameter(at) && !known
    };
    let root = request.target.surface.root(version, company)?;
    let (name, arguments) = called(request, version, call)?;
    let wanted = request.order.iter().map(|by| match by.descending {
        true => format!("{} desc", by.field),
        false => by.field.clone(),
    });
    let rest = order.iter().filter(|field| !request.order.iter().any(|by| by.field == **field));
    let order_by: Vec<String> = wanted.chain(rest.map(|field| (*field).to_owned())).collect();
    let order_by = order_by.join(",");
    let dialect = self::dialect(request.target.surface, version);
    let query_with = |filter: &str| {
        let mut others = vec![("$filter", filter), ("$orderby", order_by.as_str())];
        others.extend(arguments.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        others.extend((dialect == Dialect::GiV3).then_some(("$format", "json")));
        query(&select.join(","), &others, longest(request)).replace("%3Ckey%3E", "<key>")
    };
    let writing = writing(request, dialect, sent_length(&query_with("")));
    let filters = filters(request, &writing);
    let mut queries: Vec<_> = filters.into_iter().map(|filter| (query_with(&filter), filter)).collect();
    let best = queries.iter().position(|(query, _)| fits(request, query)).unwrap_or(queries.len() - 1);
    let (query, filter) = queries.swap_remove(best);
    let path = format!("{root}/{name}");
    Ok(Listing {
        record: record(request, &path, self::query(&select.join(","), &[], longest(request)), dialect),
        path,
        is_long: is_long(request, &query),
        query,
        body: None,
        filter,
        writing,
        more: Vec::new(),
        identity: key.iter().map(|field| vec![field.clone()]).collect(),
        // The key of an inquiry consists of the keys of its tables: it is NULL behind outer joins, and repeats if rows
        // are grouped (docs/acumatica.md section 3).
        content: match request.target.surface {
            Surface::GenericInquiry if !key.is_empty() => Content::OfRow,
            _ => Content::Unneeded,
        },
        expected: (0..request.columns.len()).filter(|&at| is_expected(at)).collect(),
        single: false,
        pageable: !key.is_empty(),
        keyset: keyset(request, key),
    })
}

/// A setup class: one object, not a list, so that there is no filter, order or page (docs/acumatica.md section 3).
fn singleton(request: &ScanRequest, version: ODataVersion, company: Option<&str>) -> Result<Listing> {
    if request.own_filter.is_some() {
        let message = format!("the option \"filter\" cannot be used with {}", request.target);
        return Err(Error::new(ErrorKind::Definition, message)
            .detail("It is a setup class, which is one object and no list.")
            .hint("Drop the option, and write the condition in WHERE."));
    }
    let mut one = request.clone();
    one.target.singleton = false;
    one.filter = None;
    one.order.clear();
    Ok(Listing { single: true, ..listing(&one, version, company, &[], &[])? })
}

/// The dialect of a surface. Data access classes use v4 in every layout.
pub(crate) fn dialect(surface: Surface, version: ODataVersion) -> Dialect {
    match (surface, version) {
        (Surface::Dac, _) => Dialect::Dac,
        (_, ODataVersion::V3 | ODataVersion::V3OneTenant) => Dialect::GiV3,
        _ => Dialect::GiV4,
    }
}

/// The key from which on pages of a data access class can begin. There the server filters and orders by the stored
/// value; generic inquiries may filter by a label and order by its code.
fn keyset(request: &ScanRequest, key: &[String]) -> Option<Vec<KeyField>> {
    let own_order = request.order.is_empty() && request.key == key;
    let is_refused = key.iter().any(|field| request.unselectable.contains(field));
    if request.target.surface != Surface::Dac
        || !own_order
        || is_refused
        || request.key_types.len() != key.len()
    {
        return None;
    }
    let field = |(name, ty): (&String, &ColumnType)| match TypeCategory::of(*ty)? {
        TypeCategory::Text => Some(KeyField { name: name.clone(), is_text: true }),
        TypeCategory::Integer => Some(KeyField { name: name.clone(), is_text: false }),
        _ => None,
    };
    key.iter().zip(&request.key_types).map(field).collect()
}

/// The row of a data access class that the condition names by its whole key.
fn record(request: &ScanRequest, list: &str, query: String, dialect: Dialect) -> Option<RecordAddress> {
    // An address cannot skip rows.
    let asked = request.target.surface == Surface::Dac && request.own_filter.is_none() && !request.is_final();
    let filter = request.filter.as_ref().filter(|_| asked && !request.key.is_empty())?;
    let value = |name: &String| {
        let value = filter.value_of(std::slice::from_ref(name))?;
        let text = match value {
            Literal::Text(text) if fits_path(text) => text,
            Literal::Integer(digits) => digits,
            Literal::Shown(text) => text,
            _ => return None,
        };
        let written = match value {
            Literal::Shown(_) => text.clone(),
            _ => encode_segment(&value.odata(dialect)),
        };
        Some(((vec![name.clone()], text.clone()), format!("{}={written}", encode_segment(name))))
    };
    let (key, written): (Vec<_>, Vec<_>) =
        request.key.iter().map(value).collect::<Option<Vec<_>>>()?.into_iter().unzip();
    Some(RecordAddress { path: format!("{list}({})", written.join(",")), query, key, certain: false })
}

/// The last segment of the path, and the query options with the values of parameters. An inquiry with parameters is
/// called by its function. In v4 the values stand in the query under aliases, as OData allows, since IIS does not
/// accept every character in a path. In v3 each parameter is a query option, without quotes and without brackets
/// (recorded on 2023 R2: docs/acumatica.md section 3).
fn called(
    request: &ScanRequest,
    version: ODataVersion,
    call: &[Option<Literal>],
) -> Result<(String, Vec<(String, String)>)> {
    let target = &request.target;
    if request.parameters.is_empty() {
        return Ok((encode_segment(&target.name), Vec::new()));
    }
    let function = match &target.function {
        Some(function) => encode_segment(function),
        None => encode_segment(&usual_function(&target.name)),
    };
    let given = request
        .parameters
        .iter()
        .zip(call)
        .filter_map(|(parameter, value)| Some((parameter, value.as_ref()?)));
    if version == ODataVersion::V3 {
        let option =
            |(parameter, value): (&Parameter, &Literal)| (encode_segment(&parameter.name), value.bare());
        let arguments: Vec<(String, String)> = given.map(option).collect();
        return match arguments.iter().find(|(_, value)| value.is_empty()) {
            Some((name, _)) => Err(empty_value(request, name)),
            None => Ok((function, arguments)),
        };
    }
    let (arguments, aliases): (Vec<_>, Vec<_>) = given
        .enumerate()
        .map(|(index, (parameter, value))| {
            let alias = format!("@p{}", index + 1);
            (format!("{}={alias}", encode_segment(&parameter.name)), (alias, value.odata(Dialect::GiV4)))
        })
        .unzip();
    Ok((format!("{function}({})", arguments.join(",")), aliases))
}

/// Ours: it is not known whether a server reads it as a value or as no value.
fn empty_value(request: &ScanRequest, parameter: &str) -> Error {
    Error::new(
        ErrorKind::ParameterMissing,
        format!("parameter \"{parameter}\" of {} cannot be given an empty text", request.target),
    )
    .detail("OData v3 cannot distinguish it from no value.")
    .hint("Leave the condition out where the parameter is optional, or give it a value.")
}

/// The function of an inquiry whose definition does not name it: it has the name of the type, without the characters
/// that a type cannot have.
fn usual_function(inquiry: &str) -> String {
    let kept: String = inquiry.chars().filter(|c| c.is_alphanumeric() || *c == '_').collect();
    format!("{kept}_WithParameters")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::ColumnType::*;
    use crate::request::tests::{equal, request};

    #[test]
    fn ordered_by_the_key_which_is_selected_too() {
        let mut request = request("AR-Aging by Customer", &[("Amount", Numeric)], &[]);
        request.target.surface = Surface::GenericInquiry;
        let key = ["Customer".to_owned(), "Nbr".to_owned()];
        let v4 = listing(&request, ODataVersion::V4, Some("My Company"), &key, &[]).unwrap();
        assert_eq!(v4.path, "t/My%20Company/api/odata/gi/AR-Aging%20by%20Customer");
        assert_eq!(v4.query, "$select=Amount,Customer,Nbr&$orderby=Customer,Nbr");
        assert!(v4.pageable);
        let v3 = listing(&request, ODataVersion::V3, None, &[], &[]).unwrap();
        assert_eq!((v3.path.as_str(), v3.pageable), ("odata/AR-Aging%20by%20Customer", false));
    }

    #[test]
    fn the_layout_of_2024_r2_names_the_tenant() {
        let mut request = request("X", &[("A", Text)], &["A"]);
        request.target.surface = Surface::Dac;
        assert_eq!(
            listing(&request, ODataVersion::V4, None, &[], &[]).unwrap_err().kind,
            ErrorKind::Definition
        );
        assert_eq!(listing(&request, ODataVersion::V3, Some("T"), &[], &[]).unwrap().path, "odatav4/T/X");
    }

    #[test]
    fn issue_3_8_a_setup_class_is_one_object() {
        let mut request = request("PX_Objects_AR_ARSetup", &[("A", Text), ("B", Numeric)], &["A"]);
        request.target.surface = Surface::Dac;
        request.target.singleton = true;
        request.filter = Some(equal("A", "x"));
        let of =
            |request: &ScanRequest| listing(request, ODataVersion::V4, Some("T"), &["A".to_owned()], &[]);
        let listing = of(&request).unwrap();
        assert_eq!(listing.path_and_query(), "t/T/api/odata/dac/PX_Objects_AR_ARSetup?$select=A,B");
        assert!(listing.single && !listing.pageable && listing.record.is_none() && listing.filter.is_empty());
        let own = ScanRequest { own_filter: Some("A eq 'x'".into()), ..request };
        assert_eq!(of(&own).unwrap_err().kind, ErrorKind::Definition);
    }

    #[test]
    fn issue_3_8_what_cannot_be_selected_is_not_a_key_either() {
        let mut request = request("X", &[("Total", Numeric)], &["Nbr"]);
        request.target.surface = Surface::Dac;
        let of = |request: &ScanRequest| {
            listing(request, ODataVersion::V4, Some("T"), &["Nbr".to_owned()], &[]).unwrap()
        };
        assert_eq!(of(&request).query, "$select=Total,Nbr&$orderby=Nbr");
        assert!(of(&request).keyset.is_some());
        request.unselectable = vec!["Nbr".into()];
        assert_eq!(of(&request).query, "$orderby=Nbr");
        assert!(of(&request).keyset.is_none() && of(&request).expected == [0]);
    }

    /// 3.1: as the guide shows it for v4, and as it was recorded for v3.
    #[test]
    fn issue_3_1_inquiries_are_called_by_their_functions() {
        let mut request = request("DB-Storage Details", &[("Qty", Numeric)], &["ID"]);
        request.target.surface = Surface::GenericInquiry;
        request.target.function = Some("DBStorage_WithParameters".into());
        let parameter = |name: &str| Parameter { name: name.into(), column: None, required: true };
        request.parameters = ["Warehouse", "As Of", "Day", "Name"].map(parameter).to_vec();
        let day = Literal::Timestamp("2024-01-31T10:00:00".into());
        let call =
            [Some(Literal::Text("A&B 'x' 5%+é".into())), None, Some(day), Some(Literal::Text("".into()))];
        let url = |request: &ScanRequest, version, call: &[Option<Literal>]| {
            listing(request, version, Some("T"), &["ID".to_owned()], call).unwrap().path_and_query()
        };
        assert_eq!(
            url(&request, ODataVersion::V4, &call),
            "t/T/api/odata/gi/DBStorage_WithParameters(Warehouse=@p1,Day=@p2,Name=@p3)?$select=Qty,ID&$orderby=ID\
             &@p1='A%26B%20''x''%205%25%2B%C3%A9'&@p2=2024-01-31T10:00:00Z&@p3=''"
        );
        let empty = listing(&request, ODataVersion::V3, Some("T"), &["ID".to_owned()], &call);
        assert_eq!(empty.unwrap_err().kind, ErrorKind::ParameterMissing);
        assert_eq!(
            url(&request, ODataVersion::V3, &call[..3]),
            "odata/T/DBStorage_WithParameters?$select=Qty,ID&$orderby=ID&Warehouse=A%26B%20'x'%205%25%2B%C3%A9\
             &Day=2024-01-31T10:00:00&$format=json"
        );
        let call = [None, Some(Literal::Decimal("1.50".into()))];
        request.target.function = None;
        assert_eq!(
            url(&request, ODataVersion::V3, &call),
            "odata/T/DBStorageDetails_WithParameters?$select=Qty,ID&$orderby=ID&As%20Of=1.50&$format=json"
        );
    }

    #[test]
    fn a_row_is_asked_for_by_its_address_only_if_the_key_can_stand_in_one() {
        let mut request = request("SOOrder", &[("Total", Numeric)], &["OrderNbr"]);
        request.target.surface = Surface::Dac;
        let record = |request: &ScanRequest| {
            let key = ["OrderNbr".to_owned()];
            listing(request, ODataVersion::V4, Some("T"), &key, &[]).unwrap().record.map(|record| record.path)
        };
        request.filter = Some(equal("OrderNbr", "O'1"));
        assert_eq!(record(&request).as_deref(), Some("t/T/api/odata/dac/SOOrder(OrderNbr='O''1')"));
        // An address would not apply the table's own condition.
        let own = ScanRequest { own_filter: Some("Hold eq true".into()), ..request.clone() };
        assert_eq!(record(&own), None);
        for key in ["", " ", "CUST/1", "a\\b", "5%", "a:b", "A&B", "x\n"] {
            request.filter = Some(equal("OrderNbr", key));
            assert_eq!(record(&request), None, "{key:?}");
        }
    }

    #[test]
    fn pages_begin_by_key_only_where_conditions_are_on_what_is_ordered_by() {
        let mut request = request("X", &[("Total", Numeric)], &["OrderType"]);
        let mut keyset = |surface, ty| {
            request.target.surface = surface;
            request.key_types = vec![ty];
            listing(&request, ODataVersion::V4, Some("T"), &["OrderType".to_owned()], &[]).unwrap().keyset
        };
        assert!(keyset(Surface::Dac, Text).is_some());
        assert_eq!(keyset(Surface::GenericInquiry, Text), None);
        assert_eq!(keyset(Surface::Dac, Uuid), None);
        assert_eq!(keyset(Surface::Dac, Timestamp), None);
    }
}
