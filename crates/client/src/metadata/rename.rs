//! The remote names of fields that a table writes differently: people who create a table by hand write `order_nbr`.
//!
//! Nothing is looked up as long as the names are right. If the server does not know a name, the definitions of the
//! instance tell which one was meant, or which fields exist.

use std::collections::HashMap;
use std::sync::Arc;

use acumatica_pushdown::Filter;

use crate::catalog::{Contract, MemberType, loose};
use crate::error::{Error, ErrorKind, Result};
use crate::metadata::fields::Fields;
use crate::request::{ScanRequest, Target};

/// Names as the table writes them, and as the server does; empty if all are right.
pub(crate) type Renames = HashMap<Vec<String>, Vec<String>>;

/// The request with the right names.
pub(crate) fn apply(request: &ScanRequest, renames: &Renames) -> ScanRequest {
    let path = |path: &Vec<String>| renames.get(path).unwrap_or(path).clone();
    let text = |name: &String| {
        let old: Vec<String> = name.split('/').map(str::to_owned).collect();
        renames.get(&old).map_or_else(|| name.clone(), |new| new.join("/"))
    };
    let mut request = request.clone();
    for column in &mut request.columns {
        column.path = path(&column.path);
    }
    request.key = request.key.iter().map(text).collect();
    for parameter in &mut request.parameters {
        parameter.name = text(&parameter.name);
    }
    if let Some(filter) = &mut request.filter {
        filter.rename(&path);
    }
    for by in &mut request.order {
        by.field = text(&by.field);
    }
    request.target.detail = path(&request.target.detail);
    request
}

/// The names in a request that the definition writes differently.
///
/// # Errors
/// A field does not exist under any name; the hint names similar fields.
pub(crate) fn renames(definition: &Fields, request: &ScanRequest) -> Result<Renames> {
    let mut renames = Renames::new();
    let parameters: Vec<Vec<String>> =
        request.parameters.iter().map(|parameter| vec![parameter.name.clone()]).collect();
    let keys = request.key.iter().map(|field| field.split('/').map(str::to_owned).collect::<Vec<_>>());
    let details = Some(request.target.detail.clone()).filter(|detail| !detail.is_empty());
    let order = request.order.iter().map(|by| vec![by.field.clone()]);
    let filter = request.filter.iter().flat_map(Filter::paths);
    let filter = filter.map(|path| path.split('/').map(str::to_owned).collect::<Vec<_>>());
    let columns = request.columns.iter().map(|column| column.path.clone());
    let paths: Vec<Vec<String>> = columns.chain(keys).chain(order).chain(filter).collect();
    let all = details.into_iter().chain(paths).chain(parameters.iter().cloned());
    for path in all {
        let is_parameter = parameters.contains(&path);
        let found = match definition {
            Fields::Record(contract, record) => in_record(contract, record, &path, &request.target),
            Fields::Row(set) if is_parameter => {
                in_row(set.parameters.iter().map(|parameter| parameter.name.as_str()), &path)
            }
            Fields::Row(set) => in_row(set.properties.iter().map(|property| property.name.as_str()), &path),
        };
        match found {
            Ok(found) if found == path => {}
            Ok(found) => {
                renames.insert(path, found);
            }
            Err(near) => return Err(no_field(request, &path, &near)),
        }
    }
    Ok(renames)
}

fn in_row<'a>(
    names: impl Iterator<Item = &'a str> + Clone,
    path: &[String],
) -> Result<Vec<String>, Vec<String>> {
    match path {
        [field] if field == "*" => Ok(path.to_vec()),
        [field] => best(names, field).map(|name| vec![name]),
        _ => Err(Vec::new()),
    }
}

/// Members that every record has, whatever its definition says.
const SYSTEM: [&str; 7] = ["id", "rowNumber", "note", "files", "custom", "error", "*"];

fn in_record(
    contract: &Contract,
    record: &str,
    path: &[String],
    target: &Target,
) -> Result<Vec<String>, Vec<String>> {
    let found = walk(contract, record, path);
    match path.strip_prefix(target.detail.as_slice()) {
        // A column without the option field is one of the detail, unless only the record above has such a field.
        Some([field]) if found.is_err() && !target.detail.is_empty() => {
            walk(contract, record, std::slice::from_ref(field)).or(found)
        }
        _ => found,
    }
}

fn walk(contract: &Contract, record: &str, path: &[String]) -> Result<Vec<String>, Vec<String>> {
    let (mut right, mut at) = (Vec::new(), Some(record));
    for (index, step) in path.iter().enumerate() {
        if SYSTEM.contains(&step.as_str()) {
            right.extend_from_slice(&path[index..]);
            return Ok(right);
        }
        // A value has no members but those that it defines itself, such as the id of a drop-down.
        let Some(members) = at.and_then(|record| contract.types.get(record)) else {
            right.extend_from_slice(&path[index..]);
            return Ok(right);
        };
        let names = members.iter().map(|member| member.name.as_str()).chain(["note", "files"]);
        let name = best(names, step).map_err(|near| {
            near.into_iter().map(|name| [right.as_slice(), &[name]].concat().join("/")).collect::<Vec<_>>()
        })?;
        let member = members.iter().find(|member| member.name == name);
        at = match member.map(|member| &member.ty) {
            Some(MemberType::Linked(record) | MemberType::List(record)) => Some(record),
            _ => None,
        };
        right.push(name);
    }
    Ok(right)
}

/// The name that is meant: the same one, or the only one that differs in nothing but case and separators.
///
/// # Errors
/// There is none; the error holds the similar names.
fn best<'a>(names: impl Iterator<Item = &'a str> + Clone, wanted: &str) -> Result<String, Vec<String>> {
    if let Some(name) = names.clone().find(|name| *name == wanted) {
        return Ok(name.to_owned());
    }
    let same = loose(wanted);
    let mut alike = names.clone().filter(|name| loose(name) == same);
    if let (Some(name), None) = (alike.next(), alike.next()) {
        return Ok(name.to_owned());
    }
    let mut near: Vec<(usize, &str)> = names
        .map(|name| (strsim::damerau_levenshtein(&loose(name), &same), name))
        .filter(|(distance, name)| {
            *distance <= name.chars().count().div_ceil(3) || same.len() > 2 && loose(name).contains(&same)
        })
        .collect();
    near.sort();
    near.dedup();
    Err(near.into_iter().take(3).map(|(_, name)| name.to_owned()).collect())
}

fn no_field(request: &ScanRequest, path: &[String], near: &[String]) -> Error {
    let field = path.join("/");
    let column = request.columns.iter().find(|column| column.path == path);
    let of = column.map_or_else(String::new, |column| format!(" of column \"{}\"", column.name));
    let error = Error::new(
        ErrorKind::UnknownField,
        format!("field \"{field}\"{of} does not exist in {}", request.target),
    );
    match near {
        [] => error
            .hint("Check the option field of the column, or import the table to see which fields there are."),
        near => error.hint(format!("Perhaps you meant \"{}\".", near.join("\" or \""))),
    }
}

/// The names found so far, by what they belong to.
#[derive(Debug, Default)]
pub(crate) struct KnownRenames(tokio::sync::Mutex<HashMap<String, Arc<Renames>>>);

impl KnownRenames {
    fn place(request: &ScanRequest) -> String {
        format!("{:?}", request.target)
    }

    /// The renames for a request, if they cover all fields that it needs.
    pub async fn get(&self, request: &ScanRequest) -> Option<Arc<Renames>> {
        self.0.lock().await.get(&Self::place(request)).cloned()
    }

    pub async fn add(&self, request: &ScanRequest, renames: Renames) -> Arc<Renames> {
        let mut known = self.0.lock().await;
        let all = known.entry(Self::place(request)).or_default();
        let mut merged = Renames::clone(all);
        merged.extend(renames);
        *all = Arc::new(merged);
        Arc::clone(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{Entity, FieldType, Member};
    use crate::decode::ColumnType;
    use crate::request::tests::request;

    fn contract() -> Contract {
        let value = |name: &str| Member { name: name.into(), ty: MemberType::Value(FieldType::Text) };
        let member = |name: &str, ty| Member { name: name.into(), ty };
        let list = MemberType::List("Line".into());
        let link = MemberType::Linked("Contact".into());
        Contract {
            number: 4,
            entities: vec![Entity { name: "SalesOrder".into(), type_name: "Order".into(), title: None }],
            types: HashMap::from([
                (
                    "Order".into(),
                    vec![value("OrderNbr"), member("Details", list), member("MainContact", link)],
                ),
                ("Line".into(), vec![value("InventoryID"), value("Qty")]),
                ("Contact".into(), vec![value("Email"), value("EMail2")]),
            ]),
        }
    }

    fn found(columns: &[&str], detail: &[&str]) -> Result<Renames> {
        let columns: Vec<_> = columns.iter().map(|path| (*path, ColumnType::Text)).collect();
        let mut request = request("SalesOrder", &columns, &[]);
        request.target.detail = detail.iter().map(|&step| step.into()).collect();
        renames(&Fields::Record(contract(), "Order".into()), &request)
    }

    fn path(text: &str) -> Vec<String> {
        text.split('/').map(Into::into).collect()
    }

    #[test]
    fn names_that_are_written_otherwise_are_found() {
        assert_eq!(found(&["OrderNbr", "id", "custom/Document/UsrX"], &[]).unwrap(), Renames::new());
        let renames = found(&["order_nbr", "maincontact/e_mail"], &[]).unwrap();
        assert_eq!(renames[&path("order_nbr")], path("OrderNbr"));
        assert_eq!(renames[&path("maincontact/e_mail")], path("MainContact/Email"));
    }

    #[test]
    fn a_column_of_a_detail_may_be_one_of_the_record() {
        let renames = found(&["details/order_nbr", "details/inventory_id"], &["details"]).unwrap();
        assert_eq!(renames[&path("details/order_nbr")], path("OrderNbr"));
        assert_eq!(renames[&path("details/inventory_id")], path("Details/InventoryID"));
        assert_eq!(renames[&path("details")], path("Details"));
    }

    #[test]
    fn what_is_not_there_is_told_with_what_is_near() {
        let error = found(&["OrderNo"], &[]).unwrap_err();
        assert_eq!(error.kind, ErrorKind::UnknownField);
        assert!(error.hint.unwrap().contains("OrderNbr"));
        assert!(found(&["Foo/Bar"], &[]).unwrap_err().message.contains("\"Foo/Bar\""));
    }

    #[test]
    fn renamed_requests_read_the_right_fields() {
        let renames = Renames::from([(path("order_nbr"), path("OrderNbr"))]);
        let old = request("SalesOrder", &[("order_nbr", ColumnType::Text)], &["order_nbr"]);
        let new = apply(&old, &renames);
        assert_eq!((new.columns[0].path.clone(), new.key), (path("OrderNbr"), vec!["OrderNbr".to_owned()]));
    }
}
