//! What scans have found out about tables that a planner can use: how long requests and rows take, and how many rows there
//! are. It is read without a connection.

use std::sync::Arc;

use crate::config::{SharedState, digest};
use crate::instance::InstanceUrl;
use crate::metadata::learnt::{self, Learnt, Topic};
use crate::metadata::speed::{self, Speed};
use crate::request::{Context, ScanRequest, Target};
use crate::session::store::Store;

/// A number of rows is published again once it has changed by more than this part of it.
const CHANGE: f64 = 0.1;

/// What the scans of one user mapping have found out about a server.
#[derive(Debug)]
pub struct Experience(Learnt);

impl Experience {
    /// The experience with a server; `None` if nobody has used it yet, or if its state cannot be read.
    pub fn open(state: &SharedState, instance: &InstanceUrl, company: Option<&str>) -> Option<Self> {
        if !state.directory.is_dir() {
            return None;
        }
        let store = Store::open(&state.directory, Arc::clone(&state.sealer)).ok()?;
        Some(Self(Learnt::new(store, state.mapping, learnt::site(instance, company))))
    }

    /// How long the server takes for a request and for a row of a table, if it is known and differs from the default.
    pub fn speed(&self, target: &Target) -> Option<Speed> {
        speed::published(&self.0, &learnt::place(target))
    }

    /// The number of rows of a table with the condition `own_filter` in the context of a request: those that a scan without
    /// other conditions received, or that the server counted.
    pub fn rows(&self, target: &Target, own_filter: Option<&str>, context: &Context) -> Option<u64> {
        known_rows(&self.0, &learnt::place(target), &part(target, own_filter, context))
    }

    /// What the server has counted for the same request for a count, in the last minutes.
    pub fn estimate(&self, request: &ScanRequest) -> Option<u64> {
        let place = learnt::place(&request.target);
        self.0.get(Topic::Estimate, &place, &estimate_name(request))?.parse().ok()
    }

    /// Remembers what the server has counted for a request.
    pub fn remember_estimate(&self, request: &ScanRequest, count: u64) {
        let place = learnt::place(&request.target);
        self.0.add(Topic::Estimate, &place, &[estimate_name(request)], &count.to_string());
    }
}

/// The name of the number of rows that a request for a count asks for.
fn estimate_name(request: &ScanRequest) -> String {
    let part = part(&request.target, request.own_filter.as_deref(), &request.context);
    digest(&[&part, &format!("{:?}", request.filter)])
}

/// Remembers the number of rows of a table that a request without conditions has read or counted completely.
pub(crate) fn remember_rows(learnt: &Learnt, request: &ScanRequest, rows: u64) {
    let is_whole = request.filter.is_none()
        && request.offset == 0
        && request.parameters.is_empty()
        && request.calls.len() == 1;
    if !is_whole {
        return;
    }
    let place = learnt::place(&request.target);
    let part = part(&request.target, request.own_filter.as_deref(), &request.context);
    let known = known_rows(learnt, &place, &part)
        .filter(|known| rows.abs_diff(*known) as f64 <= *known as f64 * CHANGE)
        .unwrap_or(rows);
    learnt.add(Topic::Rows, &place, &[part], &known.to_string());
}

fn known_rows(learnt: &Learnt, place: &str, part: &str) -> Option<u64> {
    learnt.get(Topic::Rows, place, part)?.parse().ok()
}

/// The name of the rows of a place that a table shows.
fn part(target: &Target, own_filter: Option<&str>, context: &Context) -> String {
    let mut part = target.detail.join("/");
    for (name, value) in own_filter.map(|filter| ("filter", filter)).into_iter().chain(context.lines()) {
        part.push_str(&format!("\n{name}: {value}"));
    }
    part
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::learnt::tests::learnt;
    use crate::request::tests::{equal, request};

    #[test]
    fn only_requests_for_all_rows_tell_how_many_there_are() {
        let directory = tempfile::tempdir().unwrap();
        let learnt = learnt(directory.path(), "a");
        let all = request("SalesOrder", &[], &[]);
        let rows = |request: &ScanRequest| {
            let part = part(&request.target, request.own_filter.as_deref(), &request.context);
            known_rows(&learnt, &learnt::place(&request.target), &part)
        };
        remember_rows(&learnt, &ScanRequest { filter: Some(equal("A", "b")), ..all.clone() }, 1);
        remember_rows(&learnt, &ScanRequest { offset: 3, ..all.clone() }, 1);
        remember_rows(&learnt, &ScanRequest { calls: Vec::new(), ..all.clone() }, 1);
        assert_eq!(rows(&all), None);
        remember_rows(&learnt, &all, 1_000);
        assert_eq!(rows(&all), Some(1_000));
        // Small changes are not written.
        remember_rows(&learnt, &all, 1_050);
        assert_eq!(rows(&all), Some(1_000));
        remember_rows(&learnt, &all, 0);
        assert_eq!(rows(&all), Some(0));
        remember_rows(&learnt, &all, 1);
        assert_eq!(rows(&all), Some(1));
    }

    #[test]
    fn what_restricts_the_rows_has_numbers_of_its_own() {
        let directory = tempfile::tempdir().unwrap();
        let learnt = learnt(directory.path(), "a");
        let all = request("SalesOrder", &[], &[]);
        let mut detail = all.clone();
        detail.target.detail = vec!["Details".into()];
        let of_branch = Context { branch: Some("MAIN".into()), ..Context::default() };
        let others = [
            ScanRequest { own_filter: Some("A eq 1".into()), ..all.clone() },
            ScanRequest { context: of_branch, ..all.clone() },
            detail,
            all,
        ];
        for (rows, request) in others.iter().enumerate() {
            remember_rows(&learnt, request, rows as u64);
        }
        for (rows, request) in others.iter().enumerate() {
            let part = part(&request.target, request.own_filter.as_deref(), &request.context);
            assert_eq!(known_rows(&learnt, &learnt::place(&request.target), &part), Some(rows as u64));
        }
    }
}
