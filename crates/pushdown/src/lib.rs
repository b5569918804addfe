//! Which conditions an Acumatica server can be trusted with, and how each of its dialects writes them.
//!
//! It knows neither PostgreSQL nor HTTP: a [`Filter`] is what the server is asked to apply, [`class`] says how far its answer
//! can be trusted, and [`print`] writes it in the words of a [`Dialect`].
#![forbid(unsafe_code)]

mod class;
mod column;
mod filter;
mod literal;
mod portions;
mod print;

pub use class::{Class, Dialect, Operator, TypeCategory, class};
pub use column::ColumnType;
pub use filter::{Anchor, Case, Comparison, Field, Filter, Slack, Test};
pub use literal::{Literal, plain};
pub use print::{QUERY, print, refusal};
