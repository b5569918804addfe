//! The callback of EXPLAIN: the request as it will be sent, and after ANALYZE what it cost.

use std::ffi::CStr;

use acumatica_client::{OWN_TENANT, describe};
use pgrx::PgList;
use pgrx::prelude::*;

use crate::backend::encoding::{from_server, to_server};
use crate::backend::error::or_raise;
use crate::catalog::option::Options;
use crate::executor::scan;
use crate::planner::condition;
use crate::planner::deparse::Table;
use crate::planner::parameter;

pub fn register(routine: &mut pg_sys::FdwRoutine) {
    routine.ExplainForeignScan = Some(explain_foreign_scan);
}

#[pg_guard]
unsafe extern "C-unwind" fn explain_foreign_scan(
    node: *mut pg_sys::ForeignScanState,
    state: *mut pg_sys::ExplainState,
) {
    // SAFETY: the executor passes a node whose relation is open, begun unless EXPLAIN goes without
    // ANALYZE; the state is EXPLAIN's own.
    unsafe {
        if (*state).verbose {
            let relation = scan::relation(node);
            let table = Table::load(relation.oid());
            let (plan_data, relid, clauses) = scan::planned(node);
            let mut request = table.request(&relation, &plan_data);
            let text = |expression: *mut pg_sys::Expr| deparsed(node, state, expression.cast());
            let dialect = table.dialect();
            let found = condition::described(relid, &table.fields(&relation), clauses, dialect, text);
            request.filter = found.filter;
            if plan_data.upper.is_some() {
                let (schema, name) =
                    (from_server(pg_sys::get_namespace_name(relation.namespace_oid())), relation.name());
                property(c"Foreign Table", &format!("{schema}.{name}"), state);
            }
            let server = &table.server;
            let company = server.company().or(server.has_app().then_some(OWN_TENANT));
            let url = describe(&server.instance, company, server.odata_version(), &request);
            property(c"Remote Request", &or_raise(url), state);
            let headers = request.context.lines().into_iter();
            let headers: Vec<String> = headers.map(|(name, value)| format!("{name}: {value}")).collect();
            if !headers.is_empty() {
                property(c"Remote Headers", &headers.join(", "), state);
            }
            let parameters = table.parameters(&relation);
            let arguments = arguments(node, state, &parameters, &plan_data.arguments);
            if !arguments.is_empty() {
                property(c"Parameters", &arguments, state);
            }
            // What decides about a parameter is no condition on the rows.
            let kept = found.kept.into_iter().filter(|(clause, _)| {
                let of_plan = |(attribute, _): &(i16, Options)| {
                    let mut used = std::ptr::null_mut();
                    pg_sys::pull_varattnos(clause.cast(), relid, &mut used);
                    parameter::mentions(used, *attribute)
                };
                !parameters.iter().any(of_plan)
            });
            let mut lines: *mut pg_sys::List = std::ptr::null_mut();
            for (clause, why) in kept {
                let line = to_server(&format!("{}: {why}", deparsed(node, state, clause.cast())));
                lines = pg_sys::lappend(lines, pg_sys::pstrdup(line.as_ptr()).cast());
            }
            if !lines.is_null() {
                pg_sys::ExplainPropertyList(c"Not Sent".as_ptr(), lines, state);
            }
        }
        if !(*(*node).ss.ps.plan).lefttree.is_null() {
            property(c"If Refused", "the plan below", state);
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
        integer(c"Remote Requests", no_unit, stats.requests);
        integer(c"Rows Received", no_unit, stats.rows);
        integer(c"Bytes Received", no_unit, stats.bytes);
        integer(c"Retries", no_unit, stats.retries);
        if (*state).timing {
            let milliseconds = waited.as_secs_f64() * 1000.0;
            pg_sys::ExplainPropertyFloat(c"Time Waiting".as_ptr(), c"ms".as_ptr(), milliseconds, 3, state);
            let for_session = stats.session_wait.as_secs_f64() * 1000.0;
            pg_sys::ExplainPropertyFloat(
                c"Time Waiting for Session".as_ptr(),
                c"ms".as_ptr(),
                for_session,
                3,
                state,
            );
        }
    }
}

unsafe fn property(label: &CStr, value: &str, state: *mut pg_sys::ExplainState) {
    let value = to_server(value);
    // SAFETY: EXPLAIN's own state, and texts that end with a NUL.
    unsafe { pg_sys::ExplainPropertyText(label.as_ptr(), value.as_ptr(), state) };
}

/// What the parameters of an inquiry are given, as the query says it.
///
/// # Safety
/// As for the callback.
unsafe fn arguments(
    node: *mut pg_sys::ForeignScanState,
    state: *mut pg_sys::ExplainState,
    parameters: &[(i16, Options)],
    attributes: &[i16],
) -> String {
    // SAFETY: as the caller says.
    unsafe {
        let plan = (*node).ss.ps.plan;
        let values = PgList::<pg_sys::Node>::from_pg((*plan.cast::<pg_sys::ForeignScan>()).fdw_exprs);
        let shown = attributes.iter().zip(values.iter_ptr()).map(|(attribute, value)| {
            let name = pg_sys::get_attname((*(*node).ss.ss_currentRelation).rd_id, *attribute, false);
            let own = parameters.iter().find(|(parameter, _)| parameter == attribute);
            let field = own.and_then(|(_, options)| options.get("field")).map(str::to_owned);
            let value = deparsed(node, state, value);
            format!("{} = {value}", field.unwrap_or_else(|| from_server(name)))
        });
        shown.collect::<Vec<_>>().join(", ")
    }
}

/// An expression of the plan in SQL.
///
/// # Safety
/// As for the callback.
unsafe fn deparsed(
    node: *mut pg_sys::ForeignScanState,
    state: *mut pg_sys::ExplainState,
    expression: *mut pg_sys::Node,
) -> String {
    // SAFETY: as the caller says; the text is palloc'd.
    unsafe {
        let plan = (*node).ss.ps.plan;
        let context = pg_sys::set_deparse_context_plan((*state).deparse_cxt, plan, std::ptr::null_mut());
        let qualify = PgList::<std::ffi::c_void>::from_pg((*state).rtable).len() > 1;
        from_server(pg_sys::deparse_expression(expression, context, qualify, false))
    }
}
