//! Which conditions an Acumatica server can be trusted with, and how each of its dialects writes them.
//!
//! It knows neither PostgreSQL nor HTTP. Its parts, in the order in which a clause of a query goes through them:
//!
//! 1. A [`Term`] is a clause of SQL as far as its meaning matters. The caller makes it of its own expressions, which it finds
//!    again as the values `V` of the result.
//! 2. [`translate`] makes a [`Condition`] of it, on fields of the server and over values that need not be known yet, or tells
//!    the [`Reason`] why it cannot be sent.
//! 3. [`outcome`] makes a [`Filter`] of conditions once the values are known.
//! 4. [`class`](class()) says how far the server's answer to each [`Test`] of it can be trusted in a [`Dialect`]: it is exact, a
//!    superset, or not asked for.
//! 5. [`print`](print()) writes the filter in the dialect. [`described`] tells before what will be sent and whether it is exact.
//!
//! A [`ScanPlan`] carries the conditions, with all else that a scan needs to know, from the planner to the executor.
#![forbid(unsafe_code)]
#![warn(missing_docs, clippy::missing_errors_doc)]

mod class;
mod column;
mod condition;
mod costs;
mod distinct;
mod filter;
mod key_join;
mod list;
mod literal;
mod plan;
mod portions;
mod print;
mod reason;
mod shippable;
mod solve;
mod subject;
mod term;
mod writing;

pub use class::{Class, Dialect, Operator, TypeCategory, class};
pub use column::ColumnType;
pub use condition::{Condition, Described, Outcome, Reading, Values, described, outcome};
pub use costs::Costs;
pub use distinct::{Sampled, Spread, spread};
pub use filter::{Anchor, Case, Comparison, Field, Filter, NO_FIELDS, Slack, Test};
pub use key_join::{Asked, JoinKind, KeyJoin, MOST_GROUPS, of_keys, sort_order};
pub use literal::{Literal, plain};
pub use plan::{JoinedColumn, ScanPlan, SortKey, Upper};
pub use print::{print, refusal};
pub use reason::Reason;
pub use shippable::{Shippable, translate};
pub use solve::{Inverse, Solved};
pub use term::{Arithmetic, Cast, Node, SqlType, Syntax, Term};
pub use writing::{MOST_CHARACTERS, QUERY, Writing, encoded_length, largest};
