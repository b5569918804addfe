//! A scan from its request to its rows. [`ladder`] goes down the ladder of what the server takes, [`fetch`] reads the calls
//! of a table, [`pages`] one list, row by row; [`scan`] is what the consumer sees of it.

pub(crate) mod continuity;
pub(crate) mod fetch;
pub(crate) mod ladder;
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
