//! The planner: paths, which clauses are shippable, and the plan data for the executor.

pub mod argument;
pub mod detail_join;
pub mod key_join;
pub mod order;
pub mod parameter;
pub mod plan;
pub mod planned;
pub mod private;
mod remote_estimate;
pub mod rows;
pub mod solve;
pub mod term;
pub mod upper;
pub mod value;
