//! From a query to a remote request: paths, which clauses are shippable, what the executor is told.

pub mod deparse;
pub mod order;
pub mod parameter;
pub mod plan;
pub mod planned;
pub mod private;
pub mod solve;
pub mod term;
pub mod upper;
pub mod value;
