//! Builds the scan request of a foreign table and a plan.

use acumatica_client::decode::{self, ColumnType};
use acumatica_client::{Findings, Order, Parameter, ScanRequest};
use acumatica_pushdown::{NO_FIELDS, ScanPlan, Upper};

use crate::backend::error::or_raise;
use crate::catalog::table::{ForeignColumn, ForeignTable, ParameterKind};
use crate::planner::planned::FIRST_PAGE;

/// The request that reads the columns of `plan`. The executor adds the calls and the filter. `record` is the table of the entity
/// that the plan joins `table` with, if any: its columns come after those of `table`.
pub fn request(table: &ForeignTable, record: Option<&ForeignTable>, plan: &ScanPlan) -> ScanRequest {
    let ForeignTable { target, .. } = table;
    let wanted = |column: &&ForeignColumn| plan.attributes.contains(&column.attribute);
    let joined = |column: &&ForeignColumn| plan.place(true, column.attribute).is_some();
    let of_record = || record.iter().flat_map(|record| record.columns.iter().filter(joined));
    let mut columns: Vec<decode::FieldColumn> =
        table.columns.iter().filter(wanted).chain(of_record()).map(decoded).collect();
    let index = |column: &ForeignColumn| {
        plan.attributes.contains(&column.attribute).then(|| {
            table.columns.iter().filter(wanted).position(|other| other.attribute == column.attribute)
        })?
    };
    let unselectable =
        table.columns.iter().filter(|column| column.is_unselectable).map(ForeignColumn::field_name).collect();
    let parameters = table
        .parameters()
        .map(|column| Parameter {
            name: column.field_name(),
            column: index(column),
            required: column.parameter == Some(ParameterKind::Required),
        })
        .collect();
    let may_refuse = table.columns.iter().filter(wanted).chain(of_record()).any(|column| column.may_refuse);
    // Without a field of the detail in `$select`, the server would send all of the detail: a spare field prevents that.
    let is_field = |path: &[String]| {
        path.len() == target.detail.len() + 1
            && path.starts_with(&target.detail)
            && path.last().is_some_and(|name| !NO_FIELDS.contains(&name.as_str()))
    };
    if !target.detail.is_empty() && !columns.iter().any(|column| is_field(&column.path)) {
        let spare = table.columns.iter().find(|column| {
            column.ty == ColumnType::Text && column.parameter.is_none() && is_field(&column.path)
        });
        columns.extend(spare.map(decoded));
    }
    let (key, key_types): (Vec<String>, Vec<ColumnType>) = table.key.iter().cloned().unzip();
    // An error about a value names the row by its key fields. The decoder always knows them; if PostgreSQL may refuse a
    // value, they must be among the cells too, after those of the columns.
    if may_refuse && !target.form {
        for field in target.surface.row_name(&key) {
            if !columns.iter().any(|column| column.path.join("/") == field) {
                let path = field.split('/').map(str::to_owned).collect();
                columns.push(decode::FieldColumn { name: field, path, ty: ColumnType::Text });
            }
        }
    }
    let field = |attribute| table.column(attribute).map(ForeignColumn::field_name).unwrap_or_default();
    ScanRequest {
        table: table.name.clone(),
        relation: table.qualified.clone(),
        target: target.clone(),
        columns,
        unselectable,
        findings: Findings::default(),
        key,
        key_types,
        parameters,
        calls: Vec::new(),
        filter: None,
        own_filter: table.filter.clone(),
        order: plan
            .sort_keys
            .iter()
            .map(|key| Order {
                field: field(key.attribute),
                descending: key.descending,
                nulls_apart: key.nulls_apart,
            })
            .collect(),
        offset: match plan.upper {
            Some(Upper::Offset(offset)) => offset.into(),
            _ => 0,
        },
        count: plan.upper == Some(Upper::Count),
        is_estimate: false,
        context: or_raise(table.context()),
        page_size: table.page_size,
        in_one_piece: plan.few_rows,
        allowance: None,
        uncut: 0,
        more_follow: false,
        first_page: plan.limit.unwrap_or(FIRST_PAGE).min(table.page_size),
    }
}

fn decoded(column: &ForeignColumn) -> decode::FieldColumn {
    decode::FieldColumn { ty: column.ty, name: column.name.clone(), path: column.path.clone() }
}
