//! From batches of cells to tuples.

pub mod convert;
pub mod explain;
pub mod scan;
