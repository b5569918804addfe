//! ExplainForeignScan: the request as it will be sent, and with ANALYZE the statistics of the run.

use std::cell::RefCell;
use std::ffi::CStr;

use acumatica_client::{OWN_TENANT, describe};
use acumatica_pushdown::{Filter, Literal, Reason, ScanPlan, Values, described};
use pgrx::PgList;
use pgrx::prelude::*;

use crate::backend::encoding::{from_server, to_server};
use crate::backend::error::or_raise;
use crate::catalog::table::ForeignTable;
use crate::executor::request::request;
use crate::executor::scan;
use crate::planner::value;

pub fn register(routine: &mut pg_sys::FdwRoutine) {
    routine.ExplainForeignScan = Some(explain_foreign_scan);
}

#[pg_guard]
unsafe extern "C-unwind" fn explain_foreign_scan(
    node: *mut pg_sys::ForeignScanState,
    state: *mut pg_sys::ExplainState,
) {
    // SAFETY: EXPLAIN passes a foreign scan node of this wrapper with its relation open, and its own state. Without ANALYZE
    // the node has no `Scan`, which `scan::of` allows for; nothing here runs the executor.
    unsafe {
        if (*state).verbose {
            let (relation, record) = scan::relations(node);
            let table = ForeignTable::of(&relation);
            let record = record.as_ref().map(ForeignTable::of);
            let (plan, expressions) = scan::planned(node);
            let mut request = request(&table, record.as_deref(), &plan);
            let expressions: Vec<_> = PgList::<pg_sys::Expr>::from_pg(expressions).iter_ptr().collect();
            let unknown = Placeholders::default();
            let text = |expression: *mut pg_sys::Expr| {
                unknown.stand_for(deparsed(
                    (*node).ss.ps.plan,
                    std::ptr::null_mut(),
                    state,
                    expression.cast(),
                ))
            };
            let values = |index: &usize| value::shown(expressions[*index], text);
            let found = described(&plan.conditions, true, table.dialect, &values);
            let keys = |_: &usize| Values {
                literals: vec![Ok(Literal::Shown("{keys}".to_owned()))],
                has_null: false,
            };
            let keys = described(&plan.join_keys, true, table.dialect, &keys);
            request.filter = keys.filter.into_iter().chain(found.filter).reduce(Filter::and);
            if plan.upper.is_some() || record.is_some() {
                let (schema, name) =
                    (from_server(pg_sys::get_namespace_name(relation.namespace_oid())), relation.name());
                let with = record.as_ref().map(|record| format!(", joined with {}", record.qualified));
                property(c"Foreign Table", &format!("{schema}.{name}{}", with.unwrap_or_default()), state);
            }
            let server = &table.server;
            let company = server.company.as_deref().or(server.has_app().then_some(OWN_TENANT));
            let url = describe(&server.instance, company, server.odata_version, &request);
            property(c"Remote Request", &unknown.fill_in(or_raise(url)), state);
            let headers = request.context.lines().into_iter();
            let headers: Vec<String> = headers.map(|(name, value)| format!("{name}: {value}")).collect();
            if !headers.is_empty() {
                property(c"Remote Headers", &headers.join(", "), state);
            }
            let arguments = arguments(node, state, &table, &plan.arguments, &expressions);
            if !arguments.is_empty() {
                property(c"Parameters", &arguments, state);
            }
            let kept = kept((*(*node).ss.ps.plan).qual, &plan, &found.kept);
            // A clause on an inquiry parameter sets the parameter; it does not filter rows, so it is not listed.
            let kept = kept.into_iter().filter(|(_, why)| *why != Reason::Parameter);
            let mut lines: *mut pg_sys::List = std::ptr::null_mut();
            for (clause, why) in kept {
                let line = to_server(&format!(
                    "{}: {why}",
                    deparsed((*node).ss.ps.plan, std::ptr::null_mut(), state, clause.cast())
                ));
                lines = pg_sys::lappend(lines, pg_sys::pstrdup(line.as_ptr()).cast());
            }
            if !lines.is_null() {
                pg_sys::ExplainPropertyList(c"Not Sent".as_ptr(), lines, state);
            }
        }
        if !(*(*node).ss.ps.plan).lefttree.is_null() {
            property(c"If Refused by the Server", "the plan below is used", state);
        }
        if !(*state).analyze {
            return;
        }
        let Some(scan) = scan::of(node) else { return };
        let (stats, waited) = scan.costs();
        let integer = |label: &CStr, unit: *const i8, value: u64| {
            pg_sys::ExplainPropertyInteger(label.as_ptr(), unit, value as i64, state);
        };
        let no_unit = std::ptr::null();
        if let Some(why) = scan.all_rows_read() {
            property(c"All Rows Read", why, state);
        }
        integer(c"Remote Requests", no_unit, stats.requests);
        integer(c"Pages", no_unit, stats.pages);
        integer(c"Rows Received", no_unit, stats.rows);
        integer(c"Bytes Received", no_unit, stats.bytes);
        integer(c"Retries", no_unit, stats.retries);
        if (*state).timing {
            for (label, time) in [
                (c"Time Waiting", waited),
                (c"Time Waiting for Session", stats.session_wait),
                (c"Time Waiting for Server", stats.server_wait),
                (c"Time Decoding", stats.decoding),
            ] {
                let milliseconds = time.as_secs_f64() * 1000.0;
                pg_sys::ExplainPropertyFloat(label.as_ptr(), c"ms".as_ptr(), milliseconds, 3, state);
            }
        }
    }
}

/// Expressions whose values are not known before the scan begins. In the address each is a placeholder, in braces that a
/// path has percent-encoded, so that EXPLAIN can show the SQL of the expression, which has spaces.
#[derive(Default)]
struct Placeholders(RefCell<Vec<String>>);

impl Placeholders {
    /// The placeholder of an expression; equal expressions have one.
    fn stand_for(&self, sql: String) -> String {
        let mut known = self.0.borrow_mut();
        let index = known.iter().position(|other| *other == sql).unwrap_or_else(|| {
            known.push(sql);
            known.len() - 1
        });
        format!("expression-{index}")
    }

    /// The address with the expressions in braces.
    fn fill_in(&self, url: String) -> String {
        let known = self.0.borrow();
        let each = known.iter().enumerate();
        each.fold(url, |url, (index, sql)| {
            let shown = format!("{{{sql}}}");
            url.replace(&format!("{{expression-{index}}}"), &shown)
                .replace(&format!("%7Bexpression-{index}%7D"), &shown)
        })
    }
}

/// Prints one property.
///
/// # Safety
/// `state` is the state that EXPLAIN passed to the callback.
pub unsafe fn property(label: &CStr, value: &str, state: *mut pg_sys::ExplainState) {
    let value = to_server(value);
    // SAFETY: `state` is valid by the caller's guarantee; both texts are C strings that live during the call.
    unsafe { pg_sys::ExplainPropertyText(label.as_ptr(), value.as_ptr(), state) };
}

/// The clauses that are not sent, in the order of the quals, each with its reason.
///
/// # Safety
/// `quals` is the qual list of the node that `plan` belongs to.
unsafe fn kept(
    quals: *mut pg_sys::List,
    plan: &ScanPlan,
    refused: &[(usize, Reason)],
) -> Vec<(*mut pg_sys::Expr, Reason)> {
    // SAFETY: the caller guarantees a qual list, whose elements are expressions.
    let quals = unsafe { PgList::<pg_sys::Expr>::from_pg(quals) };
    let unsent = |place: &usize| plan.kept.iter().find(|(kept, _)| kept == place).map(|(_, why)| *why);
    // `plan.conditions` are the other quals, in this order.
    let sent: Vec<usize> = (0..quals.len()).filter(|place| unsent(place).is_none()).collect();
    let refused = |place: &usize| {
        let index = sent.iter().position(|other| other == place)?;
        refused.iter().find(|(condition, _)| *condition == index).map(|(_, why)| *why)
    };
    let each = quals.iter_ptr().enumerate();
    each.filter_map(|(place, clause)| Some((clause, unsent(&place).or_else(|| refused(&place))?))).collect()
}

/// The values of the inquiry parameters as SQL expressions: `name = expression, …`.
///
/// # Safety
/// As for `deparsed`; `expressions` are those of the plan.
unsafe fn arguments(
    node: *mut pg_sys::ForeignScanState,
    state: *mut pg_sys::ExplainState,
    table: &ForeignTable,
    attributes: &[i16],
    expressions: &[*mut pg_sys::Expr],
) -> String {
    let shown = attributes.iter().zip(expressions).filter_map(|(attribute, value)| {
        let name = table.column(*attribute)?.field_name();
        // SAFETY: the caller guarantees `node` and `state`, and that `value` is an expression of the plan.
        Some(format!("{name} = {}", unsafe {
            deparsed((*node).ss.ps.plan, std::ptr::null_mut(), state, value.cast())
        }))
    });
    shown.collect::<Vec<_>>().join(", ")
}

/// An expression of the plan as SQL.
///
/// # Safety
/// `ancestors` and `state` are what EXPLAIN passed to the callback; `expression` belongs to `plan`, that of the node.
pub unsafe fn deparsed(
    plan: *mut pg_sys::Plan,
    ancestors: *mut pg_sys::List,
    state: *mut pg_sys::ExplainState,
    expression: *mut pg_sys::Node,
) -> String {
    // SAFETY: the deparse context is made of the plan that `expression` belongs to, by the caller's guarantee, so that
    // each Var is found. The result is a palloc'd C string.
    unsafe {
        let context = pg_sys::set_deparse_context_plan((*state).deparse_cxt, plan, ancestors);
        let qualify = PgList::<std::ffi::c_void>::from_pg((*state).rtable).len() > 1;
        from_server(pg_sys::deparse_expression(expression, context, qualify, false))
    }
}
