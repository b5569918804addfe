//! The executor: runs scans and turns batches of cells into tuples.

pub mod analyze;
mod arguments;
mod budget;
pub mod convert;
pub mod distinct;
pub mod explain;
mod expression;
mod histogram;
pub mod key_join;
mod received;
mod remembered;
mod request;
mod rescans;
pub mod scan;
mod slot;
mod sort;
