//! Finds out whether a server compares a field with a list of values by `in` as it does by `eq`.
//!
//! OData 4.01 has `in`. No source says what Acumatica makes of it, and Business Central has ignored it in silence
//! (<https://github.com/microsoft/ALAppExtensions/issues/25734>). So the same rows are asked for in both ways, once for each field,
//! and the answers are compared.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use acumatica_pushdown::{Dialect, Filter, Writing, print};
use serde_json::value::RawValue;

use crate::decode::{ColumnType, FieldColumn};
use crate::metadata::learnt::{self, Topic};
use crate::metadata::site::Site;
use crate::read::location;
use crate::read::refusal::may_be_of_length;
use crate::read::scan::Shared;
use crate::request::{Findings, ScanRequest};

/// More rows are not asked for again.
const MOST_ROWS: u64 = 500;

/// Asks for the rows of a request, of which there were `rows`, with a list of its conditions in the shorter form. The server's
/// memory then knows whether it takes it. A failure is no failure of the scan, whose rows are complete.
pub(crate) async fn learn(
    site: &Arc<Site>,
    request: &ScanRequest,
    dialect: Dialect,
    rows: u64,
    shared: &Shared,
) {
    // OData v3 has no such operator. Whether contract 5 has it is not known, and contract REST answers `[]` to what it does not
    // understand on some forms.
    let may_know = matches!(dialect, Dialect::GiV4 | Dialect::Dac);
    let (learnt, place) = (&site.learnt, learnt::place(&request.target));
    if !may_know || !(2..=MOST_ROWS).contains(&rows) || request.findings.whole {
        return;
    }
    let is_unknown = |field: &String| {
        let is_known = |topic| learnt.get(topic, &place, field).is_some();
        !is_known(Topic::List) && !is_known(Topic::NoList)
    };
    // All values must stand in the list.
    let is_shorter = |field: &String, list: &Filter| {
        let writing = Writing { lists: vec![field.clone()], room: usize::MAX, dialect };
        print(list, &writing).is_some_and(|text| text.contains(" in (") && !text.contains(" or "))
    };
    let lists = request.filter.iter().flat_map(Filter::lists);
    let mut lists = lists.filter(|(field, list)| is_unknown(field) && is_shorter(field, list));
    let Some((field, _)) = lists.next() else { return };
    let trial = ScanRequest {
        columns: vec![FieldColumn { name: field.clone(), path: vec![field.clone()], ty: ColumnType::Json }],
        unselectable: Vec::new(),
        findings: Findings { lists: vec![field.clone()], ..request.findings.clone() },
        order: Vec::new(),
        in_one_piece: false,
        more_follow: false,
        ..request.clone()
    };
    let is_same = match location::beginning(site, &trial, rows + 1, shared).await {
        Ok(found) => {
            let values: BTreeSet<String> = found.iter().filter_map(|row| value(row, &field)).collect();
            found.len() as u64 == rows && values.len() > 1
        }
        Err(error) if may_be_of_length(error.kind) => false,
        Err(_) => return,
    };
    learnt.add(if is_same { Topic::List } else { Topic::NoList }, &place, &[field], "");
}

/// The value of a field in a row, as JSON.
fn value(row: &[u8], field: &str) -> Option<String> {
    let members: HashMap<String, Box<RawValue>> = serde_json::from_slice(row).ok()?;
    Some(members.get(field)?.get().to_owned())
}
