//! Contract REST, contract 4 and 5: lists of business entities (acumatica-api.md section 2).

use super::{Listing, encode_segment, query};
use crate::decode::ColumnType;
use crate::error::{Error, ErrorKind, Result};
use crate::request::ScanRequest;

/// Members that a record brings, or does not, unasked. In `$select` they are unknown fields.
const SYSTEM: [&str; 6] = ["id", "rowNumber", "note", "custom", "error", "_links"];
/// A member that comes only when expanded, yet is no field.
const FILES: &str = "files";

/// Endpoints from this version on speak contract 5, which is OData 4.01.
const CONTRACT_5: u32 = 26;

/// What is asked for of one object: fields, and objects or details within it.
#[derive(Default)]
struct Wanted {
    /// In the order first met; a name once.
    fields: Vec<String>,
    inner: Vec<(String, Wanted)>,
    /// As a whole, so that its fields are not listed one by one.
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
}

/// The list of an entity.
///
/// # Errors
/// A column's path is empty.
pub(crate) fn listing(request: &ScanRequest, endpoint: &str, version: &str) -> Result<Listing> {
    let mut wanted = Wanted::default();
    let mut expected = Vec::new();
    for (index, column) in request.columns.iter().enumerate() {
        let Some((last, objects)) = column.path.split_last() else {
            return Err(Error::new(
                ErrorKind::Definition,
                format!("column \"{}\" has no field", column.name),
            ));
        };
        if objects.is_empty() && SYSTEM.contains(&last.as_str()) {
            continue;
        }
        let holder = objects.iter().fold(&mut wanted, |holder, name| holder.object(name));
        if column.ty == ColumnType::Json {
            holder.object(last).whole = true;
        } else {
            holder.field(last);
            if objects.is_empty() && last != FILES {
                expected.push(index);
            }
        }
    }

    let contract_5 = version
        .split('.')
        .next()
        .and_then(|year| year.parse().ok())
        .is_some_and(|year: u32| year >= CONTRACT_5);
    let (mut select, mut expand) = (Vec::new(), Vec::new());
    if contract_5 {
        select = wanted.fields;
        // OData 4.01: what is expanded need not be selected too.
        expand = wanted.inner.iter().map(|(name, inner)| nested(name, inner)).collect();
    } else {
        flat("", &wanted, &mut select, &mut expand);
    }
    // Without a field of the record itself, `$select` would be empty or name only what is expanded.
    if select.is_empty() {
        select.extend(request.key.iter().take(1).cloned());
    }
    Ok(Listing {
        path: format!(
            "entity/{}/{}/{}",
            encode_segment(endpoint),
            encode_version(version),
            encode_segment(&request.target.name)
        ),
        query: query(&select.join(","), &[("$expand", &expand.join(","))]),
        // The id of a top-level record is stable, and comes whether selected or not.
        identity: vec![vec!["id".to_owned()]],
        expected,
        pageable: true,
    })
}

/// Contract 4: paths in `$select`, and in `$expand` each object on the way. An expanded detail that
/// is not in `$select` too is silently empty.
fn flat(prefix: &str, wanted: &Wanted, select: &mut Vec<String>, expand: &mut Vec<String>) {
    select.extend(wanted.fields.iter().map(|field| format!("{prefix}{field}")));
    for (name, inner) in &wanted.inner {
        let path = format!("{prefix}{name}");
        expand.push(path.clone());
        if inner.whole {
            if path != FILES {
                select.push(path.clone());
            }
            // What lies deeper must still be expanded, but is selected with the whole.
            flat(&format!("{path}/"), inner, &mut Vec::new(), expand);
        } else {
            flat(&format!("{path}/"), inner, select, expand);
        }
    }
}

/// Contract 5: `MainContact($select=Email;$expand=Address($select=City))`.
fn nested(name: &str, wanted: &Wanted) -> String {
    let mut options = Vec::new();
    if !wanted.whole && !wanted.fields.is_empty() {
        options.push(format!("$select={}", wanted.fields.join(",")));
    }
    if !wanted.inner.is_empty() {
        let inner: Vec<String> = wanted.inner.iter().map(|(name, inner)| nested(name, inner)).collect();
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
    use crate::request::tests::request;

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
            "$select=A,MainContact/Email,MainContact/Address/City&$expand=MainContact,MainContact/Address"
        );
        assert_eq!(
            url(&[("MainContact", Json), ("MainContact/Address/City", Text)], "24.200.001"),
            "$select=MainContact&$expand=MainContact,MainContact/Address"
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
            "$select=A&$expand=MainContact($select=Email;$expand=Address($select=City)),Details"
        );
    }

    #[test]
    fn system_members_are_never_selected() {
        use ColumnType::*;
        assert_eq!(url(&[("id", Uuid), ("note", Text)], "24.200.001"), "$select=OrderNbr");
        assert_eq!(url(&[("A", Text), ("files", Json)], "24.200.001"), "$select=A&$expand=files");
    }
}
