//! What users call: IMPORT FOREIGN SCHEMA, the SQL functions, and the event triggers for DDL.

pub mod admin;
pub mod ddl;
pub mod discover;
pub mod import;
pub mod locks;
mod statistics;
