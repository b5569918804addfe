//! The executor: runs scans and turns batches of cells into tuples.

pub mod convert;
pub mod explain;
pub mod scan;
