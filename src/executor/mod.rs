//! The executor: runs scans and turns batches of cells into tuples.

pub mod convert;
pub mod explain;
mod received;
pub mod scan;
mod slot;
