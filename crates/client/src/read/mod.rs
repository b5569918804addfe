//! A scan from its request to its rows. [`ladder`] takes back what the server refuses, [`fetch`] reads the calls of a
//! table, [`pages`] reads one list row by row, and [`scan`] is the consumer's side.

pub(crate) mod continuity;
pub(crate) mod fetch;
pub(crate) mod ladder;
pub(crate) mod lists;
pub(crate) mod location;
pub(crate) mod missing;
pub(crate) mod notices;
pub(crate) mod pages;
pub(crate) mod parameters;
pub(crate) mod portions;
pub(crate) mod refusal;
pub(crate) mod rows;
pub(crate) mod scan;
pub(crate) mod supplement;
pub(crate) mod witness;
