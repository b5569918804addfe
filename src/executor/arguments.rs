//! The values of the parameters of inquiries: which calls a scan makes.

use std::collections::HashSet;

use acumatica_client::ScanRequest;
use acumatica_pushdown::Literal;
use pgrx::PgList;
use pgrx::prelude::*;

use crate::backend::error::Refusal;
use crate::catalog::setting;
use crate::executor::expression::Expression;

/// The initialised expressions of the parameters' values, each with the parameter's index in the request.
#[derive(Debug)]
pub struct Arguments(Vec<(usize, Expression)>);

impl Arguments {
    /// Initialises the first expressions, which `attributes` assigns to parameters one by one.
    ///
    /// # Safety
    /// Called from BeginForeignScan of `node`, in the query's memory context; `expressions` is the plan's `fdw_exprs`.
    pub unsafe fn begin(
        node: *mut pg_sys::ForeignScanState,
        expressions: *mut pg_sys::List,
        attributes: &[i16],
        parameters: &[i16],
    ) -> Self {
        // SAFETY: the caller guarantees what `Expression::begin` requires: the node in BeginForeignScan and its expressions.
        unsafe {
            let expressions = PgList::<pg_sys::Expr>::from_pg(expressions);
            let initialised = expressions.iter_ptr().zip(attributes).filter_map(|(expression, attribute)| {
                let place = parameters.iter().position(|parameter| parameter == attribute)?;
                Some((place, Expression::begin(node.cast(), expression)))
            });
            Self(initialised.collect())
        }
    }

    /// The calls to make, one for each combination of the parameters' values. Empty if some parameter has no value.
    ///
    /// # Safety
    /// `node` is the node that `begin` was called with.
    pub unsafe fn calls(
        &self,
        node: *mut pg_sys::ForeignScanState,
        request: &ScanRequest,
    ) -> Vec<Vec<Option<Literal>>> {
        let mut values: Vec<Option<Vec<Literal>>> = vec![None; request.parameters.len()];
        for (place, expression) in &self.0 {
            // SAFETY: forwarded; the caller passes the node that the expression was initialised for.
            let given = unsafe { expression.values(node.cast()) };
            let name = &request.parameters[*place].name;
            let given: Vec<Literal> = given
                .literals
                .into_iter()
                .map(|value| value.unwrap_or_else(|text| refuse_value(name, &text)))
                .collect();
            // Two clauses on one parameter: the values that satisfy both.
            values[*place] = Some(match values[*place].take() {
                Some(before) => {
                    let given: HashSet<Literal> = given.into_iter().collect();
                    before.into_iter().filter(|value| given.contains(value)).collect()
                }
                None => given,
            });
        }
        let count = values.iter().flatten().fold(1_usize, |count, values| count.saturating_mul(values.len()));
        if count > setting::max_calls() {
            refuse_calls(request, count);
        }
        values.into_iter().fold(vec![Vec::new()], |calls, values| {
            let choices = match values {
                Some(values) => values.into_iter().map(Some).collect(),
                None => vec![None],
            };
            let extended = |call: &Vec<Option<Literal>>| -> Vec<Vec<Option<Literal>>> {
                choices.iter().map(|value| [call.as_slice(), std::slice::from_ref(value)].concat()).collect()
            };
            calls.iter().flat_map(extended).collect()
        })
    }
}

fn refuse_calls(request: &ScanRequest, count: usize) -> ! {
    let most = setting::max_calls();
    Refusal::new(
        PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
        format!("foreign table \"{}\" would take {count} calls of {}", request.table, request.target),
    )
    .detail(format!(
        "It is called once for each combination of the values of its parameters; acumatica_fdw.max_calls allows {most} calls."
    ))
    .hint("Give the parameters fewer values, or raise the setting: SET acumatica_fdw.max_calls = ….")
    .raise()
}

fn refuse_value(parameter: &str, text: &str) -> ! {
    Refusal::new(
        PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
        format!("parameter \"{parameter}\" cannot be given the value {text}"),
    )
    .hint("Give it a finite number, or a day in the years 1 to 9999.")
    .raise()
}
